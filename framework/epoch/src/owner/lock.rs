//! The local disk: a lock that the kernel frees when the process dies, and a generation in a file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{Error, Result};

use super::{Holder, OwnerOptions};
use crate::store::{Marks, Store, failed};

const LOCK: &str = "state/owner";
pub(crate) const GENERATION: &str = "state/generation";

/// A lock outlives its owner for a moment: a child that the owner has just forked holds it until it runs its own program,
/// and the kernel frees that of a killed process only with its memory.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);

/// The lock alone: nobody else works on the folder, and nothing in it has been changed yet.
pub(crate) struct Locked {
    file: File,
    path: PathBuf,
}

impl Locked {
    /// Takes the lock, or says who has it. To take over, the file is replaced by a new one: the old owner keeps its
    /// lock on a file that has no name any more, and finds the generation changed.
    pub(super) async fn take(root: &Path, options: &OwnerOptions) -> Result<Self> {
        let path = root.join(LOCK);
        let mut waited = Duration::ZERO;
        loop {
            let file = open(&path)?;
            match file.try_lock() {
                // Another start may have put a new file in its place since it was opened.
                Ok(()) if is_at(&file, &path) => return Ok(Self { file, path }),
                Ok(()) => continue,
                Err(TryLockError::Error(e)) => return Err(failed("lock", &path, e)),
                Err(TryLockError::WouldBlock) if waited < PATIENCE => {
                    // Lets go what this process itself has just dropped, too.
                    tokio::time::sleep(PAUSE).await;
                    waited += PAUSE;
                }
                Err(TryLockError::WouldBlock) if options.take_over => return Self::replace(&path),
                Err(TryLockError::WouldBlock) => return Err(in_use(root, file)),
            }
        }
    }

    fn replace(path: &Path) -> Result<Self> {
        let temp = path.with_file_name(format!(".owner.{}.tmp", std::process::id()));
        let file = open(&temp)?;
        file.try_lock().map_err(|e| Error::transient(format!("can't lock {}", temp.display())).because(e))?;
        std::fs::rename(&temp, path).map_err(|e| failed("rename", path, e))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Begins the next generation, durably, and writes who owns it.
    pub(super) async fn claim(mut self, store: &Arc<Store>, run_id: Arc<str>) -> Result<Lock> {
        let generation = read_generation(store).await?.map_or(0, |it| it.saturating_add(1));
        store.write(GENERATION, &[generation.to_string().as_bytes()], &Marks::NONE).await?;
        let holder = Holder::this(run_id, generation);
        let text = serde_json::to_string(&holder).map_err(|e| Error::internal("owner").because(e))?;
        let file = &mut self.file;
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
        written.map_err(|e| failed("write", &self.path, e))?;
        Ok(Lock { _lock: self.file, store: store.clone(), generation })
    }
}

/// Owns a folder of the local disk.
pub(super) struct Lock {
    _lock: File,
    store: Arc<Store>,
    generation: u64,
}

impl Lock {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Fails with `Fenced` if another owner has been here: then nothing may be committed, published or deleted.
    pub(super) async fn check(&self) -> Result<()> {
        match read_generation(&self.store).await? {
            Some(it) if it == self.generation => Ok(()),
            found => {
                let found = found.map_or("none".to_owned(), |it| it.to_string());
                let (place, ours) = (self.store.location(), self.generation);
                Err(Error::fenced(format!(
                    "checkpoint {place}: found generation {found}, expected {ours}: another owner took over"
                )))
            }
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(|e| failed("open", path, e))
}

fn is_at(file: &File, path: &Path) -> bool {
    let inode = |it: std::io::Result<std::fs::Metadata>| it.ok().map(|it| (it.dev(), it.ino()));
    let ours = inode(file.metadata());
    ours.is_some() && ours == inode(std::fs::metadata(path))
}

fn in_use(root: &Path, mut file: File) -> Error {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let holder = serde_json::from_str::<Holder>(&text).map_or_else(
        |_| "another process".to_owned(),
        |it| format!("run {} (process {} on {}, generation {})", it.run_id, it.pid, it.host, it.generation),
    );
    Error::config(format!("checkpoint {} is in use by {holder}; stop it first", root.display()))
}

async fn read_generation(store: &Store) -> Result<Option<u64>> {
    let Some(bytes) = store.read(GENERATION).await? else { return Ok(None) };
    let number = std::str::from_utf8(&bytes).ok().and_then(|it| it.parse().ok());
    let damaged = || Error::config(format!("{} is damaged: expected a number", store.name(GENERATION)));
    number.map(Some).ok_or_else(damaged)
}
