//! Texts: where they end, and what their escapes stand for.

use std::borrow::Cow;

/// A text as it stands between its quotes; its escapes are known to be well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text<'a> {
    pub(super) raw: &'a [u8],
    pub(super) escaped: bool,
}

impl<'a> Text<'a> {
    /// The bytes that the text stands for.
    #[inline]
    pub(super) fn bytes(self) -> Cow<'a, [u8]> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut out = Vec::with_capacity(self.raw.len());
        self.append_to(&mut out);
        Cow::Owned(out)
    }

    /// Appends the bytes that the text stands for.
    #[inline]
    pub(super) fn append_to(self, out: &mut Vec<u8>) {
        if self.escaped { unescape(self.raw, out) } else { out.extend_from_slice(self.raw) }
    }
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The place of the next byte from `from` on that ends a plain run of text: `quote`, a backslash or a control
/// character. The length of `bytes` if there is none.
#[inline]
pub(super) fn find_special(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    // Eight bytes at a time: bits above the lowest one set may be wrong, the lowest never is.
    while quote == b'"'
        && let Some(chunk) = bytes.get(at..).and_then(|it| it.first_chunk::<8>())
    {
        let word = u64::from_le_bytes(*chunk);
        // One bit turned over, a double quote is the next byte above the control characters, which stay below it.
        let ends = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21) & !word & HIGHS;
        let special = ends | zeros(word ^ (ONES * u64::from(b'\\')));
        if special != 0 {
            return at + usize::try_from(special.trailing_zeros() / 8).unwrap_or(0);
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|it| *it == quote || *it == b'\\' || *it < 0x20).unwrap_or(rest.len())
}

#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|it| *it == b'\\') {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let [_, kind, tail @ ..] = tail else { return };
        rest = tail;
        out.push(match kind {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                rest = unicode(rest, out);
                continue;
            }
            other => *other,
        });
    }
    out.extend_from_slice(rest);
}

/// Appends the character whose `\u` has just been read; a lone half of a pair is U+FFFD. Gives what follows.
fn unicode<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (first, mut rest) = hex(rest);
    let mut code = first;
    if (0xd800..0xdc00).contains(&first)
        && let Some(tail) = rest.strip_prefix(b"\\u")
    {
        let (second, tail) = hex(tail);
        if (0xdc00..0xe000).contains(&second) {
            code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            rest = tail;
        }
    }
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

fn hex(rest: &[u8]) -> (u32, &[u8]) {
    let (digits, rest) = rest.split_at_checked(4).unwrap_or((rest, &[]));
    let code = digits.iter().fold(0, |sum, it| sum << 4 | char::from(*it).to_digit(16).unwrap_or(0));
    (code, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(raw: &str) -> String {
        String::from_utf8(Text { raw: raw.as_bytes(), escaped: true }.bytes().into_owned()).unwrap()
    }

    #[test]
    fn escapes_stand_for_their_characters() {
        for (raw, expected) in [
            (r#"a\"b\\c\/d\'e"#, r#"a"b\c/d'e"#),
            (r"\b\f\n\r\t", "\u{8}\u{c}\n\r\t"),
            (r"\u0041\u00e4\u20AC", "Aä€"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83d!", "\u{fffd}!"),
            (r"\ude00!", "\u{fffd}!"),
            (r"\ude00\ude00", "\u{fffd}\u{fffd}"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
            (r"\ud83d\n", "\u{fffd}\n"),
            (r"\u0000", "\0"),
        ] {
            assert_eq!(unescaped(raw), expected, "{raw}");
        }
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_stands() {
        for special in 0..=255_u8 {
            let ends = special == b'"' || special == b'\\' || special < 0x20;
            for length in 0..40 {
                for at in 0..length {
                    // 0x21 and 0x80 are the neighbours that a careless test of eight bytes takes for special ones.
                    for filler in [b'!', 0x80, 0xff, b'#', b']'] {
                        let mut bytes = vec![filler; length];
                        bytes[at] = special;
                        let expected = if ends { at } else { length };
                        assert_eq!(find_special(&bytes, 0, b'"'), expected, "{special} at {at} of {length}");
                        let single = special == b'\'' || (ends && special != b'"');
                        let expected = if single { at } else { length };
                        assert_eq!(find_special(&bytes, 0, b'\''), expected, "{special} at {at} of {length}");
                    }
                }
            }
        }
    }
}
