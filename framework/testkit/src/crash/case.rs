//! The cases: which fault at which hit of which point, and what follows it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tidegate_api::{ErrorKind, Result};
use tidegate_epoch::Faults;
use tidegate_epoch::fault::{Action, PauseGate, Point};

use super::world::World;
use super::{CrashSetup, Fault};

/// A fault at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shot {
    pub(crate) point: Point,
    /// Which hit of the point, from 1; of a second fault counted from the first.
    pub(crate) nth: u32,
    pub(crate) fault: Fault,
}

impl fmt::Display for Shot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} (hit {})", self.fault, self.point, self.nth)
    }
}

impl Shot {
    /// Arms it, after all that is armed already; a stop gives its gate.
    pub(crate) fn arm(&self, faults: &Faults) -> Option<PauseGate> {
        let Self { point, nth, fault } = *self;
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

/// One case.
#[derive(Clone, Copy, Debug)]
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
pub(super) async fn all(setup: &CrashSetup) -> Result<Vec<Case>> {
    let sound = CrashSetup { mistake: None, ..setup.clone() };
    let trace = Arc::new(World::new(&sound)?).trace().await?;
    let epochs = trace.iter().map(|it| it.0 + 1).max().unwrap_or(0);
    let mut hits: BTreeMap<Point, u32> = BTreeMap::new();
    let mut cases = Vec::new();
    let mut skipped = 0;
    for (epoch, point) in trace {
        let nth = *hits.entry(point).and_modify(|it| *it += 1).or_insert(1);
        let wanted = setup.epochs.as_ref().is_none_or(|it| it.contains(&epoch));
        // Two epochs must follow, to show what came of it.
        if epoch + 2 >= epochs || !wanted || !setup.points.contains(&point) {
            continue;
        }
        for fault in &setup.faults {
            let case = Case { first: Shot { point, nth, fault: *fault }, epoch, second: None };
            if !setup.two_deep || setup.every == 1 {
                cases.push(case);
            }
            if !setup.two_deep {
                continue;
            }
            for fault in &setup.second {
                for point in &setup.points {
                    skipped += 1;
                    if skipped % setup.every.max(1) == 0 {
                        cases.push(Case { second: Some(Shot { point: *point, nth: 1, fault: *fault }), ..case });
                    }
                }
            }
        }
    }
    Ok(cases)
}
