//! The crash matrix on memory sinks, and the mistakes that it must catch.

use tidegate_testkit::MemoryKind;
use tidegate_testkit::crash::{CrashSetup, Fault, MatrixReport, Mistake, Place, ProgramKind, SinkUnder, matrix};

async fn run(what: &str, setup: &CrashSetup) -> MatrixReport {
    let began = std::time::Instant::now();
    let report = matrix(setup).await.unwrap();
    println!("{what}: {report} ({:.1?})", began.elapsed());
    for (point, cases) in &report.points {
        println!("  {cases:4} at {point}");
    }
    report
}

async fn sound(what: &str, setup: &CrashSetup) {
    let report = run(what, setup).await;
    assert!(report.wrong.is_empty(), "{what}: {report}");
    // Fewer would mean that points are no longer hit.
    let most = if setup.snapshot_epochs == 1 { 15 } else { 12 };
    assert!(report.points.len() >= most, "{what}: only the points {:?}", report.points);
}

async fn caught(mistake: Mistake, setup: CrashSetup) {
    let report = run(&format!("{mistake:?}"), &setup.with_mistake(mistake)).await;
    assert!(!report.wrong.is_empty(), "{mistake:?} is not caught in {} cases", report.cases);
}

#[tokio::test(start_paused = true)]
async fn a_stateless_query_survives_every_fault() {
    sound("stateless, one sink", &CrashSetup::memory(ProgramKind::Stateless, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_survives_every_fault() {
    sound("aggregate, one sink", &CrashSetup::memory(ProgramKind::Aggregate, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn two_sinks_survive_every_fault() {
    sound("stateless, two sinks", &CrashSetup::memory(ProgramKind::Stateless, 2)).await;
    sound("aggregate, two sinks", &CrashSetup::memory(ProgramKind::Aggregate, 2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_query_started_anew_for_each_epoch_survives_every_fault() {
    let mut setup = CrashSetup::memory(ProgramKind::Aggregate, 1);
    setup.restart_each_epoch = true;
    sound("aggregate, one sink, a start for each epoch", &setup).await;
}

#[tokio::test(start_paused = true)]
async fn state_is_always_that_of_the_attempt_shown() {
    let mut setup = CrashSetup::memory(ProgramKind::Volatile, 1);
    sound("volatile, one sink", &setup).await;
    setup.restart_each_epoch = true;
    setup.snapshot_epochs = u64::MAX;
    sound("volatile, one sink, a start for each epoch from deltas alone", &setup).await;
}

#[tokio::test(start_paused = true)]
async fn two_crashes_in_a_row_are_survived() {
    let mut setup = CrashSetup::memory(ProgramKind::Aggregate, 1);
    setup.faults = vec![Fault::Crash];
    setup.two_deep = true;
    sound("aggregate, one sink, two crashes", &setup).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_log_written_before_the_sinks_commit_is_caught() {
    caught(Mistake::CommitLogFirst, CrashSetup::memory(ProgramKind::Stateless, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn state_changed_in_place_is_caught() {
    caught(Mistake::StateInPlace, CrashSetup::memory(ProgramKind::Aggregate, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_overlay_that_stays_is_caught() {
    caught(Mistake::OverlayNotDiscarded, CrashSetup::memory(ProgramKind::Aggregate, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_not_logged_is_caught() {
    caught(Mistake::PlanNotLogged, CrashSetup::memory(ProgramKind::Stateless, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_forgets_the_epoch_is_caught() {
    caught(Mistake::SinkForgetsEpoch, CrashSetup::memory(ProgramKind::Stateless, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_watermark_lost_on_restart_is_caught() {
    caught(Mistake::WatermarkLost, CrashSetup::memory(ProgramKind::Aggregate, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_state_of_another_attempt_is_caught() {
    let mut setup = CrashSetup::memory(ProgramKind::Volatile, 1);
    setup.restart_each_epoch = true;
    // A snapshot is taken from memory, where the state is the right one.
    setup.snapshot_epochs = u64::MAX;
    caught(Mistake::StateOfAnotherAttempt, setup).await;
}

#[tokio::test(start_paused = true)]
async fn probe() {
    for program in ProgramKind::ALL {
        for (name, sinks) in [
            ("one", vec![SinkUnder::Memory(MemoryKind::Committable)]),
            ("two", vec![SinkUnder::Memory(MemoryKind::Committable), SinkUnder::Memory(MemoryKind::Committable)]),
            (
                "kinds",
                vec![
                    SinkUnder::Memory(MemoryKind::Committable),
                    SinkUnder::piecemeal(),
                    SinkUnder::Memory(MemoryKind::Transactional),
                ],
            ),
            ("console", vec![SinkUnder::Memory(MemoryKind::BestEffort), SinkUnder::Memory(MemoryKind::Committable)]),
        ] {
            for place in [Place::Memory, Place::Disk, Place::Flaky(7)] {
                let mut setup = CrashSetup::on(program, sinks.clone());
                setup.place = place.clone();
                setup.faults = Fault::every();
                run(&format!("{program:?} {name} {place:?}"), &setup).await;
            }
        }
    }
}
