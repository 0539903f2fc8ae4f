//! The loop: one epoch after the other, each decided before the next begins.
//!
//! ```text
//! 1. plan ranges                                           plan.rs
//! 2. read, run operators: state goes into an overlay on state N-1
//! 3. writers take the rows
//! 4. record N durable: commit of N-1, plan N, manifest N, state delta N
//! 5. all sinks prepare; ownership is checked; all commit
//! 6. commits/N; seal: the overlay becomes state N          then snapshots, purges, maintenance: background.rs
//! ```
//! What fails before the first commit is discarded and run again by the same plan, as a new attempt. A commit that fails
//! is repeated with the same parts, and the epoch is not run again.

mod background;
mod parts;
mod plan;
mod recover;
mod run;

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{AttemptId, Clock, Epoch, Error, ErrorKind, Ownership as _, Result, SourcePosition};
use tokio::task::JoinSet;

use crate::checkpoint::Checkpoint;
use crate::fault::{Faults, Point};
use crate::handle::{QueryHandle, QueryListener};
use crate::log::{Commit, Plan, Record};
use crate::manifest::Manifest;
use crate::program::{EpochInput, EpochNumbers, Program};
use crate::progress::{QueryProgress, Timings};
use crate::recovery::Chain;
use crate::retry::Retry;
use crate::sink_task::{Prepared, Sinks};
use crate::snapshot::Snapshots;
use crate::source_task::Sources;
use crate::state::encode_deltas;
use crate::trigger::{Due, Turns};
use crate::watermark::Watermark;

pub use parts::{QueryParts, QuerySettings, Step};
pub use run::StopSignal;

/// Whether the loop may go on.
enum Life {
    New,
    Ready,
    /// A turn runs, or was dropped half-way.
    Busy,
    Failed(String),
}

/// A running query.
pub struct Query {
    program: Box<dyn Program>,
    sources: Sources,
    sinks: Sinks,
    settings: QuerySettings,
    clock: Arc<dyn Clock>,
    digest: String,
    listeners: Vec<QueryListener>,
    handle: QueryHandle,
    faults: Faults,
    retry: Retry,
    life: Life,
    turns: Turns,
    /// Available-now: the ends are fixed.
    frozen: bool,
    /// The outcome of the last decided epoch.
    commit: Option<Commit>,
    /// Its plan.
    last: Option<Plan>,
    /// The watermark after it.
    watermark: Watermark,
    triggered_ms: Option<i64>,
    told_ms: i64,
    maintenance: JoinSet<()>,
    snapshots: Snapshots,
    // Last: its lock must outlive all that writes.
    checkpoint: Checkpoint,
}

/// An attempt that is logged and prepared, and may be committed.
struct Ran {
    epoch: Epoch,
    record: Record,
    delta_bytes: u64,
    numbers: EpochNumbers,
    next: Watermark,
    prepared: Prepared,
}

impl Query {
    /// One turn of the trigger.
    ///
    /// # Errors
    /// Whatever stopped the epoch for good. The query is over then: start a new one on the same checkpoint.
    pub async fn step(&mut self) -> Result<Step> {
        self.check_ready()?;
        let now_ms = self.clock.now_ms();
        match self.turns.due(now_ms) {
            Due::Never => return Ok(Step::Ended),
            Due::At(until_ms) => return Ok(Step::Waiting { until_ms }),
            Due::Now => {}
        }
        self.life = Life::Busy;
        let result = Box::pin(self.turn(now_ms)).await;
        self.settle_life(result)
    }

    async fn turn(&mut self, now_ms: i64) -> Result<Step> {
        let mut timings = Timings::default();
        let began = self.clock.monotonic();
        self.turns.begin(now_ms);
        let planned = self.next_plan(&mut timings).await?;
        let ran = match planned {
            Some(plan) => Some(self.epoch(plan, now_ms, began, timings).await?),
            None => None,
        };
        self.end_turn(ran)
    }

    /// Runs a planned epoch until it is decided.
    async fn epoch(
        &mut self,
        plan: Plan,
        now_ms: i64,
        began: Duration,
        mut timings: Timings,
    ) -> Result<Box<QueryProgress>> {
        let message = if plan.has_data() { "Processing new data" } else { "No new data but cleaning up state" };
        self.handle.set_status(message, plan.has_data(), true);
        let synced = self.checkpoint.store.synced();
        let mut ran = self.attempts(&plan, &mut timings).await?;
        self.faults.hit(Point::Ownership, plan.epoch)?;
        self.checkpoint.owner.check().await?;
        let attempt = self.commit(&plan, &mut ran, &mut timings).await?;
        let decided = self.decide(&plan, ran, attempt, &mut timings).await?;
        self.after_epoch(&decided).await?;
        Ok(self.tell(&decided, now_ms, began, &timings, synced))
    }

    /// Runs the plan as often as it takes, each time as a new attempt.
    async fn attempts(&mut self, plan: &Plan, timings: &mut Timings) -> Result<Ran> {
        let mut n = 0;
        loop {
            let attempt = AttemptId { generation: self.checkpoint.generation(), n };
            match self.attempt(plan, attempt, timings).await {
                Ok(ran) => return Ok(ran),
                Err(e) if self.faults.crashed() => return Err(e),
                Err(error) => {
                    self.program.discard();
                    n += 1;
                    if error.kind() != ErrorKind::Transient || !self.retry.wait(n).await {
                        return Err(error.within(format!("epoch {}", plan.epoch)));
                    }
                    tracing::warn!(query = self.handle.name(), epoch = plan.epoch, %attempt, %error, "an attempt failed");
                }
            }
        }
    }

    /// Reads, computes, logs and prepares: nothing of it can be seen from outside.
    async fn attempt(&mut self, plan: &Plan, attempt: AttemptId, timings: &mut Timings) -> Result<Ran> {
        self.faults.hit(Point::Run, plan.epoch)?;
        let epoch = plan.epoch(attempt);
        let mut clock = Lap::new(&self.clock);
        let sources = self.sources.open(plan).await?;
        timings.add("getBatch", clock.lap());
        let input = EpochInput { epoch: epoch.clone(), late_watermark_ms: plan.late_watermark_ms, sources };
        let mut outputs = self.sinks.writers(&epoch).await?;
        let numbers = self.program.run(input, &mut outputs).await?;
        let next = self.watermark.after(&numbers.event_times);
        let delta = encode_deltas(&self.program.delta()?)?;
        let manifest = Manifest::new(attempt, &numbers, &next, outputs.rows(), &delta);
        let record = Record { attempt, commit: self.commit.clone(), plan: plan.clone(), manifest };
        timings.add("addBatch", clock.lap());
        self.handle.set_status("Writing offsets to log", plan.has_data(), true);
        self.checkpoint.wal.append(&record, &delta).await?;
        self.checkpoint.spark.write_offsets(plan).await?;
        timings.add("walCommit", clock.lap());
        self.faults.hit(Point::Prepare, plan.epoch)?;
        let prepared = self.sinks.prepare(&epoch, outputs).await?;
        timings.add("addBatch", clock.lap());
        Ok(Ran { epoch, record, delta_bytes: delta.len() as u64, numbers, next, prepared })
    }

    /// Makes the epoch visible in all sinks; from here on it is never run again. Returns the attempt that they show.
    async fn commit(&mut self, plan: &Plan, ran: &mut Ran, timings: &mut Timings) -> Result<AttemptId> {
        let position =
            |it: &crate::log::SourceRange| SourcePosition { source: it.name.clone(), offset: it.end.clone() };
        let positions: Vec<_> = plan.sources.iter().map(position).collect();
        let mut clock = Lap::new(&self.clock);
        let prepared = std::mem::take(&mut ran.prepared);
        let attempt = self.sinks.commit(&ran.epoch, prepared, &positions).await?;
        timings.add("addBatch", clock.lap());
        Ok(attempt)
    }

    /// The epoch is decided: its state becomes the state that the next one starts from.
    async fn decide(&mut self, plan: &Plan, ran: Ran, shown: AttemptId, timings: &mut Timings) -> Result<Decided> {
        let mut clock = Lap::new(&self.clock);
        self.faults.hit(Point::CommitsFile, plan.epoch)?;
        let own = shown == ran.record.attempt;
        let record = if own { ran.record } else { record_of(&self.checkpoint, plan, shown).await? };
        let outcome = record.outcome();
        self.checkpoint.spark.write_commit(&outcome).await?;
        self.faults.hit(Point::Seal, plan.epoch)?;
        if own {
            self.program.seal();
            self.watermark = ran.next;
        } else {
            // State N is that of the attempt that the sinks show.
            self.program.discard();
            Chain::read(&self.checkpoint, Some(&outcome)).await?.restore(self.program.as_mut())?;
            let value = outcome.next_watermark_ms.unwrap_or(0);
            self.watermark = Watermark::new(self.watermark.policy(), self.program.watermarks(), value);
        }
        self.sources.stand_at_ends(&plan.sources);
        self.commit = Some(outcome);
        self.last = Some(plan.clone());
        timings.add("commitOffsets", clock.lap());
        Ok(Decided { plan: plan.clone(), numbers: ran.numbers, record, delta_bytes: ran.delta_bytes })
    }

    fn check_ready(&self) -> Result<()> {
        match &self.life {
            Life::Ready => Ok(()),
            Life::New => Err(Error::internal("the query has not been started")),
            Life::Busy => Err(Error::internal("the query was dropped in the middle of an epoch; start a new one")),
            Life::Failed(why) => Err(Error::internal(format!("the query has failed: {why}"))),
        }
    }

    fn settle_life<T>(&mut self, result: Result<T>) -> Result<T> {
        self.life = match &result {
            Ok(_) => Life::Ready,
            Err(e) => Life::Failed(e.to_string()),
        };
        result
    }
}

/// The record of another attempt at this epoch, which must read back whole.
async fn record_of(checkpoint: &Checkpoint, plan: &Plan, attempt: AttemptId) -> Result<Record> {
    let (record, _) = checkpoint.wal.read(plan.epoch, attempt).await?;
    if record.plan.sources == plan.sources {
        return Ok(record);
    }
    Err(Error::internal(format!("epoch {}: attempt {attempt} has other ranges than were logged later", plan.epoch)))
}

/// An epoch whose outcome can no longer differ.
struct Decided {
    plan: Plan,
    record: Record,
    delta_bytes: u64,
    numbers: EpochNumbers,
}

/// Time since the last look.
struct Lap<'a> {
    clock: &'a Arc<dyn Clock>,
    last: Duration,
}

impl<'a> Lap<'a> {
    fn new(clock: &'a Arc<dyn Clock>) -> Self {
        Self { clock, last: clock.monotonic() }
    }

    fn lap(&mut self) -> Duration {
        let now = self.clock.monotonic();
        let took = now.saturating_sub(self.last);
        self.last = now;
        took
    }
}
