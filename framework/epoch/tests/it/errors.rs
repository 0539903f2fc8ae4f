//! What fails is discarded and run again, or stops the query; what may have been committed is only committed again.

use tidegate_api::ErrorKind;
use tidegate_epoch::Faults;

use crate::world::{Store, World, drain, model};

#[tokio::test(start_paused = true)]
async fn a_failed_read_runs_again_as_a_new_attempt() {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1, 2]);
    // Both splits of two attempts.
    world.feed().fail_reads(4);
    let ran = drain(&mut query).await.unwrap();
    assert_eq!(ran[0].num_input_rows, 2);
    assert_eq!(world.store().attempts(), [(0, "0.2".to_owned())]);
    assert_eq!(world.list("state/wal"), ["0.0.2"], "what failed before its record leaves none");
}

#[tokio::test(start_paused = true)]
async fn a_failed_prepare_drops_what_the_others_prepared() {
    let mut world = World::new();
    world.stores.push(("second", Store::default()));
    world.stores[1].1.fail_prepares(1);
    world.settings.stage_outputs = false;
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1, 21]);
    drain(&mut query).await.unwrap();
    assert_eq!(world.store().aborted(), [(0, "0.0".to_owned())]);
    assert_eq!(world.store().attempts()[0], (0, "0.1".to_owned()));
    assert_eq!(world.stores[1].1.rows(), model(&[1, 21]).0);
    assert_eq!(world.list("state/wal")[0], "0.0.1", "what failed before its record leaves none");
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_repeated_and_the_epoch_is_not() {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    world.store().lose_requests(2);
    world.feed().add(&[1, 21]);
    query.step().await.unwrap();
    assert_eq!((world.store().commits(), world.store().attempts()), (3, vec![(0, "0.0".to_owned())]));
    world.store().lose_answers(1);
    drain(&mut query).await.unwrap();
    assert_eq!(world.store().rows(), model(&[1, 21]).0);
    assert_eq!(world.events.take().iter().filter(|it| it.starts_with("run")).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_stays_away_stops_the_query_and_the_next_start_goes_on() {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1, 21]);
    world.store().lose_requests(100);
    let error = query.step().await.unwrap_err();
    assert_eq!(error.to_string(), "sink table: commit of epoch 0: the request was lost");
    let text = query.step().await.unwrap_err().to_string();
    assert!(text.starts_with("the query has failed: sink table: commit of epoch 0"), "{text}");
    assert_eq!(world.store().commits(), 13);
    drop(query);
    world.store().lose_requests(0);
    let mut query = world.start().await.unwrap();
    drain(&mut query).await.unwrap();
    assert_eq!(world.store().rows(), model(&[1, 21]).0);
    assert_eq!(world.store().attempts()[0], (0, "1.0".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_state_is_that_of_the_attempt_that_the_sinks_show() {
    let mut world = World::new();
    world.settings.stage_outputs = false;
    world.stores.push(("second", Store::default()));
    world.feed().add(&[1, 2, 21]);
    let faults = Faults::default();
    faults.arm("commit.before=crash@2").unwrap();
    let mut query = world.start_with(&faults).await.unwrap();
    query.step().await.unwrap_err();
    drop(query);
    // The first sink shows 0.0; the second gets the rows of 1.0.
    let mut query = world.start().await.unwrap();
    assert_eq!(world.store().attempts(), [(0, "0.0".to_owned())]);
    assert_eq!(world.stores[1].1.attempts(), [(0, "1.0".to_owned())]);
    drain(&mut query).await.unwrap();
    let record = String::from_utf8_lossy(&std::fs::read(world.root().join("state/wal/1.1.0")).unwrap()).into_owned();
    assert!(record.contains(r#""commit":{"epoch":0,"attempt":"0.0","#), "{record}");
    drop(query);
    let mut query = world.start().await.unwrap();
    world.feed().add(&[60]);
    drain(&mut query).await.unwrap();
    for (_, store) in &world.stores {
        assert_eq!(store.rows(), model(&[1, 2, 21, 60]).0);
    }
}

#[tokio::test]
async fn a_rejected_row_fails_the_epoch() {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    world.store().reject_rows();
    world.feed().add(&[1, 21]);
    query.step().await.unwrap();
    let error = query.step().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(error.to_string(), "epoch 1: sink table: row 0 was rejected: too odd");
}

#[tokio::test]
async fn a_best_effort_sink_holds_up_nobody() {
    let mut world = World::new();
    let screen = Store::default();
    screen.make_best_effort();
    screen.break_down();
    world.stores.insert(0, ("screen", screen));
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1, 21]);
    let ran = drain(&mut query).await.unwrap();
    assert_eq!(world.stores[1].1.rows(), model(&[1, 21]).0);
    assert_eq!(ran[1].sinks[0].metrics["missedEpochs"], "2");
    let order: Vec<_> = world.events.take().into_iter().filter(|it| it.starts_with("commit")).collect();
    assert!(order[0].starts_with("commit table 0") && order[1].starts_with("commit screen 0"), "{order:?}");
}

#[tokio::test]
async fn an_owner_that_was_overtaken_commits_nothing() {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    std::fs::write(world.root().join("state/generations/1"), "another owner").unwrap();
    world.feed().add(&[1]);
    let error = query.step().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert_eq!(world.store().commits(), 0);
}

#[tokio::test]
async fn two_of_one_name_are_refused() {
    let mut world = World::new();
    world.stores.push(("table", Store::default()));
    let text = world.build(&Faults::default()).await.err().unwrap().to_string();
    assert_eq!(text, "two sinks have the name 'table'");
}
