//! Names of data files: they say which writer, epoch and attempt wrote them.
//!
//! ```text
//! part-<hash of the writer id>-<epoch>-<task>-<file>-<nonce>.<generation>.<n>.<extension>
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tidegate_api::{AttemptId, Epoch, WriterId};
use xxhash_rust::xxh3::xxh3_64;

/// Where data files lie until they are committed.
pub(crate) const STAGING: &str = "_staging";

/// The hash of a writer id, as it stands in names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriterHash(u64);

impl fmt::Display for WriterHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl WriterHash {
    pub(crate) fn of(writer: &WriterId) -> Self {
        Self(xxh3_64(writer.to_string().as_bytes()))
    }

    /// The epoch and attempt of a data file of this writer; nothing if it is not one.
    pub(crate) fn parse(self, name: &str) -> Option<(u64, AttemptId)> {
        let rest = name.strip_prefix("part-")?.strip_prefix(&self.to_string())?.strip_prefix('-')?;
        let (epoch, rest) = rest.split_once('-')?;
        let mut dotted = rest.split('.').skip(1);
        let attempt = AttemptId { generation: dotted.next()?.parse().ok()?, n: dotted.next()?.parse().ok()? };
        Some((epoch.parse().ok()?, attempt))
    }
}

/// Names the files of one task of an epoch.
#[derive(Debug)]
pub(crate) struct FileNames {
    stem: String,
    tail: String,
    next: u32,
}

impl FileNames {
    /// The nonce keeps a name from coming twice, whatever the caller does: a file is never overwritten.
    pub(crate) fn new(writer: WriterHash, epoch: &Epoch, task: u32, nonce: u32, extension: &str) -> Self {
        let stem = format!("part-{writer}-{}-{task}-", epoch.number);
        Self { stem, tail: format!("-{nonce:08x}.{}.{extension}", epoch.attempt), next: 0 }
    }

    pub(crate) fn next(&mut self) -> String {
        let name = format!("{}{}{}", self.stem, self.next, self.tail);
        self.next += 1;
        name
    }
}

/// Where a file lies before it is committed, relative to the folder.
pub(crate) fn staged(name: &str) -> String {
    format!("{STAGING}/{name}")
}

/// An epoch of this writer that the folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) epoch: u64,
    pub(crate) attempt: AttemptId,
    /// Names of its files.
    pub(crate) names: BTreeSet<String>,
}

/// Epochs of this writer, as a manifest names them.
#[derive(Debug, Default)]
pub(crate) struct Epochs(pub(crate) BTreeMap<u64, Held>);

impl Epochs {
    /// Takes a name that a manifest holds; names of other writers are passed over.
    pub(crate) fn add(&mut self, writer: WriterHash, name: &str) {
        if let Some((epoch, attempt)) = writer.parse(name) {
            let held = self.0.entry(epoch).or_insert_with(|| Held { epoch, attempt, names: BTreeSet::new() });
            held.names.insert(name.to_owned());
        }
    }

    /// The newest.
    pub(crate) fn last(&self) -> Option<&Held> {
        self.0.values().next_back()
    }

    /// True if one of them names this file.
    pub(crate) fn name(&self, epoch: u64, file: &str) -> bool {
        self.0.get(&epoch).is_some_and(|it| it.names.contains(file))
    }
}

#[cfg(test)]
mod tests;
