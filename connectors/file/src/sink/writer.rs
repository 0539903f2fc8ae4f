//! `FileSinkWriter`: the rows of one task of an epoch, written to staged files as they come.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_api::connector::Reservation;
use tidegate_api::{Clock, Epoch, MemoryBudget, Rejected, Result, SinkWriter, async_trait, fault};

use super::clean::Leftovers;
use super::columns;
use super::config::{Compression, SinkFormat};
use super::encoder::Encoder;
use super::folder::{DataFile, Folder, Output};
use super::names::{FileNames, WriterHash, staged};

/// Bytes at which a file is closed and the next one begun.
const FILE_BYTES: u64 = 128 << 20;
/// Bytes that a writer holds at most before they are written out.
const BUFFER_BYTES: usize = 32 << 20;

/// What a writer prepared: files that are complete and durable, and no reader sees.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Prepared {
    pub(crate) files: Vec<DataFile>,
    /// The rows in them.
    pub(crate) rows: u64,
}

impl Prepared {
    /// Names of the files; until they are committed they lie in the folder `_staging`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|it| it.name.as_str())
    }

    /// The rows in the files.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// What all writers of a sink share.
pub(crate) struct Shared {
    pub(crate) folder: Arc<dyn Folder>,
    pub(crate) schema: SchemaRef,
    pub(crate) format: SinkFormat,
    pub(crate) compression: Compression,
    pub(crate) max_rows: Option<NonZeroU64>,
    pub(crate) memory: MemoryBudget,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) leftovers: Mutex<Leftovers>,
}

impl Shared {
    pub(crate) fn leftovers(&self) -> MutexGuard<'_, Leftovers> {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the rows of one task of an epoch.
pub struct FileSinkWriter {
    shared: Arc<Shared>,
    names: FileNames,
    open: Option<OpenFile>,
    done: Prepared,
    /// Given on: the files are no longer this writer's to discard.
    kept: bool,
    reserved: Option<Reservation>,
}

struct OpenFile {
    name: String,
    output: Output,
    encoder: Encoder,
    rows: u64,
    bytes: u64,
}

impl OpenFile {
    async fn put(&mut self, bytes: Bytes) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.bytes += bytes.len() as u64;
        self.output.write(&self.name, bytes).await
    }
}

impl FileSinkWriter {
    pub(crate) fn new(shared: Arc<Shared>, writer: WriterHash, epoch: &Epoch, task: u32) -> Self {
        let names = FileNames::new(writer, epoch, task, fastrand::u32(..), shared.format.extension());
        Self { shared, names, open: None, done: Prepared::default(), kept: false, reserved: None }
    }

    async fn begin(&mut self) -> Result<OpenFile> {
        let Shared { folder, format, compression, schema, .. } = self.shared.as_ref();
        let name = self.names.next();
        let encoder = Encoder::new(*format, *compression, schema)?;
        let output = folder.create(&name).await?;
        Ok(OpenFile { name, output, encoder, rows: 0, bytes: 0 })
    }

    /// Writes rows that fit into one file.
    async fn write_rows(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.open.is_none() {
            self.open = Some(self.begin().await?);
        }
        let Some(file) = &mut self.open else { return Ok(()) };
        let bytes = file.encoder.encode(rows)?;
        file.rows += rows.num_rows() as u64;
        file.put(bytes).await?;
        // Given back first: the same bytes must not be counted twice.
        self.reserved = None;
        let held = file.encoder.memory();
        self.reserved = self.shared.memory.try_reserve(held as u64);
        if held > BUFFER_BYTES || self.reserved.is_none() {
            let bytes = file.encoder.flush()?;
            file.put(bytes).await?;
            self.reserved = None;
        }
        let full = self.shared.max_rows.is_some_and(|most| file.rows >= most.get());
        if full || file.bytes + file.encoder.pending() as u64 >= FILE_BYTES {
            self.close().await?;
        }
        Ok(())
    }

    /// Completes the open file.
    async fn close(&mut self) -> Result<()> {
        let Some(file) = &mut self.open else { return Ok(()) };
        let bytes = file.encoder.finish()?;
        file.put(bytes).await?;
        fault::hit("file.stage")?;
        file.output.finish(&file.name).await?;
        let Some(OpenFile { name, rows, bytes: size, .. }) = self.open.take() else { return Ok(()) };
        self.done.files.push(DataFile { name, size, modified_ms: self.shared.clock.now_ms() });
        self.done.rows += rows;
        self.reserved = None;
        Ok(())
    }
}

#[async_trait]
impl SinkWriter for FileSinkWriter {
    type Committable = Prepared;

    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        let mut rest = columns::fit(&self.shared.schema, &batch)?;
        while rest.num_rows() > 0 {
            let written = self.open.as_ref().map_or(0, |it| it.rows);
            let room = self.shared.max_rows.map_or(u64::MAX, |most| most.get().saturating_sub(written));
            let take = usize::try_from(room).unwrap_or(usize::MAX).min(rest.num_rows());
            self.write_rows(&rest.slice(0, take)).await?;
            rest = rest.slice(take, rest.num_rows() - take);
        }
        Ok(Vec::new())
    }

    async fn prepare(mut self) -> Result<Prepared> {
        self.close().await?;
        if !self.done.files.is_empty() {
            self.shared.folder.sync_staged().await?;
            fault::hit("file.staged")?;
        }
        self.kept = true;
        Ok(std::mem::take(&mut self.done))
    }
}

impl Drop for FileSinkWriter {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Nothing else knows these files, so they can go at once; the sink does it with its next commit.
        let mut leftovers = self.shared.leftovers();
        leftovers.discard(self.done.names().map(staged));
        if let Some(OpenFile { name, output, .. }) = self.open.take() {
            leftovers.discard([staged(&name)]);
            if let Output::Object(upload) = output {
                leftovers.discard_upload(upload);
            }
        }
    }
}
