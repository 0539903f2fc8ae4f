//! The first pass of a structural index, as simdjson does it, in plain Rust: where the tokens of a text begin. A decoder
//! on top of it still has to walk the places, read the values and check what it skips.

const BLOCK: usize = 64;
/// Takes the lowest bits of eight bytes together into the highest byte.
const GATHER: u64 = 0x0102_0408_1020_4080;

#[derive(Default)]
pub(crate) struct Index {
    /// The places of quotes that open or close, and of brackets, colons and commas outside of texts.
    pub(crate) places: Vec<u32>,
    /// All ones while a text is open.
    in_text: u64,
    /// Whether the next byte is escaped.
    escaped: bool,
}

impl Index {
    pub(crate) fn read(&mut self, text: &[u8]) {
        *self = Index { places: std::mem::take(&mut self.places), ..Index::default() };
        self.places.clear();
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        for (number, block) in blocks.iter().enumerate() {
            self.block(block, number * BLOCK);
        }
        let mut last = [b' '; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        self.block(&last, blocks.len() * BLOCK);
    }

    #[inline]
    fn block(&mut self, block: &[u8; BLOCK], start: usize) {
        let backslashes = bits(block, |it| it == b'\\');
        let quotes = bits(block, |it| it == b'"') & !self.escapes(backslashes);
        let structural = bits(block, |it| matches!(it | 0x20, b'{' | b'}') || matches!(it, b':' | b','));
        // Each bit is the sum of those up to it: set from an opening quote on, up to the closing one.
        let mut inside = quotes;
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        inside ^= self.in_text;
        self.in_text = if inside >> 63 == 1 { u64::MAX } else { 0 };
        let mut found = quotes | (structural & !inside);
        while found != 0 {
            self.places.push(start as u32 + found.trailing_zeros());
            found &= found - 1;
        }
    }

    /// The bytes behind a backslash that counts. Rare enough to take them one by one.
    #[inline]
    fn escapes(&mut self, mut backslashes: u64) -> u64 {
        let mut escapes = u64::from(std::mem::take(&mut self.escaped));
        backslashes &= !escapes;
        while backslashes != 0 {
            let at = backslashes.trailing_zeros();
            backslashes &= backslashes - 1;
            match 1_u64.checked_shl(at + 1) {
                Some(next) => {
                    escapes |= next;
                    backslashes &= !next;
                }
                None => self.escaped = true,
            }
        }
        escapes
    }
}

/// A bit for each byte that is one of them; the compiler makes vector code of the first line.
#[inline]
fn bits(block: &[u8; BLOCK], is: impl Fn(u8) -> bool) -> u64 {
    let flags = block.map(|it| u8::from(is(it)));
    let (words, _) = flags.as_chunks::<8>();
    let gathered = words.iter().map(|it| u64::from_le_bytes(*it).wrapping_mul(GATHER) >> 56);
    gathered.enumerate().fold(0, |bits, (at, it)| bits | it << (at * 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_are_those_that_a_loop_finds() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let text: Vec<u8> = (0..rng.usize(..300)).map(|_| b"{}[]:,\"\"\"\\\\ ab1"[rng.usize(..15)]).collect();
            let (mut expected, mut inside, mut escaped) = (Vec::new(), false, false);
            for (at, byte) in text.iter().enumerate() {
                let quote = *byte == b'"' && !escaped;
                if quote || (!inside && b"{}[]:,".contains(byte)) {
                    expected.push(at as u32);
                }
                inside ^= quote;
                escaped = *byte == b'\\' && !escaped;
            }
            let mut index = Index::default();
            index.read(&text);
            assert_eq!(index.places, expected, "{}", String::from_utf8_lossy(&text));
        }
    }
}
