//! The crash matrix: a query is stopped at every step of every epoch, started again with more data, and must end as a
//! run without faults does.
//!
//! ```text
//! for each fault point × each fault × each epoch of the script:
//!     run till the fault; on a stop: add data, start again; run to the end
//!     expect the rows of every sink, the watermarks, the state, and the state that a restart finds
//!            to be those of a run without faults whose epochs have the same ranges
//! ```
//! [`pairs`] runs each of these with a second fault behind it. With a [`Mistake`] planted, the matrix must find something
//! wrong: that is what shows that it can.
//!
//! On a runtime of one thread whose time is paused a case takes no longer than its work.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tidegate_api::{Error, Result};
use tidegate_epoch::fault::Point;
use tokio::runtime::{Builder, Runtime};

pub(crate) mod case;
pub(crate) mod check;
mod groups;
mod join;
pub(crate) mod letters;
mod log;
mod mistake;
mod pairs;
mod place;
mod program;
mod rewind;
pub(crate) mod script;
pub(crate) mod world;

pub use mistake::Mistake;
pub use pairs::{PairsReport, all_pairs, pairs, sink_pairs};
pub use place::Place;
pub use rewind::rewinds;
pub use script::output_schema;

use crate::memory::{MemoryKind, MemoryTable};
use crate::suite::SinkBench;
use world::World;

/// Gives the outside system of a sink for one case, in an empty folder that is its own.
pub type BenchFactory = Arc<dyn Fn(&Path) -> Result<Box<dyn SinkBench>> + Send + Sync>;

/// A sink under test.
#[derive(Clone)]
pub enum SinkUnder {
    /// One in memory.
    Memory(MemoryKind),
    /// One of a connector: what it shows is compared with all rows in order.
    Bench(BenchFactory),
}

impl SinkUnder {
    /// A memory sink that writes row by row, by the columns that tell the rows of the matrix apart.
    pub fn piecemeal() -> Self {
        Self::Memory(MemoryKind::Piecemeal(script::KEYS.to_vec()))
    }
}

/// What the query of the matrix computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProgramKind {
    /// Passes its rows on.
    Stateless,
    /// Counts words in windows of ten seconds, five seconds behind; emits the groups that changed and those that closed.
    Aggregate,
    /// Joins two sources by word, within ten seconds; each has a watermark.
    Join,
    /// As `Aggregate`, but each group carries which attempt wrote it last, so no two attempts agree.
    Volatile,
    /// As `Aggregate`, but each start brings another version of the query, and each group carries the version that wrote it
    /// last.
    Changed,
    /// Counts as `Aggregate` for each sink by itself: the first is fed by one source, the second by another, others by
    /// both. Each source has a watermark.
    Groups,
    /// As `Stateless`, but each sink rejects some rows, which become dead letters.
    Letters,
    /// As `Aggregate`, with no memory for sealed state: all of it lies in scratch files, which no later life finds.
    Spilling,
}

impl ProgramKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Stateless,
        Self::Aggregate,
        Self::Join,
        Self::Volatile,
        Self::Changed,
        Self::Groups,
        Self::Letters,
        Self::Spilling,
    ];

    /// How many sources it reads, each with a watermark of its own.
    pub(crate) fn sources(self) -> usize {
        if matches!(self, Self::Join | Self::Groups) { 2 } else { 1 }
    }

    /// True if two attempts at an epoch show different rows.
    pub fn is_volatile(self) -> bool {
        matches!(self, Self::Volatile | Self::Changed)
    }
}

/// What is done at a fault point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies.
    Crash,
    /// The step fails once.
    ErrorOnce,
    /// The step fails ten times in a row.
    ErrorTenTimes,
    /// The step fails for good.
    PermanentError,
    /// The process stands still; a second owner takes over and commits two epochs; then the first goes on.
    Stop,
    /// As `Stop`, but the second owner has only recovered when the first goes on.
    StopBriefly,
}

impl Fault {
    /// All that needs one owner.
    pub const ALL: [Self; 4] = [Self::Crash, Self::ErrorOnce, Self::ErrorTenTimes, Self::PermanentError];
    /// All that needs two.
    pub const STOPS: [Self; 2] = [Self::Stop, Self::StopBriefly];

    /// All of them.
    pub fn every() -> Vec<Self> {
        Self::ALL.into_iter().chain(Self::STOPS).collect()
    }
}

/// The steps that a sink can tell apart: what else there is lies between the same two calls of it, with the same record.
pub const SINK_POINTS: [Point; 10] = [
    Point::Run,
    Point::Prepare,
    Point::RecordWrite,
    Point::RecordDirsync,
    Point::CommitStaged,
    Point::CommitBefore,
    Point::CommitAfter,
    Point::CommitsFile,
    Point::Discard,
    Point::Retry,
];

/// What to run.
#[derive(Clone)]
pub struct CrashSetup {
    /// What the query computes.
    pub program: ProgramKind,
    /// Its sinks, in the order of commit. Each gets append rows of [`output_schema`].
    pub sinks: Vec<SinkUnder>,
    /// Where the checkpoint lies.
    pub place: Place,
    /// What happens at the points.
    pub faults: Vec<Fault>,
    /// The points, all by default.
    pub points: Vec<Point>,
    /// The epochs in which the first fault happens; none: in all.
    pub epochs: Option<Range<u64>>,
    /// What happens at the points after that, in [`pairs`].
    pub seconds: Vec<Fault>,
    /// Stops and starts the query after every epoch, so that each begins from the checkpoint.
    pub restart_each_epoch: bool,
    /// Epochs between two snapshots of the state; without any, every start reads all deltas.
    pub snapshot_epochs: u64,
    /// How many bytes of staged rows stay in the record; more go to a file. None: as usual.
    pub stage_memory: Option<usize>,
    /// False leaves it to the sinks to fence an owner that was followed by another.
    pub check_ownership: bool,
    /// A mistake to be caught.
    pub mistake: Option<Mistake>,
}

impl CrashSetup {
    /// All faults of one owner, one deep, on these sinks, with the checkpoint on the local disk.
    pub fn new(program: ProgramKind, sinks: Vec<BenchFactory>) -> Self {
        let sinks = sinks.into_iter().map(SinkUnder::Bench).collect();
        Self { place: Place::Disk, ..Self::on(program, sinks) }
    }

    /// All faults of one owner, one deep, on these sinks, with the checkpoint in memory.
    pub fn on(program: ProgramKind, sinks: Vec<SinkUnder>) -> Self {
        Self {
            program,
            sinks,
            place: Place::Memory,
            faults: Fault::ALL.to_vec(),
            points: Point::ALL.to_vec(),
            epochs: None,
            seconds: Fault::every(),
            restart_each_epoch: false,
            snapshot_epochs: 1,
            stage_memory: None,
            check_ownership: true,
            mistake: None,
        }
    }

    /// All faults, one deep, on so many memory sinks, with the checkpoint on the local disk.
    pub fn memory(program: ProgramKind, sinks: usize) -> Self {
        Self::new(program, (0..sinks).map(|_| memory_bench()).collect())
    }

    /// The same with a mistake.
    #[must_use]
    pub fn with_mistake(mut self, mistake: Mistake) -> Self {
        self.mistake = Some(mistake);
        self
    }
}

/// A bench of the memory sink.
pub fn memory_bench() -> BenchFactory {
    Arc::new(|_| Ok(Box::new(MemoryTable::new())))
}

/// What the matrix found.
#[derive(Clone, Debug, Default)]
pub struct MatrixReport {
    /// Cases run.
    pub cases: usize,
    /// Those of them in which every fault came to act.
    pub acted: usize,
    /// Cases by fault point.
    pub points: BTreeMap<&'static str, usize>,
    /// The cases that ended wrong, and how.
    pub wrong: Vec<String>,
}

impl MatrixReport {
    /// Adds what another run found.
    pub fn merge(&mut self, other: Self) {
        self.cases += other.cases;
        self.acted += other.acted;
        other.points.into_iter().for_each(|(point, cases)| *self.points.entry(point).or_default() += cases);
        self.wrong.extend(other.wrong);
    }
}

impl fmt::Display for MatrixReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} cases at {} points end wrong", self.wrong.len(), self.cases, self.points.len())?;
        self.wrong.iter().take(10).try_for_each(|it| write!(f, "\n  {it}"))?;
        let more = self.wrong.len().saturating_sub(10);
        if more > 0 { write!(f, "\n  and {more} more") } else { Ok(()) }
    }
}

/// On memory sinks time is nobody's: what waits for it goes on at once. A connector gets threads, as in a query.
fn runtime(setup: &CrashSetup) -> Result<Runtime> {
    let connectors = setup.sinks.iter().any(|it| matches!(it, SinkUnder::Bench(_)));
    let runtime = match connectors {
        true => Builder::new_multi_thread().worker_threads(1).enable_all().build(),
        false => Builder::new_current_thread().enable_time().start_paused(true).build(),
    };
    runtime.map_err(|e| Error::internal("no runtime").because(e))
}

/// Runs every case and tells which end wrong.
///
/// # Errors
/// If the harness itself fails, for example because no folder can be made.
pub async fn matrix(setup: &CrashSetup) -> Result<MatrixReport> {
    let mut references = check::References::new(setup);
    let mut report = MatrixReport::default();
    let script = Arc::new(script::Script::of(setup.program));
    for case in case::all(setup, &script).await? {
        report.cases += 1;
        *report.points.entry(case.first.point.name()).or_default() += 1;
        let world = Arc::new(World::of(setup, script.clone())?);
        let wrong = match world.clone().run_case(&case).await {
            Ok(()) => references.differences(&setup.sinks, &world.outcome().await?).await?,
            Err(e) => vec![format!("it can't go on: {e}")],
        };
        report.acted += usize::from(world.all_acted());
        report.wrong.extend(wrong.first().map(|it| format!("{case}: {it}")));
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
