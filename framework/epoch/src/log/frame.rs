//! The frame of our binary files: magic, format version, then two sections, each with its length and checksum.
//!
//! ```text
//! 8 bytes magic · u32 version · { u64 length · u32 CRC-32 of length and bytes · bytes } × 2      little endian
//! ```

use tidegate_api::{Error, Result};

/// The newest format that this program reads, and the one that it writes.
const VERSION: u32 = 1;
const MAGIC_LEN: usize = 8;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An epoch's record.
    Record,
    /// A state snapshot.
    Snapshot,
}

impl Kind {
    fn magic(self) -> &'static [u8; MAGIC_LEN] {
        match self {
            Self::Record => b"TGEPOCH\n",
            Self::Snapshot => b"TGSTATE\n",
        }
    }
}

/// The bytes that stand before a section.
pub(crate) fn prefix(section: &[u8]) -> [u8; 12] {
    let length = (section.len() as u64).to_le_bytes();
    let crc = checksum(&length, section).to_le_bytes();
    let mut prefix = [0; 12];
    prefix[..8].copy_from_slice(&length);
    prefix[8..].copy_from_slice(&crc);
    prefix
}

/// The first bytes of a file.
pub(crate) fn start(kind: Kind) -> [u8; 12] {
    let mut start = [0; 12];
    start[..8].copy_from_slice(kind.magic());
    start[8..].copy_from_slice(&VERSION.to_le_bytes());
    start
}

/// The two sections of a file, checked.
pub(crate) fn open(kind: Kind, bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let (magic, rest) = take(bytes, MAGIC_LEN)?;
    if magic != kind.magic() {
        return Err(damaged("its first bytes are not those of this kind of file"));
    }
    let (version, rest) = take(rest, 4)?;
    match u32::from_le_bytes(fixed(version)?) {
        VERSION => {}
        found => {
            return Err(Error::config(format!(
                "found format version {found}, expected {VERSION}: it is newer or damaged"
            )));
        }
    }
    let (header, rest) = section(rest)?;
    let (body, rest) = section(rest)?;
    if rest.is_empty() { Ok((header, body)) } else { Err(damaged("it goes on after its end")) }
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
