//! Steps 5 and 6: an attempt that is logged becomes visible, and its epoch decided.

use tidegate_api::{Error, Ownership as _, Result, SourcePosition};

use super::attempt::Ran;
use super::{Decided, Lap, Query};
use crate::fault::Point;
use crate::log::{Plan, Record, SourceRange};
use crate::progress::Timings;
use crate::recovery::Chain;
use crate::sink_task::Delivery;

/// What a commit came to.
pub(super) struct Committed {
    /// The record of another attempt, if it is that one which the sinks show.
    pub(super) adopted: Option<Record>,
    /// Rows that waited for their sink and were not taken, by sink.
    pub(super) rejected: Vec<u64>,
}

impl Query {
    /// Commits and seals what has run.
    pub(super) async fn finish_attempt(&mut self, ran: Ran, timings: &mut Timings) -> Result<Decided> {
        let Ran { record, delta_bytes, numbers, next, delivery, .. } = ran;
        let mut clock = Lap::new(&self.clock);
        let Committed { adopted, rejected } = self.commit(&record, delivery).await?;
        timings.add("addBatch", clock.lap());
        let own = adopted.is_none();
        let record = adopted.unwrap_or(record);
        let outcome = record.outcome();
        self.write_commit(&record).await?;
        self.faults.hit(Point::Seal, record.epoch())?;
        let idle = self.watermark.idle();
        if own {
            self.program.seal();
            self.watermark = next;
        } else {
            // State N is that of the attempt that the sinks show.
            self.program.discard();
            Chain::read(&self.checkpoint, Some(&outcome)).await?.restore(self.program.as_mut())?;
            let policy = self.watermark.policy();
            self.stand_at(policy, &[record.manifest.next_levels()], record.manifest.aside());
            self.meet_added(&record.manifest);
        }
        self.note_idle(&idle);
        self.sources.stand_at_ends(&record.plan);
        self.next = record.epoch() + 1;
        self.delivered = None;
        self.commit = Some(outcome);
        self.last = Some(record.plan.clone());
        timings.add("commitOffsets", clock.lap());
        Ok(Decided { record, delta_bytes, numbers, rejected })
    }

    /// Makes an epoch that is logged visible in all sinks; from here on it is never run again. Returns the record of
    /// another attempt if it is that one which they show.
    pub(super) async fn commit(&mut self, ours: &Record, mut delivery: Delivery) -> Result<Committed> {
        self.faults.hit(Point::Ownership, ours.epoch())?;
        self.checkpoint.owner.check().await?;
        let mut adopted: Option<Record> = None;
        let mut epoch = ours.plan.epoch(ours.attempt);
        let mut positions = ends(&ours.plan);
        loop {
            let shown = match self.sinks.commit(&epoch, &mut delivery, &positions).await {
                Ok(Some(shown)) => shown,
                Ok(None) => {
                    let rejected = delivery.rejected();
                    self.staged.note(&epoch, delivery.files);
                    return Ok(Committed { adopted, rejected });
                }
                Err(e) if self.faults.crashed() => return Err(e),
                // What a sink says to an owner that was overtaken is of no interest.
                Err(e) => return self.checkpoint.owner.check().await.and(Err(e)),
            };
            let (other, _, sections) = self.checkpoint.wal.read_staged(ours.epoch(), shown).await?;
            let same_ranges = other.plan.sources == ours.plan.sources;
            let mixed = delivery.is_shown_by(epoch.attempt);
            if other.manifest.is_staged() && (same_ranges || !mixed) {
                // The sinks that are left get the rows that the first one shows.
                delivery.go_over_to(self.sinks.delivery(&other, &sections).await?, shown);
                epoch = other.plan.epoch(shown);
                positions = ends(&other.plan);
            } else if !same_ranges && (mixed || self.sinks.waits_for(&delivery)) {
                let (number, ours) = (ours.epoch(), ours.attempt);
                return Err(Error::config(format!(
                    "epoch {number}: a sink shows attempt {shown}, which read other ranges than attempt {ours} here, and \
                     the other sinks can't be given the same"
                )));
            }
            delivery.accepted.push(shown);
            // Of several attempts the first is the one that an earlier life went by, or would have.
            if adopted.as_ref().is_none_or(|it| shown < it.attempt) {
                adopted = Some(other);
            }
        }
    }

    /// Tells people and tools that the epoch is decided. On an object store each file costs a request: there they are
    /// completed at the next start and with a snapshot.
    pub(super) async fn write_commit(&mut self, record: &Record) -> Result<()> {
        self.faults.hit(Point::CommitsFile, record.epoch())?;
        if self.checkpoint.store.is_remote() {
            return Ok(());
        }
        self.checkpoint.spark.write_commit(&record.outcome()).await
    }
}

fn ends(plan: &Plan) -> Vec<SourcePosition> {
    let position = |it: &SourceRange| SourcePosition { source: it.name.clone(), offset: it.end.clone() };
    plan.sources.iter().map(position).collect()
}
