//! What can be asked of a state: rows by key, all rows, what the epoch changed, the sealed whole.

use std::collections::BTreeSet;

use arrow_array::{Array, BinaryArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use tidegate_api::{Error, Result};

use super::KeyedState;
use crate::program::{OperatorDelta, OperatorSnapshot};
use crate::state::chunk::{Chunk, Pick, Place, Sources, gather};
use crate::state::key::key_hash;
use crate::state::layout::StateLayout;
use crate::state::level::{Identity, Lent, Level};

/// Rows of a batch that `all` gives.
const BATCH_ROWS: usize = 1 << 16;

/// What a state has of the keys that were asked for.
#[derive(Debug)]
pub struct Matching {
    /// Its rows: each once, in the order in which the keys first come.
    pub rows: RecordBatch,
    /// For each of them, the first row that asked for it.
    pub of: Vec<usize>,
}

impl KeyedState {
    /// The rows that those in `rows` name (the whole schema, or the columns alone that say which row it is).
    ///
    /// # Errors
    /// `Config` if the columns are not those of the layout; as reading rows that are on disk.
    pub fn matching(&self, rows: &RecordBatch) -> Result<Matching> {
        let keys = Keys::of(&self.layout, rows)?;
        let lent = self.lend(&keys)?;
        let mut found = Vec::new();
        for (at, guess) in self.guesses(&keys).into_iter().enumerate() {
            let wanted = keys.get(at);
            let place = match self.overlay.level.find(wanted, &Lent::NONE) {
                Some(place) => Some((false, place)),
                None => self.guessed_row(guess, wanted, &lent).map(|it| (true, it)),
            };
            found.extend(place.map(|(sealed, place)| (sealed, place, at)));
        }
        found.sort_unstable();
        found.dedup_by_key(|it| (it.0, it.1));
        let mut sources: Vec<&Chunk> = Vec::new();
        let mut last = None;
        let mut picks = Vec::with_capacity(found.len());
        for (sealed, place, at) in found {
            if last != Some((sealed, place.chunk)) {
                last = Some((sealed, place.chunk));
                let level = if sealed { &self.sealed } else { &self.overlay.level };
                sources.extend(level.chunk(place.chunk));
            }
            picks.push((at, Pick { pane: None, hash: 0, source: sources.len().saturating_sub(1), row: place.row() }));
        }
        picks.sort_unstable_by_key(|it| it.0);
        let (of, picks): (Vec<_>, Vec<_>) = picks.into_iter().unzip();
        let sources = Sources::new(sources, picks.iter().map(|it| (it.source, it.row)))?;
        Ok(Matching { rows: gather(&self.layout.schema, &sources, &picks)?, of })
    }

    /// All rows, those of this epoch too, in order of pane (null first), hash and key.
    ///
    /// # Errors
    /// `Internal` if they can't be copied.
    pub fn all(&self) -> Result<Vec<RecordBatch>> {
        let pieces: BTreeSet<_> =
            self.sealed.pieces().chain(self.overlay.level.pieces()).map(|(piece, _)| piece).collect();
        let mut batches = Vec::new();
        for piece in pieces {
            let mut sources: Vec<&Chunk> = Vec::new();
            let mut picks = Vec::new();
            for (_, chunk) in chunks_of(&self.overlay.level, piece) {
                picks.extend(chunk.live_rows().map(|row| Pick::of(chunk, sources.len(), row)));
                sources.push(chunk);
            }
            for (id, chunk) in chunks_of(&self.sealed, piece) {
                let seen =
                    |row: &usize| !self.overlay.is_over(chunk.pane(*row)) && !self.overlay.hides(Place::new(id, *row));
                picks.extend(chunk.live_rows().filter(seen).map(|row| Pick::of(chunk, sources.len(), row)));
                sources.push(chunk);
            }
            let sources = Sources::new(sources, picks.iter().map(|it| (it.source, it.row)))?;
            Pick::sort(&mut picks, &sources, self.layout.pieces());
            for part in picks.chunks(BATCH_ROWS) {
                batches.push(gather(&self.layout.schema, &sources, part)?);
            }
        }
        Ok(batches)
    }

    /// The smallest pane of a sealed row, microseconds; nothing if none has one. What an epoch changes does not count yet.
    pub fn first_pane(&self) -> Option<i64> {
        let pieces = self.sealed.pieces().map(|(piece, _)| piece);
        let chunks = pieces.flat_map(|piece| chunks_of(&self.sealed, piece));
        chunks.filter_map(|(_, chunk)| chunk.first_pane()).min()
    }

    /// Number of rows, with this epoch's changes.
    pub fn len(&self) -> usize {
        (self.sealed.live() + self.overlay.level.live()).saturating_sub(self.overlay.hidden() + self.overlay.evicted)
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held in memory by rows, keys and indexes.
    pub fn memory_bytes(&self) -> usize {
        self.sealed.bytes() + self.overlay.bytes()
    }

    /// Bytes of its files on local disk.
    pub fn disk_bytes(&self) -> u64 {
        self.sealed.file_bytes()
    }

    /// Bytes of sealed rows and their keys that are in memory: what a [`StateMemory`](crate::state::StateMemory) limits.
    pub fn held_bytes(&self) -> usize {
        self.sealed.held().map(|it| it.2).sum()
    }

    /// The sealed chunks that are in memory: number, age and bytes.
    pub(in crate::state) fn held_chunks(&self) -> impl Iterator<Item = (u32, u64, usize)> {
        self.sealed.held()
    }

    /// What the overlay changes, rows ordered by virtual node; none if it changes nothing.
    ///
    /// # Errors
    /// `Internal` if the rows can't be copied.
    pub fn delta(&self) -> Result<Option<OperatorDelta>> {
        let mut sources: Vec<&Chunk> = Vec::new();
        let mut puts = Vec::new();
        for (piece, _) in self.overlay.level.pieces() {
            for (_, chunk) in chunks_of(&self.overlay.level, piece) {
                puts.extend(chunk.live_rows().map(|row| Pick::of(chunk, sources.len(), row)));
                sources.push(chunk);
            }
        }
        let puts = self.by_node(sources, puts)?;
        let tombstones = self.tombstones()?;
        let evict_through_us = self.overlay.through_us.filter(|_| self.overlay.evicts);
        if puts.is_none() && tombstones.is_none() && evict_through_us.is_none() {
            return Ok(None);
        }
        let (operator, layout) = (self.layout.operator.clone(), self.layout.layout.clone());
        let shape = puts.as_ref().map(|_| self.layout.shape());
        Ok(Some(OperatorDelta { operator, layout, evict_through_us, tombstones, puts, shape }))
    }

    /// The sealed state. Chunks without dead rows are shared; live rows of others are copied, and rows on disk read, when
    /// the snapshot's rows are asked for: the loop that takes it does not wait for that.
    pub fn snapshot(&self) -> OperatorSnapshot {
        let (mut rows, mut later) = (Vec::new(), Vec::new());
        for (piece, _) in self.sealed.pieces() {
            for (_, chunk) in chunks_of(&self.sealed, piece).filter(|(_, chunk)| chunk.live() > 0) {
                match chunk.whole() {
                    Some(whole) => rows.push(whole.clone()),
                    None => later.push(chunk.later()),
                }
            }
        }
        let (operator, layout) = (self.layout.operator.clone(), self.layout.layout.clone());
        OperatorSnapshot { operator, layout, rows, later, shape: Some(self.layout.shape()) }
    }

    /// Reads the keys of sealed rows on disk that may be these.
    pub(super) fn lend(&self, keys: &Keys) -> Result<Lent> {
        self.sealed.lend((0..keys.len()).map(|it| keys.get(it)).map(|it| (it.pane, it.hash)))
    }

    /// The sealed level's guesses where these keys are.
    pub(super) fn guesses(&self, keys: &Keys) -> Vec<Place> {
        self.sealed.guess((0..keys.len()).map(|at| keys.get(at)).map(|it| (it.pane, it.hash)))
    }

    /// The sealed row of a key, if the overlay leaves it to be seen.
    pub(super) fn guessed_row(&self, guess: Place, wanted: Identity<'_>, lent: &Lent) -> Option<Place> {
        self.sealed.find_guessed(guess, wanted, lent).filter(|it| self.is_seen(*it))
    }

    /// True if the overlay leaves a live sealed row to be seen.
    pub(super) fn is_seen(&self, place: Place) -> bool {
        let pane = self.sealed.chunk(place.chunk).and_then(|it| it.pane(place.row()));
        !self.overlay.is_over(pane) && !self.overlay.hides(place)
    }

    /// The keys that the epoch removed and eviction does not take anyway.
    fn tombstones(&self) -> Result<Option<RecordBatch>> {
        let mut tombs = self.overlay.tombs.clone();
        tombs.sort_unstable();
        let mut sources: Vec<&Chunk> = Vec::new();
        let mut picks = Vec::with_capacity(tombs.len());
        let mut last = None;
        for place in tombs {
            let Some(chunk) = self.sealed.chunk(place.chunk) else { continue };
            if last != Some(place.chunk) {
                last = Some(place.chunk);
                sources.push(chunk);
            }
            if !(self.overlay.evicts && self.overlay.is_over(chunk.pane(place.row()))) {
                picks.push(Pick::of(chunk, sources.len() - 1, place.row()));
            }
        }
        let Some(rows) = self.by_node(sources, picks)? else { return Ok(None) };
        let keys = rows.project(&self.layout.identity()).map_err(|e| Error::internal("state keys").because(e))?;
        Ok(Some(keys))
    }

    fn by_node(&self, chunks: Vec<&Chunk>, mut picks: Vec<Pick>) -> Result<Option<RecordBatch>> {
        if picks.is_empty() {
            return Ok(None);
        }
        let sources = Sources::new(chunks, picks.iter().map(|it| (it.source, it.row)))?;
        Pick::sort_by_node(&mut picks, &sources);
        gather(&self.layout.schema, &sources, &picks).map(Some)
    }
}

/// The keys of rows given from outside, with what it takes to find them.
pub(super) struct Keys {
    keys: BinaryArray,
    panes: Option<TimestampMicrosecondArray>,
    ids: Option<Int64Array>,
}

impl Keys {
    pub(super) fn of(layout: &StateLayout, rows: &RecordBatch) -> Result<Self> {
        Ok(Self { keys: layout.keys(rows)?, panes: layout.panes(rows), ids: layout.row_ids(rows) })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// What a row is found by.
    pub(super) fn get(&self, row: usize) -> Identity<'_> {
        let pane = self.panes.as_ref().filter(|it| it.is_valid(row)).map(|it| it.value(row));
        let key = self.keys.value(row);
        let id = self.ids.as_ref().map(|it| it.value(row));
        Identity { pane, hash: key_hash(key), key, id }
    }
}

fn chunks_of(level: &Level, piece: Option<i64>) -> impl Iterator<Item = (u32, &Chunk)> {
    let ids = level.pane(piece).map_or(&[][..], |it| it.chunks());
    ids.iter().filter_map(|id| level.chunk(*id).map(|chunk| (*id, chunk)))
}

pub(super) fn chunks_through(level: &Level, through_us: i64) -> impl Iterator<Item = (u32, &Chunk)> {
    level.pieces_through(through_us).into_iter().flat_map(|piece| chunks_of(level, piece))
}
