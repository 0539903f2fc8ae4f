//! Base64 in the standard alphabet with padding, as JSON carries BINARY.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the bytes that `text` stands for, or leaves `out` as it was and says false.
pub(crate) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let quads = text.chunks_exact(4);
    let mut fine = quads.remainder().is_empty();
    let count = quads.len();
    for (index, quad) in quads.enumerate() {
        fine = fine && decode_quad(quad, index + 1 == count, out);
    }
    if !fine {
        out.truncate(start);
    }
    fine
}

/// Appends `bytes` as base64.
pub(crate) fn encode(bytes: &[u8], out: &mut String) {
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| chunk.get(index).copied().map_or(0, u32::from);
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let digit = word >> (18 - 6 * position) & 63;
            let symbol = usize::try_from(digit).ok().and_then(|it| ALPHABET.get(it)).copied().unwrap_or(b'=');
            out.push(char::from(if position <= chunk.len() { symbol } else { b'=' }));
        }
    }
}

fn decode_quad(quad: &[u8], last: bool, out: &mut Vec<u8>) -> bool {
    let padding = match quad {
        [_, _, b'=', b'='] if last => 2,
        [_, _, _, b'='] if last => 1,
        _ => 0,
    };
    let mut word = 0u32;
    for symbol in quad.iter().take(4 - padding) {
        let Some(digit) = digit(*symbol) else { return false };
        word = word << 6 | u32::from(digit);
    }
    let [_, a, b, c] = (word << (6 * padding)).to_be_bytes();
    out.extend([a, b, c].iter().take(3 - padding));
    true
}

fn digit(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_both_ways() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let (mut decoded, mut encoded) = (Vec::new(), String::new());
            assert!(decode(text.as_bytes(), &mut decoded), "{text}");
            encode(bytes.as_bytes(), &mut encoded);
            assert_eq!((decoded.as_slice(), encoded.as_str()), (bytes.as_bytes(), text));
        }
    }

    #[test]
    fn all_byte_values_come_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (mut text, mut back) = (String::new(), Vec::new());
        encode(&bytes, &mut text);
        assert!(decode(text.as_bytes(), &mut back));
        assert_eq!(back, bytes);
    }

    #[test]
    fn what_is_not_base64_leaves_nothing_behind() {
        for text in ["Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zm9v*g==", "Zm9-", "Zm9vZ"] {
            let mut out = b"kept".to_vec();
            assert!(!decode(text.as_bytes(), &mut out), "{text}");
            assert_eq!(out, b"kept");
        }
    }
}
