//! The text logs of a checkpoint, read (and, for mistakes, written) as any tool would.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use tidegate_api::{Error, Result};

use super::mistake::disk;

/// What the logs say of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The source's offset at its end.
    pub(super) end: u64,
    pub(super) time_ms: i64,
    /// The watermark that it used.
    pub(super) watermark_ms: i64,
    /// The watermark after it, once it is decided.
    pub(super) next_ms: Option<i64>,
}

#[derive(Deserialize)]
struct Offsets {
    #[serde(rename = "batchWatermarkMs")]
    watermark_ms: i64,
    #[serde(rename = "batchTimestampMs")]
    time_ms: i64,
}

#[derive(Deserialize)]
struct Commit {
    #[serde(rename = "nextBatchWatermarkMs")]
    next_ms: i64,
}

/// All epochs in the logs.
pub(super) fn read(checkpoint: &Path) -> Result<BTreeMap<u64, Entry>> {
    let commits = texts(&checkpoint.join("commits"))?;
    let mut entries = BTreeMap::new();
    for (epoch, text) in texts(&checkpoint.join("offsets"))? {
        let wrong = |what: &str| Error::internal(format!("offsets/{epoch}: {what}: {text}"));
        let [version, metadata, end] = text.lines().collect::<Vec<_>>()[..] else { return Err(wrong("lines")) };
        let Offsets { watermark_ms, time_ms } =
            serde_json::from_str(metadata).map_err(|e| wrong("metadata").because(e))?;
        let end: u64 = end.parse().map_err(|e| wrong("offset").because(e))?;
        let next_ms = match commits.get(&epoch).and_then(|it| it.split_once('\n')) {
            Some((_, json)) => {
                let commit: Commit = serde_json::from_str(json).map_err(|e| wrong("commit").because(e))?;
                Some(commit.next_ms)
            }
            None => None,
        };
        if version != "v1" {
            return Err(wrong("version"));
        }
        entries.insert(epoch, Entry { end, time_ms, watermark_ms, next_ms });
    }
    Ok(entries)
}

/// Writes `commits/<epoch>`.
pub(super) fn write_commit(checkpoint: &Path, epoch: u64) -> Result<()> {
    let path = checkpoint.join("commits").join(epoch.to_string());
    fs::write(&path, "v1\n{\"nextBatchWatermarkMs\":0}").map_err(|e| disk(&path, e))
}

/// Removes the records of epochs that are not decided.
pub(super) fn forget_pending(checkpoint: &Path) -> Result<()> {
    let commits = texts(&checkpoint.join("commits"))?;
    for folder in ["offsets", "state/wal"] {
        let folder = checkpoint.join(folder);
        for name in names(&folder)? {
            let epoch = name.split('.').next().and_then(|it| it.parse::<u64>().ok());
            if epoch.is_some_and(|it| !commits.contains_key(&it)) {
                let path = folder.join(&name);
                fs::remove_file(&path).map_err(|e| disk(&path, e))?;
            }
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| disk(folder, e))? {
        let entry = entry.map_err(|e| disk(folder, e))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// The files named by a number.
fn texts(folder: &Path) -> Result<BTreeMap<u64, String>> {
    let mut texts = BTreeMap::new();
    for name in names(folder)? {
        let Ok(number) = name.parse() else { continue };
        let path = folder.join(&name);
        texts.insert(number, fs::read_to_string(&path).map_err(|e| disk(&path, e))?);
    }
    Ok(texts)
}
