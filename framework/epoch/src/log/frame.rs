//! The frame of our binary files: magic, format version, then sections, each with its length and checksum.
//!
//! ```text
//! version 2   8 bytes magic · u32 version · u32 sections · { u64 length · u32 CRC-32 of length and bytes · bytes } × n
//! version 1   8 bytes magic · u32 version ·                { … } × 2                             all little endian
//! ```
//! Version 1 is still read.

use tidegate_api::{Error, Result};

/// The newest format that this program reads, and the one that it writes.
const VERSION: u32 = 2;
/// The format with two sections, and no count of them.
const TWO_SECTIONS: u32 = 1;
const MAGIC_LEN: usize = 8;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An epoch's record.
    Record,
    /// A state snapshot.
    Snapshot,
    /// A point to go on from.
    Branch,
    /// What a sink rejected.
    Rejects,
}

impl Kind {
    fn magic(self) -> &'static [u8; MAGIC_LEN] {
        match self {
            Self::Record => b"TGEPOCH\n",
            Self::Snapshot => b"TGSTATE\n",
            Self::Branch => b"TGBRNCH\n",
            Self::Rejects => b"TGREJCT\n",
        }
    }
}

/// A file to be written, but for its sections: the bytes that stand before each of them.
pub(crate) struct Heads(Vec<Vec<u8>>);

impl Heads {
    pub(crate) fn new(kind: Kind, sections: &[&[u8]]) -> Self {
        let mut heads: Vec<Vec<u8>> = sections.iter().map(|it| prefix(it).to_vec()).collect();
        let count = u32::try_from(sections.len()).unwrap_or(u32::MAX);
        let start = [&kind.magic()[..], &VERSION.to_le_bytes(), &count.to_le_bytes()].concat();
        match heads.first_mut() {
            Some(first) => first.splice(..0, start).for_each(drop),
            None => heads.push(start),
        }
        Self(heads)
    }

    /// All bytes of the file, in order.
    pub(crate) fn with<'a>(&'a self, sections: &[&'a [u8]]) -> Vec<&'a [u8]> {
        let bodies = sections.iter().copied().chain(std::iter::repeat(&[][..]));
        self.0.iter().zip(bodies).flat_map(|(head, body)| [&head[..], body]).collect()
    }
}

fn prefix(section: &[u8]) -> [u8; 12] {
    let length = (section.len() as u64).to_le_bytes();
    let crc = checksum(&length, section).to_le_bytes();
    let mut prefix = [0; 12];
    prefix[..8].copy_from_slice(&length);
    prefix[8..].copy_from_slice(&crc);
    prefix
}

/// The sections of a file, checked.
pub(crate) fn open(kind: Kind, bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let (magic, rest) = take(bytes, MAGIC_LEN)?;
    if magic != kind.magic() {
        return Err(damaged("its first bytes are not those of this kind of file"));
    }
    let (version, rest) = take(rest, 4)?;
    let (count, mut rest) = match u32::from_le_bytes(fixed(version)?) {
        VERSION => {
            let (count, rest) = take(rest, 4)?;
            (u32::from_le_bytes(fixed(count)?), rest)
        }
        TWO_SECTIONS => (2, rest),
        found => {
            let text = format!("found format version {found}, expected at most {VERSION}: it is newer or damaged");
            return Err(Error::config(text));
        }
    };
    let mut sections = Vec::new();
    for _ in 0..count {
        let (found, after) = section(rest)?;
        sections.push(found);
        rest = after;
    }
    if rest.is_empty() { Ok(sections) } else { Err(damaged("it goes on after its end")) }
}

/// The header and the body of a file that has no more sections.
pub(crate) fn open_two(kind: Kind, bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    match open(kind, bytes)?.as_slice() {
        [header, body] => Ok((header, body)),
        other => Err(damaged(&format!("it has {} sections, expected 2", other.len()))),
    }
}

fn section(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let (length, rest) = take(bytes, 8)?;
    let (crc, rest) = take(rest, 4)?;
    let size = usize::try_from(u64::from_le_bytes(fixed(length)?)).map_err(|_| damaged("a length is too large"))?;
    let (section, rest) = take(rest, size)?;
    if checksum(length, section) != u32::from_le_bytes(fixed(crc)?) {
        return Err(damaged("a checksum does not match"));
    }
    Ok((section, rest))
}

fn take(bytes: &[u8], size: usize) -> Result<(&[u8], &[u8])> {
    bytes.split_at_checked(size).ok_or_else(|| damaged("it is cut short"))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| damaged("it is cut short"))
}

fn checksum(length: &[u8], section: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(section);
    hasher.finalize()
}

fn damaged(why: &str) -> Error {
    Error::config(format!("the file is damaged: {why}"))
}

#[cfg(test)]
mod tests;
