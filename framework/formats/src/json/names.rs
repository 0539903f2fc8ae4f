//! Finding a field by its name, with a guess from the last document.

use std::collections::HashMap;

use super::scanner::{Scan, Scanner};
use super::string::Text;

/// Members of a document and bytes of a name that are remembered; what is beyond is looked up each time.
const REMEMBERED_MEMBERS: usize = 128;
const REMEMBERED_BYTES: usize = 128;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This field.
    Exact(usize),
    /// This field, written in another case.
    Alike(usize),
    /// None of them.
    Unknown,
}

/// The names of a struct's fields.
pub(super) struct Names {
    names: Vec<Vec<u8>>,
    exact: HashMap<Vec<u8>, usize>,
    /// The names of the last documents, in their order: a stream's documents mostly look alike.
    seen: Vec<(Vec<u8>, Found)>,
}

impl Names {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names: Vec<Vec<u8>> = names.map(|it| it.as_bytes().to_vec()).collect();
        let exact = names.iter().enumerate().map(|(index, it)| (it.clone(), index)).collect();
        Self { names, exact, seen: Vec::new() }
    }

    /// Reads a member's name and its colon and finds its field; `place` is the number of names read in this document,
    /// give or take.
    #[inline]
    pub(super) fn read(&mut self, scanner: &mut Scanner<'_>, place: &mut usize) -> Scan<Found> {
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
    fn search(&mut self, name: Text<'_>, place: &mut usize) -> Found {
        let found = self.look_up(&name.bytes());
        // A name in single quotes may hold a double one, which would end a guess too late.
        let plain = !name.escaped && !name.raw.contains(&b'"');
        if plain && *place < REMEMBERED_MEMBERS && name.raw.len() <= REMEMBERED_BYTES {
            match self.seen.get_mut(*place) {
                Some((seen, known)) => {
                    seen.clear();
                    seen.extend_from_slice(name.raw);
                    *known = found;
                }
                None => self.seen.push((name.raw.to_vec(), found)),
            }
        }
        *place += 1;
        found
    }

    fn look_up(&self, name: &[u8]) -> Found {
        if let Some(index) = self.exact.get(name) {
            return Found::Exact(*index);
        }
        let mut alike = self.names.iter().enumerate().filter(|it| it.1.eq_ignore_ascii_case(name));
        match (alike.next(), alike.next()) {
            (Some((index, _)), None) => Found::Alike(index),
            _ => Found::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_all(names: &mut Names, document: &[&str]) -> Vec<Found> {
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
        let (a, b, c) = (Found::Exact(0), Found::Exact(1), Found::Exact(2));
        for _ in 0..2 {
            assert_eq!(find_all(&mut names, &["a", "x", "b", "c"]), [a, Found::Unknown, b, c]);
            assert_eq!(find_all(&mut names, &["c", "b", "a"]), [c, b, a]);
            assert_eq!(find_all(&mut names, &["a", "c"]), [a, c]);
            assert_eq!(find_all(&mut names, &["a", "a", "x", "x", "c"]), [a, a, Found::Unknown, Found::Unknown, c]);
        }
    }

    #[test]
    fn another_case_is_alike_if_it_is_alone() {
        let mut names = Names::new(["userId", "page", "PAGE"].into_iter());
        let found = find_all(&mut names, &["userid", "userId", "Page", "page", "PAGE"]);
        assert_eq!(found, [Found::Alike(0), Found::Exact(0), Found::Unknown, Found::Exact(1), Found::Exact(2)]);
    }

    #[test]
    fn an_escaped_name_is_the_name_it_stands_for() {
        let mut names = Names::new(["a"].into_iter());
        assert_eq!(
            find_all(&mut names, &[r"\u0061", "a", r"\\u0061"]),
            [Found::Exact(0), Found::Exact(0), Found::Unknown]
        );
    }

    #[test]
    fn a_guess_takes_whole_names_only() {
        let mut names = Names::new(["ab", "a"].into_iter());
        assert_eq!(find_all(&mut names, &["ab"]), [Found::Exact(0)]);
        assert_eq!(find_all(&mut names, &["a"]), [Found::Exact(1)]);
        assert_eq!(find_all(&mut names, &["ab"]), [Found::Exact(0)]);
        assert_eq!(find_all(&mut names, &["abc"]), [Found::Unknown]);
        for text in ["\"abc", "\"abc'", "'abc\":", "\"abc\" 1", "\"abc\""] {
            assert!(names.read(&mut Scanner::new(text.as_bytes()), &mut 0).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_with_a_quote_in_it_is_not_guessed() {
        let mut names = Names::new(["a"].into_iter());
        assert_eq!(names.read(&mut Scanner::new(b"'a\"b':"), &mut 0), Ok(Found::Unknown));
        assert!(names.read(&mut Scanner::new(b"\"a\"b\":"), &mut 0).is_err());
    }

    #[test]
    fn more_names_than_are_remembered_are_found_all_the_same() {
        let many: Vec<String> = (0..300).map(|it| format!("field{it}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut names = Names::new(many.iter().copied());
        for _ in 0..2 {
            let expected: Vec<Found> = (0..300).map(Found::Exact).collect();
            assert_eq!(find_all(&mut names, &many), expected);
        }
    }
}
