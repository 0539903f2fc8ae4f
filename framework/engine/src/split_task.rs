//! One split of a source, from bytes to the rows of stages and sinks: read, decode, run the pieces that read it, chunk by chunk.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use tidegate_api::{BatchStream, Error, Result};
use tokio::sync::mpsc;

use crate::decode::{RowDecoder, Undecoded};
use crate::exec::{LeafId, RunInput, Runner, Statics, TimesSeen, Wanted};
use crate::late::LateRows;
use crate::operators::merge_with;

/// Rows of one stage are shrunk, where it can, when there are more than this, so that a long epoch with few keys stays small.
const SHRINK_ABOVE_ROWS: usize = 1 << 17;

/// They are shrunk again when there are so many times as many as the last time left: rows of ever new keys do not become fewer,
/// and would be gone through with each chunk.
const SHRINK_AGAIN: usize = 4;

/// Chunks that a split may be ahead of the sinks.
pub(crate) const CHUNKS_AHEAD: usize = 4;

/// What leaves a split before it ends.
pub(crate) enum SplitRows {
    /// Rows for a sink.
    Sink(usize, RecordBatch),
    /// Records that could not be decoded.
    Undecoded(Undecoded),
}

/// Where rows enter a stage: its index and the port.
pub(crate) type StagePort = (usize, usize);

/// A plan that makes rows for a stage.
pub(crate) struct ToStage {
    pub(crate) port: StagePort,
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// Makes fewer rows of what the plan made.
    pub(crate) shrink: Option<Arc<dyn ExecutionPlan>>,
    pub(crate) wanted: Wanted,
}

/// A plan that makes rows for a sink.
pub(crate) struct ToSink {
    pub(crate) sink: usize,
    pub(crate) plan: Arc<dyn ExecutionPlan>,
}

/// A plan that makes the rows of which a stage drops some.
pub(crate) struct ToLate {
    /// The sinks that want them.
    pub(crate) sinks: Vec<usize>,
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) rows: Arc<LateRows>,
    /// What it drops, each in a run of its own.
    pub(crate) wanted: Vec<Wanted>,
}

impl ToLate {
    /// What is dropped of `input`, for each sink that wants it.
    pub(crate) async fn made(&self, runner: &Runner, input: RunInput) -> Result<Vec<(usize, RecordBatch)>> {
        let wanted = input.wanted;
        let mut made = Vec::new();
        for rows in runner.run(&self.plan, input).await? {
            let Some(late) = self.rows.shown(&rows, wanted)? else { continue };
            made.extend(self.sinks.iter().map(|sink| (*sink, late.clone())));
        }
        Ok(made)
    }
}

/// What the rows of a leaf run through.
#[derive(Default)]
pub(crate) struct Readers {
    pub(crate) to_stages: Vec<ToStage>,
    pub(crate) to_sinks: Vec<ToSink>,
    pub(crate) to_late: Vec<ToLate>,
    /// What is run for the event times that it meets.
    pub(crate) observers: Vec<Arc<dyn ExecutionPlan>>,
}

/// The rows of a split for one stage, so far.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) rows: Vec<RecordBatch>,
    /// How many there were when they had been shrunk.
    shrunk: usize,
}

impl Kept {
    async fn add(
        &mut self,
        rows: Vec<RecordBatch>,
        shrink: Option<&Arc<dyn ExecutionPlan>>,
        runner: &Runner,
    ) -> Result<()> {
        self.rows.extend(rows);
        let Some(shrink) = shrink else { return Ok(()) };
        if self.rows.len() > 1 && self.count() > SHRINK_ABOVE_ROWS.max(self.shrunk.saturating_mul(SHRINK_AGAIN)) {
            self.rows = merge_with(shrink, runner, std::mem::take(&mut self.rows)).await?;
            self.shrunk = self.count();
        }
        Ok(())
    }

    fn count(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }
}

/// What a split came to.
pub(crate) struct SplitResult {
    /// Rows for stages.
    pub(crate) partials: BTreeMap<StagePort, Kept>,
    /// Rows read.
    pub(crate) rows: u64,
}

/// One split on its way.
pub(crate) struct SplitTask {
    pub(crate) rows: BatchStream,
    pub(crate) decoder: RowDecoder,
    pub(crate) run: SplitRun,
}

/// What a split runs with.
pub(crate) struct SplitRun {
    pub(crate) leaf: LeafId,
    pub(crate) readers: Readers,
    pub(crate) runner: Runner,
    pub(crate) statics: Statics,
    pub(crate) times: Arc<TimesSeen>,
    pub(crate) sinks: mpsc::Sender<SplitRows>,
}

impl SplitTask {
    pub(crate) async fn run(mut self) -> Result<SplitResult> {
        let mut result = SplitResult { partials: BTreeMap::new(), rows: 0 };
        while let Some(batch) = self.rows.try_next().await? {
            result.rows += batch.num_rows() as u64;
            let (chunk, undecoded) = self.decoder.decode_rows(&batch)?;
            drop(batch);
            if let Some(undecoded) = undecoded {
                self.run.send(SplitRows::Undecoded(undecoded)).await?;
            }
            for plan in &self.run.readers.observers {
                self.run.runner.run(plan, self.run.input(chunk.clone(), Wanted::All)).await?;
            }
            self.run.to_stages(&chunk, &mut result).await?;
            self.run.to_late(&chunk).await?;
            self.run.to_sinks(chunk).await?;
        }
        Ok(result)
    }
}

impl SplitRun {
    async fn to_stages(&self, chunk: &RecordBatch, result: &mut SplitResult) -> Result<()> {
        for ToStage { port, plan, shrink, wanted } in &self.readers.to_stages {
            let partial = self.runner.run(plan, self.input(chunk.clone(), *wanted)).await?;
            result.partials.entry(*port).or_default().add(partial, shrink.as_ref(), &self.runner).await?;
        }
        Ok(())
    }

    async fn to_late(&self, chunk: &RecordBatch) -> Result<()> {
        for late in &self.readers.to_late {
            for wanted in &late.wanted {
                for (sink, rows) in late.made(&self.runner, self.input(chunk.clone(), *wanted)).await? {
                    self.send(SplitRows::Sink(sink, rows)).await?;
                }
            }
        }
        Ok(())
    }

    async fn to_sinks(&self, chunk: RecordBatch) -> Result<()> {
        for ToSink { sink, plan } in &self.readers.to_sinks {
            for rows in self.runner.run(plan, self.input(chunk.clone(), Wanted::All)).await? {
                self.send(SplitRows::Sink(*sink, rows)).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, rows: SplitRows) -> Result<()> {
        self.sinks.send(rows).await.map_err(|_| Error::internal("the epoch ended before its splits"))
    }

    fn input(&self, chunk: RecordBatch, wanted: Wanted) -> RunInput {
        let (statics, times) = (self.statics.clone(), self.times.clone());
        RunInput { leaf: self.leaf, rows: vec![chunk], statics, times, wanted }
    }
}
