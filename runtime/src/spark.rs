//! A checkpoint of Spark Structured Streaming: where its query stopped, and what each of its sources had read.
//!
//! ```text
//! offsets/<n>   v1, metadata, a line a source: its end, or `-`     written before epoch n runs
//!               v2: each line begins with the source's name and a colon
//! commits/<n>   v1 or v2, the watermark of the next epoch           written after it
//! sources/<i>/  what source i remembers beside its positions
//! ```
//! Epoch n is pending if `commits/<n>` is missing: whether its rows are in the sink is known to the sink alone.

mod folder;
mod format;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_api::{Error, MetadataLog, Result};
use tidegate_epoch::WatermarkPolicy;

use folder::{ReadOnlyLog, has_files, numbers, read};
use format::{Offsets, parse_commit, parse_offsets};

/// What to do with an epoch that Spark has begun and not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pending {
    /// Its rows are in the sink: go on after it
    Done,
    /// They are not: read its range again
    Redo,
}

/// Where Spark's query stopped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stopped {
    root: PathBuf,
    /// The last epoch whose rows count as delivered; nothing: there is none.
    pub(crate) last: Option<u64>,
    /// The number of the next epoch.
    pub(crate) next: u64,
    /// The epoch that was pending, and what was decided about it.
    pub(crate) pending: Option<(u64, Pending)>,
    /// Of the next epoch, milliseconds since 1970; nothing: there is none yet.
    pub(crate) watermark_ms: Option<i64>,
    pub(crate) watermark_policy: WatermarkPolicy,
    /// The position of each source, by its number (or its name, where Spark was told one).
    pub(crate) sources: BTreeMap<String, Option<String>>,
    /// Its operators have kept rows.
    pub(crate) has_state: bool,
}

impl Stopped {
    /// Reads the checkpoint in `root`.
    ///
    /// # Errors
    /// `Config` if there is none, if it is damaged, or if an epoch is pending and nobody said what to do with it.
    pub(crate) fn read(root: &Path, pending: Option<Pending>) -> Result<Self> {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
        stopped(&root, pending).map_err(|e| e.within(format!("spark checkpoint {}", root.display())))
    }

    /// The folder of a source.
    pub(crate) fn log(&self, source: &str) -> Arc<dyn MetadataLog> {
        Arc::new(ReadOnlyLog(self.root.join("sources").join(source)))
    }

    /// Where it lies.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

fn stopped(root: &Path, pending: Option<Pending>) -> Result<Stopped> {
    if root.join("state/wal").exists() || root.join("state/version").exists() {
        let text = "was written by tidegate: go back in it with 'checkpoint rewind', or copy it and start the copy with \
                    --adopt";
        return Err(Error::config(text));
    }
    if !root.join("offsets").is_dir() {
        let text =
            "found no folder 'offsets', expected the checkpointLocation of a query of Spark Structured Streaming";
        return Err(Error::config(text));
    }
    let (logged, committed) = (numbers(root, "offsets")?, numbers(root, "commits")?);
    let Some(newest) = logged.last().copied() else {
        return Err(Error::config("it holds no epoch: there is nothing to go on from; run the file as a new query"));
    };
    if let Some(found) = committed.last().filter(|it| **it > newest) {
        return Err(Error::config(format!("commits/{found} is there and offsets/{found} is not: files were lost")));
    }
    let offsets = offsets_of(root, newest)?;
    let mut found = Stopped {
        root: root.to_path_buf(),
        last: Some(newest),
        next: newest + 1,
        pending: None,
        watermark_ms: Some(offsets.watermark_ms).filter(|it| *it > 0),
        watermark_policy: offsets.watermark_policy,
        sources: offsets.sources,
        has_state: has_files(&root.join("state"))?,
    };
    if committed.contains(&newest) {
        let next_ms = commit_of(root, newest)?;
        found.watermark_ms = found.watermark_ms.max(Some(next_ms).filter(|it| *it > 0));
        return Ok(found);
    }
    let before = logged.iter().rev().nth(1).copied();
    if let Some(before) = before.filter(|it| !committed.contains(it)) {
        let text = "are there without commits: no query of Spark leaves more than one epoch pending; files were lost";
        return Err(Error::config(format!("offsets/{before} and offsets/{newest} {text}")));
    }
    let pending = pending.ok_or_else(|| is_pending(root, newest))?;
    found.pending = Some((newest, pending));
    if pending == Pending::Redo {
        found.last = before;
        found.next = newest;
        let begun: Vec<String> = found.sources.keys().cloned().collect();
        let mut sources = before.map(|it| offsets_of(root, it)).transpose()?.map(|it| it.sources).unwrap_or_default();
        // A source that the epoch was the first of.
        begun.into_iter().for_each(|it| _ = sources.entry(it).or_insert(None));
        found.sources = sources;
    }
    Ok(found)
}

/// Which of the two is right stands in the sink.
fn is_pending(root: &Path, epoch: u64) -> Error {
    let id = read(root, "metadata").ok().flatten().and_then(|it| format::parse_id(&it));
    let id = id.unwrap_or_else(|| "the id in 'metadata'".to_owned());
    Error::config(format!(
        "epoch {epoch} is pending: Spark began it (offsets/{epoch}) and did not commit it (no commits/{epoch}). If its rows \
         are in the sink, say --pending done; if not, say --pending redo, and its range is read again. A Delta table has \
         them if its log holds a txn with appId {id} and version {epoch}; a folder of files if _spark_metadata/{epoch} is \
         there; other sinks must be looked into"
    ))
}

fn offsets_of(root: &Path, epoch: u64) -> Result<Offsets> {
    let key = format!("offsets/{epoch}");
    let bytes = read(root, &key)?.ok_or_else(|| Error::config(format!("{key} is gone")))?;
    parse_offsets(&bytes).map_err(|e| e.within(key))
}

fn commit_of(root: &Path, epoch: u64) -> Result<i64> {
    let key = format!("commits/{epoch}");
    let bytes = read(root, &key)?.ok_or_else(|| Error::config(format!("{key} is gone")))?;
    parse_commit(&bytes).map_err(|e| e.within(key))
}

#[cfg(test)]
mod tests;
