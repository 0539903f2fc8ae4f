//! Spark's text files, for people and tools: `metadata`, `offsets/<n>`, `commits/<n>`, in format v1, byte for byte.
//!
//! Only `metadata` is the truth of anything (the query's identity). The others are written from the records, without
//! fsync, and completed at the next start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{Error, QueryId, Result};

use crate::disk::{self, Disk, Marks};
use crate::log::{Commit, Plan, Record};

const METADATA: &str = "metadata";
const V1: &str = "v1\n";

#[derive(Serialize, Deserialize)]
struct Metadata {
    id: QueryId,
}

#[derive(Serialize)]
struct OffsetMetadata {
    #[serde(rename = "batchWatermarkMs")]
    watermark_ms: i64,
    #[serde(rename = "batchTimestampMs")]
    time_ms: i64,
    conf: BTreeMap<&'static str, String>,
}

#[derive(Serialize, Deserialize)]
struct CommitMetadata {
    #[serde(rename = "nextBatchWatermarkMs")]
    next_watermark_ms: i64,
}

/// The text of `offsets/<n>`: no newline at the end; a source without a part in the epoch is `-`.
pub(crate) fn offsets_text(plan: &Plan) -> Result<String> {
    let metadata = OffsetMetadata {
        watermark_ms: plan.watermark_ms.unwrap_or(0),
        time_ms: plan.time_ms,
        conf: BTreeMap::from([("spark.sql.streaming.multipleWatermarkPolicy", plan.watermark_policy.to_string())]),
    };
    let mut text = V1.to_owned() + &json(&metadata)?;
    let lines = plan.sources.iter().map(|it| it.index + 1).max().unwrap_or(0);
    for line in 0..lines {
        text.push('\n');
        match plan.sources.iter().find(|it| it.index == line) {
            Some(source) => text.push_str(&source.end.to_string()),
            None => text.push('-'),
        }
    }
    Ok(text)
}

/// The text of `commits/<n>`.
pub(crate) fn commit_text(commit: &Commit) -> Result<String> {
    Ok(V1.to_owned() + &json(&CommitMetadata { next_watermark_ms: commit.next_watermark_ms.unwrap_or(0) })?)
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal("a log entry can't be written").because(e))
}

/// The query's identity, if the checkpoint has one.
pub(crate) fn read_metadata(root: &Path) -> Result<Option<QueryId>> {
    let path = root.join(METADATA);
    let Some(bytes) = disk::read(&path)? else { return Ok(None) };
    let damaged = |e| Error::config(format!("{} is damaged: expected {{\"id\":\"…\"}}", path.display())).because(e);
    let Metadata { id } = serde_json::from_slice(&bytes).map_err(damaged)?;
    Ok(Some(id))
}

/// Gives a new checkpoint its identity, durably.
pub(crate) fn mint_metadata(root: &Path, disk: &Disk) -> Result<QueryId> {
    let id = QueryId(Arc::from(uuid::Uuid::new_v4().to_string()));
    disk.write(root, METADATA, &[json(&Metadata { id: id.clone() })?.as_bytes()], &Marks::NONE)?;
    Ok(id)
}

/// The folders `offsets` and `commits`.
#[derive(Clone)]
pub(crate) struct SparkLogs {
    offsets: PathBuf,
    commits: PathBuf,
    disk: Arc<Disk>,
}

impl SparkLogs {
    pub(crate) fn new(root: &Path, disk: Arc<Disk>) -> Self {
        Self { offsets: root.join("offsets"), commits: root.join("commits"), disk }
    }

    pub(crate) fn folders(&self) -> [&Path; 2] {
        [&self.offsets, &self.commits]
    }

    pub(crate) fn write_offsets(&self, plan: &Plan) -> Result<()> {
        self.disk.write_unsynced(&self.offsets, &plan.epoch.to_string(), offsets_text(plan)?.as_bytes())
    }

    pub(crate) fn write_commit(&self, commit: &Commit) -> Result<()> {
        self.disk.write_unsynced(&self.commits, &commit.epoch.to_string(), commit_text(commit)?.as_bytes())
    }

    /// True if `commits/<epoch>` is there and whole.
    pub(crate) fn is_committed(&self, epoch: u64) -> Result<bool> {
        let bytes = disk::read(&self.commits.join(epoch.to_string()))?;
        let text = bytes.and_then(|it| String::from_utf8(it).ok());
        let json = text.as_deref().and_then(|it| it.strip_prefix(V1));
        Ok(json.is_some_and(|it| serde_json::from_str::<CommitMetadata>(it).is_ok()))
    }

    /// The highest number in `offsets` or `commits`.
    pub(crate) fn latest(&self) -> Result<Option<u64>> {
        let latest = |folder: &Path| Ok::<_, Error>(disk::list_numbers(folder)?.last().copied());
        Ok(latest(&self.offsets)?.max(latest(&self.commits)?))
    }

    /// Writes again what a power failure took: the files of these decided epochs.
    pub(crate) fn complete<'a>(&self, decided: impl Iterator<Item = &'a Record>) -> Result<()> {
        for record in decided {
            self.complete_file(&self.offsets, record.epoch(), &offsets_text(&record.plan)?)?;
            self.complete_file(&self.commits, record.epoch(), &commit_text(&record.outcome())?)?;
        }
        Ok(())
    }

    fn complete_file(&self, folder: &Path, epoch: u64, text: &str) -> Result<()> {
        let name = epoch.to_string();
        let found = disk::read(&folder.join(&name))?;
        if found.as_deref() == Some(text.as_bytes()) {
            return Ok(());
        }
        self.disk.write_unsynced(folder, &name, text.as_bytes())
    }

    /// Removes the entries before `oldest`.
    pub(crate) fn purge(&self, oldest: u64) -> Result<()> {
        for folder in self.folders() {
            for number in disk::list_numbers(folder)?.into_iter().filter(|it| *it < oldest) {
                disk::remove(&folder.join(number.to_string()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
