//! `LaterRows`: live rows of a chunk that a snapshot copies, or reads from disk, when it writes them.

use std::fmt;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_select::filter::filter_record_batch;
use tidegate_api::Result;

use super::chunk::copying;
use super::spill::SpilledRows;

/// Rows of a snapshot that are not together yet: the loop need not wait until they are.
#[derive(Clone, PartialEq)]
pub struct LaterRows(Kind);

#[derive(Clone, PartialEq)]
enum Kind {
    Memory { rows: RecordBatch, live: BooleanBuffer },
    Disk(SpilledRows),
}

impl LaterRows {
    pub(super) fn in_memory(rows: RecordBatch, live: BooleanBuffer) -> Self {
        Self(Kind::Memory { rows, live })
    }

    pub(super) fn on_disk(rows: SpilledRows) -> Self {
        Self(Kind::Disk(rows))
    }

    /// The rows.
    ///
    /// # Errors
    /// `Transient` if the disk fails, `Internal` if a file is damaged or rows can't be copied.
    pub fn read(&self) -> Result<RecordBatch> {
        match &self.0 {
            Kind::Memory { rows, live } => {
                filter_record_batch(rows, &BooleanArray::new(live.clone(), None)).map_err(copying)
            }
            Kind::Disk(rows) => rows.read(),
        }
    }
}

impl fmt::Debug for LaterRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Memory { live, .. } => write!(f, "LaterRows({} in memory)", live.count_set_bits()),
            Kind::Disk(rows) => rows.fmt(f),
        }
    }
}
