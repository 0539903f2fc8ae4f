//! A table's folder on the local disk: what is acknowledged is synced, with the names that lead to it.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_api::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::LOG;
use crate::commit::Put;
use crate::names::WriterHash;

/// A folder on the local disk.
#[derive(Clone)]
pub(super) struct Folder {
    root: Arc<Path>,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// The version of the newest checkpoint, as the log's pointer says.
    pub(super) async fn last_checkpoint(&self) -> Option<Bytes> {
        tokio::fs::read(self.root.join(LOG).join("_last_checkpoint")).await.ok().map(Bytes::from)
    }

    /// Makes a checkpoint durable. The pointer must not outlive it: both are synced before anything older is removed.
    pub(super) async fn sync_checkpoint(&self, version: u64) -> io::Result<()> {
        let folder = self.root.join(LOG);
        let names = [format!("{version:020}.checkpoint.parquet"), "_last_checkpoint".to_owned()];
        blocking(move || {
            for name in names.iter().map(|it| folder.join(it)).filter(|it| it.exists()) {
                std::fs::File::open(name)?.sync_all()?;
            }
            sync_folder(&folder)
        })
        .await
    }

    /// Creates a data file and the folders above it.
    pub(super) async fn create_file(&self, path: &str) -> Result<tokio::fs::File> {
        let full = self.root.join(path);
        if let Some(folder) = full.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(|e| io_error(path, "can't be created", e))?;
        }
        tokio::fs::File::create_new(&full).await.map_err(|e| io_error(path, "can't be created", e))
    }

    /// Makes the names in these folders durable, and theirs, up to the table.
    pub(super) async fn sync_folders(&self, folders: &BTreeSet<String>) -> Result<()> {
        let mut all = BTreeSet::new();
        for folder in folders {
            let mut folder = self.root.join(folder);
            while folder.starts_with(&self.root) && all.insert(folder.clone()) && folder.pop() {}
        }
        blocking(move || all.iter().try_for_each(|it| sync_folder(it)))
            .await
            .map_err(|e| self.failed("can't be synced", e))
    }

    /// Makes the table's folder itself durable.
    pub(super) async fn sync_root(&self) -> Result<()> {
        let root = self.root.clone();
        let sync = move || {
            sync_folder(&root)?;
            root.parent().map_or(Ok(()), sync_folder)
        };
        blocking(sync).await.map_err(|e| self.failed("can't be synced", e))
    }

    /// Makes the names of commits durable. One that is seen may have been linked by a call that failed after it.
    pub(super) async fn sync_log(&self) -> Result<()> {
        let folder = self.root.join(LOG);
        blocking(move || sync_folder(&folder)).await.map_err(|e| self.failed("has a log that can't be synced", e))
    }

    /// Removes data files; those that are gone are no error.
    pub(super) async fn remove(&self, paths: Vec<String>) -> Result<()> {
        let root = self.root.clone();
        let remove = move || {
            for path in &paths {
                match std::fs::remove_file(root.join(path)) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
            }
            Ok(())
        };
        blocking(remove).await.map_err(|e| self.failed("has a data file that can't be removed", e))
    }

    /// Removes a data file at once.
    pub(super) fn discard(&self, path: &str) -> io::Result<()> {
        std::fs::remove_file(self.root.join(path))
    }

    /// Data files whose name begins with `prefix`, relative to the table.
    pub(super) async fn data_files(&self, prefix: String) -> Result<Vec<String>> {
        let root = self.root.clone();
        let list = move || {
            let mut found = Vec::new();
            let mut folders = vec![root.to_path_buf()];
            while let Some(folder) = folders.pop() {
                for entry in std::fs::read_dir(folder)? {
                    let entry = entry?;
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    // Folders of that kind are the log and what other programs hide.
                    if entry.file_type()?.is_dir() && !name.starts_with(['_', '.']) {
                        folders.push(entry.path());
                    } else if name.starts_with(&prefix) {
                        let path = entry.path();
                        found.extend(path.strip_prefix(&root).ok().map(|it| it.to_string_lossy().into_owned()));
                    }
                }
            }
            Ok(found)
        };
        blocking(list).await.map_err(|e| self.failed("can't be listed", e))
    }

    /// Removes commits of this writer that were begun and never came to be.
    pub(super) async fn remove_unfinished_commits(&self, writer: WriterHash) -> Result<()> {
        let folder = self.root.join(LOG);
        let remove = move || {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(&writer.commit_prefix()) {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        blocking(remove).await.map_err(|e| self.failed("has a log that can't be listed", e))
    }

    /// Creates the file of a commit if its number is free.
    pub(super) async fn put_commit(&self, writer: WriterHash, version: u64, body: Bytes) -> Put {
        let folder = self.root.join(LOG);
        match blocking(move || put_commit(folder, &writer.commit_prefix(), version, &body)).await {
            Ok(true) => Put::Written,
            Ok(false) => Put::Exists,
            Err(e) => Put::Unknown(io_error(&format!("commit {version}"), "may not have been written", e)),
        }
    }

    fn failed(&self, why: &str, e: io::Error) -> Error {
        io_error(&self.root.display().to_string(), why, e)
    }
}

/// False if the number is taken. Whole and durable when it is seen.
fn put_commit(folder: PathBuf, prefix: &str, version: u64, body: &[u8]) -> io::Result<bool> {
    std::fs::create_dir_all(&folder)?;
    let draft = folder.join(format!("{prefix}{version}-{}.tmp", Uuid::new_v4().simple()));
    let mut file = std::fs::File::create_new(&draft)?;
    let linked = file.write_all(body).and_then(|()| file.sync_all()).and_then(|()| {
        // A link fails if the name is taken; a rename would replace.
        std::fs::hard_link(&draft, folder.join(format!("{version:020}.json")))
    });
    if let Err(error) = std::fs::remove_file(&draft) {
        tracing::debug!(%error, "the draft of a commit stays behind");
    }
    match linked {
        Ok(()) => sync_folder(&folder).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?
}

/// A failed call of the disk: a full one may have room later, a folder that can't be written to has to be changed.
pub(crate) fn io_error(what: &str, why: &str, e: io::Error) -> Error {
    let (kind, hint) = match e.kind() {
        io::ErrorKind::ReadOnlyFilesystem => (ErrorKind::Config, ": the file system is read-only"),
        io::ErrorKind::PermissionDenied => (ErrorKind::Config, ": permission denied"),
        io::ErrorKind::NotADirectory => (ErrorKind::Config, ": a file stands where a folder is needed"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (ErrorKind::Transient, ": the disk is full"),
        _ => (ErrorKind::Transient, ""),
    };
    Error::new(kind, format!("{what} {why}{hint}")).because(e)
}
