//! When epochs run.

use std::time::Duration;

use tidegate_api::ReadLimit;
use tidegate_epoch::{Faults, Query, Step, StopSignal, Trigger};

use crate::world::{World, drain, model};

async fn step(query: &mut Query) -> String {
    match query.step().await.unwrap() {
        Step::Ran(progress) => format!("ran {} rows {}", progress.epoch, progress.num_input_rows),
        Step::Idle => "idle".to_owned(),
        Step::Waiting { until_ms } => format!("until {until_ms}"),
        Step::Ended => "ended".to_owned(),
    }
}

fn world(trigger: Trigger) -> World {
    let mut world = World::new();
    world.settings.trigger = trigger;
    world
}

#[tokio::test]
async fn as_soon_as_possible() {
    let world = world(Trigger::Default);
    let mut query = world.start().await.unwrap();
    assert_eq!(step(&mut query).await, "idle");
    world.feed().add(&[1, 21]);
    assert_eq!(step(&mut query).await, "ran 0 rows 2");
    assert_eq!(step(&mut query).await, "ran 1 rows 0");
    assert_eq!(step(&mut query).await, "idle");
    world.feed().add(&[21]);
    assert_eq!(step(&mut query).await, "ran 2 rows 1");
    assert_eq!(step(&mut query).await, "idle", "the watermark did not move");
}

#[tokio::test]
async fn at_whole_multiples_of_an_interval() {
    let world = world(Trigger::Interval(Duration::from_secs(1)));
    world.clock.set(1500);
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1]);
    assert_eq!(step(&mut query).await, "ran 0 rows 1", "the first at once");
    assert_eq!(step(&mut query).await, "until 2000");
    world.feed().add(&[21]);
    world.clock.set(1999);
    assert_eq!(step(&mut query).await, "until 2000");
    world.clock.set(2000);
    assert_eq!(step(&mut query).await, "ran 1 rows 1");
    assert_eq!(step(&mut query).await, "until 3000", "the epoch without data waits for its tick");
    world.clock.set(3000);
    assert_eq!(step(&mut query).await, "ran 2 rows 0");
    // Far too late: one turn at once, then back to the grid.
    world.clock.set(7700);
    assert_eq!(step(&mut query).await, "until 8000");
    assert_eq!(step(&mut query).await, "until 8000");
}

#[tokio::test]
async fn once() {
    let mut world = world(Trigger::Once);
    world.limit = ReadLimit { max_rows: Some(1), ..ReadLimit::NONE };
    world.feed().add(&[1, 2, 21]);
    let mut query = world.start().await.unwrap();
    assert_eq!(step(&mut query).await, "ran 0 rows 3", "limits are ignored");
    assert_eq!(step(&mut query).await, "ended");
    world.feed().add(&[40]);
    assert_eq!(step(&mut query).await, "ended");
    drop(query);
    let mut query = world.start().await.unwrap();
    assert_eq!(step(&mut query).await, "ran 1 rows 1", "no epoch without data, here neither");
    drop(query);
    let mut query = world.start().await.unwrap();
    assert_eq!(step(&mut query).await, "ended", "nothing new, nothing run");
}

#[tokio::test]
async fn once_finishes_what_is_pending_and_that_is_its_epoch() {
    let world = world(Trigger::Once);
    world.feed().add(&[1]);
    let faults = tidegate_epoch::Faults::default();
    faults.arm("ownership=crash").unwrap();
    let mut query = world.start_with(&faults).await.unwrap();
    query.step().await.unwrap_err();
    drop(query);
    world.feed().add(&[2]);
    let mut query = world.build(&tidegate_epoch::Faults::default()).await.unwrap();
    let pending = query.start().await.unwrap().unwrap();
    assert_eq!((pending.epoch, pending.num_input_rows), (0, 1), "the logged range, though there is more");
    assert_eq!(step(&mut query).await, "ended");
}

#[tokio::test]
async fn available_now() {
    let mut world = world(Trigger::AvailableNow);
    world.limit = ReadLimit { max_rows: Some(2), ..ReadLimit::NONE };
    world.feed().add(&[1, 2, 21]);
    let mut query = world.start().await.unwrap();
    assert_eq!(step(&mut query).await, "ran 0 rows 2");
    world.feed().add(&[50]);
    assert_eq!(step(&mut query).await, "ran 1 rows 1", "what came after the start waits for the next");
    assert_eq!(step(&mut query).await, "ran 2 rows 0");
    assert_eq!(step(&mut query).await, "ended");
    assert_eq!(step(&mut query).await, "ended");
}

#[tokio::test]
async fn available_now_can_close_all_that_is_open() {
    let mut world = world(Trigger::AvailableNow);
    world.settings.flush_on_end = true;
    world.feed().add(&[1, 2, 21]);
    let mut query = world.start().await.unwrap();
    let ran = drain(&mut query).await.unwrap();
    assert_eq!(ran.len(), 3);
    assert_eq!(world.store().rows(), [(10_000, 2), (30_000, 1)]);
    assert_eq!(ran[2].event_time["watermark"], "9999-12-31T23:59:59.999Z");
    drop(query);
    let mut query = world.start().await.unwrap();
    assert!(drain(&mut query).await.unwrap().is_empty(), "there is nothing to flush any more");
}

#[tokio::test]
async fn continuous_keeps_its_distance() {
    let world = world(Trigger::Continuous(Duration::from_secs(1)));
    let mut query = world.start().await.unwrap();
    assert_eq!(step(&mut query).await, "idle");
    world.feed().add(&[1]);
    world.clock.set(300);
    assert_eq!(step(&mut query).await, "ran 0 rows 1");
    world.feed().add(&[2]);
    assert_eq!(step(&mut query).await, "until 1300");
    world.clock.set(1300);
    assert_eq!(step(&mut query).await, "ran 1 rows 1");
}

#[tokio::test]
async fn a_closing_epoch_that_a_stop_cut_off_comes_after_the_restart() {
    let world = world(Trigger::Default);
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1, 21]);
    assert_eq!(step(&mut query).await, "ran 0 rows 2");
    drop(query);
    let mut query = world.start().await.unwrap();
    assert_eq!(step(&mut query).await, "ran 1 rows 0");
    assert_eq!(world.store().rows(), model(&[1, 21]).0);
}

#[tokio::test]
async fn a_run_ends_with_its_trigger() {
    let world = world(Trigger::AvailableNow);
    world.feed().add(&[1, 21]);
    let mut query = world.build(&tidegate_epoch::Faults::default()).await.unwrap();
    query.run(&StopSignal::default()).await.unwrap();
    assert_eq!(world.store().rows(), model(&[1, 21]).0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_wakes_for_data_and_stops_when_asked() {
    let world = world(Trigger::Default);
    let mut query = world.build(&tidegate_epoch::Faults::default()).await.unwrap();
    let (stop, handle) = (StopSignal::default(), query.handle());
    let signal = stop.clone();
    let running = tokio::spawn(async move { query.run(&signal).await });
    for wanted in [1, 2] {
        world.feed().add(&[21]);
        while handle.progress().iter().filter(|it| it.num_input_rows > 0).count() < wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    stop.graceful.cancel();
    running.await.unwrap().unwrap();
    let plans = world.feed().plans();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.feed().plans(), plans);
    world.start().await.unwrap();
}

#[tokio::test]
async fn a_forced_stop_drops_the_epoch_and_the_next_start_runs_it() {
    let world = world(Trigger::Default);
    let mut query = world.build(&tidegate_epoch::Faults::default()).await.unwrap();
    query.start().await.unwrap();
    world.feed().add(&[1, 21]);
    world.store().lose_requests(u32::MAX);
    let stop = StopSignal::default();
    let signal = stop.clone();
    let (ended, ()) = tokio::join!(query.run(&stop), async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        signal.forced.cancel();
    });
    ended.unwrap();
    let text = query.step().await.unwrap_err().to_string();
    assert!(text.contains("dropped in the middle of an epoch"), "{text}");
    drop(query);
    world.store().lose_requests(0);
    let mut query = world.start().await.unwrap();
    drain(&mut query).await.unwrap();
    assert_eq!(world.store().rows(), model(&[1, 21]).0);
}

#[tokio::test]
async fn the_loop_can_be_spawned() {
    fn is_send<T: Send>(it: T) -> T {
        it
    }
    let world = world(Trigger::Once);
    let mut query = is_send(world.build(&tidegate_epoch::Faults::default()).await.unwrap());
    is_send(query.run(&StopSignal::default())).await.unwrap();
}

#[tokio::test]
async fn an_epoch_reads_what_it_can_do_in_the_time() {
    let mut world = world(Trigger::Default);
    world.settings.target_latency = Some(Duration::from_secs(1));
    world.feed().be_slow(&world.clock, 1);
    world.feed().add(&[1; 30_000]);
    let faults = Faults::default();
    let mut query = world.start_with(&faults).await.unwrap();
    for (epoch, rows) in [10_000, 2_500, 1_000, 1_000].into_iter().enumerate() {
        assert_eq!(step(&mut query).await, format!("ran {epoch} rows {rows}"));
    }
    faults.arm("commit.before=crash").unwrap();
    query.step().await.unwrap_err();
    drop(query);
    let mut query = world.build(&Faults::default()).await.unwrap();
    let pending = query.start().await.unwrap().expect("an epoch was pending");
    assert_eq!(pending.num_input_rows, 1_000, "by its record");
    drop(query);
    world.limit = ReadLimit { max_rows: Some(300), ..ReadLimit::NONE };
    let mut query = world.start().await.unwrap();
    assert_eq!(step(&mut query).await, "ran 5 rows 300", "another limit still holds");
}
