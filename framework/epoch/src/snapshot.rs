//! Snapshots of the state, written in the background, and the purge of what they make unneeded.
//!
//! R = latest - `min.epochs.to.retain` is the oldest epoch that can be gone back to. Kept are the newest snapshot at or
//! before R and all records from there on; the rest goes, log entries first.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{AttemptId, Error, ErrorKind, Ownership as _, Result};
use tokio::task::JoinHandle;

use crate::checkpoint::Checkpoint;
use crate::fault::Point;
use crate::log::branch::Branches;
use crate::log::frame::{self, Kind};
use crate::log::spark::SparkLogs;
use crate::log::wal::Wal;
use crate::log::{Commit, SourceRange};
use crate::owner::Owner;
use crate::program::OperatorSnapshot;
use crate::stage::FOLDER as STAGED;
use crate::state::{decode_snapshot, encode_snapshot};
use crate::store::{Marks, Store, blocking};

/// A snapshot costs its size: one is taken when the deltas since the last outweigh it, or after this many epochs.
const MOST_EPOCHS: u64 = 1000;

/// Files that a purge removes before it looks again whether it still may.
const BETWEEN_CHECKS: usize = 16;

pub(crate) const FOLDER: &str = "state/snapshots";

fn key(epoch: u64, attempt: AttemptId) -> String {
    format!("{FOLDER}/{epoch}.{attempt}")
}

/// The epoch and attempt of a snapshot, by the name of its file.
pub(crate) fn parse_name(name: &str) -> Option<(u64, AttemptId)> {
    let (epoch, attempt) = name.split_once('.')?;
    Some((epoch.parse().ok()?, attempt.parse().ok()?))
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

    /// The epochs and attempts that have one, in order. There may be two of an epoch: of an old owner, and of the one that
    /// took over.
    pub(crate) async fn list(&self) -> Result<Vec<(u64, AttemptId)>> {
        let names = self.store.list(FOLDER).await?;
        let mut found: Vec<_> = names.iter().filter_map(|it| parse_name(it)).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// The epochs that have one, in order.
    pub(crate) async fn epochs(&self) -> Result<Vec<u64>> {
        let mut epochs: Vec<u64> = self.list().await?.into_iter().map(|(epoch, _)| epoch).collect();
        epochs.dedup();
        Ok(epochs)
    }

    /// A whole snapshot; an error names the file.
    pub(crate) async fn read(&self, epoch: u64, attempt: AttemptId) -> Result<Vec<OperatorSnapshot>> {
        let (bytes, at) = self.read_bytes(epoch, attempt).await?;
        let body = bytes.get(at).unwrap_or_default();
        decode_snapshot(body).map_err(|e| e.within(self.name(epoch, attempt)))
    }

    /// The bytes of a snapshot's file, checked, and where in them the state is; an error names the file.
    pub(crate) async fn read_bytes(&self, epoch: u64, attempt: AttemptId) -> Result<(Vec<u8>, Range<usize>)> {
        let named = |e: Error| e.within(self.name(epoch, attempt));
        let missing = || Error::config(format!("{} is missing", self.name(epoch, attempt)));
        let bytes = self.store.read(&key(epoch, attempt)).await?.ok_or_else(missing)?;
        let (header, body) = blocking(|| open(&bytes)).map_err(named)?;
        if (header.epoch, header.attempt) != (epoch, attempt) {
            let found = format!("the file is damaged: it holds epoch {}, attempt {}", header.epoch, header.attempt);
            return Err(named(Error::config(found)));
        }
        // It is the last section.
        let at = bytes.len().saturating_sub(body.len())..bytes.len();
        Ok((bytes, at))
    }

    /// The name of its file in messages.
    pub(crate) fn name(&self, epoch: u64, attempt: AttemptId) -> String {
        self.store.name(&key(epoch, attempt))
    }

    /// The attempt that a snapshot is of, of several the first. Reads its file back and compares the checksum; to decode it would
    /// double the memory of the state.
    pub(crate) async fn attempt(&self, epoch: u64) -> Result<AttemptId> {
        let found = self.list().await?.into_iter().find(|(it, _)| *it == epoch);
        let missing = || Error::config(format!("{}/{epoch} is missing", self.store.name(FOLDER)));
        let (_, attempt) = found.ok_or_else(missing)?;
        self.read_bytes(epoch, attempt).await.map(|_| attempt)
    }

    /// Gives snapshots of version 1 their new names.
    pub(crate) async fn rename_old(&self) -> Result<()> {
        for epoch in self.store.list_numbers(FOLDER).await? {
            let old = format!("{FOLDER}/{epoch}");
            let Some(bytes) = self.store.read(&old).await? else { continue };
            let (header, _) = open(&bytes).map_err(|e| e.within(self.store.name(&old)))?;
            self.store.create_new(&key(epoch, header.attempt), &bytes).await?;
            self.store.remove(&old).await?;
        }
        Ok(())
    }

    async fn write(&self, of: &Commit, state: &[OperatorSnapshot]) -> Result<u64> {
        let body = blocking(|| encode_snapshot(state))?;
        let header = serde_json::to_vec(&Header { epoch: of.epoch, attempt: of.attempt });
        let header = header.map_err(|e| Error::internal("snapshot").because(e))?;
        let sections: [&[u8]; 2] = [&header, &body];
        let heads = blocking(|| frame::Heads::new(Kind::Snapshot, &sections));
        let marks = Marks {
            epoch: of.epoch,
            write: Some(Point::SnapshotWrite),
            rename: Some(Point::SnapshotRename),
            ..Marks::NONE
        };
        self.store.write(&key(of.epoch, of.attempt), &heads.with(&sections), &marks).await?;
        Ok(body.len() as u64)
    }

    /// The files of epochs before `oldest`.
    async fn before(&self, oldest: u64) -> Result<Vec<String>> {
        let old = self.list().await?.into_iter().filter(|(epoch, _)| *epoch < oldest);
        Ok(old.map(|(epoch, attempt)| key(epoch, attempt)).collect())
    }
}

/// The header of a snapshot and its state, checked.
fn open(bytes: &[u8]) -> Result<(Header, &[u8])> {
    let (header, body) = frame::open_two(Kind::Snapshot, bytes)?;
    let damaged = |e| Error::config("the file is damaged: its header does not parse").because(e);
    Ok((serde_json::from_slice(header).map_err(damaged)?, body))
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
    branches: Branches,
    owner: Arc<Owner>,
    retain: u64,
}

impl Job {
    async fn run(&self, of: &Commit, state: Vec<OperatorSnapshot>) -> Result<Done> {
        if self.files.store.is_remote() {
            // There they would cost two requests an epoch.
            let (record, _) = self.wal.read(of.epoch, of.attempt).await?;
            self.spark.complete(std::iter::once(&record)).await?;
        }
        self.owner.check().await?;
        let bytes = self.files.write(of, &state).await?;
        // It holds on to chunks that the state may have given up since.
        blocking(|| drop(state));
        Ok(Done { bytes, oldest: self.purge(of.epoch).await? })
    }

    /// Removes what nothing needs, once the snapshot that replaces it has been read back.
    async fn purge(&self, latest: u64) -> Result<Option<Vec<SourceRange>>> {
        let Some(restorable) = latest.checked_sub(self.retain) else { return Ok(None) };
        let snapshots = self.files.epochs().await?;
        // A snapshot that was left by going back has no part in the state.
        let left = self.branches.left().await?;
        let is_kept = |it: &u64| *it <= restorable && !left.iter().any(|left| left.contains(it));
        let Some(oldest) = snapshots.iter().copied().rfind(is_kept) else { return Ok(None) };
        let attempt = self.files.attempt(oldest).await?;
        let (record, _) = self.wal.read(oldest, attempt).await?;
        let faults = &self.files.store.faults;
        faults.hit(Point::Purge, latest)?;
        self.remove(self.spark.before(oldest).await?).await?;
        self.remove(self.wal.before(oldest).await?).await?;
        self.remove(self.staged_before(oldest).await?).await?;
        self.remove(self.branches.before(oldest).await?).await?;
        faults.hit(Point::Purge, latest)?;
        self.remove(self.files.before(oldest).await?).await?;
        Ok(Some(record.plan.sources))
    }

    /// Removes files, a few at a time, as long as this is the owner: who took over may have gone back.
    async fn remove(&self, keys: Vec<String>) -> Result<()> {
        for few in keys.chunks(BETWEEN_CHECKS) {
            self.owner.check().await?;
            for key in few {
                self.files.store.remove(key).await?;
            }
        }
        Ok(())
    }

    /// Staged rows of attempts that were never decided, or whose removal failed.
    async fn staged_before(&self, oldest: u64) -> Result<Vec<String>> {
        let names = self.files.store.list(STAGED).await?;
        let is_old =
            |it: &String| it.split('.').next().and_then(|it| it.parse().ok()).is_some_and(|it: u64| it < oldest);
        Ok(names.into_iter().filter(is_old).map(|it| format!("{STAGED}/{it}")).collect())
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
            branches: checkpoint.branches.clone(),
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
        self.running = Some(tokio::spawn(async move { job.run(&of, state).await }));
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
