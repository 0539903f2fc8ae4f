//! Whole documents: one value, nothing behind it.

use arrow_schema::DataType;

use super::column::{Column, Fit};
use super::scanner::{Malformed, Scan, Scanner};

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One row was added.
    Whole,
    /// One row was added, with nulls where something did not fit.
    Partly,
    /// Nothing was added: there is nothing in it.
    Blank,
    /// Nothing was added: JSON, but of another type.
    Wrong,
    /// Nothing was added: not JSON, as this byte shows.
    Malformed(usize),
}

/// Reads a document into `root`.
pub(super) fn read(root: &mut Column, document: &[u8]) -> Verdict {
    let row = root.len();
    let mut scanner = Scanner::new(document);
    scanner.skip_space();
    if scanner.at_end() {
        return Verdict::Blank;
    }
    match value(root, &mut scanner) {
        Ok(Fit::Whole) => Verdict::Whole,
        Ok(Fit::Partly) => Verdict::Partly,
        Ok(Fit::Wrong) => {
            root.truncate(row);
            Verdict::Wrong
        }
        Err(Malformed) => {
            root.truncate(row);
            Verdict::Malformed(scanner.position())
        }
    }
}

fn value(root: &mut Column, scanner: &mut Scanner<'_>) -> Scan<Fit> {
    let fit = match scanner.peek() {
        b'n' => {
            scanner.word(b"null")?;
            Fit::Wrong
        }
        b'[' if matches!(root.data_type(), DataType::Struct(_)) => single(root, scanner)?,
        b'{' => match root.read_single(scanner) {
            Some(fit) => fit?,
            None => root.read(scanner)?,
        },
        _ => root.read(scanner)?,
    };
    scanner.skip_space();
    if scanner.at_end() { Ok(fit) } else { Err(Malformed) }
}

/// An array of exactly one object, which some producers put around each record. Several would be several rows.
fn single(root: &mut Column, scanner: &mut Scanner<'_>) -> Scan<Fit> {
    if !scanner.open(b']') || scanner.peek() != b'{' {
        return Err(Malformed);
    }
    let fit = root.read(scanner)?;
    if scanner.more(b']')? { Err(Malformed) } else { Ok(fit) }
}
