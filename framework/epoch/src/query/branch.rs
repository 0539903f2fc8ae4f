//! Going back: a branch is written, and the next start goes on from it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tidegate_api::{Error, Ownership as _, Result};

use super::{Life, Query};
use crate::checkpoint::Checkpoint;
use crate::log::branch::{Branch, Delivered, Mode};
use crate::log::{Commit, Plan, Record, SourceMark, SourceRange};
use crate::recovery::{Chain, Newest, Verdict, about, refuse_ahead};
use crate::sink_task::{SinkOutcome, SinkStands};

/// What becomes of the rows that sinks got after the epoch that a query goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkMode {
    /// They stay. What they were made of is read again for the state, without output.
    Keep,
    /// They come again; sinks that can take them back first.
    Replay,
}

impl fmt::Display for SinkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Replay => "replay",
        })
    }
}

impl FromStr for SinkMode {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "keep" => Ok(Self::Keep),
            "replay" => Ok(Self::Replay),
            _ => Err(Error::config(format!("sinks '{text}': expected keep or replay"))),
        }
    }
}

/// What going back came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewindReport {
    /// The newest epoch so far.
    pub from: u64,
    /// The epoch that the query goes on from.
    pub to: u64,
    /// The number of the next epoch.
    pub next: u64,
    /// What becomes of the rows that each sink got after epoch `to`, in the order of the sinks.
    pub sinks: Vec<(Arc<str>, SinkOutcome)>,
}

/// The end of the line that a query goes back on.
struct Head {
    /// The newest decided epoch.
    commit: Option<Commit>,
    /// What sinks have been given.
    delivered: Delivered,
    /// The newest plan, whose times the next one must not fall behind.
    times: (i64, i64),
    /// The highest number in the logs.
    number: u64,
}

impl Query {
    /// Goes back to the state after epoch `to`: the next start goes on from there, with a number that was never used.
    /// The query must not have been started, and can't be any more.
    ///
    /// # Errors
    /// `Config` if there is no such epoch any more, if it is not decided, or if an epoch is half visible; else as the
    /// sinks.
    pub async fn rewind(&mut self, to: u64, sinks: SinkMode) -> Result<RewindReport> {
        if !matches!(self.life, Life::New) {
            return Err(Error::internal("a query is rewound before it is started"));
        }
        self.life = Life::Failed("it was rewound; start a new one".to_owned());
        Box::pin(self.branch_off(to, sinks)).await
    }

    async fn branch_off(&mut self, to: u64, sinks: SinkMode) -> Result<RewindReport> {
        let stands = self.sinks.open(self.checkpoint.query_id()).await?;
        if let Some(mut broken_off) = self.checkpoint.branches.newest().await? {
            self.take_back(&mut broken_off).await?;
        }
        let head = head(&self.checkpoint, &self.digest, &stands, sinks).await?;
        let base = decided(&self.checkpoint, head.commit.as_ref(), to).await?;
        // Read whole, and taken by the operators: what can't be gone on from is refused here.
        Chain::read(&self.checkpoint, Some(&base)).await?.restore(self.program.as_mut())?;
        if sinks == SinkMode::Replay {
            self.sinks.check_restore(Some(to)).await?;
        }
        let (record, _) = self.checkpoint.wal.read(to, base.attempt).await?;
        let shown = stands.iter().filter_map(|it| it.committed.map(|(epoch, _)| epoch)).max();
        let used = self.checkpoint.spark.latest().await?.max(shown).max(Some(head.number)).unwrap_or(0);
        let next = used + 1;
        let mut branch = Branch {
            next,
            watermark_ms: base.next_watermark_ms,
            groups: record.manifest.next_groups,
            base: Some(base),
            plan: standing(record.plan, next, head.times),
            mode: if sinks == SinkMode::Keep { Mode::Keep } else { Mode::Replay },
            delivered: (sinks == SinkMode::Keep).then_some(head.delivered),
            take_back: sinks == SinkMode::Replay,
            reason: format!("rewound from epoch {} to epoch {to}, sinks: {sinks}", head.number),
        };
        self.checkpoint.owner.check().await?;
        self.checkpoint.branches.write(&branch).await?;
        let not_restored = self.take_back(&mut branch).await?;
        self.checkpoint.owner.release().await;
        let sinks = self.sinks.outcomes(sinks == SinkMode::Keep, &not_restored);
        Ok(RewindReport { from: head.number, to, next, sinks })
    }

    /// The sinks take back what they show after the base of the branch; returns those that can't. Repeated if a crash came
    /// between.
    async fn take_back(&mut self, branch: &mut Branch) -> Result<Vec<Arc<str>>> {
        if !branch.take_back {
            return Ok(Vec::new());
        }
        let through = branch.base.as_ref().map(|it| it.epoch);
        let not_restored = self.sinks.restore(through).await?;
        for sink in &not_restored {
            tracing::warn!(%sink, through, "the sink can't take back its rows: they come a second time");
        }
        branch.take_back = false;
        self.checkpoint.branches.write(branch).await?;
        Ok(not_restored)
    }

    /// The start after a branch was written, before its first epoch.
    pub(super) async fn go_on_from_branch(&mut self, mut branch: Branch) -> Result<()> {
        self.sources.check(&branch.plan).map_err(|e| e.within(about(&self.checkpoint)))?;
        let chain = Chain::read(&self.checkpoint, branch.base.as_ref()).await?;
        self.load(&chain).await?;
        for sink in self.sinks.open(self.checkpoint.query_id()).await? {
            refuse_ahead(&sink, branch.next.checked_sub(1))?;
        }
        self.take_back(&mut branch).await?;
        self.staged.take_over(&self.checkpoint, branch.next).await?;
        let (epoch, reason) = (branch.next, &branch.reason);
        tracing::info!(query = self.handle.name(), epoch, reason, "the query goes on from another point");
        let levels = [branch.plan.levels(), branch.levels()];
        self.stand_at(branch.plan.watermark_policy, &levels, branch.plan.aside());
        self.commit = branch.base;
        self.sources.stand_at_ends(&branch.plan);
        self.next = branch.next;
        self.last = Some(branch.plan);
        self.delivered = branch.delivered;
        Ok(())
    }
}

/// Where the query stands now, by its files and sinks.
async fn head(checkpoint: &Checkpoint, digest: &str, stands: &[SinkStands], sinks: SinkMode) -> Result<Head> {
    let newest = Newest::read(checkpoint).await?;
    let branch = checkpoint.branches.newest().await?;
    if let Some(branch) = branch.filter(|it| newest.as_ref().is_none_or(|newest| newest.epoch() < it.next)) {
        let plan = branch.plan;
        let here = Delivered::new(marks(&plan), plan.levels());
        let delivered = branch.delivered.unwrap_or(here);
        let number = branch.next.saturating_sub(1);
        return Ok(Head { commit: branch.base, delivered, times: (plan.time_ms, plan.write_time_us), number });
    }
    let Some(newest) = newest else {
        let text = format!("{} has no epoch to go back to", about(checkpoint));
        return Err(Error::config(text));
    };
    let number = newest.epoch();
    let latest = &newest.record().plan;
    let times = (latest.time_ms, latest.write_time_us);
    match newest.verdict(stands, digest)? {
        Verdict::Decided(attempt) => {
            let (record, _) = checkpoint.wal.read(number, attempt).await?;
            let delivered = Delivered::new(marks(&record.plan), record.plan.levels());
            Ok(Head { commit: Some(record.outcome()), delivered, times, number })
        }
        Verdict::Staged(_) | Verdict::Pending(_) => {
            let maybe = |it: &&SinkStands| !it.best_effort && it.committed.is_none_or(|(epoch, _)| epoch >= number);
            if let Some(sink) = stands.iter().find(maybe).filter(|_| sinks == SinkMode::Keep) {
                return Err(Error::config(format!(
                    "epoch {number} is pending, and sink {} may show it: start the query once to finish it, or go \
                     back with sinks: replay",
                    sink.name
                )));
            }
            let Record { commit, plan, .. } = newest.record().clone();
            let delivered = Delivered::new(starts(&plan), plan.late_levels());
            Ok(Head { commit, delivered, times, number })
        }
    }
}

/// The outcome of epoch `to`, on the line that ends at `head`.
async fn decided(checkpoint: &Checkpoint, head: Option<&Commit>, to: u64) -> Result<Commit> {
    let records = checkpoint.wal.attempts().await?;
    let snapshots = checkpoint.snapshots.list().await?;
    // From the newest back to the oldest that can be begun from.
    let (mut line, mut reached) = (Vec::new(), 0);
    let mut at = head.cloned();
    while let Some(commit) = at.take() {
        if snapshots.contains(&(commit.epoch, commit.attempt)) {
            reached = line.len() + 1;
        }
        if !records.get(&commit.epoch).is_some_and(|it| it.contains(&commit.attempt)) {
            break;
        }
        at = checkpoint.wal.read(commit.epoch, commit.attempt).await?.0.commit;
        line.push(commit);
        if at.is_none() {
            reached = line.len();
        }
    }
    line.truncate(reached);
    if let Some(commit) = line.iter().find(|it| it.epoch == to) {
        return Ok(commit.clone());
    }
    let there = match (line.last(), line.first()) {
        (Some(oldest), Some(newest)) => format!("expected one from {} to {}", oldest.epoch, newest.epoch),
        _ => "no epoch is decided and still there".to_owned(),
    };
    let about = about(checkpoint);
    let left = if checkpoint.branches.list().await?.is_empty() { "" } else { " that was not left by going back" };
    Err(Error::config(format!("{about}: epoch {to} can't be gone back to: {there}{left}")))
}

/// A plan that reads nothing: the sources stand where it ends.
fn standing(plan: Plan, next: u64, (time_ms, write_time_us): (i64, i64)) -> Plan {
    let stand = |it: &SourceRange| SourceRange { start: it.end.clone(), ..it.clone() };
    Plan {
        epoch: next.saturating_sub(1),
        sources: plan.sources.iter().map(stand).collect(),
        time_ms: plan.time_ms.max(time_ms),
        write_time_us: plan.write_time_us.max(write_time_us),
        suppress: false,
        ..plan
    }
}

fn marks(plan: &Plan) -> Vec<SourceMark> {
    plan.sources.iter().map(SourceRange::end_mark).collect()
}

fn starts(plan: &Plan) -> Vec<SourceMark> {
    let start = |it: &SourceRange| SourceMark { offset: it.start.clone(), ..it.end_mark() };
    plan.sources.iter().map(start).collect()
}
