//! The crash matrix on memory sinks: programs × sinks × places × faults, one deep whole, two deep as each test says.

use tidegate_testkit::MemoryKind;
use tidegate_testkit::crash::{
    CrashSetup, Fault, MatrixReport, Place, ProgramKind, SinkUnder, all_pairs, matrix, pairs,
};

async fn run(what: &str, setup: &CrashSetup) -> MatrixReport {
    let began = std::time::Instant::now();
    let report = matrix(setup).await.unwrap();
    println!("crash matrix, {what}: {} cases, {} acted, {:.1?}", report.cases, report.acted, began.elapsed());
    report
}

fn memory(kind: MemoryKind) -> SinkUnder {
    SinkUnder::Memory(kind)
}

/// One, two, two and one of different staging, and one beside which a best-effort sink fails.
fn sink_sets() -> [(&'static str, Vec<SinkUnder>); 4] {
    use MemoryKind::{BestEffort, Committable, Transactional};
    [
        ("one sink", vec![memory(Committable)]),
        ("two sinks", vec![memory(Committable), memory(Committable)]),
        ("sinks of three kinds", vec![memory(Committable), SinkUnder::piecemeal(), memory(Transactional)]),
        ("one beside a best-effort sink", vec![memory(BestEffort), memory(Transactional)]),
    ]
}

/// Runs a setup for every set of sinks.
async fn all_sinks(program: ProgramKind, change: impl Fn(&mut CrashSetup)) {
    let mut all = MatrixReport::default();
    for (name, sinks) in sink_sets() {
        let mut setup = CrashSetup { faults: Fault::every(), ..CrashSetup::on(program, sinks) };
        // Of each sink a few rows more than fit go to a file.
        setup.stage_memory = (setup.sinks.len() == 3).then_some(100);
        // There what any program shows wrong, the one whose attempts all differ does too.
        let subsumed = setup.sinks.len() == 3 && program != ProgramKind::Volatile && !all_pairs();
        setup.epochs = subsumed.then_some(2..4);
        change(&mut setup);
        let what = format!("{program:?}, {name}, {:?}, one deep", setup.place);
        let report = run(&what, &setup).await;
        // Fewer would mean that points are no longer hit.
        assert!(report.points.len() >= 10, "{what}: only the points {:?}", report.points);
        if !report.wrong.is_empty() {
            println!("{what}: {report}");
        }
        all.merge(report);
    }
    println!("crash matrix, {program:?}, all sinks: {} cases, {} wrong", all.cases, all.wrong.len());
    assert!(all.wrong.is_empty(), "{program:?}: {all}");
}

/// In memory in every epoch; elsewhere in two of them, of which the second closes windows.
async fn one_deep(program: ProgramKind) {
    all_sinks(program, |_| {}).await;
    for place in [Place::Disk, Place::Flaky(7)] {
        all_sinks(program, |it| {
            it.place = place.clone();
            it.epochs = Some(2..4);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stateless_query_survives_every_fault_everywhere() {
    one_deep(ProgramKind::Stateless).await;
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_survives_every_fault_everywhere() {
    one_deep(ProgramKind::Aggregate).await;
}

#[tokio::test(start_paused = true)]
async fn a_join_survives_every_fault_everywhere() {
    one_deep(ProgramKind::Join).await;
}

#[tokio::test(start_paused = true)]
async fn sinks_of_several_watermarks_survive_every_fault_everywhere() {
    // The place of the checkpoint has no part in groups.
    all_sinks(ProgramKind::Groups, |_| {}).await;
}

/// An aggregate again, but for where its state lies: the epochs in which that is read and let go.
#[tokio::test(start_paused = true)]
async fn state_on_disk_survives_every_fault() {
    // The place of the checkpoint has no part in it.
    all_sinks(ProgramKind::Spilling, |it| it.epochs = Some(2..4)).await;
}

#[tokio::test(start_paused = true)]
async fn a_volatile_program_survives_every_fault_everywhere() {
    one_deep(ProgramKind::Volatile).await;
}

#[tokio::test(start_paused = true)]
async fn a_query_that_changes_survives_every_fault_everywhere() {
    one_deep(ProgramKind::Changed).await;
}

/// Every pair of faults, of which the first happens in one of these epochs.
fn every_pair(what: &str, setup: CrashSetup, epochs: std::ops::Range<u64>) {
    let setup = CrashSetup { faults: Fault::every(), epochs: Some(epochs.clone()), ..setup };
    let began = std::time::Instant::now();
    let report = pairs(&setup).unwrap();
    println!("crash pairs, {what}, {:?}, epochs {epochs:?}: {:.1?}: {report}", setup.place, began.elapsed());
    assert!(report.wrong.is_empty() && report.acted == report.ran && report.points.len() >= 10, "{what}");
}

/// An aggregate in each of the four epochs: the first of all, one with state, one that only closes windows, one with late
/// rows. The other programs where they differ from it: on several sinks the one whose attempts all differ, since a mixture
/// of attempts shows only there.
fn pairs_of(program: ProgramKind) {
    use ProgramKind::{Aggregate, Changed, Groups, Join, Letters, Spilling, Stateless, Volatile};
    for (name, sinks) in sink_sets() {
        let epochs = match (program, name) {
            _ if all_pairs() => 0..4,
            (Aggregate, "one sink") => 0..4,
            (Stateless, "one sink") => 0..2,
            (Join | Changed, "one sink") | (Volatile, "two sinks") => 1..3,
            (Stateless | Groups, "two sinks") | (Letters, "one sink" | "two sinks") => 1..2,
            (Spilling, "one sink") => 2..3,
            (Volatile, "sinks of three kinds") | (Aggregate, "one beside a best-effort sink") => 1..2,
            _ => continue,
        };
        every_pair(&format!("{program:?}, {name}"), CrashSetup::on(program, sinks), epochs);
    }
}

#[test]
fn every_pair_of_faults_is_survived_on_a_local_disk() {
    let setup = CrashSetup::on(ProgramKind::Aggregate, vec![memory(MemoryKind::Committable)]);
    every_pair("Aggregate, one sink", CrashSetup { place: Place::Disk, ..setup }, 1..2);
}

#[test]
fn every_pair_of_faults_is_survived_on_a_store_that_fails() {
    let setup = CrashSetup::on(ProgramKind::Aggregate, vec![memory(MemoryKind::Committable)]);
    every_pair("Aggregate, one sink", CrashSetup { place: Place::Flaky(11), ..setup }, 1..2);
}

#[test]
fn a_stateless_query_survives_every_pair_of_faults() {
    pairs_of(ProgramKind::Stateless);
}

#[test]
fn an_aggregate_survives_every_pair_of_faults() {
    pairs_of(ProgramKind::Aggregate);
}

#[test]
fn a_join_survives_every_pair_of_faults() {
    pairs_of(ProgramKind::Join);
}

#[test]
fn sinks_of_several_watermarks_survive_every_pair_of_faults() {
    pairs_of(ProgramKind::Groups);
}

#[test]
fn a_volatile_program_survives_every_pair_of_faults() {
    pairs_of(ProgramKind::Volatile);
}

#[test]
fn a_query_that_changes_survives_every_pair_of_faults() {
    pairs_of(ProgramKind::Changed);
}

#[test]
fn state_on_disk_survives_every_pair_of_faults() {
    pairs_of(ProgramKind::Spilling);
}

#[test]
fn dead_letters_survive_every_pair_of_faults() {
    pairs_of(ProgramKind::Letters);
}

/// An old owner that goes on must be stopped by the sinks alone: those that can.
#[tokio::test(start_paused = true)]
async fn the_sinks_alone_fence_an_old_owner() {
    use MemoryKind::{Committable, Transactional};
    let sets =
        [vec![memory(Committable)], vec![memory(Transactional)], vec![memory(Committable), memory(Transactional)]];
    for (place, epochs) in [(Place::Memory, None), (Place::Disk, Some(2..4))] {
        for (sinks, program) in sets.iter().flat_map(|sinks| ProgramKind::ALL.map(|it| (sinks, it))) {
            let mut setup = CrashSetup { place: place.clone(), ..CrashSetup::on(program, sinks.clone()) };
            setup.faults = Fault::STOPS.to_vec();
            setup.check_ownership = false;
            setup.epochs = epochs.clone();
            let what = format!("{program:?}, {} sinks, {place:?}, ownership unchecked", sinks.len());
            let report = run(&what, &setup).await;
            assert!(report.wrong.is_empty(), "{what}: {report}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_started_anew_for_each_epoch_survives_every_fault() {
    for (program, snapshot_epochs) in [(ProgramKind::Aggregate, 1), (ProgramKind::Volatile, u64::MAX)] {
        let mut setup = CrashSetup::on(program, vec![memory(MemoryKind::Committable)]);
        setup.restart_each_epoch = true;
        setup.snapshot_epochs = snapshot_epochs;
        let report = run(&format!("{program:?}, one sink, a start for each epoch"), &setup).await;
        assert!(report.wrong.is_empty(), "{report}");
    }
}
