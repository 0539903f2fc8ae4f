//! Steps 2 to 4: an attempt at an epoch, from its plan to its record. Nothing of it can be seen from outside.

use tidegate_api::{AttemptId, Epoch, ErrorKind, Result};

use super::{Lap, Query};
use crate::fault::Point;
use crate::log::{OwnRows, Plan, Record, wal};
use crate::manifest::Manifest;
use crate::program::{EpochInput, EpochNumbers};
use crate::progress::Timings;
use crate::sink_task::Delivery;
use crate::state::encode_deltas;
use crate::watermark::Watermark;

/// An attempt that is logged, and may be committed.
pub(super) struct Ran {
    pub(super) epoch: Epoch,
    pub(super) record: Record,
    pub(super) delta_bytes: u64,
    pub(super) numbers: EpochNumbers,
    pub(super) next: Watermark,
    pub(super) delivery: Delivery,
}

impl Query {
    /// Runs the plan as often as it takes, each time as a new attempt.
    pub(super) async fn attempts(&mut self, plan: &Plan, timings: &mut Timings) -> Result<Ran> {
        let mut n = 0;
        loop {
            let attempt = AttemptId { generation: self.checkpoint.generation(), n };
            match self.attempt(plan, attempt, timings).await {
                Ok(ran) => return Ok(ran),
                Err(e) if self.faults.crashed() => return Err(e),
                Err(error) => {
                    self.faults.hit(Point::Discard, plan.epoch)?;
                    self.program.discard();
                    n += 1;
                    if error.kind() != ErrorKind::Transient || !self.retry.wait(n).await {
                        return Err(error.within(format!("epoch {}", plan.epoch)));
                    }
                    tracing::warn!(query = self.handle.name(), epoch = plan.epoch, %attempt, %error, "an attempt failed");
                    self.faults.hit(Point::Retry, plan.epoch)?;
                }
            }
        }
    }

    /// Reads, computes, prepares and logs.
    async fn attempt(&mut self, plan: &Plan, attempt: AttemptId, timings: &mut Timings) -> Result<Ran> {
        self.faults.hit(Point::Run, plan.epoch)?;
        let epoch = plan.epoch(attempt);
        let mut clock = Lap::new(&self.clock);
        let sources = self.sources.open(plan).await?;
        timings.add("getBatch", clock.lap());
        let input = EpochInput {
            epoch: epoch.clone(),
            late: self.watermark.watermarks(&plan.late_levels()),
            evict: self.watermark.watermarks(&plan.levels()),
            closing: (plan.own_rows == OwnRows::Close).then(|| self.watermark.closing(plan.time_ms)),
            ceiling_ms: plan.ceiling_ms,
            sources,
            statics: plan.statics.clone(),
            seed: plan.seed,
            zone: plan.zone.clone(),
        };
        let mut outputs = if plan.suppress { self.sinks.no_outputs() } else { self.sinks.outputs(&epoch).await? };
        let numbers = self.program.run(input, &mut outputs).await?;
        let (logged, next) = self.outcome(plan, &numbers);
        let delta = encode_deltas(&self.program.delta()?)?;
        let manifest = Manifest::new(attempt, &numbers, &next, outputs.written(), &delta);
        let record = Record { attempt, commit: self.commit.clone(), plan: logged, manifest };
        self.faults.hit(Point::Prepare, plan.epoch)?;
        let delivery = self.sinks.prepare(&epoch, outputs).await?;
        timings.add("addBatch", clock.lap());
        self.handle.set_status("Writing offsets to log", plan.has_data(), true);
        let delta_bytes = delta.len() as u64;
        let mut ran = Ran { epoch, record, delta_bytes, numbers, next, delivery };
        let logged = self.log(&mut ran, &delta).await;
        timings.add("walCommit", clock.lap());
        match logged {
            Ok(()) => Ok(ran),
            Err(e) => {
                // The record may be there in spite of the error. One that is staged is committed by what it names, so
                // that must stay.
                if !ran.record.manifest.is_staged() {
                    self.sinks.abort(&ran.epoch, ran.delivery).await;
                }
                Err(e)
            }
        }
    }

    /// What an epoch has come to: its plan, as it is to be logged, and the watermarks after it.
    fn outcome(&self, plan: &Plan, numbers: &EpochNumbers) -> (Plan, Watermark) {
        let (mut plan, mut next) = (plan.clone(), self.watermark.after(&numbers.event_times, plan.time_ms));
        if plan.own_rows == OwnRows::Close {
            let closed = numbers.closed_by.as_ref().map(|it| self.watermark.after(it, plan.time_ms).levels());
            plan.own_rows = OwnRows::closed(closed.unwrap_or_else(|| plan.levels()));
            // A node that was idle by then may have had rows afterwards, from an operator below it.
            next.raise_to(&plan.levels());
        }
        (plan, next)
    }

    /// Makes the attempt durable: first what its record only names, then the record.
    async fn log(&mut self, ran: &mut Ran, delta: &[u8]) -> Result<()> {
        let manifest = &mut ran.record.manifest;
        if !ran.record.plan.suppress {
            manifest.sinks = self.sinks.exact();
        }
        self.staged.note(&ran.epoch, self.sinks.staged_files(&ran.epoch, &ran.delivery));
        let (pieces, sections) = self.sinks.stage(&ran.epoch, &mut ran.delivery).await?;
        manifest.staged = pieces;
        self.checkpoint.wal.append(&ran.record, delta, &sections).await?;
        self.checkpoint.owner.wrote(|| wal::key(ran.record.epoch(), ran.record.attempt));
        if !self.checkpoint.store.is_remote() {
            self.checkpoint.spark.write_offsets(&ran.record.plan).await?;
        }
        // Now the log says that the epoch before is decided.
        self.staged.sweep_before(ran.record.epoch(), &self.checkpoint);
        Ok(())
    }
}
