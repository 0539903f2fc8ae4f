//! What is staged is what the sinks get: no operator runs for a pending epoch whose outputs are in the checkpoint.

use tidegate_api::{Error, ErrorKind, Staging};
use tidegate_epoch::Faults;

use crate::world::{Store, World, crash, drain, four_epochs, model, write_by_hand};

fn two_tables() -> World {
    let mut world = World::new();
    world.stores.push(("second", Store::default()));
    world
}

async fn refusal(world: &World) -> Error {
    world.start().await.err().unwrap()
}

fn runs(world: &World) -> Vec<String> {
    world.events.take().into_iter().filter(|it| it.starts_with("run")).map(|it| it[..5].to_owned()).collect()
}

#[tokio::test]
async fn a_half_visible_epoch_is_finished_from_the_stage() {
    for memory in [None, Some(0)] {
        let mut world = two_tables();
        world.stage_memory = memory;
        // Epoch 1 closes the first window.
        crash(&world, "commit.before=crash@4", &[1, 2, 21]).await;
        assert_eq!(world.list("state/staged").len(), usize::from(memory.is_some()) * 2);
        assert_eq!(runs(&world), ["run 0", "run 1"]);
        let mut query = world.build(&Faults::default()).await.unwrap();
        let progress = query.start().await.unwrap().unwrap();
        assert_eq!((progress.epoch, progress.sinks[1].num_output_rows), (1, 1));
        drain(&mut query).await.unwrap();
        assert!(runs(&world).is_empty(), "no operator ran");
        for (_, store) in &world.stores {
            assert_eq!(store.attempts(), [(0, "0.0".to_owned()), (1, "0.0".to_owned())]);
            assert_eq!(store.rows(), model(&[1, 2, 21]).0);
        }
        world.feed().add(&[22, 60]);
        drain(&mut query).await.unwrap();
        assert_eq!(world.stores[1].1.rows(), model(&[1, 2, 21, 22, 60]).0);
        assert!(world.list("state/staged").is_empty() || memory.is_some());
    }
}

#[tokio::test]
async fn staged_files_go_with_the_next_record() {
    let mut world = two_tables();
    world.stage_memory = Some(0);
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1, 21]);
    drain(&mut query).await.unwrap();
    assert_eq!(world.list("state/staged"), ["1.0.0.0", "1.0.0.1"], "epoch 0 had no rows, epoch 1 is the newest");
    std::fs::write(world.root().join("state/staged/0.0.7.1"), "left over").unwrap();
    std::fs::write(world.root().join("state/staged/1.0.7.1"), "left over").unwrap();
    drop(query);
    let mut query = world.start().await.unwrap();
    assert!(world.list("state/staged").is_empty(), "a start that finds the epoch decided needs none of them");
    world.feed().add(&[22, 40]);
    drain(&mut query).await.unwrap();
    assert!(!world.list("state/staged").is_empty());
    world.feed().add(&[41]);
    drain(&mut query).await.unwrap();
    assert!(world.list("state/staged").is_empty(), "the next record says that the epoch is decided");
}

#[tokio::test]
async fn what_can_be_read_once_is_staged_for_a_lone_sink_too() {
    let mut world = World::new();
    (world.once, world.windows) = (true, false);
    crash(&world, "commit.before=crash", &[1, 2]).await;
    world.feed().lose();
    let mut query = world.start().await.unwrap();
    assert_eq!(world.store().rows(), [(1000, 1), (2000, 1)]);
    world.feed().find_again();
    world.feed().add(&[3]);
    drain(&mut query).await.unwrap();
    assert_eq!(world.store().rows(), [(1000, 1), (2000, 1), (3000, 1)]);
}

#[tokio::test]
async fn committables_are_committed_by_another_process() {
    let mut world = World::new();
    world.stores = vec![
        ("table", Store::default().with_staging(Staging::Committable)),
        ("second", Store::default().with_staging(Staging::Committable)),
    ];
    crash(&world, "commit.before=crash@4", &[1, 21]).await;
    world.events.take();
    world.start().await.unwrap();
    let seen = world.events.take();
    assert_eq!(seen.iter().filter(|it| it.starts_with("commit") || it.starts_with("prepare")).count(), 2, "{seen:?}");
    assert_eq!(world.stores[1].1.attempts()[1], (1, "0.0".to_owned()));
    assert_eq!(world.stores[1].1.rows(), model(&[1, 21]).0);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_writes_piece_by_piece_repeats_the_whole_step() {
    let mut world = World::new();
    world.stores = vec![("table", Store::piecemeal())];
    let mut query = world.start().await.unwrap();
    world.store().lose_requests(2);
    world.store().fail_prepares(1);
    world.feed().add(&[1, 21]);
    drain(&mut query).await.unwrap();
    let prepares = world.events.take().iter().filter(|it| it.starts_with("prepare 0")).count();
    assert_eq!(prepares, 4, "one failed, two were followed by a lost request");
    assert_eq!(world.store().rows(), model(&[1, 21]).0);
    drop(query);
    crash(&world, "commit.after=crash", &[50]).await;
    world.start().await.unwrap();
    let writes = world.store().writes();
    let epoch = writes[writes.len() - 1].0;
    let of: Vec<_> = writes.iter().filter(|it| it.0 == epoch).collect();
    assert_eq!((of.len(), &of[0].1, &of[0].2), (2, &of[1].1, &of[1].2), "the same rows as the same attempt");
}

#[tokio::test]
async fn sinks_that_came_and_went() {
    let mut world = two_tables();
    crash(&world, "commit.before=crash@3", &[1, 21]).await;
    let gone = world.stores.remove(1).1;
    world.stores.push(("third", Store::default()));
    let mut query = world.start().await.unwrap();
    assert_eq!(world.store().rows(), model(&[1, 21]).0);
    assert!(gone.rows().is_empty(), "its part is dropped");
    assert!(world.stores[1].1.attempts().is_empty(), "a new sink gets nothing of an epoch before it");
    world.feed().add(&[60]);
    drain(&mut query).await.unwrap();
    assert_eq!(world.stores[1].1.rows(), [(30_000, 1)]);
}

#[tokio::test]
async fn missing_and_damaged_files_are_named() {
    let mut world = two_tables();
    world.stage_memory = Some(0);
    crash(&world, "commit.before=crash@3", &[1, 21]).await;
    let path = world.root().join("state/staged/1.0.0.1");
    let whole = std::fs::read(&path).unwrap();
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        std::fs::write(&path, &damaged).unwrap();
        let error = refusal(&world).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("state/staged/1.0.0.1: the file is damaged"), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    let text = refusal(&world).await.to_string();
    assert!(text.contains("state/staged/1.0.0.1 is missing"), "{text}");
    assert_eq!(world.store().attempts().len(), 1, "no sink got its part of epoch 1");
    std::fs::write(&path, &whole).unwrap();
    world.start().await.unwrap();
    assert_eq!(world.stores[1].1.rows(), model(&[1, 21]).0);
}

#[tokio::test]
async fn a_changed_query_leaves_what_half_is_visible() {
    let mut world = two_tables();
    world.settings.stage_outputs = false;
    crash(&world, "commit.before=crash@2", &[1, 21]).await;
    world.digest = "another";
    let text = refusal(&world).await.to_string();
    assert!(text.contains("epoch 0 is half visible by a query that has changed"), "{text}");
    world.digest = "digest";
    world.start().await.unwrap();
    world.digest = "another";
    let mut query = world.start().await.unwrap();
    drain(&mut query).await.unwrap();
    assert_eq!(world.stores[1].1.rows(), model(&[1, 21]).0);
}

/// The record of epoch 1 as a query wrote it that had one owner only.
async fn record_of_epoch_1(values: &[i64], more: &[i64]) -> Vec<u8> {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    for values in [values, more] {
        world.feed().add(values);
        query.step().await.unwrap();
    }
    std::fs::read(world.root().join("state/wal/1.0.0")).unwrap()
}

#[tokio::test]
async fn a_record_of_an_overtaken_owner_is_left_out() {
    let mut world = World::new();
    world.settings.no_data_epochs = false;
    crash(&world, "commit.before=crash", &[1, 2]).await;
    let query = world.start().await.unwrap();
    assert_eq!(world.list("state/wal"), ["0.0.0", "0.1.0"]);
    drop(query);
    // The first owner wakes up, takes its epoch 0 for decided and logs the next one.
    let zombie = record_of_epoch_1(&[1, 2], &[3, 3, 3]).await;
    std::fs::write(world.root().join("state/wal/1.0.0"), zombie).unwrap();
    std::fs::write(world.root().join("offsets/1"), "v1\n{}\n5").unwrap();
    let mut query = world.start().await.unwrap();
    assert_eq!(world.store().attempts(), [(0, "1.0".to_owned())]);
    world.feed().add(&[21]);
    drain(&mut query).await.unwrap();
    assert_eq!(world.store().attempts()[1], (1, "2.0".to_owned()));
    drop(query);
    let mut query = world.start().await.unwrap();
    world.feed().add(&[40]);
    drain(&mut query).await.unwrap();
    assert_eq!(world.store().rows(), model(&[1, 2, 21]).0);
}

#[tokio::test]
async fn an_overtaken_owner_that_was_faster_is_followed() {
    for sinks in [1, 2] {
        let mut world = if sinks == 1 { World::new() } else { two_tables() };
        world.windows = false;
        crash(&world, "ownership=crash", &[1, 2]).await;
        let record = world.root().join("state/wal/0.0.0");
        let hidden = world.root().join("hidden");
        std::fs::rename(&record, &hidden).unwrap();
        std::fs::remove_file(world.root().join("offsets/0")).unwrap();
        let mut query = world.start().await.unwrap();
        world.feed().add(&[3]);
        // Now the record of the first owner gets its name, and one sink its rows.
        std::fs::rename(&hidden, &record).unwrap();
        world.store().pretend_rows(0, "0.0", &[(1000, 1), (2000, 1)]);
        drain(&mut query).await.unwrap();
        drop(query);
        let mut query = world.start().await.unwrap();
        world.feed().add(&[4]);
        drain(&mut query).await.unwrap();
        assert_eq!(world.store().attempts()[0], (0, "0.0".to_owned()));
        assert_eq!(world.store().rows(), [(1000, 1), (2000, 1), (3000, 1), (4000, 1)]);
        if sinks == 2 {
            // The stateless program writes to the first sink only.
            let epochs = [(0, "0.0"), (1, "1.0"), (2, "2.0")].map(|(epoch, attempt)| (epoch, attempt.to_owned()));
            assert_eq!(world.stores[1].1.attempts(), epochs);
        }
    }
}

#[tokio::test]
async fn other_ranges_that_can_not_be_followed_stop_the_query() {
    let mut world = two_tables();
    world.settings.stage_outputs = false;
    crash(&world, "ownership=crash", &[1, 2]).await;
    let record = world.root().join("state/wal/0.0.0");
    let hidden = world.root().join("hidden");
    std::fs::rename(&record, &hidden).unwrap();
    std::fs::remove_file(world.root().join("offsets/0")).unwrap();
    let mut query = world.start().await.unwrap();
    world.feed().add(&[3]);
    std::fs::rename(&hidden, &record).unwrap();
    world.store().pretend(0, "0.0");
    let error = query.step().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("attempt 0.0, which read other ranges than attempt 1.0"), "{error}");
    assert!(world.stores[1].1.attempts().is_empty());
}

#[tokio::test]
async fn a_checkpoint_of_version_1_is_taken_over() {
    let world = World::new();
    four_epochs(&world).await;
    for folder in ["state/wal", "state/snapshots"] {
        for name in world.list(folder) {
            let path = world.root().join(folder).join(name);
            let mut bytes = std::fs::read(&path).unwrap();
            assert_eq!(bytes[8..16], [2, 0, 0, 0, 2, 0, 0, 0]);
            bytes.splice(8..16, [1, 0, 0, 0]);
            std::fs::write(&path, bytes).unwrap();
        }
    }
    write_by_hand(&world, "state/version", "1");
    std::fs::remove_dir_all(world.root().join("state/staged")).unwrap();
    let mut query = world.start().await.unwrap();
    assert_eq!(world.file("state/version"), "2");
    world.feed().add(&[60]);
    drain(&mut query).await.unwrap();
    assert_eq!(world.store().rows(), model(&world.feed().values()).0);
}

#[tokio::test]
async fn best_effort_sinks_make_no_stage() {
    let mut world = World::new();
    let screen = Store::default();
    screen.make_best_effort();
    world.stores.push(("screen", screen));
    world.stage_memory = Some(0);
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1, 21]);
    drain(&mut query).await.unwrap();
    assert!(world.list("state/staged").is_empty());
    let record = std::fs::read(world.root().join("state/wal/1.0.0")).unwrap();
    assert!(String::from_utf8_lossy(&record).contains(r#""sinks":["table"],"staged":[]"#));
}

#[tokio::test]
async fn an_object_store_keeps_what_is_staged() {
    let mut world = World::in_memory();
    world.stores.push(("second", Store::default()));
    world.stage_memory = Some(0);
    crash(&world, "commit.before=crash@4", &[1, 2, 21]).await;
    let there = world.everything().await;
    assert!(there.contains_key("state/staged/1.0.0.1"), "{:?}", there.keys());
    assert!(!there.keys().any(|it| it.starts_with("offsets/") || it.starts_with("commits/")), "{:?}", there.keys());
    world.take_over = true;
    world.events.take();
    let mut query = world.start().await.unwrap();
    assert!(runs(&world).is_empty(), "no operator ran");
    assert_eq!(world.stores[1].1.rows(), model(&[1, 2, 21]).0);
    assert!(world.everything().await.contains_key("commits/1"), "completed at the start, for people");
    world.feed().add(&[22]);
    drain(&mut query).await.unwrap();
    assert!(!world.everything().await.contains_key("state/staged/1.0.0.1"));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_not_logged_leaves_no_file() {
    for fault in ["stage.fsync=error@2", "record.write=error", "record.rename=error"] {
        let mut world = two_tables();
        (world.stage_memory, world.windows) = (Some(0), false);
        world.stores.remove(0);
        world.stores.push(("third", Store::default()));
        let faults = Faults::default();
        faults.arm(fault).unwrap();
        let mut query = world.start_with(&faults).await.unwrap();
        for value in 1..5 {
            world.feed().add(&[value]);
            drain(&mut query).await.unwrap();
        }
        // The stateless program writes to the first sink only.
        assert_eq!(world.list("state/staged"), ["3.0.0.0"], "{fault}");
        assert_eq!(world.store().rows().len(), 4, "{fault}");
    }
}
