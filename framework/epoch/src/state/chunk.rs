//! Chunks: immutable rows with their key bytes, in canonical order, and the marks of those that are dead.
//!
//! Canonical order is (pane, hash, key): a function of the rows alone, so a restart gives the same order. Within one
//! pane the hash comes first, so rows lie by virtual node.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, BinaryArray, PrimitiveArray, RecordBatch, StructArray, UInt32Array};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::interleave::interleave;
use arrow_select::take::{take, take_record_batch};
use tidegate_api::{Error, Result};

use super::key::key_hash;
use super::layout::StateLayout;

/// Most rows of a chunk, so that merging has an end and offsets never overflow.
pub(super) const MAX_ROWS: usize = 1 << 20;
/// A chunk above this is merged no more.
pub(super) const MAX_BYTES: usize = 128 << 20;
/// Panes closer than this lie in one piece; rows in it are told apart by value.
const PIECE_US: i64 = 1_000_000;

/// Which piece of the state a pane lies in.
pub(super) fn piece_of(pane: Option<i64>) -> Option<i64> {
    pane.map(|us| us.div_euclid(PIECE_US))
}

/// Where a row lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// Rows of one piece.
pub(super) struct Chunk {
    rows: RecordBatch,
    keys: BinaryArray,
    panes: Option<PrimitiveArray<TimestampMicrosecondType>>,
    dead: Vec<u64>,
    dead_rows: usize,
    bytes: usize,
}

impl Chunk {
    /// `rows` in canonical order with their `keys`.
    pub(super) fn new(rows: RecordBatch, keys: BinaryArray, pane_column: Option<usize>) -> Self {
        let panes = pane_column.and_then(|it| rows.columns().get(it)).and_then(|it| it.as_primitive_opt().cloned());
        let bytes = rows.get_array_memory_size() + keys.get_array_memory_size();
        Self { rows, keys, panes, dead: Vec::new(), dead_rows: 0, bytes }
    }

    /// Puts rows into canonical order and cuts them by piece. The second part holds the hash of each row.
    pub(super) fn cut(layout: &StateLayout, rows: &RecordBatch) -> Result<Vec<(Self, Vec<u64>)>> {
        let keys = layout.keys(rows)?;
        let panes = layout.panes(rows);
        let pane = |row: usize| panes.as_ref().filter(|it| it.is_valid(row)).map(|it| it.value(row));
        let mut order: Vec<(Option<i64>, u64, u32)> = (0u32..)
            .zip(keys.iter())
            .map(|(at, key)| (pane(at as usize), key_hash(key.unwrap_or_default()), at))
            .collect();
        order.sort_unstable_by(|a, b| {
            let by_key = || keys.value(a.2 as usize).cmp(keys.value(b.2 as usize));
            (a.0, a.1).cmp(&(b.0, b.1)).then_with(by_key).then(a.2.cmp(&b.2))
        });
        let mut chunks = Vec::new();
        for group in order.chunk_by(|a, b| piece_of(a.0) == piece_of(b.0)) {
            for part in group.chunks(MAX_ROWS) {
                let at = UInt32Array::from_iter_values(part.iter().map(|it| it.2));
                let rows = take_record_batch(rows, &at).map_err(copying)?;
                let keys = take(&keys, &at, None).map_err(copying)?;
                let chunk = Self::new(compacted(&rows)?, keys.as_binary::<i32>().clone(), layout.pane_column);
                chunks.push((chunk, part.iter().map(|it| it.1).collect()));
            }
        }
        Ok(chunks)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    pub(super) fn live(&self) -> usize {
        self.len() - self.dead_rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.dead.len() * 8
    }

    /// The key bytes of a row; no bytes if there is no such row.
    pub(super) fn key(&self, row: usize) -> &[u8] {
        if row < self.keys.len() { self.keys.value(row) } else { &[] }
    }

    pub(super) fn hash(&self, row: usize) -> u64 {
        key_hash(self.key(row))
    }

    /// When a row is over; never: none.
    pub(super) fn pane(&self, row: usize) -> Option<i64> {
        self.panes.as_ref().filter(|it| row < it.len() && it.is_valid(row)).map(|it| it.value(row))
    }

    /// The smallest and largest pane of all rows that have one.
    pub(super) fn pane_range(&self) -> Option<(i64, i64)> {
        let panes = self.panes.as_ref()?;
        // Canonical order: nulls first, then rising.
        let first = panes.null_count();
        let last = panes.len().checked_sub(1)?;
        (first <= last).then(|| (panes.value(first), panes.value(last)))
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
}

/// A row that was picked out of several chunks, with what its canonical order needs.
pub(super) struct Pick {
    pub(super) pane: Option<i64>,
    pub(super) hash: u64,
    pub(super) source: usize,
    pub(super) row: usize,
}

impl Pick {
    pub(super) fn of(chunk: &Chunk, source: usize, row: usize) -> Self {
        Self { pane: chunk.pane(row), hash: chunk.hash(row), source, row }
    }

    /// Puts picks in canonical order. The sort is stable since chunks are sorted runs.
    pub(super) fn sort(picks: &mut [Self], sources: &[&Chunk]) {
        let key = |it: &Self| sources.get(it.source).map_or(&[][..], |chunk| chunk.key(it.row));
        picks.sort_by(|a, b| (a.pane, a.hash).cmp(&(b.pane, b.hash)).then_with(|| key(a).cmp(key(b))));
    }

    /// Puts picks in the order of virtual nodes: by hash, whatever the pane.
    pub(super) fn sort_by_node(picks: &mut [Self], sources: &[&Chunk]) {
        let key = |it: &Self| sources.get(it.source).map_or(&[][..], |chunk| chunk.key(it.row));
        picks.sort_by(|a, b| a.hash.cmp(&b.hash).then_with(|| key(a).cmp(key(b))));
    }
}

/// Copies the picked rows.
pub(super) fn gather(schema: &SchemaRef, sources: &[&Chunk], picks: &[Pick]) -> Result<RecordBatch> {
    if picks.is_empty() {
        return Ok(RecordBatch::new_empty(schema.clone()));
    }
    if let [only] = sources {
        let whole = picks.len() == only.len() && picks.iter().enumerate().all(|(at, it)| at == it.row);
        if whole {
            return Ok(only.rows.clone());
        }
        let at = UInt32Array::from_iter_values(picks.iter().map(|it| u32::try_from(it.row).unwrap_or(u32::MAX)));
        return compacted(&take_record_batch(&only.rows, &at).map_err(copying)?);
    }
    let places: Vec<_> = picks.iter().map(|it| (it.source, it.row)).collect();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for at in 0..schema.fields().len() {
        let arrays: Vec<&dyn Array> =
            sources.iter().filter_map(|it| it.rows.columns().get(at)).map(AsRef::as_ref).collect();
        columns.push(interleave(&arrays, &places).map_err(copying)?);
    }
    compacted(&RecordBatch::try_new(schema.clone(), columns).map_err(copying)?)
}

/// Copies the keys of the picked rows.
pub(super) fn gather_keys(sources: &[&Chunk], picks: &[Pick]) -> Result<BinaryArray> {
    let arrays: Vec<&dyn Array> = sources.iter().map(|it| &it.keys as &dyn Array).collect();
    let places: Vec<_> = picks.iter().map(|it| (it.source, it.row)).collect();
    Ok(interleave(&arrays, &places).map_err(copying)?.as_binary::<i32>().clone())
}

fn copying(error: arrow_schema::ArrowError) -> Error {
    Error::internal("state rows can't be copied").because(error)
}

/// The same rows without the buffers that views would keep alive: taking rows copies all else.
fn compacted(rows: &RecordBatch) -> Result<RecordBatch> {
    if !rows.schema_ref().fields().iter().any(|it| has_views(it.data_type())) {
        return Ok(rows.clone());
    }
    let columns = rows.columns().iter().map(compacted_array).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(rows.schema(), columns).map_err(copying)
}

fn has_views(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => true,
        DataType::Struct(fields) => fields.iter().any(|it| has_views(it.data_type())),
        DataType::List(it) | DataType::LargeList(it) => has_views(it.data_type()),
        _ => false,
    }
}

fn compacted_array(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        it if !has_views(it) => array.clone(),
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter().map(compacted_array).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, array.nulls().cloned()).map_err(copying)?)
        }
        DataType::List(_) => {
            let (field, ends, values, nulls) = array.as_list::<i32>().clone().into_parts();
            let list = arrow_array::ListArray::try_new(field, ends, compacted_array(&values)?, nulls);
            Arc::new(list.map_err(copying)?)
        }
        DataType::LargeList(_) => {
            let (field, ends, values, nulls) = array.as_list::<i64>().clone().into_parts();
            let list = arrow_array::LargeListArray::try_new(field, ends, compacted_array(&values)?, nulls);
            Arc::new(list.map_err(copying)?)
        }
        _ => array.clone(),
    })
}
