//! Who owns a checkpoint, as its files say, without asking to own it.

use std::fs::{File, TryLockError};
use std::sync::Arc;

use serde::Serialize;
use tidegate_api::Result;

use super::Finding;
use super::contents::Contents;
use super::names::Name;
use crate::owner::{Beat, GENERATIONS, Holder, LOCK, OWNERS, beat_key, unsealed};
use crate::store::Store;

/// The last owner of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnerView {
    /// Its run.
    pub run_id: Arc<str>,
    /// The host that it ran on.
    pub host: String,
    /// The process there.
    pub process: u32,
    /// Rises with every start.
    pub generation: u64,
    /// When it began, milliseconds since 1970.
    pub since_ms: i64,
    /// Whether it still lives.
    pub state: OwnerState,
}

/// Whether an owner still lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerState {
    /// It holds the lock.
    Running,
    /// It has ended.
    Ended,
    /// It gave this sign of life, milliseconds since 1970; whether it still lives shows when no more come.
    HeartbeatAt(i64),
    /// It has given no sign of life.
    Unknown,
}

/// The highest generation: the key of its file.
fn newest(contents: &Contents, folder: &str) -> Option<(u64, String)> {
    let generations = contents.files.values().filter_map(|(name, _)| match name {
        Name::Generation(it) => Some(*it),
        _ => None,
    });
    generations.max().map(|it| (it, format!("{folder}/{it}")))
}

pub(super) async fn view(store: &Store, contents: &Contents) -> Result<Option<OwnerView>> {
    let folder = if store.is_remote() { OWNERS } else { GENERATIONS };
    let Some((generation, key)) = newest(contents, folder) else { return Ok(None) };
    let Some(holder) = read_holder(store, &key).await? else { return Ok(None) };
    let state = match store.is_remote() {
        true if holder.is_gone() => OwnerState::Ended,
        true => heard(store, generation).await?,
        false => locked(store),
    };
    let Holder { run_id, host, pid, time_ms, .. } = holder;
    Ok(Some(OwnerView { run_id, host, process: pid, generation, since_ms: time_ms, state }))
}

async fn read_holder(store: &Store, key: &str) -> Result<Option<Holder>> {
    let bytes = store.read(key).await?;
    Ok(bytes.and_then(|it| serde_json::from_slice(&it).ok()))
}

async fn heard(store: &Store, generation: u64) -> Result<OwnerState> {
    let beat = store.read(&beat_key(generation)).await?.and_then(|it| Beat::parse(&it));
    Ok(match beat {
        Some(it) if it.released => OwnerState::Ended,
        Some(it) => OwnerState::HeartbeatAt(it.time_ms),
        None => OwnerState::Unknown,
    })
}

/// Looks whether a lock could be had, and lets go at once; a start that asks in this moment asks again.
fn locked(store: &Store) -> OwnerState {
    let file = store.location().local().map(|it| File::open(it.join(LOCK)));
    match file.map(|it| it.map(|it| it.try_lock_shared())) {
        Some(Ok(Ok(()))) => OwnerState::Ended,
        Some(Ok(Err(TryLockError::WouldBlock))) => OwnerState::Running,
        _ => OwnerState::Unknown,
    }
}

/// What is wrong with the files that say who owns it, beside their checksums.
pub(super) async fn verify(store: &Store, contents: &Contents, findings: &mut Vec<Finding>) -> Result<()> {
    let folder = if store.is_remote() { OWNERS } else { GENERATIONS };
    let Some((generation, key)) = newest(contents, folder) else {
        findings.push(Finding::new(folder, "is missing: no generation has begun"));
        return Ok(());
    };
    let text = store.read(&key).await?;
    let parses = text.as_deref().and_then(|it| serde_json::from_slice::<Holder>(it).ok());
    if parses.is_none_or(|it| it.generation != generation) {
        findings.push(Finding::new(&key, "is damaged: expected who began this generation"));
    }
    if !store.is_remote() {
        match store.read(LOCK).await? {
            None => findings.push(Finding::new(LOCK, "is missing: it is the lock of the owner")),
            Some(it) if unsealed(&it).is_none() => {
                findings.push(Finding::new(LOCK, "is damaged: expected who owns it, with its checksum"));
            }
            Some(_) => {}
        }
        return Ok(());
    }
    let beat = beat_key(generation);
    match store.read(&beat).await?.map(|it| Beat::parse(&it)) {
        None => findings.push(Finding::new(beat, "is missing: the newest owner has given no sign of life")),
        Some(None) => findings.push(Finding::new(beat, "is damaged: expected a heartbeat with its checksum")),
        Some(Some(it)) => {
            if let Some(record) = it.record.filter(|it| !contents.has(it)) {
                findings.push(Finding::new(record, "is missing: the newest owner's heartbeat names it"));
            }
        }
    }
    Ok(())
}
