//! One data file while it is written, and the removal of files that came to nothing.

use std::collections::HashMap;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use deltalake::kernel::Add;
use deltalake::parquet::arrow::AsyncArrowWriter;
use deltalake::parquet::arrow::arrow_writer::ArrowWriterOptions;
use deltalake::parquet::arrow::async_writer::AsyncFileWriter;
use deltalake::parquet::basic::Compression;
use deltalake::parquet::errors::ParquetError;
use deltalake::parquet::file::properties::WriterProperties;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tidegate_api::{Error, ErrorKind, Result};
use tidegate_storage::{kind_of, object_store::Error as StoreError};
use tokio::fs::File;

use crate::stats::{self, StatsRule};
use crate::store::{ObjectFile, TableStore, io_error};

/// Where the bytes of a data file go.
pub(crate) enum DataFile {
    Disk(File),
    Object(Box<ObjectFile>),
}

impl AsyncFileWriter for DataFile {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ParquetError>> {
        match self {
            Self::Disk(it) => AsyncFileWriter::write(it, bytes),
            Self::Object(it) => it.write(bytes).boxed(),
        }
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<(), ParquetError>> {
        match self {
            Self::Disk(it) => AsyncFileWriter::complete(it),
            Self::Object(it) => it.complete().boxed(),
        }
    }
}

/// A data file that takes rows.
pub(crate) struct OpenFile {
    /// Relative to the table.
    path: String,
    rows: u64,
    writer: AsyncArrowWriter<DataFile>,
}

impl OpenFile {
    /// Begins a file. On the local disk it is there at once, and no reader looks at it.
    pub(crate) async fn create(store: &TableStore, path: String, schema: SchemaRef) -> Result<Self> {
        let file = store.create_file(&path).await?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        // Delta's readers take the schema from the log: a copy in every small file is waste.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer =
            AsyncArrowWriter::try_new_with_options(file, schema, options).map_err(|e| parquet_error(&path, e))?;
        Ok(Self { path, rows: 0, writer })
    }

    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).await.map_err(|e| parquet_error(&self.path, e))
    }

    /// Writes what is held in memory.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.writer.flush().await.map_err(|e| parquet_error(&self.path, e))
    }

    /// Bytes held in memory.
    pub(crate) fn memory(&self) -> usize {
        self.writer.memory_size()
    }

    /// About how large the file would be now.
    pub(crate) fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Completes and syncs the file. The action that adds it, and its rows.
    pub(crate) async fn finish(
        mut self,
        partition_values: HashMap<String, Option<String>>,
        rule: &StatsRule,
        now_ms: i64,
    ) -> Result<(Add, u64)> {
        let path = self.path;
        let metadata = self.writer.finish().await.map_err(|e| parquet_error(&path, e))?;
        let bytes = self.writer.bytes_written();
        if let DataFile::Disk(file) = self.writer.into_inner() {
            file.sync_all().await.map_err(|e| io_error(&path, "can't be synced", e))?;
        }
        let add = Add {
            path,
            partition_values,
            size: i64::try_from(bytes).unwrap_or(i64::MAX),
            modification_time: now_ms,
            data_change: true,
            stats: Some(stats::of_file(&metadata, rule)),
            ..Add::default()
        };
        Ok((add, self.rows))
    }
}

fn parquet_error(path: &str, e: ParquetError) -> Error {
    // What fails is nearly always the disk or the store below: tried again it may work.
    let ParquetError::External(below) = e else {
        return Error::transient(format!("file {path} can't be written")).because(e);
    };
    match below.downcast::<std::io::Error>() {
        Ok(e) => io_error(&format!("file {path}"), "can't be written", *e),
        Err(e) => {
            let kind = e.downcast_ref::<StoreError>().map_or(ErrorKind::Transient, kind_of);
            Error::new(kind, format!("file {path} can't be written")).because(ParquetError::External(e))
        }
    }
}

/// Removes its files when dropped, unless they have been handed on.
pub(crate) struct Scratch {
    store: TableStore,
    paths: Vec<String>,
}

impl Scratch {
    pub(crate) fn new(store: TableStore) -> Self {
        Self { store, paths: Vec::new() }
    }

    pub(crate) fn add(&mut self, path: String) {
        self.paths.push(path);
    }

    /// The files are somebody else's now.
    pub(crate) fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for path in &self.paths {
            self.store.discard(path);
        }
    }
}
