//! The crash matrix on memory sinks: programs × sinks × places × faults, one deep.

use tidegate_testkit::MemoryKind;
use tidegate_testkit::crash::{CrashSetup, Fault, MatrixReport, Place, ProgramKind, SinkUnder, matrix};

async fn run(what: &str, setup: &CrashSetup) -> MatrixReport {
    let began = std::time::Instant::now();
    let report = matrix(setup).await.unwrap();
    println!("crash matrix, {what}: {} cases, {} acted, {:.1?}", report.cases, report.acted, began.elapsed());
    report
}

fn memory(kind: MemoryKind) -> SinkUnder {
    SinkUnder::Memory(kind)
}

/// One, two, and one beside which a best-effort sink fails. Random runs draw mixtures of more.
fn sink_sets() -> [(&'static str, Vec<SinkUnder>); 3] {
    use MemoryKind::{BestEffort, Committable, Transactional};
    [
        ("one sink", vec![memory(Committable)]),
        ("two sinks", vec![memory(Committable), memory(Committable)]),
        ("one beside a best-effort sink", vec![memory(BestEffort), memory(Transactional)]),
    ]
}

/// Runs a setup for every set of sinks.
async fn all_sinks(program: ProgramKind, change: impl Fn(&mut CrashSetup)) {
    let mut all = MatrixReport::default();
    for (name, sinks) in sink_sets() {
        let mut setup = CrashSetup { faults: Fault::every(), ..CrashSetup::on(program, sinks) };
        change(&mut setup);
        let deep = if setup.two_deep { "two deep" } else { "one deep" };
        let what = format!("{program:?}, {name}, {:?}, {deep}", setup.place);
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
async fn a_volatile_program_survives_every_fault_everywhere() {
    one_deep(ProgramKind::Volatile).await;
}

#[tokio::test(start_paused = true)]
async fn a_query_that_changes_survives_every_fault_everywhere() {
    one_deep(ProgramKind::Changed).await;
}

#[tokio::test(start_paused = true)]
async fn two_crashes_in_a_row_are_survived() {
    let mut setup = CrashSetup::memory(ProgramKind::Aggregate, 1);
    setup.faults = vec![Fault::Crash];
    setup.two_deep = true;
    let report = run("Aggregate, one sink, two crashes", &setup).await;
    assert!(report.wrong.is_empty(), "{report}");
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
