//! A state of several rows a key: probing it with keys, adding rows, marking and removing those that were found.
//!
//! ```text
//! probe = state.probe(&keys)                         // encoded and hashed once, for this state and its twin
//! (matches, from) = state.matches(&probe, from, n)   // pairs of a probing row and a row of the state
//! columns = state.take(&matches.rows, &[2, 4])       // only those that are needed
//! state.append(rows, &probe); state.set_flags(&found, 7); state.remove_rows(&found)
//! ```

use arrow_array::builder::BooleanBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_select::take::take;
use std::sync::Arc;
use tidegate_api::{Error, Result};

use super::KeyedState;
use crate::state::chunk::{Chunk, Place, Sources, gather_columns};
use crate::state::key::key_hash;
use crate::state::level::{Identity, Lent, Level};

/// Keys of so many probing rows are read from disk at once.
const LENT_ROWS: usize = 1 << 16;

/// A row of the state, until that is sealed or discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowRef {
    sealed: bool,
    place: Place,
}

/// Keys that look for rows.
pub struct Probe {
    keys: BinaryArray,
    hashes: Vec<u64>,
    panes: Option<TimestampMicrosecondArray>,
    wanted: Option<BooleanArray>,
    range: Option<(Int64Array, Int64Array)>,
}

impl Probe {
    /// Looks only with the rows that are true here.
    #[must_use]
    pub fn only(mut self, wanted: BooleanArray) -> Self {
        self.wanted = Some(wanted);
        self
    }

    /// Looks only for rows whose panes are from the first to the second of these, microseconds, row by row; a row whose
    /// bound is null finds none.
    #[must_use]
    pub fn within(mut self, from_us: Int64Array, to_us: Int64Array) -> Self {
        self.range = Some((from_us, to_us));
        self
    }

    /// The keys of some of its rows.
    ///
    /// # Errors
    /// `Internal` if they can't be copied.
    pub fn filtered(&self, which: &BooleanArray) -> Result<Self> {
        let at = arrow_array::UInt32Array::from_iter_values(
            (0u32..).zip(which.iter()).filter(|it| it.1 == Some(true)).map(|it| it.0),
        );
        let copying = |e| Error::internal("keys can't be copied").because(e);
        let keys = take(&self.keys, &at, None).map_err(copying)?.as_binary::<i32>().clone();
        let hashes = at.values().iter().filter_map(|it| self.hashes.get(*it as usize).copied()).collect();
        let panes = self.panes.as_ref().map(|it| take(it, &at, None)).transpose().map_err(copying)?;
        let panes = panes.map(|it| it.as_primitive::<TimestampMicrosecondType>().clone());
        Ok(Self { keys, hashes, panes, wanted: None, range: None })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a row looks for, and between which panes; none if it finds nothing whatever there is.
    fn get(&self, row: usize) -> Option<(Identity<'_>, Option<(i64, i64)>)> {
        if self.wanted.as_ref().is_some_and(|it| !it.is_valid(row) || !it.value(row)) {
            return None;
        }
        let range = match &self.range {
            Some((from, to)) if from.is_valid(row) && to.is_valid(row) => Some((from.value(row), to.value(row))),
            Some(_) => return None,
            None => None,
        };
        let pane = self.panes.as_ref().filter(|it| it.is_valid(row)).map(|it| it.value(row));
        let hash = self.hashes.get(row).copied()?;
        Some((Identity { pane, hash, key: self.keys.value(row), id: None }, range))
    }
}

/// Pairs of rows with one key, in the order of the probing rows; with one of them in that in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    /// The probing rows, by number.
    pub probe: Vec<u32>,
    /// The rows of the state.
    pub rows: Vec<RowRef>,
}

impl KeyedState {
    /// Keys to look with in this state, or in another with the same key columns. `columns` are in the order of
    /// `key_columns`.
    ///
    /// # Errors
    /// `Config` if a type can't be a key.
    pub fn probe(&self, columns: &[ArrayRef], rows: usize) -> Result<Probe> {
        let keys = self.layout.keys_of(columns, rows)?;
        let hashes = (0..keys.len()).map(|row| key_hash(keys.value(row))).collect();
        let pane = self.layout.pane_column.and_then(|it| self.layout.key_columns.iter().position(|key| *key == it));
        let panes = pane.and_then(|it| columns.get(it)).and_then(|it| it.as_primitive_opt().cloned());
        Ok(Probe { keys, hashes, panes, wanted: None, range: None })
    }

    /// The rows of the keys of `probe` from number `from` on, until there are `most` pairs or more; and the number to go on
    /// from. Sees what this epoch changed.
    ///
    /// # Errors
    /// As reading rows that are on disk.
    pub fn matches(&self, probe: &Probe, from: usize, most: usize) -> Result<(Matches, usize)> {
        let mut matches = Matches::default();
        let mut found = Vec::new();
        let (mut lent, mut lent_to) = (Lent::NONE, from);
        for row in from..probe.len() {
            if matches.rows.len() >= most {
                return Ok((matches, row));
            }
            if row == lent_to {
                lent_to = probe.len().min(row + LENT_ROWS);
                let wanted = (row..lent_to).filter_map(|it| probe.get(it)).map(|it| (it.0.pane, it.0.hash));
                lent = self.sealed.lend(wanted)?;
            }
            let Some((wanted, range)) = probe.get(row) else { continue };
            let new = |id, place| found.push((id, RowRef { sealed: false, place }));
            rows_of(&self.overlay.level, wanted, range, &Lent::NONE, new);
            rows_of(&self.sealed, wanted, range, &lent, |id, place| {
                if self.is_seen(place) {
                    found.push((id, RowRef { sealed: true, place }));
                }
            });
            if found.len() > 1 {
                found.sort_unstable();
            }
            matches.probe.extend(std::iter::repeat_n(u32::try_from(row).unwrap_or(u32::MAX), found.len()));
            matches.rows.extend(found.drain(..).map(|it| it.1));
        }
        Ok((matches, probe.len()))
    }

    /// Some columns of rows that were found.
    ///
    /// # Errors
    /// `Internal` if they can't be copied; as reading rows that are on disk.
    pub fn take(&self, rows: &[RowRef], columns: &[usize]) -> Result<Vec<ArrayRef>> {
        let mut sources: Vec<&Chunk> = Vec::new();
        let mut known: Vec<(bool, u32, usize)> = Vec::new();
        let mut last = (false, u32::MAX, 0);
        let mut places = Vec::with_capacity(rows.len());
        for RowRef { sealed, place } in rows {
            if (last.0, last.1) != (*sealed, place.chunk) {
                let at = known.iter().find(|it| (it.0, it.1) == (*sealed, place.chunk));
                last = match at {
                    Some(at) => *at,
                    None => {
                        let level = if *sealed { &self.sealed } else { &self.overlay.level };
                        sources
                            .push(level.chunk(place.chunk).ok_or_else(|| Error::internal("a row of state is gone"))?);
                        known.push((*sealed, place.chunk, sources.len() - 1));
                        (*sealed, place.chunk, sources.len() - 1)
                    }
                };
            }
            places.push((last.2, place.row()));
        }
        if sources.is_empty() {
            let none = RecordBatch::new_empty(self.layout.schema.clone());
            return Ok(columns.iter().filter_map(|it| none.columns().get(*it).cloned()).collect());
        }
        let sources = Sources::new(sources, places.iter().copied())?;
        gather_columns(columns.iter().copied(), &sources, &places)
    }

    /// Adds rows. `probe` are their keys, if they are known.
    ///
    /// # Errors
    /// `Config` if the columns are not those of the layout, `Internal` if a row's number was there before.
    pub fn append(&mut self, rows: &RecordBatch, probe: Option<&Probe>) -> Result<()> {
        let rows = self.layout.adopt(rows)?;
        let ids = self.layout.row_ids(&rows);
        let first = self.next_row();
        if ids.is_none_or(|it| it.values().iter().any(|id| *id < first)) {
            return Err(Error::internal(format!("state of operator '{}': a row is added twice", self.layout.operator)));
        }
        let known = probe.map(|it| (&it.keys, it.hashes.as_slice()));
        for (chunk, _) in Chunk::cut(&self.layout, &rows, known)? {
            let piece = chunk.piece();
            let id = self.overlay.level.add(chunk);
            self.overlay.level.add_runs(piece, id);
        }
        Ok(())
    }

    /// The smallest number that a new row may have in the row column.
    pub fn next_row(&self) -> i64 {
        self.sealed.next_id().max(self.overlay.level.next_id())
    }

    /// Makes a BOOLEAN column true in rows that were found. They are found elsewhere after this.
    ///
    /// # Errors
    /// `Internal` if they can't be copied.
    pub fn set_flags(&mut self, rows: &[RowRef], column: usize) -> Result<()> {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        rows.dedup();
        let sealed = rows.split_off(rows.partition_point(|it| !it.sealed));
        for of_chunk in rows.chunk_by(|a, b| a.place.chunk == b.place.chunk) {
            let places: Vec<usize> = of_chunk.iter().map(|it| it.place.row()).collect();
            let id = of_chunk.first().map_or(u32::MAX, |it| it.place.chunk);
            if let Some(chunk) = self.overlay.level.chunk_mut(id) {
                chunk.set_flags(column, &places)?;
            }
        }
        if sealed.is_empty() {
            return Ok(());
        }
        let all: Vec<usize> = (0..self.layout.schema.fields().len()).collect();
        let mut columns = self.take(&sealed, &all)?;
        if let Some(flags) = columns.get_mut(column) {
            let mut set = BooleanBuilder::with_capacity(sealed.len());
            set.append_n(sealed.len(), true);
            *flags = Arc::new(set.finish());
        }
        let rows = RecordBatch::try_new(self.layout.schema.clone(), columns);
        self.put(rows.map_err(|e| Error::internal("flags of state rows").because(e))?)
    }

    /// Takes out rows that were found.
    pub fn remove_rows(&mut self, rows: &[RowRef]) {
        for RowRef { sealed, place } in rows {
            if !sealed {
                self.remove_new(*place);
            } else if self.is_seen(*place) {
                self.remove_sealed(*place);
            }
        }
    }

    /// Writes rows of which some may be there.
    pub(super) fn put_runs(&mut self, chunk: Chunk, hashes: &[u64]) -> Result<()> {
        let mut replaced = Vec::with_capacity(chunk.len());
        let mut last = None;
        let lent = self.sealed.lend(hashes.iter().enumerate().map(|(row, hash)| (chunk.pane(row), *hash)))?;
        for (row, hash) in hashes.iter().enumerate() {
            let key = chunk.key(row).unwrap_or_default();
            let wanted = Identity { pane: chunk.pane(row), hash: *hash, key, id: chunk.id(row) };
            let this = (wanted.key, wanted.pane, wanted.id);
            if last.replace(this) == Some(this) {
                let operator = &self.layout.operator;
                return Err(Error::internal(format!("state of operator '{operator}': a key is put twice at once")));
            }
            replaced.push(match self.overlay.level.find(wanted, &Lent::NONE) {
                Some(known) => {
                    let below = self.overlay.replaced(known);
                    self.overlay.level.kill(known);
                    below
                }
                None => match self.sealed.find(wanted, &lent).filter(|it| self.is_seen(*it)) {
                    Some(below) => {
                        self.overlay.hide(below);
                        below
                    }
                    None => Place::NONE,
                },
            });
        }
        let piece = chunk.piece();
        let id = self.overlay.level.add(chunk);
        self.overlay.level.add_runs(piece, id);
        self.overlay.set_replaced(id, replaced);
        Ok(())
    }
}

/// The live rows of a key, with their numbers.
fn rows_of(
    level: &Level,
    wanted: Identity<'_>,
    range: Option<(i64, i64)>,
    lent: &Lent,
    mut found: impl FnMut(i64, Place),
) {
    for run in level.runs(wanted, lent) {
        let Some(chunk) = level.chunk(run.chunk) else { continue };
        for row in chunk.run(run.row(), range).filter(|row| chunk.is_live(*row)) {
            found(chunk.id(row).unwrap_or(0), Place::new(run.chunk, row));
        }
    }
}
