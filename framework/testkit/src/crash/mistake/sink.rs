//! A sink that gets something wrong between the loop and the true sink.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde_json::Value;
use tidegate_api::{
    AttemptId, Clock, CommitOutcome, DynSink, DynWriter, Epoch, Guarantee, QueryId, Rejected, Result, SourcePosition,
    Staging, WriterId,
};

use super::Mistake;
use crate::clock::ManualClock;
use crate::crash::log::Files;

/// Where a sink stands in its case.
pub(crate) struct Place {
    pub(crate) files: Files,
    pub(crate) life: usize,
    pub(crate) clock: Arc<ManualClock>,
}

pub(super) struct WrongSink {
    sink: Box<dyn DynSink>,
    mistake: Mistake,
    place: Place,
}

impl WrongSink {
    pub(super) fn new(sink: Box<dyn DynSink>, mistake: Mistake, place: Place) -> Self {
        Self { sink, mistake, place }
    }

    fn epoch(&self, epoch: &Epoch) -> Epoch {
        let mut epoch = epoch.clone();
        if self.mistake == Mistake::WriteTimeOfTheClock {
            epoch.write_time_us = self.place.clock.now_ms() * 1000;
        }
        epoch
    }
}

struct WrongWriter {
    writer: Box<dyn DynWriter>,
    /// Where `commits/N` is written too early.
    commit: Option<(Files, u64)>,
}

#[async_trait]
impl DynWriter for WrongWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        self.writer.write(batch).await
    }
    fn is_shown(&self) -> bool {
        self.writer.is_shown()
    }
    async fn prepare(self: Box<Self>) -> Result<Value> {
        let part = self.writer.prepare().await?;
        if let Some((files, epoch)) = self.commit {
            files.write_commit(epoch).await?;
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
        match self.mistake {
            Mistake::SinkForgetsEpoch => {
                writer.query_id = QueryId(format!("{}-{}", writer.query_id, self.place.life).into());
            }
            Mistake::OneIdentity => writer.sink = "sink".into(),
            _ => {}
        }
        let committed = self.sink.open(&writer).await?;
        // What it shows would keep the numbers from being used again.
        Ok(committed.filter(|_| self.mistake != Mistake::NumberReused))
    }
    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<Box<dyn DynWriter>> {
        let early = self.mistake == Mistake::CommitLogFirst;
        let commit = early.then(|| (self.place.files.clone(), epoch.number));
        Ok(Box::new(WrongWriter { writer: self.sink.writer(&self.epoch(epoch), task).await?, commit }))
    }
    async fn commit(&self, epoch: &Epoch, parts: Vec<Value>, positions: &[SourcePosition]) -> Result<CommitOutcome> {
        self.sink.commit(&self.epoch(epoch), parts, positions).await
    }
    async fn abort(&self, epoch: &Epoch, parts: Vec<Value>) -> Result<()> {
        self.sink.abort(epoch, parts).await
    }
    async fn check_restore(&self, through: Option<u64>) -> Result<()> {
        self.sink.check_restore(through).await
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
