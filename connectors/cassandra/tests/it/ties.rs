//! What Cassandra makes of two operations with one write time: why an epoch has one operation a key.

use serde_json::json;

use crate::bench::{Bench, now_us};

#[tokio::test]
async fn cells_of_two_rows_mix_and_a_delete_wins() {
    let bench = Bench::new(crate::node_or_skip!(), "k int PRIMARY KEY, a int, b int").await;
    let (table, time) = (format!("it.{}", bench.table), now_us());
    for (a, b) in [(1, 9), (2, 8)] {
        bench.cql(&format!("INSERT INTO {table} (k, a, b) VALUES (1, {a}, {b}) USING TIMESTAMP {time}")).await;
    }
    assert_eq!(bench.rows().await, [json!({"k": 1, "a": 2, "b": 9})], "neither of the two rows");
    bench.cql(&format!("DELETE FROM {table} USING TIMESTAMP {time} WHERE k = 1")).await;
    bench.cql(&format!("INSERT INTO {table} (k, a, b) VALUES (1, 5, 5) USING TIMESTAMP {time}")).await;
    assert_eq!(bench.rows().await, [] as [serde_json::Value; 0]);
    let next = time + 1;
    bench.cql(&format!("INSERT INTO {table} (k, a) VALUES (1, 5) USING TIMESTAMP {next}")).await;
    assert_eq!(bench.rows().await, [json!({"k": 1, "a": 5, "b": null})]);
}

#[tokio::test]
async fn the_later_expiry_wins() {
    let bench = Bench::new(crate::node_or_skip!(), "k int PRIMARY KEY, a int").await;
    let (table, time) = (format!("it.{}", bench.table), now_us());
    // The larger value comes with the shorter life.
    for (a, ttl) in [(2, 1000), (1, 5000), (3, 2000)] {
        bench.cql(&format!("INSERT INTO {table} (k, a) VALUES (1, {a}) USING TIMESTAMP {time} AND TTL {ttl}")).await;
    }
    assert_eq!(bench.rows().await, [json!({"k": 1, "a": 1})]);
}
