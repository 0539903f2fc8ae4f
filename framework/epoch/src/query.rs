//! The loop: one epoch after the other, each decided before the next begins.
//!
//! ```text
//! 1. plan ranges                                           plan.rs
//! 2. read, run operators: state goes into an overlay on state N-1                                        attempt.rs
//! 3. rows go to the sinks' writers as they come, or wait for their sink; what went to writers is prepared
//! 4. record N durable: commit of N-1, plan N, manifest N, state delta N, what is staged of the outputs
//! 5. ownership is checked; all sinks commit, those whose rows waited are written first                     commit.rs
//! 6. commits/N; seal: the overlay becomes state N          then snapshots, purges, maintenance: background.rs
//! ```
//! What fails before the record is discarded and run again by the same plan, as a new attempt. A commit that fails is
//! repeated with the same parts or the same rows, and the epoch is not run again.

mod attempt;
mod background;
mod branch;
mod commit;
mod import;
mod parts;
mod plan;
mod recover;
mod run;
mod staged;

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{Clock, Error, Result};
use tokio::task::JoinSet;

use crate::checkpoint::Checkpoint;
use crate::fault::Faults;
use crate::handle::{QueryHandle, QueryListener};
use crate::log::branch::Delivered;
use crate::log::{Commit, Plan, Record};
use crate::pace::Pace;
use crate::program::{EpochNumbers, Program};
use crate::progress::{QueryProgress, Timings};
use crate::retry::Retry;
use crate::sink_task::Sinks;
use crate::snapshot::Snapshots;
use crate::source_task::Sources;
use crate::trigger::{Due, Turns};
use crate::watermark::Watermark;

pub use branch::{RewindReport, SinkMode};
pub use parts::{QueryParts, QuerySettings, Step};
pub use run::StopSignal;
use staged::StagedFiles;

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
    pace: Option<Pace>,
    /// Available-now: the ends are fixed.
    frozen: bool,
    /// The outcome of the last decided epoch.
    commit: Option<Commit>,
    /// Its plan.
    last: Option<Plan>,
    /// The number of the next epoch.
    next: u64,
    /// After going back: what the next epoch reads without output.
    delivered: Option<Delivered>,
    /// The watermark after it.
    watermark: Watermark,
    triggered_ms: Option<i64>,
    told_ms: i64,
    maintenance: JoinSet<()>,
    snapshots: Snapshots,
    staged: StagedFiles,
    // Last: its lock must outlive all that writes.
    checkpoint: Checkpoint,
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
        let ran = self.attempts(&plan, &mut timings).await?;
        let decided = self.finish_attempt(ran, &mut timings).await?;
        if let Some(pace) = &mut self.pace {
            pace.learn(&decided.numbers.source_rows, self.clock.monotonic().saturating_sub(began));
        }
        self.after_epoch(&decided).await?;
        Ok(self.tell(&decided, now_ms, began, &timings, synced))
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

/// An epoch whose outcome can no longer differ.
struct Decided {
    record: Record,
    delta_bytes: u64,
    numbers: EpochNumbers,
    /// Rows that waited for their sink and were not taken, by sink.
    rejected: Vec<u64>,
}

/// Time since the last look.
struct Lap {
    clock: Arc<dyn Clock>,
    last: Duration,
}

impl Lap {
    fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: clock.clone(), last: clock.monotonic() }
    }

    fn lap(&mut self) -> Duration {
        let now = self.clock.monotonic();
        let took = now.saturating_sub(self.last);
        self.last = now;
        took
    }
}
