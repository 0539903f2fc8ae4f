//! Finding a field by its name, with a guess from the last document.

use std::collections::HashMap;

use super::scanner::{Scan, Scanner};
use super::string::Text;

/// Members of a document and bytes of a name that are remembered; what is beyond is looked up each time.
const REMEMBERED_MEMBERS: usize = 128;
const REMEMBERED_BYTES: usize = 128;

/// The names of a struct's fields.
pub(super) struct Names {
    fields: HashMap<Vec<u8>, usize>,
    /// The names of the last documents in their order, and their fields: a stream's documents
    /// mostly look alike.
    seen: Vec<(Known, Option<usize>)>,
}

/// A name that is compared with what a document has.
#[derive(Default)]
pub(super) struct Known {
    /// In its quotes, and without escapes or quotes in it.
    pub(super) quoted: Vec<u8>,
    /// Its first 16 bytes, and which of them there are.
    head: u128,
    mask: u128,
}

impl Known {
    fn set(&mut self, name: &[u8]) {
        self.quoted.clear();
        self.quoted.push(b'"');
        self.quoted.extend_from_slice(name);
        self.quoted.push(b'"');
        let mut head = [0; 16];
        let mut mask = [0; 16];
        for ((byte, head), mask) in self.quoted.iter().zip(&mut head).zip(&mut mask) {
            (*head, *mask) = (*byte, u8::MAX);
        }
        (self.head, self.mask) = (u128::from_le_bytes(head), u128::from_le_bytes(mask));
    }

    /// Whether `bytes` begin with it. Most names are short: one comparison, without a call.
    #[inline]
    pub(super) fn begins(&self, bytes: &[u8]) -> bool {
        let Some(head) = bytes.first_chunk::<16>() else { return bytes.starts_with(&self.quoted) };
        (u128::from_le_bytes(*head) ^ self.head) & self.mask == 0
            && (self.quoted.len() <= 16 || bytes.starts_with(&self.quoted))
    }
}

impl Names {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let fields = names.enumerate().map(|(index, it)| (it.as_bytes().to_vec(), index)).collect();
        Self { fields, seen: Vec::new() }
    }

    /// Reads a member's name and its colon and finds its field; `place` is the number of names read in this document,
    /// give or take.
    #[inline]
    pub(super) fn read(&mut self, scanner: &mut Scanner<'_>, place: &mut usize) -> Scan<Option<usize>> {
        // One step further covers a member that this document has not got.
        for step in 0..2 {
            if let Some((seen, found)) = self.seen.get(*place + step)
                && scanner.known_name(seen)
            {
                *place += step + 1;
                scanner.colon()?;
                return Ok(*found);
            }
        }
        let name = scanner.name()?;
        Ok(self.search(name, place))
    }

    #[cold]
    fn search(&mut self, name: Text<'_>, place: &mut usize) -> Option<usize> {
        let found = self.fields.get(name.bytes().as_ref()).copied();
        // A name in single quotes may hold a double one, which would end a guess too late.
        let plain = !name.escaped && !name.raw.contains(&b'"');
        if plain && *place < REMEMBERED_MEMBERS && name.raw.len() <= REMEMBERED_BYTES {
            let at = (*place).min(self.seen.len());
            if at == self.seen.len() {
                self.seen.push((Known::default(), None));
            }
            if let Some((seen, known)) = self.seen.get_mut(at) {
                seen.set(name.raw);
                *known = found;
            }
        }
        *place += 1;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_all(names: &mut Names, document: &[&str]) -> Vec<Option<usize>> {
        let mut place = 0;
        let read = |name: &&str| {
            let text = format!("\"{name}\" : ");
            let mut scanner = Scanner::new(text.as_bytes());
            let found = names.read(&mut scanner, &mut place).unwrap();
            assert!(scanner.at_end());
            found
        };
        document.iter().map(read).collect()
    }

    #[test]
    fn names_are_found_in_any_order_and_again() {
        let mut names = Names::new(["a", "b", "c"].into_iter());
        let (a, b, c) = (Some(0), Some(1), Some(2));
        for _ in 0..2 {
            assert_eq!(find_all(&mut names, &["a", "x", "b", "c"]), [a, None, b, c]);
            assert_eq!(find_all(&mut names, &["c", "b", "a"]), [c, b, a]);
            assert_eq!(find_all(&mut names, &["a", "c"]), [a, c]);
            assert_eq!(find_all(&mut names, &["a", "a", "x", "x", "c"]), [a, a, None, None, c]);
        }
    }

    #[test]
    fn another_case_is_another_name() {
        let mut names = Names::new(["userId", "page", "PAGE"].into_iter());
        let found = find_all(&mut names, &["userid", "userId", "Page", "page", "PAGE"]);
        assert_eq!(found, [None, Some(0), None, Some(1), Some(2)]);
    }

    #[test]
    fn an_escaped_name_is_the_name_it_stands_for() {
        let mut names = Names::new(["a"].into_iter());
        assert_eq!(find_all(&mut names, &[r"\u0061", "a", r"\\u0061"]), [Some(0), Some(0), None]);
    }

    #[test]
    fn a_guess_takes_whole_names_only() {
        let mut names = Names::new(["ab", "a"].into_iter());
        assert_eq!(find_all(&mut names, &["ab"]), [Some(0)]);
        assert_eq!(find_all(&mut names, &["a"]), [Some(1)]);
        assert_eq!(find_all(&mut names, &["ab"]), [Some(0)]);
        assert_eq!(find_all(&mut names, &["abc"]), [None]);
        for text in ["\"abc", "\"abc'", "'abc\":", "\"abc\" 1", "\"abc\""] {
            assert!(names.read(&mut Scanner::new(text.as_bytes()), &mut 0).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_with_a_quote_in_it_is_not_guessed() {
        let mut names = Names::new(["a"].into_iter());
        assert_eq!(names.read(&mut Scanner::new(b"'a\"b':"), &mut 0), Ok(None));
        assert!(names.read(&mut Scanner::new(b"\"a\"b\":"), &mut 0).is_err());
    }

    #[test]
    fn a_name_that_is_not_remembered_leaves_no_gap() {
        let mut names = Names::new(["a", "b"].into_iter());
        for _ in 0..3 {
            assert_eq!(find_all(&mut names, &[r"\u0061", "b", "x", "a"]), [Some(0), Some(1), None, Some(0)]);
            assert_eq!(find_all(&mut names, &["b", "a"]), [Some(1), Some(0)]);
        }
    }

    #[test]
    fn more_names_than_are_remembered_are_found_all_the_same() {
        let many: Vec<String> = (0..300).map(|it| format!("field{it}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut names = Names::new(many.iter().copied());
        for _ in 0..2 {
            let expected: Vec<Option<usize>> = (0..300).map(Some).collect();
            assert_eq!(find_all(&mut names, &many), expected);
        }
    }
}
