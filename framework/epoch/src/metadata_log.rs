//! The small durable log of one source (`sources/<i>/…`) or sink, for what it must remember beside its offsets.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_api::{Error, MetadataLog, Result};

use crate::disk::{self, Disk, blocking};

/// A folder with a file a key.
pub(crate) struct FolderLog {
    folder: PathBuf,
    disk: Arc<Disk>,
}

impl FolderLog {
    pub(crate) fn new(folder: PathBuf, disk: Arc<Disk>) -> Self {
        Self { folder, disk }
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        let plain = !key.is_empty() && !key.starts_with('.') && !key.contains(['/', '\\', '\0']);
        let wrong = || Error::internal(format!("metadata key '{key}': expected a plain file name"));
        plain.then(|| self.folder.join(key)).ok_or_else(wrong)
    }
}

#[async_trait]
impl MetadataLog for FolderLog {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(key)?;
        blocking(|| disk::read(&path))
    }

    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        self.path(key)?;
        blocking(|| {
            self.disk.make_folder(&self.folder)?;
            self.disk.create_new(&self.folder, key, bytes)
        })
    }

    async fn list(&self) -> Result<Vec<String>> {
        blocking(|| disk::list(&self.folder))
    }

    async fn remove(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        blocking(|| disk::remove(&path))
    }
}
