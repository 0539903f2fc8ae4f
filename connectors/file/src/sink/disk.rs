//! `Disk`: a folder on the local disk. What is renamed or linked is synced first.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use tidegate_api::{Error, ErrorKind, Result, async_trait, fault};

use super::folder::{DataFile, Folder, Listed, Output, gone};
use super::names::{STAGING, WriterHash};

pub(crate) struct Disk {
    root: Arc<Path>,
}

impl Disk {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &str,
        why: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let root = self.root.clone();
        let done = tokio::task::spawn_blocking(move || work(&root)).await;
        done.map_err(io::Error::other).and_then(|it| it).map_err(|e| io_error(what, why, e))
    }
}

#[async_trait]
impl Folder for Disk {
    async fn make(&self, folders: &[&str]) -> Result<()> {
        let folders: Vec<_> = folders.iter().map(|it| (*it).to_owned()).collect();
        let make = move |root: &Path| {
            std::fs::create_dir_all(root)?;
            root.parent().map_or(Ok(()), sync_folder)?;
            for folder in folders {
                std::fs::create_dir_all(root.join(folder))?;
            }
            sync_folder(root)
        };
        self.run("the folder", "can't be made", make).await
    }

    async fn create(&self, name: &str) -> Result<Output> {
        let path = self.root.join(STAGING).join(name);
        let file = tokio::fs::File::create_new(path).await;
        file.map(Output::File).map_err(|e| io_error(&format!("file {name}"), "can't be created", e))
    }

    async fn sync_staged(&self) -> Result<()> {
        self.run(STAGING, "can't be synced", |root| sync_folder(&root.join(STAGING))).await
    }

    async fn publish(&self, files: &[DataFile]) -> Result<()> {
        let files = files.to_vec();
        let publish = move |root: &Path| {
            for file in &files {
                fault::hit("file.place").map_err(io::Error::other)?;
                let (from, to) = (root.join(STAGING).join(&file.name), root.join(&file.name));
                match std::fs::rename(from, &to) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => match size_of(&to)? {
                        Some(size) if size == file.size => {}
                        found => return Ok(Some((file.clone(), found))),
                    },
                    other => other?,
                }
            }
            sync_folder(root).map(|()| None)
        };
        match self.run("the folder", "does not take its files", publish).await? {
            None => Ok(()),
            Some((file, found)) => Err(gone(&file, found)),
        }
    }

    fn publish_copies(&self) -> bool {
        false
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let name = path.to_owned();
        let read = move |root: &Path| match std::fs::read(root.join(name)) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        };
        self.run(path, "can't be read", read).await
    }

    async fn put_new(&self, path: &str, body: Bytes, writer: WriterHash) -> Result<bool> {
        let to = PathBuf::from(path);
        let put = move |root: &Path| {
            let to = root.join(to);
            let folder = to.parent().unwrap_or(root);
            put_new(folder, &to, &format!("{}{:016x}.tmp", draft_prefix(writer), fastrand::u64(..)), &body)
        };
        self.run(path, "may not have been written", put).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let name = folder.to_owned();
        self.run(folder, "can't be listed", move |root| list(&root.join(name))).await
    }

    async fn remove(&self, paths: &[String]) -> Result<()> {
        let paths = paths.to_vec();
        let remove = move |root: &Path| paths.iter().try_for_each(|it| remove(&root.join(it)));
        self.run("the folder", "has a file that can't be removed", remove).await
    }

    async fn remove_drafts(&self, folder: &str, writer: WriterHash) -> Result<()> {
        let name = folder.to_owned();
        let clean = move |root: &Path| {
            let (folder, prefix) = (root.join(name), draft_prefix(writer));
            let drafts = list(&folder)?.into_iter().filter(|it| it.name.starts_with(&prefix));
            drafts.map(|it| it.name).try_for_each(|it| remove(&folder.join(it)))
        };
        self.run(folder, "has a file that can't be removed", clean).await
    }
}

fn draft_prefix(writer: WriterHash) -> String {
    format!(".tidegate-{writer}-")
}

/// A link fails if the name is taken; a rename would replace.
fn put_new(folder: &Path, to: &Path, draft: &str, body: &[u8]) -> io::Result<bool> {
    let draft = folder.join(draft);
    let mut file = std::fs::File::create_new(&draft)?;
    let linked = file.write_all(body).and_then(|()| file.sync_all()).and_then(|()| {
        fault::hit("file.draft").map_err(io::Error::other)?;
        std::fs::hard_link(&draft, to)?;
        fault::hit("file.linked").map_err(io::Error::other)
    });
    if let Err(error) = std::fs::remove_file(&draft) {
        tracing::debug!(%error, "a draft stays behind");
    }
    match linked {
        Ok(()) => sync_folder(folder).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

fn list(folder: &Path) -> io::Result<Vec<Listed>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Moved or removed while the folder was read.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        if metadata.is_file() {
            let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            let modified_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
            found.push(Listed { name: entry.file_name().to_string_lossy().into_owned(), modified_ms });
        }
    }
    Ok(found)
}

fn size_of(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// What can't get better by itself is `Config`; a full disk may.
pub(crate) fn io_error(what: &str, why: &str, e: io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Config,
        _ => ErrorKind::Transient,
    };
    Error::new(kind, format!("{what} {why}")).because(e)
}
