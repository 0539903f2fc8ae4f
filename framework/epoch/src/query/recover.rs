//! The start: what was pending is finished by its log, what was decided is gone on from.

use tidegate_api::{AttemptId, Error, Result};
use tokio::task::JoinSet;

use super::commit::Committed;
use super::{Decided, Life, Query, QueryParts, StagedFiles};
use crate::checkpoint::Checkpoint;
use crate::fault::Point;
use crate::handle::QueryHandle;
use crate::log::{Commit, Plan, Record};
use crate::manifest::Manifest;
use crate::pace::Pace;
use crate::progress::{QueryProgress, Timings};
use crate::recovery::{Chain, Newest, Verdict, about, refuse_ahead};
use crate::retry::Retry;
use crate::sink_task::Sinks;
use crate::snapshot::Snapshots;
use crate::source_task::Sources;
use crate::trigger::Turns;
use crate::watermark::{Aside, Feeds, Levels, Watermark, WatermarkPolicy};

impl Query {
    /// A query on a checkpoint; nothing runs yet.
    ///
    /// # Errors
    /// `Config` if two sources or two sinks have one name.
    pub fn new(checkpoint: Checkpoint, parts: QueryParts) -> Result<Self> {
        let QueryParts { name, sources, sinks, errors, program, settings, clock, digest, listeners } = parts;
        let faults = checkpoint.store.faults.clone();
        let sources = Sources::new(sources, settings.tasks)?;
        let names: Vec<_> = sinks.iter().map(|it| it.name.clone()).collect();
        let feeds = Feeds::new(program.watermarks(), &program.watermark_groups(), &names);
        let mut sinks = Sinks::new(sinks, errors, checkpoint.store.clone())?;
        sinks.owner = Some(checkpoint.ownership());
        sinks.generation = checkpoint.generation();
        let replayable = sources.are_replayable() && program.statics_are_replayable();
        sinks.choose_ways(replayable, settings.stage_outputs);
        Ok(Self {
            sources,
            sinks,
            watermark: Watermark::new(settings.watermark_policy, feeds, clock.now_ms()),
            handle: QueryHandle::new(checkpoint.query_id().clone(), checkpoint.run_id().clone(), name),
            snapshots: Snapshots::new(&checkpoint, settings.min_epochs_to_retain),
            turns: Turns::new(settings.trigger, settings.least_interval),
            pace: settings.target_latency.map(Pace::new),
            retry: Retry::default(),
            life: Life::New,
            frozen: false,
            commit: None,
            last: None,
            next: 0,
            delivered: None,
            triggered_ms: None,
            told_ms: clock.now_ms(),
            maintenance: JoinSet::new(),
            staged: StagedFiles::default(),
            program,
            settings,
            clock,
            digest,
            listeners,
            faults,
            checkpoint,
        })
    }

    /// Changes how often a step that fails for now is tried again.
    pub fn set_retry(&mut self, retry: Retry) {
        self.retry = retry;
        self.sinks.retry = retry;
    }

    /// Changes how many epochs lie between two snapshots at least (20).
    pub fn set_snapshot_interval(&mut self, epochs: u64) {
        self.snapshots.least_epochs = epochs.max(1);
    }

    /// Changes how many bytes of one sink's rows stay in memory (8 MiB), and in the record if they are staged.
    pub fn set_stage_memory(&mut self, bytes: usize) {
        self.sinks.stage_memory = bytes;
    }

    /// Recovers: loads the state, and finishes the epoch that was pending, whose progress it returns.
    ///
    /// # Errors
    /// `Config` if the checkpoint is damaged, or not of this query; else as the connectors.
    pub async fn start(&mut self) -> Result<Option<Box<QueryProgress>>> {
        if !matches!(self.life, Life::New) {
            return Err(Error::internal("the query has been started before"));
        }
        self.life = Life::Busy;
        let result = Box::pin(self.recover()).await;
        self.settle_life(result)
    }

    async fn recover(&mut self) -> Result<Option<Box<QueryProgress>>> {
        self.sources.take_indices(&self.checkpoint).await?;
        let newest = Newest::read(&self.checkpoint).await?;
        let branch = self.checkpoint.branches.newest().await?;
        let branch = branch.filter(|it| newest.as_ref().is_none_or(|newest| newest.epoch() < it.next));
        let finished = match (branch, newest) {
            (Some(branch), _) => self.go_on_from_branch(branch).await.map(|()| None),
            (None, Some(newest)) => self.go_on_from_newest(newest).await,
            (None, None) => {
                for sink in self.sinks.open(self.checkpoint.query_id()).await? {
                    refuse_ahead(&sink, None)?;
                }
                self.staged.take_over(&self.checkpoint, 0).await.map(|()| None)
            }
        }?;
        self.sources.stand_at_start(self.retry).await?;
        Ok(finished)
    }

    async fn go_on_from_newest(&mut self, newest: Newest) -> Result<Option<Box<QueryProgress>>> {
        // What the files alone can refuse is refused before a sink is touched.
        self.sources.check(&newest.record().plan).map_err(|e| e.within(about(&self.checkpoint)))?;
        let before = newest.state_before(&self.checkpoint).await?;
        let after = newest.state_after(&self.checkpoint, before.as_ref()).await?;
        let fits = match (self.restore(&after), &before) {
            // A changed query may still run the epoch anew.
            (Err(e), Some(before)) => self.restore(before).and(Err(e)),
            (Err(e), None) => return Err(e),
            (Ok(()), _) => Ok(()),
        };
        let stands = self.sinks.open(self.checkpoint.query_id()).await?;
        let verdict = newest.verdict(&stands, &self.digest)?;
        match verdict {
            Verdict::Decided(attempt) => {
                if attempt == newest.record().attempt {
                    fits?;
                    self.loaded(&after).await?;
                } else {
                    let chosen = Commit { epoch: newest.epoch(), attempt, next_watermark_ms: None };
                    self.load(&Chain::read(&self.checkpoint, Some(&chosen)).await?).await?;
                }
                let (record, _) = self.checkpoint.wal.read(newest.epoch(), attempt).await?;
                self.staged.settle_start(&self.checkpoint, &record.outcome()).await?;
                self.go_on_from(record).await?;
                Ok(None)
            }
            Verdict::Staged(attempt) => {
                fits?;
                self.staged.take_over(&self.checkpoint, newest.epoch()).await?;
                self.finish_staged(newest.epoch(), attempt).await.map(Some)
            }
            Verdict::Pending(attempt) => {
                let (record, _) = self.checkpoint.wal.read(newest.epoch(), attempt).await?;
                self.sources.check_all_there(&record.plan).map_err(|e| e.within(about(&self.checkpoint)))?;
                self.load(&before.unwrap_or_default()).await?;
                self.staged.take_over(&self.checkpoint, newest.epoch()).await?;
                self.finish(record).await.map(Some)
            }
        }
    }

    fn restore(&mut self, chain: &Chain) -> Result<()> {
        chain.restore(self.program.as_mut()).map_err(|e| e.within(about(&self.checkpoint)))
    }

    /// Sets the state.
    pub(super) async fn load(&mut self, chain: &Chain) -> Result<()> {
        self.restore(chain)?;
        self.loaded(chain).await
    }

    /// The program has this state: completes Spark's files of the epochs that it is made of.
    async fn loaded(&mut self, chain: &Chain) -> Result<()> {
        if !self.checkpoint.store.is_remote() {
            self.checkpoint.spark.complete(chain.records()).await?;
        }
        let (epochs, bytes) = chain.weight();
        self.snapshots.count(epochs, bytes);
        Ok(())
    }

    /// The newest epoch is decided: the next one begins where it ends.
    async fn go_on_from(&mut self, record: Record) -> Result<()> {
        // The record alone is of the epoch when its state came from a snapshot.
        self.checkpoint.spark.complete(std::iter::once(&record)).await?;
        let levels = [record.plan.levels(), record.manifest.next_levels()];
        self.stand_at(record.plan.watermark_policy, &levels, record.manifest.aside());
        self.meet_added(&record.manifest);
        self.commit = Some(record.outcome());
        self.sources.stand_at_ends(&record.plan);
        self.note_changes(&record.plan);
        self.next = record.epoch() + 1;
        self.last = Some(record.plan);
        Ok(())
    }

    /// The newest epoch is pending: it runs by its logged plan. It is the first turn of the trigger, as in Spark; for
    /// `once` the only one.
    async fn finish(&mut self, record: Record) -> Result<Box<QueryProgress>> {
        self.stand_at(record.plan.watermark_policy, &[record.plan.levels()], record.plan.aside());
        self.meet_added(&record.manifest);
        self.commit.clone_from(&record.commit);
        self.note_changes(&record.plan);
        self.next = record.epoch();
        self.sources.removed.clone_from(&record.plan.removed);
        let (now_ms, began) = (self.clock.now_ms(), self.clock.monotonic());
        self.turns.begin(now_ms);
        let progress = self.epoch(record.plan, now_ms, began, Timings::default()).await?;
        self.turns.end(self.clock.now_ms(), true);
        Ok(progress)
    }

    /// The newest epoch is pending and its outputs are staged: no operator runs, each sink gets what was staged for it. It
    /// counts as a turn of the trigger too.
    async fn finish_staged(&mut self, number: u64, attempt: AttemptId) -> Result<Box<QueryProgress>> {
        let (record, _, sections) = self.checkpoint.wal.read_staged(number, attempt).await?;
        let (now_ms, began) = (self.clock.now_ms(), self.clock.monotonic());
        self.turns.begin(now_ms);
        let synced = self.checkpoint.store.synced();
        let mut timings = Timings::default();
        let delivery = self.sinks.delivery(&record, &sections).await?;
        let Committed { adopted, rejected } = self.commit(&record, delivery).await?;
        let record = adopted.unwrap_or(record);
        timings.add("addBatch", self.clock.monotonic().saturating_sub(began));
        self.write_commit(&record).await?;
        self.faults.hit(Point::Seal, number)?;
        self.load(&Chain::read(&self.checkpoint, Some(&record.outcome())).await?).await?;
        self.staged.settle_start(&self.checkpoint, &record.outcome()).await?;
        self.go_on_from(record.clone()).await?;
        let decided = Decided { numbers: record.manifest.numbers(), record, delta_bytes: 0, rejected };
        let progress = self.tell(&decided, now_ms, began, &timings, synced);
        self.turns.end(self.clock.now_ms(), true);
        Ok(progress)
    }

    /// The watermarks go on at the highest of these levels, with these nodes aside, as long as they still may be.
    pub(super) fn stand_at(&mut self, policy: WatermarkPolicy, levels: &[Levels], mut aside: Aside) {
        aside.following.retain(|_| self.settings.follow_when_added);
        self.watermark = self.watermark.at(policy, levels, &aside);
    }

    /// Watermark nodes that the checkpoint has not met: rows that they bring may be late at once. They hold the watermark back
    /// until they have caught up, or follow it (`watermark.on.add`).
    pub(super) fn meet_added(&mut self, manifest: &Manifest) {
        let known: Vec<_> = manifest.nodes.iter().map(|it| it.id.clone()).collect();
        let added = self.watermark.nodes_beside(&known);
        let Some(watermark_ms) = self.watermark.current().filter(|it| *it > 0 && !known.is_empty()) else { return };
        for watermark in &added {
            let (query, follows) = (self.handle.name(), self.settings.follow_when_added);
            tracing::warn!(query, %watermark, follows, watermark_ms, "new to this checkpoint: older rows of it are late");
        }
        if self.settings.follow_when_added {
            self.watermark.follow(added);
        }
    }

    fn note_changes(&self, logged: &Plan) {
        let query = self.handle.name();
        if logged.digest != self.digest {
            tracing::info!(query, epoch = logged.epoch, "the query's text has changed since this epoch was logged");
        }
        if logged.watermark_policy != self.settings.watermark_policy {
            let (kept, asked) = (logged.watermark_policy, self.settings.watermark_policy);
            tracing::warn!(query, %kept, %asked, "the checkpoint keeps the watermark policy of the first start");
        }
    }
}
