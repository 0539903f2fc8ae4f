//! After the epoch: snapshots, purges and maintenance beside the loop, and word to those who listen.

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::Result;

use super::{Decided, Query, Step};
use crate::handle::{QueryHandle, QueryListener, QueryStatus};
use crate::progress::{Facts, QueryProgress, Timings};
use crate::snapshot::Done;
use crate::store::Synced;
use crate::trigger::Trigger;
use crate::watermark::GroupMark;

/// While nothing happens, the last progress is told again this often.
const IDLE_PROGRESS_MS: i64 = 10_000;
/// Sinks do their maintenance after this many epochs.
const MAINTENANCE_EPOCHS: u64 = 10;
/// How long each may take.
const MAINTENANCE_BUDGET: Duration = Duration::from_secs(10);

impl Query {
    /// What the query is doing now.
    pub fn status(&self) -> QueryStatus {
        self.handle.status()
    }

    /// A view of the query, to be shared.
    pub fn handle(&self) -> QueryHandle {
        self.handle.clone()
    }

    /// The watermark that the next epoch evicts with, milliseconds; nothing if no column has one.
    pub fn watermark_ms(&self) -> Option<i64> {
        self.watermark.current()
    }

    /// The watermark of each group of sinks that the next epoch evicts with; none if all go by the query's.
    pub fn watermark_groups(&self) -> Vec<GroupMark> {
        self.watermark.levels().groups
    }

    /// Adds a listener.
    pub fn add_listener(&mut self, listener: QueryListener) {
        self.listeners.push(listener);
    }

    /// Waits for what runs in the background.
    ///
    /// # Errors
    /// As the background work, unless it is tried again later.
    pub async fn settle(&mut self) -> Result<()> {
        while self.maintenance.join_next().await.is_some() {}
        self.staged.settle().await;
        let done = self.snapshots.wait().await?;
        self.forget(done).await;
        Ok(())
    }

    pub(super) async fn after_epoch(&mut self, decided: &Decided) -> Result<()> {
        self.snapshots.count(1, decided.delta_bytes);
        let done = self.snapshots.poll().await?;
        self.forget(done).await;
        if self.snapshots.is_due() {
            self.snapshots.begin(decided.record.outcome(), self.program.snapshot()?);
        }
        while self.maintenance.try_join_next().is_some() {}
        if self.maintenance.is_empty() && decided.record.epoch() % MAINTENANCE_EPOCHS == MAINTENANCE_EPOCHS - 1 {
            self.maintenance.spawn(self.sinks.maintenance(MAINTENANCE_BUDGET));
        }
        Ok(())
    }

    /// Sources may forget what no epoch that can be gone back to reads.
    async fn forget(&mut self, done: Option<Done>) {
        if let Some(oldest) = done.and_then(|it| it.oldest) {
            self.sources.forget(&oldest).await;
        }
    }

    /// Ends a turn of the trigger, with an epoch or without.
    pub(super) fn end_turn(&mut self, ran: Option<Box<QueryProgress>>) -> Result<Step> {
        let now_ms = self.clock.now_ms();
        if self.turns.end(now_ms, ran.is_some()) {
            tracing::warn!(query = self.handle.name(), "an epoch took longer than the trigger's interval");
        }
        if let Some(progress) = ran {
            return Ok(Step::Ran(progress));
        }
        match self.settings.trigger {
            Trigger::Once | Trigger::AvailableNow => return Ok(Step::Ended),
            _ => self.tell_idle(now_ms),
        }
        self.handle.set_status("Waiting for data to arrive", false, false);
        Ok(self.turns.tick().map_or(Step::Idle, |until_ms| Step::Waiting { until_ms }))
    }

    pub(super) fn tell(
        &mut self,
        decided: &Decided,
        now_ms: i64,
        began: Duration,
        timings: &Timings,
        synced: Synced,
    ) -> Box<QueryProgress> {
        let now = self.checkpoint.store.synced();
        let facts = Facts {
            id: &self.checkpoint.query_id().0,
            run_id: self.checkpoint.run_id(),
            name: self.handle.name(),
            triggered_ms: now_ms,
            previous_ms: self.triggered_ms,
            took: self.clock.monotonic().saturating_sub(began),
            plan: &decided.record.plan,
            next: self.watermark.levels(),
            numbers: &decided.numbers,
            timings,
            sources: self.sources.reports(),
            sinks: self.sinks.reports(),
            counts: &decided.record.manifest.counts,
            rejected: &decided.rejected,
            fsyncs: now.calls - synced.calls,
            fsync_time: now.time.saturating_sub(synced.time),
        };
        let progress = facts.progress();
        self.triggered_ms = Some(now_ms);
        self.told_ms = self.clock.now_ms();
        self.handle.set_status("Waiting for next trigger", decided.record.plan.has_data(), false);
        self.listeners.iter().for_each(|it| it(&progress));
        self.handle.add(Arc::new(progress.clone()));
        Box::new(progress)
    }

    fn tell_idle(&mut self, now_ms: i64) {
        if now_ms.saturating_sub(self.told_ms) < IDLE_PROGRESS_MS {
            return;
        }
        self.told_ms = now_ms;
        if let Some(latest) = self.handle.latest() {
            let idle = latest.idle(now_ms);
            self.listeners.iter().for_each(|it| it(&idle));
        }
    }
}
