//! The sweep over sessions that are sorted by key and start: what touches is one.

#[cfg(test)]
mod tests;

/// A session before the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    /// Which key it is of: any number that is the same for the same key.
    pub(super) key: u32,
    pub(super) start: i64,
    /// False: the state has it already. Such pieces go first, so that order-sensitive functions see them as the older ones.
    pub(super) is_new: bool,
    /// Where its row is.
    pub(super) row: u32,
    pub(super) end: i64,
}

/// Sessions that touch each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merged {
    pub(super) start: i64,
    pub(super) end: i64,
    /// Its pieces, as a range of the sorted ones.
    pub(super) first: usize,
    pub(super) count: usize,
    /// True if one of them is new.
    pub(super) has_new: bool,
}

/// Sorts the pieces and merges those of a key whose next start is at or before the end so far.
pub(super) fn sweep(pieces: &mut [Piece]) -> Vec<Merged> {
    pieces.sort_unstable();
    let mut merged: Vec<Merged> = Vec::new();
    let mut key = None;
    for (at, piece) in pieces.iter().enumerate() {
        match merged.last_mut() {
            Some(last) if key == Some(piece.key) && piece.start <= last.end => {
                last.end = last.end.max(piece.end);
                last.count += 1;
                last.has_new |= piece.is_new;
            }
            _ => {
                let Piece { start, end, is_new, .. } = *piece;
                merged.push(Merged { start, end, first: at, count: 1, has_new: is_new });
            }
        }
        key = Some(piece.key);
    }
    merged
}
