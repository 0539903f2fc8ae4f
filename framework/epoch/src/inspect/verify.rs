//! All that is wrong with a checkpoint.
//!
//! Records carry their checksums and lead from each to the one before it; Spark's files must say what they say; all
//! others have a checksum beside them, which also tells that its file is missing.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_api::{AttemptId, Result};

use super::Finding;
use super::contents::{Contents, without_place};
use super::names::Name;
use super::owner;
use crate::checkpoint::{LOCATION_KEY, VERSION_KEY, read_names, read_version};
use crate::log::Record;
use crate::log::spark::{METADATA, commit_text, offsets_text, read_metadata};
use crate::manifest::{StagedPiece, StagedPlace};
use crate::sink_task::open_rejects;
use crate::snapshot::SnapshotFiles;
use crate::stage::FOLDER as STAGED;
use crate::store::{Store, sidecar};

pub(super) async fn verify(store: &Arc<Store>, contents: &Contents) -> Result<Vec<Finding>> {
    let mut findings = contents.damaged.clone();
    findings.extend(strangers(contents));
    checksums(store, contents, &mut findings).await?;
    identity(store, &mut findings).await?;
    owner::verify(store, contents, &mut findings).await?;
    chain(contents, &mut findings);
    texts(store, contents, &mut findings).await?;
    snapshots(store, contents, &mut findings).await;
    staged(store, contents, &mut findings).await?;
    sources(store, contents, &mut findings).await?;
    Ok(findings)
}

fn strangers(contents: &Contents) -> impl Iterator<Item = Finding> {
    let foreign = contents.files.iter().filter(|(_, (name, _))| *name == Name::Foreign);
    foreign.map(|(key, _)| Finding::new(key, "is foreign: no checkpoint has a file of this name here"))
}

/// Files with a checksum beside them, and checksums without their file.
async fn checksums(store: &Store, contents: &Contents, findings: &mut Vec<Finding>) -> Result<()> {
    for (key, (name, _)) in &contents.files {
        if let Name::Checksum(file) = name {
            if !contents.has(file) {
                findings.push(Finding::new(file, format!("is missing: its checksum, {key}, is there")));
            }
            continue;
        }
        if *name == Name::Foreign || !sidecar::is_due(key) {
            continue;
        }
        let sidecar = sidecar::key_of(key);
        let Some(sum) = store.read(&sidecar).await? else {
            findings.push(Finding::new(key, format!("has no checksum: {sidecar} is missing, or this file is foreign")));
            continue;
        };
        let Some(bytes) = store.read(key).await? else { continue };
        if !sidecar::fits(&sum, &bytes) {
            findings.push(Finding::new(key, format!("does not match its checksum, {sidecar}: one of them is damaged")));
        }
    }
    Ok(())
}

/// What each checkpoint has.
async fn identity(store: &Store, findings: &mut Vec<Finding>) -> Result<()> {
    let missing = |key: &str| Finding::new(key, "is missing: every checkpoint has one");
    match read_version(store).await {
        Ok(Some(_)) => {}
        Ok(None) => findings.push(missing(VERSION_KEY)),
        Err(e) => findings.push(Finding::new(VERSION_KEY, e.to_string())),
    }
    match read_metadata(store).await {
        Ok(Some(_)) => {}
        Ok(None) => findings.push(missing(METADATA)),
        Err(e) => findings.push(Finding::new(METADATA, without_place(store, METADATA, &e))),
    }
    match store.read(LOCATION_KEY).await? {
        None => findings.push(missing(LOCATION_KEY)),
        Some(there) if there == store.location().to_string().as_bytes() => {}
        Some(there) => {
            let there = String::from_utf8_lossy(&there).into_owned();
            findings.push(Finding::new(LOCATION_KEY, format!("is {there}: the checkpoint is a copy, or damaged")));
        }
    }
    Ok(())
}

/// That the records lead from the newest back to a state that can be begun from.
fn chain(contents: &Contents, findings: &mut Vec<Finding>) {
    if let Some((epoch, attempt)) = contents.gap {
        let after = contents.chain.last().map_or(0, |it| it.0);
        let key = format!("state/wal/{epoch}.{attempt}");
        // A damaged one has been named.
        if !contents.has(&key) {
            findings.push(Finding::new(key, format!("is missing: epoch {after} follows it")));
        }
    } else if let Some((epoch, attempt)) = contents.chain.last() {
        let begins = contents.record(*epoch, *attempt).is_some_and(|it| it.commit.is_none());
        if !begins && !contents.snapshots.contains(&(*epoch, *attempt)) {
            let key = format!("state/snapshots/{epoch}.{attempt}");
            findings.push(Finding::new(key, "is missing: it is the state that all later epochs begin from"));
        }
    }
    for (epoch, attempt) in &contents.snapshots {
        // Those before the oldest record go last in a purge.
        let is_kept = contents.records.first_key_value().is_some_and(|(oldest, _)| oldest <= epoch);
        let key = format!("state/wal/{epoch}.{attempt}");
        if is_kept && !contents.has(&key) {
            findings.push(Finding::new(key, "is missing: its snapshot is there"));
        }
    }
}

/// That Spark's files say what the records say.
async fn texts(store: &Store, contents: &Contents, findings: &mut Vec<Finding>) -> Result<()> {
    for (key, (name, _)) in &contents.files {
        let (epoch, text): (u64, fn(&Record) -> Result<String>) = match name {
            Name::Offsets(epoch) => (*epoch, |it| offsets_text(&it.plan)),
            Name::Commits(epoch) => (*epoch, |it| commit_text(&it.outcome())),
            _ => continue,
        };
        let chosen = contents.chain.iter().find(|it| it.0 == epoch && Some(*it) != contents.chain.first());
        let Some(attempts) = contents.records.get(&epoch) else {
            let has_damaged = contents.files.values().any(|(it, _)| matches!(it, Name::Record(it, _) if *it == epoch));
            if !has_damaged {
                findings.push(Finding::new(format!("state/wal/{epoch}.*"), format!("is missing: {key} is there")));
            }
            continue;
        };
        let found = store.read(key).await?;
        let mut fits = false;
        // Of the newest epoch, and of one that was gone back behind, any attempt may be the one that is shown.
        for record in attempts.values().filter(|it| chosen.is_none_or(|chosen| chosen.1 == it.attempt)) {
            fits |= found.as_deref() == Some(text(record)?.as_bytes());
        }
        if !fits && found.is_some() {
            findings.push(Finding::new(key, "does not say what the epoch's record in state/wal says"));
        }
    }
    missing_texts(store, contents, findings);
    Ok(())
}

/// On a local disk each epoch has its files; on an object store those that have a snapshot.
fn missing_texts(store: &Store, contents: &Contents, findings: &mut Vec<Finding>) {
    for (at, (epoch, attempt)) in contents.chain.iter().enumerate() {
        let has_snapshot = contents.snapshots.contains(&(*epoch, *attempt));
        if store.is_remote() && !has_snapshot {
            continue;
        }
        let decided = at > 0 || has_snapshot;
        for (folder, is_due) in [("offsets", true), ("commits", decided)] {
            let key = format!("{folder}/{epoch}");
            if is_due && !contents.has(&key) {
                findings.push(Finding::new(key, "is missing: the epoch's record in state/wal is there"));
            }
        }
    }
}

/// That snapshots can be read. Whether they are whole their checksums have told.
async fn snapshots(store: &Arc<Store>, contents: &Contents, findings: &mut Vec<Finding>) {
    let files = SnapshotFiles::new(store.clone());
    for (epoch, attempt) in &contents.snapshots {
        if let Err(e) = files.read(*epoch, *attempt).await {
            let key = format!("state/snapshots/{epoch}.{attempt}");
            findings.push(Finding::new(&key, without_place(store, &key, &e)));
        }
    }
}

/// That what waits for its sink is what the records name.
async fn staged(store: &Store, contents: &Contents, findings: &mut Vec<Finding>) -> Result<()> {
    let newest = contents.newest().map(|it| (it.epoch(), it.attempt.generation));
    let mut named = BTreeSet::new();
    for record in contents.records.values().flat_map(|it| it.values()) {
        for piece in &record.manifest.staged {
            let StagedPlace::File(name) = &piece.place else { continue };
            let key = format!("{STAGED}/{name}");
            match store.read(&key).await? {
                Some(it) if (it.len() as u64, crc32fast::hash(&it)) != (piece.bytes, piece.crc32) => {
                    findings.push(Finding::new(&key, "is damaged: it is not what the epoch's record names"));
                }
                // Of an older epoch the sinks have it, and it goes.
                None if contents.chain.first() == Some(&(record.epoch(), record.attempt)) => {
                    findings.push(Finding::new(&key, "is missing: the newest record names it"));
                }
                _ => {}
            }
            named.insert(key);
        }
    }
    for (key, (name, _)) in &contents.files {
        let Name::Rejects(epoch, attempt) = name else { continue };
        if contents.records.get(epoch).is_none_or(|it| !it.contains_key(attempt)) {
            findings.push(Finding::new(key, "is foreign, or was left behind: it is of no record"));
        }
        match store.read(key).await?.map(|it| open_rejects(&it)) {
            Some(Err(e)) => findings.push(Finding::new(key, e.to_string())),
            Some(Ok((StagedPiece { place: StagedPlace::File(name), .. }, _))) => {
                named.insert(format!("{STAGED}/{name}"));
            }
            _ => {}
        }
    }
    for (key, (name, _)) in &contents.files {
        let Name::Staged(epoch, attempt) = name else { continue };
        if !named.contains(key) && !is_under_way(newest, *epoch, *attempt) {
            findings.push(Finding::new(key, "is foreign, or was left behind: no record names it"));
        }
    }
    Ok(())
}

/// True of an attempt that may be running now: its record comes when all of its rows are staged.
fn is_under_way(newest: Option<(u64, u64)>, epoch: u64, attempt: AttemptId) -> bool {
    newest.is_none_or(|(newest, generation)| epoch > newest && attempt.generation >= generation)
}

/// The names of the sources, and the logs of each.
async fn sources(store: &Store, contents: &Contents, findings: &mut Vec<Finding>) -> Result<()> {
    let names = match read_names(store).await {
        Ok(names) => names,
        Err(e) => {
            findings.push(Finding::new("state/sources", e.to_string()));
            return Ok(());
        }
    };
    let mut strange = BTreeSet::new();
    for (name, _) in contents.files.values() {
        if let Name::Source(index) = name
            && *index >= names.len() as u64
            && strange.insert(*index)
        {
            findings.push(Finding::new(format!("sources/{index}"), "is foreign: state/sources names no such source"));
        }
    }
    for source in contents.newest().iter().flat_map(|it| &it.plan.sources) {
        let found = names.get(source.index);
        if found != Some(&source.name) {
            let (key, name) = (format!("state/sources/{}", source.index), &source.name);
            let found = found.map_or("nothing".to_owned(), |it| format!("'{it}'"));
            findings.push(Finding::new(key, format!("found {found}, expected '{name}' as the newest record says")));
        }
    }
    Ok(())
}
