//! Step 1: what the next epoch reads, when it reads it, and by which watermark.

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{ErrorKind, Result};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Query;
use crate::fault::Point;
use crate::log::{OwnRows, Plan, SourceRange};
use crate::pace::Pace;
use crate::program::StaticVersion;
use crate::progress::Timings;
use crate::trigger::Trigger;
use crate::watermark::{END_OF_TIME_MS, Levels};

/// The zone of the session, until it can be set.
const ZONE: &str = "UTC";

impl Query {
    /// The next epoch, if there is something to do: new rows, or else something that the watermark closes.
    pub(super) async fn next_plan(&mut self, timings: &mut Timings) -> Result<Option<Plan>> {
        self.handle.set_status("Getting offsets from sources", false, true);
        let began = self.clock.monotonic();
        let mut n = 0;
        let planned = loop {
            n += 1;
            match self.try_plan().await {
                Err(e) if self.faults.crashed() => return Err(e),
                Err(error) if error.kind() == ErrorKind::Transient && self.retry.wait(n).await => {
                    tracing::warn!(query = self.handle.name(), epoch = self.next, %error, "planning failed for now");
                }
                other => break other?,
            }
        };
        timings.add("latestOffset", self.clock.monotonic().saturating_sub(began));
        // Plans are made once, when the query starts; Spark plans each epoch.
        timings.add("queryPlanning", Duration::ZERO);
        Ok(planned)
    }

    async fn try_plan(&mut self) -> Result<Option<Plan>> {
        self.faults.hit(Point::Plan, self.next)?;
        if let Some(plan) = self.delivered_plan().await? {
            return Ok(Some(plan));
        }
        if self.settings.trigger == Trigger::AvailableNow && !self.frozen {
            self.sources.freeze().await?;
            self.frozen = true;
        }
        let ranges =
            self.sources.plan(self.settings.trigger != Trigger::Once, self.pace.as_ref().map(Pace::rows)).await?;
        let has_data = ranges.iter().any(|it| it.start != it.end);
        if !has_data {
            self.look_for_idle();
        }
        if !has_data && !self.watermark_closes() && !self.timer_is_over() && !self.flushes() {
            return Ok(None);
        }
        let statics = self.program.statics().await?;
        Ok(Some(self.plan(ranges, statics)))
    }

    /// After going back: an epoch that brings the state to where the sinks are. It evicts as far as the epochs did that
    /// it stands for, since what they closed has been shown.
    async fn delivered_plan(&mut self) -> Result<Option<Plan>> {
        let Some(delivered) = &self.delivered else { return Ok(None) };
        let ranges = self.sources.ranges_to(&delivered.positions)?;
        let (reached, used) = (delivered.levels(), self.last.as_ref().map(Plan::levels).unwrap_or_default());
        if !self.watermark.rises(&used, &reached) && ranges.iter().all(|it| it.start == it.end) {
            self.delivered = None;
            return Ok(None);
        }
        self.watermark.raise_to(&reached);
        let statics = self.program.statics().await?;
        // What has not been shown must not be closed without output.
        Ok(Some(Plan { suppress: true, own_rows: OwnRows::Later, ..self.plan(ranges, statics) }))
    }

    /// True if an epoch without data is called for. Unlike Spark's this is asked after a restart too: a crash between
    /// an epoch and the one that closes its windows must not change what comes out.
    fn watermark_closes(&self) -> bool {
        let Some(last) = &self.last else { return false };
        self.runs_without_data() && self.wants_epoch_without_data(last, &self.watermark.levels())
    }

    /// When time alone calls for an epoch without data, milliseconds.
    pub(super) fn wakes_ms(&self) -> Option<i64> {
        let timer = self.program.next_time_ms().filter(|_| self.runs_without_data());
        timer.into_iter().chain(self.watermark.next_idle_ms()).min()
    }

    fn timer_is_over(&self) -> bool {
        self.runs_without_data() && self.program.next_time_ms().is_some_and(|it| it <= self.epoch_time_ms())
    }

    fn runs_without_data(&self) -> bool {
        self.settings.no_data_epochs && self.settings.trigger != Trigger::Once
    }

    /// The end of an available-now run that closes all that is open: takes the watermark to the end of time.
    fn flushes(&mut self) -> bool {
        let Some(last) = &self.last else { return false };
        let wanted = self.settings.flush_on_end
            && self.settings.trigger == Trigger::AvailableNow
            && self.watermark.is_behind(END_OF_TIME_MS)
            && self.wants_epoch_without_data(last, &self.watermark.all_at(END_OF_TIME_MS));
        if wanted {
            self.watermark.raise_to(&self.watermark.all_at(END_OF_TIME_MS));
        }
        wanted
    }

    fn wants_epoch_without_data(&self, last: &Plan, next: &Levels) -> bool {
        let at = |it: &Levels| self.watermark.watermarks(it);
        self.program.wants_epoch_without_data(&at(&last.levels()), &at(next))
    }

    /// The clock of an epoch that is planned now: it only rises.
    fn epoch_time_ms(&self) -> i64 {
        let now_ms = self.clock.now_ms();
        self.last.as_ref().map_or(now_ms, |it| it.time_ms.max(now_ms))
    }

    /// Time alone may let the watermark rise: a node that holds it back becomes idle.
    fn look_for_idle(&mut self) {
        let time_ms = self.epoch_time_ms();
        if self.watermark.next_idle_ms().is_some_and(|it| it <= time_ms) {
            let idle = self.watermark.idle();
            self.watermark = self.watermark.without_rows(time_ms);
            self.note_idle(&idle);
        }
    }

    /// Logs which watermark nodes have become idle since `before`, and which have rows again.
    pub(super) fn note_idle(&self, before: &[Arc<str>]) {
        let (query, now) = (self.handle.name(), self.watermark.idle());
        for watermark in now.iter().filter(|it| !before.contains(it)) {
            tracing::info!(query, %watermark, "without new rows: it holds no watermark back");
        }
        for watermark in before.iter().filter(|it| !now.contains(it)) {
            tracing::info!(query, %watermark, "new rows have come: it counts again");
        }
    }

    fn plan(&self, sources: Vec<SourceRange>, statics: Vec<StaticVersion>) -> Plan {
        let number = self.next;
        let last = self.last.as_ref();
        let time_ms = self.epoch_time_ms();
        let clock_us = time_ms.saturating_mul(1000);
        let Levels { query_ms: watermark_ms, groups } = self.watermark.levels();
        // In the first epoch both are the start value.
        let late = self.watermark.late(last.map(Plan::levels).as_ref());
        let aside = self.watermark.aside();
        Plan {
            epoch: number,
            sources,
            time_ms,
            write_time_us: last.map_or(clock_us, |it| clock_us.max(it.write_time_us.saturating_add(1))),
            watermark_ms,
            late_watermark_ms: late.query_ms,
            groups,
            late_groups: late.groups,
            ceiling_ms: self.settings.max_ahead.map(|it| time_ms.saturating_add(whole_ms(it))),
            watermark_policy: self.watermark.policy(),
            idle: aside.idle,
            following: aside.following,
            seed: xxh3_64_with_seed(self.checkpoint.query_id().0.as_bytes(), number),
            zone: ZONE.to_owned(),
            digest: self.digest.clone(),
            statics,
            removed: self.sources.removed.clone(),
            suppress: false,
            own_rows: if self.settings.emit_in_same_epoch { OwnRows::Close } else { OwnRows::Later },
        }
    }
}

fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
