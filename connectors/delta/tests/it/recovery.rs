//! Lost replies, other writers, owners that are thought dead.

use deltalake::writer::{DeltaWriter as _, RecordBatchWriter};
use serde_json::json;
use tidegate_api::{AttemptId, CommitOutcome, ErrorKind, Sink};
use tidegate_delta::Prepared;

use crate::harness::{Bench, already, epoch, prepare, rows, run};

async fn foreign_append(bench: &Bench, views: i64) {
    let url = url::Url::from_directory_path(bench.path()).unwrap();
    let mut table = deltalake::open_table(url).await.unwrap();
    let mut writer = RecordBatchWriter::for_table(&table).unwrap();
    writer.write(rows([views])).await.unwrap();
    writer.flush_and_commit(&mut table).await.unwrap();
}

#[tokio::test]
async fn committed_twice_is_there_once() {
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    let parts = prepare(&sink, &epoch(3, 1), rows([1, 2])).await;
    assert_eq!(sink.commit(&epoch(3, 1), parts.clone(), &[]).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(sink.commit(&epoch(3, 1), parts.clone(), &[]).await.unwrap(), already(1));
    // After a restart too, with parts that went through the checkpoint as JSON.
    let (sink, last) = bench.try_open().await.unwrap();
    assert_eq!(last, Some((3, AttemptId { generation: 1, n: 1 })));
    let json = serde_json::to_string(&parts).unwrap();
    let parts: Vec<Prepared> = serde_json::from_str(&json).unwrap();
    assert_eq!(sink.commit(&epoch(3, 1), parts, &[]).await.unwrap(), already(1));
    sink.maintain(std::time::Duration::from_secs(1)).await.unwrap();
    assert_eq!((bench.views().await, bench.commits().len()), (vec![1, 2], 2));
}

#[tokio::test]
async fn an_epoch_computed_again_after_a_lost_reply_is_not_written_again() {
    let bench = Bench::new(&[]);
    // Both have seen nothing of epoch 0: the second does not know what the first did, as after a lost reply.
    let (first, second) = (bench.open().await, bench.open().await);
    let a = prepare(&first, &epoch(0, 1), rows([1])).await;
    let b = prepare(&second, &epoch(0, 2), rows([1])).await;
    first.commit(&epoch(0, 1), a, &[]).await.unwrap();
    assert_eq!(second.commit(&epoch(0, 2), b, &[]).await.unwrap(), already(1));
    assert_eq!(bench.views().await, [1]);
    // The files of the attempt that does not count are removed; those that count stay.
    assert_eq!(bench.files().len(), 2);
    second.maintain(std::time::Duration::ZERO).await.unwrap();
    assert_eq!((bench.files().len(), bench.views().await), (1, vec![1]));
}

#[tokio::test]
async fn a_later_epoch_of_ours_fences() {
    let bench = Bench::new(&[]);
    let (old, new) = (bench.open().await, bench.open().await);
    let late = prepare(&old, &epoch(0, 1), rows([1])).await;
    run(&new, &epoch(0, 2), rows([1])).await.unwrap();
    run(&new, &epoch(1, 2), rows([2])).await.unwrap();
    let error = old.commit(&epoch(0, 1), late.clone(), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("epoch 0 of writer q1/out: the table holds its epoch 1"), "{error}");
    assert_eq!(old.commit(&epoch(0, 1), late, &[]).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(bench.views().await, [1, 2]);
}

#[tokio::test]
async fn other_writers_may_append_between() {
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    for number in 0..5_u64 {
        let parts = prepare(&sink, &epoch(number, 1), rows([number as i64])).await;
        foreign_append(&bench, 100 + number as i64).await;
        assert_eq!(sink.commit(&epoch(number, 1), parts, &[]).await.unwrap(), CommitOutcome::Committed);
    }
    foreign_append(&bench, 200).await;
    assert_eq!(bench.views().await, [0, 1, 2, 3, 4, 100, 101, 102, 103, 104, 200]);
    // The attempt is found although the newest commit is another's.
    let (_, last) = bench.try_open().await.unwrap();
    assert_eq!(last, Some((4, AttemptId { generation: 1, n: 1 })));
}

#[tokio::test]
async fn a_table_that_changed_harmlessly_takes_the_epoch() {
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    let parts = prepare(&sink, &epoch(0, 1), rows([1])).await;
    let mut metadata = bench.metadata();
    let extra = ",{\"name\":\"note\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]}";
    let schema = metadata["schemaString"].as_str().unwrap().strip_suffix("]}").unwrap().to_owned() + extra;
    metadata["schemaString"] = json!(schema);
    metadata["configuration"] = json!({ "delta.dataSkippingNumIndexedCols": "1" });
    bench.foreign_commit(&[json!({ "metaData": metadata })]);
    assert_eq!(sink.commit(&epoch(0, 1), parts, &[]).await.unwrap(), CommitOutcome::Committed);
    run(&sink, &epoch(1, 1), rows([2])).await.unwrap();
    assert_eq!(bench.views().await, [1, 2]);
    let stats = bench.commits()[3][3]["add"]["stats"].as_str().unwrap().to_owned();
    assert!(stats.contains("start") && !stats.contains("views"), "the new property counts: {stats}");
}

#[tokio::test]
async fn a_table_that_changed_so_that_files_do_not_fit_refuses_the_epoch() {
    let cases = [
        (json!({ "delta.constraints.few": "views < 10" }), "", "constraint delta.constraints.few"),
        (json!({}), "long", "column 'views' with type integer, the query has it with type long"),
        (json!({}), "nullable", "changed its columns while an epoch was committed"),
    ];
    for (configuration, change, text) in cases {
        let bench = Bench::new(&[]);
        let sink = bench.open().await;
        let parts = prepare(&sink, &epoch(0, 1), rows([1])).await;
        let mut metadata = bench.metadata();
        let schema = metadata["schemaString"].as_str().unwrap();
        let schema = match change {
            "long" => schema.replace("\"long\"", "\"integer\""),
            "nullable" => schema.replace("\"nullable\":true", "\"nullable\":false"),
            _ => schema.to_owned(),
        };
        metadata["schemaString"] = json!(schema);
        metadata["configuration"] = configuration;
        bench.foreign_commit(&[json!({ "metaData": metadata })]);
        for _ in 0..2 {
            let error = sink.commit(&epoch(0, 1), parts.clone(), &[]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(text), "{error}");
        }
        assert!(bench.views().await.is_empty());
        // Changed back, the same parts go in.
        bench.foreign_commit(&[json!({ "metaData": bench.metadata() })]);
        assert_eq!(sink.commit(&epoch(0, 1), parts, &[]).await.unwrap(), CommitOutcome::Committed, "{text}");
        assert_eq!(bench.views().await, [1]);
    }
}

#[tokio::test]
async fn a_number_that_was_taken_and_cleaned_away_is_not_taken_again() {
    use std::sync::atomic::Ordering;
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    run(&sink, &epoch(0, 1), rows([0])).await.unwrap();
    let parts = prepare(&sink, &epoch(1, 1), rows([1])).await;
    // While this sink sleeps another writer commits, writes a checkpoint and the log is cleaned.
    foreign_append(&bench, 100).await;
    foreign_append(&bench, 101).await;
    let url = url::Url::from_directory_path(bench.path()).unwrap();
    deltalake::checkpoints::create_checkpoint_from_table_url_and_cleanup(url, 3, Some(false), None).await.unwrap();
    for version in 0..=2 {
        std::fs::remove_file(bench.commit_file(version)).unwrap();
    }
    bench.clock.0.fetch_add(2 * 3_600_000, Ordering::Relaxed);
    assert_eq!(sink.commit(&epoch(1, 1), parts, &[]).await.unwrap(), CommitOutcome::Committed);
    assert!(!bench.commit_file(2).exists() && bench.commit_file(4).exists());
    assert_eq!(bench.views().await, [0, 1, 100, 101]);
}
