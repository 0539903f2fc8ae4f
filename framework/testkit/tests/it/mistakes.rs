//! Mistakes planted in the matrix, each of which it must catch.

use tidegate_testkit::MemoryKind;
use tidegate_testkit::crash::{CrashSetup, Fault, Mistake, ProgramKind, SinkUnder, matrix};

async fn caught(mistake: Mistake, mut setup: CrashSetup) {
    // The cases in a single epoch show whether the matrix is content without the mistake.
    setup.epochs = Some(2..3);
    let sound = matrix(&setup).await.unwrap();
    assert!(sound.wrong.is_empty(), "without {mistake:?}: {sound}");
    setup.epochs = None;
    let report = matrix(&setup.with_mistake(mistake)).await.unwrap();
    println!("{mistake:?}: {} of {} cases tell", report.wrong.len(), report.cases);
    report.wrong.iter().take(2).for_each(|it| println!("  {it}"));
    assert!(!report.wrong.is_empty(), "{mistake:?} is not caught in {} cases", report.cases);
}

fn one(program: ProgramKind) -> CrashSetup {
    CrashSetup::on(program, vec![SinkUnder::Memory(MemoryKind::Committable)])
}

fn two(program: ProgramKind) -> CrashSetup {
    CrashSetup::on(
        program,
        vec![SinkUnder::Memory(MemoryKind::Committable), SinkUnder::Memory(MemoryKind::Committable)],
    )
}

#[tokio::test(start_paused = true)]
async fn a_commit_log_written_before_the_sinks_commit_is_caught() {
    caught(Mistake::CommitLogFirst, one(ProgramKind::Stateless)).await;
}

#[tokio::test(start_paused = true)]
async fn state_changed_in_place_is_caught() {
    caught(Mistake::StateInPlace, one(ProgramKind::Aggregate)).await;
}

#[tokio::test(start_paused = true)]
async fn an_overlay_that_stays_is_caught() {
    caught(Mistake::OverlayNotDiscarded, one(ProgramKind::Aggregate)).await;
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_is_not_rolled_back_is_caught() {
    caught(Mistake::TrackerNotRolledBack, one(ProgramKind::Aggregate)).await;
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_not_rolled_back_is_caught() {
    caught(Mistake::PositionNotRolledBack, one(ProgramKind::Stateless)).await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_not_logged_is_caught() {
    caught(Mistake::PlanNotLogged, one(ProgramKind::Stateless)).await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_forgets_the_epoch_is_caught() {
    caught(Mistake::SinkForgetsEpoch, one(ProgramKind::Stateless)).await;
}

#[tokio::test(start_paused = true)]
async fn a_watermark_lost_on_restart_is_caught() {
    caught(Mistake::WatermarkLost, one(ProgramKind::Aggregate)).await;
}

#[tokio::test(start_paused = true)]
async fn the_state_of_another_attempt_is_caught() {
    let mut setup = one(ProgramKind::Volatile);
    setup.restart_each_epoch = true;
    // A snapshot is taken from memory, where the state is the right one.
    setup.snapshot_epochs = u64::MAX;
    caught(Mistake::StateOfAnotherAttempt, setup).await;
}

#[tokio::test(start_paused = true)]
async fn two_sinks_with_one_identity_on_one_table_are_caught() {
    caught(Mistake::OneIdentity, two(ProgramKind::Stateless)).await;
}

#[tokio::test(start_paused = true)]
async fn two_owners_whom_nothing_fences_are_caught() {
    // A sink that knows the number of its last epoch can't be led astray even so.
    let mut setup = CrashSetup::on(ProgramKind::Aggregate, vec![SinkUnder::piecemeal()]);
    setup.faults = Fault::STOPS.to_vec();
    caught(Mistake::NoFencing, setup).await;
}

#[tokio::test(start_paused = true)]
async fn a_write_time_of_the_clock_is_caught() {
    let setup = CrashSetup::on(ProgramKind::Aggregate, vec![SinkUnder::piecemeal()]);
    caught(Mistake::WriteTimeOfTheClock, setup).await;
}

#[tokio::test(start_paused = true)]
async fn rows_computed_again_though_they_were_staged_are_caught() {
    caught(Mistake::StageIgnored, two(ProgramKind::Volatile)).await;
}

#[tokio::test(start_paused = true)]
async fn a_pending_epoch_finished_by_a_changed_query_is_caught() {
    caught(Mistake::PendingByAnotherQuery, two(ProgramKind::Changed)).await;
}

#[tokio::test(start_paused = true)]
async fn groups_that_begin_with_the_querys_watermark_are_caught() {
    caught(Mistake::GroupsForgotten, two(ProgramKind::Groups)).await;
}

/// The test that shows that a mistake is caught.
fn test_of(mistake: Mistake) -> &'static str {
    match mistake {
        Mistake::CommitLogFirst => "a_commit_log_written_before_the_sinks_commit_is_caught",
        Mistake::StateInPlace => "state_changed_in_place_is_caught",
        Mistake::OverlayNotDiscarded => "an_overlay_that_stays_is_caught",
        Mistake::PlanNotLogged => "a_plan_that_is_not_logged_is_caught",
        Mistake::SinkForgetsEpoch => "a_sink_that_forgets_the_epoch_is_caught",
        Mistake::WatermarkLost => "a_watermark_lost_on_restart_is_caught",
        Mistake::StateOfAnotherAttempt => "the_state_of_another_attempt_is_caught",
        Mistake::TrackerNotRolledBack => "a_tracker_that_is_not_rolled_back_is_caught",
        Mistake::PositionNotRolledBack => "a_position_that_is_not_rolled_back_is_caught",
        Mistake::OneIdentity => "two_sinks_with_one_identity_on_one_table_are_caught",
        Mistake::NoFencing => "two_owners_whom_nothing_fences_are_caught",
        Mistake::WriteTimeOfTheClock => "a_write_time_of_the_clock_is_caught",
        Mistake::StageIgnored => "rows_computed_again_though_they_were_staged_are_caught",
        Mistake::PendingByAnotherQuery => "a_pending_epoch_finished_by_a_changed_query_is_caught",
        Mistake::LettersLost => "dead_letters_lost_when_the_sink_had_committed_are_caught",
        Mistake::ShownNotTold => "a_sink_that_does_not_tell_why_it_rejects_nothing_is_caught",
        Mistake::GroupsForgotten => "groups_that_begin_with_the_querys_watermark_are_caught",
        Mistake::NumberReused => "a_number_used_again_after_going_back_is_caught",
    }
}

#[test]
fn every_mistake_has_a_test_that_catches_it() {
    let tests = concat!(include_str!("mistakes.rs"), include_str!("rewind.rs"), include_str!("letters.rs"));
    for mistake in Mistake::ALL {
        let test = format!("async fn {}()", test_of(mistake));
        assert!(tests.contains(&test), "{mistake:?}: no {test}");
    }
}
