//! The bytes of state deltas and snapshots in the checkpoint.
//!
//! ```text
//! "TGST" version kind 0 0                        8 bytes
//! Arrow IPC streams (lz4), one after another     rows of one operator each, by virtual node
//! index as JSON                                   operators, and where their streams lie, with length and CRC-32
//! length of the index, CRC-32 of header and index, "TGST"     12 bytes
//! ```
//! Streams fill the space between header and index without gaps, so every byte is under a checksum or compared. Nothing
//! is decoded before its checksum holds.

use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use tidegate_api::{Error, Result};

use crate::program::{OperatorDelta, OperatorSnapshot, StateShape};

pub(crate) use part::{FileKind, Listed, OperatorPart, list_parts, open_part};

mod part;
#[cfg(test)]
mod tests;

const MAGIC: [u8; 4] = *b"TGST";
const VERSION: u8 = 1;
const DELTAS: u8 = 1;
const SNAPSHOT: u8 = 2;
const HEADER: usize = 8;
const TRAILER: usize = 12;

/// Where a stream lies.
#[derive(Serialize, Deserialize)]
struct Section {
    offset: u64,
    length: u64,
    crc32: u32,
    rows: u64,
}

/// What the index says of one operator.
#[derive(Serialize, Deserialize)]
struct Part {
    operator: Arc<str>,
    layout: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    evict_through_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tombstones: Option<Section>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<Section>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shape: Option<Shape>,
}

impl Part {
    /// The shape of its rows, which have these columns, if it was noted.
    fn shape(&self, columns: Option<SchemaRef>) -> Option<StateShape> {
        Some(self.shape.as_ref()?.with(columns?))
    }
}

/// A [`StateShape`]; its columns are those of the rows' stream.
#[derive(Clone, Serialize, Deserialize)]
struct Shape {
    keys: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pane: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    row: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Arc<str>>,
}

impl Shape {
    fn of(shape: &StateShape) -> Self {
        let StateShape { keys, pane, row, origin, columns: _ } = shape.clone();
        Self { keys, pane, row, origin }
    }

    fn with(&self, columns: SchemaRef) -> StateShape {
        let Self { keys, pane, row, origin } = self.clone();
        StateShape { columns, keys, pane, row, origin }
    }
}

/// The bytes of an epoch's deltas.
///
/// # Errors
/// `Internal` if rows can't be written as Arrow IPC.
pub fn encode_deltas(deltas: &[OperatorDelta]) -> Result<Vec<u8>> {
    let mut file = FileWriter::new(DELTAS);
    for delta in deltas {
        let tombstones = file.section(delta.tombstones.iter().cloned().map(Ok), None)?;
        let rows = file.section(delta.puts.iter().cloned().map(Ok), delta.shape.as_ref())?;
        let (operator, layout) = (delta.operator.clone(), delta.layout.clone());
        let (evict_through_us, shape) = (delta.evict_through_us, delta.shape.as_ref().map(Shape::of));
        file.parts.push(Part { operator, layout, evict_through_us, tombstones, rows, shape });
    }
    file.finish()
}

/// Reads what [`encode_deltas`] wrote.
///
/// # Errors
/// `Config` if the bytes are damaged or of a newer version.
pub fn decode_deltas(bytes: &[u8]) -> Result<Vec<OperatorDelta>> {
    let file = FileReader::open(bytes, DELTAS, "state delta")?;
    let deltas = file.parts.iter().map(|part| {
        let (_, tombstones) = file.rows(&part.tombstones)?;
        let (columns, puts) = file.rows(&part.rows)?;
        Ok(OperatorDelta {
            operator: part.operator.clone(),
            layout: part.layout.clone(),
            evict_through_us: part.evict_through_us,
            tombstones: file.single(tombstones)?,
            puts: file.single(puts)?,
            shape: part.shape(columns),
        })
    });
    deltas.collect()
}

/// The bytes of a whole state. Rows on disk are read chunk by chunk.
///
/// # Errors
/// `Internal` if rows can't be written as Arrow IPC; `Transient` if rows on disk can't be read.
pub fn encode_snapshot(operators: &[OperatorSnapshot]) -> Result<Vec<u8>> {
    let mut file = FileWriter::new(SNAPSHOT);
    for state in operators {
        let rows = file.section(state.batches(), state.shape.as_ref())?;
        let (operator, layout) = (state.operator.clone(), state.layout.clone());
        let shape = state.shape.as_ref().map(Shape::of);
        file.parts.push(Part { operator, layout, evict_through_us: None, tombstones: None, rows, shape });
    }
    file.finish()
}

/// Reads what [`encode_snapshot`] wrote.
///
/// # Errors
/// `Config` if the bytes are damaged or of a newer version.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Vec<OperatorSnapshot>> {
    let file = FileReader::open(bytes, SNAPSHOT, "state snapshot")?;
    let operators = file.parts.iter().map(|part| {
        let (operator, layout) = (part.operator.clone(), part.layout.clone());
        let (columns, rows) = file.rows(&part.rows)?;
        Ok(OperatorSnapshot { operator, layout, rows, later: Vec::new(), shape: part.shape(columns) })
    });
    operators.collect()
}

struct FileWriter {
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

impl FileWriter {
    fn new(kind: u8) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([VERSION, kind, 0, 0]);
        Self { bytes, parts: Vec::new() }
    }

    /// Appends batches of one schema as a stream; none: no section, or a stream that tells the shape's columns alone.
    fn section(
        &mut self,
        mut batches: impl Iterator<Item = Result<RecordBatch>>,
        shape: Option<&StateShape>,
    ) -> Result<Option<Section>> {
        let unwritten = |e| Error::internal("state rows can't be written").because(e);
        let first = batches.next().transpose()?;
        let columns = first.as_ref().map(RecordBatch::schema).or_else(|| shape.map(|it| it.columns.clone()));
        let Some(columns) = columns else { return Ok(None) };
        let mut rows = 0;
        let from = self.bytes.len();
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME));
        let options = options.map_err(unwritten)?;
        let mut stream = StreamWriter::try_new_with_options(&mut self.bytes, &columns, options).map_err(unwritten)?;
        for batch in first.map(Ok).into_iter().chain(batches) {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            stream.write(&batch).map_err(unwritten)?;
        }
        stream.finish().map_err(unwritten)?;
        drop(stream);
        let body = self.bytes.get(from..).unwrap_or_default();
        Ok(Some(Section { offset: from as u64, length: body.len() as u64, crc32: crc32fast::hash(body), rows }))
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        let index = serde_json::to_vec(&self.parts).map_err(|e| Error::internal("state index").because(e))?;
        let length = u32::try_from(index.len()).map_err(|e| Error::internal("state index").because(e))?;
        let crc = framed_crc(self.bytes.get(..HEADER).unwrap_or_default(), &index);
        self.bytes.extend(index);
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(crc.to_le_bytes());
        self.bytes.extend(MAGIC);
        Ok(self.bytes)
    }
}

struct FileReader<'a> {
    bytes: &'a [u8],
    parts: Vec<Part>,
    what: &'static str,
}

impl<'a> FileReader<'a> {
    fn open(bytes: &'a [u8], kind: u8, what: &'static str) -> Result<Self> {
        let damaged = |found: &str| damaged(what, found);
        let header = bytes.get(..HEADER).ok_or_else(|| damaged("it is too short"))?;
        if !header.starts_with(&MAGIC) {
            return Err(damaged("it does not begin as one"));
        }
        let version = header.get(4).copied().unwrap_or(0);
        if version > VERSION {
            return Err(Error::config(format!("{what}: format version {version}, expected {VERSION} or lower")));
        }
        if header.get(4..) != Some(&[VERSION, kind, 0, 0]) {
            return Err(damaged("its header is of another kind"));
        }
        let trailer_at = bytes.len().checked_sub(TRAILER).filter(|it| *it >= HEADER);
        let trailer_at = trailer_at.ok_or_else(|| damaged("it is cut off"))?;
        let word = |at: usize| bytes.get(at..at + 4).and_then(|it| it.try_into().ok()).unwrap_or([0; 4]);
        if word(trailer_at + 8) != MAGIC {
            return Err(damaged("it is cut off"));
        }
        let length = usize::try_from(u32::from_le_bytes(word(trailer_at))).unwrap_or(usize::MAX);
        let index_at = trailer_at.checked_sub(length).filter(|it| *it >= HEADER);
        let index_at = index_at.ok_or_else(|| damaged("its index is longer than the file"))?;
        let index = bytes.get(index_at..trailer_at).unwrap_or_default();
        if framed_crc(header, index) != u32::from_le_bytes(word(trailer_at + 4)) {
            return Err(damaged("the checksum of its index does not hold"));
        }
        let parts: Vec<Part> = serde_json::from_slice(index).map_err(|e| damaged("its index").because(e))?;
        let file = Self { bytes, parts, what };
        file.check_gaps(index_at)?;
        Ok(file)
    }

    /// Sections must fill the space between header and index.
    fn check_gaps(&self, index_at: usize) -> Result<()> {
        let mut at = HEADER as u64;
        for section in self.parts.iter().flat_map(|it| it.tombstones.iter().chain(&it.rows)) {
            if section.offset != at {
                return Err(damaged(self.what, "its sections leave a gap"));
            }
            at = at.saturating_add(section.length);
        }
        if at != index_at as u64 {
            return Err(damaged(self.what, "its sections do not reach its index"));
        }
        Ok(())
    }

    /// The bytes of a section, checked.
    fn body(&self, section: &Section) -> Result<&'a [u8]> {
        let damaged = |found: &str| damaged(self.what, found);
        let range = range_of(section).ok_or_else(|| damaged("a section has no place"))?;
        let body = self.bytes.get(range).ok_or_else(|| damaged("a section has no place"))?;
        if crc32fast::hash(body) != section.crc32 {
            return Err(damaged("the checksum of its rows does not hold"));
        }
        Ok(body)
    }

    /// The stream of a section, checked.
    fn stream(&self, section: &Section) -> Result<StreamReader<Cursor<&'a [u8]>>> {
        let stream = StreamReader::try_new(Cursor::new(self.body(section)?), None);
        stream.map_err(|e| damaged(self.what, "its rows").because(e))
    }

    /// The columns of a section, and its rows.
    fn rows(&self, section: &Option<Section>) -> Result<(Option<SchemaRef>, Vec<RecordBatch>)> {
        let Some(section) = section else { return Ok((None, Vec::new())) };
        let damaged = |found: &str| damaged(self.what, found);
        let stream = self.stream(section)?;
        let columns = stream.schema();
        let batches: Vec<RecordBatch> = stream.collect::<Result<_, _>>().map_err(|e| damaged("its rows").because(e))?;
        if batches.iter().map(|it| it.num_rows() as u64).sum::<u64>() != section.rows {
            return Err(damaged("rows are missing"));
        }
        Ok((Some(columns), batches))
    }

    fn single(&self, mut batches: Vec<RecordBatch>) -> Result<Option<RecordBatch>> {
        if batches.len() > 1 {
            return Err(damaged(self.what, "a section has several batches"));
        }
        Ok(batches.pop())
    }
}

fn range_of(section: &Section) -> Option<Range<usize>> {
    let from = usize::try_from(section.offset).ok()?;
    Some(from..from.checked_add(usize::try_from(section.length).ok()?)?)
}

fn framed_crc(header: &[u8], index: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header);
    crc.update(index);
    crc.finalize()
}

fn damaged(what: &str, found: &str) -> Error {
    Error::config(format!("{what} is damaged: {found}"))
}
