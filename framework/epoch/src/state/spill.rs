//! The memory of a query's state, and chunks in files when that is not enough.
//!
//! ```text
//! memory = StateMemory::open(limit, folder)     // when the query starts; sweeps what an earlier process left
//! memory.keep_within(stores)                     // after each seal: the chunks that were sealed first go to disk
//! ```
//! Files are scratch: the truth is the checkpoint. What finds a row (hash index, hash, pane, number) stays in memory, so a
//! file is read only where a row's key must be compared or its columns are wanted, and a window that closes drops its
//! files unread unless its rows are wanted.

mod file;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_api::Result;

use super::store::KeyedState;
use crate::store::{blocking, failed};

pub(super) use file::{SpillFile, SpilledRows};

/// Where it is in a checkpoint's folder on local disk, if nothing else is said.
pub const SPILL_FOLDER: &str = "state/spill";

/// Smaller chunks go to disk only if the larger ones were not enough: a file each would cost more than it saves.
const SMALL: usize = 64 << 10;

/// How many bytes of sealed rows, with their keys, the states of a query may hold in memory together, and where the
/// rest goes.
pub struct StateMemory {
    limit: usize,
    folder: Arc<SpillFolder>,
}

impl StateMemory {
    /// Keeps states within `limit` bytes. `folder` is for this alone: it is emptied now, and removed with its last file.
    ///
    /// # Errors
    /// `Transient` if the disk fails, `Config` if the folder can't be written.
    pub fn open(limit: u64, folder: &Path) -> Result<Self> {
        Self::sweep(folder)?;
        blocking(|| std::fs::create_dir_all(folder)).map_err(|e| failed("make", folder, e))?;
        let folder = Arc::new(SpillFolder { path: folder.to_owned(), next: AtomicU64::new(0) });
        Ok(Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), folder })
    }

    /// Removes what an earlier process left in a folder.
    ///
    /// # Errors
    /// `Transient` if the disk fails, `Config` if the folder can't be written.
    pub fn sweep(folder: &Path) -> Result<()> {
        match blocking(|| std::fs::remove_dir_all(folder)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("sweep", folder, e)),
            _ => Ok(()),
        }
    }

    /// Moves chunks to disk until the sealed rows of all states fit, those that were sealed first before others. Called
    /// where no epoch is undecided.
    ///
    /// # Errors
    /// `Transient` if the disk fails; the rows stay in memory then, whole.
    pub fn keep_within<'a>(&self, stores: impl Iterator<Item = &'a mut KeyedState>) -> Result<()> {
        let mut stores: Vec<&mut KeyedState> = stores.collect();
        let mut held: usize = stores.iter().map(|it| it.held_bytes()).sum();
        if held <= self.limit {
            return Ok(());
        }
        let mut chunks: Vec<(bool, u64, usize, u32, usize)> = Vec::new();
        for (store, state) in stores.iter().enumerate() {
            let of_store = state.held_chunks();
            chunks.extend(of_store.map(|(chunk, age, bytes)| (bytes < SMALL, age, store, chunk, bytes)));
        }
        chunks.sort_unstable();
        blocking(|| {
            for (_, _, store, chunk, bytes) in chunks {
                if held <= self.limit {
                    break;
                }
                if let Some(state) = stores.get_mut(store) {
                    state.spill(chunk, &self.folder)?;
                    held -= bytes;
                }
            }
            Ok(())
        })
    }
}

/// A folder of scratch files; goes with the last of them.
pub(super) struct SpillFolder {
    path: PathBuf,
    next: AtomicU64,
}

impl SpillFolder {
    /// A name that no other file has.
    fn name(&self) -> PathBuf {
        self.path.join(format!("{}.arrow", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        // What is left is swept at the next start.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
