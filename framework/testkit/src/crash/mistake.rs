//! Mistakes for the matrix to catch, planted in the program, in the sinks, or on the disk between two lives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde_json::Value;
use tidegate_api::{
    AttemptId, CommitOutcome, DynSink, DynWriter, Epoch, Error, Guarantee, QueryId, Rejected, Result, SourcePosition,
    Staging, WriterId,
};
use tidegate_epoch::{EventTimes, OperatorDelta};

use super::log;

/// A way to get it wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// `commits/N` is written before the sinks commit.
    CommitLogFirst,
    /// The epoch changes state N-1 itself.
    StateInPlace,
    /// What a failed attempt did to the state stays.
    OverlayNotDiscarded,
    /// An epoch has effects though its ranges are not in the log.
    PlanNotLogged,
    /// After a restart the sink does not know what it has committed.
    SinkForgetsEpoch,
    /// After a restart the watermark begins anew.
    WatermarkLost,
    /// The state logged with an epoch is the one of another attempt than the sinks show.
    StateOfAnotherAttempt,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::CommitLogFirst,
        Self::StateInPlace,
        Self::OverlayNotDiscarded,
        Self::PlanNotLogged,
        Self::SinkForgetsEpoch,
        Self::WatermarkLost,
        Self::StateOfAnotherAttempt,
    ];
}

type Deltas = Vec<OperatorDelta>;

/// What a mistake remembers from life to life, as a wrong disk would.
#[derive(Clone, Default)]
pub(super) struct Memory {
    first_deltas: Arc<Mutex<BTreeMap<u64, Deltas>>>,
}

/// The mistake, if any, in the program of one life.
pub(super) struct Planted {
    mistake: Option<Mistake>,
    memory: Memory,
    delta: Option<Deltas>,
    watermark_ms: i64,
    late_ms: i64,
}

impl Planted {
    pub(super) fn new(mistake: Option<Mistake>, memory: Memory) -> Self {
        Self { mistake, memory, delta: None, watermark_ms: 0, late_ms: 0 }
    }

    pub(super) fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// The watermarks to go by: those of the log, or those that this life has come to by itself.
    pub(super) fn watermarks(&mut self, given: (i64, i64), times: &EventTimes, delay_ms: i64) -> (i64, i64) {
        if !self.is(Mistake::WatermarkLost) {
            return given;
        }
        let own = (self.late_ms, self.watermark_ms);
        self.late_ms = self.watermark_ms;
        if times.count > 0 {
            self.watermark_ms = self.watermark_ms.max(times.max_ms - delay_ms);
        }
        own
    }

    /// An attempt has run and changed the state like this.
    pub(super) fn ran(&mut self, epoch: u64, delta: Deltas) {
        match self.mistake {
            Some(Mistake::StateInPlace) => self.delta = Some(delta),
            Some(Mistake::StateOfAnotherAttempt) => {
                let mut first = lock(&self.memory.first_deltas);
                self.delta = Some(first.entry(epoch).or_insert(delta).clone());
            }
            _ => {}
        }
    }

    /// The delta to be logged, if it is not the state's own.
    pub(super) fn delta(&self) -> Option<Deltas> {
        self.delta.clone()
    }
}

/// What a crash takes with it, if the log was never written.
pub(super) fn before_restart(mistake: Option<Mistake>, checkpoint: &Path) -> Result<()> {
    if mistake == Some(Mistake::PlanNotLogged) { log::forget_pending(checkpoint) } else { Ok(()) }
}

/// The sink with the mistake, if it is one of a sink.
pub(super) fn wrapped(
    mistake: Option<Mistake>,
    sink: Box<dyn DynSink>,
    checkpoint: &Path,
    life: usize,
) -> Box<dyn DynSink> {
    match mistake {
        Some(mistake @ (Mistake::CommitLogFirst | Mistake::SinkForgetsEpoch)) => {
            Box::new(WrongSink { sink, mistake, checkpoint: checkpoint.to_owned(), life })
        }
        _ => sink,
    }
}

struct WrongSink {
    sink: Box<dyn DynSink>,
    mistake: Mistake,
    checkpoint: PathBuf,
    life: usize,
}

struct WrongWriter {
    writer: Box<dyn DynWriter>,
    /// Where `commits/N` is written too early.
    commit: Option<(PathBuf, u64)>,
}

#[async_trait]
impl DynWriter for WrongWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        self.writer.write(batch).await
    }
    async fn prepare(self: Box<Self>) -> Result<Value> {
        let part = self.writer.prepare().await?;
        if let Some((checkpoint, epoch)) = self.commit {
            log::write_commit(&checkpoint, epoch)?;
        }
        Ok(part)
    }
}

#[async_trait]
impl DynSink for WrongSink {
    fn guarantee(&self) -> Guarantee {
        self.sink.guarantee()
    }
    fn staging(&self) -> Staging {
        self.sink.staging()
    }
    fn best_effort(&self) -> bool {
        self.sink.best_effort()
    }
    fn commit_group(&self) -> Option<String> {
        self.sink.commit_group()
    }
    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        let mut writer = writer.clone();
        if self.mistake == Mistake::SinkForgetsEpoch {
            writer.query_id = QueryId(format!("{}-{}", writer.query_id, self.life).into());
        }
        self.sink.open(&writer).await
    }
    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<Box<dyn DynWriter>> {
        let early = self.mistake == Mistake::CommitLogFirst;
        let commit = early.then(|| (self.checkpoint.clone(), epoch.number));
        Ok(Box::new(WrongWriter { writer: self.sink.writer(epoch, task).await?, commit }))
    }
    async fn commit(&self, epoch: &Epoch, parts: Vec<Value>, positions: &[SourcePosition]) -> Result<CommitOutcome> {
        self.sink.commit(epoch, parts, positions).await
    }
    async fn abort(&self, epoch: &Epoch, parts: Vec<Value>) -> Result<()> {
        self.sink.abort(epoch, parts).await
    }
    async fn restore(&mut self, through: Option<u64>) -> Result<bool> {
        self.sink.restore(through).await
    }
    async fn maintain(&self, budget: Duration) -> Result<()> {
        self.sink.maintain(budget).await
    }
    fn describe(&self) -> String {
        self.sink.describe()
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file operation of the harness that failed.
pub(super) fn disk(path: &Path, error: std::io::Error) -> Error {
    Error::internal(format!("crash matrix: {}", path.display())).because(error)
}
