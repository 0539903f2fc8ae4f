//! The crash matrix over dead letters: rows and letters come once each, whatever happens where.

use tidegate_testkit::MemoryKind::{self, BestEffort, Committable, Transactional};
use tidegate_testkit::crash::{CrashSetup, Fault, MatrixReport, Mistake, Place, ProgramKind, SinkUnder, matrix};

fn setup(kinds: &[MemoryKind]) -> CrashSetup {
    let sinks = kinds.iter().cloned().map(SinkUnder::Memory).collect();
    CrashSetup { faults: Fault::every(), ..CrashSetup::on(ProgramKind::Letters, sinks) }
}

/// A sink of each kind, each told of what it rejects at another step; and several.
fn sink_sets() -> Vec<(&'static str, CrashSetup)> {
    let piecemeal = |other: &[MemoryKind]| {
        let mut setup = setup(other);
        setup.sinks.push(SinkUnder::piecemeal());
        setup
    };
    vec![
        ("a committable sink", setup(&[Committable])),
        ("a transactional sink", setup(&[Transactional])),
        ("a sink that writes piece by piece", piecemeal(&[])),
        ("one of each", piecemeal(&[Transactional, Committable])),
        ("one beside a best-effort sink", setup(&[BestEffort, Transactional])),
    ]
}

async fn run(what: &str, setup: &CrashSetup) -> MatrixReport {
    let began = std::time::Instant::now();
    let report = matrix(setup).await.unwrap();
    println!("crash matrix, Letters, {what}: {} cases, {} acted, {:.1?}", report.cases, report.acted, began.elapsed());
    assert!(report.wrong.is_empty(), "{what}: {report}");
    report
}

#[tokio::test(start_paused = true)]
async fn dead_letters_survive_every_fault_everywhere() {
    let mut all = MatrixReport::default();
    for (name, setup) in sink_sets() {
        all.merge(run(name, &setup).await);
        for place in [Place::Disk, Place::Flaky(7)] {
            let setup = CrashSetup { place: place.clone(), epochs: Some(1..3), ..setup.clone() };
            all.merge(run(&format!("{name}, {place:?}"), &setup).await);
        }
    }
    assert!(all.points.contains_key("commit.rejects"), "{:?}", all.points);
    println!("crash matrix, Letters: {} cases", all.cases);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_wait_in_files_survive_every_fault() {
    for place in [Place::Memory, Place::Disk] {
        let setup = CrashSetup { stage_memory: Some(0), epochs: Some(0..3), place, ..setup(&[Transactional]) };
        run("a transactional sink, all in files", &setup).await;
    }
}

async fn caught(mistake: Mistake) {
    let setup = setup(&[Transactional]).with_mistake(mistake);
    let report = matrix(&setup).await.unwrap();
    println!("{mistake:?}: {} of {} cases tell", report.wrong.len(), report.cases);
    assert!(report.wrong.iter().any(|it| it.contains("dead letter")), "{mistake:?} is not caught: {report}");
}

#[tokio::test(start_paused = true)]
async fn dead_letters_lost_when_the_sink_had_committed_are_caught() {
    caught(Mistake::LettersLost).await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_does_not_tell_why_it_rejects_nothing_is_caught() {
    caught(Mistake::ShownNotTold).await;
}
