//! The log of a checkpoint: the records of `state/wal`, read as the protocol lays them down, not by the code under test.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use futures::TryStreamExt;
use serde_json::Value;
use tidegate_api::{AttemptId, Error, Result};
use tidegate_storage::Location;
use tidegate_storage::object_store::{ObjectStore, ObjectStoreExt};

/// What the log says of an epoch that is decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    /// The sources' offsets at its end.
    pub(crate) ends: Vec<u64>,
    pub(crate) time_ms: i64,
    pub(crate) write_time_us: i64,
    /// The watermark that it used.
    pub(crate) watermark_ms: i64,
    /// The watermark after it.
    pub(crate) next_ms: i64,
    /// Those that groups of sinks used, late ones, and those after it, by the nodes that feed them.
    pub(crate) groups: Vec<(String, i64)>,
}

/// A record: one attempt at an epoch.
#[derive(Clone, Debug, Hash)]
struct Record {
    entry: Entry,
    /// The epoch before, and the attempt at it that was chosen.
    before: Option<(u64, AttemptId)>,
}

/// All records that were ever seen; some may have been purged since.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Log {
    records: BTreeMap<(u64, AttemptId), Record>,
}

impl Log {
    /// Reads what is new.
    pub(crate) async fn read(&mut self, files: &Files) -> Result<()> {
        for name in files.list("state/wal").await? {
            let Some((epoch, attempt)) = parse_name(&name) else { continue };
            if self.records.contains_key(&(epoch, attempt)) {
                continue;
            }
            // Purged meanwhile.
            let Some(bytes) = files.get(&format!("state/wal/{name}")).await? else { continue };
            let record = parse(&bytes).map_err(|e| e.within(format!("record {name}")))?;
            self.records.insert((epoch, attempt), record);
        }
        Ok(())
    }

    /// The newest epoch.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.records.last_key_value().map(|(key, _)| key.0)
    }

    /// The decided epochs, from the newest back: each record names the attempt before it.
    pub(crate) fn decided(&self) -> Result<BTreeMap<u64, Entry>> {
        Ok(self.chain()?.into_iter().map(|(epoch, _, record)| (epoch, record.entry.clone())).collect())
    }

    /// The generation that ran each of them.
    pub(crate) fn owners(&self) -> Result<Vec<u64>> {
        Ok(self.chain()?.iter().rev().map(|it| it.1.generation).collect())
    }

    fn chain(&self) -> Result<Vec<(u64, AttemptId, &Record)>> {
        let mut chain = Vec::new();
        let mut next = self.records.last_key_value().map(|(key, _)| *key);
        while let Some(key) = next {
            let missing = || Error::internal(format!("record {}.{} is not in the log", key.0, key.1));
            let record = self.records.get(&key).ok_or_else(missing)?;
            chain.push((key.0, key.1, record));
            next = record.before;
        }
        Ok(chain)
    }
}

fn parse_name(name: &str) -> Option<(u64, AttemptId)> {
    let (epoch, attempt) = name.split_once('.')?;
    Some((epoch.parse().ok()?, attempt.parse().ok()?))
}

/// Magic and version take twelve bytes, from version 2 on the number of sections four more; then come the sections, each
/// behind its length and its checksum.
fn sections(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let version = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?);
    let mut rest = bytes.get(if version == 1 { 12.. } else { 16.. })?;
    let mut sections = Vec::new();
    while let Some((length, after)) = rest.split_at_checked(8) {
        let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
        let (section, after) = after.get(4..)?.split_at_checked(length)?;
        sections.push(section);
        rest = after;
    }
    Some(sections)
}

fn parse(bytes: &[u8]) -> Result<Record> {
    let header = sections(bytes).and_then(|it| serde_json::from_slice::<Value>(it.first()?).ok());
    let json = header.ok_or_else(|| Error::internal("it does not parse"))?;
    record(&json).ok_or_else(|| Error::internal(format!("a field is missing in {json}")))
}

/// The same record with nothing staged.
fn unstaged(bytes: &[u8]) -> Option<Vec<u8>> {
    let sections = sections(bytes)?;
    let mut header: Value = serde_json::from_slice(sections.first()?).ok()?;
    header["manifest"]["staged"] = Value::Array(Vec::new());
    written(bytes, &header, sections.get(1..2)?)
}

/// The same record, as if all sinks went by the query's watermark.
fn ungrouped(bytes: &[u8]) -> Option<Vec<u8>> {
    let sections = sections(bytes)?;
    let mut header: Value = serde_json::from_slice(sections.first()?).ok()?;
    header["plan"].as_object_mut()?.retain(|key, _| !key.ends_with("groups"));
    header["manifest"].as_object_mut()?.remove("next_groups");
    written(bytes, &header, sections.get(1..)?)
}

/// A record like `bytes`, of another header and these sections behind it.
fn written(bytes: &[u8], header: &Value, sections: &[&[u8]]) -> Option<Vec<u8>> {
    let header = serde_json::to_vec(header).ok()?;
    let count = u32::try_from(sections.len() + 1).ok()?;
    let mut text = [bytes.get(..8)?, &2_u32.to_le_bytes(), &count.to_le_bytes()].concat();
    for section in std::iter::once(&header[..]).chain(sections.iter().copied()) {
        let length = (section.len() as u64).to_le_bytes();
        let mut crc = crc32fast::Hasher::new();
        crc.update(&length);
        crc.update(section);
        text.extend([&length[..], &crc.finalize().to_le_bytes(), section].concat());
    }
    Some(text)
}

fn record(json: &Value) -> Option<Record> {
    let (plan, commit) = (&json["plan"], &json["commit"]);
    let mut ends: Vec<(u64, u64)> = Vec::new();
    for source in plan["sources"].as_array()? {
        ends.push((source["index"].as_u64()?, source["end"].as_u64()?));
    }
    ends.sort_unstable();
    let entry = Entry {
        ends: ends.into_iter().map(|it| it.1).collect(),
        time_ms: plan["time_ms"].as_i64()?,
        write_time_us: plan["write_time_us"].as_i64()?,
        watermark_ms: plan["watermark_ms"].as_i64().unwrap_or(0),
        next_ms: json["manifest"]["next_watermark_ms"].as_i64().unwrap_or(0),
        groups: [&plan["groups"], &plan["late_groups"], &json["manifest"]["next_groups"]]
            .into_iter()
            .filter_map(Value::as_array)
            .flatten()
            .filter_map(|it| Some((it["nodes"].to_string(), it["watermark_ms"].as_i64()?)))
            .collect(),
    };
    let before = match commit {
        Value::Null => None,
        it => Some((it["epoch"].as_u64()?, it["attempt"].as_str()?.parse().ok()?)),
    };
    Some(Record { entry, before })
}

/// The files of a checkpoint, past all that may go wrong with them.
#[derive(Clone)]
pub(crate) enum Files {
    /// On the local disk.
    Disk(PathBuf),
    /// In an object store, at a location of it.
    Store(Arc<dyn ObjectStore>, Location),
}

impl Files {
    /// The names in a folder, sorted.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        match self {
            Self::Disk(root) => {
                let Ok(entries) = fs::read_dir(root.join(folder)) else { return Ok(names) };
                for entry in entries {
                    let entry = entry.map_err(|e| lost(folder, e))?;
                    names.extend(entry.file_name().into_string().ok());
                }
            }
            Self::Store(store, location) => {
                let path = location.path(folder);
                let all: Vec<_> = store.list(Some(&path)).try_collect().await.map_err(|e| lost(folder, e))?;
                names.extend(all.iter().filter_map(|it| {
                    let mut rest = it.location.prefix_match(&path)?;
                    let name = rest.next()?.as_ref().to_owned();
                    rest.next().is_none().then_some(name)
                }));
            }
        }
        names.sort();
        Ok(names)
    }

    /// All files below a folder, in order, with what they hold.
    pub(crate) async fn all(&self, folder: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let mut found = Vec::new();
        match self {
            Self::Disk(root) => {
                let mut folders = vec![root.join(folder)];
                while let Some(folder) = folders.pop() {
                    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                        if entry.path().is_dir() {
                            folders.push(entry.path());
                        } else if let Ok(bytes) = fs::read(entry.path()) {
                            let key = entry.path().strip_prefix(root).map(|it| it.display().to_string());
                            found.extend(key.ok().map(|it| (it, bytes)));
                        }
                    }
                }
            }
            Self::Store(store, location) => {
                let (root, path) = (location.path(""), location.path(folder));
                let all: Vec<_> = store.list(Some(&path)).try_collect().await.map_err(|e| lost(folder, e))?;
                for it in all {
                    let key: Vec<_> = it.location.prefix_match(&root).into_iter().flatten().collect();
                    let key = key.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/");
                    if let Some(bytes) = self.get(&key).await? {
                        found.push((key, bytes));
                    }
                }
            }
        }
        found.sort();
        Ok(found)
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Disk(root) => Ok(fs::read(root.join(key)).ok()),
            Self::Store(store, location) => {
                let Ok(found) = store.get(&location.path(key)).await else { return Ok(None) };
                Ok(Some(found.bytes().await.map_err(|e| lost(key, e))?.to_vec()))
            }
        }
    }

    pub(crate) async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        match self {
            Self::Disk(root) => fs::write(root.join(key), bytes).map_err(|e| lost(key, e)),
            Self::Store(store, location) => {
                store.put(&location.path(key), bytes.into()).await.map(|_| ()).map_err(|e| lost(key, e))
            }
        }
    }

    /// Writes the first file of a checkpoint.
    pub(crate) async fn put_first(&self, key: &str, text: &str) -> Result<()> {
        if let Self::Disk(root) = self {
            fs::create_dir_all(root).map_err(|e| lost(key, e))?;
        }
        self.put(key, text.into()).await
    }

    pub(crate) async fn remove(&self, key: &str) -> Result<()> {
        match self {
            Self::Disk(root) => fs::remove_file(root.join(key)).map_err(|e| lost(key, e)),
            Self::Store(store, location) => store.delete(&location.path(key)).await.map_err(|e| lost(key, e)),
        }
    }

    /// Writes `commits/<epoch>`, as a loop would that is in too great a hurry.
    pub(crate) async fn write_commit(&self, epoch: u64) -> Result<()> {
        self.put(&format!("commits/{epoch}"), b"v1\n{\"nextBatchWatermarkMs\":0}".to_vec()).await
    }

    /// Takes what is staged out of all records.
    pub(crate) async fn forget_staged(&self) -> Result<()> {
        self.rewrite(unstaged).await
    }

    /// Takes the watermarks of groups out of all records.
    pub(crate) async fn forget_groups(&self) -> Result<()> {
        self.rewrite(ungrouped).await
    }

    async fn rewrite(&self, change: fn(&[u8]) -> Option<Vec<u8>>) -> Result<()> {
        for name in self.list("state/wal").await?.into_iter().filter(|it| parse_name(it).is_some()) {
            let key = format!("state/wal/{name}");
            if let Some(text) = self.get(&key).await?.and_then(|it| change(&it)) {
                self.put(&key, text).await?;
            }
        }
        Ok(())
    }

    /// Removes all that is of epochs after `to`, as who thinks that this is how to go back.
    pub(crate) async fn forget_after(&self, to: u64) -> Result<()> {
        for folder in ["offsets", "commits", "state/wal", "state/snapshots"] {
            for name in self.list(folder).await? {
                let epoch = name.split('.').next().and_then(|it| it.parse::<u64>().ok());
                if epoch.is_some_and(|it| it > to) {
                    self.remove(&format!("{folder}/{name}")).await?;
                }
            }
        }
        Ok(())
    }

    /// Removes the records of epochs that are not decided.
    pub(crate) async fn forget_pending(&self) -> Result<()> {
        let commits = self.list("commits").await?;
        for folder in ["offsets", "state/wal"] {
            for name in self.list(folder).await? {
                let epoch = name.split('.').next().unwrap_or_default();
                if !epoch.is_empty() && !commits.iter().any(|it| it == epoch) {
                    self.remove(&format!("{folder}/{name}")).await?;
                }
            }
        }
        Ok(())
    }
}

/// A file operation of the harness that failed.
fn lost(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal(format!("crash matrix: {name}")).because(error)
}
