//! Which files an epoch takes.

use std::fs;

use tidegate_api::prelude::*;
use tokio::time::Instant;

use crate::support::{World, at, plan, rows, touch};

const NONE: ReadLimit = ReadLimit::NONE;

#[tokio::test]
async fn new_files_come_once_in_the_order_of_their_times() {
    let world = World::new();
    world.write("b.json", 5, "b");
    world.write("a.json", 5, "a");
    world.write("z.json", 1, "z");
    world.write("_hidden", 0, "no");
    world.write(".hidden", 0, "no");
    world.write("half._COPYING_", 0, "no");
    world.write("below/c.json", 0, "no");
    let mut source = world.source(&[]).await;
    assert_eq!(source.initial_offset().await.unwrap(), at(-1));
    let planned = source.plan(&at(-1), &NONE).await.unwrap();
    assert_eq!((planned.end.clone(), planned.latest, planned.bytes), (at(0), at(0), Some(3)));
    let log = world.log.text("0");
    let places: Vec<_> = ["z.json", "a.json", "b.json"].iter().map(|it| log.find(it).unwrap()).collect();
    assert!(places.is_sorted(), "by time, then by path: {log}");
    assert_eq!(
        rows(&*source, -1, 0).await,
        ["a", "b", "z"],
        "a file is a partition: within an epoch they have no order"
    );
    assert_eq!(plan(&mut *source, 0, NONE).await, 0, "nothing new");
    world.write("late.json", 2, "late");
    touch(&world.path("z.json"), 9);
    assert_eq!(plan(&mut *source, 0, NONE).await, 1);
    assert_eq!(rows(&*source, 0, 1).await, ["late"], "a file that was read is not new because it changed");
}

#[tokio::test]
async fn a_path_may_be_a_file_or_a_pattern() {
    let world = World::new();
    for (at, name) in
        ["2026-01/a.json", "2026-01/a.txt", "2026-02/a.json", "2025-01/a.json", "2026-03/_a.json"].iter().enumerate()
    {
        world.write(name, at as u64, name);
    }
    for (path, expected) in [
        ("in/2026-01/a.txt", vec!["2026-01/a.txt"]),
        ("in/2026-*", vec!["2026-01/a.json", "2026-01/a.txt", "2026-02/a.json"]),
        ("./in/*/a.json", vec!["2025-01/a.json", "2026-01/a.json", "2026-02/a.json"]),
        ("in/{2026-01,2026-0[1-2]}/*.json", vec!["2026-01/a.json", "2026-02/a.json"]),
        ("in/1999-*", vec![]),
    ] {
        let world = World {
            log: std::sync::Arc::default(),
            folder: tempfile::tempdir_in(world.folder.path()).unwrap(),
            schema: None,
        };
        let mut source = world.build(&format!("../{path}"), &[]).await.unwrap();
        let end = plan(&mut *source, -1, NONE).await;
        assert_eq!(rows(&*source, -1, end).await, expected, "{path}");
    }
}

#[tokio::test]
async fn limits_cut_epochs_by_whole_files() {
    for (key, value, epochs) in [
        ("maxFilesPerTrigger", "2", vec![vec!["0000", "1111"], vec!["2222", "3333"], vec!["4444"]]),
        ("max.files.per.epoch", "4", vec![vec!["0000", "1111", "2222", "3333"], vec!["4444"]]),
        ("max.bytes.per.trigger", "9", vec![vec!["0000", "1111"], vec!["2222", "3333"], vec!["4444"]]),
        ("max.bytes.per.trigger", "1", vec![vec!["0000"], vec!["1111"], vec!["2222"], vec!["3333"], vec!["4444"]]),
    ] {
        let world = World::new();
        for it in 0..5 {
            world.write(&format!("{it}"), it, format!("{it}").repeat(4));
        }
        let mut source = world.source(&[(key, value)]).await;
        let mut found = Vec::new();
        let mut start = -1;
        loop {
            let end = plan(&mut *source, start, NONE).await;
            if end == start {
                break;
            }
            found.push(rows(&*source, start, end).await);
            start = end;
        }
        assert_eq!(found, epochs, "{key} {value}");
    }
}

#[tokio::test]
async fn limits_of_the_query_count_too() {
    let world = World::new();
    for it in 0..4 {
        world.write(&format!("{it}"), it, "x\n".repeat(10));
    }
    let mut source = world.source(&[]).await;
    let rows_limit = |it| ReadLimit { max_rows: Some(it), ..NONE };
    assert_eq!(plan(&mut *source, -1, rows_limit(25)).await, 0);
    assert_eq!(rows(&*source, -1, 0).await.len(), 20);
    assert_eq!(plan(&mut *source, 0, rows_limit(3)).await, 1, "one file at least");
    assert_eq!(rows(&*source, 0, 1).await.len(), 10);
    assert_eq!(plan(&mut *source, 1, ReadLimit { max_bytes: Some(20), ..NONE }).await, 2);
    assert_eq!(rows(&*source, 1, 2).await.len(), 10);
}

#[tokio::test]
async fn the_newest_may_come_first() {
    let world = World::new();
    for it in 0..3 {
        world.write(&format!("{it}"), it, format!("{it}"));
    }
    let mut source = world.source(&[("latestFirst", "true"), ("maxFilesPerTrigger", "1")]).await;
    assert_eq!(plan(&mut *source, -1, NONE).await, 0);
    assert_eq!(rows(&*source, -1, 0).await, ["2"]);
    world.write("3", 3, "3");
    assert_eq!(plan(&mut *source, 0, NONE).await, 1);
    assert_eq!(rows(&*source, 0, 1).await, ["3"]);
}

#[tokio::test]
async fn old_files_are_ignored_against_the_newest_one_not_the_clock() {
    let world = World::new();
    world.write("new", 100_000, "new");
    let mut source = world.source(&[("max.file.age", "1h")]).await;
    assert_eq!(plan(&mut *source, -1, NONE).await, 0);
    world.write("old", 90_000, "old");
    world.write("young", 98_000, "young");
    assert_eq!(plan(&mut *source, 0, NONE).await, 1);
    assert_eq!(rows(&*source, 0, 1).await, ["young"]);
}

#[tokio::test]
async fn a_frozen_source_takes_what_was_there_by_its_limits() {
    let world = World::new();
    for it in 0..5 {
        world.write(&format!("{it}"), it, format!("{it}"));
    }
    let mut source = world.source(&[("max.files.per.trigger", "2")]).await;
    assert_eq!(source.freeze(&at(-1)).await.unwrap(), at(2));
    world.write("9", 9, "9");
    let mut start = -1;
    for expected in [vec!["0", "1"], vec!["2", "3"], vec!["4"]] {
        let end = plan(&mut *source, start, NONE).await;
        assert_eq!(end, start + 1);
        assert_eq!(rows(&*source, start, end).await, expected);
        start = end;
    }
    assert_eq!(plan(&mut *source, 2, NONE).await, 2);
    let mut again = world.source(&[("max.files.per.trigger", "2")]).await;
    assert_eq!(again.freeze(&at(2)).await.unwrap(), at(3));
}

#[tokio::test]
async fn without_a_limit_a_frozen_source_is_one_epoch() {
    let world = World::new();
    for it in 0..2100 {
        world.write(&format!("{it}"), it, "x");
    }
    let mut source = world.source(&[]).await;
    assert_eq!(source.freeze(&at(-1)).await.unwrap(), at(2), "entries are written ahead in portions");
    assert_eq!(plan(&mut *source, -1, NONE).await, 2);
    assert_eq!(rows(&*source, -1, 2).await.len(), 2100);
    assert_eq!(plan(&mut *source, -1, ReadLimit { max_bytes: Some(2000), ..NONE }).await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_source_lists_less_and_less_often() {
    let world = World::new();
    let mut source = world.source(&[]).await;
    let mut waits = Vec::new();
    for round in 0..8 {
        if round == 6 {
            world.write("a", 0, "a");
        }
        assert_eq!(plan(&mut *source, -1, NONE).await, if round < 6 { -1 } else { 0 });
        // While an entry waits there is no need to sleep; when it was read, the first wait is short again.
        let after = if round < 7 { at(-1) } else { at(0) };
        let began = Instant::now();
        source.ready(&after).await.unwrap();
        waits.push(began.elapsed().as_millis());
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 200, 0, 10]);
}

#[tokio::test]
async fn a_rest_of_a_listing_is_read_without_listing_again() {
    let world = World::new();
    for it in 1..5 {
        world.write(&format!("{it}"), it, format!("{it}"));
    }
    let mut source = world.source(&[("max.files.per.trigger", "1")]).await;
    assert_eq!(plan(&mut *source, -1, NONE).await, 0);
    // Older than all that wait: a new listing would put it first.
    world.write("0", 0, "0");
    for start in 0..4 {
        assert_eq!(plan(&mut *source, start, NONE).await, start + 1);
        let expected = ["2", "3", "4", "0"][usize::try_from(start).unwrap()];
        assert_eq!(rows(&*source, start, start + 1).await, [expected]);
    }
    fs::remove_dir_all(world.path("")).unwrap();
    assert_eq!(plan(&mut *source, 4, NONE).await, 4, "a folder that is gone has nothing new");
}
