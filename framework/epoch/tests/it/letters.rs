//! Rows that a sink can't take: they fail the query, or become dead letters, which are lost as little as rows are.

use tidegate_api::{ErrorKind, Staging};
use tidegate_epoch::{DEAD_LETTERS, Faults, Query};

use crate::world::{Store, Tolerated, World, crash, drain, model};

/// Every second window: its end is a multiple of this.
const ODD: i64 = 20_000;
const VALUES: [i64; 5] = [1, 12, 25, 33, 70];

type Rows = Vec<(i64, i64)>;

/// The kinds of sinks, each in another way told of what it rejects.
fn kinds() -> [(&'static str, Store); 4] {
    [
        ("as rows come", Store::default()),
        ("as rows come, committed by anybody", Store::default().with_staging(Staging::Committable)),
        ("in one step", Store::default().with_staging(Staging::Rows)),
        ("piece by piece", Store::piecemeal()),
    ]
}

/// A table that rejects every second window, and letters.
fn world_of(table: Store) -> (World, Store) {
    let letters = Store::default();
    table.reject_multiples(ODD);
    let mut world = World::new();
    world.stores = vec![("table", table)];
    world.errors = Tolerated::to(letters.clone());
    (world, letters)
}

/// The rows that the table takes and those that it does not.
fn split(values: &[i64]) -> (Rows, Rows) {
    model(values).0.into_iter().partition(|it| it.0 % ODD != 0)
}

async fn feed(world: &World, query: &mut Query, values: &[i64]) {
    for value in values {
        world.feed().add(&[*value]);
        drain(query).await.unwrap();
    }
}

fn runs(world: &World) -> usize {
    world.events.take().iter().filter(|it| it.starts_with("run")).count()
}

#[tokio::test]
async fn what_a_sink_rejects_becomes_a_dead_letter() {
    for (kind, table) in kinds() {
        let (world, letters) = world_of(table);
        let mut query = world.start().await.unwrap();
        feed(&world, &mut query, &VALUES).await;
        let (taken, dead) = split(&VALUES);
        assert!(!dead.is_empty());
        assert_eq!((world.store().rows(), letters.rows()), (taken, dead), "{kind}");
    }
}

#[tokio::test]
async fn progress_counts_dead_letters_by_sink() {
    for (kind, table) in kinds() {
        let (world, _) = world_of(table);
        let mut query = world.start().await.unwrap();
        world.feed().add(&VALUES);
        let ran = drain(&mut query).await.unwrap();
        let (taken, dead) = split(&VALUES);
        let sinks = &ran[1].sinks;
        assert_eq!(sinks[0].num_output_rows, taken.len() as i64, "{kind}");
        assert_eq!(sinks[0].metrics["deadLetters"], dead.len().to_string(), "{kind}");
        assert_eq!(sinks[1].description, format!("table {DEAD_LETTERS} (append)"), "{kind}");
        assert_eq!((sinks[1].num_output_rows, sinks[1].metrics.len()), (dead.len() as i64, 0), "{kind}");
        assert!(ran[0].sinks[0].metrics.is_empty(), "{kind}: epoch 0 had none");
    }
}

#[tokio::test]
async fn without_a_place_for_them_they_are_dropped_and_counted() {
    for (kind, table) in kinds() {
        let (mut world, letters) = world_of(table);
        world.errors.letters = None;
        let mut query = world.start().await.unwrap();
        world.feed().add(&VALUES);
        let ran = drain(&mut query).await.unwrap();
        let (taken, dead) = split(&VALUES);
        assert_eq!((world.store().rows(), letters.rows()), (taken, Vec::new()), "{kind}");
        assert_eq!(ran[1].sink.metrics["deadLetters"], dead.len().to_string(), "{kind}");
        assert!(!world.list("state/staged").iter().any(|it| it.contains("rejects")), "{kind}");
    }
}

#[tokio::test]
async fn a_lone_sink_with_dead_letters_is_not_alone() {
    let (mut world, letters) = world_of(Store::default());
    // Not even so are the letters of an epoch other than those of the rows that are shown.
    world.settings.stage_outputs = false;
    crash(&world, "commit.after=crash@2", &VALUES).await;
    assert_eq!((world.store().attempts().len(), letters.attempts().len()), (2, 0));
    runs(&world);
    world.start().await.unwrap();
    assert_eq!(runs(&world), 0, "no operator ran");
    assert_eq!((world.store().rows(), letters.rows()), split(&VALUES));
}

#[tokio::test]
async fn letters_survive_a_crash_behind_the_commit_of_their_sink() {
    for spilled in [false, true] {
        for fault in ["commit.after=crash@2", "commit.before=crash@3", "commit.after=crash@3", "commits_file=crash@2"] {
            for (kind, table) in kinds() {
                let (mut world, letters) = world_of(table);
                world.store().drop_shown(true);
                world.stage_memory = spilled.then_some(0);
                crash(&world, fault, &VALUES).await;
                assert_eq!(world.store().rows(), split(&VALUES).0, "{kind}, {fault}");
                runs(&world);
                let mut query = world.build(&Faults::default()).await.unwrap();
                let told = query.start().await.unwrap();
                assert_eq!(runs(&world), 0, "{kind}, {fault}: no operator ran");
                assert_eq!((world.store().rows(), letters.rows()), split(&VALUES), "{kind}, {fault}, {spilled}");
                if let Some(told) = told {
                    let dead = split(&VALUES).1.len().to_string();
                    assert_eq!(told.sinks[0].metrics["deadLetters"], dead, "{kind}, {fault}");
                }
                feed(&world, &mut query, &[71, 120]).await;
                let all: Vec<i64> = VALUES.into_iter().chain([71, 120]).collect();
                assert_eq!((world.store().rows(), letters.rows()), split(&all), "{kind}, {fault}");
                assert!(world.list("state/staged").iter().all(|it| !it.starts_with("1.")), "{kind}, {fault}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_shows_the_epoch_does_not_take_its_letters_back() {
    let (world, letters) = world_of(Store::default().with_staging(Staging::Rows));
    world.store().drop_shown(true);
    let mut query = world.start().await.unwrap();
    world.feed().add(&VALUES);
    query.step().await.unwrap();
    world.store().lose_answers(1);
    drain(&mut query).await.unwrap();
    assert_eq!((world.store().rows(), letters.rows()), split(&VALUES));
}

#[tokio::test(start_paused = true)]
async fn of_several_tries_the_last_before_the_commit_counts() {
    for fewer in [false, true] {
        let (world, letters) = world_of(Store::piecemeal());
        world.store().reject_multiples(if fewer { 10_000 } else { 0 });
        crash(&world, "commit.before=crash@2", &VALUES).await;
        assert!(letters.rows().is_empty());
        world.store().reject_multiples(ODD);
        world.start().await.unwrap();
        assert_eq!((world.store().rows(), letters.rows()), split(&VALUES), "{fewer}");
    }
}

#[tokio::test]
async fn an_epoch_that_stopped_at_a_rejected_row_goes_on_once_that_is_tolerated() {
    for fault in [None, Some("commit.after=crash"), Some("commit.before=crash@2"), Some("commit.after=crash@2")] {
        let (mut world, letters) = world_of(Store::piecemeal());
        let tolerated = std::mem::take(&mut world.errors);
        let mut query = world.start().await.unwrap();
        world.feed().add(&VALUES);
        query.step().await.unwrap();
        let error = query.step().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        drop(query);
        let error = world.start().await.err().unwrap();
        assert!(error.to_string().contains("sink table: ") && error.to_string().contains("too odd"), "{error}");
        world.errors = tolerated;
        if let Some(fault) = fault {
            let faults = Faults::default();
            faults.arm(fault).unwrap();
            world.start_with(&faults).await.err().unwrap();
            assert!(faults.crashed());
        }
        let mut query = world.start().await.unwrap();
        feed(&world, &mut query, &[71]).await;
        assert_eq!((world.store().rows(), letters.rows()), split(&VALUES), "{fault:?}");
    }
}

#[tokio::test]
async fn of_a_batch_that_is_refused_whole_only_the_odd_rows_are_letters() {
    for (kind, table) in kinds() {
        let (world, letters) = world_of(table);
        world.store().refuse_whole();
        let mut query = world.start().await.unwrap();
        world.feed().add(&VALUES);
        drain(&mut query).await.unwrap();
        assert_eq!((world.store().rows(), letters.rows()), split(&VALUES), "{kind}");
    }
}

#[tokio::test]
async fn a_letter_that_is_rejected_too_fails_the_query() {
    let (world, letters) = world_of(Store::default());
    letters.reject_rows();
    let mut query = world.start().await.unwrap();
    world.feed().add(&VALUES);
    query.step().await.unwrap();
    let error = query.step().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(error.to_string(), "sink dead.letters: commit of epoch 1: row 0 was rejected: too odd");
}

#[tokio::test]
async fn letters_for_a_screen_hold_up_nobody() {
    for (kind, table) in kinds() {
        let (world, letters) = world_of(table);
        letters.make_best_effort();
        let mut query = world.start().await.unwrap();
        feed(&world, &mut query, &VALUES).await;
        assert_eq!((world.store().rows(), letters.rows()), split(&VALUES), "{kind}");
        letters.break_down();
        feed(&world, &mut query, &[120]).await;
        let all: Vec<i64> = VALUES.into_iter().chain([120]).collect();
        assert_eq!((world.store().rows(), letters.rows()), (split(&all).0, split(&VALUES).1), "{kind}");
    }
}

#[tokio::test]
async fn a_place_for_letters_goes_with_tolerance() {
    let (mut world, _) = world_of(Store::default());
    world.errors.all = false;
    let error = world.build(&Faults::default()).await.err().unwrap();
    assert_eq!(error.to_string(), "a dead letter sink goes with tolerated errors, they are not");
}
