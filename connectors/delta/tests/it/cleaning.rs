//! Files of tries that failed.

use std::time::Duration;

use tidegate_api::{CommitOutcome, Sink, SinkWriter};

use crate::harness::{Bench, already, epoch, prepare, rows, run};

#[tokio::test]
async fn a_writer_that_is_dropped_and_an_epoch_that_is_aborted_leave_nothing() {
    let bench = Bench::new(&[("target.file.size", "1KiB")]);
    let sink = bench.open().await;
    let mut writer = sink.writer(&epoch(0, 1), 0).await.unwrap();
    for _ in 0..3 {
        writer.write(rows(0..2_000)).await.unwrap();
    }
    assert!(!bench.files().is_empty());
    drop(writer);
    assert!(bench.files().is_empty());

    let parts = prepare(&sink, &epoch(0, 2), rows([1])).await;
    assert_eq!(bench.files().len(), 1);
    sink.abort(&epoch(0, 2), parts).await.unwrap();
    assert!(bench.files().is_empty());
    assert_eq!(run(&sink, &epoch(0, 3), rows([1])).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(bench.views().await, [1]);
}

#[tokio::test]
async fn an_abort_never_takes_files_that_count() {
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    let first = prepare(&sink, &epoch(0, 1), rows([1])).await;
    sink.commit(&epoch(0, 1), first.clone(), &[]).await.unwrap();
    sink.abort(&epoch(0, 1), first.clone()).await.unwrap();
    run(&sink, &epoch(1, 1), rows([2])).await.unwrap();
    sink.abort(&epoch(0, 1), first).await.unwrap();
    sink.maintain(Duration::from_secs(1)).await.unwrap();
    assert_eq!((bench.views().await, bench.files().len()), (vec![1, 2], 2));
}

#[tokio::test]
async fn files_of_a_crash_go_once_the_epoch_is_in_the_table() {
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    run(&sink, &epoch(0, 1), rows([0])).await.unwrap();
    let lost = prepare(&sink, &epoch(1, 1), rows([1])).await;
    drop(sink);

    // Not before: what was prepared may be staged in the checkpoint, or named by a commit that is under way.
    let (sink, last) = bench.try_open().await.unwrap();
    assert_eq!(last.map(|it| it.0), Some(0));
    assert_eq!(bench.files().len(), 2);
    sink.maintain(Duration::ZERO).await.unwrap();
    assert_eq!(bench.files().len(), 2);

    run(&sink, &epoch(1, 2), rows([1])).await.unwrap();
    sink.maintain(Duration::ZERO).await.unwrap();
    assert_eq!((bench.files().len(), bench.views().await), (2, vec![0, 1]));
    let gone = lost[0].paths().next().unwrap();
    assert!(!bench.path().join(gone).exists());
}

#[tokio::test]
async fn files_of_a_crash_go_at_the_next_start_if_they_could_not_before() {
    let bench = Bench::new(&[]);
    let (old, new) = (bench.open().await, bench.open().await);
    let lost = prepare(&old, &epoch(0, 1), rows([0])).await;
    run(&new, &epoch(0, 2), rows([0])).await.unwrap();
    drop((old, new));
    assert_eq!(bench.files().len(), 2);
    bench.open().await;
    assert_eq!((bench.files().len(), bench.views().await), (1, vec![0]));
    assert!(!bench.path().join(lost[0].paths().next().unwrap()).exists());
}

#[tokio::test]
async fn staged_parts_are_committed_after_a_crash() {
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    let staged = prepare(&sink, &epoch(0, 1), rows([7])).await;
    drop(sink);
    let sink = bench.open().await;
    assert_eq!(sink.commit(&epoch(0, 1), staged, &[]).await.unwrap(), CommitOutcome::Committed);
    sink.maintain(Duration::ZERO).await.unwrap();
    assert_eq!(bench.views().await, [7]);
}

#[tokio::test]
async fn a_commit_of_an_owner_that_was_thought_dead_finds_its_files_or_nothing() {
    // It wakes before the new owner commits: its rows count, and its files are there.
    let bench = Bench::new(&[]);
    let old = bench.open().await;
    let late = prepare(&old, &epoch(0, 1), rows([1])).await;
    let new = bench.open().await;
    let again = prepare(&new, &epoch(0, 2), rows([1])).await;
    new.maintain(Duration::ZERO).await.unwrap();
    assert_eq!(old.commit(&epoch(0, 1), late, &[]).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(new.commit(&epoch(0, 2), again, &[]).await.unwrap(), already(1));
    new.maintain(Duration::ZERO).await.unwrap();
    assert_eq!((bench.views().await, bench.files().len()), (vec![1], 1));

    // It wakes after: it finds the epoch taken.
    let late = prepare(&old, &epoch(1, 1), rows([2])).await;
    run(&new, &epoch(1, 2), rows([2])).await.unwrap();
    new.maintain(Duration::ZERO).await.unwrap();
    assert_eq!(old.commit(&epoch(1, 1), late, &[]).await.unwrap(), already(2));
    assert_eq!(bench.views().await, [1, 2]);
}

#[tokio::test]
async fn files_and_drafts_of_others_stay() {
    let bench = Bench::new(&[]);
    drop(bench.open().await);
    let theirs = [
        bench.path().join("part-00000-1234-c000.snappy.parquet"),
        bench.path().join("_delta_log").join(".tidegate-0000000000000000-1-x.tmp"),
    ];
    for path in &theirs {
        std::fs::write(path, "x").unwrap();
    }
    let sink = bench.open().await;
    run(&sink, &epoch(0, 1), rows([1])).await.unwrap();
    sink.maintain(Duration::from_secs(1)).await.unwrap();
    bench.open().await;
    assert!(theirs.iter().all(|it| it.exists()));
}
