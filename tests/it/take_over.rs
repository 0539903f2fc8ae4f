//! An owner that is stopped, a second one that takes over, and the first that wakes up again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_epoch::fault::Point;

use crate::kafka::Random;
use crate::pair::{PATIENCE, Pair, Place, RETAINED, Run, setting, unowned};
use crate::process::binary;

/// Epochs that the second owner decides before the first wakes up.
const EPOCHS: u64 = 3;
/// Epochs that a run makes of its input at least, for each take-over.
const EPOCHS_EACH: usize = 40;

/// Files that an owner removes at most between two looks whether it still is the owner.
const FEW: usize = 16;

/// Where the first owner stops: all that lie in each epoch.
const STEPS: [Point; 10] = [
    Point::Plan,
    Point::Run,
    Point::RecordWrite,
    Point::RecordDirsync,
    Point::Prepare,
    Point::Ownership,
    Point::CommitBefore,
    Point::CommitAfter,
    Point::CommitsFile,
    Point::Seal,
];

#[test]
fn two_tables_survive_an_owner_that_wakes_up() {
    let runs = setting("TIDEGATE_TEST_TAKE_OVERS", 2);
    take_over("stopped", binary(), runs, |folder, _| Place::local(folder));
}

#[test]
fn sinks_fence_an_owner_that_does_not_check() {
    let Some(binary) = unowned() else { return };
    let runs = setting("TIDEGATE_TEST_TAKE_OVERS", 2);
    take_over("unowned", binary, runs, |folder, _| Place::local(folder));
}

#[test]
fn two_tables_on_an_object_store_survive_an_owner_that_wakes_up() {
    let runs = setting("TIDEGATE_TEST_STORE_TAKE_OVERS", 1);
    take_over("stopped-store", binary(), runs, |_, seed| Place::store(seed));
}

#[test]
fn sinks_on_an_object_store_fence_an_owner_that_does_not_check() {
    let Some(binary) = unowned() else { return };
    let runs = setting("TIDEGATE_TEST_STORE_TAKE_OVERS", 1);
    take_over("unowned-store", binary, runs, |_, seed| Place::store(seed));
}

fn take_over(name: &str, binary: PathBuf, runs: u64, place: impl FnOnce(&Path, u64) -> Place) {
    let seed = setting("TIDEGATE_TEST_SEED", 20_261_121);
    println!("seed {seed}, {runs} take-overs");
    let events = crate::clicks::events();
    let rows = events / (usize::try_from(runs).unwrap() * EPOCHS_EACH);
    let checks = binary == self::binary();
    let job = Pair::new(name, seed, events, binary, |folder| place(folder, seed));
    let limit = format!("max.rows.per.epoch: {rows}");
    // Slow enough that there is input left when the first wakes up.
    let paced = format!("{limit}\ntrigger: 40 milliseconds");
    let mut random = Random(seed);
    let mut hit: BTreeMap<String, u64> = BTreeMap::new();
    for at in 0..runs {
        let phase = one(&job, at, checks, &paced, &mut random);
        *hit.entry(phase).or_default() += 1;
    }
    println!("stopped in: {hit:?}");
    job.drain(&limit);
    job.drain(&limit);
    job.compare(true);
    job.tell_faults();
}

/// One take-over; tells where the first owner was stopped. `checks`: the owners look whether they still are.
fn one(job: &Pair, at: u64, checks: bool, paced: &str, random: &mut Random) -> String {
    let pipeline = job.pipeline("pair.yaml", paced);
    let mut first = stopped(job, at, &pipeline, random);
    let (epoch, step) = first.phase().unwrap_or_default();
    let mut second = job.start("second", &pipeline, "", &["--take-over"]);
    let begun = second.reaches(0);
    let reached = second.reaches(begun.max(epoch) + EPOCHS + 1);
    println!("take-over {at}: stopped in epoch {epoch}, {step}; the second came from {begun} to {reached}");
    if at.is_multiple_of(2) {
        // Beside the second, which goes on all the while.
        wakes(&mut first);
        let now = second.phase().map_or(0, |(it, _)| it);
        second.reaches(now + 1);
        ends(&mut second);
    } else {
        // Alone, so that it can be seen that it removes nothing.
        ends(&mut second);
        let before = job.listing();
        wakes(&mut first);
        let after = job.listing();
        let gone: Vec<_> = before.difference(&after).collect();
        // One that does not look may purge what was old when it was stopped; the tables stay right. One that does looks
        // before each few that it removes.
        let few = gone.len() <= FEW && gone.iter().all(|it| is_due(it, epoch));
        assert!(few || !checks, "stopped in epoch {epoch}, removed after it was fenced: {gone:?}");
    }
    step
}

/// True of a file of an epoch that could not be gone back to any more when the first owner was stopped.
fn is_due(key: &str, stopped_in: u64) -> bool {
    let name = key.rsplit('/').next().unwrap_or_default().trim_start_matches('.');
    let of = name.split('.').next().and_then(|it| it.parse::<u64>().ok());
    of.is_some_and(|it| key.starts_with("checkpoint/") && it + RETAINED < stopped_in)
}

/// A first owner that has stopped in the middle of an epoch: two of three at a named step, else anywhere.
fn stopped(job: &Pair, at: u64, pipeline: &Path, random: &mut Random) -> Run {
    if at % 3 < 2 {
        let step = STEPS[usize::try_from(at - at / 3).unwrap() % STEPS.len()];
        let mut run = job.start("first", pipeline, &format!("{step}=stop@{}", 3 + random.below(4)), &[]);
        run.stops();
        return run;
    }
    let mut run = job.start("first", pipeline, "", &[]);
    let begun = run.reaches(0);
    run.reaches(begun + 1 + random.below(3));
    std::thread::sleep(Duration::from_micros(random.below(20_000)));
    run.signal("-STOP");
    run.stops();
    run
}

/// The first goes on: it must find that it is the owner no more, and say so.
fn wakes(first: &mut Run) {
    first.signal("-CONT");
    let code = first.ended(PATIENCE);
    let said = first.said();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("was fenced"), "{said}");
}

fn ends(run: &mut Run) {
    run.signal("-TERM");
    let code = run.ended(PATIENCE);
    assert_eq!(code, Some(0), "{}", run.said());
}
