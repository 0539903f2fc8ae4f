//! `Store`: the states of user code, read for some keys at once and written for them at once.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow_schema::SchemaRef;
use arrow_select::take::{take, take_record_batch};
use tidegate_api::{Error, Result};
use tidegate_epoch::state::{KeyedState, Probe, RowRef};
use tidegate_sql::event_time::timestamp;

use super::layout::Columns;
use crate::user::{Cell, Loaded, Session, Timer, column_of, micros};

/// Rows of state that are in hand at once; a key with more is in hand alone.
const ROWS: usize = 1 << 16;

/// Values, and timers if the time mode has them.
pub(super) struct Store {
    pub(super) stores: Vec<KeyedState>,
    pub(super) columns: Columns,
}

/// What was written or removed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) rows: u64,
    pub(super) removed: u64,
}

/// Rows to be written.
#[derive(Default)]
struct NewRows {
    /// The key of each, by number.
    keys: Vec<u32>,
    variables: Vec<usize>,
    untils: Vec<Option<i64>>,
    /// The row that it replaces; nothing: it is new.
    ids: Vec<Option<i64>>,
    /// By variable: its cells.
    values: Vec<Vec<ArrayRef>>,
    /// By variable: the keys of its map.
    map_keys: Vec<Vec<ArrayRef>>,
    /// How many are rows of before with another end.
    renewed: u64,
}

impl Store {
    /// Finds the rows of keys.
    pub(super) fn probe(&self, keys: &RecordBatch) -> Result<Probe> {
        self.values()?.probe(keys.columns(), keys.num_rows())
    }

    /// The state of keys from number `from` on, of as many as are in hand at once; and the number to go on from.
    pub(super) fn load(&self, keys: &RecordBatch, probe: &Probe, from: usize) -> Result<(Arc<Loaded>, Range<usize>)> {
        let values = self.values()?;
        let (matches, to) = values.matches(probe, from, ROWS)?;
        let wanted: Vec<usize> = (self.columns.keys..=self.columns.row).collect();
        let columns = values.take(&matches.rows, &wanted)?;
        let column = |at: usize| columns.get(at.saturating_sub(self.columns.keys)).ok_or_else(broken);
        let count = to.saturating_sub(from);
        let stored: &Int32Array = column(self.columns.keys)?.as_primitive_opt::<Int32Type>().ok_or_else(broken)?;
        let declared = |number: i32| {
            let at = self.columns.numbers.iter().position(|it| i32::try_from(*it) == Ok(number));
            at.and_then(|it| i32::try_from(it).ok()).unwrap_or(i32::MAX)
        };
        let loaded = Loaded {
            starts: starts(matches.probe.iter().map(|it| *it as usize - from), count),
            variables: stored.unary(declared),
            untils: column(self.columns.until)?
                .as_primitive_opt::<TimestampMicrosecondType>()
                .ok_or_else(broken)?
                .clone(),
            ids: column(self.columns.row)?.as_primitive_opt::<Int64Type>().ok_or_else(broken)?.clone(),
            values: self.columns.values.iter().map(|it| column(*it).cloned()).collect::<Result<_>>()?,
            map_keys: {
                let keys = self.columns.map_keys.iter();
                keys.map(|it| it.map(|it| column(it).cloned()).transpose()).collect::<Result<_>>()?
            },
            timers: self.load_timers(&keys.slice(from, count))?,
            refs: matches.rows,
        };
        Ok((Arc::new(loaded), from..to))
    }

    fn load_timers(&self, keys: &RecordBatch) -> Result<Vec<Vec<Timer>>> {
        let mut timers = vec![Vec::new(); keys.num_rows()];
        let Some(store) = self.stores.get(1) else { return Ok(timers) };
        let probe = store.probe(keys.columns(), keys.num_rows())?;
        let (matches, _) = store.matches(&probe, 0, usize::MAX)?;
        let times = store.take(&matches.rows, &[self.columns.keys])?;
        let times =
            times.first().and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>()).ok_or_else(broken)?;
        for ((key, row), us) in matches.probe.iter().zip(&matches.rows).zip(times.values()) {
            let timer = Timer { time_ms: us.div_euclid(1000), stored: Some(*row), is_new: false, is_gone: false };
            timers.get_mut(*key as usize).ok_or_else(broken)?.push(timer);
        }
        Ok(timers)
    }

    /// Writes what the sessions of these keys have come to; `first` is the number of the first one's key.
    pub(super) fn store(
        &mut self,
        keys: &RecordBatch,
        first: usize,
        loaded: &Loaded,
        sessions: Vec<Session>,
    ) -> Result<Written> {
        let mut new = NewRows::of(self.columns.values.len());
        let (mut gone, mut gone_timers, mut timers) = (Vec::new(), Vec::new(), Vec::new());
        for (key, session) in (first..).zip(sessions) {
            let key = u32::try_from(key).map_err(|_| broken())?;
            for timer in session.timers {
                match (timer.is_gone, timer.stored) {
                    (true, stored) => gone_timers.extend(stored),
                    (false, _) if timer.is_new => timers.push((key, micros(timer.time_ms))),
                    (false, _) => {}
                }
            }
            for cell in session.cells {
                gone.extend(new.add(key, cell, loaded)?);
            }
        }
        let mut written = Written { rows: new.keys.len() as u64, removed: 0 };
        let columns = self.columns.clone();
        let values = self.stores.first_mut().ok_or_else(broken)?;
        written.removed = (gone.len() as u64).saturating_sub(new.renewed);
        values.remove_rows(&gone);
        if !new.keys.is_empty() {
            let rows = new.rows(keys, &columns, values.layout().schema.clone(), values.next_row())?;
            values.put(rows)?;
        }
        if let Some(store) = self.stores.get_mut(1) {
            store.remove_rows(&gone_timers);
            put_timers(store, keys, &timers)?;
        }
        Ok(written)
    }

    fn values(&self) -> Result<&KeyedState> {
        self.stores.first().ok_or_else(broken)
    }
}

impl NewRows {
    fn of(variables: usize) -> Self {
        Self { values: vec![Vec::new(); variables], map_keys: vec![Vec::new(); variables], ..Self::default() }
    }

    /// Takes what is new of a cell; returns the row that is gone.
    fn add(&mut self, key: u32, cell: Cell, loaded: &Loaded) -> Result<Option<RowRef>> {
        let stored = cell.stored.and_then(|row| loaded.refs.get(row).copied());
        if cell.is_gone {
            return Ok(stored);
        }
        let Some(written) = cell.written else { return Ok(None) };
        let same_end = |row: &usize| {
            let until = loaded.untils.is_valid(*row).then(|| loaded.untils.value(*row));
            until == cell.until_us
        };
        // A row's time never changes: with another one it is another row.
        let replaced = cell.stored.filter(same_end);
        self.keys.push(key);
        self.variables.push(cell.variable);
        self.untils.push(cell.until_us);
        self.ids.push(replaced.map(|row| loaded.ids.value(row)));
        self.values.get_mut(cell.variable).ok_or_else(broken)?.push(written);
        if let Some(map) = loaded.map_keys.get(cell.variable).and_then(Option::as_ref) {
            let key = match (cell.map_key, cell.stored) {
                (Some(key), _) => key,
                (None, Some(row)) => map.slice(row, 1),
                (None, None) => return Err(broken()),
            };
            self.map_keys.get_mut(cell.variable).ok_or_else(broken)?.push(key);
        }
        let renewed = stored.filter(|_| replaced.is_none());
        self.renewed += u64::from(renewed.is_some());
        Ok(renewed)
    }

    /// As the state keeps them. `next` is the smallest number of a new row.
    fn rows(self, keys: &RecordBatch, columns: &Columns, schema: SchemaRef, next: i64) -> Result<RecordBatch> {
        let at = UInt32Array::from(self.keys);
        let mut made = take_record_batch(keys, &at).map_err(copying)?.columns().to_vec();
        let number = |it: &usize| columns.numbers.get(*it).and_then(|it| i32::try_from(*it).ok()).unwrap_or(i32::MAX);
        made.push(Arc::new(Int32Array::from_iter_values(self.variables.iter().map(number))));
        // All others are set below.
        made.resize(schema.fields().len(), made.first().cloned().ok_or_else(broken)?);
        for (variable, column) in columns.values.iter().enumerate() {
            let cells = self.values.get(variable).ok_or_else(broken)?;
            set(&mut made, *column, spread(cells, variable, &self.variables, &schema, *column)?)?;
        }
        for (variable, column) in columns.map_keys.iter().enumerate() {
            let Some(column) = column else { continue };
            let cells = self.map_keys.get(variable).ok_or_else(broken)?;
            set(&mut made, *column, spread(cells, variable, &self.variables, &schema, *column)?)?;
        }
        let untils = TimestampMicrosecondArray::from(self.untils).with_data_type(timestamp());
        set(&mut made, columns.until, Arc::new(untils))?;
        let mut next = next;
        let ids = self.ids.iter().map(|it| {
            it.unwrap_or_else(|| {
                next += 1;
                next - 1
            })
        });
        let ids: Vec<i64> = ids.collect();
        set(&mut made, columns.row, Arc::new(Int64Array::from(ids)))?;
        RecordBatch::try_new(schema, made).map_err(copying)
    }
}

fn set(columns: &mut [ArrayRef], at: usize, column: ArrayRef) -> Result<()> {
    *columns.get_mut(at).ok_or_else(broken)? = column;
    Ok(())
}

/// The cells of one variable at its rows, and nulls at those of others.
fn spread(
    cells: &[ArrayRef],
    variable: usize,
    variables: &[usize],
    schema: &SchemaRef,
    column: usize,
) -> Result<ArrayRef> {
    let Some(cells) = column_of(cells)? else {
        let field = schema.fields().get(column).ok_or_else(broken)?;
        return Ok(new_null_array(field.data_type(), variables.len()));
    };
    let mut next = 0_u32..;
    let at = variables.iter().map(|it| if *it == variable { next.next() } else { None });
    take(&cells, &at.collect::<UInt32Array>(), None).map_err(copying)
}

fn put_timers(store: &mut KeyedState, keys: &RecordBatch, timers: &[(u32, i64)]) -> Result<()> {
    if timers.is_empty() {
        return Ok(());
    }
    let at = UInt32Array::from_iter_values(timers.iter().map(|it| it.0));
    let mut columns = take_record_batch(keys, &at).map_err(copying)?.columns().to_vec();
    let times = TimestampMicrosecondArray::from_iter_values(timers.iter().map(|it| it.1));
    columns.push(Arc::new(times.with_data_type(timestamp())));
    let first = store.next_row();
    columns.push(Arc::new(Int64Array::from_iter_values((first..).take(timers.len()))));
    store.append(&RecordBatch::try_new(store.layout().schema.clone(), columns).map_err(copying)?, None)
}

/// Where the rows of each of `count` keys begin, given their keys in rising order; and the end.
fn starts(keys: impl Iterator<Item = usize>, count: usize) -> Vec<usize> {
    let mut starts = Vec::with_capacity(count + 1);
    let mut rows = 0;
    for key in keys {
        starts.resize(starts.len().max(key + 1), rows);
        rows += 1;
    }
    starts.resize(count + 1, rows);
    starts
}

fn broken() -> Error {
    Error::internal("the state of user code is broken")
}

fn copying(error: arrow_schema::ArrowError) -> Error {
    Error::internal("rows of user code's state can't be copied").because(error)
}
