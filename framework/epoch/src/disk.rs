//! Files of the checkpoint: written beside their place, made durable, then renamed into it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_api::{Clock, Error, ErrorKind, Result};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::fault::{Faults, Point};

/// The fault points of a durable file.
pub(crate) struct Marks {
    pub(crate) epoch: u64,
    pub(crate) write: Option<Point>,
    pub(crate) fsync: Option<Point>,
    pub(crate) rename: Option<Point>,
    pub(crate) dirsync: Option<Point>,
}

impl Marks {
    pub(crate) const NONE: Self = Self { epoch: 0, write: None, fsync: None, rename: None, dirsync: None };
}

/// The disk, with a count of what it was asked to make durable.
pub(crate) struct Disk {
    pub(crate) faults: Faults,
    clock: Arc<dyn Clock>,
    fsyncs: AtomicU64,
    fsync_us: AtomicU64,
}

impl Disk {
    pub(crate) fn new(clock: Arc<dyn Clock>, faults: Faults) -> Self {
        Self { faults, clock, fsyncs: AtomicU64::new(0), fsync_us: AtomicU64::new(0) }
    }

    /// Calls of fsync so far, and the time spent in them.
    pub(crate) fn synced(&self) -> (u64, Duration) {
        (self.fsyncs.load(Ordering::Relaxed), Duration::from_micros(self.fsync_us.load(Ordering::Relaxed)))
    }

    /// Writes `folder/name` so that it is there whole, and for good, or not at all.
    pub(crate) fn write(&self, folder: &Path, name: &str, parts: &[&[u8]], marks: &Marks) -> Result<()> {
        let (temp, path) = (folder.join(temp_name(name)), folder.join(name));
        let hit = |point: Option<Point>| point.map_or(Ok(()), |it| self.faults.hit(it, marks.epoch));
        let file = write_temp(&temp, parts)?;
        hit(marks.write)?;
        self.sync(&file, &temp)?;
        hit(marks.fsync)?;
        fs::rename(&temp, &path).map_err(|e| failed("rename", &path, e))?;
        hit(marks.rename)?;
        self.sync_folder(folder)?;
        hit(marks.dirsync)
    }

    /// Writes `folder/name` whole or not at all; after a power failure it may be gone, empty or torn.
    pub(crate) fn write_unsynced(&self, folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
        let (temp, path) = (folder.join(temp_name(name)), folder.join(name));
        write_temp(&temp, &[bytes])?;
        fs::rename(&temp, &path).map_err(|e| failed("rename", &path, e))
    }

    /// Writes `folder/name` for good if it is new; false if it was there.
    pub(crate) fn create_new(&self, folder: &Path, name: &str, bytes: &[u8]) -> Result<bool> {
        let (temp, path) = (folder.join(temp_name(name)), folder.join(name));
        let file = write_temp(&temp, &[bytes])?;
        self.sync(&file, &temp)?;
        let linked = fs::hard_link(&temp, &path);
        // Left behind it would only be overwritten by the next try.
        let _ = fs::remove_file(&temp);
        match linked {
            Ok(()) => self.sync_folder(folder).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(failed("create", &path, e)),
        }
    }

    /// Makes a folder and those above it, for good.
    pub(crate) fn make_folder(&self, path: &Path) -> Result<()> {
        let made: Vec<&Path> = path.ancestors().take_while(|it| !it.as_os_str().is_empty() && !it.exists()).collect();
        fs::create_dir_all(path).map_err(|e| failed("create", path, e))?;
        for parent in made.into_iter().filter_map(Path::parent) {
            let here = Path::new(".");
            self.sync_folder(if parent.as_os_str().is_empty() { here } else { parent })?;
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> Result<()> {
        let handle = File::open(folder).map_err(|e| failed("open", folder, e))?;
        self.sync(&handle, folder)
    }

    fn sync(&self, file: &File, path: &Path) -> Result<()> {
        let began = self.clock.monotonic();
        file.sync_all().map_err(|e| failed("fsync", path, e))?;
        let took = self.clock.monotonic().saturating_sub(began);
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        self.fsync_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }
}

/// The file's bytes, or nothing if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", path, e)),
    }
}

/// The names in a folder, without those of temporary files; none if there is no such folder.
pub(crate) fn list(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed("list", folder, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| failed("list", folder, e))?.file_name();
        names.extend(name.to_str().filter(|it| !it.starts_with('.')).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// Names that are plain numbers, in order.
pub(crate) fn list_numbers(folder: &Path) -> Result<Vec<u64>> {
    let mut numbers: Vec<u64> = list(folder)?.iter().filter_map(|it| it.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes a file; that it is gone already is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, e)),
        _ => Ok(()),
    }
}

/// Removes what a write left behind that did not come to its end.
pub(crate) fn remove_temporaries(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|e| failed("list", folder, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| failed("list", folder, e))?;
        if entry.file_name().to_str().is_some_and(|it| it.starts_with('.') && it.ends_with(".tmp")) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Runs disk work where it holds up no other task. It is never cut off half-way, as work on another thread would be.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|it| it.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// What the disk said, and who must act on it.
pub(crate) fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    use io::ErrorKind as Io;
    let kind = match error.kind() {
        Io::PermissionDenied | Io::NotADirectory | Io::IsADirectory | Io::ReadOnlyFilesystem | Io::InvalidFilename => {
            ErrorKind::Config
        }
        _ => ErrorKind::Transient,
    };
    Error::new(kind, format!("can't {what} {}", path.display())).because(error)
}

fn write_temp(path: &Path, parts: &[&[u8]]) -> Result<File> {
    let mut file = File::create(path).map_err(|e| failed("create", path, e))?;
    for part in parts {
        file.write_all(part).map_err(|e| failed("write", path, e))?;
    }
    Ok(file)
}

fn temp_name(name: &str) -> String {
    format!(".{name}.tmp")
}
