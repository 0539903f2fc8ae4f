//! Which files make up the state after an epoch.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use tidegate_api::{AttemptId, Error, Result};

use crate::inspect::contents::Contents;
use crate::inspect::{BETWEEN_LOOKS, LOOKS, may_run, view};
use crate::log::spark::SparkLogs;
use crate::log::wal::{self, Wal};
use crate::snapshot::SnapshotFiles;
use crate::state::{FileKind, Listed, OperatorPart, list_parts, open_part};
use crate::store::{Store, blocking};

/// A file with state in it: a record, or a snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct StateFile {
    pub(super) epoch: u64,
    attempt: AttemptId,
    kind: FileKind,
}

/// The files that make up the state after an epoch.
pub(super) struct Files {
    pub(super) store: Arc<Store>,
    pub(super) epoch: u64,
    /// The epochs whose state can be read.
    pub(super) known: BTreeSet<u64>,
    /// The newest first, back to the snapshot that the others go on from, or to the first record.
    pub(super) left: VecDeque<StateFile>,
}

impl Files {
    /// The bytes of a file, checked, and where in them the state is.
    async fn read(&self, file: StateFile) -> Result<(Vec<u8>, Range<usize>)> {
        if file.kind == FileKind::Snapshot {
            return SnapshotFiles::new(self.store.clone()).read_bytes(file.epoch, file.attempt).await;
        }
        let (_, delta) = Wal::new(self.store.clone()).read(file.epoch, file.attempt).await?;
        let all = 0..delta.len();
        Ok((delta, all))
    }

    /// An error about a file.
    pub(super) fn named(&self, file: StateFile, error: Error) -> Error {
        error.within(match file.kind {
            FileKind::Snapshot => SnapshotFiles::new(self.store.clone()).name(file.epoch, file.attempt),
            FileKind::Deltas => self.store.name(&wal::key(file.epoch, file.attempt)),
        })
    }

    /// The operators that a file names.
    pub(super) async fn list(&self, file: StateFile) -> Result<Vec<Listed>> {
        let (bytes, at) = self.read(file).await?;
        blocking(|| list_parts(&bytes, at, file.kind)).map_err(|e| self.named(file, e))
    }

    /// What a file says of an operator.
    pub(super) async fn part(&self, file: StateFile, operator: &str) -> Result<Option<OperatorPart>> {
        let (bytes, at) = self.read(file).await?;
        blocking(|| open_part(bytes, at, file.kind, operator)).map_err(|e| self.named(file, e))
    }
}

/// The files that lead to an epoch; without one, to the newest whose outcome is known.
pub(super) async fn files(store: &Arc<Store>, epoch: Option<u64>) -> Result<Files> {
    let mut looks = 1;
    loop {
        let contents = Contents::read(store).await?;
        let found = look(store, &contents, epoch).await;
        // A running owner changes files while they are read.
        if found.is_ok() || looks == LOOKS || !may_run(store, &contents).await? {
            return found?;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
        looks += 1;
    }
}

/// The inner error is none that another look would mend.
async fn look(store: &Arc<Store>, contents: &Contents, epoch: Option<u64>) -> Result<Result<Files>> {
    contents.check_newest(store)?;
    let known = view::known_epochs(store, contents).await?;
    if let (None, Some((newest, _))) = (epoch, contents.chain.first())
        && !known.contains(newest)
    {
        SparkLogs::new(store.clone()).check_committed(*newest).await?;
    }
    let Some(at) = epoch.map_or(known.last(), |it| known.get(&it)).copied() else {
        // What is missing may be in a file that can't be read.
        return match contents.damaged.last() {
            Some(damage) => Err(contents.refusal(store, damage)),
            None => Ok(Err(not_kept(store, epoch, &known))),
        };
    };
    let mut left = VecDeque::new();
    for (epoch, attempt) in contents.chain.iter().copied().skip_while(|it| it.0 > at) {
        let is_snapshot = contents.snapshots.contains(&(epoch, attempt));
        let kind = if is_snapshot { FileKind::Snapshot } else { FileKind::Deltas };
        left.push_back(StateFile { epoch, attempt, kind });
        if is_snapshot {
            break;
        }
    }
    Ok(Ok(Files { store: store.clone(), epoch: at, known, left }))
}

fn not_kept(store: &Store, epoch: Option<u64>, known: &BTreeSet<u64>) -> Error {
    let found = epoch.map_or_else(|| "no epoch".to_owned(), |it| format!("epoch {it}"));
    let expected = match ranges(known).as_str() {
        "" => "one whose outcome is known; there is none".to_owned(),
        all => format!("one of {all}"),
    };
    Error::config(format!("found {found}, expected {expected}")).within(format!("checkpoint {}", store.location()))
}

/// `0-4, 7`: numbers are left out where the query went back.
fn ranges(known: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for epoch in known {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *epoch => *last = *epoch,
            _ => ranges.push((*epoch, *epoch)),
        }
    }
    let text = |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(text).collect::<Vec<_>>().join(", ")
}
