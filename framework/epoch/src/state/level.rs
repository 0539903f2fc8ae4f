//! `Level`: pieces of rows, one per pane, with the index from key to row. The sealed state is one level, the overlay of
//! an undecided epoch another.

use std::collections::BTreeMap;
use std::ops::Bound;

use arrow_array::BinaryArray;
use hashbrown::{HashTable, hash_table};

use super::chunk::{Chunk, Place};
use super::layout::{Pieces, StateLayout};

mod disk;
mod merge;
mod runs;

pub(super) use disk::Lent;

type Index = HashTable<Entry>;

/// What a row is found by.
#[derive(Clone, Copy)]
pub(super) struct Identity<'a> {
    /// Needed only where the index is by pane, and among the rows of one key.
    pub(super) pane: Option<i64>,
    pub(super) hash: u64,
    pub(super) key: &'a [u8],
    /// Which of the rows of the key, if it may have several.
    pub(super) id: Option<i64>,
}

/// What the index holds of a row, or of a run of rows of one key: 16 bytes.
#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    place: Place,
}

/// The chunks of one piece, oldest first.
#[derive(Default)]
pub(super) struct Pane {
    chunks: Vec<u32>,
    index: Index,
    /// Bounds of the panes in it.
    range: Option<(i64, i64)>,
}

impl Pane {
    pub(super) fn chunks(&self) -> &[u32] {
        &self.chunks
    }
}

/// Rows with an index.
pub(super) struct Level {
    chunks: Vec<Option<Chunk>>,
    /// Slots that may be used again.
    free: Vec<u32>,
    /// Slots that became empty since `recycle`: places that point there must stay dead till then.
    emptied: Vec<u32>,
    panes: BTreeMap<Option<i64>, Pane>,
    /// One index for all panes, where the key does not fix the pane.
    shared: Option<Index>,
    pieces: Pieces,
    /// A key may have several rows: the index is of runs, which stay in it as long as their chunk.
    several: bool,
    /// Larger than what tells any row from others of its key.
    next_id: i64,
    live: usize,
    bytes: usize,
    /// How many chunks are on disk.
    on_disk: usize,
    /// How often it was sealed into.
    seals: u64,
}

impl Level {
    pub(super) fn new(layout: &StateLayout) -> Self {
        let shared = (!layout.key_has_pane()).then(Index::new);
        let (pieces, several) = (layout.pieces(), layout.row_column.is_some());
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            emptied: Vec::new(),
            panes: BTreeMap::new(),
            shared,
            pieces,
            several,
            next_id: 0,
            live: 0,
            bytes: 0,
            on_disk: 0,
            seals: 0,
        }
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Bytes of rows, keys and indexes.
    pub(super) fn bytes(&self) -> usize {
        let indexes: usize = self.panes.values().map(|it| it.index.allocation_size()).sum();
        self.bytes + indexes + self.shared.as_ref().map_or(0, HashTable::allocation_size)
    }

    pub(super) fn chunk(&self, id: u32) -> Option<&Chunk> {
        self.chunks.get(id as usize)?.as_ref()
    }

    /// Larger than what tells any row that was ever here from others of its key.
    pub(super) fn next_id(&self) -> i64 {
        self.next_id
    }

    /// True if a key may have several rows.
    pub(super) fn has_several(&self) -> bool {
        self.several
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = (Option<i64>, &Pane)> {
        self.panes.iter().map(|(piece, pane)| (*piece, pane))
    }

    pub(super) fn pane(&self, piece: Option<i64>) -> Option<&Pane> {
        self.panes.get(&piece)
    }

    /// Pieces that hold panes at or before `through_us`, by time.
    pub(super) fn pieces_through(&self, through_us: i64) -> Vec<Option<i64>> {
        let last = Bound::Included(self.pieces.last(through_us));
        let over = self.panes.range((Bound::Excluded(None), last));
        over.filter(|(_, pane)| pane.range.is_some_and(|it| it.0 <= through_us)).map(|(piece, _)| *piece).collect()
    }

    /// The live row that is `wanted`.
    pub(super) fn find(&self, wanted: Identity<'_>, lent: &Lent) -> Option<Place> {
        if self.several {
            return self.find_in_runs(wanted, lent);
        }
        let index = self.index(wanted.pane)?;
        let same = |it: &Entry| it.hash == wanted.hash && self.has_key(it.place, wanted.key, lent);
        index.find(wanted.hash, same).map(|it| it.place)
    }

    /// Where the rows of these panes and hashes are, going by hashes alone. The index is larger than any cache; reads that wait
    /// for nothing but a hash overlap.
    pub(super) fn guess(&self, wanted: impl Iterator<Item = (Option<i64>, u64)>) -> Vec<Place> {
        let place = |pane, hash| Some(self.index(pane)?.find(hash, |it| it.hash == hash)?.place);
        wanted.map(|(pane, hash)| place(pane, hash).unwrap_or(Place::NONE)).collect()
    }

    /// As [`find`](Self::find), with the row's [`guess`](Self::guess).
    pub(super) fn find_guessed(&self, guess: Place, wanted: Identity<'_>, lent: &Lent) -> Option<Place> {
        match guess {
            Place::NONE => None,
            _ if !self.several && self.has_key(guess, wanted.key, lent) => Some(guess),
            _ => self.find(wanted, lent),
        }
    }

    /// The index that a key of this pane is in.
    fn index(&self, pane: Option<i64>) -> Option<&Index> {
        match &self.shared {
            Some(index) => Some(index),
            None => self.panes.get(&self.pieces.of(pane)).map(|it| &it.index),
        }
    }

    /// Adds a chunk without indexing its rows, and returns its number.
    pub(super) fn add(&mut self, chunk: Chunk) -> u32 {
        let piece = chunk.piece();
        let range = chunk.pane_range();
        let mut chunk = chunk;
        chunk.age = self.seals;
        let id = self.slot(chunk);
        let pane = self.panes.entry(piece).or_default();
        pane.chunks.push(id);
        pane.range = match (pane.range, range) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        id
    }

    /// Points the key of `hash` at `to`: from `from` if that is a place, else as a new key.
    pub(super) fn point(&mut self, piece: Option<i64>, hash: u64, from: Place, to: Place) {
        point(index_of(&mut self.shared, &mut self.panes, piece), hash, from, to);
    }

    /// As [`point`](Self::point), for rows of a chunk by hash and where their key points so far. The index is larger than any
    /// cache: with nothing between them, its reads overlap.
    pub(super) fn point_all(&mut self, piece: Option<i64>, chunk: u32, rows: &[(usize, u64, Place)]) {
        let index = index_of(&mut self.shared, &mut self.panes, piece);
        for (row, hash, from) in rows {
            point(index, *hash, *from, Place::new(chunk, *row));
        }
    }

    /// Makes all rows of a chunk in memory findable by their `keys` and `hashes`; false if a key is there already.
    pub(super) fn point_new(&mut self, piece: Option<i64>, id: u32, keys: &BinaryArray, hashes: &[u64]) -> bool {
        let index = index_of(&mut self.shared, &mut self.panes, piece);
        index.reserve(hashes.len(), |it| it.hash);
        let chunks = &self.chunks;
        hashes.iter().enumerate().all(|(row, hash)| {
            let key = keys.value(row);
            let held = |it: Place| chunks.get(it.chunk as usize).and_then(Option::as_ref);
            let same =
                |it: &Entry| it.hash == *hash && held(it.place).is_some_and(|chunk| chunk.has_key(it.place.row(), key));
            match index.entry(*hash, same, |it| it.hash) {
                hash_table::Entry::Occupied(_) => false,
                hash_table::Entry::Vacant(free) => {
                    free.insert(Entry { hash: *hash, place: Place::new(id, row) });
                    true
                }
            }
        })
    }

    /// A chunk, to be changed in what it is not found by.
    pub(super) fn chunk_mut(&mut self, id: u32) -> Option<&mut Chunk> {
        self.chunks.get_mut(id as usize).and_then(Option::as_mut)
    }

    /// Marks a row dead, leaving the index alone; false if it was.
    pub(super) fn kill(&mut self, place: Place) -> bool {
        let chunk = self.chunks.get_mut(place.chunk as usize).and_then(Option::as_mut);
        let Some(chunk) = chunk else { return false };
        let before = chunk.bytes();
        let killed = chunk.kill(place.row());
        self.bytes = self.bytes + chunk.bytes() - before;
        self.live -= usize::from(killed);
        killed
    }

    /// Marks a row dead and forgets its key; false if it was.
    pub(super) fn remove(&mut self, place: Place) -> bool {
        let Some(chunk) = self.chunk(place.chunk) else { return false };
        let (hash, piece) = (chunk.hash(place.row()), chunk.piece());
        let killed = self.kill(place);
        if killed && !self.several {
            forget(index_of(&mut self.shared, &mut self.panes, piece), hash, place);
        }
        killed
    }

    /// Drops all rows whose pane is at or before `through_us`; pieces that are over go whole.
    pub(super) fn drop_through(&mut self, through_us: i64) {
        for piece in self.pieces_through(through_us) {
            let whole = self.panes.get(&piece).is_some_and(|it| it.range.is_none_or(|it| it.1 <= through_us));
            if whole && self.pieces != Pieces::One {
                self.drop_piece(piece);
            } else {
                self.thin(piece, through_us);
            }
        }
    }

    /// Lets emptied slots be used again. Until then a place that points into one is known to be dead.
    pub(super) fn recycle(&mut self) {
        self.seals += 1;
        self.free.append(&mut self.emptied);
    }

    /// Takes all chunks out, by piece and age, with their numbers.
    pub(super) fn into_chunks(mut self) -> Vec<(Option<i64>, u32, Chunk)> {
        let mut chunks = Vec::new();
        for (piece, pane) in std::mem::take(&mut self.panes) {
            for id in pane.chunks {
                let chunk = self.chunks.get_mut(id as usize).and_then(Option::take);
                chunks.extend(chunk.map(|it| (piece, id, it)));
            }
        }
        chunks
    }

    fn drop_piece(&mut self, piece: Option<i64>) {
        let Some(pane) = self.panes.remove(&piece) else { return };
        for id in pane.chunks {
            let chunk = self.unslot(id);
            // Where the key does not fix the pane, its keys stand in the index of all (whose state has no runs).
            if let (Some(index), Some(chunk)) = (&mut self.shared, chunk) {
                for row in chunk.live_rows() {
                    forget(index, chunk.hash(row), Place::new(id, row));
                }
            }
        }
    }

    /// Drops the rows of a piece that are over, one by one: it holds panes on both sides of the line.
    fn thin(&mut self, piece: Option<i64>, through_us: i64) {
        let ids = self.panes.get(&piece).map(|it| it.chunks.clone()).unwrap_or_default();
        for id in ids {
            if self.several {
                self.thin_chunk(id, through_us);
                continue;
            }
            let Some(chunk) = self.chunk(id) else { continue };
            let rows: Vec<usize> = chunk.over(through_us).filter(|row| chunk.is_live(*row)).collect();
            for row in rows {
                self.remove(Place::new(id, row));
            }
        }
        if let Some(range) = self.panes.get_mut(&piece).and_then(|it| it.range.as_mut()) {
            range.0 = through_us.saturating_add(1);
        }
    }

    fn size(&self, id: u32) -> (usize, usize) {
        self.chunk(id).map_or((0, 0), |it| (it.live(), it.size()))
    }

    fn slot(&mut self, chunk: Chunk) -> u32 {
        self.live += chunk.live();
        self.bytes += chunk.bytes();
        self.next_id = self.next_id.max(chunk.next_id());
        if let Some(id) = self.free.pop()
            && let Some(slot) = self.chunks.get_mut(id as usize)
        {
            *slot = Some(chunk);
            return id;
        }
        self.chunks.push(Some(chunk));
        u32::try_from(self.chunks.len() - 1).unwrap_or(u32::MAX)
    }

    fn unslot(&mut self, id: u32) -> Option<Chunk> {
        let chunk = self.take_out(id)?;
        self.live -= chunk.live();
        Some(chunk)
    }

    /// Takes a chunk out whose rows stay in the count.
    fn take_out(&mut self, id: u32) -> Option<Chunk> {
        let chunk = self.chunks.get_mut(id as usize).and_then(Option::take)?;
        self.bytes -= chunk.bytes();
        self.on_disk -= usize::from(chunk.is_on_disk());
        self.emptied.push(id);
        Some(chunk)
    }
}

/// The index that holds the keys of a piece.
fn index_of<'a>(
    shared: &'a mut Option<Index>,
    panes: &'a mut BTreeMap<Option<i64>, Pane>,
    piece: Option<i64>,
) -> &'a mut Index {
    match shared {
        Some(index) => index,
        None => &mut panes.entry(piece).or_default().index,
    }
}

#[inline]
fn point(index: &mut Index, hash: u64, from: Place, to: Place) {
    let known = if from == Place::NONE { None } else { index.find_mut(hash, |it| it.place == from) };
    match known {
        Some(entry) => entry.place = to,
        None => {
            index.insert_unique(hash, Entry { hash, place: to }, |it| it.hash);
        }
    }
}

fn forget(index: &mut Index, hash: u64, place: Place) {
    if let Ok(entry) = index.find_entry(hash, |it| it.place == place) {
        entry.remove();
    }
}
