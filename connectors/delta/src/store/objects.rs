//! A table's folder on an object store: an object is there whole or not at all, and durable when it is acknowledged.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use deltalake::parquet::errors::ParquetError;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tidegate_api::{Error, Result};
use tidegate_storage::object_store::{
    self as os, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, WriteMultipart, path::Path,
};
use tidegate_storage::{Location, kind_of};
use uuid::Uuid;

use super::LOG;
use crate::commit::Put;
use crate::names::WriterHash;

/// The size of one part of an upload; what is smaller is one put.
const PART_BYTES: usize = 8 << 20;
/// Parts of one upload under way at once.
const PARTS: usize = 4;

/// A folder of an object store.
#[derive(Clone)]
pub(super) struct Folder {
    location: Location,
    dropped: Arc<Mutex<Dropped>>,
}

/// What writers left behind that were dropped: a drop can't wait for the store.
#[derive(Default)]
struct Dropped {
    paths: Vec<String>,
    uploads: Vec<WriteMultipart>,
}

impl Folder {
    pub(super) fn new(location: &Location) -> Self {
        Self { location: location.clone(), dropped: Arc::default() }
    }

    fn store(&self) -> &Arc<dyn ObjectStore> {
        self.location.store()
    }

    fn dropped(&self) -> MutexGuard<'_, Dropped> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn last_checkpoint(&self) -> Option<Bytes> {
        let path = self.location.path(&format!("{LOG}/_last_checkpoint"));
        self.store().get(&path).await.ok()?.bytes().await.ok()
    }

    pub(super) fn create_file(&self, path: &str) -> ObjectFile {
        ObjectFile { folder: self.clone(), path: self.location.path(path), held: Vec::new(), bytes: 0, upload: None }
    }

    /// Removes data files; those that are gone are no error.
    pub(super) async fn remove(&self, paths: Vec<String>) -> Result<()> {
        let all: Vec<_> = paths.iter().map(|it| Ok(self.location.path(it))).collect();
        let mut gone = self.store().delete_stream(stream::iter(all).boxed());
        let mut failed = Ok(());
        while let Some(removed) = gone.next().await {
            match removed {
                Ok(_) | Err(os::Error::NotFound { .. }) => {}
                Err(e) => failed = Err(store_error("has a data file that can't be removed", e)),
            }
        }
        failed
    }

    /// Removes a data file when there is time for it.
    pub(super) fn discard(&self, path: &str) {
        self.dropped().paths.push(path.to_owned());
    }

    /// Removes what dropped writers left.
    pub(super) async fn remove_dropped(&self) -> Result<()> {
        let Dropped { paths, uploads } = std::mem::take(&mut *self.dropped());
        for upload in uploads {
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "parts of an upload that came to nothing stay behind");
            }
        }
        if paths.is_empty() {
            return Ok(());
        }
        let done = self.remove(paths.clone()).await;
        if done.is_err() {
            self.dropped().paths.extend(paths);
        }
        done
    }

    /// Data files whose name begins with `prefix`, relative to the table.
    pub(super) async fn data_files(&self, prefix: &str) -> Result<Vec<String>> {
        let failed = |e| store_error("can't be listed", e);
        // The log may hold far more objects than the table: hidden folders are left out, one level is enough for that.
        let top = self.store().list_with_delimiter(Some(self.location.prefix())).await.map_err(failed)?;
        let mut found: Vec<_> = top.objects.into_iter().map(|it| it.location).collect();
        for folder in top.common_prefixes {
            if !folder.filename().is_some_and(|it| it.starts_with(['_', '.'])) {
                let below = self.store().list(Some(&folder)).map_ok(|it| it.location);
                found.extend(below.try_collect::<Vec<_>>().await.map_err(failed)?);
            }
        }
        found.retain(|it| it.filename().is_some_and(|name| name.starts_with(prefix)));
        Ok(found.iter().filter_map(|it| self.relative(it)).collect())
    }

    fn relative(&self, path: &Path) -> Option<String> {
        let parts: Vec<_> = path.prefix_match(self.location.prefix())?.collect();
        Some(parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/"))
    }

    /// Creates a commit if its number is free.
    pub(super) async fn put_commit(&self, version: u64, body: Bytes) -> Put {
        let path = self.location.path(&format!("{LOG}/{version:020}.json"));
        match self.create(&path, body).await {
            Ok(()) => Put::Written,
            Err(os::Error::AlreadyExists { .. } | os::Error::Precondition { .. }) => Put::Exists,
            Err(e) => Put::Unknown(store_error(&format!("commit {version} may not have been written"), e)),
        }
    }

    async fn create(&self, path: &Path, body: Bytes) -> os::Result<()> {
        self.store().put_opts(path, body.into(), PutOptions::from(PutMode::Create)).await.map(|_| ())
    }

    /// Whether the store refuses to create what is there: all commits rest on it.
    ///
    /// # Errors
    /// `Config` if it does not.
    pub(super) async fn probe(&self, writer: WriterHash) -> Result<()> {
        let name = format!("{}{}", writer.probe_prefix(), Uuid::new_v4().simple());
        let path = self.location.path(&name);
        let mut verdict = Err(Error::config(
            "its store overwrites objects that it was told to create: a commit could be lost; expected a store with \
             conditional puts (If-None-Match)",
        ));
        // Three times: the first may meet nothing, and another start of this query may clean up after the first.
        for _ in 0..3 {
            match self.create(&path, Bytes::from_static(b"tidegate asks whether this object is overwritten\n")).await {
                Ok(()) => {}
                Err(os::Error::AlreadyExists { .. } | os::Error::Precondition { .. }) => {
                    verdict = Ok(());
                    break;
                }
                Err(e @ (os::Error::NotImplemented { .. } | os::Error::NotSupported { .. })) => {
                    return Err(Error::config("its store has no conditional puts, which commits need").because(e));
                }
                Err(e) => {
                    verdict = Err(store_error("can't be written to", e));
                    break;
                }
            }
        }
        if let Err(error) = self.store().delete(&path).await {
            tracing::debug!(%error, "a probe stays behind till the next start");
        }
        verdict
    }
}

/// A data file: one put, or an upload of many parts. Nobody sees it before it is complete.
pub(crate) struct ObjectFile {
    folder: Folder,
    path: Path,
    held: Vec<Bytes>,
    bytes: usize,
    upload: Option<WriteMultipart>,
}

impl ObjectFile {
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), ParquetError> {
        if let Some(upload) = &mut self.upload {
            upload.wait_for_capacity(PARTS).await.map_err(external)?;
            upload.put(bytes);
            return Ok(());
        }
        self.bytes += bytes.len();
        self.held.push(bytes);
        if self.bytes > PART_BYTES {
            let upload = self.folder.store().put_multipart(&self.path).await.map_err(external)?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            self.held.drain(..).for_each(|it| upload.put(it));
            self.upload = Some(upload);
        }
        Ok(())
    }

    pub(crate) async fn complete(&mut self) -> Result<(), ParquetError> {
        match self.upload.take() {
            Some(mut upload) => {
                if let Err(e) = upload.wait_for_capacity(0).await {
                    self.upload = Some(upload);
                    return Err(external(e));
                }
                upload.finish().await.map_err(external)?;
            }
            None => {
                let body = PutPayload::from_iter(self.held.drain(..));
                self.folder.store().put(&self.path, body).await.map_err(external)?;
            }
        }
        Ok(())
    }
}

impl Drop for ObjectFile {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            self.folder.dropped().uploads.push(upload);
        }
    }
}

fn external(e: os::Error) -> ParquetError {
    ParquetError::External(Box::new(e))
}

pub(crate) fn store_error(what: &str, e: os::Error) -> Error {
    Error::new(kind_of(&e), what.to_owned()).because(e)
}
