//! The log of files: Spark's form, restarts, failures.

use std::sync::atomic::Ordering;

use tidegate_api::prelude::*;

use crate::support::{World, at, batches, plan, rows};

const NONE: ReadLimit = ReadLimit::NONE;
const ONE: [(&str, &str); 1] = [("max.files.per.trigger", "1")];

/// Reads `count` more files, one an epoch.
async fn epochs(world: &World, count: i64) {
    let mut source = world.source(&ONE).await;
    let first = i64::try_from(std::fs::read_dir(world.path("")).unwrap().count()).unwrap();
    for n in first..first + count {
        world.write(&format!("{n:04}"), u64::try_from(n).unwrap(), format!("{n}\n"));
        assert_eq!(plan(&mut *source, n - 1, NONE).await, n);
    }
}

#[tokio::test]
async fn entries_have_sparks_form() {
    let world = World::new();
    world.write("a b+한%20.json", 3, "{}");
    world.write("c.json", 4, "{}");
    let mut source = world.source(&[]).await;
    plan(&mut *source, -1, NONE).await;
    let folder = world.path("").display().to_string();
    assert_eq!(
        world.log.text("0"),
        format!(
            "v1\n{{\"path\":\"file://{folder}a%20b+%ED%95%9C%2520.json\",\"timestamp\":1772359203000,\"batchId\":0}}\n\
             {{\"path\":\"file://{folder}c.json\",\"timestamp\":1772359204000,\"batchId\":0}}"
        )
    );
}

#[tokio::test]
async fn a_log_that_spark_wrote_goes_on() {
    // As Spark 4.2.1 writes it: letters beyond ASCII stand as they are.
    let world = World::new();
    let folder = world.path("").display().to_string();
    let names = ["00.json", "a%20b+한%2520.json", "02.json"];
    let line = |at: usize| {
        let (name, time) = (names[at], 1_772_359_200_000 + at * 1000);
        format!("\n{{\"path\":\"file://{folder}{name}\",\"timestamp\":{time},\"batchId\":{at}}}")
    };
    for at in 0..3 {
        world.log.put(&at.to_string(), &format!("v1{}", line(at)));
    }
    for (second, name) in ["00.json", "a b+한%20.json", "02.json", "new.json"].iter().enumerate() {
        world.write(name, second as u64, name);
    }
    let mut source = world.source(&[]).await;
    assert_eq!(rows(&*source, -1, 2).await, ["00.json", "02.json", "a b+한%20.json"]);
    assert_eq!(plan(&mut *source, 2, NONE).await, 3);
    assert_eq!(rows(&*source, 2, 3).await, ["new.json"]);
}

#[tokio::test]
async fn each_tenth_entry_holds_all_and_old_ones_go() {
    let world = World::new();
    epochs(&world, 25).await;
    let keys: Vec<_> = (0..25).map(|it| if it % 10 == 9 { format!("{it}.compact") } else { it.to_string() }).collect();
    assert_eq!(world.log.keys(), keys);
    assert_eq!(world.log.text("19.compact").lines().count(), 21);
    assert_eq!(world.log.text("20").lines().count(), 2);
    epochs(&world, 125).await;
    assert_eq!(world.log.keys()[0], "49.compact", "a hundred entries stay");
    assert_eq!(world.log.text("149.compact").lines().count(), 151);
    let source = world.source(&ONE).await;
    assert_eq!(rows(&*source, 2, 5).await, ["3", "4", "5"], "old ranges can still be read");
}

#[tokio::test]
async fn a_restart_reads_the_same_files_and_no_other() {
    let world = World::new();
    epochs(&world, 12).await;
    let mut source = world.source(&ONE).await;
    assert_eq!(rows(&*source, 10, 11).await, ["11"]);
    assert_eq!(plan(&mut *source, 11, NONE).await, 11);
    world.write("9999", 9999, "new\n");
    assert_eq!(plan(&mut *source, 11, NONE).await, 12);
    // As if the process died before the end was logged by the query: the entry is there, and the epoch comes again.
    let mut again = world.source(&ONE).await;
    world.write("99999", 99_999, "newer\n");
    assert_eq!(plan(&mut *again, 11, NONE).await, 12);
    assert_eq!(rows(&*again, 11, 12).await, ["new"]);
    assert_eq!(plan(&mut *again, 12, NONE).await, 13);
}

#[tokio::test]
async fn a_committed_range_is_forgotten_but_can_be_read_from_the_log() {
    let world = World::new();
    epochs(&world, 3).await;
    let mut source = world.source(&ONE).await;
    source.commit(&at(1)).await.unwrap();
    let range = OffsetRange { start: at(-1), end: at(2) };
    assert_eq!(source.splits(range.clone(), 4).unwrap()[0].partition, PartitionId::only());
    assert_eq!(rows(&*source, -1, 2).await, ["0", "1", "2"]);
    assert_eq!(source.splits(OffsetRange { start: at(1), ..range }, 4).unwrap()[0].bytes, Some(2));
}

#[tokio::test]
async fn a_failed_write_loses_no_file_and_repeats_none() {
    for lost_answer in [false, true] {
        let world = World::new();
        for it in 0..4 {
            world.write(&format!("{it}"), it, format!("{it}"));
        }
        let mut source = world.source(&[("max.files.per.trigger", "2")]).await;
        let failing = if lost_answer { &world.log.after } else { &world.log.failures };
        failing.store(2, Ordering::SeqCst);
        for _ in 0..2 {
            let failed = source.plan(&at(-1), &NONE).await;
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::Transient);
            world.write("00", 0, "00");
        }
        assert_eq!(plan(&mut *source, -1, NONE).await, 0);
        assert_eq!(rows(&*source, -1, 0).await, ["0", "1"], "lost answer: {lost_answer}");
        let end = plan(&mut *source, 0, NONE).await;
        let end = plan(&mut *source, end, NONE).await;
        let mut rest = rows(&*source, 0, end).await;
        rest.sort();
        assert_eq!(rest, ["00", "2", "3"]);
    }
}

#[tokio::test]
async fn another_owner_is_noticed() {
    let world = World::new();
    world.write("a", 0, "a");
    let mut source = world.source(&[]).await;
    world.log.put("0", "v1\n{\"path\":\"file:///elsewhere\",\"timestamp\":1,\"batchId\":0}");
    assert_eq!(source.plan(&at(-1), &NONE).await.unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn a_damaged_log_is_refused_with_the_entry() {
    for (key, text, expected) in [
        ("1", "v2\n", "file log: 1 begins with 'v2', expected v1"),
        ("1", "v1\n{}", "file log: line 2 of 1 is not a file: missing field `path`"),
        ("1", "", "file log: 1 begins with '', expected v1"),
        ("7", "v1\n", "file log: entry 3 is missing"),
        (
            "1",
            "v1\n{\"path\":\"s3://b/x\",\"timestamp\":1,\"batchId\":1}",
            "file log: 's3://b/x' in entry 1 is not a local file",
        ),
    ] {
        let world = World::new();
        epochs(&world, 3).await;
        world.log.put(key, text);
        let error = world.build("in", &[]).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn an_offset_beyond_the_log_is_refused() {
    let world = World::new();
    epochs(&world, 2).await;
    let mut source = world.source(&[]).await;
    let error = source.plan(&at(7), &NONE).await.unwrap_err();
    assert_eq!(error.to_string(), "file log: the query stands at entry 7, the log ends at 1");
    let error = batches(&*source, OffsetRange { start: at(6), end: at(7) }, 1).await.unwrap_err();
    assert_eq!(error.to_string(), "file log: entry 7 is missing");
}
