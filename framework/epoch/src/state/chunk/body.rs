//! Where the rows of a chunk are: in memory, or in a file while what finds them stays in memory.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, UInt32Array};
use arrow_buffer::BooleanBuffer;
use arrow_select::take::{take, take_record_batch};
use tidegate_api::Result;

use super::{Chunk, RowKeys, compacted, copying};
use crate::state::later::LaterRows;
use crate::state::spill::{SpillFile, SpillFolder, SpilledRows};

/// Rows in memory with their key bytes.
#[derive(Clone)]
pub(in crate::state) struct Held {
    pub(in crate::state) rows: RecordBatch,
    pub(in crate::state) keys: RowKeys,
}

impl Held {
    /// Copies of some rows.
    pub(in crate::state) fn take(&self, rows: &[u32]) -> Result<Self> {
        let at = UInt32Array::from_iter_values(rows.iter().copied());
        let keys = take(self.keys.to_bytes().as_ref(), &at, None).map_err(copying)?;
        let keys = RowKeys::Bytes(keys.as_binary::<i32>().clone());
        let rows = compacted(&take_record_batch(&self.rows, &at).map_err(copying)?)?;
        Ok(Self { rows, keys })
    }
}

pub(super) enum Body {
    Memory(Held),
    Disk(Arc<SpillFile>, Head),
}

/// What stays in memory of rows on disk, beside panes and numbers: the hash of each run, and where the runs begin.
pub(super) struct Head {
    hashes: Vec<u64>,
    /// None: each row is a run of its own.
    firsts: Option<Vec<u32>>,
}

impl Head {
    pub(super) fn of_rows(hashes: impl Iterator<Item = u64>) -> Self {
        Self { hashes: hashes.collect(), firsts: None }
    }

    pub(super) fn of_runs(runs: impl Iterator<Item = (usize, u64)>) -> Self {
        let (firsts, hashes) = runs.map(|(row, hash)| (u32::try_from(row).unwrap_or(u32::MAX), hash)).unzip();
        Self { hashes, firsts: Some(firsts) }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.hashes.as_slice()) + self.firsts.as_ref().map_or(0, |it| size_of_val(it.as_slice()))
    }

    pub(super) fn hash(&self, row: usize) -> u64 {
        self.hashes.get(self.runs_to(row).wrapping_sub(1)).copied().unwrap_or(0)
    }

    pub(super) fn begins(&self, row: usize) -> bool {
        self.firsts.as_ref().is_none_or(|it| it.binary_search_by(|first| (*first as usize).cmp(&row)).is_ok())
    }

    /// The row behind the run that `row` is of.
    pub(super) fn end_of_run(&self, row: usize) -> usize {
        match &self.firsts {
            // The last one ends with the chunk, whose other columns end there too.
            Some(firsts) => firsts.get(self.runs_to(row)).map_or(usize::MAX, |it| *it as usize),
            None => row + 1,
        }
    }

    /// How many runs begin at or before a row.
    fn runs_to(&self, row: usize) -> usize {
        match &self.firsts {
            Some(firsts) => firsts.partition_point(|it| *it as usize <= row),
            None => row + 1,
        }
    }
}

impl Chunk {
    /// Those of them that are in memory and could be written to disk.
    pub(in crate::state) fn held_bytes(&self) -> usize {
        if self.is_on_disk() { 0 } else { self.size }
    }

    /// Bytes of its file.
    pub(in crate::state) fn file_bytes(&self) -> u64 {
        self.file().map_or(0, |it| it.bytes())
    }

    pub(in crate::state) fn is_on_disk(&self) -> bool {
        matches!(self.body, Body::Disk(..))
    }

    fn file(&self) -> Option<&Arc<SpillFile>> {
        match &self.body {
            Body::Memory(_) => None,
            Body::Disk(file, _) => Some(file),
        }
    }

    /// Moves rows and keys to a file; what finds them stays. `several`: a key may have several rows. After an error all is
    /// as before.
    pub(in crate::state) fn spill(&mut self, folder: &Arc<SpillFolder>, several: bool) -> Result<()> {
        let Body::Memory(held) = &self.body else { return Ok(()) };
        let file = Arc::new(SpillFile::write(folder, held)?);
        let head =
            if several { Head::of_runs(self.runs()) } else { Head::of_rows((0..self.rows).map(|it| self.hash(it))) };
        let panes = self.panes.as_ref().map_or(0, Array::get_array_memory_size);
        let ids = self.ids.as_ref().map_or(0, Array::get_array_memory_size);
        self.bytes = head.bytes() + panes + ids;
        self.body = Body::Disk(file, head);
        Ok(())
    }

    /// Its rows, if they are in memory.
    pub(in crate::state) fn held(&self) -> Option<&Held> {
        match &self.body {
            Body::Memory(held) => Some(held),
            Body::Disk(..) => None,
        }
    }

    /// Some of its rows, in memory or not; `rows` are in order, each once.
    pub(in crate::state) fn read(&self, rows: &[u32]) -> Result<Held> {
        match &self.body {
            Body::Memory(held) => held.take(rows),
            Body::Disk(file, _) => file.read(rows),
        }
    }

    /// Its rows, if they are in memory and none is dead.
    pub(in crate::state) fn whole(&self) -> Option<&RecordBatch> {
        self.held().filter(|_| self.dead_rows == 0).map(|it| &it.rows)
    }

    /// Its live rows, wherever they are, to be had later.
    pub(in crate::state) fn later(&self) -> LaterRows {
        match &self.body {
            Body::Memory(held) => {
                let live: Vec<u64> = self.dead.iter().map(|word| !word).collect();
                let live = BooleanBuffer::new(live.into(), 0, held.rows.num_rows());
                LaterRows::in_memory(held.rows.clone(), live)
            }
            Body::Disk(file, _) => {
                let rows = self.live_rows().filter_map(|row| u32::try_from(row).ok());
                LaterRows::on_disk(SpilledRows::new(file.clone(), rows))
            }
        }
    }
}
