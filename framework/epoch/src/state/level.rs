//! `Level`: pieces of rows, one per pane, with the index from key to row. The sealed state is one level, the overlay of
//! an undecided epoch another.

use std::collections::BTreeMap;
use std::ops::Bound;

use hashbrown::HashTable;
use tidegate_api::Result;

use super::chunk::{Chunk, MAX_BYTES, MAX_ROWS, Pick, Place, gather, gather_keys};
use super::layout::{Pieces, StateLayout};

mod runs;

/// As many chunks of about one size are merged into one.
const FAN: usize = 8;

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
    pub(super) fn find(&self, wanted: Identity<'_>) -> Option<Place> {
        if self.several {
            return self.find_in_runs(wanted);
        }
        let index = self.index(wanted.pane)?;
        let same = |it: &Entry| {
            it.hash == wanted.hash && self.chunk(it.place.chunk).is_some_and(|c| c.key(it.place.row()) == wanted.key)
        };
        index.find(wanted.hash, same).map(|it| it.place)
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
        let index = index_of(&mut self.shared, &mut self.panes, piece);
        let known = if from == Place::NONE { None } else { index.find_mut(hash, |it| it.place == from) };
        if let Some(entry) = known {
            entry.place = to;
            return;
        }
        index.insert_unique(hash, Entry { hash, place: to }, |it| it.hash);
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

    /// Drops dead chunks of a piece, rewrites those that are mostly dead, merges small ones and gives back what the
    /// index no longer needs. An error leaves the piece as good as it was.
    pub(super) fn tidy(&mut self, layout: &StateLayout, piece: Option<i64>) -> Result<()> {
        self.drop_dead(piece);
        let stale = |id: &u32| self.chunk(*id).is_some_and(|it| it.live() * 2 < it.len());
        let stale: Vec<u32> =
            self.panes.get(&piece).map(|pane| pane.chunks.iter().copied().filter(stale).collect()).unwrap_or_default();
        for id in stale {
            self.merge(layout, piece, &[id])?;
        }
        while let Some(ids) = self.mergeable(piece) {
            self.merge(layout, piece, &ids)?;
        }
        let index = self.shared.as_mut().or_else(|| self.panes.get_mut(&piece).map(|it| &mut it.index));
        if let Some(index) = index.filter(|it| it.capacity() > 64 && it.len() * 8 < it.capacity()) {
            index.shrink_to(index.len() * 2, |it| it.hash);
        }
        Ok(())
    }

    /// Lets emptied slots be used again. Until then a place that points into one is known to be dead.
    pub(super) fn recycle(&mut self) {
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

    /// The newest chunks of a piece that are due for one merge.
    fn mergeable(&self, piece: Option<i64>) -> Option<Vec<u32>> {
        let chunks = &self.panes.get(&piece)?.chunks;
        let tier = |id: u32| self.size(id).0.max(1).ilog2() / FAN.ilog2();
        let newest = tier(*chunks.last()?);
        let (mut rows, mut bytes) = (0, 0);
        let due = chunks.iter().rev().take_while(|id| {
            let size = self.size(**id);
            (rows, bytes) = (rows + size.0, bytes + size.1);
            tier(**id) <= newest && rows <= MAX_ROWS && bytes <= MAX_BYTES
        });
        let count = due.count();
        (count >= FAN).then(|| chunks.get(chunks.len() - count..).map(<[u32]>::to_vec))?
    }

    /// Writes the live rows of chunks that follow each other into one.
    fn merge(&mut self, layout: &StateLayout, piece: Option<i64>, ids: &[u32]) -> Result<()> {
        let sources: Vec<&Chunk> = ids.iter().filter_map(|id| self.chunk(*id)).collect();
        let mut picks = Vec::with_capacity(sources.iter().map(|it| it.live()).sum());
        for (source, chunk) in sources.iter().enumerate() {
            picks.extend(chunk.live_rows().map(|row| Pick::of(chunk, source, row)));
        }
        Pick::sort(&mut picks, &sources, self.pieces);
        let rows = gather(&layout.schema, &sources, &picks)?;
        let merged = Chunk::new(rows, gather_keys(&sources, &picks)?, layout);
        let live = self.live;
        let id = self.slot(merged);
        self.live = live;
        if self.several {
            ids.iter().for_each(|old| self.forget_runs(piece, *old));
            self.add_runs(piece, id);
        } else {
            let index = index_of(&mut self.shared, &mut self.panes, piece);
            for (at, pick) in picks.iter().enumerate() {
                let from = Place::new(ids.get(pick.source).copied().unwrap_or(u32::MAX), pick.row);
                if let Some(entry) = index.find_mut(pick.hash, |it| it.place == from) {
                    entry.place = Place::new(id, at);
                }
            }
        }
        if let Some(pane) = self.panes.get_mut(&piece) {
            let at = pane.chunks.iter().position(|it| ids.first() == Some(it)).unwrap_or(0);
            pane.chunks.insert(at, id);
            pane.chunks.retain(|it| !ids.contains(it));
        }
        for id in ids {
            if let Some(chunk) = self.chunks.get_mut(*id as usize).and_then(Option::take) {
                self.bytes -= chunk.bytes();
                self.emptied.push(*id);
            }
        }
        Ok(())
    }

    fn drop_dead(&mut self, piece: Option<i64>) {
        let Some(pane) = self.panes.get(&piece) else { return };
        let dead: Vec<u32> = pane.chunks.iter().copied().filter(|id| self.size(*id).0 == 0).collect();
        for id in &dead {
            if self.several {
                self.forget_runs(piece, *id);
            }
            self.unslot(*id);
        }
        if let Some(pane) = self.panes.get_mut(&piece) {
            pane.chunks.retain(|it| !dead.contains(it));
            if pane.chunks.is_empty() {
                self.panes.remove(&piece);
            }
        }
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
        self.chunk(id).map_or((0, 0), |it| (it.live(), it.bytes()))
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
        let chunk = self.chunks.get_mut(id as usize).and_then(Option::take)?;
        self.live -= chunk.live();
        self.bytes -= chunk.bytes();
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

fn forget(index: &mut Index, hash: u64, place: Place) {
    if let Ok(entry) = index.find_entry(hash, |it| it.place == place) {
        entry.remove();
    }
}
