//! What a checkpoint holds, for people and programs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use tidegate_api::{AttemptId, OffsetJson, Result};

use super::contents::Contents;
use super::names::Name;
use super::owner::{self, OwnerView};
use crate::checkpoint::read_version;
use crate::log::branch::Branch;
use crate::log::spark::{SparkLogs, read_metadata};
use crate::log::{Plan, Record};
use crate::store::Store;
use crate::watermark::GroupMark;

/// What a checkpoint holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckpointView {
    /// Where it lies.
    pub location: String,
    /// Of its layout.
    pub version: Option<u32>,
    /// The query's identity.
    pub query_id: Option<Arc<str>>,
    /// Its last owner.
    pub owner: Option<OwnerView>,
    /// The newest epoch; nothing if none has been logged.
    pub newest: Option<NewestView>,
    /// The epochs that can be gone back to, oldest first.
    pub epochs: Vec<EpochView>,
    /// Where the sources stand after the newest epoch.
    pub sources: Vec<SourceView>,
    /// The sinks: those that the newest epoch waits for, and those that have remembered something.
    pub sinks: Vec<String>,
    /// The snapshots of the state, oldest first.
    pub snapshots: Vec<SnapshotView>,
    /// Points at which the query went back.
    pub branches: Vec<BranchView>,
    /// Files and bytes by folder.
    pub sizes: BTreeMap<String, SizeView>,
}

/// The newest epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NewestView {
    /// Its number.
    pub epoch: u64,
    /// The attempt that its state is of.
    pub attempt: AttemptId,
    /// True if the checkpoint says that its outcome is known. False: its sinks may know better.
    pub decided: bool,
    /// When it was planned, milliseconds since 1970.
    pub time_ms: i64,
    /// The watermark that it ran with, milliseconds since 1970.
    pub watermark_ms: Option<i64>,
    /// The watermark after it, milliseconds since 1970.
    pub next_watermark_ms: Option<i64>,
    /// Those of groups of sinks, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next_watermark_groups: Vec<GroupMark>,
}

/// An epoch that can be gone back to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpochView {
    /// Its number.
    pub epoch: u64,
    /// The attempt that its state is of.
    pub attempt: AttemptId,
    /// When it was planned, milliseconds since 1970.
    pub time_ms: i64,
    /// The watermark after it, milliseconds since 1970.
    pub next_watermark_ms: Option<i64>,
    /// Rows that its sources brought.
    pub rows: u64,
}

/// Where a source stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceView {
    /// Its name.
    pub name: Arc<str>,
    /// Its line in `offsets/<n>`, and its folder under `sources/`.
    pub index: usize,
    /// The end of what the newest epoch reads.
    pub offset: OffsetJson,
}

/// A snapshot of the state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SnapshotView {
    /// The state after this epoch.
    pub epoch: u64,
    /// Of this attempt.
    pub attempt: AttemptId,
    /// Its size.
    pub bytes: u64,
}

/// A point at which the query went back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BranchView {
    /// The epoch that it went back to; nothing: it began there without state.
    pub to: Option<u64>,
    /// The first epoch after that.
    pub next: u64,
    /// Why.
    pub reason: String,
}

/// How much a folder holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SizeView {
    /// Files.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
}

pub(super) async fn view(store: &Arc<Store>, contents: Contents) -> Result<CheckpointView> {
    contents.check_newest(store)?;
    let newest = match contents.newest() {
        Some(it) => Some(newest_view(store, &contents, it).await?),
        None => None,
    };
    Ok(CheckpointView {
        location: store.location().to_string(),
        version: read_version(store).await?,
        query_id: read_metadata(store).await?.map(|it| it.0),
        owner: owner::view(store, &contents).await?,
        epochs: epochs(&contents, newest.as_ref()),
        sources: standing(&contents).map(sources).unwrap_or_default(),
        sinks: sinks(&contents),
        snapshots: snapshots(&contents),
        branches: contents.branches.values().map(branch).collect(),
        sizes: sizes(&contents),
        newest,
    })
}

/// The epochs whose state can be read, and whose outcome is known.
pub(super) async fn known_epochs(store: &Arc<Store>, contents: &Contents) -> Result<BTreeSet<u64>> {
    let newest = match contents.newest() {
        Some(it) => Some(newest_view(store, contents, it).await?),
        None => None,
    };
    Ok(epochs(contents, newest.as_ref()).iter().map(|it| it.epoch).collect())
}

async fn newest_view(store: &Arc<Store>, contents: &Contents, record: &Record) -> Result<NewestView> {
    let epoch = record.epoch();
    let snapshot = contents.snapshots.contains(&(epoch, record.attempt));
    Ok(NewestView {
        epoch,
        attempt: record.attempt,
        decided: snapshot || SparkLogs::new(store.clone()).is_committed(epoch).await?,
        time_ms: record.plan.time_ms,
        watermark_ms: record.plan.levels().query_ms,
        next_watermark_ms: record.manifest.next_watermark_ms,
        next_watermark_groups: record.manifest.next_groups.clone(),
    })
}

/// All that lead to the newest state, if the oldest can be begun from.
fn epochs(contents: &Contents, newest: Option<&NewestView>) -> Vec<EpochView> {
    let mut epochs = Vec::new();
    let mut has_state = contents.gap.is_none();
    for (epoch, attempt) in contents.chain.iter().rev() {
        has_state |= contents.snapshots.contains(&(*epoch, *attempt));
        let pending = newest.is_some_and(|it| it.epoch == *epoch && !it.decided);
        let Some(record) = contents.record(*epoch, *attempt).filter(|_| has_state && !pending) else { continue };
        epochs.push(EpochView {
            epoch: *epoch,
            attempt: *attempt,
            time_ms: record.plan.time_ms,
            next_watermark_ms: record.manifest.next_watermark_ms,
            rows: record.manifest.counts.source_rows.iter().sum(),
        });
    }
    epochs
}

/// The plan that the sources stand at the end of: an import has no record yet.
fn standing(contents: &Contents) -> Option<&Plan> {
    let begun = || contents.branches.last_key_value().map(|(_, it)| &it.plan);
    contents.newest().map(|it| &it.plan).or_else(begun)
}

fn sources(newest: &Plan) -> Vec<SourceView> {
    let view =
        |it: &crate::log::SourceRange| SourceView { name: it.name.clone(), index: it.index, offset: it.end.clone() };
    newest.sources.iter().map(view).collect()
}

fn branch(branch: &Branch) -> BranchView {
    BranchView { to: branch.base.as_ref().map(|it| it.epoch), next: branch.next, reason: branch.reason.clone() }
}

fn sinks(contents: &Contents) -> Vec<String> {
    let name = |key: &String| Some(key.strip_prefix("state/sinks/")?.split_once('/')?.0.to_owned());
    let named = contents.newest().into_iter().flat_map(|it| &it.manifest.sinks).map(|it| (**it).to_owned());
    let sinks: BTreeSet<String> = contents.files.keys().filter_map(name).chain(named).collect();
    sinks.into_iter().collect()
}

fn snapshots(contents: &Contents) -> Vec<SnapshotView> {
    let mut found: Vec<_> = contents
        .files
        .values()
        .filter_map(|(name, bytes)| match name {
            Name::Snapshot(epoch, attempt) => Some(SnapshotView { epoch: *epoch, attempt: *attempt, bytes: *bytes }),
            _ => None,
        })
        .collect();
    found.sort_by_key(|it| (it.epoch, it.attempt));
    found
}

fn sizes(contents: &Contents) -> BTreeMap<String, SizeView> {
    let mut sizes: BTreeMap<String, SizeView> = BTreeMap::new();
    for (key, (_, bytes)) in &contents.files {
        let parts: Vec<&str> = key.split('/').collect();
        let folder = match parts.as_slice() {
            [_] => "metadata".to_owned(),
            ["state", _] => "state".to_owned(),
            ["state", folder, ..] => format!("state/{folder}"),
            [folder, ..] => (*folder).to_owned(),
            [] => continue,
        };
        let size = sizes.entry(folder).or_default();
        size.files += 1;
        size.bytes += bytes;
    }
    sizes
}
