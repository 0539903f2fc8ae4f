//! Rows of one key, in one epoch and in adjoining ones; nulls, deletes and keys that can't be.

use arrow_schema::DataType::{Boolean, Int64, Utf8};
use serde_json::{Value, json};
use tidegate_api::{ErrorKind, OutputMode, SchemaRef, Sink, SinkWriter};

use crate::bench::{Bench, batch, epoch, now_us, prepare, put, schema};

fn columns() -> SchemaRef {
    schema(&[("k", Int64), ("a", Int64), ("b", Utf8), ("gone", Boolean)])
}

const TABLE: &str = "k bigint PRIMARY KEY, a int, b text";
/// Settings beside those of the bench.
type Told<'a> = &'a [(&'a str, &'a str)];

const DELETES: [(&str, &str); 1] = [("delete.column", "GONE")];

fn row(k: i64, a: Option<i64>, b: Option<&str>) -> Value {
    json!({"k": k, "a": a, "b": b})
}

#[tokio::test]
async fn a_hundred_rows_of_one_key_in_one_epoch() {
    let bench = Bench::new(crate::node_or_skip!(), TABLE).await;
    let sink = bench.sink(&columns(), &DELETES).await;
    // Falling in one column, rising in the other: a mix of two rows would show.
    let rows: Vec<_> = (0..100).map(|it| row(7, Some(100 - it), Some(&format!("{it:03}")))).collect();
    let start = now_us();
    put(&sink, &epoch(0, start), batch(&columns(), &rows)).await;
    assert_eq!(bench.rows().await, [row(7, Some(1), Some("099"))]);
    assert_eq!(bench.number(&format!("SELECT WRITETIME(a) FROM it.{}", bench.table)).await, Some(start));
    // Over several batches, over two tasks.
    let one = epoch(1, start);
    let mut parts = Vec::new();
    for task in 0..2 {
        let mut writer = sink.writer(&one, task).await.unwrap();
        for it in 0..3 {
            let rows = [row(7, Some(i64::from(task * 10 + it)), None), row(i64::from(task), Some(1), None)];
            writer.write(batch(&columns(), &rows)).await.unwrap();
        }
        parts.push(writer.prepare().await.unwrap());
    }
    assert_eq!(parts.iter().map(|it| it.operations).collect::<Vec<_>>(), [2, 2]);
    sink.commit(&one, parts, &[]).await.unwrap();
    assert_eq!(bench.rows().await, [row(0, Some(1), None), row(1, Some(1), None), row(7, Some(12), None)]);
}

#[tokio::test]
async fn delete_and_insert_in_adjoining_epochs() {
    let bench = Bench::new(crate::node_or_skip!(), TABLE).await;
    let sink = bench.sink(&columns(), &DELETES).await;
    let delete = |k: i64| json!({"k": k, "gone": true});
    let epochs = [
        vec![row(1, Some(1), Some("one")), row(2, Some(2), Some("two"))],
        vec![delete(1), delete(3)],
        vec![row(1, Some(11), Some("again")), row(3, Some(3), None)],
        vec![delete(1), delete(2)],
    ];
    let expected = [
        vec![row(1, Some(1), Some("one")), row(2, Some(2), Some("two"))],
        vec![row(2, Some(2), Some("two"))],
        vec![row(1, Some(11), Some("again")), row(2, Some(2), Some("two")), row(3, Some(3), None)],
        vec![row(3, Some(3), None)],
    ];
    // The write times rise by a microsecond only, as when the clock stands still.
    let start = now_us();
    for ((rows, expected), number) in epochs.iter().zip(expected).zip(0..) {
        put(&sink, &epoch(number, start), batch(&columns(), rows)).await;
        assert_eq!(bench.rows().await, expected, "after epoch {number}");
    }
}

#[tokio::test]
async fn delete_and_insert_in_one_epoch() {
    let mut bench = Bench::new(crate::node_or_skip!(), TABLE).await;
    bench.mode = OutputMode::Update;
    let sink = bench.sink(&columns(), &DELETES).await;
    let delete = |k: i64| json!({"k": k, "gone": true});
    let start = now_us();
    let before = [row(1, Some(1), Some("x")), row(2, Some(2), Some("y")), row(3, Some(3), Some("z"))];
    put(&sink, &epoch(0, start), batch(&columns(), &before)).await;
    let rows =
        [delete(1), row(1, Some(10), None), row(2, Some(20), None), delete(2), row(3, Some(30), None), delete(4)];
    for _ in 0..2 {
        put(&sink, &epoch(1, start), batch(&columns(), &rows)).await;
        // What the delete removed stays so, although nulls leave the table as it is.
        assert_eq!(bench.rows().await, [row(1, Some(10), None), row(3, Some(30), Some("z"))]);
    }
}

#[tokio::test]
async fn nulls_are_unset_or_tombstones() {
    let node = crate::node_or_skip!();
    let cases: [(OutputMode, Told<'_>, bool); 5] = [
        (OutputMode::Append, &[], true),
        (OutputMode::Update, &[], false),
        (OutputMode::Complete, &[], true),
        (OutputMode::Append, &[("nulls", "unset")], false),
        (OutputMode::Update, &[("nulls", "tombstone")], true),
    ];
    for (mode, settings, removes) in cases {
        let mut bench = Bench::new(node, TABLE).await;
        bench.mode = mode;
        let columns = schema(&[("k", Int64), ("a", Int64), ("b", Utf8)]);
        let sink = bench.sink(&columns, settings).await;
        let start = now_us();
        put(&sink, &epoch(0, start), batch(&columns, &[row(1, Some(1), Some("x"))])).await;
        put(&sink, &epoch(1, start), batch(&columns, &[row(1, Some(2), None), row(2, None, None)])).await;
        let b = if removes { None } else { Some("x") };
        assert_eq!(bench.rows().await, [row(1, Some(2), b), row(2, None, None)], "{mode} {settings:?}");
    }
}

#[tokio::test]
async fn rows_that_can_not_be_are_given_back() {
    let table = "k text, c int, v int, PRIMARY KEY (k, c)";
    let bench = Bench::new(crate::node_or_skip!(), table).await;
    let columns = schema(&[("V", Int64), ("c", Int64), ("K", Utf8)]);
    let sink = bench.sink(&columns, &[]).await;
    let rows = [
        json!({"K": "a", "c": 1, "V": 1}),
        json!({"K": null, "c": 1, "V": 2}),
        json!({"K": "a", "c": null, "V": 3}),
        json!({"K": "a", "c": 2, "V": 1i64 << 40}),
        json!({"K": "", "c": 2, "V": 4}),
        json!({"K": "x".repeat(70_000), "c": 2, "V": 4}),
        json!({"K": "a", "c": 1i64 << 40, "V": 4}),
        json!({"K": "x".repeat(65_535), "c": 2, "V": 4}),
    ];
    let (zero, rows) = (epoch(0, now_us()), batch(&columns, &rows));
    let (parts, rejected) = prepare(&sink, &zero, rows).await;
    let places: Vec<_> = rejected.iter().map(|it| it.row).collect();
    assert_eq!(places, [1, 2, 3, 4, 5, 6], "{rejected:?}");
    assert!(rejected.iter().all(|it| it.error.kind() == ErrorKind::Data));
    let said: Vec<_> = rejected.iter().map(|it| it.error.to_string()).collect();
    assert!(said[0].contains("'k' is null") && said[1].contains("'c' is null"), "{said:?}");
    assert!(said[2].contains("'v'") && said[2].contains("1099511627776") && said[3].contains("empty"), "{said:?}");
    sink.commit(&zero, parts, &[]).await.unwrap();
    assert_eq!(bench.rows().await.len(), 2);
}

#[tokio::test]
async fn an_epoch_that_is_too_big_says_what_to_set() {
    let mut bench = Bench::new(crate::node_or_skip!(), TABLE).await;
    bench.memory = 100_000;
    let sink = bench.sink(&columns(), &DELETES).await;
    let rows: Vec<_> = (0..2000).map(|it| row(it, Some(1), Some("some text"))).collect();
    let mut writer = sink.writer(&epoch(0, now_us()), 0).await.unwrap();
    let error = writer.write(batch(&columns(), &rows)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("max.rows.per.epoch"), "{error}");
}
