//! Spark's text files, for people and tools: `metadata`, `offsets/<n>`, `commits/<n>`, in format v1, byte for byte.
//!
//! Only `metadata` is the truth of anything (the query's identity). The others are written from the records, without
//! fsync, and completed at the next start.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{Error, Ownership as _, QueryId, Result};

use crate::log::{Commit, Plan, Record};
use crate::owner::Owner;
use crate::store::{Marks, Store};

pub(crate) const METADATA: &str = "metadata";
const OFFSETS: &str = "offsets";
const COMMITS: &str = "commits";
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
    let lines = plan
        .sources
        .iter()
        .map(|it| it.index)
        .chain(plan.removed.iter().map(|it| it.index))
        .map(|it| it + 1)
        .max()
        .unwrap_or(0);
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
pub(crate) async fn read_metadata(store: &Store) -> Result<Option<QueryId>> {
    let Some(bytes) = store.read(METADATA).await? else { return Ok(None) };
    let damaged =
        |e| Error::config(format!("{} is damaged: expected {{\"id\":\"…\"}}", store.name(METADATA))).because(e);
    let Metadata { id } = serde_json::from_slice(&bytes).map_err(damaged)?;
    store.check(METADATA, &bytes).await?;
    Ok(Some(id))
}

/// Gives a new checkpoint its identity, durably; another start may have been faster.
pub(crate) async fn mint_metadata(store: &Store) -> Result<QueryId> {
    let (id, text) = new_metadata()?;
    if store.create_new(METADATA, text.as_bytes()).await? {
        return Ok(id);
    }
    let gone = || Error::transient(format!("{} came and went", store.name(METADATA)));
    read_metadata(store).await?.ok_or_else(gone)
}

/// Gives a checkpoint another identity, durably.
pub(crate) async fn replace_metadata(store: &Store) -> Result<QueryId> {
    let (id, text) = new_metadata()?;
    store.replace(METADATA, text.as_bytes()).await?;
    Ok(id)
}

fn new_metadata() -> Result<(QueryId, String)> {
    let id = QueryId(Arc::from(uuid::Uuid::new_v4().to_string()));
    let text = json(&Metadata { id: id.clone() })?;
    Ok((id, text))
}

/// The folders `offsets` and `commits`.
#[derive(Clone)]
pub(crate) struct SparkLogs {
    store: Arc<Store>,
    owner: Option<Arc<Owner>>,
}

impl SparkLogs {
    /// To be read; without an owner.
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, owner: None }
    }

    /// To be written.
    pub(crate) fn owned(self, owner: Arc<Owner>) -> Self {
        Self { owner: Some(owner), ..self }
    }

    pub(crate) const FOLDERS: [&str; 2] = [OFFSETS, COMMITS];

    pub(crate) async fn write_offsets(&self, plan: &Plan) -> Result<()> {
        // What an old owner planned is not what comes.
        if let Some(owner) = &self.owner {
            owner.check().await?;
        }
        self.store.write_unsynced(&key(OFFSETS, plan.epoch), offsets_text(plan)?.as_bytes()).await
    }

    pub(crate) async fn write_commit(&self, commit: &Commit) -> Result<()> {
        self.store.write_unsynced(&key(COMMITS, commit.epoch), commit_text(commit)?.as_bytes()).await
    }

    /// The same, so that a loss of power can't take it.
    pub(crate) async fn write_commit_durably(&self, commit: &Commit) -> Result<()> {
        self.store.write(&key(COMMITS, commit.epoch), &[commit_text(commit)?.as_bytes()], &Marks::NONE).await
    }

    /// True if `commits/<epoch>` is there and whole.
    pub(crate) async fn is_committed(&self, epoch: u64) -> Result<bool> {
        let bytes = self.store.read(&key(COMMITS, epoch)).await?;
        let text = bytes.and_then(|it| String::from_utf8(it).ok());
        let json = text.as_deref().and_then(|it| it.strip_prefix(V1));
        Ok(json.is_some_and(|it| serde_json::from_str::<CommitMetadata>(it).is_ok()))
    }

    /// As `is_committed`, for those who don't know better than a damaged file.
    ///
    /// # Errors
    /// `Config` if the file is there and does not say it.
    pub(crate) async fn check_committed(&self, epoch: u64) -> Result<bool> {
        let key = key(COMMITS, epoch);
        if self.is_committed(epoch).await? {
            return Ok(true);
        }
        match self.store.read(&key).await? {
            None => Ok(false),
            Some(_) => Err(Error::config(format!("{} is damaged", self.store.name(&key)))),
        }
    }

    /// The highest number in `offsets` or `commits`.
    pub(crate) async fn latest(&self) -> Result<Option<u64>> {
        let mut latest = None;
        for folder in Self::FOLDERS {
            latest = latest.max(self.store.list_numbers(folder).await?.last().copied());
        }
        Ok(latest)
    }

    /// Writes again what a power failure took: the files of these decided epochs.
    pub(crate) async fn complete<'a>(&self, decided: impl Iterator<Item = &'a Record> + Send) -> Result<()> {
        for record in decided {
            self.complete_file(&key(OFFSETS, record.epoch()), &offsets_text(&record.plan)?).await?;
            self.complete_file(&key(COMMITS, record.epoch()), &commit_text(&record.outcome())?).await?;
        }
        Ok(())
    }

    async fn complete_file(&self, key: &str, text: &str) -> Result<()> {
        let found = self.store.read(key).await?;
        if found.as_deref() == Some(text.as_bytes()) {
            return Ok(());
        }
        self.store.write_unsynced(key, text.as_bytes()).await
    }

    /// The entries before `oldest`.
    pub(crate) async fn before(&self, oldest: u64) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        for folder in Self::FOLDERS {
            let old = self.store.list_numbers(folder).await?.into_iter().filter(|it| *it < oldest);
            keys.extend(old.map(|it| key(folder, it)));
        }
        Ok(keys)
    }
}

fn key(folder: &str, epoch: u64) -> String {
    format!("{folder}/{epoch}")
}

#[cfg(test)]
mod tests;
