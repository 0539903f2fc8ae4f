//! Finds the files that a pattern stands for. All of it blocks.

use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tidegate_api::{Error, Result};

use crate::pattern::{Choice, PathPattern, matches};

/// Left by Spark's file sink: such a folder has files that must not be read.
const SPARK_METADATA: &str = "_spark_metadata";
const COMPRESSED: [&str; 8] = ["gz", "bz2", "zst", "xz", "lz4", "snappy", "deflate", "zip"];

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) modified_ms: i64,
    pub(crate) size: u64,
}

/// All files of `pattern`, each once, in no order.
pub(crate) fn list(pattern: &PathPattern) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for choice in pattern.choices() {
        for root in roots(choice)? {
            match look(&root)? {
                Some(meta) if meta.is_dir() => list_folder(&root, &mut found)?,
                Some(meta) if meta.is_file() => push(root, &meta, &mut found)?,
                _ => {}
            }
        }
    }
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

/// Refuses a pattern none of whose fixed beginnings exists: most likely it is mistyped.
pub(crate) fn check(pattern: &PathPattern) -> Result<()> {
    for choice in pattern.choices() {
        if look(&choice.base)?.is_some() {
            return Ok(());
        }
    }
    let missing: Vec<_> = pattern.choices().iter().map(|it| it.base.display().to_string()).collect();
    Err(Error::config(format!("path '{pattern}': {} does not exist", missing.join(", "))))
}

fn roots(choice: &Choice) -> Result<Vec<PathBuf>> {
    let mut roots = vec![choice.base.clone()];
    for name in &choice.names {
        let mut next = Vec::new();
        for root in roots {
            if look(&root)?.is_some_and(|meta| meta.is_dir()) {
                next.extend(entries(&root)?.iter().filter(|it| matches(name, &name_of(it))).map(DirEntry::path));
            }
        }
        roots = next;
    }
    Ok(roots)
}

fn list_folder(folder: &Path, found: &mut Vec<Found>) -> Result<()> {
    for entry in entries(folder)? {
        let (name, path) = (name_of(&entry), entry.path());
        if name == SPARK_METADATA {
            let message = "was written by Spark's file sink (it has _spark_metadata), which can't be read yet";
            return Err(Error::config(format!("folder {} {message}", folder.display())));
        }
        let folder_of_values = name.contains('=') && !name.starts_with('.');
        if !folder_of_values && (name.starts_with(['.', '_']) || name.ends_with("._COPYING_")) {
            continue;
        }
        match look(&path)? {
            Some(meta) if meta.is_file() => push(path, &meta, found)?,
            Some(meta) if meta.is_dir() && folder_of_values => {
                let message = "is named key=value; columns from folders can't be read yet";
                return Err(Error::config(format!("folder {} {message}", path.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

fn push(path: PathBuf, meta: &Metadata, found: &mut Vec<Found>) -> Result<()> {
    let extension = path.extension().map(|it| it.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    if COMPRESSED.contains(&extension.as_str()) {
        let message = format!("file {} is compressed (.{extension}), which can't be read yet", path.display());
        return Err(Error::config(message));
    }
    let modified = meta.modified().ok().and_then(|it| it.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let modified_ms = i64::try_from(modified.as_millis()).unwrap_or(i64::MAX);
    found.push(Found { path, modified_ms, size: meta.len() });
    Ok(())
}

fn name_of(entry: &DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    fs::read_dir(folder)
        .and_then(Iterator::collect)
        .map_err(|e| failed(format!("folder {} can't be listed", folder.display()), e))
}

/// None: it is not there, or not any more.
fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(format!("{} can't be looked at", path.display()), e)),
    }
}

fn failed(message: String, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::config(message).because(error),
        _ => Error::transient(message).because(error),
    }
}
