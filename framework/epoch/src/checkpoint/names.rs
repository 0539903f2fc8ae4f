//! The names of sources by their index: `state/sources/<index>` holds a name, for ever.

use std::sync::Arc;

use tidegate_api::{Error, Result};
use tokio::sync::Mutex;

use crate::store::Store;

const FOLDER: &str = "state/sources";
/// All of them as one list: as version 1 wrote it.
const OLD_NAMES: &str = "state/names";

/// Each index is a file that is only ever created, so an old owner can take none back.
pub(super) struct Names {
    store: Arc<Store>,
    known: Mutex<Vec<Arc<str>>>,
}

impl Names {
    /// Reads them; those of version 1 are written anew first.
    pub(super) async fn open(store: Arc<Store>) -> Result<Self> {
        let mut known = read(&store).await?;
        if known.is_empty() {
            known = read_old(&store).await?;
            for (index, name) in known.iter().enumerate() {
                store.create_new(&key(index), name.as_bytes()).await?;
            }
        }
        store.remove(OLD_NAMES).await?;
        Ok(Self { store, known: Mutex::new(known) })
    }

    /// The index of a source; a new name gets the next one, durably.
    pub(super) async fn index(&self, name: &str) -> Result<usize> {
        let mut known = self.known.lock().await;
        loop {
            if let Some(index) = known.iter().position(|it| **it == *name) {
                return Ok(index);
            }
            // That an old owner was faster costs it nothing but the index.
            self.store.create_new(&key(known.len()), name.as_bytes()).await?;
            *known = read(&self.store).await?;
        }
    }
}

/// The names in order, as the files have them.
pub(crate) async fn read(store: &Store) -> Result<Vec<Arc<str>>> {
    let mut names = Vec::new();
    for (at, index) in store.list_numbers(FOLDER).await?.into_iter().enumerate() {
        if index != at as u64 {
            return Err(Error::config(format!("{} is missing: the names after it are there", store.name(&key(at)))));
        }
        let bytes = store.read(&key(at)).await?.unwrap_or_default();
        let damaged = |e| Error::config(format!("{} is damaged", store.name(&key(at)))).because(e);
        store.check(&key(at), &bytes).await?;
        names.push(String::from_utf8(bytes).map_err(damaged)?.into());
    }
    Ok(names)
}

async fn read_old(store: &Store) -> Result<Vec<Arc<str>>> {
    let Some(bytes) = store.read(OLD_NAMES).await? else { return Ok(Vec::new()) };
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::config(format!("{} is damaged", store.name(OLD_NAMES))).because(e))
}

fn key(index: usize) -> String {
    format!("{FOLDER}/{index}")
}
