//! The cases: which fault at which hit of which point, and what follows it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tidegate_api::{ErrorKind, Result};
use tidegate_epoch::Faults;
use tidegate_epoch::fault::{Action, PauseGate, Point};

use super::script::Script;
use super::world::World;
use super::{CrashSetup, Fault};

/// A fault at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shot {
    pub(crate) point: Point,
    /// Which hit of the point, from 1; of a second fault counted from the first.
    pub(crate) nth: u32,
    pub(crate) fault: Fault,
    /// The life in which it comes, from 0; none: the first one that is left to it.
    pub(crate) life: Option<usize>,
}

impl fmt::Display for Shot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} (hit {}", self.fault, self.point, self.nth)?;
        self.life.map_or(Ok(()), |it| write!(f, " of life {it}"))?;
        f.write_str(")")
    }
}

impl Shot {
    pub(crate) fn at(point: Point, nth: u32, fault: Fault) -> Self {
        Self { point, nth, fault, life: None }
    }

    /// Arms it, after all that is armed already; a stop gives its gate.
    pub(crate) fn arm(&self, faults: &Faults) -> Option<PauseGate> {
        let Self { point, nth, fault, .. } = *self;
        let (action, times) = match fault {
            Fault::Crash => (Action::Crash, 1),
            Fault::ErrorOnce => (Action::Error(ErrorKind::Transient), 1),
            Fault::ErrorTenTimes => (Action::Error(ErrorKind::Transient), 10),
            Fault::PermanentError => (Action::Error(ErrorKind::Internal), 1),
            Fault::Stop | Fault::StopBriefly => return Some(faults.arm_pause(point, nth)),
        };
        faults.arm_then(point, action, nth, times);
        None
    }

    /// True if it takes a second owner.
    pub(crate) fn stops(&self) -> bool {
        Fault::STOPS.contains(&self.fault)
    }
}

/// One case: faults one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) first: Shot,
    /// The epoch of the first.
    pub(crate) epoch: u64,
    pub(crate) second: Option<Shot>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of epoch {}", self.first, self.epoch)?;
        self.second.map_or(Ok(()), |it| write!(f, ", then {it}"))
    }
}

/// A run without faults shows which points are hit, how often, and in which epochs.
pub(super) async fn all(setup: &CrashSetup, script: &Arc<Script>) -> Result<Vec<Case>> {
    let sound = CrashSetup { mistake: None, ..setup.clone() };
    let trace = Arc::new(World::of(&sound, script.clone())?).trace().await?;
    let epochs = trace.iter().map(|it| it.0 + 1).max().unwrap_or(0);
    let mut hits: BTreeMap<Point, u32> = BTreeMap::new();
    let mut cases = Vec::new();
    for (epoch, point) in trace {
        let nth = *hits.entry(point).and_modify(|it| *it += 1).or_insert(1);
        let wanted = setup.epochs.as_ref().is_none_or(|it| it.contains(&epoch));
        // Two epochs must follow, to show what came of it.
        if epoch + 2 >= epochs || !wanted || !setup.points.contains(&point) {
            continue;
        }
        let case = |fault: &Fault| Case { first: Shot::at(point, nth, *fault), epoch, second: None };
        cases.extend(setup.faults.iter().map(case));
    }
    Ok(cases)
}
