//! What a start finds: the newest epoch, whether it is decided and by which attempt ([`newest`]), and the state before it.

mod newest;

use tidegate_api::{AttemptId, Error, Result};
use tokio::task::JoinHandle;

use crate::ahead::ahead;
use crate::checkpoint::Checkpoint;
use crate::log::{Commit, Record};
use crate::program::{OperatorSnapshot, Program};
use crate::sink_task::SinkStands;
use crate::snapshot::SnapshotFiles;
use crate::state::decode_deltas;

pub(crate) use newest::{Newest, Verdict};

/// The state after an epoch: a snapshot and the records since.
#[derive(Clone, Default)]
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
        let likely = Likely::begin(&checkpoint.snapshots, snapshots.iter().rev().find(|it| Some(**it) <= next));
        while let Some((epoch, attempt)) = next {
            if snapshots.contains(&(epoch, attempt)) {
                chain.snapshot = likely.take((epoch, attempt)).await?;
                break;
            }
            let (record, delta) = checkpoint.wal.read(epoch, attempt).await?;
            let follows = match &record.commit {
                Some(it) if it.epoch.checked_add(1) == Some(epoch) => true,
                None if epoch == 0 => true,
                base => checkpoint.branches.read(epoch).await?.is_some_and(|it| it.base == *base),
            };
            if !follows {
                let text = format!("record {epoch}.{attempt} follows neither the epoch before it nor a branch");
                return Err(Error::config(text));
            }
            next = record.commit.as_ref().map(|it| (it.epoch, it.attempt));
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
    pub(crate) fn restore(&self, program: &mut dyn Program) -> Result<()> {
        let decode = |(record, delta): &(Record, Vec<u8>)| {
            decode_deltas(delta).map_err(|e| e.within(format!("state delta of epoch {}", record.epoch())))
        };
        let snapshot = self.snapshot.clone();
        ahead(self.records.iter().map(decode), |deltas| program.restore(snapshot, deltas))
    }
}

/// The snapshot that is read while the records after it are: of those at or before the epoch the newest, which is the one but
/// where an old owner or another branch left it.
struct Likely {
    files: SnapshotFiles,
    read: Option<(Snapshot, JoinHandle<Result<Vec<OperatorSnapshot>>>)>,
}

type Snapshot = (u64, AttemptId);

impl Likely {
    fn begin(files: &SnapshotFiles, of: Option<&Snapshot>) -> Self {
        let read = of.copied().map(|(epoch, attempt)| {
            let files = files.clone();
            ((epoch, attempt), tokio::spawn(async move { files.read(epoch, attempt).await }))
        });
        Self { files: files.clone(), read }
    }

    async fn take(self, (epoch, attempt): Snapshot) -> Result<Vec<OperatorSnapshot>> {
        match self.read {
            Some((of, read)) if of == (epoch, attempt) => {
                read.await.map_err(|e| Error::internal("the reading of a snapshot broke off").because(e))?
            }
            _ => self.files.read(epoch, attempt).await,
        }
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
