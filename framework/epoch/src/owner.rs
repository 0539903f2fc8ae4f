//! Ownership of a checkpoint: a lock that the kernel frees when the process dies, and a generation that only rises.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_api::{Error, Result};

use crate::disk::{self, Disk, Marks, failed};

const LOCK: &str = "owner";
const GENERATION: &str = "generation";

/// Who owns a checkpoint, as the file `state/owner` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Holder {
    run_id: Arc<str>,
    host: String,
    pid: u32,
    generation: u64,
}

/// The lock alone: nobody else works on the folder, and nothing in it has been changed yet.
pub(crate) struct Locked {
    file: File,
    state: PathBuf,
}

/// A lock outlives its owner for a moment: a child that the owner has just forked holds it until it runs its own program,
/// and the kernel frees that of a killed process only with its memory.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);

fn patiently(file: &File) -> Result<(), TryLockError> {
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if waited < PATIENCE => {
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
            other => return other,
        }
    }
}

impl Locked {
    /// Takes the lock of the checkpoint `root`, or says who has it.
    pub(crate) fn take(root: &Path, state: &Path) -> Result<Self> {
        let path = state.join(LOCK);
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(|e| failed("open", &path, e))?;
        match patiently(&file) {
            Ok(()) => Ok(Self { file, state: state.to_owned() }),
            Err(TryLockError::Error(e)) => Err(failed("lock", &path, e)),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                let holder = serde_json::from_str::<Holder>(&text).map_or_else(
                    |_| "another process".to_owned(),
                    |it| format!("run {} (process {} on {}, generation {})", it.run_id, it.pid, it.host, it.generation),
                );
                Err(Error::config(format!("checkpoint {} is in use by {holder}; stop it first", root.display())))
            }
        }
    }

    /// Begins the next generation, durably, and writes who owns it.
    pub(crate) fn claim(mut self, disk: &Disk, run_id: Arc<str>) -> Result<Owner> {
        let generation = read_generation(&self.state)?.map_or(0, |it| it.saturating_add(1));
        disk.write(&self.state, GENERATION, &[generation.to_string().as_bytes()], &Marks::NONE)?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let holder = Holder { run_id, host: host.trim().to_owned(), pid: std::process::id(), generation };
        let text = serde_json::to_string(&holder).map_err(|e| Error::internal("owner").because(e))?;
        let path = self.state.join(LOCK);
        let file = &mut self.file;
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
        written.map_err(|e| failed("write", &path, e))?;
        Ok(Owner { _lock: self.file, state: self.state, generation })
    }
}

/// The one owner of a checkpoint. Dropping it frees the lock.
pub(crate) struct Owner {
    _lock: File,
    state: PathBuf,
    generation: u64,
}

impl Owner {
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Fails with `Fenced` if another owner has been here: then nothing may be committed, published or deleted.
    pub(crate) fn check(&self) -> Result<()> {
        match read_generation(&self.state)? {
            Some(it) if it == self.generation => Ok(()),
            found => {
                let found = found.map_or("none".to_owned(), |it| it.to_string());
                let (state, ours) = (self.state.display(), self.generation);
                Err(Error::fenced(format!(
                    "{state}: found generation {found}, expected {ours}: another owner took over"
                )))
            }
        }
    }
}

fn read_generation(state: &Path) -> Result<Option<u64>> {
    let path = state.join(GENERATION);
    let Some(bytes) = disk::read(&path)? else { return Ok(None) };
    let number = std::str::from_utf8(&bytes).ok().and_then(|it| it.parse().ok());
    let found = || Error::config(format!("{} is damaged: expected a number", path.display()));
    number.map(Some).ok_or_else(found)
}
