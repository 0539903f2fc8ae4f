//! Going back to each epoch, and on again with a fault at each point.

use tidegate_epoch::SinkMode;
use tidegate_testkit::MemoryKind;
use tidegate_testkit::crash::{CrashSetup, Fault, Mistake, Place, ProgramKind, SinkUnder, rewinds};

fn setup(kinds: [MemoryKind; 2], place: Place) -> CrashSetup {
    let sinks = kinds.into_iter().map(SinkUnder::Memory).collect();
    CrashSetup { place, faults: Fault::DEATHS.to_vec(), ..CrashSetup::on(ProgramKind::Stateless, sinks) }
}

#[tokio::test(start_paused = true)]
async fn going_back_shows_each_row_once() {
    use MemoryKind::{Committable, Transactional};
    for place in [Place::Memory, Place::Disk] {
        let mut keep = setup([Committable, Transactional], place.clone());
        let replay = setup([Committable, Committable], place.clone());
        keep.snapshot_epochs = 2;
        for (setup, mode) in [(keep, SinkMode::Keep), (replay, SinkMode::Replay)] {
            let report = rewinds(&setup, &[mode]).await.unwrap();
            println!("rows going back, {mode}, {place:?}: {} cases, {} acted", report.cases, report.acted);
            assert!(report.wrong.is_empty(), "{mode}: {report}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_number_used_again_after_going_back_is_caught() {
    let setup = setup([MemoryKind::Committable, MemoryKind::Committable], Place::Memory);
    let report = rewinds(&setup.with_mistake(Mistake::NumberReused), &[SinkMode::Replay]).await.unwrap();
    println!("NumberReused: {} of {} cases tell", report.wrong.len(), report.cases);
    assert!(!report.wrong.is_empty(), "{report}");
}
