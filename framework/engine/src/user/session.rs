//! `Session`: what one key keeps, while its code runs.
//!
//! Cells are found by number; one that is removed stays in its place, so that numbers hold within an epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, TimestampMicrosecondArray};
use tidegate_api::{Error, Result};
use tidegate_epoch::state::{RowRef, encode_keys};

use super::value::StateValue;

/// Rows of the state of some keys, in the order of the keys; of one key in the order in which they came.
pub(crate) struct Loaded {
    /// Where the rows of each key begin, and where the last end.
    pub(crate) starts: Vec<usize>,
    pub(crate) refs: Vec<RowRef>,
    /// The variables, by number of declaration.
    pub(crate) variables: Int32Array,
    /// When each is over, microseconds.
    pub(crate) untils: TimestampMicrosecondArray,
    /// What tells the rows of a key apart.
    pub(crate) ids: Int64Array,
    /// By variable: its values.
    pub(crate) values: Vec<ArrayRef>,
    /// By variable: the keys of its map, if it is one.
    pub(crate) map_keys: Vec<Option<ArrayRef>>,
    /// Timers, by key.
    pub(crate) timers: Vec<Vec<Timer>>,
}

/// A value that a variable has.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) variable: usize,
    /// Its row in what was loaded.
    pub(crate) stored: Option<usize>,
    /// What was written; nothing: what is stored holds.
    pub(crate) written: Option<ArrayRef>,
    /// Its key in a map, if it is new.
    pub(crate) map_key: Option<ArrayRef>,
    pub(crate) until_us: Option<i64>,
    pub(crate) is_gone: bool,
}

/// A timer of the key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    pub(crate) time_ms: i64,
    /// Where the store has it; nothing: it is new, or is taken out since it is over.
    pub(crate) stored: Option<RowRef>,
    /// The store must have it.
    pub(crate) is_new: bool,
    pub(crate) is_gone: bool,
}

/// The state of one key.
pub(crate) struct Session {
    loaded: Arc<Loaded>,
    pub(crate) cells: Vec<Cell>,
    /// Cells of maps by the bytes of their keys, once they are looked for.
    maps: BTreeMap<usize, BTreeMap<Vec<u8>, usize>>,
    pub(crate) timers: Vec<Timer>,
}

impl Session {
    /// The state of the key of that number, without what is over at `now_us`.
    pub(crate) fn new(loaded: &Arc<Loaded>, key: usize, now_us: i64) -> Self {
        let from = loaded.starts.get(key).copied().unwrap_or_default();
        let to = loaded.starts.get(key + 1).copied().unwrap_or(from);
        let until = |row: usize| loaded.untils.is_valid(row).then(|| loaded.untils.value(row));
        // What is over the epoch's end removes.
        let lives = |row: &usize| until(*row).is_none_or(|it| it > now_us);
        let cells = (from..to).filter(lives).map(|row| Cell {
            variable: usize::try_from(loaded.variables.value(row)).unwrap_or(usize::MAX),
            stored: Some(row),
            written: None,
            map_key: None,
            until_us: until(row),
            is_gone: false,
        });
        let timers = loaded.timers.get(key).cloned().unwrap_or_default();
        Self { loaded: loaded.clone(), cells: cells.collect(), maps: BTreeMap::new(), timers }
    }

    /// The cells of a variable, in their order.
    pub(crate) fn cells(&self, variable: usize) -> impl Iterator<Item = usize> {
        let its = self.cells.iter().enumerate().filter(move |(_, it)| it.variable == variable && !it.is_gone);
        its.map(|it| it.0)
    }

    pub(crate) fn read<T: StateValue>(&self, cell: usize) -> Result<T> {
        let cell = self.cell(cell)?;
        match (&cell.written, cell.stored) {
            (Some(written), _) => T::read(written, 0),
            (None, Some(row)) => T::read(self.loaded.values.get(cell.variable).ok_or_else(missing)?, row),
            (None, None) => Err(missing()),
        }
    }

    pub(crate) fn read_key<T: StateValue>(&self, cell: usize) -> Result<T> {
        let cell = self.cell(cell)?;
        match (&cell.map_key, cell.stored) {
            (Some(key), _) => T::read(key, 0),
            (None, Some(row)) => T::read(self.stored_keys(cell.variable)?, row),
            (None, None) => Err(missing()),
        }
    }

    /// Writes a cell, or a new one behind the others.
    pub(crate) fn write(
        &mut self,
        variable: usize,
        known: Option<usize>,
        map_key: Option<ArrayRef>,
        value: ArrayRef,
        until_us: Option<i64>,
    ) {
        match known.and_then(|it| self.cells.get_mut(it)) {
            Some(cell) => (cell.written, cell.until_us) = (Some(value), until_us),
            None => {
                let written = Some(value);
                self.cells.push(Cell { variable, stored: None, written, map_key, until_us, is_gone: false });
            }
        }
    }

    /// Writes a cell of a map.
    pub(crate) fn write_at(
        &mut self,
        variable: usize,
        known: Option<usize>,
        key: ArrayRef,
        value: ArrayRef,
        until_us: Option<i64>,
    ) -> Result<()> {
        if known.is_none() {
            let bytes = bytes_of(&key, 0)?;
            self.maps.entry(variable).or_default().insert(bytes, self.cells.len());
        }
        self.write(variable, known, Some(key), value, until_us);
        Ok(())
    }

    /// The cell of a key in a map.
    pub(crate) fn find(&mut self, variable: usize, key: &ArrayRef) -> Result<Option<usize>> {
        if !self.maps.contains_key(&variable) {
            let mut map = BTreeMap::new();
            for cell in self.cells(variable) {
                let row = self.cell(cell)?.stored.ok_or_else(missing)?;
                map.insert(bytes_of(self.stored_keys(variable)?, row)?, cell);
            }
            self.maps.insert(variable, map);
        }
        let bytes = bytes_of(key, 0)?;
        let found = self.maps.get(&variable).and_then(|it| it.get(&bytes)).copied();
        Ok(found.filter(|it| self.cells.get(*it).is_some_and(|it| !it.is_gone)))
    }

    pub(crate) fn remove(&mut self, cell: usize) {
        if let Some(cell) = self.cells.get_mut(cell) {
            cell.is_gone = true;
        }
    }

    pub(crate) fn clear(&mut self, variable: usize) {
        self.cells.iter_mut().filter(|it| it.variable == variable).for_each(|it| it.is_gone = true);
    }

    /// The timers, by time.
    pub(crate) fn timers(&self) -> Vec<i64> {
        let mut times: Vec<_> = self.timers.iter().filter(|it| !it.is_gone).map(|it| it.time_ms).collect();
        times.sort_unstable();
        times
    }

    /// False if it was there.
    pub(crate) fn register(&mut self, time_ms: i64) -> bool {
        if self.timers.iter().any(|it| !it.is_gone && it.time_ms == time_ms) {
            return false;
        }
        self.timers.push(Timer { time_ms, stored: None, is_new: true, is_gone: false });
        true
    }

    /// False if it was not there.
    pub(crate) fn delete(&mut self, time_ms: i64) -> bool {
        let found = self.timers.iter_mut().find(|it| !it.is_gone && it.time_ms == time_ms);
        found.map(|it| it.is_gone = true).is_some()
    }

    fn cell(&self, cell: usize) -> Result<&Cell> {
        self.cells.get(cell).ok_or_else(missing)
    }

    fn stored_keys(&self, variable: usize) -> Result<&ArrayRef> {
        self.loaded.map_keys.get(variable).and_then(Option::as_ref).ok_or_else(missing)
    }
}

/// What a key of a map is told from others by.
fn bytes_of(keys: &ArrayRef, row: usize) -> Result<Vec<u8>> {
    Ok(encode_keys(&[keys.slice(row, 1)], 1)?.value(0).to_vec())
}

fn missing() -> Error {
    Error::internal("a cell of user state is missing")
}
