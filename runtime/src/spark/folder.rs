//! The files of Spark's checkpoint. Nothing here writes.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tidegate_api::{Error, MetadataLog, Result, async_trait};

/// The numbers of the files in a folder; none if it is missing. Checksums and what a write left behind don't count.
pub(super) fn numbers(root: &Path, folder: &str) -> Result<BTreeSet<u64>> {
    Ok(names(&root.join(folder))?.iter().filter_map(|it| number(it)).collect())
}

/// A number as Spark writes it.
fn number(name: &str) -> Option<u64> {
    // The number after it is counted on from.
    name.parse().ok().filter(|it: &u64| it.to_string() == name && *it < u64::from(u32::MAX))
}

pub(super) fn read(root: &Path, key: &str) -> Result<Option<Vec<u8>>> {
    match fs::read(root.join(key)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::config(format!("{key} can't be read")).because(e)),
    }
}

/// True if there is a file anywhere below.
pub(super) fn has_files(folder: &Path) -> Result<bool> {
    for name in names(folder)? {
        let path = folder.join(&name);
        if (path.is_dir() && has_files(&path)?) || path.is_file() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let failed = |e| Error::config(format!("{} can't be listed", folder.display())).because(e);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    entries.map(|it| Ok(it.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
}

/// A source's folder.
pub(super) struct ReadOnlyLog(pub(super) PathBuf);

#[async_trait]
impl MetadataLog for ReadOnlyLog {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        read(&self.0, key)
    }
    async fn put_new(&self, key: &str, _bytes: &[u8]) -> Result<bool> {
        Err(Error::internal(format!("{key}: a checkpoint of Spark is only read")))
    }
    async fn list(&self) -> Result<Vec<String>> {
        let mut names = names(&self.0)?;
        names.sort_unstable();
        Ok(names)
    }
    async fn remove(&self, key: &str) -> Result<()> {
        Err(Error::internal(format!("{key}: a checkpoint of Spark is only read")))
    }
}
