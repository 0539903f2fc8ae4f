//! What is refused before anything is written, and why.

use arrow_schema::DataType::{Boolean, Int64, Utf8};
use arrow_schema::{DataType, Field};
use serde_json::json;
use tidegate_api::{ErrorKind, Guarantee, SchemaRef, Sink, Staging};

use crate::bench::{Bench, batch, epoch, now_us, put, schema};

async fn refused(bench: &Bench, columns: &SchemaRef, settings: &[(&str, &str)], parts: &[&str]) {
    let error = bench.try_sink(columns, settings).await.err().unwrap_or_else(|| panic!("{parts:?}: was taken"));
    let said = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Config, "{said}");
    assert!(parts.iter().all(|it| said.contains(it)), "{said}: expected {parts:?}");
    assert!(!said.contains("s3cret"), "{said}");
}

#[tokio::test]
async fn names_that_are_not_there() {
    let bench = Bench::new(crate::node_or_skip!(), "k bigint, c text, v int, PRIMARY KEY (k, c)").await;
    let rows = schema(&[("k", Int64), ("c", Utf8), ("v", Int64)]);
    refused(&bench, &rows, &[("keyspace", "nowhere")], &["'nowhere'", "it"]).await;
    refused(&bench, &rows, &[("table", "nothing")], &["'nothing'", &bench.table]).await;
    refused(&bench, &rows, &[("local.datacenter", "mars")], &["'mars'", "datacenter1"]).await;
    refused(&bench, &schema(&[("k", Int64), ("v", Int64)]), &[], &["'c'", "primary key", "k, v"]).await;
    let more = schema(&[("k", Int64), ("c", Utf8), ("w", Int64), ("x", Int64)]);
    refused(&bench, &more, &[], &["'w'", "'x'", "c, k, v"]).await;
    let twice = schema(&[("k", Int64), ("c", Utf8), ("v", Int64), ("V", Int64)]);
    refused(&bench, &twice, &[], &["two columns", "'v'"]).await;
    refused(&bench, &rows, &[("delete.column", "gone")], &["delete.column", "'gone'"]).await;
    refused(&bench, &rows, &[("delete.column", "v")], &["delete.column", "BOOLEAN"]).await;
    refused(&bench, &rows, &[("ttl", "0s")], &["ttl"]).await;
    refused(&bench, &rows, &[("table", "a;b")], &["table", "a;b"]).await;
    // Case does not matter.
    let table = bench.table.to_uppercase();
    let upper = schema(&[("K", Int64), ("C", Utf8), ("V", Int64), ("gone", Boolean)]);
    bench.sink(&upper, &[("keyspace", "IT"), ("table", &table), ("delete.column", "gone")]).await;
}

#[tokio::test]
async fn types_that_do_not_fit() {
    let bench = Bench::new(crate::node_or_skip!(), "k bigint PRIMARY KEY, v int, t tuple<int, int>, d duration").await;
    let with = |name: &str, of: DataType| schema(&[("k", Int64), (name, of)]);
    refused(&bench, &with("v", Utf8), &[], &["'v'", "Utf8", "int"]).await;
    refused(&bench, &with("v", DataType::Float64), &[], &["'v'", "Float64", "int"]).await;
    let of = DataType::Struct(vec![Field::new("a", Int64, true)].into());
    refused(&bench, &with("t", of), &[], &["'t'", "tuple<int, int>"]).await;
    refused(&bench, &with("d", Int64), &[], &["'d'", "duration"]).await;
}

#[tokio::test]
async fn wrong_password() {
    let bench = Bench::new(crate::node_or_skip!(), "k bigint PRIMARY KEY").await;
    let rows = schema(&[("k", Int64)]);
    refused(&bench, &rows, &[("password", "s3cret")], &[&bench.node, "'cassandra'"]).await;
    refused(&bench, &rows, &[("username", ""), ("password", "")], &[&bench.node, "username"]).await;
    refused(&bench, &rows, &[("password", "")], &["username and password"]).await;
}

#[tokio::test]
async fn tables_that_a_repeat_would_change() {
    let node = crate::node_or_skip!();
    let bench = Bench::new(node, "k bigint PRIMARY KEY, n counter").await;
    let rows = schema(&[("k", Int64), ("n", Int64)]);
    refused(&bench, &rows, &[], &["'n'", "counter", "at-least-once"]).await;
    let told = [("delivery", "at-least-once")];
    refused(&bench, &rows, &[told[0], ("ttl", "1h")], &["counter", "ttl"]).await;
    let sink = bench.sink(&rows, &told).await;
    assert_eq!((sink.guarantee(), sink.staging()), (Guarantee::AtLeastOnce, Staging::Rows));
    let increments = [json!({"k": 1, "n": 2}), json!({"k": 1, "n": 3}), json!({"k": 2, "n": null})];
    put(&sink, &epoch(0, now_us()), batch(&rows, &increments)).await;
    assert_eq!(bench.rows().await, [json!({"k": 1, "n": 5})]);

    let list = DataType::List(Field::new("item", Int64, true).into());
    let rows = schema(&[("k", Int64), ("l", list)]);
    let bench = Bench::new(node, "k bigint PRIMARY KEY, l list<bigint>").await;
    refused(&bench, &rows, &[], &["'l'", "not frozen", "at-least-once"]).await;
    // The reason: each write appends cells of its own.
    let sink = bench.sink(&rows, &told).await;
    let zero = epoch(0, now_us());
    for _ in 0..2 {
        put(&sink, &zero, batch(&rows, &[json!({"k": 1, "l": [1, 2]})])).await;
    }
    assert_eq!(bench.rows().await, [json!({"k": 1, "l": [1, 2, 1, 2]})]);

    let bench = Bench::new(node, "k bigint, c bigint, s bigint static, PRIMARY KEY (k, c)").await;
    let rows = schema(&[("k", Int64), ("c", Int64), ("s", Int64)]);
    refused(&bench, &rows, &[], &["'s'", "static", "at-least-once"]).await;
    let sink = bench.sink(&schema(&[("k", Int64), ("c", Int64)]), &[]).await;
    assert_eq!(sink.guarantee(), Guarantee::Idempotent);
}
