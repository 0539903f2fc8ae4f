//! `Bucket`: a folder on an object store. There is no rename: what is staged is copied into place.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tidegate_api::{Error, Result, async_trait, fault};
use tidegate_storage::object_store::buffered::BufWriter;
use tidegate_storage::object_store::{
    Error as StoreError, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use tidegate_storage::{Location, kind_of};

use super::folder::{DataFile, Folder, Listed, Output, gone};
use super::names::{WriterHash, staged};

/// Bytes that a file has before it is uploaded in parts.
const SMALL: usize = 8 << 20;
/// Requests at a time.
const REQUESTS: usize = 8;

pub(crate) struct Bucket {
    location: Location,
}

impl Bucket {
    pub(crate) fn new(location: Location) -> Self {
        Self { location }
    }

    async fn copy(&self, file: &DataFile) -> Result<()> {
        fault::hit("file.place")?;
        let (from, to) = (self.location.path(&staged(&file.name)), self.location.path(&file.name));
        match self.location.store().copy(&from, &to).await {
            Ok(()) => Ok(()),
            Err(StoreError::NotFound { .. }) => match self.location.store().head(&to).await {
                Ok(found) if found.size == file.size => Ok(()),
                Ok(found) => Err(gone(file, Some(found.size))),
                Err(StoreError::NotFound { .. }) => Err(gone(file, None)),
                Err(e) => Err(store_error(&file.name, "can't be put into place", e)),
            },
            Err(e) => Err(store_error(&file.name, "can't be put into place", e)),
        }
    }
}

#[async_trait]
impl Folder for Bucket {
    async fn make(&self, _folders: &[&str]) -> Result<()> {
        Ok(())
    }

    async fn create(&self, name: &str) -> Result<Output> {
        let (store, path) = (self.location.store().clone(), self.location.path(&staged(name)));
        Ok(Output::Object(BufWriter::with_capacity(store, path, SMALL)))
    }

    async fn sync_staged(&self) -> Result<()> {
        Ok(())
    }

    async fn publish(&self, files: &[DataFile]) -> Result<()> {
        stream::iter(files.to_vec())
            .map(|file| async move { self.copy(&file).await })
            .buffer_unordered(REQUESTS)
            .try_collect()
            .await
    }

    fn publish_copies(&self) -> bool {
        true
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let wrong = |e| store_error(path, "can't be read", e);
        match self.location.store().get(&self.location.path(path)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(wrong),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(e) => Err(wrong(e)),
        }
    }

    async fn put_new(&self, path: &str, body: Bytes, _writer: WriterHash) -> Result<bool> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let payload = PutPayload::from_bytes(body);
        match self.location.store().put_opts(&self.location.path(path), payload, options).await {
            Ok(_) => Ok(true),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
            Err(e) => Err(store_error(path, "may not have been written", e)),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let prefix = self.location.path(folder);
        let found = self.location.store().list_with_delimiter(Some(&prefix)).await;
        let found = found.map_err(|e| store_error(folder, "can't be listed", e))?.objects.into_iter();
        let listed = found.filter_map(|it| {
            let name = it.location.filename()?.to_owned();
            Some(Listed { name, modified_ms: it.last_modified.timestamp_millis() })
        });
        Ok(listed.collect())
    }

    async fn remove(&self, paths: &[String]) -> Result<()> {
        let remove = |path: String| async move {
            match self.location.store().delete(&self.location.path(&path)).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
                Err(e) => Err(store_error(&path, "can't be removed", e)),
            }
        };
        stream::iter(paths.to_vec()).map(remove).buffer_unordered(REQUESTS).try_collect().await
    }

    async fn remove_drafts(&self, _folder: &str, _writer: WriterHash) -> Result<()> {
        Ok(())
    }
}

pub(crate) fn store_error(what: &str, why: &str, e: StoreError) -> Error {
    Error::new(kind_of(&e), format!("{what} {why}")).because(e)
}
