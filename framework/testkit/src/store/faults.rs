//! What goes wrong with which call: rules for exact cases first, then chance.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{FlakyPlan, Late, StoreFault, StoreOp};

const TRACE_LINES: usize = 10_000;

/// What goes wrong, and what did.
pub(super) struct Faults {
    pub(super) plan: FlakyPlan,
    pub(super) counts: BTreeMap<StoreOp, u64>,
    pub(super) faulted: u64,
    rules: Vec<Rule>,
    random: fastrand::Rng,
    calls: u64,
    in_a_row: u32,
    trace: VecDeque<String>,
    late: Vec<Late>,
}

struct Rule {
    op: StoreOp,
    matching: String,
    how: StoreFault,
    times: u32,
}

/// What one call meets.
pub(super) struct Met {
    /// Counts the calls, from 1.
    pub(super) number: u64,
    pub(super) delay: Option<Duration>,
    pub(super) fault: Option<StoreFault>,
    /// Puts that land before it.
    pub(super) late: Vec<Late>,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            plan: FlakyPlan::default(),
            counts: BTreeMap::new(),
            faulted: 0,
            rules: Vec::new(),
            random: fastrand::Rng::with_seed(seed),
            calls: 0,
            in_a_row: 0,
            trace: VecDeque::new(),
            late: Vec::new(),
        }
    }

    pub(super) fn add_rule(&mut self, op: StoreOp, matching: &str, how: StoreFault, times: u32) {
        self.rules.push(Rule { op, matching: matching.to_owned(), how, times });
    }

    pub(super) fn clear_rules(&mut self) {
        self.rules.clear();
    }

    pub(super) fn trace(&self) -> Vec<String> {
        self.trace.iter().cloned().collect()
    }

    pub(super) fn note(&mut self, line: String) {
        if self.trace.len() == TRACE_LINES {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    /// Decides over a call that begins now.
    pub(super) fn meet(&mut self, op: StoreOp, path: &str) -> Met {
        self.calls += 1;
        *self.counts.entry(op).or_default() += 1;
        // Each call takes the same number of random numbers, whatever is planned: so plans can be changed in a run and
        // calls before the change keep their faults.
        let (pick, whether, how_long, how_late) =
            (self.random.f64(), self.random.f64(), self.random.f64(), self.random.u32(1..=4));
        let (delay, fault) = match self.rule(op, path) {
            Some(StoreFault::Delay(time)) => (Some(time), None),
            Some(how) => (None, Some(how)),
            None if self.planned(op, path) => {
                let delay = self.plan.delay.filter(|(share, _)| whether < *share);
                (delay.map(|(_, most)| most.mul_f64(how_long)), self.chance(op, pick, how_late))
            }
            None => (None, None),
        };
        let fault = fault.map(|it| as_it_applies(op, it));
        self.faulted += u64::from(fault.is_some());
        if self.planned(op, path) {
            self.count_in_a_row(fault);
        }
        let late = self.take_late(self.calls);
        let slow = delay.map(|it| format!(" {},", StoreFault::Delay(it))).unwrap_or_default();
        let how = fault.map_or_else(|| "ok".to_owned(), |it| it.to_string());
        self.note(format!("{} {op} {path}{slow} {how}", self.calls));
        Met { number: self.calls, delay, fault, late }
    }

    /// Keeps a put that lands later.
    pub(super) fn keep_late(&mut self, put: Late) {
        self.late.push(put);
    }

    /// The puts that land when `call` begins.
    pub(super) fn take_late(&mut self, call: u64) -> Vec<Late> {
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|it| it.at <= call);
        self.late = later;
        due
    }

    fn rule(&mut self, op: StoreOp, path: &str) -> Option<StoreFault> {
        let found = self.rules.iter_mut().find(|it| it.op == op && it.times > 0 && path.contains(&it.matching))?;
        found.times -= 1;
        let how = found.how;
        self.rules.retain(|it| it.times > 0);
        Some(how)
    }

    fn planned(&self, op: StoreOp, path: &str) -> bool {
        (self.plan.only.is_empty() || self.plan.only.contains(&op)) && path.contains(&self.plan.matching)
    }

    fn chance(&self, op: StoreOp, pick: f64, late: u32) -> Option<StoreFault> {
        if self.plan.most_in_a_row.is_some_and(|most| self.in_a_row >= most) {
            return None;
        }
        let plan = &self.plan;
        let shares = [
            (plan.fail, StoreFault::Fail),
            (plan.unavailable, StoreFault::Unavailable),
            (plan.lose_reply, StoreFault::LoseReply),
            (plan.repeat, StoreFault::Repeat),
            (plan.overtake, StoreFault::Overtake),
            (plan.land_late, StoreFault::LandLate(late)),
        ];
        let mut below = 0.0;
        for (share, fault) in shares {
            below += share;
            if pick < below {
                let fits = match fault {
                    StoreFault::Overtake => op.writes(),
                    StoreFault::LandLate(_) => op == StoreOp::Put,
                    _ => true,
                };
                return fits.then_some(fault);
            }
        }
        None
    }

    fn count_in_a_row(&mut self, fault: Option<StoreFault>) {
        let error = matches!(
            fault,
            Some(StoreFault::Fail | StoreFault::Unavailable | StoreFault::LoseReply | StoreFault::LandLate(_))
        );
        self.in_a_row = if error { self.in_a_row + 1 } else { 0 };
    }
}

/// What a fault comes to for a call of this kind.
fn as_it_applies(op: StoreOp, fault: StoreFault) -> StoreFault {
    match fault {
        StoreFault::LoseReply if !op.writes() => StoreFault::Fail,
        StoreFault::LandLate(_) if op != StoreOp::Put => StoreFault::Fail,
        other => other,
    }
}
