//! Snapshots of the state, written in the background, and the purge of what they make unneeded.
//!
//! R = latest - `min.epochs.to.retain` is the oldest epoch that can be gone back to. Kept are the newest snapshot at or
//! before R and all records from there on; the rest goes, log entries first.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{AttemptId, Error, ErrorKind, Ownership as _, Result};
use tokio::task::JoinHandle;

use crate::checkpoint::Checkpoint;
use crate::fault::Point;
use crate::log::frame::{self, Kind};
use crate::log::spark::SparkLogs;
use crate::log::wal::Wal;
use crate::log::{Commit, SourceRange};
use crate::owner::Owner;
use crate::program::OperatorSnapshot;
use crate::state::{decode_snapshot, encode_snapshot};
use crate::store::{Marks, Store, blocking};

/// A snapshot costs its size: one is taken when the deltas since the last outweigh it, or after this many epochs.
const MOST_EPOCHS: u64 = 1000;

const FOLDER: &str = "state/snapshots";

fn key(epoch: u64) -> String {
    format!("{FOLDER}/{epoch}")
}

#[derive(Serialize, Deserialize)]
struct Header {
    epoch: u64,
    attempt: AttemptId,
}

/// The folder of snapshots.
#[derive(Clone)]
pub(crate) struct SnapshotFiles {
    store: Arc<Store>,
}

impl SnapshotFiles {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// The epochs that have one, in order.
    pub(crate) async fn epochs(&self) -> Result<Vec<u64>> {
        self.store.list_numbers(FOLDER).await
    }

    /// A whole snapshot and the attempt that it is of; an error names the file.
    pub(crate) async fn read(&self, epoch: u64) -> Result<(AttemptId, Vec<OperatorSnapshot>)> {
        self.with_file(epoch, |attempt, body| Ok((attempt, decode_snapshot(body)?))).await
    }

    /// The attempt that a snapshot is of. Reads it back whole, without decoding it.
    pub(crate) async fn attempt(&self, epoch: u64) -> Result<AttemptId> {
        self.with_file(epoch, |attempt, _| Ok(attempt)).await
    }

    async fn with_file<T>(&self, epoch: u64, read: impl FnOnce(AttemptId, &[u8]) -> Result<T>) -> Result<T> {
        let key = key(epoch);
        let named = |e: Error| e.within(self.store.name(&key));
        let missing = || Error::config(format!("{} is missing", self.store.name(&key)));
        let bytes = self.store.read(&key).await?.ok_or_else(missing)?;
        let (header, body) = frame::open(Kind::Snapshot, &bytes).map_err(named)?;
        let damaged = |e| named(Error::config("the file is damaged: its header does not parse").because(e));
        let header: Header = serde_json::from_slice(header).map_err(damaged)?;
        if header.epoch != epoch {
            return Err(named(Error::config(format!("the file is damaged: it holds epoch {}", header.epoch))));
        }
        read(header.attempt, body).map_err(named)
    }

    async fn write(&self, of: &Commit, state: &[OperatorSnapshot]) -> Result<u64> {
        let body = blocking(|| encode_snapshot(state))?;
        let header = serde_json::to_vec(&Header { epoch: of.epoch, attempt: of.attempt });
        let header = header.map_err(|e| Error::internal("snapshot").because(e))?;
        let parts: [&[u8]; 5] =
            [&frame::start(Kind::Snapshot), &frame::prefix(&header), &header, &frame::prefix(&body), &body];
        let marks = Marks {
            epoch: of.epoch,
            write: Some(Point::SnapshotWrite),
            rename: Some(Point::SnapshotRename),
            ..Marks::NONE
        };
        self.store.write(&key(of.epoch), &parts, &marks).await?;
        Ok(body.len() as u64)
    }

    async fn purge(&self, oldest: u64) -> Result<()> {
        for epoch in self.epochs().await?.into_iter().filter(|it| *it < oldest) {
            self.store.remove(&key(epoch)).await?;
        }
        Ok(())
    }
}

/// What a background job did.
#[derive(Debug)]
pub(crate) struct Done {
    /// The size of the new snapshot.
    bytes: u64,
    /// Where the sources stood at the oldest epoch that can still be gone back to.
    pub(crate) oldest: Option<Vec<SourceRange>>,
}

/// What the job needs. It holds the ownership until it has ended.
struct Job {
    files: SnapshotFiles,
    wal: Wal,
    spark: SparkLogs,
    owner: Arc<Owner>,
    retain: u64,
}

impl Job {
    async fn run(&self, of: &Commit, state: &[OperatorSnapshot]) -> Result<Done> {
        self.owner.check().await?;
        let bytes = self.files.write(of, state).await?;
        Ok(Done { bytes, oldest: self.purge(of.epoch).await? })
    }

    /// Removes what nothing needs, once the snapshot that replaces it has been read back.
    async fn purge(&self, latest: u64) -> Result<Option<Vec<SourceRange>>> {
        let Some(restorable) = latest.checked_sub(self.retain) else { return Ok(None) };
        let snapshots = self.files.epochs().await?;
        let Some(oldest) = snapshots.iter().copied().rfind(|it| *it <= restorable) else { return Ok(None) };
        let attempt = self.files.attempt(oldest).await?;
        let (record, _) = self.wal.read(oldest, attempt).await?;
        self.owner.check().await?;
        self.files.store.faults.hit(Point::Purge, latest)?;
        self.spark.purge(oldest).await?;
        self.wal.purge(oldest).await?;
        self.files.store.faults.hit(Point::Purge, latest)?;
        self.files.purge(oldest).await?;
        Ok(Some(record.plan.sources))
    }
}

/// Decides when a snapshot is due, and owns the task that writes it.
pub(crate) struct Snapshots {
    job: Arc<Job>,
    running: Option<JoinHandle<Result<Done>>>,
    /// At least this many epochs lie between two snapshots.
    pub(crate) least_epochs: u64,
    epochs: u64,
    delta_bytes: u64,
    last_bytes: u64,
}

impl Snapshots {
    pub(crate) fn new(checkpoint: &Checkpoint, retain: u64) -> Self {
        let job = Job {
            files: checkpoint.snapshots.clone(),
            wal: checkpoint.wal.clone(),
            spark: checkpoint.spark.clone(),
            owner: checkpoint.owner.clone(),
            retain,
        };
        Self { job: Arc::new(job), running: None, least_epochs: 20, epochs: 0, delta_bytes: 0, last_bytes: 0 }
    }

    /// Counts epochs that have been decided.
    pub(crate) fn count(&mut self, epochs: u64, delta_bytes: u64) {
        self.epochs += epochs;
        self.delta_bytes += delta_bytes;
    }

    /// True if the next snapshot may begin.
    pub(crate) fn is_due(&self) -> bool {
        let outweighed = self.epochs >= self.least_epochs && self.delta_bytes >= self.last_bytes;
        self.running.is_none() && (outweighed || self.epochs >= MOST_EPOCHS)
    }

    /// Writes `state`, which is the state after `of`, in the background.
    pub(crate) fn begin(&mut self, of: Commit, state: Vec<OperatorSnapshot>) {
        (self.epochs, self.delta_bytes) = (0, 0);
        let job = self.job.clone();
        self.running = Some(tokio::spawn(async move { job.run(&of, &state).await }));
    }

    /// What the job did, if it has ended. A snapshot that failed is tried again later.
    pub(crate) async fn poll(&mut self) -> Result<Option<Done>> {
        if self.running.as_ref().is_some_and(JoinHandle::is_finished) { self.wait().await } else { Ok(None) }
    }

    /// Waits for the job, if one runs.
    pub(crate) async fn wait(&mut self) -> Result<Option<Done>> {
        let Some(running) = self.running.take() else { return Ok(None) };
        let ended = running.await.map_err(|e| Error::internal("the snapshot broke off").because(e))?;
        match ended {
            Ok(done) => {
                self.last_bytes = done.bytes;
                Ok(Some(done))
            }
            Err(e) if e.kind() == ErrorKind::Transient => {
                tracing::warn!(error = %e, "a snapshot or a purge failed; it is tried again later");
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}
