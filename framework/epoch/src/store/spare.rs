//! `Spares`: files that are no longer needed, kept to be written again under another name. A query of many small epochs
//! would else make and remove several files in each, which costs a file system more than what is in them; ext4 without
//! a journal looks through all that were removed in the last minutes for each one that is made.
//!
//! A loss of power may undo that a file became a spare, but not what was written into it since: then the name of a purged
//! epoch, which nothing reads, holds a later one. What is durable under its own name never shares a file with a spare.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The folders whose files come and go with the epochs.
const FOLDERS: [&str; 3] = ["offsets", "commits", "state/wal"];
/// Spares of a folder.
const MOST: usize = 1024;
/// A larger file is worth more as free space.
const MOST_BYTES: u64 = 64 << 10;
/// So much of a file goes to the disk at once. Who syncs a small file meanwhile waits for no more: an epoch's record would else
/// wait for all of a snapshot.
const AT_ONCE: usize = 8 << 20;

/// See the module. All lie beside the files that they will be, under temporary names.
#[derive(Default)]
pub(super) struct Spares {
    by_folder: Mutex<BTreeMap<PathBuf, Vec<PathBuf>>>,
}

impl Spares {
    /// Makes the file of a key that is no longer needed a spare with the name `temp`; false if it has to be removed.
    pub(super) fn keep(&self, key: &str, path: &Path, temp: &Path) -> bool {
        let (Some((folder, _)), Some(place)) = (key.rsplit_once('/'), path.parent()) else { return false };
        let fits = |it: &fs::Metadata| it.is_file() && it.len() <= MOST_BYTES;
        if !FOLDERS.contains(&folder) || !fs::symlink_metadata(path).as_ref().is_ok_and(fits) {
            return false;
        }
        let mut all = self.by_folder.lock().unwrap_or_else(PoisonError::into_inner);
        let spares = all.entry(place.to_owned()).or_default();
        if spares.len() >= MOST || fs::rename(path, temp).is_err() {
            return false;
        }
        spares.push(temp.to_owned());
        true
    }

    /// The name of a spare of a folder, if there is one.
    pub(super) fn take(&self, folder: &Path) -> Option<PathBuf> {
        self.by_folder.lock().unwrap_or_else(PoisonError::into_inner).get_mut(folder)?.pop()
    }

    /// Removes all.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.by_folder.lock().unwrap_or_else(PoisonError::into_inner));
        for spare in all.values().flatten() {
            // Left behind it would only be swept at the next start.
            let _ = fs::remove_file(spare);
        }
    }
}

/// Writes a file that is new or a spare, in full.
pub(super) fn write(path: &Path, parts: &[&[u8]]) -> io::Result<File> {
    let open = || File::options().write(true).create(true).truncate(false).open(path);
    let mut file = open()?;
    let mut found = file.metadata()?;
    if found.nlink() > 1 {
        // A copy of the checkpoint that is made of links goes on showing what was in it.
        fs::remove_file(path)?;
        file = open()?;
        found = file.metadata()?;
    }
    let (mut bytes, mut waiting) = (0, 0);
    for piece in parts.iter().flat_map(|it| it.chunks(AT_ONCE)) {
        if waiting + piece.len() > AT_ONCE {
            file.sync_data()?;
            waiting = 0;
        }
        file.write_all(piece)?;
        waiting += piece.len();
        bytes += piece.len() as u64;
    }
    if found.len() > bytes {
        file.set_len(bytes)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
