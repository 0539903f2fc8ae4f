//! Going back: numbers are never used again, and the sinks show each row once, or twice if that is what was asked for.

use std::sync::Arc;

use tidegate_api::{Error, ErrorKind, OffsetJson};
use tidegate_epoch::{Faults, ImportPoint, RewindReport, SinkMode, SinkOutcome, WatermarkPolicy};

use crate::world::{Store, World, drain, model};

/// Rows that are never late.
const CHUNKS: [&[i64]; 4] = [&[1, 12, 14], &[15, 27], &[28, 31, 40], &[41, 55]];

async fn run(world: &World, values: &[i64]) {
    let mut query = world.start().await.unwrap();
    world.feed().add(values);
    drain(&mut query).await.unwrap();
}

/// A query with some epochs; gives the number of the newest.
async fn with_epochs(world: &World) -> u64 {
    for chunk in CHUNKS {
        run(world, chunk).await;
    }
    world.list("commits").iter().map(|it| it.parse().unwrap()).max().unwrap()
}

async fn rewind(world: &World, to: u64, sinks: SinkMode) -> Result<RewindReport, Error> {
    world.build(&Faults::default()).await?.rewind(to, sinks).await
}

fn sorted(store: &Store) -> Vec<(i64, i64)> {
    let mut rows = store.rows();
    rows.sort_unstable();
    rows
}

fn expected(world: &World) -> Vec<(i64, i64)> {
    model(&world.feed().values()).0
}

#[tokio::test]
async fn kept_output_is_not_written_again() {
    for to in 0..7 {
        for snapshots in [true, false] {
            let mut world = World::new();
            world.stores.push(("second", Store::default()));
            let newest = with_epochs(&world).await;
            assert_eq!(newest, 7, "each chunk closes a window in an epoch of its own");
            if !snapshots {
                std::fs::remove_dir_all(world.root().join("state/snapshots")).unwrap();
            }
            let report = rewind(&world, to, SinkMode::Keep).await.unwrap();
            let sinks = vec![("table".into(), SinkOutcome::Kept), ("second".into(), SinkOutcome::Kept)];
            assert_eq!(report, RewindReport { from: newest, to, next: newest + 1, sinks });
            let shown = world.store().attempts().len();
            let mut query = world.start().await.unwrap();
            drain(&mut query).await.unwrap();
            assert_eq!(world.store().attempts().len(), shown, "to {to}: nothing is new");
            assert_eq!(query.watermark_ms(), Some(50_000), "to {to}");
            drop(query);
            run(&world, &[60, 75]).await;
            run(&world, &[76, 90]).await;
            for (name, store) in &world.stores {
                assert_eq!(sorted(store), expected(&world), "to {to}: {name}");
            }
            let attempts = world.store().attempts();
            assert!(attempts.windows(2).all(|it| it[0].0 < it[1].0), "{attempts:?}");
        }
    }
}

#[tokio::test]
async fn a_start_that_dies_in_the_suppressed_epoch_is_repeated() {
    for fault in ["run=crash", "record.rename=crash", "ownership=crash", "seal=crash", "snapshot.write=crash"] {
        let world = World::new();
        with_epochs(&world).await;
        rewind(&world, 2, SinkMode::Keep).await.unwrap();
        let faults = Faults::default();
        faults.arm(fault).unwrap();
        let mut query = world.start_with(&faults).await.unwrap();
        let _ = drain(&mut query).await;
        drop(query);
        run(&world, &[60, 75]).await;
        assert_eq!(sorted(world.store()), expected(&world), "{fault}");
    }
}

#[tokio::test]
async fn output_comes_again_from_where_the_sinks_were_taken_back_to() {
    let mut world = World::new();
    world.stores.push(("second", Store::default()));
    world.store().can_restore();
    let newest = with_epochs(&world).await;
    let report = rewind(&world, 3, SinkMode::Replay).await.unwrap();
    let sinks: [(Arc<str>, _); 2] = [("table".into(), SinkOutcome::TakenBack), ("second".into(), SinkOutcome::Twice)];
    assert_eq!(report.sinks, sinks);
    assert_eq!(world.store().attempts().last().unwrap().0, 3);
    run(&world, &[60, 75]).await;
    assert_eq!(sorted(world.store()), expected(&world));
    let twice = sorted(&world.stores[1].1);
    assert!(twice.len() > expected(&world).len(), "{twice:?}");
    assert!(world.store().attempts()[4].0 > newest, "no number is used again");
}

#[tokio::test]
async fn sinks_are_taken_back_by_the_next_start_if_going_back_broke_off() {
    let world = World::new();
    world.store().can_restore();
    with_epochs(&world).await;
    world.store().fail_restores(1);
    let error = rewind(&world, 1, SinkMode::Replay).await.unwrap_err();
    assert_eq!(error.to_string(), "sink table: the table is locked");
    run(&world, &[60]).await;
    assert_eq!(sorted(world.store()), expected(&world));
}

#[tokio::test]
async fn nothing_is_changed_if_one_of_several_sinks_could_not_take_back() {
    let mut world = World::new();
    world.stores.push(("second", Store::default()));
    world.stores.iter().for_each(|it| it.1.can_restore());
    with_epochs(&world).await;
    let before = sorted(world.store());
    world.stores[1].1.refuse_restores(true);
    let error = rewind(&world, 1, SinkMode::Replay).await.unwrap_err();
    assert_eq!(error.to_string(), "sink second: rows were changed by others");
    assert_eq!(sorted(world.store()), before);
    assert!(world.list("state/branches").is_empty());
    run(&world, &[60, 75]).await;
    for (name, store) in &world.stores {
        assert_eq!(sorted(store), expected(&world), "{name}");
    }
    rewind(&world, 1, SinkMode::Keep).await.unwrap();
    run(&world, &[76, 90]).await;
    assert_eq!(sorted(world.store()), expected(&world));
}

#[tokio::test]
async fn a_query_goes_back_more_than_once() {
    let world = World::new();
    world.store().can_restore();
    with_epochs(&world).await;
    rewind(&world, 5, SinkMode::Replay).await.unwrap();
    let second = rewind(&world, 3, SinkMode::Replay).await.unwrap();
    assert_eq!((second.to, second.next), (3, 8), "nothing has run since");
    run(&world, &[60, 75]).await;
    assert_eq!(sorted(world.store()), expected(&world));
    let text = rewind(&world, 5, SinkMode::Keep).await.unwrap_err().to_string();
    assert!(text.contains("epoch 5 can't be gone back to"), "it was left: {text}");
    let back = rewind(&world, 2, SinkMode::Keep).await.unwrap();
    assert!(back.next > second.next);
    run(&world, &[76, 90]).await;
    assert_eq!(sorted(world.store()), expected(&world));
}

#[tokio::test]
async fn purges_leave_what_a_branch_needs() {
    let mut world = World::new();
    world.settings.min_epochs_to_retain = 3;
    with_epochs(&world).await;
    let oldest: u64 = world.list("state/wal")[0].split('.').next().unwrap().parse().unwrap();
    let text = rewind(&world, oldest.saturating_sub(1), SinkMode::Keep).await.unwrap_err().to_string();
    assert!(
        text.contains("can't be gone back to: expected one from ") && text.contains(&format!("{oldest} to 7")),
        "{text}"
    );
    rewind(&world, oldest, SinkMode::Keep).await.unwrap();
    for at in 0..12 {
        run(&world, &[60 + at * 7]).await;
        assert_eq!(sorted(world.store()), expected(&world), "{at}");
    }
    assert!(
        world.list("state/branches").iter().all(|it| it.starts_with('.')),
        "it has been purged with what it led to"
    );
    assert!(world.list("state/wal").len() < 8, "{:?}", world.list("state/wal"));
}

#[tokio::test]
async fn what_can_not_be_gone_back_to_is_refused() {
    let world = World::new();
    let error = rewind(&world, 0, SinkMode::Keep).await.unwrap_err();
    assert!(error.to_string().contains("has no epoch to go back to"), "{error}");
    with_epochs(&world).await;
    let error = rewind(&world, 8, SinkMode::Keep).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().ends_with("epoch 8 can't be gone back to: expected one from 0 to 7"), "{error}");
    let mut query = world.start().await.unwrap();
    let text = query.rewind(1, SinkMode::Keep).await.unwrap_err().to_string();
    assert_eq!(text, "a query is rewound before it is started");
    drop(query);
    let mut query = world.build(&Faults::default()).await.unwrap();
    query.rewind(1, SinkMode::Keep).await.unwrap();
    let text = query.step().await.unwrap_err().to_string();
    assert!(text.contains("it was rewound; start a new one"), "{text}");
}

#[tokio::test]
async fn a_pending_epoch_is_left_if_no_sink_can_show_it() {
    let world = World::new();
    with_epochs(&world).await;
    let faults = Faults::default();
    faults.arm("ownership=crash").unwrap();
    let mut query = world.start_with(&faults).await.unwrap();
    world.feed().add(&[60, 75]);
    query.step().await.unwrap_err();
    drop(query);
    rewind(&world, 4, SinkMode::Keep).await.unwrap();
    run(&world, &[]).await;
    assert_eq!(sorted(world.store()), expected(&world));
}

#[tokio::test]
async fn a_half_visible_epoch_is_finished_or_taken_back() {
    let mut world = World::new();
    world.stores.push(("second", Store::default()));
    world.stores.iter().for_each(|it| it.1.can_restore());
    with_epochs(&world).await;
    let faults = Faults::default();
    faults.arm("commit.before=crash@2").unwrap();
    let mut query = world.start_with(&faults).await.unwrap();
    world.feed().add(&[60, 75]);
    query.step().await.unwrap_err();
    drop(query);
    let text = rewind(&world, 4, SinkMode::Keep).await.unwrap_err().to_string();
    assert!(text.contains("epoch 8 is pending, and sink table may show it"), "{text}");
    rewind(&world, 4, SinkMode::Replay).await.unwrap();
    run(&world, &[]).await;
    for (_, store) in &world.stores {
        assert_eq!(sorted(store), expected(&world));
    }
}

fn point(next: u64, offset: u64) -> ImportPoint {
    ImportPoint {
        next,
        positions: vec![("input".to_owned(), OffsetJson(offset.into()))],
        watermark_ms: Some(20_000),
        watermark_policy: WatermarkPolicy::Min,
        reason: "from elsewhere".to_owned(),
    }
}

#[tokio::test]
async fn a_query_begins_where_another_stopped() {
    for next in [0, 7] {
        let world = World::new();
        world.feed().add(&[1, 2, 25]);
        world.checkpoint(&Faults::default()).await.unwrap().import(point(next, 2)).await.unwrap();
        let mut query = world.start().await.unwrap();
        assert_eq!(query.watermark_ms(), Some(20_000));
        let ran = drain(&mut query).await.unwrap();
        assert_eq!((ran[0].epoch, ran[0].num_input_rows), (next, 1));
        drop(query);
        run(&world, &[40]).await;
        assert_eq!(world.store().rows(), [(30_000, 1)]);
        let error = world.checkpoint(&Faults::default()).await.unwrap().import(point(90, 2)).await.unwrap_err();
        assert!(error.to_string().contains("it has been used"), "{error}");
    }
}

#[tokio::test]
async fn sources_say_that_they_can_go_on_before_a_point_is_taken() {
    let world = World::new();
    world.feed().add(&[1, 2, 25]);
    let import = async |offset: serde_json::Value| {
        let point = ImportPoint { positions: vec![("input".to_owned(), OffsetJson(offset))], ..point(3, 0) };
        world.build(&Faults::default()).await?.import(point).await
    };
    let text = import("three".into()).await.unwrap_err().to_string();
    assert!(text.contains("source input: \"three\" does not fit"), "{text}");
    assert!(world.list("state/branches").is_empty(), "nothing was taken");
    import(2.into()).await.unwrap();
    let mut query = world.start().await.unwrap();
    assert_eq!(drain(&mut query).await.unwrap()[0].epoch, 3);
    drop(query);
    let text = import(2.into()).await.unwrap_err().to_string();
    assert!(text.contains("it has been used"), "{text}");
    let mut query = world.start().await.unwrap();
    let text = query.import(point(3, 0)).await.unwrap_err().to_string();
    assert_eq!(text, "positions are imported before a query is started");
}

#[tokio::test]
async fn a_log_is_taken_over_once_and_before_anything_else() {
    let world = World::new();
    let checkpoint = world.checkpoint(&Faults::default()).await.unwrap();
    let entries = |text: &str| vec![("0".to_owned(), b"same".to_vec()), ("1".to_owned(), text.as_bytes().to_vec())];
    checkpoint.import_log("input", &entries("a")).await.unwrap();
    checkpoint.import_log("input", &entries("a")).await.unwrap();
    let text = checkpoint.import_log("input", &entries("b")).await.unwrap_err().to_string();
    assert!(text.contains("the log of source input has another entry 1 already"), "{text}");
    assert_eq!(checkpoint.source_log("input").await.unwrap().get("1").await.unwrap().unwrap(), b"a");
    checkpoint.import(point(7, 0)).await.unwrap();
    let text = checkpoint.import_log("input", &entries("a")).await.unwrap_err().to_string();
    assert!(text.contains("it has been used"), "{text}");
}

#[tokio::test]
async fn a_sink_ahead_of_its_branch_is_refused() {
    let world = World::new();
    world.checkpoint(&Faults::default()).await.unwrap().import(point(7, 0)).await.unwrap();
    world.store().pretend(7, "0.0");
    let text = world.start().await.err().unwrap().to_string();
    assert!(text.contains("sink table shows epoch 7, the newest in the checkpoint is 6"), "{text}");
}

#[tokio::test]
async fn a_damaged_branch_is_named() {
    let world = World::new();
    with_epochs(&world).await;
    rewind(&world, 2, SinkMode::Keep).await.unwrap();
    let path = world.root().join("state/branches/8");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = world.start().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("state/branches/8: the file is damaged"), "{error}");
}
