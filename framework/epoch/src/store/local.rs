//! The local disk: files are written beside their place, made durable, then renamed into it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_api::{Error, ErrorKind, Result};

use super::spare::{self, Spares};
use super::{Marks, Meter};
use crate::fault::{Faults, Point};

pub(super) struct LocalStore {
    root: PathBuf,
    faults: Faults,
    meter: Arc<Meter>,
    /// Sets the temporary names of this store apart from those of another owner, who may be writing the same file.
    nonce: String,
    writes: AtomicU64,
    spares: Spares,
}

impl LocalStore {
    pub(super) fn new(root: PathBuf, faults: Faults, meter: Arc<Meter>) -> Self {
        let nonce = format!("{:08x}", fastrand::u32(..));
        Self { root, faults, meter, nonce, writes: AtomicU64::new(0), spares: Spares::default() }
    }

    pub(super) fn read(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let path = self.root.join(key);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("read", &path, e)),
        }
    }

    pub(super) fn write(&self, key: &str, parts: &[&[u8]], marks: &Marks) -> Result<()> {
        let (folder, temp, path) = self.places(key);
        let temp = self.spares.take(&folder).unwrap_or(temp);
        let hit = |point: Option<Point>| point.map_or(Ok(()), |it| self.faults.hit(it, marks.epoch));
        let renamed = write_temp(&temp, parts).and_then(|file| {
            hit(marks.write)?;
            self.sync(&file, &temp)?;
            hit(marks.fsync)?;
            rename(&temp, &path)
        });
        self.tidy(&temp, renamed)?;
        hit(marks.rename)?;
        self.sync_folder(&folder)?;
        hit(marks.dirsync)
    }

    pub(super) fn write_unsynced(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let (folder, temp, path) = self.places(key);
        let temp = self.spares.take(&folder).unwrap_or(temp);
        let written = write_temp(&temp, &[bytes]);
        let renamed = written.and_then(|_| rename(&temp, &path));
        self.tidy(&temp, renamed)
    }

    pub(super) fn create_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        let (folder, temp, path) = self.places(key);
        if !folder.exists() {
            self.make_folder_at(&folder)?;
        }
        let synced = write_temp(&temp, &[bytes]).and_then(|file| self.sync(&file, &temp));
        self.tidy(&temp, synced)?;
        let linked = fs::hard_link(&temp, &path);
        // Left behind it would only be swept at the next start.
        let _ = fs::remove_file(&temp);
        match linked {
            Ok(()) => self.sync_folder(&folder).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(failed("create", &path, e)),
        }
    }

    pub(super) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Makes a file durable that has been written in its place.
    pub(super) fn sync_in_place(&self, key: &str) -> Result<()> {
        let path = self.root.join(key);
        let file = File::open(&path).map_err(|e| failed("open", &path, e))?;
        self.sync(&file, &path)?;
        self.sync_folder(path.parent().unwrap_or(&self.root))
    }

    /// Removes the temporary file of a write that failed, unless the process is as good as dead.
    fn tidy(&self, temp: &Path, written: Result<()>) -> Result<()> {
        if written.is_err() && !self.faults.crashed() {
            let _ = fs::remove_file(temp);
        }
        written
    }

    pub(super) fn all(&self) -> Result<BTreeMap<String, u64>> {
        let mut found = BTreeMap::new();
        self.walk(&mut |key, size| {
            found.insert(key.to_owned(), size);
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `each` with the key and size of every file; one that goes meanwhile is left out.
    fn walk(&self, each: &mut impl FnMut(&str, u64) -> Result<()>) -> Result<()> {
        let mut folders = vec![String::new()];
        while let Some(prefix) = folders.pop() {
            let folder = self.root.join(&prefix);
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed("list", &folder, e)),
            };
            for entry in entries {
                let entry = entry.map_err(|e| failed("list", &folder, e))?;
                let key = format!("{prefix}{}", entry.file_name().to_string_lossy());
                match entry.metadata() {
                    Ok(it) if it.is_dir() => folders.push(format!("{key}/")),
                    Ok(it) => each(&key, it.len())?,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(failed("read", &entry.path(), e)),
                }
            }
        }
        Ok(())
    }

    pub(super) fn list(&self, folder: &str) -> Result<Vec<String>> {
        let folder = self.root.join(folder);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed("list", &folder, e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| failed("list", &folder, e))?.file_name();
            names.extend(name.to_str().filter(|it| !it.starts_with('.')).map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn remove(&self, key: &str) -> Result<()> {
        let (_, temp, path) = self.places(key);
        if self.spares.keep(key, &path, &temp) {
            return Ok(());
        }
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, e)),
            _ => Ok(()),
        }
    }

    pub(super) fn make_folder(&self, folder: &str) -> Result<()> {
        self.make_folder_at(&self.root.join(folder))
    }

    pub(super) fn remove_temporaries(&self) -> Result<()> {
        self.walk(&mut |key, _| {
            let name = key.rsplit('/').next().unwrap_or_default();
            if name.starts_with('.') && name.ends_with(".tmp") { self.remove(key) } else { Ok(()) }
        })
    }

    /// Makes a folder and those above it, for good.
    fn make_folder_at(&self, path: &Path) -> Result<()> {
        let made: Vec<&Path> = path.ancestors().take_while(|it| !it.as_os_str().is_empty() && !it.exists()).collect();
        fs::create_dir_all(path).map_err(|e| failed("create", path, e))?;
        for parent in made.into_iter().filter_map(Path::parent) {
            self.sync_folder(parent)?;
        }
        Ok(())
    }

    /// The folder of a file, its temporary name and its own.
    fn places(&self, key: &str) -> (PathBuf, PathBuf, PathBuf) {
        let path = self.root.join(key);
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let n = self.writes.fetch_add(1, Ordering::Relaxed);
        (folder.clone(), folder.join(format!(".{name}.{}-{n}.tmp", self.nonce)), path)
    }

    fn sync_folder(&self, folder: &Path) -> Result<()> {
        let handle = File::open(folder).map_err(|e| failed("open", folder, e))?;
        self.sync(&handle, folder)
    }

    fn sync(&self, file: &File, path: &Path) -> Result<()> {
        let began = self.meter.clock.monotonic();
        file.sync_all().map_err(|e| failed("fsync", path, e))?;
        self.meter.count(began);
        Ok(())
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        if !self.faults.crashed() {
            self.spares.clear();
        }
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

/// A temporary file that is gone was swept away: only an owner does that.
fn rename(temp: &Path, path: &Path) -> Result<()> {
    fs::rename(temp, path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            let place = path.display();
            Error::fenced(format!("can't rename {place}: another owner swept the checkpoint, or its folder is gone"))
        }
        _ => failed("rename", path, e),
    })
}

fn write_temp(path: &Path, parts: &[&[u8]]) -> Result<File> {
    spare::write(path, parts).map_err(|e| failed("write", path, e))
}
