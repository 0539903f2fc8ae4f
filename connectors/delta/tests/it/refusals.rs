//! Tables and settings that are refused, with words that say what to do.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use serde_json::json;
use tidegate_api::{ErrorKind, Sink};

use crate::harness::{Bench, MemoryLog, epoch, rows, run};

async fn refused(bench: &Bench) -> String {
    let error = bench.try_open().await.err().expect("to be refused");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let text = error.to_string();
    assert!(text.starts_with("delta table ") && text.contains("table"), "{text}");
    text
}

#[tokio::test]
async fn columns_that_do_not_match() {
    let mut bench = Bench::new(&[]);
    drop(bench.open().await);
    bench.schema = Arc::new(Schema::new(vec![Field::new("views", DataType::Utf8, true)]));
    let text = refused(&bench).await;
    assert!(text.contains("has column 'views' with type long, the query has it with type string"), "{text}");
    bench.schema = Arc::new(Schema::new(vec![Field::new("visits", DataType::Int64, true)]));
    let text = refused(&bench).await;
    assert!(text.contains("has no column 'visits'") && text.contains("start, page, views"), "{text}");
}

#[tokio::test]
async fn partitions_that_do_not_match() {
    let mut bench = Bench::new(&[]);
    drop(bench.open().await);
    bench.settings.push(("partition.by".to_owned(), "page".to_owned()));
    let text = refused(&bench).await;
    assert!(text.contains("is partitioned by [], partition.by says [page]"), "{text}");
}

#[tokio::test]
async fn another_table_at_the_same_path() {
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    run(&sink, &epoch(0, 1), rows([1])).await.unwrap();
    drop(sink);
    std::fs::remove_dir_all(bench.path()).unwrap();
    let text = refused(&bench).await;
    assert!(text.contains("is gone: the checkpoint has written to table"), "{text}");
    assert!(!bench.path().exists(), "nothing is created in its place");

    let mut other = Bench::new(&[]);
    drop(other.open().await);
    other.log = bench.log.clone();
    let text = refused(&other).await;
    assert!(text.contains("is another table: its id is") && text.contains("new checkpoint"), "{text}");
    // With a new checkpoint it is taken.
    other.log = Arc::new(MemoryLog::default());
    other.open().await;
}

#[tokio::test]
async fn a_table_that_turns_into_another_while_we_write() {
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    let mut metadata = bench.metadata();
    metadata["id"] = json!("11111111-2222-3333-4444-555555555555");
    bench.foreign_commit(&[json!({ "metaData": metadata })]);
    let error = run(&sink, &epoch(0, 1), rows([1])).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("is another table"), "{error}");
}

#[tokio::test]
async fn tables_that_ask_more_of_a_writer() {
    let cases = [
        (json!({ "delta.setTransactionRetentionDuration": "interval 7 days" }), "would forget which epochs it holds"),
        (json!({ "delta.constraints.few": "views < 10" }), "constraint delta.constraints.few"),
    ];
    for (configuration, text) in cases {
        let bench = Bench::new(&[]);
        drop(bench.open().await);
        let mut metadata = bench.metadata();
        metadata["configuration"] = configuration;
        bench.foreign_commit(&[json!({ "metaData": metadata })]);
        let found = refused(&bench).await;
        assert!(found.contains(text), "{found}");
    }
    let bench = Bench::new(&[]);
    drop(bench.open().await);
    let protocol = json!({
        "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["rowTracking", "domainMetadata"],
    });
    bench.foreign_commit(&[json!({ "protocol": protocol })]);
    let found = refused(&bench).await;
    assert!(found.contains("table feature rowTracking"), "{found}");
}

#[tokio::test]
async fn a_table_of_a_newer_protocol_that_we_can_write() {
    let bench = Bench::new(&[]);
    drop(bench.open().await);
    let protocol = json!({
        "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors", "appendOnly", "invariants"],
    });
    bench.foreign_commit(&[json!({ "protocol": protocol })]);
    let sink = bench.open().await;
    run(&sink, &epoch(0, 1), rows([1])).await.unwrap();
    assert_eq!(bench.views().await, [1]);
}

#[tokio::test]
async fn a_log_that_is_no_log() {
    let bench = Bench::new(&[]);
    drop(bench.open().await);
    std::fs::write(bench.commit_file(1), "{\"commitInfo\"").unwrap();
    refused(&bench).await;
}

#[tokio::test]
async fn a_path_that_is_a_file() {
    let bench = Bench::new(&[]);
    std::fs::write(bench.path(), "x").unwrap();
    assert!(bench.try_open().await.is_err());
}

#[tokio::test]
async fn use_before_open() {
    let bench = Bench::new(&[]);
    let sink = bench.build().await;
    let error = sink.writer(&epoch(0, 1), 0).await.err().expect("an error");
    assert!(error.kind() == ErrorKind::Internal && error.to_string().contains("before it is opened"), "{error}");
}
