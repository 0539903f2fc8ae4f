//! The local disk: a lock that the kernel frees when the process dies, and a file for each generation.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{Error, Result};

use super::claim::{self, GENERATIONS};
use super::{Holder, OwnerOptions};
use crate::store::{Store, failed};

pub(crate) const LOCK: &str = "state/owner";

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
    /// lock on a file that has no name any more, and finds a higher generation.
    pub(super) async fn take(root: &Path, options: &OwnerOptions, is_copy: bool) -> Result<Self> {
        let path = root.join(LOCK);
        if is_copy && path.is_dir() {
            from_object_store(root, &path)?;
        }
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
                Err(TryLockError::WouldBlock) if options.take_over => return Self::replace(&path, options),
                Err(TryLockError::WouldBlock) => return Err(in_use(root, file)),
            }
        }
    }

    fn replace(path: &Path, options: &OwnerOptions) -> Result<Self> {
        let temp = path.with_file_name(format!(".owner.{}.tmp", options.run_id));
        let file = open(&temp)?;
        file.try_lock().map_err(|e| Error::transient(format!("can't lock {}", temp.display())).because(e))?;
        std::fs::rename(&temp, path).map_err(|e| failed("rename", path, e))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Begins the next generation, durably, and writes who owns it.
    pub(super) async fn claim(mut self, store: &Arc<Store>, options: &OwnerOptions) -> Result<Lock> {
        let newest = claim::newest(store, GENERATIONS).await?;
        let generation = newest.map_or(0, |it| it.saturating_add(1));
        let holder = Holder::this(options.run_id.clone(), generation, options.clock.now_ms());
        let text = serde_json::to_vec(&holder).map_err(|e| Error::internal("owner").because(e))?;
        let file = &mut self.file;
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&sealed(&text)));
        written.map_err(|e| failed("write", &self.path, e))?;
        // Two that take over at once both have a lock; the one whose file has the name goes on.
        if !is_at(&self.file, &self.path) || !claim::begin(store, GENERATIONS, generation, &text).await? {
            let place = store.location();
            return Err(Error::config(format!("checkpoint {place} was taken by another start at the same time")));
        }
        claim::sweep(store, GENERATIONS, generation).await?;
        Ok(Lock { _lock: self.file, store: store.clone(), generation, text })
    }
}

/// Owns a folder of the local disk.
pub(super) struct Lock {
    _lock: File,
    store: Arc<Store>,
    generation: u64,
    text: Vec<u8>,
}

impl Lock {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Fails with `Fenced` if another owner has been here: then nothing may be committed, published or deleted.
    pub(super) async fn check(&self) -> Result<()> {
        if claim::is_newest(&self.store, GENERATIONS, self.generation, &self.text).await? {
            return Ok(());
        }
        let newest = claim::newest(&self.store, GENERATIONS).await?;
        let found = newest.map_or("none".to_owned(), |it| it.to_string());
        let (place, ours) = (self.store.location(), self.generation);
        let text = format!("found generation {found}, expected {ours}: another owner took over");
        Err(Error::fenced(format!("checkpoint {place}: {text}")))
    }
}

/// A copy from an object store has its generations where the lock is here.
fn from_object_store(root: &Path, owners: &Path) -> Result<()> {
    let place = root.join(GENERATIONS);
    if place.exists() {
        return std::fs::remove_dir_all(owners).map_err(|e| failed("remove", owners, e));
    }
    std::fs::rename(owners, &place).map_err(|e| failed("rename", owners, e))?;
    for entry in std::fs::read_dir(&place).map_err(|e| failed("list", &place, e))? {
        let path = entry.map_err(|e| failed("list", &place, e))?.path();
        if path.extension().is_some_and(|it| it == "beat") {
            std::fs::remove_file(&path).map_err(|e| failed("remove", &path, e))?;
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(|e| failed("open", path, e))
}

/// What the lock's file holds: the owner, and a line with the checksum of it. It is written in place.
fn sealed(text: &[u8]) -> Vec<u8> {
    [text, format!("\n{:08x}", crc32fast::hash(text)).as_bytes()].concat()
}

/// The owner that a lock's file names; nothing if it is damaged.
pub(crate) fn unsealed(bytes: &[u8]) -> Option<Holder> {
    let end = bytes.iter().rposition(|it| *it == b'\n')?;
    let (text, _) = bytes.split_at(end);
    (sealed(text) == bytes).then(|| serde_json::from_slice(text).ok()).flatten()
}

fn is_at(file: &File, path: &Path) -> bool {
    let inode = |it: std::io::Result<std::fs::Metadata>| it.ok().map(|it| (it.dev(), it.ino()));
    let ours = inode(file.metadata());
    ours.is_some() && ours == inode(std::fs::metadata(path))
}

fn in_use(root: &Path, mut file: File) -> Error {
    let mut text = Vec::new();
    let _ = file.read_to_end(&mut text);
    let holder = unsealed(&text).map_or("another process".to_owned(), |it| it.to_string());
    let way = "stop it first, or take over if it can't be stopped";
    Error::config(format!("checkpoint {} is in use by {holder}; {way}", root.display()))
}
