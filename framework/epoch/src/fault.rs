//! Named fault points: where a test makes the loop fail, stop dead or kill its process.
//!
//! A point stands before its step; those of a file stand after the write, the fsync and the rename that they name. With
//! nothing armed a point costs one relaxed load.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_api::{Error, ErrorKind, Result};

mod pause;

pub use pause::PauseGate;

/// Faults for a whole process, as in [`Faults::arm`].
pub const FAULTS_ENV: &str = "TIDEGATE_FAULTS";
/// A file that always holds the phase that the loop is in.
pub const PHASE_FILE_ENV: &str = "TIDEGATE_PHASE_FILE";

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A place in the loop.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Point { $($(#[$doc])* $variant,)* }

        impl Point {
            /// All points, in the order of an epoch.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name, as in [`Faults::arm`].
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

points! {
    /// Before the sources plan.
    Plan = "plan",
    /// Planned; before any row is read.
    Run = "run",
    /// Before the sinks prepare what they took as it came.
    Prepare = "prepare",
    /// Before rows that wait for their sink go to a file.
    StageWrite = "stage.write",
    /// That file is durable.
    StageFsync = "stage.fsync",
    /// The record is written, to a temporary file.
    RecordWrite = "record.write",
    /// The temporary file is durable.
    RecordFsync = "record.fsync",
    /// The record has its name.
    RecordRename = "record.rename",
    /// The name is durable: the epoch is logged.
    RecordDirsync = "record.dirsync",
    /// The epoch is logged; before ownership is checked.
    Ownership = "ownership",
    /// Before a sink is written from the stage.
    CommitStaged = "commit.staged",
    /// What a sink rejected of the rows that waited for it is durable; before it commits the others.
    CommitRejects = "commit.rejects",
    /// Before a sink commits.
    CommitBefore = "commit.before",
    /// A sink has committed.
    CommitAfter = "commit.after",
    /// All have committed; before `commits/N`.
    CommitsFile = "commits_file",
    /// Before the overlay becomes state N.
    Seal = "seal",
    /// The snapshot is written, to a temporary file.
    SnapshotWrite = "snapshot.write",
    /// The snapshot has its name.
    SnapshotRename = "snapshot.rename",
    /// Before old log entries go, and again before old snapshots go.
    Purge = "purge",
    /// An attempt has failed; before what it did is dropped.
    Discard = "discard",
    /// Before something that failed for now is tried again.
    Retry = "retry",
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Point {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.iter().copied().find(|it| it.name() == text);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|it| it.name()).collect();
            Error::config(format!("fault point '{text}': expected one of {}", names.join(", ")))
        })
    }
}

/// What happens at an armed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The step fails with an error of this kind.
    Error(ErrorKind),
    /// The query stops as if the process had died: no clean-up runs, and every later step fails.
    Crash,
    /// The process is killed.
    Kill,
    /// The whole process stops until somebody sends SIGCONT; then it goes on as if nothing had been.
    Stop,
}

struct Rule {
    point: Point,
    does: Does,
    /// Hits that still pass.
    skip: u32,
    /// Hits that still act.
    times: u32,
    /// Waits until all rules before it are used up.
    waits: bool,
    acted: bool,
}

#[derive(Clone)]
enum Does {
    Act(Action),
    Pause(PauseGate),
}

#[derive(Default)]
struct Inner {
    active: AtomicBool,
    crashed: AtomicBool,
    plan: Mutex<FaultPlan>,
}

/// A point that was hit.
struct Hit {
    epoch: u64,
    point: Point,
    /// All that was armed had acted, as often as it may.
    after: bool,
}

#[derive(Default)]
struct FaultPlan {
    rules: Vec<Rule>,
    trace: Option<Vec<Hit>>,
    phase_file: Option<PathBuf>,
}

/// The fault points of one query; clones share them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Inner>);

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("crashed", &self.crashed()).finish_non_exhaustive()
    }
}

impl Faults {
    /// Arms faults: `<point>=<action>[@<n>][*<times>]`, separated by commas. Actions: `error` (transient), `internal`,
    /// `crash`, `kill`, `stop`. `@3` passes two hits first; `*10` acts on ten hits instead of one.
    ///
    /// # Errors
    /// `Config` if the text is not of that form.
    pub fn arm(&self, text: &str) -> Result<()> {
        let rules = text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(parse_rule);
        let rules: Vec<Rule> = rules.collect::<Result<_>>()?;
        self.plan().rules.extend(rules);
        self.0.active.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Arms `action` for the `nth` hit of `point` from now, counted from 1.
    pub fn arm_point(&self, point: Point, action: Action, nth: u32) {
        self.push(Rule::of(point, Does::Act(action), nth));
    }

    /// Arms `action` for `times` hits of `point`, from the `nth` (from 1) after all that was armed before has acted.
    pub fn arm_then(&self, point: Point, action: Action, nth: u32, times: u32) {
        self.push(Rule { times, waits: true, ..Rule::of(point, Does::Act(action), nth) });
    }

    /// Makes who comes to `point` for the `nth` time stand still there, once all that was armed before has acted.
    pub fn arm_pause(&self, point: Point, nth: u32) -> PauseGate {
        let gate = PauseGate::default();
        self.push(Rule { waits: true, ..Rule::of(point, Does::Pause(gate.clone()), nth) });
        gate
    }

    /// How many of the faults armed so far have acted.
    #[must_use]
    pub fn acted(&self) -> usize {
        self.plan().rules.iter().filter(|it| it.acted).count()
    }

    fn push(&self, rule: Rule) {
        self.plan().rules.push(rule);
        self.0.active.store(true, Ordering::Relaxed);
    }

    /// Takes what the environment says.
    pub(crate) fn arm_from_env(&self) -> Result<()> {
        if let Ok(text) = std::env::var(FAULTS_ENV) {
            self.arm(&text).map_err(|e| e.within(FAULTS_ENV))?;
        }
        if let Some(path) = std::env::var_os(PHASE_FILE_ENV) {
            self.plan().phase_file = Some(path.into());
            self.0.active.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// From now on remembers every point hit, for [`Faults::trace`].
    pub fn watch(&self) {
        self.plan().trace = Some(Vec::new());
        self.0.active.store(true, Ordering::Relaxed);
    }

    /// The points hit since [`Faults::watch`], with the epoch's number.
    #[must_use]
    pub fn trace(&self) -> Vec<(u64, Point)> {
        self.hits(|_| true)
    }

    /// Those of them that came after all that was armed had acted, as often as it may.
    #[must_use]
    pub fn trace_after(&self) -> Vec<(u64, Point)> {
        self.hits(|it| it.after)
    }

    fn hits(&self, wanted: impl Fn(&Hit) -> bool) -> Vec<(u64, Point)> {
        let plan = self.plan();
        plan.trace.iter().flatten().filter(|it| wanted(it)).map(|it| (it.epoch, it.point)).collect()
    }

    /// True once a `crash` has acted.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.0.crashed.load(Ordering::Relaxed)
    }

    /// The loop is at `point`.
    pub(crate) fn hit(&self, point: Point, epoch: u64) -> Result<()> {
        if self.0.active.load(Ordering::Relaxed) { self.hit_active(point, epoch) } else { Ok(()) }
    }

    #[cold]
    fn hit_active(&self, point: Point, epoch: u64) -> Result<()> {
        if self.crashed() {
            return Err(crash(point, epoch));
        }
        let action = {
            let mut plan = self.plan();
            let after = plan.rules.iter().all(|it| it.times == 0);
            if let Some(trace) = &mut plan.trace {
                trace.push(Hit { epoch, point, after });
            }
            if let Some(path) = &plan.phase_file {
                // A torn or missing line only costs a test its label.
                let _ = std::fs::write(path, format!("{epoch} {point}\n"));
            }
            due(&mut plan.rules, point)
        };
        match action {
            None => Ok(()),
            Some(Does::Pause(gate)) => {
                gate.stand();
                Ok(())
            }
            Some(Does::Act(Action::Error(kind))) => Err(Error::new(kind, format!("fault at {point} of epoch {epoch}"))),
            Some(Does::Act(Action::Crash)) => {
                self.0.crashed.store(true, Ordering::Relaxed);
                Err(crash(point, epoch))
            }
            Some(Does::Act(Action::Kill)) => kill(),
            Some(Does::Act(Action::Stop)) => {
                signal("-STOP");
                Ok(())
            }
        }
    }

    fn plan(&self) -> MutexGuard<'_, FaultPlan> {
        self.0.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule {
    fn of(point: Point, does: Does, nth: u32) -> Self {
        Self { point, does, skip: nth.saturating_sub(1), times: 1, waits: false, acted: false }
    }
}

fn due(rules: &mut [Rule], point: Point) -> Option<Does> {
    let mut does = None;
    // This hit is not yet one after those before have acted.
    let mut all_spent = true;
    for rule in rules {
        let waits = rule.waits && !all_spent;
        all_spent &= rule.times == 0;
        if waits || rule.point != point || rule.times == 0 {
            continue;
        }
        if rule.skip > 0 {
            rule.skip -= 1;
        } else if does.is_none() {
            rule.times -= 1;
            rule.acted = true;
            does = Some(rule.does.clone());
        }
    }
    does
}

fn crash(point: Point, epoch: u64) -> Error {
    Error::internal(format!("crash at {point} of epoch {epoch}"))
}

/// SIGKILL, so that nothing of this process runs on; `abort` should the command be missing.
fn kill() -> ! {
    signal("-KILL");
    std::process::abort()
}

/// Sends this process a signal. A stop takes hold before this returns.
fn signal(name: &str) {
    let pid = std::process::id().to_string();
    let _ = std::process::Command::new("kill").args([name, &pid]).status();
}

fn parse_rule(text: &str) -> Result<Rule> {
    let wrong =
        || Error::config(format!("fault '{text}': expected <point>=error|internal|crash|kill|stop[@<n>][*<times>]"));
    let (point, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (rest, times) = match rest.split_once('*') {
        Some((rest, times)) => (rest, times.parse().map_err(|_| wrong())?),
        None => (rest, 1),
    };
    let (action, nth) = match rest.split_once('@') {
        Some((action, nth)) => (action, nth.parse::<u32>().map_err(|_| wrong())?),
        None => (rest, 1),
    };
    let action = match action {
        "error" => Action::Error(ErrorKind::Transient),
        "internal" => Action::Error(ErrorKind::Internal),
        "crash" => Action::Crash,
        "kill" => Action::Kill,
        "stop" => Action::Stop,
        _ => return Err(wrong()),
    };
    Ok(Rule { times, ..Rule::of(point.parse()?, Does::Act(action), nth) })
}

#[cfg(test)]
mod tests;
