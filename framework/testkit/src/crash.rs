//! The crash matrix: a query is stopped at every step of every epoch, started again with more data, and must end as a
//! run without faults does.
//!
//! ```text
//! for each fault point × {crash, error, ten errors, permanent error} × each epoch of the script:
//!     run till the fault; on a stop: add data, start again; run to the end
//!     expect the rows of every sink, the watermarks, the state, and the state that a restart finds
//!            to be those of a run without faults whose epochs have the same ranges
//! ```
//! With a [`Mistake`] planted, it must find something wrong: that is what shows that it can.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tidegate_api::{ErrorKind, Result};
use tidegate_epoch::Faults;
use tidegate_epoch::fault::{Action, Point};

mod check;
mod log;
mod mistake;
mod program;
mod script;
mod world;

pub use mistake::Mistake;
pub use script::output_schema;

use crate::memory::MemoryTable;
use crate::suite::SinkBench;
use world::World;

/// Gives the outside system of a sink for one case, in an empty folder that is its own.
pub type BenchFactory = Arc<dyn Fn(&Path) -> Result<Box<dyn SinkBench>> + Send + Sync>;

/// What the query of the matrix computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramKind {
    /// Passes its rows on.
    Stateless,
    /// Counts words in windows of ten seconds, five seconds behind; emits the groups that changed and those that closed.
    Aggregate,
    /// As `Aggregate`, but each group carries which attempt wrote it last, so no two attempts agree. For one sink only.
    Volatile,
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
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Crash, Self::ErrorOnce, Self::ErrorTenTimes, Self::PermanentError];
}

/// What to run.
#[derive(Clone)]
pub struct CrashSetup {
    /// What the query computes.
    pub program: ProgramKind,
    /// Its sinks, in the order of commit. Each gets append rows of [`output_schema`].
    pub sinks: Vec<BenchFactory>,
    /// What happens at the points.
    pub faults: Vec<Fault>,
    /// The points, all by default.
    pub points: Vec<Point>,
    /// For each case with a crash also all cases with a second crash, at any first point after the restart.
    pub two_deep: bool,
    /// Stops and starts the query after every epoch, so that each begins from the checkpoint.
    pub restart_each_epoch: bool,
    /// Epochs between two snapshots of the state; without any, every start reads all deltas.
    pub snapshot_epochs: u64,
    /// A mistake to be caught.
    pub mistake: Option<Mistake>,
}

impl CrashSetup {
    /// All faults, one deep, on these sinks.
    pub fn new(program: ProgramKind, sinks: Vec<BenchFactory>) -> Self {
        Self {
            program,
            sinks,
            faults: Fault::ALL.to_vec(),
            points: Point::ALL.to_vec(),
            two_deep: false,
            restart_each_epoch: false,
            snapshot_epochs: 1,
            mistake: None,
        }
    }

    /// All faults, one deep, on so many memory sinks.
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
    /// Cases by fault point.
    pub points: BTreeMap<&'static str, usize>,
    /// The cases that ended wrong, and how.
    pub wrong: Vec<String>,
}

impl fmt::Display for MatrixReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} cases at {} points end wrong", self.wrong.len(), self.cases, self.points.len())?;
        self.wrong.iter().take(10).try_for_each(|it| write!(f, "\n  {it}"))?;
        let more = self.wrong.len().saturating_sub(10);
        if more > 0 { write!(f, "\n  and {more} more") } else { Ok(()) }
    }
}

/// One case: faults for the first life and for the one after it.
#[derive(Clone, Copy, Debug)]
struct Case {
    point: Point,
    /// Which hit of the point, from 1.
    nth: u32,
    epoch: u64,
    fault: Fault,
    second: Option<Point>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { point, nth, epoch, fault, .. } = self;
        write!(f, "{fault:?} at {point} of epoch {epoch} (hit {nth})")?;
        self.second.map_or(Ok(()), |it| write!(f, ", crash at {it} after the restart"))
    }
}

impl Case {
    /// The faults of a life, by its number.
    fn faults(&self, life: usize) -> Result<Faults> {
        let faults = Faults::default();
        let Self { point, nth, .. } = self;
        match (life, self.fault) {
            (0, Fault::Crash) => faults.arm_point(*point, Action::Crash, *nth),
            (0, Fault::ErrorOnce) => faults.arm_point(*point, Action::Error(ErrorKind::Transient), *nth),
            (0, Fault::ErrorTenTimes) => faults.arm(&format!("{point}=error@{nth}*10"))?,
            (0, Fault::PermanentError) => faults.arm_point(*point, Action::Error(ErrorKind::Internal), *nth),
            (1, _) => self.second.into_iter().for_each(|it| faults.arm_point(it, Action::Crash, 1)),
            _ => {}
        }
        Ok(faults)
    }
}

/// Runs every case and tells which end wrong.
///
/// # Errors
/// If the harness itself fails, for example because no folder can be made.
pub async fn matrix(setup: &CrashSetup) -> Result<MatrixReport> {
    let mut references = check::References::new(setup);
    let mut report = MatrixReport::default();
    for case in cases(setup).await? {
        report.cases += 1;
        *report.points.entry(case.point.name()).or_default() += 1;
        let outcome = World::new(setup)?.run_case(&case).await;
        let wrong = match outcome {
            Ok(outcome) => references.differences(&outcome).await?,
            Err(e) => vec![format!("it can't go on: {e}")],
        };
        report.wrong.extend(wrong.first().map(|it| format!("{case}: {it}")));
    }
    Ok(report)
}

/// A run without faults shows which points are hit, how often, and in which epochs.
async fn cases(setup: &CrashSetup) -> Result<Vec<Case>> {
    let sound = CrashSetup { mistake: None, ..setup.clone() };
    let trace = World::new(&sound)?.trace().await?;
    let epochs = trace.iter().map(|it| it.0 + 1).max().unwrap_or(0);
    let mut hits: BTreeMap<Point, u32> = BTreeMap::new();
    let mut cases = Vec::new();
    for (epoch, point) in trace {
        let nth = *hits.entry(point).and_modify(|it| *it += 1).or_insert(1);
        // Two epochs must follow, to show what came of it.
        if epoch + 2 >= epochs || !setup.points.contains(&point) {
            continue;
        }
        for fault in &setup.faults {
            let case = Case { point, nth, epoch, fault: *fault, second: None };
            cases.push(case);
            if setup.two_deep && *fault == Fault::Crash {
                cases.extend(setup.points.iter().map(|it| Case { second: Some(*it), ..case }));
            }
        }
    }
    Ok(cases)
}
