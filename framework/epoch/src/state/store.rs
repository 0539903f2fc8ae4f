//! `KeyedState`: the rows of one operator by key, with an overlay for the epoch that is not decided yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use tidegate_api::{Error, Result};

use super::chunk::{Chunk, MAX_ROWS, Place};
use super::layout::StateLayout;
use super::level::{Identity, Lent, Level};
use super::overlay::Overlay;
use super::spill::SpillFolder;
use crate::ahead::ahead;
use crate::program::{OperatorDelta, OperatorSnapshot};
use read::Keys;

mod absent;
mod evict;
mod read;
mod rows;
#[cfg(test)]
mod tests;

pub use read::Matching;
pub use rows::{Matches, Probe, RowRef};

/// The state of one operator: at most one row a key, or several if the layout has a row column. All changes go to an overlay; [`seal`](Self::seal) makes it the
/// state, [`discard`](Self::discard) forgets it. No call looks at rows that it does not return or change, but
/// [`all`](Self::all) and [`snapshot`](Self::snapshot).
///
/// After an error in a call that changes the overlay it must be discarded.
pub struct KeyedState {
    layout: StateLayout,
    sealed: Level,
    overlay: Overlay,
}

impl KeyedState {
    /// An empty state.
    ///
    /// # Errors
    /// `Config` if the layout names a column that is not there, or a pane that is not a timestamp in microseconds.
    pub fn new(layout: StateLayout) -> Result<Self> {
        layout.check()?;
        Ok(Self { sealed: Level::new(&layout), overlay: Overlay::new(&layout), layout })
    }

    /// What its rows look like.
    pub fn layout(&self) -> &StateLayout {
        &self.layout
    }

    /// Writes rows: each is new or replaces the one of its key. The state keeps copies.
    ///
    /// # Errors
    /// `Config` if the columns are not those of the layout, `Internal` if a key comes twice in `rows`.
    pub fn put(&mut self, rows: RecordBatch) -> Result<()> {
        let rows = self.layout.adopt(&rows)?;
        let mut first = None;
        for (chunk, hashes) in Chunk::cut(&self.layout, &rows, None)? {
            if self.overlay.level.has_several() {
                self.put_runs(chunk, &hashes)?;
                continue;
            }
            let id = self.overlay.level.add(chunk);
            self.index(id, *first.get_or_insert(id), &hashes)?;
        }
        Ok(())
    }

    /// Takes out the rows of the keys in `rows` (the whole schema, or the key columns alone) and counts them.
    ///
    /// # Errors
    /// `Config` if the columns are not those of the layout; as reading rows that are on disk.
    pub fn remove(&mut self, rows: &RecordBatch) -> Result<u64> {
        let keys = Keys::of(&self.layout, rows)?;
        let lent = self.lend(&keys)?;
        let mut removed = 0;
        for (at, guess) in self.guesses(&keys).into_iter().enumerate() {
            let wanted = keys.get(at);
            if let Some(place) = self.overlay.level.find(wanted, &Lent::NONE) {
                self.remove_new(place);
                removed += 1;
            } else if let Some(place) = self.guessed_row(guess, wanted, &lent) {
                self.remove_sealed(place);
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Takes out a row of the overlay.
    fn remove_new(&mut self, place: Place) {
        let below = self.overlay.replaced(place);
        self.overlay.tombs.extend((below != Place::NONE).then_some(below));
        self.overlay.level.remove(place);
    }

    /// Takes out a row of the sealed state that can be seen.
    fn remove_sealed(&mut self, place: Place) {
        self.overlay.hide(place);
        self.overlay.tombs.push(place);
    }

    /// Makes the overlay the state. Work is in proportion to what the epoch changed, but for merging, which is paid
    /// for by the rows that came before.
    pub fn seal(&mut self) {
        let overlay = std::mem::replace(&mut self.overlay, Overlay::new(&self.layout));
        let mut budget = MAX_ROWS + overlay.level.live();
        let mut touched = BTreeSet::new();
        if let Some(through_us) = overlay.through_us.filter(|_| overlay.evicts) {
            touched.extend(self.sealed.pieces_through(through_us));
            self.sealed.drop_through(through_us);
        }
        for place in &overlay.tombs {
            touched.extend(self.piece(*place));
            self.sealed.remove(*place);
        }
        let (level, replaced) = overlay.into_parts();
        for (piece, id, chunk) in level.into_chunks() {
            if chunk.live() == 0 {
                continue;
            }
            touched.insert(piece);
            let places = replaced.get(&id);
            if self.sealed.has_several() {
                for below in places.into_iter().flatten().filter(|it| **it != Place::NONE) {
                    self.sealed.kill(*below);
                }
                let new = self.sealed.add(chunk);
                self.sealed.add_runs(piece, new);
                continue;
            }
            let mut rows = Vec::with_capacity(chunk.live());
            for row in chunk.live_rows() {
                let below = places.and_then(|it| it.get(row).copied()).unwrap_or(Place::NONE);
                touched.extend(self.piece(below));
                let from = if self.sealed.kill(below) { below } else { Place::NONE };
                rows.push((row, chunk.hash(row), from));
            }
            let new = self.sealed.add(chunk.without_keys(&self.layout));
            self.sealed.point_all(piece, new, &rows);
        }
        for piece in touched {
            if let Err(error) = self.sealed.tidy(&self.layout, piece, &mut budget) {
                tracing::warn!(operator = &*self.layout.operator, %error, "state chunks stay unmerged");
            }
        }
        self.sealed.recycle();
    }

    /// Moves a sealed chunk to disk; no epoch may be undecided: its rows are where they were.
    ///
    /// # Errors
    /// `Transient` if the disk fails; then all is as before.
    pub(super) fn spill(&mut self, chunk: u32, folder: &Arc<SpillFolder>) -> Result<()> {
        let within = |e: Error| e.within(format!("state of operator '{}'", self.layout.operator));
        self.sealed.spill(chunk, folder).map_err(within)
    }

    /// Forgets the overlay.
    pub fn discard(&mut self) {
        self.overlay = Overlay::new(&self.layout);
    }

    /// Brings the sealed state one epoch on.
    ///
    /// # Errors
    /// `Config` if the delta is of another operator or layout, `Internal` if an epoch is undecided.
    pub fn apply(&mut self, delta: &OperatorDelta) -> Result<()> {
        if self.delta()?.is_some() {
            return Err(Error::internal(format!(
                "state of operator '{}': an epoch is undecided",
                self.layout.operator
            )));
        }
        self.layout.admit(&delta.operator, &delta.layout)?;
        match self.apply_to_overlay(delta) {
            Ok(()) => self.seal(),
            Err(error) => {
                self.discard();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Replaces the state by a snapshot.
    ///
    /// # Errors
    /// `Config` if the snapshot is of another operator or layout.
    pub fn load(&mut self, snapshot: &OperatorSnapshot) -> Result<()> {
        self.layout.admit(&snapshot.operator, &snapshot.layout)?;
        let cut = |rows: Result<RecordBatch>| Chunk::cut(&self.layout, &self.layout.adopt(&rows?)?, None);
        self.sealed = ahead(snapshot.batches().map(cut), |chunks| self.level_of(chunks))?;
        self.discard();
        Ok(())
    }

    /// A level of the chunks of a snapshot.
    fn level_of(&self, chunks: &mut dyn Iterator<Item = Result<Vec<(Chunk, Vec<u64>)>>>) -> Result<Level> {
        let mut level = Level::new(&self.layout);
        for chunks in chunks {
            for (chunk, hashes) in chunks? {
                let keys = chunk.held().and_then(|it| it.keys.bytes().cloned());
                let (piece, id) = (chunk.piece(), level.add(chunk.without_keys(&self.layout)));
                if level.has_several() {
                    level.add_runs(piece, id);
                    continue;
                }
                let keys = keys.ok_or_else(|| Error::internal("rows of a snapshot have no keys"))?;
                if !level.point_new(piece, id, &keys, &hashes) {
                    return Err(self.layout.wrong("a key stands twice in a snapshot".into()));
                }
            }
        }
        Ok(level)
    }

    fn apply_to_overlay(&mut self, delta: &OperatorDelta) -> Result<()> {
        if let Some(through_us) = delta.evict_through_us {
            self.evict_through(through_us)?;
        }
        if let Some(keys) = &delta.tombstones {
            self.remove(keys)?;
        }
        delta.puts.as_ref().map_or(Ok(()), |rows| self.put(rows.clone()))
    }

    /// Makes the rows of a new overlay chunk findable, and hides what they replace.
    fn index(&mut self, id: u32, first: u32, hashes: &[u64]) -> Result<()> {
        let mut replaced = Vec::with_capacity(hashes.len());
        let new = self.overlay.level.chunk(id);
        let panes = hashes.iter().enumerate().map(|(row, hash)| (new.and_then(|it| it.pane(row)), *hash));
        let (lent, guesses) = (self.sealed.lend(panes.clone())?, self.sealed.guess(panes));
        for ((row, hash), guess) in hashes.iter().enumerate().zip(guesses) {
            let Some(chunk) = self.overlay.level.chunk(id) else { continue };
            let key = chunk.key(row).unwrap_or_default();
            let (piece, wanted) = (chunk.piece(), Identity { pane: chunk.pane(row), hash: *hash, key, id: None });
            let known = self.overlay.level.find(wanted, &Lent::NONE);
            let below = if known.is_none() { self.guessed_row(guess, wanted, &lent) } else { None };
            let below = match (known, below) {
                (Some(known), _) if known.chunk >= first => {
                    let operator = &self.layout.operator;
                    return Err(Error::internal(format!("state of operator '{operator}': a key is put twice at once")));
                }
                (Some(known), _) => {
                    self.overlay.level.kill(known);
                    self.overlay.replaced(known)
                }
                (None, Some(below)) => {
                    self.overlay.hide(below);
                    below
                }
                (None, None) => Place::NONE,
            };
            self.overlay.level.point(piece, *hash, known.unwrap_or(Place::NONE), Place::new(id, row));
            replaced.push(below);
        }
        self.overlay.set_replaced(id, replaced);
        Ok(())
    }

    fn piece(&self, sealed: Place) -> Option<Option<i64>> {
        self.sealed.chunk(sealed.chunk).map(Chunk::piece)
    }
}
