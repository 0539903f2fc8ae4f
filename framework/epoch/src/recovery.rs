//! What a start finds: the newest epoch, whether it is decided and by which attempt, and the state before it.
//!
//! Epoch N is decided if record N+1 says so (then N is not the newest), if its snapshot exists, if `commits/N` is there
//! and whole, or if every sink that counts says that it shows N.

use std::collections::BTreeSet;

use tidegate_api::{AttemptId, Error, Result};

use crate::checkpoint::Checkpoint;
use crate::log::{Commit, Record};
use crate::program::{OperatorDelta, OperatorSnapshot, Program};
use crate::sink_task::SinkStands;
use crate::state::decode_deltas;

/// The state after an epoch: a snapshot and the records since.
#[derive(Default)]
pub(crate) struct Chain {
    snapshot: Vec<OperatorSnapshot>,
    /// Oldest first, each with its state delta.
    records: Vec<(Record, Vec<u8>)>,
}

impl Chain {
    /// Reads the state after `last`; nothing, before the first epoch, is the empty state.
    pub(crate) async fn read(checkpoint: &Checkpoint, last: Option<&Commit>) -> Result<Self> {
        let mut chain = Self::default();
        let Some(last) = last else { return Ok(chain) };
        let snapshots = checkpoint.snapshots.list().await?;
        let mut next = Some((last.epoch, last.attempt));
        while let Some((epoch, attempt)) = next {
            if snapshots.contains(&(epoch, attempt)) {
                chain.snapshot = checkpoint.snapshots.read(epoch, attempt).await?;
                break;
            }
            let (record, delta) = checkpoint.wal.read(epoch, attempt).await?;
            next = match &record.commit {
                Some(it) if it.epoch.checked_add(1) == Some(epoch) => Some((it.epoch, it.attempt)),
                None if epoch == 0 => None,
                _ => return Err(Error::config(format!("record {epoch}.{attempt} does not follow epoch before it"))),
            };
            chain.records.push((record, delta));
        }
        chain.records.reverse();
        Ok(chain)
    }

    /// Appends the record of the epoch after it.
    pub(crate) fn push(&mut self, record: Record, delta: Vec<u8>) {
        self.records.push((record, delta));
    }

    /// The records since the snapshot.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().map(|(record, _)| record)
    }

    /// Epochs and bytes of deltas since the snapshot.
    pub(crate) fn weight(&self) -> (u64, u64) {
        (self.records.len() as u64, self.records.iter().map(|(_, delta)| delta.len() as u64).sum())
    }

    /// Sets the program's state.
    pub(crate) fn restore(self, program: &mut dyn Program) -> Result<()> {
        let decode = |(record, delta): (Record, Vec<u8>)| {
            decode_deltas(&delta).map_err(|e| e.within(format!("state delta of epoch {}", record.epoch())))
        };
        let deltas: Vec<Vec<OperatorDelta>> = self.records.into_iter().map(decode).collect::<Result<_>>()?;
        program.restore(self.snapshot, deltas)
    }
}

/// The newest epoch of a checkpoint, as its files show it.
pub(crate) struct Newest {
    /// The newest attempt: what it planned is what any attempt at this epoch runs.
    pub(crate) record: Record,
    attempts: BTreeSet<AttemptId>,
    /// The attempt that a snapshot is of.
    snapshot: Option<AttemptId>,
    committed: bool,
}

impl Newest {
    /// Reads the newest record; nothing if no epoch has been logged.
    pub(crate) async fn read(checkpoint: &Checkpoint) -> Result<Option<Self>> {
        let attempts = checkpoint.wal.attempts().await?;
        let snapshots = checkpoint.snapshots.epochs().await?;
        let newest = attempts.last_key_value().map(|(epoch, _)| *epoch);
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
        let Some((epoch, attempts)) = attempts.into_iter().next_back() else { return Ok(None) };
        let latest = attempts.last().copied().ok_or_else(|| Error::internal("an epoch without attempts"))?;
        let (record, _) = checkpoint.wal.read(epoch, latest).await?;
        let snapshot = match snapshots.last() {
            Some(it) if *it == epoch => Some(checkpoint.snapshots.attempt(epoch).await?),
            _ => None,
        };
        Ok(Some(Self { record, attempts, snapshot, committed: checkpoint.spark.is_committed(epoch).await? }))
    }

    /// The state before the epoch; nothing if a snapshot of it makes the question idle, since older records may be gone.
    pub(crate) async fn state_before(&self, checkpoint: &Checkpoint) -> Result<Option<Chain>> {
        match self.snapshot {
            Some(_) => Ok(None),
            None => Chain::read(checkpoint, self.record.commit.as_ref()).await.map(Some),
        }
    }

    /// The chosen attempt if the epoch is decided, nothing if it is pending.
    ///
    /// # Errors
    /// `Config` if a sink shows what this log does not know.
    pub(crate) fn verdict(&self, sinks: &[SinkStands]) -> Result<Option<AttemptId>> {
        let epoch = self.record.epoch();
        let mut named: Option<AttemptId> = None;
        let mut all = true;
        for sink in sinks.iter().filter(|it| !it.best_effort) {
            refuse_ahead(sink, Some(epoch))?;
            match sink.committed {
                Some((shown, attempt)) if shown == epoch => {
                    if !self.attempts.contains(&attempt) {
                        return Err(Error::config(format!(
                            "sink {} shows epoch {epoch} of attempt {attempt}, which has no record here: the checkpoint \
                             was restored or belongs to another run",
                            sink.name
                        )));
                    }
                    // As at commit: of several attempts the first.
                    named = Some(named.map_or(attempt, |it| it.min(attempt)));
                }
                _ => all = false,
            }
        }
        let decided = self.snapshot.is_some() || self.committed || (all && named.is_some());
        Ok(decided.then(|| self.snapshot.or(named).unwrap_or(self.record.attempt)))
    }
}

/// Refuses a sink that shows a later epoch than the log's newest: the checkpoint was restored or rewound.
pub(crate) fn refuse_ahead(sink: &SinkStands, newest: Option<u64>) -> Result<()> {
    match sink.committed {
        Some((shown, _)) if !sink.best_effort && newest.is_none_or(|it| shown > it) => {
            let newest = newest.map_or("none".to_owned(), |it| it.to_string());
            Err(Error::config(format!(
                "sink {} shows epoch {shown}, the newest in the checkpoint is {newest}: the checkpoint was restored or \
                 rewound, and going on would write epochs twice",
                sink.name
            )))
        }
        _ => Ok(()),
    }
}

pub(crate) fn about(checkpoint: &Checkpoint) -> String {
    format!("checkpoint {}", checkpoint.location())
}

#[cfg(test)]
mod tests;
