//! The rows of one sink in one epoch, kept until the sink takes them: as an Arrow IPC stream (lz4), in memory while they
//! are few, else in a file.

mod spool;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::ArrowError;
use tidegate_api::{AttemptId, Epoch, Error, Result};

use crate::fault::Point;
use crate::store::{Spooled, Store, blocking, failed};

use spool::Spool;

/// The folder of staged files, named `<epoch>.<attempt>.<number of the sink>`, and of what sinks rejected (see
/// `sink_task::rejects`).
pub(crate) const FOLDER: &str = "state/staged";
/// As many bytes of a sink's rows stay in memory, and go into the record if they are staged.
pub(crate) const MEMORY_BYTES: usize = 8 << 20;
/// How much is read from a file at a time.
const CHUNK_BYTES: usize = 1 << 20;

pub(crate) fn file_name(epoch: &Epoch, sink: usize) -> String {
    format!("{}.{}.{sink}", epoch.number, epoch.attempt)
}

/// The epoch and attempt that a file in the folder is of.
pub(crate) fn parse_name(name: &str) -> Option<(u64, AttemptId)> {
    let mut parts = name.splitn(4, '.');
    let (epoch, generation, n, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some((epoch.parse().ok()?, AttemptId { generation: generation.parse().ok()?, n: n.parse().ok()? }))
}

/// Takes rows, encoding them as they come.
pub(crate) struct StageWriter {
    store: Arc<Store>,
    epoch: u64,
    spool: Option<Spool>,
    encoder: Option<StreamWriter<Spool>>,
    spilled: bool,
}

impl StageWriter {
    /// `memory` is how many bytes may stay in memory; a file would have the name `name`.
    pub(crate) fn new(store: Arc<Store>, epoch: u64, name: &str, memory: usize) -> Self {
        let spool = Spool::new(store.spool_place(&format!("{FOLDER}/{name}")), memory);
        Self { store, epoch, spool: Some(spool), encoder: None, spilled: false }
    }

    /// # Errors
    /// `Transient` if the disk fails, `Internal` if the columns are not those of the rows before.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut encoder = match (self.encoder.take(), self.spool.take()) {
            (Some(encoder), _) => encoder,
            (None, Some(spool)) => {
                let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME));
                options
                    .and_then(|it| StreamWriter::try_new_with_options(spool, &batch.schema(), it))
                    .map_err(|e| cant_write(&self.store, e))?
            }
            (None, None) => return Err(Error::internal("rows for a stage that has failed")),
        };
        let written = blocking(|| encoder.write(batch)).map_err(|e| cant_write(&self.store, e));
        let spilled = encoder.get_ref().is_file();
        self.encoder = Some(encoder);
        written?;
        if spilled && !self.spilled {
            self.spilled = true;
            self.store.faults.hit(Point::StageWrite, self.epoch)?;
        }
        Ok(())
    }

    /// All rows are there.
    pub(crate) fn finish(self) -> Result<Stage> {
        let store = self.store;
        let spool = match (self.encoder, self.spool) {
            (Some(encoder), _) => blocking(|| encoder.into_inner()).map_err(|e| cant_write(&store, e))?,
            (None, Some(spool)) => spool,
            (None, None) => return Err(Error::internal("a stage that has failed")),
        };
        spool.finish().map_err(|e| failed("write", Path::new(FOLDER), e))
    }
}

/// Rows that wait for their sink.
pub(crate) struct Stage {
    pub(crate) held: Held,
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
}

pub(crate) enum Held {
    Memory(Buffer),
    File(Spooled),
}

impl Stage {
    /// No rows.
    pub(crate) fn empty() -> Self {
        Self { held: Held::Memory(Buffer::from(Vec::<u8>::new())), bytes: 0, crc32: 0 }
    }

    /// The rows, in the order in which they came. May be read again.
    pub(crate) fn read(&self) -> Result<StageReader> {
        let (pending, file) = match &self.held {
            Held::Memory(bytes) => (bytes.clone(), None),
            Held::File(it) => {
                let file = File::open(it.path()).map_err(|e| failed("open", it.path(), e))?;
                (Buffer::from(Vec::<u8>::new()), Some(file))
            }
        };
        Ok(StageReader { decoder: StreamDecoder::new(), pending, file, empty: self.bytes == 0 })
    }

    /// That the file holds what was staged.
    ///
    /// # Errors
    /// `Config`, without the file's name.
    pub(crate) fn check(&self) -> Result<()> {
        let Held::File(it) = &self.held else { return Ok(()) };
        let (mut hasher, mut bytes) = (crc32fast::Hasher::new(), 0);
        let mut file = File::open(it.path()).map_err(|e| failed("open", it.path(), e))?;
        while let Some(chunk) = chunk(&mut file)? {
            hasher.update(&chunk);
            bytes += chunk.len() as u64;
        }
        if (bytes, hasher.finalize()) == (self.bytes, self.crc32) {
            return Ok(());
        }
        Err(Error::config("the file is damaged: it is not what the epoch's manifest names"))
    }
}

/// Gives staged rows back.
pub(crate) struct StageReader {
    decoder: StreamDecoder,
    pending: Buffer,
    file: Option<File>,
    empty: bool,
}

impl StageReader {
    /// # Errors
    /// `Config` if what was staged is damaged, `Transient` if the disk fails.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.empty {
            return Ok(None);
        }
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.pending).map_err(damaged)? {
                return Ok(Some(batch));
            }
            let next = match &mut self.file {
                Some(file) => blocking(|| chunk(file))?,
                None => None,
            };
            match next {
                Some(next) => self.pending = Buffer::from(next),
                None => return self.decoder.finish().map(|()| None).map_err(damaged),
            }
        }
    }
}

fn chunk(file: &mut File) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let limit = CHUNK_BYTES as u64;
    let read = file.take(limit).read_to_end(&mut bytes).map_err(|e| failed("read", Path::new(FOLDER), e))?;
    Ok((read > 0).then_some(bytes))
}

fn damaged(error: ArrowError) -> Error {
    Error::config("staged rows are damaged").because(error)
}

fn cant_write(store: &Store, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, e) => failed("write", Path::new(&store.name(FOLDER)), e),
        e => Error::internal("rows can't be staged").because(e),
    }
}

#[cfg(test)]
mod tests;
