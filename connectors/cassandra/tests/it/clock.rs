//! Write times and expiry: by the logged clock, whatever the machine's clock says.

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::DataType::Int64;
use serde_json::json;
use tidegate_api::{ErrorKind, MetadataLog, SchemaRef};
use tidegate_testkit::ManualClock;

use crate::bench::{Bench, batch, epoch, now_us, put, schema};

const HOUR_US: i64 = 3_600_000_000;

fn columns() -> SchemaRef {
    schema(&[("k", Int64), ("v", Int64)])
}

async fn ttl(bench: &Bench) -> Option<i64> {
    bench.number(&format!("SELECT TTL(v) FROM it.{}", bench.table)).await
}

fn near(found: Option<i64>, expected: i64) -> bool {
    found.is_some_and(|it| (expected - 15..=expected + 1).contains(&it))
}

#[tokio::test]
async fn rows_expire_by_the_clock_of_their_epoch() {
    let bench = Bench::new(crate::node_or_skip!(), "k bigint PRIMARY KEY, v bigint").await;
    let sink = bench.sink(&columns(), &[("ttl", "1h")]).await;
    let old = epoch(0, now_us() - HOUR_US / 4);
    let rows = batch(&columns(), &[json!({"k": 1, "v": 1})]);
    put(&sink, &old, rows.clone()).await;
    assert!(near(ttl(&bench).await, 2700), "{:?}", ttl(&bench).await);
    // Again, a little later: no longer life.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let before = ttl(&bench).await.unwrap();
    put(&sink, &old, rows.clone()).await;
    let after = ttl(&bench).await.unwrap();
    assert!((before - 1..=before + 1).contains(&after), "{before} s before it was written again, {after} s after");
    // A clock that stands an hour back gives no more than the whole time.
    let mut bench = Bench::new(&bench.node, "k bigint PRIMARY KEY, v bigint").await;
    bench.clock = Arc::new(ManualClock::new((now_us() - HOUR_US) / 1000));
    let sink = bench.sink(&columns(), &[("ttl", "1h"), ("future.cells", "accept")]).await;
    put(&sink, &epoch(0, now_us()), rows).await;
    assert!(near(ttl(&bench).await, 3600), "{:?}", ttl(&bench).await);
}

#[tokio::test]
async fn a_row_whose_time_has_passed_replaces_and_is_gone() {
    let bench = Bench::new(crate::node_or_skip!(), "k bigint PRIMARY KEY, v bigint").await;
    let start = now_us() - HOUR_US;
    let lasting = bench.sink(&columns(), &[]).await;
    put(&lasting, &epoch(0, start), batch(&columns(), &[json!({"k": 1, "v": 1})])).await;
    let sink = bench.sink(&columns(), &[("ttl", "1 minute")]).await;
    put(&sink, &epoch(1, start), batch(&columns(), &[json!({"k": 1, "v": 2})])).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(bench.rows().await, [] as [serde_json::Value; 0], "neither the row nor what it replaced");
}

#[tokio::test]
async fn the_tables_own_ttl_is_counted_the_same_way() {
    let table = "k bigint PRIMARY KEY, v bigint) WITH default_time_to_live = 7200";
    let bench = Bench::new(crate::node_or_skip!(), table).await;
    let sink = bench.sink(&columns(), &[]).await;
    put(&sink, &epoch(0, now_us() - HOUR_US), batch(&columns(), &[json!({"k": 1, "v": 1})])).await;
    assert!(near(ttl(&bench).await, 3600), "{:?}", ttl(&bench).await);
}

#[tokio::test]
async fn a_clock_set_back_changes_nothing() {
    let bench = Bench::new(crate::node_or_skip!(), "k bigint PRIMARY KEY, v bigint").await;
    let start = now_us();
    let sink = bench.sink(&columns(), &[]).await;
    put(&sink, &epoch(0, start), batch(&columns(), &[json!({"k": 1, "v": 1})])).await;
    // The log's write time goes on by microseconds; the clock of the next process is an hour back.
    let mut back = Bench { log: bench.log.clone(), session: bench.session.clone(), ..bench };
    back.clock = Arc::new(ManualClock::new((start - HOUR_US) / 1000));
    let sink = back.sink(&columns(), &[]).await;
    let mut one = epoch(1, start);
    one.time_ms = (start - HOUR_US) / 1000;
    put(&sink, &one, batch(&columns(), &[json!({"k": 1, "v": 2})])).await;
    assert_eq!(back.rows().await, [json!({"k": 1, "v": 2})]);
    // A slow process of before writes its epoch once more.
    put(&sink, &epoch(0, start), batch(&columns(), &[json!({"k": 1, "v": 1})])).await;
    assert_eq!(back.rows().await, [json!({"k": 1, "v": 2})]);
}

#[tokio::test]
async fn cells_from_the_future_are_refused_once() {
    let bench = Bench::new(crate::node_or_skip!(), "k bigint PRIMARY KEY, v bigint, other bigint").await;
    let ahead = now_us() + HOUR_US;
    // In a column that is not written they do no harm.
    bench.cql(&format!("INSERT INTO it.{} (k, other) VALUES (1, 1) USING TIMESTAMP {ahead}", bench.table)).await;
    bench.sink(&columns(), &[]).await;
    let bench = Bench { log: tidegate_testkit::MemoryLog::default(), ..bench };
    bench.cql(&format!("INSERT INTO it.{} (k, v) VALUES (1, 1) USING TIMESTAMP {ahead}", bench.table)).await;
    let error = bench.try_sink(&columns(), &[]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    let said = error.to_string();
    assert!(
        said.contains(&bench.table) && said.contains("future.cells") && said.contains(&ahead.to_string()),
        "{said}"
    );
    assert_eq!(bench.log.list().await.unwrap(), [] as [String; 0], "a table that was refused is not known");
    bench.sink(&columns(), &[("future.cells", "accept")]).await;
    // From then on the query knows the table: cells of its own may lie ahead when the clock is set back.
    bench.sink(&columns(), &[]).await;
}
