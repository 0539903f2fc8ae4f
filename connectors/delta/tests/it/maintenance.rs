//! Checkpoints of the log and its clean-up.

use std::time::Duration;

use serde_json::json;
use tidegate_api::{AttemptId, Sink};

use crate::harness::{Bench, epoch, rows, run};

async fn epochs(bench: &Bench, numbers: std::ops::Range<u64>) {
    let sink = bench.open().await;
    for number in numbers {
        run(&sink, &epoch(number, 1), rows([number as i64])).await.unwrap();
        sink.maintain(Duration::from_secs(1)).await.unwrap();
    }
}

fn checkpoints(bench: &Bench) -> Vec<String> {
    let names = std::fs::read_dir(bench.path().join("_delta_log")).unwrap();
    let mut names: Vec<_> = names.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|it| it.contains("checkpoint.parquet"));
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_each_so_many_commits_keeps_epochs_known() {
    let bench = Bench::new(&[("log.checkpoint.interval", "10")]);
    epochs(&bench, 0..12).await;
    assert_eq!(checkpoints(&bench), ["00000000000000000010.checkpoint.parquet"]);
    // A restart does not begin to count anew.
    epochs(&bench, 12..25).await;
    assert_eq!(checkpoints(&bench).len(), 2, "{:?}", checkpoints(&bench));
    // The log before the checkpoint may go: the epoch is still known, and files are still read.
    for version in 0..20 {
        std::fs::remove_file(bench.commit_file(version)).unwrap();
    }
    let (sink, last) = bench.try_open().await.unwrap();
    assert_eq!(last, Some((24, AttemptId { generation: 1, n: 1 })));
    run(&sink, &epoch(25, 1), rows([25])).await.unwrap();
    assert_eq!(bench.views().await, (0..26).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_whose_commit_was_cleaned_away_is_still_known() {
    let bench = Bench::new(&[("log.checkpoint.interval", "1")]);
    let sink = bench.open().await;
    run(&sink, &epoch(3, 5), rows([3])).await.unwrap();
    bench.foreign_commit(&[json!({ "commitInfo": {} })]);
    sink.maintain(Duration::from_secs(1)).await.unwrap();
    assert_eq!(checkpoints(&bench), ["00000000000000000002.checkpoint.parquet"]);
    for version in 0..2 {
        std::fs::remove_file(bench.commit_file(version)).unwrap();
    }
    let parts = crate::harness::prepare(&sink, &epoch(3, 6), rows([3])).await;
    let (sink, last) = bench.try_open().await.unwrap();
    assert_eq!(last, Some((3, AttemptId { generation: 1, n: 5 })));
    assert_eq!(sink.commit(&epoch(3, 6), parts, &[]).await.unwrap(), crate::harness::already(5));
    sink.maintain(Duration::from_secs(1)).await.unwrap();
    assert_eq!(bench.views().await, [3], "files that may count are not removed");
    let error = run(&sink, &epoch(2, 1), rows([2])).await.unwrap_err();
    assert_eq!(error.kind(), tidegate_api::ErrorKind::Fenced);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_cleaned_as_the_table_says() {
    for (settings, properties, cleaned) in [
        (&[("log.checkpoint.interval", "5")][..], json!({ "delta.logRetentionDuration": "interval 0 days" }), true),
        (&[("log.checkpoint.interval", "5")], json!({}), false),
        (
            &[("log.checkpoint.interval", "5"), ("log.cleanup", "false")],
            json!({ "delta.logRetentionDuration": "interval 0 days" }),
            false,
        ),
        (
            &[("log.checkpoint.interval", "5")],
            json!({ "delta.logRetentionDuration": "interval 0 days", "delta.enableExpiredLogCleanup": "false" }),
            false,
        ),
    ] {
        let bench = Bench::new(settings);
        drop(bench.open().await);
        let mut metadata = bench.metadata();
        metadata["configuration"] = properties.clone();
        bench.foreign_commit(&[json!({ "metaData": metadata })]);
        epochs(&bench, 0..12).await;
        assert_eq!(!bench.commit_file(1).exists(), cleaned, "{properties}");
        assert_eq!(bench.views().await, (0..12).collect::<Vec<_>>());
        assert_eq!(bench.try_open().await.unwrap().1.map(|it| it.0), Some(11));
    }
}
