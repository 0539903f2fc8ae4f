//! The newest epoch of a checkpoint, and what is to be done with it.
//!
//! Epoch N is decided if record N+1 says so (then N is not the newest), if its snapshot exists, if `commits/N` is there
//! and whole, or if every sink that counts says that it shows N. Else it is pending: it is committed from what its
//! record stages, or runs again by its plan.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_api::{AttemptId, Error, Result};

use super::{Chain, about, refuse_ahead};
use crate::checkpoint::Checkpoint;
use crate::log::{Commit, Record};
use crate::sink_task::{SinkStands, parse_rejects_name};
use crate::stage;

/// What is to be done with the newest epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: it is this attempt's.
    Decided(AttemptId),
    /// The sinks get what this attempt's record stages.
    Staged(AttemptId),
    /// It runs again by the plan of this attempt.
    Pending(AttemptId),
}

/// The newest epoch of a checkpoint, as its files show it.
pub(crate) struct Newest {
    epoch: u64,
    attempts: BTreeSet<AttemptId>,
    latest: Record,
    /// Its state delta.
    delta: Vec<u8>,
    /// The whole records of earlier attempts.
    earlier: BTreeMap<AttemptId, Record>,
    /// The attempt that a snapshot is of.
    snapshot: Option<AttemptId>,
    committed: bool,
    /// A sink rejected rows of it. They may wait for a dead letter sink that the record does not name.
    rejects: bool,
}

impl Newest {
    /// Reads the newest record; nothing if no epoch has been logged.
    pub(crate) async fn read(checkpoint: &Checkpoint) -> Result<Option<Self>> {
        let logged = checkpoint.wal.attempts().await?;
        let snapshots = checkpoint.snapshots.epochs().await?;
        let newest = logged.last_key_value().map(|(epoch, _)| *epoch);
        for (what, found) in
            [("offsets or commits", checkpoint.spark.latest().await?), ("state/snapshots", snapshots.last().copied())]
        {
            if found > newest {
                let (found, newest) = (found.unwrap_or(0), newest.map_or("none".to_owned(), |it| it.to_string()));
                return Err(Error::config(format!(
                    "{} has epoch {found} in {what}, but the newest record in state/wal is {newest}: records were lost or \
                     taken back",
                    about(checkpoint)
                )));
            }
        }
        let Some((epoch, attempts)) = without_zombies(logged).pop_last() else { return Ok(None) };
        let mut down = attempts.iter().rev();
        let attempt = down.next().copied().ok_or_else(|| Error::internal("an epoch without attempts"))?;
        let (latest, delta) = checkpoint.wal.read(epoch, attempt).await?;
        let mut earlier = BTreeMap::new();
        for attempt in down {
            // One that is not whole is missed only if a sink shows it.
            if let Ok((record, _)) = checkpoint.wal.read(epoch, *attempt).await {
                earlier.insert(*attempt, record);
            }
        }
        let snapshot = match snapshots.last() {
            Some(it) if *it == epoch => Some(checkpoint.snapshots.attempt(epoch).await?),
            _ => None,
        };
        let committed = checkpoint.spark.is_committed(epoch).await?;
        let staged = checkpoint.store.list(stage::FOLDER).await?;
        let rejects = staged.iter().filter_map(|it| parse_rejects_name(it)).any(|it| it.0 == epoch);
        Ok(Some(Self { epoch, attempts, latest, delta, earlier, snapshot, committed, rejects }))
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The record of the newest attempt.
    pub(crate) fn record(&self) -> &Record {
        &self.latest
    }

    /// The state after the epoch by the newest attempt, if the one before it is `before`.
    pub(crate) async fn state_after(&self, checkpoint: &Checkpoint, before: Option<&Chain>) -> Result<Chain> {
        match (before, self.snapshot) {
            (Some(before), _) => {
                let mut chain = before.clone();
                chain.push(self.latest.clone(), self.delta.clone());
                Ok(chain)
            }
            (None, attempt) => {
                let attempt = attempt.unwrap_or(self.latest.attempt);
                let last = Commit { epoch: self.epoch, attempt, next_watermark_ms: None };
                Chain::read(checkpoint, Some(&last)).await
            }
        }
    }

    /// The state before the epoch; nothing if a snapshot of it makes the question idle, since older records may be gone.
    pub(crate) async fn state_before(&self, checkpoint: &Checkpoint) -> Result<Option<Chain>> {
        match self.snapshot {
            Some(_) => Ok(None),
            None => Chain::read(checkpoint, self.latest.commit.as_ref()).await.map(Some),
        }
    }

    /// What is to be done. `digest` is that of the query which starts.
    ///
    /// # Errors
    /// `Config` if a sink shows what this log does not know, or if some sinks show the epoch and this query would give
    /// others different rows.
    pub(crate) fn verdict(&self, sinks: &[SinkStands], digest: &str) -> Result<Verdict> {
        let shown = self.shown(sinks)?;
        let shown_by_all = shown.by_all && shown.first.is_some();
        let waits = shown_by_all
            && self.rejects
            && shown.first.and_then(|it| self.of(it)).is_some_and(|it| it.manifest.is_staged());
        let decided = self.snapshot.is_some() || self.committed || (shown_by_all && !waits);
        let attempt = self.snapshot.or(shown.first).unwrap_or_else(|| self.best());
        if decided {
            return Ok(Verdict::Decided(attempt));
        }
        let Some(record) = self.of(attempt) else { return Ok(Verdict::Pending(attempt)) };
        if record.manifest.is_staged() {
            return Ok(Verdict::Staged(attempt));
        }
        if shown.first.is_some() && record.plan.digest != digest {
            let epoch = self.epoch;
            return Err(Error::config(format!(
                "epoch {epoch} is half visible by a query that has changed, and its outputs were not staged: start it \
                 once with the old one"
            )));
        }
        Ok(Verdict::Pending(attempt))
    }

    fn of(&self, attempt: AttemptId) -> Option<&Record> {
        if attempt == self.latest.attempt { Some(&self.latest) } else { self.earlier.get(&attempt) }
    }

    /// The attempt to go by if no sink shows one.
    fn best(&self) -> AttemptId {
        let staged = self.earlier.values().rfind(|it| it.manifest.is_staged() && !self.latest.manifest.is_staged());
        staged.map_or(self.latest.attempt, |it| it.attempt)
    }

    fn shown(&self, sinks: &[SinkStands]) -> Result<Shown> {
        let epoch = self.epoch;
        let mut shown = Shown { first: None, by_all: true };
        for sink in sinks.iter().filter(|it| !it.best_effort) {
            refuse_ahead(sink, Some(epoch))?;
            match sink.committed {
                Some((at, attempt)) if at == epoch => {
                    if !self.attempts.contains(&attempt) {
                        return Err(Error::config(format!(
                            "sink {} shows epoch {epoch} of attempt {attempt}, which has no record here: the checkpoint \
                             was restored or belongs to another run",
                            sink.name
                        )));
                    }
                    // As at commit: of several attempts the first.
                    shown.first = Some(shown.first.map_or(attempt, |it: AttemptId| it.min(attempt)));
                }
                // A sink that is new in the query has no part in the epoch.
                _ if !self.has_part(&sink.name) => {}
                _ => shown.by_all = false,
            }
        }
        Ok(shown)
    }

    fn has_part(&self, sink: &str) -> bool {
        let known = &self.latest.manifest.sinks;
        known.is_empty() || known.iter().any(|it| **it == *sink)
    }
}

/// What the sinks say of the epoch.
struct Shown {
    /// The first attempt that one of them shows.
    first: Option<AttemptId>,
    /// All that count show it.
    by_all: bool,
}

/// An owner that was overtaken may yet write a record of the epoch after the one that its successor runs. It is told by
/// its generation, which is lower than one that tried the epoch before.
fn without_zombies(mut logged: BTreeMap<u64, BTreeSet<AttemptId>>) -> BTreeMap<u64, BTreeSet<AttemptId>> {
    while let Some((epoch, mut attempts)) = logged.pop_last() {
        let before = logged.last_key_value().filter(|(number, _)| **number + 1 == epoch);
        let least = before.and_then(|(_, tried)| tried.last()).map_or(0, |it| it.generation);
        attempts.retain(|it| it.generation >= least);
        if !attempts.is_empty() {
            logged.insert(epoch, attempts);
            break;
        }
        tracing::warn!(epoch, "left out: records that an overtaken owner wrote");
    }
    logged
}

#[cfg(test)]
mod tests;
