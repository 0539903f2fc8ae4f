//! A chunk in a file: Arrow IPC streams of some rows each, so that few rows cost little, and each under a checksum.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat;
use tidegate_api::{Error, Result};

use super::SpillFolder;
use crate::state::chunk::{Held, RowKeys, compacted};
use crate::store::{blocking, failed};

/// Bytes of a block to aim at: what is read for one row.
const BLOCK_BYTES: usize = 64 << 10;
const LEAST_ROWS: usize = 16;
const MOST_ROWS: usize = 8192;

/// Rows and keys of one chunk. The file goes with it.
pub(in crate::state) struct SpillFile {
    path: PathBuf,
    blocks: Vec<Block>,
    /// Of the rows; in the file stands the key behind them.
    schema: SchemaRef,
    bytes: u64,
    /// Outlives its files.
    _folder: Arc<SpillFolder>,
}

/// Rows that are read together.
struct Block {
    first: u32,
    rows: u32,
    offset: u64,
    length: usize,
    crc32: u32,
}

impl SpillFile {
    /// Writes a new file.
    ///
    /// # Errors
    /// `Transient` if the disk fails, `Internal` if the rows can't be written as Arrow IPC.
    pub(in crate::state) fn write(folder: &Arc<SpillFolder>, held: &Held) -> Result<Self> {
        let schema = held.rows.schema();
        let path = folder.name();
        // From here on it is removed if it is not finished.
        let mut this = Self { path, blocks: Vec::new(), schema, bytes: 0, _folder: folder.clone() };
        let unwritten = |e| failed("write", &this.path, e);
        let mut out = BufWriter::new(File::create_new(&this.path).map_err(unwritten)?);
        let (rows, size) = (held.rows.num_rows(), held.rows.get_array_memory_size() + held.keys.bytes_of_their_own());
        let step = (BLOCK_BYTES / (size / rows.max(1)).max(1)).clamp(LEAST_ROWS, MOST_ROWS);
        let (mut blocks, mut offset) = (Vec::new(), 0);
        for first in (0..rows).step_by(step) {
            let count = step.min(rows - first);
            let bytes = encoded(&with_keys(held, first, count)?)?;
            out.write_all(&bytes).map_err(unwritten)?;
            let number = |it| u32::try_from(it).map_err(|e| Error::internal("a chunk has too many rows").because(e));
            let crc32 = crc32fast::hash(&bytes);
            blocks.push(Block { first: number(first)?, rows: number(count)?, offset, length: bytes.len(), crc32 });
            offset += bytes.len() as u64;
        }
        out.flush().map_err(unwritten)?;
        drop(out);
        (this.blocks, this.bytes) = (blocks, offset);
        Ok(this)
    }

    /// Bytes on disk.
    pub(in crate::state) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Some rows, which are in order, each once. Reads the blocks that they are in, one after the other.
    ///
    /// # Errors
    /// `Transient` if the disk fails; `Internal` if it gives other bytes than were written.
    pub(in crate::state) fn read(&self, rows: &[u32]) -> Result<Held> {
        // The operator that asks runs on an async thread and can't go on without the rows. So the read stays on that
        // thread, which tells the runtime to move its other tasks away: a hop to another thread and back costs as much
        // as the read of a few cached blocks.
        let parts = blocking(|| self.parts(rows))?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len() + 1);
        for (at, field) in self.stored_schema().fields().iter().enumerate() {
            let arrays: Vec<&dyn Array> = parts.iter().filter_map(|it| it.get(at)).map(AsRef::as_ref).collect();
            columns.push(match arrays.as_slice() {
                [] => arrow_array::new_empty_array(field.data_type()),
                arrays => concat(arrays).map_err(|e| self.damaged("its rows").because(e))?,
            });
        }
        let keys = columns.pop().and_then(|it| it.as_binary_opt::<i32>().cloned());
        let keys = keys.filter(|it| it.len() == rows.len()).ok_or_else(|| self.damaged("rows are missing"))?;
        let rows = RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns,
            &RecordBatchOptions::new().with_row_count(Some(rows.len())),
        );
        let rows = rows.map_err(|e| self.damaged("its rows").because(e))?;
        Ok(Held { rows, keys: RowKeys::Bytes(keys) })
    }

    /// The columns of the rows and their key, block by block.
    fn parts(&self, mut rows: &[u32]) -> Result<Vec<Vec<ArrayRef>>> {
        let unread = |e| failed("read", &self.path, e);
        let mut parts = Vec::new();
        if rows.is_empty() {
            return Ok(parts);
        }
        let mut file = File::open(&self.path).map_err(unread)?;
        let mut bytes = Vec::new();
        for block in &self.blocks {
            let end = block.first.saturating_add(block.rows);
            let (here, later) = rows.split_at(rows.partition_point(|it| *it < end));
            rows = later;
            if here.is_empty() {
                continue;
            }
            bytes.resize(block.length, 0);
            file.seek(SeekFrom::Start(block.offset)).map_err(unread)?;
            file.read_exact(&mut bytes).map_err(unread)?;
            if crc32fast::hash(&bytes) != block.crc32 {
                return Err(self.damaged("the checksum of a block does not hold"));
            }
            let batch = decoded(&bytes).map_err(|e| self.damaged("a block").because(e))?;
            let batch = batch.filter(|it| it.num_rows() == block.rows as usize);
            let batch = batch.ok_or_else(|| self.damaged("rows are missing"))?;
            parts.push(picked(&batch, block, here)?.columns().to_vec());
        }
        Ok(parts)
    }

    fn stored_schema(&self) -> Schema {
        let key = Arc::new(Field::new("", DataType::Binary, false));
        Schema::new(self.schema.fields().iter().cloned().chain([key]).collect::<Vec<_>>())
    }

    fn damaged(&self, found: &str) -> Error {
        let path = self.path.display();
        Error::internal(format!(
            "state on disk is damaged, {path}: {found}; the checkpoint has all of it, a new start begins from there"
        ))
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        // What is left is swept at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Some rows of a block.
fn picked(batch: &RecordBatch, block: &Block, rows: &[u32]) -> Result<RecordBatch> {
    if rows.len() == batch.num_rows() {
        return Ok(batch.clone());
    }
    let at = UInt32Array::from_iter_values(rows.iter().map(|it| it.saturating_sub(block.first)));
    let taken = arrow_select::take::take_record_batch(batch, &at);
    compacted(&taken.map_err(|e| Error::internal("state rows can't be copied").because(e))?)
}

/// Rows of a chunk, with the key behind them. Their own copies: a slice would be written with the buffers of all.
fn with_keys(held: &Held, first: usize, count: usize) -> Result<RecordBatch> {
    let rows = compacted(&held.rows.slice(first, count))?;
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("", DataType::Binary, false)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(held.keys.slice(first, count)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(unencoded)
}

fn encoded(rows: &RecordBatch) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut stream = StreamWriter::try_new(&mut bytes, rows.schema_ref()).map_err(unencoded)?;
    stream.write(rows).and_then(|()| stream.finish()).map_err(unencoded)?;
    drop(stream);
    Ok(bytes)
}

fn decoded(bytes: &[u8]) -> Result<Option<RecordBatch>, ArrowError> {
    StreamReader::try_new(Cursor::new(bytes), None)?.next().transpose()
}

fn unencoded(error: ArrowError) -> Error {
    Error::internal("state rows can't be written").because(error)
}

/// Rows of a snapshot that are on disk, and stay there as long as this.
#[derive(Clone)]
pub(in crate::state) struct SpilledRows {
    file: Arc<SpillFile>,
    rows: Arc<[u32]>,
}

impl SpilledRows {
    pub(in crate::state) fn new(file: Arc<SpillFile>, rows: impl Iterator<Item = u32>) -> Self {
        Self { file, rows: rows.collect() }
    }

    /// The rows, read into memory.
    ///
    /// # Errors
    /// `Transient` if the disk fails, `Internal` if the file is damaged.
    pub(in crate::state) fn read(&self) -> Result<RecordBatch> {
        Ok(self.file.read(&self.rows)?.rows)
    }
}

impl PartialEq for SpilledRows {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.rows == other.rows
    }
}

impl fmt::Debug for SpilledRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: &Path = &self.file.path;
        f.debug_struct("SpilledRows").field("path", &path).field("rows", &self.rows.len()).finish()
    }
}
