//! One operator's part of a file, read batch by batch: for those who look at a state without holding it.

use std::io::{Cursor, Read, Take};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_schema::ArrowError;
use tidegate_api::{Error, Result};

use super::{DELTAS, FileReader, SNAPSHOT, Section, damaged};
use crate::program::StateShape;

/// Which of the two kinds of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// The deltas of an epoch.
    Deltas,
    /// A whole state.
    Snapshot,
}

impl FileKind {
    fn code(self) -> u8 {
        match self {
            Self::Deltas => DELTAS,
            Self::Snapshot => SNAPSHOT,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Deltas => "state delta",
            Self::Snapshot => "state snapshot",
        }
    }
}

/// What a file says of one operator. Its rows are what it iterates over.
pub(crate) struct OperatorPart {
    /// As in [`OperatorDelta`](crate::OperatorDelta).
    pub(crate) layout: Arc<str>,
    /// The shape of its rows, if it was noted.
    pub(crate) shape: Option<StateShape>,
    /// Rows whose pane is at or before this are gone before the others come.
    pub(crate) evict_through_us: Option<i64>,
    /// Keys that are gone.
    pub(crate) tombstones: Option<RecordBatch>,
    rows: Option<StreamReader<Take<Cursor<Vec<u8>>>>>,
    what: &'static str,
}

impl OperatorPart {
    fn broken(&self, e: ArrowError) -> Error {
        damaged(self.what, "its rows").because(e)
    }
}

impl Iterator for OperatorPart {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.rows.as_mut()?.next()?;
        Some(batch.map_err(|e| self.broken(e)))
    }
}

/// An operator that a file names.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) operator: Arc<str>,
    pub(crate) layout: Arc<str>,
    pub(crate) shape: Option<StateShape>,
}

/// The operators that the file at `at` in `bytes` names.
///
/// # Errors
/// `Config` if the bytes are damaged or of a newer version.
pub(crate) fn list_parts(bytes: &[u8], at: Range<usize>, kind: FileKind) -> Result<Vec<Listed>> {
    let body = bytes.get(at).ok_or_else(|| damaged(kind.what(), "it has no place"))?;
    let file = FileReader::open(body, kind.code(), kind.what())?;
    let listed = file.parts.iter().map(|it| {
        let columns = it.rows.as_ref().map(|it| file.stream(it)).transpose()?.map(|it| it.schema());
        Ok(Listed { operator: it.operator.clone(), layout: it.layout.clone(), shape: it.shape(columns) })
    });
    listed.collect()
}

/// The part of `operator` in the file at `at` in `bytes`, if it has one.
///
/// # Errors
/// `Config` if the bytes are damaged or of a newer version.
pub(crate) fn open_part(
    bytes: Vec<u8>,
    at: Range<usize>,
    kind: FileKind,
    operator: &str,
) -> Result<Option<OperatorPart>> {
    let what = kind.what();
    let body = bytes.get(at.clone()).ok_or_else(|| damaged(what, "it has no place"))?;
    let mut file = FileReader::open(body, kind.code(), what)?;
    let Some(place) = file.parts.iter().position(|it| *it.operator == *operator) else { return Ok(None) };
    let part = file.parts.swap_remove(place);
    let columns = part.rows.as_ref().map(|it| file.stream(it)).transpose()?.map(|it| it.schema());
    let shape = part.shape(columns);
    let tombstones = file.rows(&part.tombstones).and_then(|it| file.single(it.1))?;
    let rows = part.rows.as_ref().map(|it| stream(bytes, at.start, it, what)).transpose()?;
    let (layout, evict_through_us) = (part.layout, part.evict_through_us);
    Ok(Some(OperatorPart { layout, shape, evict_through_us, tombstones, rows, what }))
}

/// The batches of a section whose checksum holds.
fn stream(bytes: Vec<u8>, begin: usize, section: &Section, what: &str) -> Result<StreamReader<Take<Cursor<Vec<u8>>>>> {
    let mut cursor = Cursor::new(bytes);
    cursor.set_position((begin as u64).saturating_add(section.offset));
    StreamReader::try_new(cursor.take(section.length), None).map_err(|e| damaged(what, "its rows").because(e))
}
