//! Two faults, one after the other: every one of the first, each followed by every one of the second.
//!
//! ```text
//! for each fault at each point of the epochs asked for:
//!     run with it alone; remember every point that is hit from then on, until the epoch after has ended
//!     for each fault at each of these hits:
//!         run with both, then two epochs in peace; compare as one deep
//! ```
//! Beyond the epoch after, a second fault is one by itself: the epoch has ended as it does without faults, and what a life
//! keeps in memory is what it has at the start or has got from that epoch. That is what the runs one deep show.
//!
//! Nothing is left out at random. Two things are run once only, since a run is a function of what its owner can find:
//! - Faults of which the query dies, and leaves the same files, sinks and clock: what comes in later lives follows only one
//!   of them.
//! - Pairs of which the query dies, and leaves a world from which a run has gone well already.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tidegate_api::{Error, Result};
use tidegate_epoch::fault::Point;

use super::case::{self, Case, Shot};
use super::check::References;
use super::script::Script;
use super::world::{Seen, World};
use super::{BenchFactory, CrashSetup, Fault, ProgramKind, SINK_POINTS, SinkUnder, runtime};

/// Feeds after the last fault: each makes an epoch at least.
const TAIL: usize = 2;

/// What the pairs came to.
#[derive(Clone, Debug, Default)]
pub struct PairsReport {
    /// First faults.
    pub firsts: usize,
    /// Those of them that left a world which another had left.
    pub same_firsts: usize,
    /// Pairs of faults.
    pub pairs: usize,
    /// Pairs that were run; the others follow a first fault that left the same world as one whose pairs were run.
    pub ran: usize,
    /// Those of them that ended at a world from which a run had gone well.
    pub known: usize,
    /// Those in which both faults came to act.
    pub acted: usize,
    /// Pairs by the point of the second fault.
    pub points: BTreeMap<&'static str, usize>,
    /// The cases that ended wrong, and how.
    pub wrong: Vec<String>,
}

impl PairsReport {
    /// Adds what another run found.
    pub fn merge(&mut self, other: Self) {
        self.firsts += other.firsts;
        self.same_firsts += other.same_firsts;
        self.pairs += other.pairs;
        self.ran += other.ran;
        self.known += other.known;
        self.acted += other.acted;
        other.points.into_iter().for_each(|(point, cases)| *self.points.entry(point).or_default() += cases);
        self.wrong.extend(other.wrong);
    }
}

impl fmt::Display for PairsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { firsts, same_firsts, pairs, ran, known, acted, points, wrong } = self;
        write!(f, "{pairs} pairs, {firsts} first faults of which {same_firsts} leave the same world as another, ")?;
        write!(f, "{ran} pairs run, {known} of them to a world known before, {acted} acted, ")?;
        write!(f, "{} points, {} wrong", points.len(), wrong.len())?;
        wrong.iter().take(10).try_for_each(|it| write!(f, "\n  {it}"))
    }
}

/// Runs every pair of faults, on all processors, and tells which end wrong. The first happens in the epochs of the setup, of
/// a script in which a lot happens in few epochs.
///
/// # Errors
/// If the harness itself fails.
pub fn pairs(setup: &CrashSetup) -> Result<PairsReport> {
    let script = Arc::new(Script::dense(setup.program));
    let firsts = runtime(setup)?.block_on(case::all(setup, &script))?;
    let job = Job {
        setup,
        script,
        firsts,
        next: AtomicUsize::new(0),
        worlds: Mutex::default(),
        good: Arc::default(),
        report: Mutex::default(),
    };
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| job.work())).collect();
        let panicked = |_| Err(Error::internal("a worker panicked"));
        workers.into_iter().try_for_each(|it| it.join().unwrap_or_else(panicked))
    })?;
    Ok(job.report.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Every pair of faults over an aggregate into one sink, at the steps that a sink can tell apart. The first fault happens in
/// these of the first two epochs; in both for the longer command.
///
/// # Errors
/// As [`pairs`].
pub fn sink_pairs(bench: BenchFactory, epochs: Range<u64>) -> Result<PairsReport> {
    let sinks = vec![SinkUnder::Bench(bench)];
    let mut setup = CrashSetup { faults: Fault::every(), ..CrashSetup::on(ProgramKind::Aggregate, sinks) };
    setup.points = SINK_POINTS.to_vec();
    setup.epochs = Some(if all_pairs() { 0..2 } else { epochs });
    pairs(&setup)
}

/// True for the longer command (`TIDEGATE_TEST_PAIRS=all`), which leaves out no epoch and no set of sinks.
pub fn all_pairs() -> bool {
    std::env::var("TIDEGATE_TEST_PAIRS").is_ok_and(|it| it == "all")
}

/// What the workers share.
struct Job<'a> {
    setup: &'a CrashSetup,
    script: Arc<Script>,
    firsts: Vec<Case>,
    next: AtomicUsize,
    /// What first faults have left.
    worlds: Mutex<BTreeSet<u64>>,
    good: Arc<Mutex<BTreeSet<u64>>>,
    report: Mutex<PairsReport>,
}

impl Job<'_> {
    fn work(&self) -> Result<()> {
        let runtime = runtime(self.setup)?;
        let mut references = References::of(self.setup, self.script.clone());
        while let Some(first) = self.firsts.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let found = runtime.block_on(self.all_after(first, &mut references))?;
            self.report.lock().unwrap_or_else(PoisonError::into_inner).merge(found);
        }
        Ok(())
    }

    fn world(&self) -> Result<World> {
        let mut world = World::of(self.setup, self.script.clone())?;
        world.tail = Some(TAIL);
        Ok(world)
    }

    /// A first fault, alone and with each that may follow.
    async fn all_after(&self, first: &Case, references: &mut References) -> Result<PairsReport> {
        let mut report = PairsReport { firsts: 1, ..PairsReport::default() };
        let alone = Arc::new(self.world()?);
        alone.see(Seen { hits: Some(Vec::new()), keeps: true, ..Seen::default() });
        let wrong = self.end(&alone, first, vec![first.first], references).await?;
        if !alone.all_acted() || wrong.is_some() {
            report.wrong.push(format!("{first}: {}", wrong.unwrap_or_else(|| "it has not acted".to_owned())));
            return Ok(report);
        }
        let seen = alone.seen();
        let seconds = self.seconds(first, &seen);
        report.pairs = seconds.len();
        seconds.iter().for_each(|it| *report.points.entry(it.point.name()).or_default() += 1);
        let is_new = |print| self.worlds.lock().unwrap_or_else(PoisonError::into_inner).insert(print);
        let same = !seen.deaths.first().copied().is_none_or(is_new);
        report.same_firsts = usize::from(same);
        for second in seconds {
            let later = second.life > Some(0);
            if later && same {
                continue;
            }
            let case = Case { second: Some(second), ..first.clone() };
            let kept = seen.kept.as_ref().filter(|_| later).map_or(Ok(None), |it| it.fork())?;
            let shots = if kept.is_some() { vec![second] } else { vec![first.first, second] };
            let world = Arc::new(kept.map_or_else(|| self.world(), Ok)?);
            world.see(Seen { good: Some(self.good.clone()), ..Seen::default() });
            let wrong = self.end(&world, &case, shots, references).await?;
            let wrong = wrong.or_else(|| (!world.all_acted()).then(|| "not both faults have acted".to_owned()));
            report.ran += 1;
            report.acted += usize::from(world.all_acted());
            report.known += usize::from(world.seen().ends_known);
            report.wrong.extend(wrong.map(|it| format!("{case}: {it}")));
        }
        Ok(report)
    }

    /// Runs a case to its end; what is wrong with that.
    async fn end(
        &self,
        world: &Arc<World>,
        case: &Case,
        shots: Vec<Shot>,
        references: &mut References,
    ) -> Result<Option<String>> {
        if let Err(e) = world.clone().run_shots(shots).await {
            return Ok(Some(format!("it can't go on: {e}")));
        }
        let seen = world.seen();
        if seen.ends_known {
            return Ok(None);
        }
        let outcome = world.outcome().await.map_err(|e| e.within(case.to_string()))?;
        let wrong = references.differences(&self.setup.sinks, &outcome).await?;
        if wrong.is_empty() {
            self.good.lock().unwrap_or_else(PoisonError::into_inner).extend(seen.deaths);
        }
        Ok(wrong.into_iter().next())
    }

    /// All that may follow: each fault at each hit, till the end of the epoch after that of the first.
    fn seconds(&self, first: &Case, seen: &Seen) -> Vec<Shot> {
        let mut hits: BTreeMap<(usize, Point), u32> = BTreeMap::new();
        let mut seconds = Vec::new();
        for hit in seen.hits.iter().flatten() {
            let nth = *hits.entry((hit.life, hit.point)).and_modify(|it| *it += 1).or_insert(1);
            if hit.epoch <= first.epoch + 1 && self.setup.points.contains(&hit.point) {
                let shot = |fault: &Fault| Shot { life: Some(hit.life), ..Shot::at(hit.point, nth, *fault) };
                seconds.extend(self.setup.seconds.iter().map(shot));
            }
        }
        seconds
    }
}
