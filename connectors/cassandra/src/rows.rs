//! `Rows`: an epoch's rows, reduced to what each primary key comes to.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::connector::Reservation;
use tidegate_api::{Error, MemoryBudget, Result};

/// Cells, one after the other.
pub(crate) type CellBytes = Arc<[u8]>;

/// Bytes that an operation costs beside its cells: the map's share and two counted pointers.
const OVERHEAD: u64 = 128;
/// The memory that is asked for at once.
const STEP: u64 = 64 << 10;

/// What an epoch does to the row of one key: first remove it, if `clear`; then write `values`, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) clear: bool,
    pub(crate) values: Option<CellBytes>,
}

impl Op {
    pub(crate) fn delete() -> Self {
        Self { clear: true, values: None }
    }

    pub(crate) fn write(values: &[u8]) -> Self {
        Self { clear: false, values: Some(values.into()) }
    }

    /// This one followed by `later`, as one.
    fn then(&self, later: Self) -> Self {
        if later.clear {
            return later;
        }
        let values = match (&self.values, later.values) {
            (Some(old), Some(new)) => Some(over(old, new)),
            (_, new) => new,
        };
        Self { clear: self.clear, values }
    }

    fn bytes(&self) -> u64 {
        self.values.as_ref().map_or(0, |it| it.len() as u64)
    }
}

/// The cells `new`, with those that it leaves unset taken from `old`.
fn over(old: &[u8], new: CellBytes) -> CellBytes {
    if !cells(&new).any(|it| it == Cell::Unset) {
        return new;
    }
    let mut all = Vec::with_capacity(new.len());
    for (old, new) in cells(old).zip(cells(&new)) {
        if new == Cell::Unset { old.put(&mut all) } else { new.put(&mut all) }
    }
    all.into()
}

/// One value of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    Null,
    Unset,
    Value(&'a [u8]),
}

impl Cell<'_> {
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(&crate::cells::NULL),
            Self::Unset => out.extend_from_slice(&crate::cells::UNSET),
            Self::Value(bytes) => {
                // It was read from such a length.
                let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(bytes);
            }
        }
    }
}

/// Takes cells apart.
pub(crate) fn cells(mut bytes: &[u8]) -> impl Iterator<Item = Cell<'_>> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        let Ok(length) = usize::try_from(length) else {
            bytes = rest;
            return Some(if length == -1 { Cell::Null } else { Cell::Unset });
        };
        let (value, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some(Cell::Value(value))
    })
}

/// The operations of one task of an epoch.
#[derive(Default)]
pub(crate) struct Rows {
    by_key: BTreeMap<CellBytes, Op>,
    /// Increments of counters, which all count.
    increments: Vec<(CellBytes, Op)>,
    used: u64,
    reserved: u64,
    reservations: Vec<Reservation>,
}

impl Rows {
    /// Adds what one row does to its key.
    ///
    /// # Errors
    /// `Config` if the epoch is more than the query's memory holds.
    pub(crate) fn add(&mut self, key: &[u8], op: Op, memory: &MemoryBudget) -> Result<()> {
        if let Some(known) = self.by_key.get_mut(key) {
            self.used = self.used.saturating_sub(known.bytes());
            *known = known.then(op);
            self.used += known.bytes();
        } else {
            self.used += key.len() as u64 + op.bytes() + OVERHEAD;
            self.by_key.insert(key.into(), op);
        }
        self.reserve(memory)
    }

    /// Adds an increment of counters.
    ///
    /// # Errors
    /// As [`Rows::add`].
    pub(crate) fn increment(&mut self, key: &[u8], op: Op, memory: &MemoryBudget) -> Result<()> {
        self.used += key.len() as u64 + op.bytes() + OVERHEAD;
        self.increments.push((key.into(), op));
        self.reserve(memory)
    }

    fn reserve(&mut self, memory: &MemoryBudget) -> Result<()> {
        if self.used <= self.reserved {
            return Ok(());
        }
        let more = (self.used - self.reserved).max(STEP);
        let Some(reservation) = memory.try_reserve(more) else {
            let (used, limit) = (self.used, memory.limit());
            let text = format!("the rows of one epoch need over {used} bytes, and the query has {limit} in all");
            return Err(Error::config(format!("{text}: set max.rows.per.epoch, or a smaller one")));
        };
        self.reserved += more;
        self.reservations.push(reservation);
        Ok(())
    }

    /// How many operations there are.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len() + self.increments.len()
    }
}

/// The operations of all tasks of an epoch, in the order of the tasks, with their keys.
pub(crate) fn merged(parts: &[Arc<Rows>]) -> Vec<(CellBytes, Op)> {
    let increments = parts.iter().flat_map(|it| &it.increments).cloned();
    let mut all: BTreeMap<CellBytes, Op> = BTreeMap::new();
    if let [one] = parts {
        return one.by_key.iter().map(|(key, op)| (key.clone(), op.clone())).chain(increments).collect();
    }
    for (key, op) in parts.iter().flat_map(|it| &it.by_key) {
        match all.get_mut(key) {
            Some(known) => *known = known.then(op.clone()),
            None => drop(all.insert(key.clone(), op.clone())),
        }
    }
    all.into_iter().chain(increments).collect()
}

#[cfg(test)]
mod tests;
