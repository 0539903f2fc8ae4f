//! `Folder`: where the files lie, on the local disk or on an object store.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_api::{Error, Result, async_trait};
use tidegate_storage::Location;
use tidegate_storage::object_store::buffered::BufWriter;
use tokio::io::AsyncWriteExt as _;

use super::bucket::{Bucket, store_error};
use super::disk::{Disk, io_error};
use super::names::WriterHash;

/// A data file that is complete and durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataFile {
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: u64,
    /// When it was completed, in milliseconds since 1970.
    pub(crate) modified_ms: i64,
}

/// A file that a listing found.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// In milliseconds since 1970.
    pub(crate) modified_ms: i64,
}

/// What a sink does with its folder. Paths are relative to it.
#[async_trait]
pub(crate) trait Folder: Send + Sync + 'static {
    /// Makes the folder, and these in it.
    async fn make(&self, folders: &[&str]) -> Result<()>;

    /// Begins a staged file.
    async fn create(&self, name: &str) -> Result<Output>;

    /// Makes the names of staged files durable.
    async fn sync_staged(&self) -> Result<()>;

    /// Puts staged files into place, those that are not there yet.
    ///
    /// # Errors
    /// `Config` if one is neither staged nor in place.
    async fn publish(&self, files: &[DataFile]) -> Result<()>;

    /// Whether `publish` leaves the staged files as they are.
    fn publish_copies(&self) -> bool;

    /// The bytes of a small file.
    async fn get(&self, path: &str) -> Result<Option<Bytes>>;

    /// Creates a small file, whole and durable when it is seen; false if there is one already.
    ///
    /// # Errors
    /// `Transient` if it may or may not have been created.
    async fn put_new(&self, path: &str, body: Bytes, writer: WriterHash) -> Result<bool>;

    /// The files that lie in a folder itself (`""`: this one), in no order. A folder that is not there is empty.
    async fn list(&self, folder: &str) -> Result<Vec<Listed>>;

    /// Removes files; those that are gone are no error.
    async fn remove(&self, paths: &[String]) -> Result<()>;

    /// Removes what unfinished calls of `put_new` of this writer left in a folder.
    async fn remove_drafts(&self, folder: &str, writer: WriterHash) -> Result<()>;
}

/// The folder of a location.
pub(crate) fn of_location(location: &Location) -> Arc<dyn Folder> {
    match location.local() {
        Some(path) => Arc::new(Disk::new(path)),
        None => Arc::new(Bucket::new(location.clone())),
    }
}

/// The error for a file that must be there.
pub(crate) fn gone(file: &DataFile, found: Option<u64>) -> Error {
    let DataFile { name, size, .. } = file;
    match found {
        None => Error::config(format!("file {name} is gone: it is neither staged nor in place")),
        Some(found) => Error::config(format!("file {name} has {found} bytes, expected {size}")),
    }
}

/// A staged file that takes bytes.
#[derive(Debug)]
pub(crate) enum Output {
    /// On the local disk.
    File(tokio::fs::File),
    /// On an object store: one request if it stays small, else an upload in parts. Nothing once it has been ended.
    Object(Option<BufWriter>),
}

impl Output {
    pub(crate) async fn write(&mut self, name: &str, bytes: Bytes) -> Result<()> {
        match self {
            Self::File(file) => file.write_all(&bytes).await.map_err(|e| io_error(name, "can't be written", e)),
            Self::Object(upload) => {
                let upload = upload.as_mut().ok_or_else(|| Error::internal(format!("file {name} has been ended")))?;
                upload.put(bytes).await.map_err(|e| store_error(name, "can't be written", e))
            }
        }
    }

    /// Makes all bytes durable.
    pub(crate) async fn finish(&mut self, name: &str) -> Result<()> {
        const WHY: &str = "can't be written";
        match self {
            Self::File(file) => {
                // Only a flush tells of a write that failed in the background.
                file.flush().await.map_err(|e| io_error(name, WHY, e))?;
                file.sync_all().await.map_err(|e| io_error(name, WHY, e))
            }
            Self::Object(upload) => {
                // An upload whose end failed can't be broken off any more: the store's client panics.
                let mut upload = upload.take().ok_or_else(|| Error::internal(format!("file {name} has been ended")))?;
                upload.shutdown().await.map_err(|e| match e.downcast() {
                    Ok(e) => store_error(name, WHY, e),
                    Err(e) => io_error(name, WHY, e),
                })
            }
        }
    }
}
