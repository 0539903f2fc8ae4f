//! What a case must equal: a run without faults whose epochs have the same ranges and times.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::{Error, Result};

use super::script::{self, OutputRow};
use super::world::{Outcome, World};
use super::{CrashSetup, ProgramKind, memory_bench};

/// Where epochs end, and at which time.
type Cut = Vec<(u64, i64)>;

/// Runs without faults, on memory sinks, by their cut.
pub(super) struct References {
    setup: CrashSetup,
    known: BTreeMap<Cut, Arc<Outcome>>,
}

impl References {
    pub(super) fn new(setup: &CrashSetup) -> Self {
        let sinks = setup.sinks.iter().map(|_| memory_bench()).collect();
        Self { setup: CrashSetup::new(setup.program, sinks), known: BTreeMap::new() }
    }

    /// All that differs from a run without faults.
    pub(super) async fn differences(&mut self, found: &Outcome) -> Result<Vec<String>> {
        let mut wrong = found.wrong.clone();
        let numbers: Vec<u64> = found.log.keys().copied().collect();
        if numbers != (0..numbers.len() as u64).collect::<Vec<_>>() {
            wrong.push(format!("the log has epochs {numbers:?}"));
            return Ok(wrong);
        }
        let cut: Cut = found.log.values().map(|it| (it.end, it.time_ms)).collect();
        let read = cut.last().map_or(0, |it| it.0);
        if read != script::adds() {
            wrong.push(format!("{read} of {} adds were read", script::adds()));
        }
        let expected = match self.run(cut).await {
            Ok(expected) => expected,
            Err(e) => {
                wrong.push(format!("a run without faults has other epochs: {e}"));
                return Ok(wrong);
            }
        };
        let volatile = self.setup.program == ProgramKind::Volatile;
        for (at, (expected, came)) in expected.sinks.iter().zip(&found.sinks).enumerate() {
            let (expected, rows) =
                if volatile { (unmarked(expected), unmarked(came)) } else { (expected.clone(), came.clone()) };
            wrong.extend(rows_differ(&expected, &rows).map(|it| format!("sink {at}: {it}")));
            if volatile {
                wrong.extend(broken_chain(came).map(|it| format!("sink {at}: {it}")));
            }
        }
        for (epoch, entry) in &found.log {
            let expected = expected.log.get(epoch);
            if expected != Some(entry) {
                wrong.push(format!("the log of epoch {epoch} says {entry:?}, without faults {expected:?}"));
            }
        }
        if found.restored != found.state {
            wrong.push(format!("the state is {:?}, a restart finds {:?}", found.state, found.restored));
        }
        if !volatile && found.state != expected.state {
            wrong.push(format!("the state is {:?}, without faults {:?}", found.state, expected.state));
        }
        Ok(wrong)
    }

    async fn run(&mut self, cut: Cut) -> Result<Arc<Outcome>> {
        if let Some(known) = self.known.get(&cut) {
            return Ok(known.clone());
        }
        let outcome = World::new(&self.setup)?.run_cut(&cut).await?;
        if let Some(wrong) = outcome.wrong.first() {
            return Err(Error::internal(format!("without faults: {wrong}")));
        }
        let outcome = Arc::new(outcome);
        self.known.insert(cut, outcome.clone());
        Ok(outcome)
    }
}

/// The first epoch whose rows differ, and how.
fn rows_differ(expected: &[OutputRow], came: &[OutputRow]) -> Option<String> {
    if expected == came {
        return None;
    }
    let epochs = expected.iter().chain(came).map(|it| it.epoch);
    let of = |rows: &[OutputRow], epoch: i64| -> Vec<String> {
        rows.iter()
            .filter(|it| it.epoch == epoch)
            .map(|it| format!("{} {} {} {} {}", it.kind, it.start, it.word, it.n, it.mark))
            .collect()
    };
    let mut epochs: Vec<i64> = epochs.collect();
    epochs.sort_unstable();
    epochs.dedup();
    let epoch = epochs.into_iter().find(|it| of(expected, *it) != of(came, *it))?;
    Some(format!("epoch {epoch} shows {:?}, without faults {:?}", of(came, epoch), of(expected, epoch)))
}

fn unmarked(rows: &[OutputRow]) -> Vec<OutputRow> {
    rows.iter().map(|it| OutputRow { mark: 0, before: 0, ..it.clone() }).collect()
}

/// What a sink shows of a group must build on what it showed of it last.
fn broken_chain(rows: &[OutputRow]) -> Option<String> {
    let mut last: BTreeMap<(i64, &str), i64> = BTreeMap::new();
    for row in rows {
        let group = (row.start, row.word.as_str());
        let shown = last.get(&group).copied().unwrap_or(-1);
        let built_on = match row.kind.as_str() {
            "changed" => row.before,
            "closed" => row.mark,
            _ => continue,
        };
        if built_on != shown {
            let (epoch, word) = (row.epoch, &row.word);
            return Some(format!("epoch {epoch} builds '{word}' on attempt {built_on}, but {shown} is what it showed"));
        }
        last.insert(group, row.mark);
    }
    None
}
