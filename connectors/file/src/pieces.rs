//! Parts of files: what a range of positions means, and how it is cut for reading side by side.

use std::path::Path;
use std::sync::Arc;

use tidegate_api::{OffsetRange, PartitionId, Split};

use crate::offset::{FileOffset, Inside};

/// A piece is not cut smaller than this.
const MIN_PIECE_BYTES: u64 = 1 << 20;

/// A file of a log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoggedFile {
    pub(crate) path: Arc<Path>,
    /// None: not looked at yet.
    pub(crate) size: Option<u64>,
}

/// The lines of a file that begin in `from..to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) entry: i64,
    pub(crate) file: usize,
    pub(crate) path: Arc<Path>,
    pub(crate) from: u64,
    /// None: to the end.
    pub(crate) to: Option<u64>,
}

/// The pieces of entry `n` that lie in `range`, in order.
pub(crate) fn pieces(range: &OffsetRange<FileOffset>, n: i64, files: &[LoggedFile]) -> Vec<Piece> {
    let inside = |offset: &FileOffset| offset.inside.filter(|_| offset.log_offset == n);
    let start = inside(&range.start).unwrap_or(Inside { file: 0, byte: 0 });
    let end = inside(&range.end);
    let mut out = Vec::new();
    for (file, logged) in files.iter().enumerate().skip(start.file) {
        let from = if file == start.file { start.byte } else { 0 };
        let to = end.filter(|it| it.file == file).map(|it| it.byte);
        if end.is_some_and(|it| it.file < file) || to.is_some_and(|it| it <= from) {
            break;
        }
        out.push(Piece { entry: n, file, path: logged.path.clone(), from, to });
    }
    out
}

/// The entries that a range touches.
pub(crate) fn entries(range: &OffsetRange<FileOffset>) -> std::ops::RangeInclusive<i64> {
    range.start.whole() + 1..=range.end.log_offset
}

/// Cuts whole pieces, of files with these sizes, into at most `max` splits, but one a file at least, ordered by path and
/// position: a file is a partition. `after` is where the range ends.
pub(crate) fn cut(whole: &[(Piece, u64)], start: FileOffset, after: FileOffset, max: usize) -> Vec<Split<FileOffset>> {
    let length = |(piece, size): &(Piece, u64)| piece.to.unwrap_or(*size).saturating_sub(piece.from);
    let total: u64 = whole.iter().map(length).sum();
    let mut splits = Vec::new();
    let mut begin = start;
    for (at, (piece, size)) in whole.iter().enumerate() {
        let bytes = length(&(piece.clone(), *size));
        let share = u128::from(bytes) * (max as u128) / u128::from(total.max(1));
        let count = u64::try_from(share).unwrap_or(1).min(bytes / MIN_PIECE_BYTES).max(1);
        for number in 0..count {
            let cut_at = |it: u64| {
                piece.from + u64::try_from(u128::from(bytes) * u128::from(it) / u128::from(count)).unwrap_or(0)
            };
            let end = if number + 1 < count {
                FileOffset::inside(piece.entry, piece.file, cut_at(number + 1))
            } else {
                whole.get(at + 1).map_or(after, |(next, _)| begin_of(next))
            };
            splits.push(Split {
                range: OffsetRange { start: begin, end },
                partition: PartitionId { name: piece.path.to_string_lossy().into(), number: 0 },
                bytes: Some(cut_at(number + 1) - cut_at(number)),
            });
            begin = end;
        }
    }
    // Entries are in the order of time; stable, so pieces of a file stay in order.
    splits.sort_by(|a, b| a.partition.cmp(&b.partition));
    splits
}

/// The position before a whole file.
fn begin_of(piece: &Piece) -> FileOffset {
    match piece.file {
        0 => FileOffset::after(piece.entry - 1),
        file => FileOffset::inside(piece.entry, file, 0),
    }
}

#[cfg(test)]
mod tests;
