//! The small durable log of one source (`sources/<i>/…`) or sink, for what it must remember beside its offsets.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_api::{Error, MetadataLog, Ownership as _, Result};

use crate::owner::Owner;
use crate::store::Store;

/// A folder with a file a key.
pub(crate) struct FolderLog {
    folder: String,
    store: Arc<Store>,
    owner: Arc<Owner>,
}

impl FolderLog {
    pub(crate) fn new(folder: String, store: Arc<Store>, owner: Arc<Owner>) -> Self {
        Self { folder, store, owner }
    }

    fn key(&self, key: &str) -> Result<String> {
        let plain = !key.is_empty() && !key.starts_with('.') && !key.contains(['/', '\\', '\0']);
        let wrong = || Error::internal(format!("metadata key '{key}': expected a plain file name"));
        plain.then(|| format!("{}/{key}", self.folder)).ok_or_else(wrong)
    }
}

#[async_trait]
impl MetadataLog for FolderLog {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.store.read(&self.key(key)?).await
    }

    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        // An entry of an old owner would be in the way of the new one's.
        self.owner.check().await?;
        self.store.create_new(&self.key(key)?, bytes).await
    }

    async fn list(&self) -> Result<Vec<String>> {
        self.store.list(&self.folder).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.owner.check().await?;
        self.store.remove(&self.key(key)?).await
    }
}
