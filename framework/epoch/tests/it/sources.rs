//! What a query may change between two runs: sources come and go, and an epoch sees what it was planned with.

use tidegate_api::ErrorKind;
use tidegate_epoch::Faults;

use crate::world::{Feed, World, drain};

/// A stateless query: the watermark of a source without data would hold all windows open.
fn stateless() -> World {
    let mut world = World::new();
    world.windows = false;
    world
}

async fn run(world: &World) {
    let mut query = world.start().await.unwrap();
    drain(&mut query).await.unwrap();
}

async fn crash(world: &World, fault: &str) {
    let faults = Faults::default();
    faults.arm(fault).unwrap();
    let mut query = world.start_with(&faults).await.unwrap();
    query.step().await.unwrap_err();
}

fn offsets(world: &World, epoch: u64) -> Vec<String> {
    world.file(&format!("offsets/{epoch}")).lines().skip(2).map(str::to_owned).collect()
}

fn times(world: &World) -> Vec<i64> {
    world.store().rows().iter().map(|(ms, _)| ms / 1000).collect()
}

#[tokio::test]
async fn sources_come_and_go_and_come_back() {
    let mut world = stateless();
    world.feed().add(&[1, 2]);
    run(&world).await;
    let (input, more) = (world.feeds[0].clone(), ("more", Feed::default()));
    more.1.add(&[10]);
    // One more, in front of the old one.
    world.feeds = vec![more.clone(), input.clone()];
    run(&world).await;
    assert_eq!(times(&world), [1, 2, 10]);
    assert_eq!(offsets(&world, 1), ["2", "1"], "each keeps its line");
    // The first one is gone; its line stays.
    world.feeds = vec![more.clone()];
    input.1.add(&[3]);
    more.1.add(&[11]);
    run(&world).await;
    assert_eq!(offsets(&world, 2), ["-", "2"]);
    more.1.add(&[12]);
    run(&world).await;
    assert_eq!(offsets(&world, 3), ["-", "2"].map(|it| if it == "2" { "3" } else { it }));
    // It is back, and goes on where it stood.
    world.feeds = vec![input, more];
    run(&world).await;
    assert_eq!(times(&world), [1, 2, 10, 11, 12, 3]);
    assert_eq!(offsets(&world, 4), ["3", "3"]);
}

#[tokio::test]
async fn a_pending_epoch_runs_without_a_source_that_is_new() {
    let mut world = stateless();
    world.feed().add(&[1]);
    crash(&world, "ownership=crash").await;
    world.feeds.push(("more", Feed::default()));
    world.feeds[1].1.add(&[10]);
    let mut query = world.start().await.unwrap();
    assert_eq!((times(&world), offsets(&world, 0)), (vec![1], vec!["1".to_owned()]));
    drain(&mut query).await.unwrap();
    assert_eq!(times(&world), [1, 10]);
}

#[tokio::test]
async fn a_pending_epoch_needs_the_sources_that_it_reads() {
    let mut world = stateless();
    world.feeds.push(("more", Feed::default()));
    run(&world).await;
    world.feed().add(&[1]);
    crash(&world, "ownership=crash").await;
    let input = world.feeds.remove(0);
    let error = world.start().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("epoch 0 is pending and reads source 'input'"), "{error}");
    world.feeds.insert(0, input);
    run(&world).await;
    assert_eq!(times(&world), [1]);
}

#[tokio::test]
async fn another_layout_is_refused_before_a_sink_is_opened() {
    let mut world = World::new();
    world.feed().add(&[1, 21]);
    run(&world).await;
    world.layout = Some("end INT, sum INT");
    let error = world.start().await.err().unwrap();
    assert!(error.to_string().contains("operator windows: found layout end INT, count INT"), "{error}");
    assert_eq!(world.store().opens(), 1);
}

#[tokio::test]
async fn a_first_epoch_that_is_pending_may_change_its_layout() {
    let mut world = World::new();
    world.feed().add(&[1, 21]);
    crash(&world, "ownership=crash").await;
    world.layout = Some("end INT, sum INT");
    run(&world).await;
    assert_eq!(world.store().rows(), [(10_000, 1)]);
}

#[tokio::test]
async fn static_sources_are_read_at_the_version_of_the_plan() {
    let world = stateless();
    *world.version.lock().unwrap() = Some("v1");
    world.feed().add(&[1]);
    crash(&world, "ownership=crash").await;
    *world.version.lock().unwrap() = Some("v2");
    world.feed().add(&[2]);
    run(&world).await;
    let seen: Vec<_> = world.events.take().into_iter().filter(|it| it.starts_with("table")).collect();
    let versions: Vec<_> = seen.iter().map(|it| &it[..10]).collect();
    assert_eq!(versions, ["table v1 0", "table v1 0", "table v2 1"]);
}
