//! Chunks: immutable rows with their key bytes, in canonical order, and the marks of those that are dead.
//!
//! Canonical order is (pane, hash, key, row): a function of the rows alone, so a restart gives the same order. Within one
//! pane the hash comes first, so rows lie by virtual node. Where one key has rows of many panes it is (hash, key, pane,
//! row): so or so the rows of a key lie together, a **run**, by pane.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, BinaryArray, BooleanArray, Int64Array, PrimitiveArray, RecordBatch, UInt32Array};
use arrow_buffer::BooleanBufferBuilder;
use arrow_select::take::{take, take_record_batch};
use tidegate_api::{Error, Result};

use super::key::key_hash;
use super::layout::{Pieces, StateLayout};
use body::Body;

mod body;
mod compact;
mod gather;
mod keys;

pub(super) use body::Held;
pub(super) use compact::compacted;
pub(super) use gather::{Pick, Sources, gather, gather_columns, gather_keys};
pub(super) use keys::RowKeys;

/// Most rows of a chunk: merging has an end, and to write one anew holds an epoch up for a few milliseconds.
pub(super) const MAX_ROWS: usize = 1 << 16;
/// A chunk above this is merged no more.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Where a row lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) chunk: u32,
    pub(super) row: u32,
}

impl Place {
    /// No place.
    pub(super) const NONE: Self = Self { chunk: u32::MAX, row: u32::MAX };

    pub(super) fn new(chunk: u32, row: usize) -> Self {
        Self { chunk, row: u32::try_from(row).unwrap_or(u32::MAX) }
    }

    pub(super) fn row(self) -> usize {
        self.row as usize
    }
}

/// Keys that are encoded and hashed already.
pub(super) type Hashed<'a> = (&'a BinaryArray, &'a [u64]);

/// Rows of one piece.
pub(super) struct Chunk {
    body: Body,
    rows: usize,
    ids: Option<Int64Array>,
    panes: Option<PrimitiveArray<TimestampMicrosecondType>>,
    pieces: Pieces,
    /// The smallest pane that may live and the largest.
    range: Option<(i64, i64)>,
    /// Rows by pane, where they do not lie so; made when the first is over.
    by_pane: OnceLock<Vec<u32>>,
    /// So many of them are dead.
    thinned: usize,
    dead: Vec<u64>,
    dead_rows: usize,
    /// In memory, without marks.
    bytes: usize,
    /// Of rows and keys, wherever they are.
    size: usize,
    /// When its oldest row was sealed, in seals of its level.
    pub(super) age: u64,
}

impl Chunk {
    /// `rows` in canonical order with their `keys`.
    pub(super) fn new(rows: RecordBatch, keys: RowKeys, layout: &StateLayout) -> Self {
        let panes = layout.panes(&rows);
        let ids = layout.row_ids(&rows);
        let bytes = rows.get_array_memory_size() + keys.bytes_of_their_own();
        let pieces = layout.pieces();
        let range = panes.as_ref().and_then(|it| range_of(it, pieces));
        let (by_pane, thinned) = (OnceLock::new(), 0);
        Self {
            rows: rows.num_rows(),
            body: Body::Memory(Held { rows, keys }),
            ids,
            panes,
            pieces,
            range,
            by_pane,
            thinned,
            dead: Vec::new(),
            dead_rows: 0,
            bytes,
            size: bytes,
            age: 0,
        }
    }

    /// Puts rows into canonical order and cuts them by piece. The second part holds the hash of each row.
    pub(super) fn cut(
        layout: &StateLayout,
        rows: &RecordBatch,
        known: Option<Hashed<'_>>,
    ) -> Result<Vec<(Self, Vec<u64>)>> {
        let keys = match known {
            Some((keys, _)) => keys.clone(),
            None => layout.keys(rows)?,
        };
        let hash = |row: usize| match known.and_then(|(_, hashes)| hashes.get(row)) {
            Some(hash) => *hash,
            None => key_hash(keys.value(row)),
        };
        let (panes, ids, pieces) = (layout.panes(rows), layout.row_ids(rows), layout.pieces());
        let pane = |row: usize| panes.as_ref().filter(|it| it.is_valid(row)).map(|it| it.value(row));
        let id = |row: u32| ids.as_ref().map(|it| it.value(row as usize));
        let mut order: Vec<(Option<i64>, u64, u32)> = (0..u32::try_from(rows.num_rows()).unwrap_or(u32::MAX))
            .map(|at| (pane(at as usize), hash(at as usize), at))
            .collect();
        order.sort_unstable_by(|a, b| {
            let by_key = || keys.value(a.2 as usize).cmp(keys.value(b.2 as usize));
            canonical(pieces, (a.0, a.1), (b.0, b.1), by_key).then_with(|| id(a.2).cmp(&id(b.2))).then(a.2.cmp(&b.2))
        });
        let mut chunks = Vec::new();
        for group in order.chunk_by(|a, b| pieces.of(a.0) == pieces.of(b.0)) {
            // Parts of one size: a small rest would be a chunk of its own for long.
            let parts = group.len().div_ceil(MAX_ROWS).max(1);
            for part in group.chunks(group.len().div_ceil(parts).max(1)) {
                let at = UInt32Array::from_iter_values(part.iter().map(|it| it.2));
                let rows = take_record_batch(rows, &at).map_err(copying)?;
                let keys = take(&keys, &at, None).map_err(copying)?;
                let keys = RowKeys::Bytes(keys.as_binary::<i32>().clone());
                let chunk = Self::new(compacted(&rows)?, keys, layout);
                chunks.push((chunk, part.iter().map(|it| it.1).collect()));
            }
        }
        Ok(chunks)
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    pub(super) fn live(&self) -> usize {
        self.len() - self.dead_rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.dead.len() * 8
    }

    /// Bytes of rows and keys, in memory or not.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The key bytes of a row of the overlay, whose keys are kept as they are.
    pub(super) fn key(&self, row: usize) -> Option<&[u8]> {
        self.held().and_then(|it| it.keys.bytes()).filter(|it| row < it.len()).map(|it| it.value(row))
    }

    /// True if this is the key of a row that is in memory.
    pub(super) fn has_key(&self, row: usize, key: &[u8]) -> bool {
        self.held().is_some_and(|it| it.keys.is(row, key))
    }

    /// Keeps no keys beside the rows where a column of theirs tells them.
    pub(super) fn without_keys(mut self, layout: &StateLayout) -> Self {
        if let Body::Memory(held) = &mut self.body
            && let Some(keys) = RowKeys::of_text(layout, &held.rows)
        {
            let freed = held.keys.bytes_of_their_own();
            held.keys = keys;
            (self.bytes, self.size) = (self.bytes - freed, self.size - freed);
        }
        self
    }

    pub(super) fn hash(&self, row: usize) -> u64 {
        match &self.body {
            Body::Memory(held) => held.keys.hash(row),
            Body::Disk(_, head) => head.hash(row),
        }
    }

    /// Tells whether a row is of the run that begins at `first`, for rows from there on.
    fn of_run(&self, first: usize) -> impl Fn(usize) -> bool {
        let (held, end) = match &self.body {
            Body::Memory(held) => (Some(held), self.rows),
            Body::Disk(_, head) => (None, head.end_of_run(first).min(self.rows)),
        };
        move |row| row < end && held.is_none_or(|held| held.keys.same(row, first))
    }

    /// What tells a row from the others of its key, if a key may have several.
    pub(super) fn id(&self, row: usize) -> Option<i64> {
        self.ids.as_ref().filter(|it| row < it.len()).map(|it| it.value(row))
    }

    /// One more than the largest of them.
    pub(super) fn next_id(&self) -> i64 {
        let largest = self.ids.as_ref().and_then(|it| it.values().iter().copied().max());
        largest.map_or(0, |it| it.saturating_add(1))
    }

    /// When a row is over; never: none.
    pub(super) fn pane(&self, row: usize) -> Option<i64> {
        self.panes.as_ref().filter(|it| row < it.len() && it.is_valid(row)).map(|it| it.value(row))
    }

    /// Which piece its rows belong to.
    pub(super) fn piece(&self) -> Option<i64> {
        self.pieces.of(self.pane(0))
    }

    /// A smallest and a largest pane, between which those of all live rows are that have one.
    pub(super) fn pane_range(&self) -> Option<(i64, i64)> {
        self.range
    }

    /// The smallest pane of a live row.
    pub(super) fn first_pane(&self) -> Option<i64> {
        match self.pieces {
            // Nulls come first, then panes that rise.
            Pieces::BySecond => self.live_rows().find_map(|row| self.pane(row)),
            Pieces::One => {
                let mut by_pane = self.thinning(i64::MAX).iter().map(|it| *it as usize);
                by_pane.find(|row| self.is_live(*row)).and_then(|row| self.pane(row))
            }
        }
    }

    /// The rows that are over at `through_us`, but those that [`Self::thin`] was told of.
    pub(super) fn over(&self, through_us: i64) -> impl Iterator<Item = usize> {
        let none = (0..0, &[][..]);
        let (range, rows) = match (&self.panes, self.range) {
            (Some(panes), Some((first, last))) if first <= through_us => match self.pieces {
                Pieces::BySecond => {
                    let nulls = panes.null_count();
                    let timed = panes.values().get(nulls..).unwrap_or_default();
                    (nulls..nulls + timed.partition_point(|it| *it <= through_us), &[][..])
                }
                Pieces::One if last <= through_us && panes.null_count() == 0 => (0..self.len(), &[][..]),
                Pieces::One => (0..0, self.thinning(through_us)),
            },
            _ => none,
        };
        range.chain(rows.iter().map(|it| *it as usize))
    }

    /// Marks all rows dead that are over, and returns how many were not.
    pub(super) fn thin(&mut self, through_us: i64) -> usize {
        let over: Vec<usize> = self.over(through_us).collect();
        if let Some(range) = self.range.as_mut().filter(|it| it.0 <= through_us) {
            range.0 = through_us.saturating_add(1);
        }
        if self.by_pane.get().is_some() {
            self.thinned += over.len();
        }
        over.into_iter().filter(|row| self.kill(*row)).count()
    }

    /// The rows that are over, by pane.
    fn thinning(&self, through_us: i64) -> &[u32] {
        let pane = |row: u32| self.pane(row as usize);
        let by_pane = self.by_pane.get_or_init(|| {
            let rows = 0..u32::try_from(self.len()).unwrap_or(u32::MAX);
            let mut rows: Vec<(i64, u32)> = rows.filter_map(|row| Some((pane(row)?, row))).collect();
            rows.sort_unstable();
            rows.into_iter().map(|it| it.1).collect()
        });
        let left = by_pane.get(self.thinned..).unwrap_or_default();
        let over = left.partition_point(|row| pane(*row).is_some_and(|it| it <= through_us));
        left.get(..over).unwrap_or_default()
    }

    pub(super) fn is_live(&self, row: usize) -> bool {
        let word = self.dead.get(row / 64).copied().unwrap_or(0);
        row < self.len() && word >> (row % 64) & 1 == 0
    }

    /// Marks a row dead; false if it was.
    pub(super) fn kill(&mut self, row: usize) -> bool {
        if !self.is_live(row) {
            return false;
        }
        if self.dead.is_empty() {
            self.dead = vec![0; self.len().div_ceil(64)];
        }
        if let Some(word) = self.dead.get_mut(row / 64) {
            *word |= 1 << (row % 64);
        }
        self.dead_rows += 1;
        true
    }

    pub(super) fn live_rows(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).filter(|row| self.is_live(*row))
    }

    /// The runs: where the rows of each key begin, with the key's hash.
    pub(super) fn runs(&self) -> impl Iterator<Item = (usize, u64)> {
        let begins = |row: &usize| match &self.body {
            Body::Memory(held) => *row == 0 || !held.keys.same(*row, *row - 1),
            Body::Disk(_, head) => head.begins(*row),
        };
        (0..self.len()).filter(begins).map(|row| (row, self.hash(row)))
    }

    /// The rows of the run that begins at `first` whose panes are within `panes`, live or dead.
    pub(super) fn run(&self, first: usize, panes: Option<(i64, i64)>) -> impl Iterator<Item = usize> {
        let Range { start, end } = first..self.len();
        let start = match panes {
            Some((from, _)) => self.gallop(first, |row| self.pane(row).is_none_or(|it| it < from)),
            None => start,
        };
        let of_run = self.of_run(first);
        let within =
            move |row: &usize| of_run(*row) && panes.is_none_or(|(_, to)| self.pane(*row).is_some_and(|it| it <= to));
        (start..end).take_while(within)
    }

    /// The row of a run that is `id`.
    pub(super) fn in_run(&self, first: usize, pane: Option<i64>, id: Option<i64>) -> Option<usize> {
        let at = self.gallop(first, |row| (self.pane(row), self.id(row)) < (pane, id));
        let same = self.of_run(first)(at) && (self.pane(at), self.id(at)) == (pane, id);
        same.then_some(at)
    }

    /// The first row of a run, or behind it, for which `below` does not hold: it holds for those before it.
    fn gallop(&self, first: usize, below: impl Fn(usize) -> bool) -> usize {
        let of_run = self.of_run(first);
        let below = |row: usize| of_run(row) && below(row);
        let (mut from, mut step) = (first, 1);
        while below(from + step - 1) {
            from += step;
            step *= 2;
        }
        let mut to = from + step - 1;
        while from < to {
            let middle = from + (to - from) / 2;
            if below(middle) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from
    }

    /// Makes a BOOLEAN true in some rows.
    pub(super) fn set_flags(&mut self, column: usize, rows: &[usize]) -> Result<()> {
        let Body::Memory(held) = &mut self.body else { return Err(Error::internal("flags of rows on disk")) };
        let mut columns = held.rows.columns().to_vec();
        let Some(flags) = columns.get_mut(column) else { return Ok(()) };
        let old = flags.as_boolean_opt().ok_or_else(|| Error::internal(format!("column {column} holds no flags")))?;
        let mut bits = BooleanBufferBuilder::new(old.len());
        bits.append_buffer(old.values());
        rows.iter().filter(|row| **row < old.len()).for_each(|row| bits.set_bit(*row, true));
        *flags = Arc::new(BooleanArray::new(bits.finish(), None));
        held.rows = RecordBatch::try_new(held.rows.schema(), columns).map_err(copying)?;
        Ok(())
    }
}

/// Canonical order of (pane, hash) and key.
fn canonical(
    pieces: Pieces,
    a: (Option<i64>, u64),
    b: (Option<i64>, u64),
    by_key: impl FnOnce() -> Ordering,
) -> Ordering {
    match pieces {
        Pieces::BySecond => a.cmp(&b).then_with(by_key),
        Pieces::One => a.1.cmp(&b.1).then_with(by_key).then(a.0.cmp(&b.0)),
    }
}

fn range_of(panes: &PrimitiveArray<TimestampMicrosecondType>, pieces: Pieces) -> Option<(i64, i64)> {
    if pieces == Pieces::One {
        let panes = || panes.iter().flatten();
        return panes().min().zip(panes().max());
    }
    // Canonical order: nulls first, then rising.
    let first = panes.null_count();
    let last = panes.len().checked_sub(1)?;
    (first <= last).then(|| (panes.value(first), panes.value(last)))
}

pub(super) fn copying(error: arrow_schema::ArrowError) -> Error {
    Error::internal("state rows can't be copied").because(error)
}
