//! The grammar of JSON over bytes: one pass, nothing allocated.
//!
//! As Spark's parser it takes names and texts in single quotes too, and the numbers `NaN`, `Infinity` and `-Infinity`.

use super::names::Known;
use super::number::{Number, small_integer};
use super::string::{Text, find_special};

/// Values nested deeper than this are malformed (Jackson: `maxNestingDepth`).
const MAX_DEPTH: usize = 1_000;

/// The document is not JSON; the scanner stands where that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) type Scan<T> = Result<T, Malformed>;

#[derive(Clone)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Brackets that are open around the value it stands before; those of a value that is skipped are not among them.
    depth: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let position = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Self { bytes, position, depth: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn at_end(&self) -> bool {
        self.position >= self.bytes.len()
    }

    /// The next byte; 0, which fits nowhere, at the end.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.position).copied().unwrap_or(0)
    }

    /// The bytes from `start` up to here.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.position).unwrap_or_default()
    }

    /// Takes `expected`.
    #[inline]
    pub(super) fn byte(&mut self, expected: u8) -> Scan<()> {
        if self.peek() != expected {
            return Err(Malformed);
        }
        self.position += 1;
        Ok(())
    }

    #[inline]
    pub(super) fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.position += 1;
        }
    }

    /// Takes what stands between two members: true for a comma, false for `close`. Ends before the next member.
    #[inline]
    pub(super) fn more(&mut self, close: u8) -> Scan<bool> {
        self.skip_space();
        let next = self.peek();
        if next == b',' {
            self.position += 1;
            self.skip_space();
            Ok(true)
        } else if next == close {
            self.position += 1;
            Ok(false)
        } else {
            Err(Malformed)
        }
    }

    /// Takes an opening bracket: true if there is a first member, before which it ends.
    #[inline]
    pub(super) fn open(&mut self, close: u8) -> bool {
        self.position += 1;
        self.skip_space();
        let empty = self.peek() == close;
        if empty {
            self.position += 1;
        }
        !empty
    }

    /// Notes that a bracket is open around what comes next.
    #[inline]
    pub(super) fn enter(&mut self) -> Scan<()> {
        if self.depth >= MAX_DEPTH {
            return Err(Malformed);
        }
        self.depth += 1;
        Ok(())
    }

    /// Notes that the bracket of the last `enter` is closed.
    #[inline]
    pub(super) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Takes a member's name and its colon; ends before the value.
    #[inline]
    pub(super) fn name(&mut self) -> Scan<Text<'a>> {
        if !matches!(self.peek(), b'"' | b'\'') {
            return Err(Malformed);
        }
        let name = self.text()?;
        self.colon()?;
        Ok(name)
    }

    /// Takes a name without its colon if it is this one.
    #[inline]
    pub(super) fn known_name(&mut self, expected: &Known) -> bool {
        let found = self.bytes.get(self.position..).is_some_and(|it| expected.begins(it));
        if found {
            self.position += expected.quoted.len();
        }
        found
    }

    #[inline]
    pub(super) fn colon(&mut self) -> Scan<()> {
        self.skip_space();
        self.byte(b':')?;
        self.skip_space();
        Ok(())
    }

    /// Takes a text; the next byte is its quote.
    #[inline]
    pub(super) fn text(&mut self) -> Scan<Text<'a>> {
        let quote = self.peek();
        self.position += 1;
        let start = self.position;
        let mut escaped = false;
        loop {
            self.position = find_special(self.bytes, self.position, quote);
            let next = self.peek();
            if next == quote {
                let raw = self.since(start);
                self.position += 1;
                return Ok(Text { raw, escaped });
            }
            if next != b'\\' {
                return Err(Malformed);
            }
            escaped = true;
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Scan<()> {
        self.position += 1;
        match self.peek() {
            b'"' | b'\'' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.position += 1,
            b'u' => {
                self.position += 1;
                for _ in 0..4 {
                    if !self.peek().is_ascii_hexdigit() {
                        return Err(Malformed);
                    }
                    self.position += 1;
                }
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    /// Takes `true`, `false`, `null` or another fixed word.
    #[inline]
    pub(super) fn word(&mut self, word: &[u8]) -> Scan<()> {
        if self.bytes.get(self.position..).is_some_and(|it| it.starts_with(word)) {
            self.position += word.len();
            return Ok(());
        }
        Err(Malformed)
    }

    /// Takes a number.
    #[inline]
    pub(super) fn number(&mut self) -> Scan<Number<'a>> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let number = Number::scan(rest).ok_or(Malformed)?;
        self.position += number.text().len();
        Ok(number)
    }

    /// Takes a whole number if it is a short one.
    #[inline]
    pub(super) fn small_integer(&mut self) -> Option<i64> {
        let (value, length) = small_integer(self.bytes.get(self.position..)?)?;
        self.position += length;
        Some(value)
    }

    /// Takes any value, whatever is in it, and checks its grammar.
    #[inline]
    pub(super) fn skip_value(&mut self) -> Scan<()> {
        if matches!(self.peek(), b'{' | b'[') { self.skip_nested() } else { self.scalar() }
    }

    fn skip_nested(&mut self) -> Scan<()> {
        let mut open = Open { bits: [0; MAX_DEPTH.div_ceil(64)], depth: 0, most: MAX_DEPTH.saturating_sub(self.depth) };
        loop {
            let (opened, is_object) = match self.peek() {
                b'{' => (self.open(b'}'), true),
                b'[' => (self.open(b']'), false),
                _ => {
                    self.scalar()?;
                    (false, false)
                }
            };
            if opened {
                open.push(is_object)?;
                if is_object {
                    self.name()?;
                }
                continue;
            }
            loop {
                let Some(in_object) = open.top() else { return Ok(()) };
                if self.more(if in_object { b'}' } else { b']' })? {
                    if in_object {
                        self.name()?;
                    }
                    break;
                }
                open.pop();
            }
        }
    }

    fn scalar(&mut self) -> Scan<()> {
        match self.peek() {
            b'"' | b'\'' => self.text().map(drop),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number().map(drop),
        }
    }
}

/// The brackets that are open, a bit each: set for an object.
struct Open {
    bits: [u64; MAX_DEPTH.div_ceil(64)],
    depth: usize,
    most: usize,
}

impl Open {
    fn push(&mut self, is_object: bool) -> Scan<()> {
        if self.depth >= self.most {
            return Err(Malformed);
        }
        let word = self.bits.get_mut(self.depth / 64).ok_or(Malformed)?;
        let bit = 1 << (self.depth % 64);
        *word = if is_object { *word | bit } else { *word & !bit };
        self.depth += 1;
        Ok(())
    }

    fn top(&self) -> Option<bool> {
        let at = self.depth.checked_sub(1)?;
        self.bits.get(at / 64).map(|it| it >> (at % 64) & 1 == 1)
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests;
