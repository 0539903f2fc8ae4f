//! What is written is what is read.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Value, json};
use tidegate_api::{CommitOutcome, Guarantee, Sink, SinkWriter, Staging};

use crate::harness::{Bench, epoch, prepare, rows, run};

#[tokio::test]
async fn creates_the_table_and_appends() {
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    assert_eq!((sink.guarantee(), sink.staging()), (Guarantee::Transactional, Staging::Committable));
    assert!(sink.describe().starts_with("DeltaSink[") && sink.describe().ends_with("table]"));
    assert_eq!(run(&sink, &epoch(0, 1), rows(0..5)).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(run(&sink, &epoch(1, 1), rows(5..7)).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(bench.views().await, (0..7).collect::<Vec<_>>());

    let commits = bench.commits();
    assert_eq!(commits.len(), 3);
    assert_eq!(commits[0][1]["protocol"], json!({ "minReaderVersion": 1, "minWriterVersion": 2 }));
    let schema: Value = serde_json::from_str(bench.metadata()["schemaString"].as_str().unwrap()).unwrap();
    let columns: Vec<_> =
        schema["fields"].as_array().unwrap().iter().map(|it| (&it["name"], &it["type"], &it["nullable"])).collect();
    let (yes, names) = (json!(true), [json!("start"), json!("page"), json!("views")]);
    let types = [json!("timestamp"), json!("string"), json!("long")];
    assert_eq!(columns, [0, 1, 2].map(|at| (&names[at], &types[at], &yes)));

    let last = &commits[2];
    let info = &last[0]["commitInfo"];
    assert_eq!(info["operation"], "STREAMING UPDATE");
    assert_eq!(info["operationParameters"], json!({ "outputMode": "Append", "queryId": "q1", "epochId": "1" }));
    assert_eq!((&info["tidegateAttempt"], &info["operationMetrics"]["numOutputRows"]), (&json!("1.1"), &json!("2")));
    let txn = &last[1]["txn"];
    assert_eq!((&txn["appId"], &txn["version"]), (&json!("q1/out"), &json!(1)));
    assert_eq!(last[2]["txn"]["appId"], "q1/out#attempt");
    let add = &last[3]["add"];
    let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    assert_eq!(stats["numRecords"], 2);
    assert_eq!(stats["nullCount"], json!({ "start": 0, "page": 1, "views": 0 }));
    assert_eq!((&stats["minValues"]["views"], &stats["maxValues"]["views"]), (&json!(5), &json!(6)));
    assert_eq!(stats["maxValues"]["start"], "1970-01-01T00:00:06.001Z");
    let path = add["path"].as_str().unwrap();
    assert!(path.starts_with("part-") && path.contains("-1-0-0.1.1-"), "{path}");
    let size = std::fs::metadata(bench.path().join(path)).unwrap().len();
    assert_eq!(add["size"], size);
}

#[tokio::test]
async fn several_tasks_are_one_commit() {
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    let mut parts = Vec::new();
    for task in 0..3 {
        let mut writer = sink.writer(&epoch(0, 1), task).await.unwrap();
        writer.write(rows([i64::from(task)])).await.unwrap();
        parts.push(writer.prepare().await.unwrap());
    }
    assert!(bench.views().await.is_empty(), "prepared rows are not visible");
    sink.commit(&epoch(0, 1), parts, &[]).await.unwrap();
    assert_eq!((bench.views().await, bench.commits().len()), (vec![0, 1, 2], 2));
}

#[tokio::test]
async fn no_rows_no_files_no_commit() {
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    assert_eq!(run(&sink, &epoch(0, 1), rows([])).await.unwrap(), CommitOutcome::Committed);
    let writer = sink.writer(&epoch(1, 1), 0).await.unwrap();
    let part = writer.prepare().await.unwrap();
    assert_eq!(sink.commit(&epoch(1, 1), vec![part], &[]).await.unwrap(), CommitOutcome::Committed);
    assert_eq!((bench.commits().len(), bench.files().len()), (1, 0));
    run(&sink, &epoch(2, 1), rows([2])).await.unwrap();
    assert_eq!(bench.try_open().await.unwrap().1.map(|it| it.0), Some(2));
}

#[tokio::test]
async fn rolls_files_at_the_target_size() {
    let bench = Bench::new(&[("target.file.size", "64KiB")]);
    let sink = bench.open().await;
    let mut writer = sink.writer(&epoch(0, 1), 0).await.unwrap();
    for step in 0..20_i64 {
        writer.write(rows(step * 5_000..(step + 1) * 5_000)).await.unwrap();
    }
    let part = writer.prepare().await.unwrap();
    let count = part.paths().count();
    assert!((5..=20).contains(&count), "{count} files");
    sink.commit(&epoch(0, 1), vec![part], &[]).await.unwrap();
    assert_eq!(bench.views().await, (0..100_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn partitions() {
    let bench = Bench::new(&[("partition.by", "PAGE")]);
    let sink = bench.open().await;
    run(&sink, &epoch(0, 1), rows(0..6)).await.unwrap();
    assert_eq!(bench.metadata()["partitionColumns"], json!(["page"]));
    let commits = bench.commits();
    let mut seen: Vec<_> = commits[1].iter().filter_map(|it| it.get("add")).collect();
    seen.sort_by_key(|it| it["path"].as_str());
    let values: Vec<_> = seen.iter().map(|it| &it["partitionValues"]).collect();
    let expected = [json!({ "page": "/page/1" }), json!({ "page": "/page/2" }), json!({ "page": null })];
    assert_eq!(values.len(), 3);
    assert!(expected.iter().all(|it| values.contains(&it)), "{values:?}");
    assert!(seen.iter().all(|it| !it["stats"].as_str().unwrap().contains("page")));
    assert!(seen.iter().any(|it| it["path"].as_str().unwrap().starts_with("page=_page_1/part-")));
    assert_eq!(bench.views().await, (0..6).collect::<Vec<_>>());
    // Opened again without the key: the table says how it is partitioned.
    let mut again = bench;
    again.settings.retain(|it| it.0 == "path");
    let sink = again.open().await;
    run(&sink, &epoch(1, 1), rows(6..9)).await.unwrap();
    assert_eq!(again.views().await, (0..9).collect::<Vec<_>>());
}

#[tokio::test]
async fn more_partitions_than_files_may_be_open() {
    let bench = Bench::new(&[("partition.by", "start")]);
    let sink = bench.open().await;
    run(&sink, &epoch(0, 1), rows(0..200)).await.unwrap();
    assert_eq!((bench.views().await.len(), bench.files().len()), (200, 200));
}

#[tokio::test]
async fn rows_that_do_not_fit_come_back_and_the_others_are_written() {
    let mut bench = Bench::new(&[]);
    bench.schema = Arc::new(Schema::new(vec![Field::new("views", DataType::UInt64, true)]));
    let sink = bench.open().await;
    let batch = RecordBatch::try_new(
        bench.schema.clone(),
        vec![Arc::new(UInt64Array::from(vec![Some(1), Some(u64::MAX), None]))],
    );
    let mut writer = sink.writer(&epoch(0, 1), 0).await.unwrap();
    let rejected = writer.write(batch.unwrap()).await.unwrap();
    assert_eq!(rejected.iter().map(|it| it.row).collect::<Vec<_>>(), [1]);
    sink.commit(&epoch(0, 1), vec![writer.prepare().await.unwrap()], &[]).await.unwrap();
    assert_eq!(bench.views().await, [1]);
}

#[tokio::test]
async fn a_table_with_more_columns_and_other_case() {
    let bench = Bench::new(&[]);
    drop(bench.open().await);
    let mut wider = Bench::new(&[]);
    wider.dir = bench.dir;
    wider.log = bench.log;
    wider.schema = Arc::new(Schema::new(vec![Field::new("VIEWS", DataType::Int64, true)]));
    let sink = wider.open().await;
    let batch = RecordBatch::try_new(wider.schema.clone(), vec![Arc::new(Int64Array::from(vec![3, 4]))]).unwrap();
    run(&sink, &epoch(0, 1), batch).await.unwrap();
    assert_eq!(wider.views().await, [3, 4]);
}

#[tokio::test]
async fn a_column_that_takes_no_null() {
    let mut bench = Bench::new(&[]);
    bench.schema = Arc::new(Schema::new(vec![Field::new("page", DataType::Utf8, true)]));
    drop(bench.open().await);
    let mut metadata = bench.metadata();
    let strict = metadata["schemaString"].as_str().unwrap().replace("\"nullable\":true", "\"nullable\":false");
    metadata["schemaString"] = json!(strict);
    bench.foreign_commit(&[json!({ "metaData": metadata })]);
    let sink = bench.open().await;
    let batch = RecordBatch::try_new(bench.schema.clone(), vec![Arc::new(StringArray::from(vec![Some("a"), None]))]);
    let mut writer = sink.writer(&epoch(0, 1), 0).await.unwrap();
    let rejected = writer.write(batch.unwrap()).await.unwrap();
    assert_eq!(rejected.len(), 1);
    assert!(rejected[0].error.to_string().contains("column 'page': null"));
}

#[tokio::test]
async fn two_sinks_of_one_query_on_one_table_keep_apart() {
    let bench = Bench::new(&[]);
    let one = bench.open().await;
    let mut two = bench.build().await;
    let mut id = crate::harness::writer_id();
    id.sink = "other".into();
    assert_eq!(two.open(&id).await.unwrap(), None);
    let first = prepare(&one, &epoch(0, 1), rows([1])).await;
    let second = prepare(&two, &epoch(0, 1), rows([2])).await;
    one.commit(&epoch(0, 1), first, &[]).await.unwrap();
    assert_eq!(two.commit(&epoch(0, 1), second, &[]).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(bench.views().await, [1, 2]);
}
