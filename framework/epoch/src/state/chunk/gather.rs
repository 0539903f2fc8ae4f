//! Rows picked out of several chunks: their order, and copies of them.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::interleave::interleave;
use arrow_select::take::take_record_batch;
use tidegate_api::{Error, Result};

use super::{Chunk, Held, canonical, compacted, copying};
use crate::state::layout::Pieces;

/// The chunks that rows are picked out of. Of those on disk the picked rows are read, block by block, and no others.
pub(in crate::state) struct Sources<'a> {
    chunks: Vec<&'a Chunk>,
    /// Empty if all are in memory.
    read: Vec<Option<ReadRows>>,
}

/// Rows of a chunk on disk, by number.
struct ReadRows {
    rows: Vec<u32>,
    held: Held,
}

impl<'a> Sources<'a> {
    /// `picked` are chunks, by their place in `chunks`, and rows of them.
    ///
    /// # Errors
    /// As reading rows that are on disk.
    pub(in crate::state) fn new(chunks: Vec<&'a Chunk>, picked: impl Iterator<Item = (usize, usize)>) -> Result<Self> {
        if chunks.iter().all(|it| !it.is_on_disk()) {
            return Ok(Self { chunks, read: Vec::new() });
        }
        let mut wanted = vec![Vec::new(); chunks.len()];
        for (source, row) in picked {
            if chunks.get(source).is_some_and(|it| it.is_on_disk())
                && let Some(rows) = wanted.get_mut(source)
            {
                rows.push(u32::try_from(row).unwrap_or(u32::MAX));
            }
        }
        let read = chunks.iter().zip(wanted).map(|(chunk, mut rows)| {
            if !chunk.is_on_disk() {
                return Ok(None);
            }
            rows.sort_unstable();
            rows.dedup();
            Ok(Some(ReadRows { held: chunk.read(&rows)?, rows }))
        });
        let read = read.collect::<Result<_>>()?;
        Ok(Self { chunks, read })
    }

    /// The rows of a source that are in memory now.
    fn held(&self, source: usize) -> Option<&Held> {
        match self.read.get(source) {
            Some(Some(it)) => Some(&it.held),
            _ => self.chunks.get(source)?.held(),
        }
    }

    /// Where among them a row is.
    fn at(&self, source: usize, row: usize) -> usize {
        match self.read.get(source) {
            Some(Some(it)) => it.rows.binary_search_by(|at| (*at as usize).cmp(&row)).unwrap_or(usize::MAX),
            _ => row,
        }
    }

    fn key(&self, pick: &Pick) -> Cow<'_, [u8]> {
        self.held(pick.source).map_or(Cow::default(), |it| it.keys.get(self.at(pick.source, pick.row)))
    }

    fn id(&self, pick: &Pick) -> Option<i64> {
        self.chunks.get(pick.source).and_then(|chunk| chunk.id(pick.row))
    }

    /// True if a BOOLEAN column of a row is false.
    pub(in crate::state) fn is_false(&self, pick: &Pick, column: usize) -> bool {
        let column = self.held(pick.source).and_then(|it| it.rows.columns().get(column)?.as_boolean_opt());
        let at = self.at(pick.source, pick.row);
        column.is_some_and(|it| at < it.len() && !it.value(at))
    }

    /// All that are in memory, for copying by [`Self::at`].
    fn all(&self) -> Result<Vec<&Held>> {
        let all = (0..self.chunks.len()).map(|it| self.held(it));
        all.collect::<Option<_>>().ok_or_else(|| Error::internal("rows of state were not read"))
    }
}

/// A row that was picked out of several chunks, with what its canonical order needs.
pub(in crate::state) struct Pick {
    pub(in crate::state) pane: Option<i64>,
    pub(in crate::state) hash: u64,
    pub(in crate::state) source: usize,
    pub(in crate::state) row: usize,
}

impl Pick {
    pub(in crate::state) fn of(chunk: &Chunk, source: usize, row: usize) -> Self {
        Self { pane: chunk.pane(row), hash: chunk.hash(row), source, row }
    }

    /// Puts picks in canonical order. The sort is stable since chunks are sorted runs.
    pub(in crate::state) fn sort(picks: &mut [Self], sources: &Sources<'_>, pieces: Pieces) {
        let (key, id) = (|it: &Self| sources.key(it), |it: &Self| sources.id(it));
        picks.sort_by(|a, b| {
            canonical(pieces, (a.pane, a.hash), (b.pane, b.hash), || key(a).cmp(&key(b)))
                .then_with(|| id(a).cmp(&id(b)))
        });
    }

    /// Puts picks in the order of virtual nodes: by hash, whatever the pane.
    pub(in crate::state) fn sort_by_node(picks: &mut [Self], sources: &Sources<'_>) {
        let (key, id) = (|it: &Self| sources.key(it), |it: &Self| sources.id(it));
        picks.sort_by(|a, b| a.hash.cmp(&b.hash).then_with(|| key(a).cmp(&key(b))).then_with(|| id(a).cmp(&id(b))));
    }
}

/// Copies the picked rows.
pub(in crate::state) fn gather(schema: &SchemaRef, sources: &Sources<'_>, picks: &[Pick]) -> Result<RecordBatch> {
    if picks.is_empty() {
        return Ok(RecordBatch::new_empty(schema.clone()));
    }
    if let [only] = sources.all()?.as_slice() {
        let at = |it: &Pick| sources.at(it.source, it.row);
        let whole = picks.len() == only.rows.num_rows() && picks.iter().enumerate().all(|(row, it)| at(it) == row);
        if whole {
            return Ok(only.rows.clone());
        }
        let at = UInt32Array::from_iter_values(picks.iter().map(|it| u32::try_from(at(it)).unwrap_or(u32::MAX)));
        return compacted(&take_record_batch(&only.rows, &at).map_err(copying)?);
    }
    let places: Vec<_> = picks.iter().map(|it| (it.source, it.row)).collect();
    let columns = gather_columns(0..schema.fields().len(), sources, &places)?;
    compacted(&RecordBatch::try_new(schema.clone(), columns).map_err(copying)?)
}

/// Copies some columns of rows at (source, row).
pub(in crate::state) fn gather_columns(
    columns: impl Iterator<Item = usize>,
    sources: &Sources<'_>,
    places: &[(usize, usize)],
) -> Result<Vec<ArrayRef>> {
    let all = sources.all()?;
    let moved: Vec<(usize, usize)>;
    let places = if sources.read.is_empty() {
        places
    } else {
        moved = places.iter().map(|it| (it.0, sources.at(it.0, it.1))).collect();
        &moved
    };
    let copied = columns.map(|at| {
        let arrays: Vec<&dyn Array> =
            all.iter().filter_map(|it| it.rows.columns().get(at)).map(AsRef::as_ref).collect();
        interleave(&arrays, places).map_err(copying)
    });
    copied.collect()
}

/// Copies the keys of the picked rows.
pub(in crate::state) fn gather_keys(sources: &Sources<'_>, picks: &[Pick]) -> Result<BinaryArray> {
    let all = sources.all()?;
    let keys: Vec<_> = all.iter().map(|it| it.keys.to_bytes()).collect();
    let arrays: Vec<&dyn Array> = keys.iter().map(|it| it.as_ref() as &dyn Array).collect();
    let places: Vec<_> = picks.iter().map(|it| (it.source, sources.at(it.source, it.row))).collect();
    Ok(interleave(&arrays, &places).map_err(copying)?.as_binary::<i32>().clone())
}
