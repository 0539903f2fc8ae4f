//! What a case must equal: a run without faults whose epochs have the same ranges and times.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::{Error, Result};

use super::letters;
use super::log::Entry;
use super::script::{OutputRow, SINK, Script};
use super::world::{Outcome, World};
use super::{CrashSetup, Place, ProgramKind, SinkUnder};
use crate::memory::MemoryKind;

/// An epoch of a run to be repeated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    /// Where it ends.
    pub(crate) ends: Vec<u64>,
    pub(crate) time_ms: i64,
    /// The query is started anew before it. Said only where that makes a difference.
    pub(crate) anew: bool,
}

/// Runs without faults, on memory sinks, by their cut.
pub(crate) struct References {
    setup: CrashSetup,
    script: Arc<Script>,
    known: BTreeMap<Vec<Cut>, Arc<Outcome>>,
}

impl References {
    pub(crate) fn new(setup: &CrashSetup) -> Self {
        Self::of(setup, Arc::new(Script::of(setup.program)))
    }

    pub(crate) fn of(setup: &CrashSetup, script: Arc<Script>) -> Self {
        let like = |it: &SinkUnder| match it {
            SinkUnder::Memory(kind @ MemoryKind::Piecemeal(_)) => SinkUnder::Memory(kind.clone()),
            _ => SinkUnder::Memory(MemoryKind::Committable),
        };
        let sinks = setup.sinks.iter().map(like).collect();
        let setup = CrashSetup {
            snapshot_epochs: u64::MAX,
            place: Place::Memory,
            ..CrashSetup::on(setup.program, setup.sinks.clone())
        };
        Self { setup: CrashSetup { sinks, ..setup }, script, known: BTreeMap::new() }
    }

    /// All that differs from a run without faults. `under` are the sinks that it was.
    pub(crate) async fn differences(&mut self, under: &[SinkUnder], found: &Outcome) -> Result<Vec<String>> {
        let mut wrong = found.wrong.clone();
        let numbers: Vec<u64> = found.log.keys().copied().collect();
        if numbers != (0..numbers.len() as u64).collect::<Vec<_>>() {
            wrong.push(format!("the log has epochs {numbers:?}"));
            return Ok(wrong);
        }
        let cut = self.cut(found);
        let read = cut.last().map(|it| it.ends.clone()).unwrap_or_default();
        if read != found.adds {
            wrong.push(format!("{read:?} of {:?} adds were read", found.adds));
        }
        let expected = match self.run(cut).await {
            Ok(expected) => expected,
            Err(e) => {
                wrong.push(format!("a run without faults has other epochs: {e}"));
                return Ok(wrong);
            }
        };
        let volatile = self.setup.program.is_volatile();
        for (at, ((expected, came), under)) in expected.sinks.iter().zip(&found.sinks).zip(under).enumerate() {
            let (expected, rows) =
                if volatile { (unmarked(expected), unmarked(came)) } else { (expected.clone(), came.clone()) };
            let differ = match under {
                SinkUnder::Memory(MemoryKind::BestEffort) => foreign(&expected, &rows),
                _ => rows_differ(&expected, &rows),
            };
            wrong.extend(differ.map(|it| format!("sink {at}: {it}")));
            if volatile && in_order(under) {
                wrong.extend(broken_chain(came).map(|it| format!("sink {at}: {it}")));
            }
        }
        wrong.extend(letters::differ(&expected.letters, &found.letters));
        // Sinks of one group show the same rows; of several each shows its own.
        if self.setup.program != ProgramKind::Groups {
            wrong.extend(sinks_differ(under, &found.sinks));
        }
        wrong.extend(logs_differ(&expected.log, &found.log));
        if found.restored != found.state {
            wrong.push(format!("the state is {:?}, a restart finds {:?}", found.state, found.restored));
        }
        if !volatile && found.state != expected.state {
            wrong.push(format!("the state is {:?}, without faults {:?}", found.state, expected.state));
        }
        Ok(wrong)
    }

    /// The epochs that were run. A new life of the query remembers the watermark, but not what it was made of: of several
    /// watermark nodes each knows nothing until it sees rows again, and till then none leads the query on.
    fn cut(&self, found: &Outcome) -> Vec<Cut> {
        let forgets = self.setup.program.sources() > 1;
        let mut before = None;
        let epochs = found.log.values().zip(&found.owners);
        let cut = epochs.map(|(it, owner)| {
            let anew = before.replace(*owner).is_some_and(|it| it != *owner);
            Cut { ends: it.ends.clone(), time_ms: it.time_ms, anew: anew && forgets }
        });
        cut.collect()
    }

    async fn run(&mut self, cut: Vec<Cut>) -> Result<Arc<Outcome>> {
        if let Some(known) = self.known.get(&cut) {
            return Ok(known.clone());
        }
        let world = World::of(&self.setup, self.script.clone())?;
        world.run_cut(&cut).await?;
        let outcome = world.outcome().await?;
        if let Some(wrong) = outcome.wrong.first() {
            return Err(Error::internal(format!("without faults: {wrong}")));
        }
        let outcome = Arc::new(outcome);
        self.known.insert(cut, outcome.clone());
        Ok(outcome)
    }
}

/// True if the sink shows every row of every epoch.
fn in_order(under: &SinkUnder) -> bool {
    !matches!(under, SinkUnder::Memory(MemoryKind::Piecemeal(_) | MemoryKind::BestEffort))
}

fn logs_differ(expected: &BTreeMap<u64, Entry>, found: &BTreeMap<u64, Entry>) -> Option<String> {
    found.iter().find_map(|(epoch, entry)| {
        let expected = expected.get(epoch);
        let differs = expected != Some(entry);
        differs.then(|| format!("the log of epoch {epoch} says {entry:?}, without faults {expected:?}"))
    })
}

/// All sinks that count must show one run: the same rows of the same attempts.
fn sinks_differ(under: &[SinkUnder], sinks: &[Vec<OutputRow>]) -> Option<String> {
    let own = |(at, rows): (usize, &Vec<OutputRow>)| -> Vec<OutputRow> {
        rows.iter().map(|it| OutputRow { n: it.n - SINK * at as i64, ..it.clone() }).collect()
    };
    let rows: Vec<_> = sinks.iter().enumerate().map(own).collect();
    let mut whole = under.iter().zip(&rows).enumerate().filter(|(_, (under, _))| in_order(under));
    let (first_at, (_, first)) = whole.next()?;
    if let Some((at, _)) = whole.find(|(_, (_, rows))| *rows != first) {
        return Some(format!("sinks {first_at} and {at} show different attempts"));
    }
    // Of rows of one key the last epoch's stays.
    let mut last: BTreeMap<(&str, i64, &str), &OutputRow> = BTreeMap::new();
    first.iter().for_each(|it| {
        let newest = last.entry((&it.kind, it.start, &it.word)).or_insert(it);
        if it.epoch > newest.epoch {
            *newest = it;
        }
    });
    let piecemeal = |under: &SinkUnder| matches!(under, SinkUnder::Memory(MemoryKind::Piecemeal(_)));
    for (at, (_, rows)) in under.iter().zip(&rows).enumerate().filter(|(_, (under, _))| piecemeal(under)) {
        let marks = |it: &OutputRow| (it.epoch, it.mark);
        let wrong = rows.iter().find(|it| {
            let newest = last.get(&(it.kind.as_str(), it.start, it.word.as_str()));
            newest.map(|it| marks(it)) != Some(marks(it))
        });
        if let Some(row) = wrong {
            return Some(format!("sink {at} shows {row:?}, which sink {first_at} does not show last"));
        }
    }
    None
}

/// A row that is none of the expected ones.
fn foreign(expected: &[OutputRow], came: &[OutputRow]) -> Option<String> {
    let row = came.iter().find(|it| !expected.contains(it))?;
    Some(format!("{row:?} is no row of this query"))
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
