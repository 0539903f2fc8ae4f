//! The order of an epoch, as `query.rs` states it.

use tidegate_epoch::Faults;

use crate::world::{World, drain};

#[tokio::test]
async fn an_epoch_goes_in_order() {
    let mut world = World::new();
    world.stores.push(("second", crate::world::Store::default()));
    let faults = Faults::default();
    let mut query = world.start_with(&faults).await.unwrap();
    world.feed().add(&[1, 2]);
    faults.watch();
    drain(&mut query).await.unwrap();
    assert_eq!(
        world.events.take(),
        [
            "run 0 []",
            "prepare 0 [record offsets]",
            "commit table 0 [record offsets]",
            "prepare 0 [record offsets]",
            "commit second 0 [record offsets]",
        ]
    );
    let points: Vec<_> = faults.trace().into_iter().filter(|(epoch, _)| *epoch == 0).map(|(_, it)| it.name()).collect();
    assert_eq!(
        points,
        [
            "plan",
            "run",
            "prepare",
            "record.write",
            "record.fsync",
            "record.rename",
            "record.dirsync",
            "ownership",
            "commit.staged",
            "commit.before",
            "commit.after",
            "commit.staged",
            "commit.before",
            "commit.after",
            "commits_file",
            "seal",
        ]
    );
    assert_eq!(world.list("commits"), ["0"]);
}

#[tokio::test]
async fn sparks_files_are_sparks_to_the_byte() {
    let mut world = World::new();
    world.feeds.push(("other", crate::world::Feed::default()));
    world.clock.set(1_719_343_083_746);
    let mut query = world.start().await.unwrap();
    world.feed().add(&[21, 22]);
    world.feeds[1].1.add(&[20]);
    drain(&mut query).await.unwrap();
    let metadata = world.file("metadata");
    assert!(metadata.starts_with("{\"id\":\"") && metadata.ends_with("\"}") && metadata.len() == 45, "{metadata}");
    let conf = r#""conf":{"spark.sql.streaming.multipleWatermarkPolicy":"min"}"#;
    let offsets = |watermark: i64| {
        format!("v1\n{{\"batchWatermarkMs\":{watermark},\"batchTimestampMs\":1719343083746,{conf}}}\n2\n1")
    };
    assert_eq!(world.file("offsets/0"), offsets(0));
    assert_eq!(world.file("commits/0"), "v1\n{\"nextBatchWatermarkMs\":15000}");
    assert_eq!(world.file("offsets/1"), offsets(15_000), "the epoch without data has its own number and files");
    assert_eq!(world.file("commits/1"), "v1\n{\"nextBatchWatermarkMs\":15000}");
}

#[tokio::test]
async fn times_rise_though_the_clock_goes_back() {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    let mut times = Vec::new();
    for (at, clock) in [5000, 5000, 2000].into_iter().enumerate() {
        world.clock.set(clock);
        world.feed().add(&[1]);
        drain(&mut query).await.unwrap();
        let text = std::fs::read(world.root().join(format!("state/wal/{at}.0.0"))).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let field = |name: &str| {
            text.split(&format!("\"{name}\":")).nth(1).unwrap().split([',', '}']).next().unwrap().to_owned()
        };
        times.push((field("time_ms"), field("write_time_us")));
    }
    let expected = [("5000", "5000000"), ("5000", "5000001"), ("5000", "5000002")];
    assert_eq!(times, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}
