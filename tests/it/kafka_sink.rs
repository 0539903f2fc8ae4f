//! Numbered events from Kafka through a filter to Kafka, with the real binary: kills inside the sink, take-overs, a
//! foreign transaction among the markers. A reader of committed records must see each number once, in order per key.

mod numbers;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kafka::Random;
use crate::pair::{PATIENCE, Run, setting, unowned};
use crate::process::binary;

use numbers::{Foreign, Numbers};

/// Epochs that the input makes at least, for each kill or take-over.
const EPOCHS_EACH: u64 = 8;

/// Where a run is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kill {
    /// While records are handed to the client.
    Produce,
    /// All records have arrived, the marker has not been sent.
    Flushed,
    /// The marker has arrived, the commit has not been asked for.
    Marked,
    /// The commit has been asked for, and the broker does not answer.
    Committing,
    /// The commit has been answered; `commits/N` is not written.
    Committed,
    /// Before older producers are fenced.
    Init,
    /// Older producers are fenced; the marker has not been read.
    Fenced,
    /// Anywhere.
    Outside,
}

const KILLS: [Kill; 8] = [
    Kill::Produce,
    Kill::Committing,
    Kill::Flushed,
    Kill::Committed,
    Kill::Init,
    Kill::Marked,
    Kill::Fenced,
    Kill::Outside,
];

#[test]
fn each_number_is_seen_once_through_kills_inside_the_sink() {
    let (seed, kills) = (setting("TIDEGATE_TEST_SEED", 20_261_121), setting("TIDEGATE_TEST_SINK_KILLS", 8));
    println!("seed {seed}, {kills} kills");
    let job = Numbers::new("killed", binary(), kills * EPOCHS_EACH);
    let mut random = Random(seed);
    let mut hit: BTreeMap<Kill, u64> = BTreeMap::new();
    for at in 0..kills {
        let kill = KILLS[usize::try_from(at).unwrap() % KILLS.len()];
        let epoch = killed(&job, kill, &mut random);
        println!("kill {at}: epoch {epoch}, {kill:?}");
        *hit.entry(kill).or_default() += 1;
    }
    println!("hit: {hit:?}");
    job.drain();
    job.check();
}

/// Runs until it is killed; tells in which epoch.
fn killed(job: &Numbers, kill: Kill, random: &mut Random) -> u64 {
    // In the first, second or third epoch with rows after the start.
    let nth = 1 + random.below(3);
    let point = match kill {
        Kill::Produce => "kafka.produce",
        Kill::Flushed => "kafka.flush",
        Kill::Marked | Kill::Committing => "kafka.commit",
        Kill::Committed => "kafka.committed",
        Kill::Init => "kafka.init",
        Kill::Fenced => "kafka.fenced",
        Kill::Outside => return killed_outside(job, random),
    };
    let mut run = match kill {
        Kill::Init | Kill::Fenced => job.start("run", &format!("{point}=kill"), &[]),
        Kill::Committing => return killed_without_an_answer(job, nth, random),
        _ => job.start("run", &format!("{point}=kill@{nth}"), &[]),
    };
    let code = run.ended(PATIENCE);
    assert!(code.is_none(), "{kill:?}: ended by itself with {code:?}: {}", run.said());
    run.phase().map_or(0, |(epoch, _)| epoch)
}

/// The request to commit lies at a broker that does not look at it; when it does, nobody waits for the answer.
fn killed_without_an_answer(job: &Numbers, nth: u64, random: &mut Random) -> u64 {
    let mut run = job.start("run", &format!("kafka.commit=pause@{nth}"), &[]);
    run.stops();
    job.kafka.signal("-STOP");
    run.signal("-CONT");
    std::thread::sleep(Duration::from_millis(50 + random.below(200)));
    run.kill();
    let epoch = run.phase().map_or(0, |(epoch, _)| epoch);
    job.kafka.signal("-CONT");
    epoch
}

fn killed_outside(job: &Numbers, random: &mut Random) -> u64 {
    let mut run = job.start("run", "", &[]);
    let begun = run.reaches(0);
    run.reaches(begun + 1 + random.below(2));
    std::thread::sleep(Duration::from_micros(random.below(60_000)));
    run.kill();
    run.phase().map_or(0, |(epoch, _)| epoch)
}

#[test]
fn the_sink_fences_an_owner_that_does_not_check() {
    let Some(binary) = unowned() else { return };
    let (seed, runs) = (setting("TIDEGATE_TEST_SEED", 20_261_121), setting("TIDEGATE_TEST_SINK_TAKE_OVERS", 2));
    println!("seed {seed}, {runs} take-overs");
    let job = Numbers::new("unowned", binary, runs * 3 * EPOCHS_EACH);
    let mut random = Random(seed);
    for at in 0..runs {
        let steps = ["kafka.commit", "kafka.produce", "kafka.committed", "kafka.flush"];
        let step = steps[usize::try_from(at).unwrap() % steps.len()];
        let mut first = job.start("first", &format!("{step}=pause@{}", 2 + random.below(3)), &[]);
        first.stops();
        let (epoch, _) = first.phase().unwrap_or_default();
        let mut second = job.start("second", "", &["--take-over"]);
        let begun = second.reaches(0);
        let reached = second.reaches(begun.max(epoch) + 4);
        println!("take-over {at}: stopped in epoch {epoch} at {step}; the second came from {begun} to {reached}");
        // Every other time beside the second, which goes on all the while.
        if at.is_multiple_of(2) {
            wakes(&mut first);
            second.reaches(reached + 1);
            ends(&mut second);
        } else {
            ends(&mut second);
            wakes(&mut first);
        }
    }
    job.drain();
    job.check();
}

/// It must find that another one has its id, and say so.
fn wakes(first: &mut Run) {
    first.signal("-CONT");
    let code = first.ended(PATIENCE);
    assert_eq!(code, Some(1), "{}", first.said());
    assert!(first.said().contains("was fenced"), "{}", first.said());
}

fn ends(run: &mut Run) {
    run.signal("-TERM");
    let code = run.ended(PATIENCE);
    assert_eq!(code, Some(0), "{}", run.said());
}

#[test]
fn a_foreign_transaction_among_the_markers_is_waited_for() {
    let job = Numbers::new("foreign", binary(), EPOCHS_EACH);
    let mut run = job.start("run", "kafka.commit=pause@2,kafka.committed=kill@2", &[]);
    run.stops();
    let foreign = Foreign::begin(&job);
    run.signal("-CONT");
    let code = run.ended(PATIENCE);
    assert!(code.is_none(), "ended by itself with {code:?}: {}", run.said());
    // What was committed lies behind the foreign transaction: it can't be known yet, and must not be guessed at.
    let before = job.count();
    let mut run = job.start("run", "", &[]);
    std::thread::sleep(Duration::from_secs(4));
    assert!(run.is_running(), "ended by itself: {}", run.said());
    assert_eq!(job.count(), before, "nothing is written while nobody knows");
    foreign.abort();
    let begun = run.reaches(0);
    run.reaches(begun + 1);
    ends(&mut run);
    job.drain();
    job.check();
}

#[test]
fn errors_inside_the_sink_are_survived_without_a_restart() {
    let job = Numbers::new("errors", binary(), 2 * EPOCHS_EACH);
    let faults = [
        "kafka.produce=error@1*2",
        "kafka.flush=error@3*2",
        "kafka.commit=error@4*2",
        "kafka.committed=error@4",
        "kafka.init=error@1",
        "kafka.init=error@2",
        "kafka.fenced=error@3",
    ];
    job.drain_with(&faults.join(","));
    job.check();
}

#[test]
fn a_marker_topic_that_loses_markers_is_refused_by_name() {
    let job = Numbers::new("policy", binary(), EPOCHS_EACH);
    job.make_markers("delete");
    let mut run = job.start("run", "", &[]);
    let code = run.ended(PATIENCE);
    let said = run.said();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&job.markers) && said.contains("cleanup.policy=delete"), "{said}");
    assert_eq!(job.count(), 0);
}
