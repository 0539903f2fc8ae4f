//! Checksums beside files that carry none, in Hadoop's form (`.<name>.crc`), so that its tools check them too.
//!
//! ```text
//! "crc\0" · u32 bytes that a checksum is of · u32 CRC-32 of each such piece      big endian
//! ```
//! They are read by a check of the whole checkpoint, and at a start those of the few files that say what the checkpoint is. One
//! without its file tells that the file is missing.

/// Hadoop's piece.
const PIECE: usize = 512;
/// That of large files, which need no finer one.
const LARGE_PIECE: usize = 1 << 20;
const MAGIC: &[u8; 4] = b"crc\0";

/// Whether a file has its checksum beside it. Those that are written each epoch have it inside, or are derived from one
/// that has; those that are written again and again have none.
pub(crate) fn is_due(key: &str) -> bool {
    match key.split('/').collect::<Vec<_>>().as_slice() {
        ["metadata"] | ["state", "version" | "location"] => true,
        ["state", "snapshots" | "sources" | "generations" | "branches", _] | ["sources", _, _] => true,
        ["state", "owner", name] => !name.ends_with(".beat"),
        ["state", "sinks" | "tables", _, _] => true,
        _ => false,
    }
}

/// The key of the checksum of a file.
pub(crate) fn key_of(key: &str) -> String {
    match key.rsplit_once('/') {
        Some((folder, name)) => format!("{folder}/.{name}.crc"),
        None => format!(".{key}.crc"),
    }
}

/// The key of the file that a checksum is of.
pub(crate) fn file_of(sidecar: &str) -> Option<String> {
    let (folder, name) = sidecar.rsplit_once('/').map_or(("", sidecar), |(folder, name)| (folder, name));
    let name = name.strip_prefix('.')?.strip_suffix(".crc")?;
    Some(if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") })
}

/// The bytes of the checksum of a file that consists of `parts`.
pub(crate) fn of(parts: &[&[u8]]) -> Vec<u8> {
    let size: usize = parts.iter().map(|it| it.len()).sum();
    with_piece(parts, if size > LARGE_PIECE { LARGE_PIECE } else { PIECE })
}

/// True of checksums that a loss of power has not torn.
pub(crate) fn is_whole(sidecar: &[u8]) -> bool {
    let sums = sidecar.get(8..).filter(|_| sidecar.starts_with(MAGIC)).unwrap_or_default();
    sums.len() % 4 == 0 && sums.iter().any(|it| *it != 0)
}

/// True if these are the checksums of `file`, as we write them.
pub(crate) fn fits(sidecar: &[u8], file: &[u8]) -> bool {
    of(&[file]) == sidecar
}

fn with_piece(parts: &[&[u8]], piece: usize) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &u32::try_from(piece).unwrap_or(u32::MAX).to_be_bytes()].concat();
    let (mut hasher, mut room) = (crc32fast::Hasher::new(), piece);
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(room.min(rest.len()));
            hasher.update(now);
            room -= now.len();
            rest = later;
            if room == 0 {
                bytes.extend(std::mem::take(&mut hasher).finalize().to_be_bytes());
                room = piece;
            }
        }
    }
    if room < piece {
        bytes.extend(hasher.finalize().to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests;
