//! `MemoryLog`: a connector's log without a checkpoint.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tidegate_api::{MetadataLog, Result};

/// A [`MetadataLog`] in memory; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    entries: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl MemoryLog {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MetadataLog for MemoryLog {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.entries().get(key).cloned())
    }

    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        let mut entries = self.entries();
        let new = !entries.contains_key(key);
        if new {
            entries.insert(key.to_owned(), bytes.to_vec());
        }
        Ok(new)
    }

    async fn list(&self) -> Result<Vec<String>> {
        Ok(self.entries().keys().cloned().collect())
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.entries().remove(key);
        Ok(())
    }
}
