//! Random epochs, written in any order and any number of times, against a model that applies row after row.

use std::collections::BTreeMap;

use arrow_schema::DataType::{Boolean, Int64, Utf8};
use fastrand::Rng;
use serde_json::{Value, json};
use tidegate_api::{OutputMode, SchemaRef};

use crate::bench::{Bench, batch, epoch, now_us, put, schema};

const KEYS: i64 = 4;
const EPOCHS: usize = 12;

fn columns() -> SchemaRef {
    schema(&[("p", Int64), ("c", Utf8), ("a", Int64), ("b", Utf8), ("gone", Boolean)])
}

fn random_row(rng: &mut Rng) -> Value {
    let (p, c) = (rng.i64(0..KEYS), ["x", "y"][rng.usize(0..2)]);
    if rng.u8(0..4) == 0 {
        return json!({"p": p, "c": c, "gone": true});
    }
    let a = (rng.u8(0..3) > 0).then(|| rng.i64(0..1000));
    let b = (rng.u8(0..3) > 0).then(|| format!("{}", rng.u32(0..1000)));
    json!({"p": p, "c": c, "a": a, "b": b, "gone": false})
}

/// The table that the rows lead to, one after the other.
fn model(epochs: &[Vec<Value>], unset: bool) -> Vec<Value> {
    let mut table: BTreeMap<String, Value> = BTreeMap::new();
    for row in epochs.iter().flatten() {
        let key = format!("{} {}", row["p"], row["c"]);
        if row["gone"] == json!(true) {
            table.remove(&key);
            continue;
        }
        let known = table.entry(key).or_insert_with(|| json!({"p": row["p"], "c": row["c"], "a": null, "b": null}));
        for column in ["a", "b"] {
            if !(unset && row[column].is_null()) {
                known[column] = row[column].clone();
            }
        }
    }
    let mut rows: Vec<Value> = table.into_values().collect();
    rows.sort_by_key(ToString::to_string);
    rows
}

async fn run(node: &str, seed: u64, mode: OutputMode) {
    let mut rng = Rng::with_seed(seed);
    let epochs: Vec<Vec<Value>> =
        (0..EPOCHS).map(|_| (0..rng.usize(0..12)).map(|_| random_row(&mut rng)).collect()).collect();
    let expected = model(&epochs, mode == OutputMode::Update);
    let mut bench = Bench::new(node, "p int, c text, a bigint, b text, PRIMARY KEY (p, c)").await;
    bench.mode = mode;
    let start = now_us();
    // First in any order, then some of them again.
    let mut order: Vec<usize> = (0..EPOCHS).collect();
    rng.shuffle(&mut order);
    order.extend((0..EPOCHS).map(|_| rng.usize(0..EPOCHS)));
    for number in order {
        // Each time by another process.
        let sink = bench.sink(&columns(), &[("delete.column", "gone")]).await;
        put(&sink, &epoch(number as u64, start), batch(&columns(), &epochs[number])).await;
    }
    assert_eq!(bench.rows().await, expected, "seed {seed}, {mode}");
}

#[tokio::test]
async fn any_order_gives_the_same_table() {
    let node = crate::node_or_skip!();
    let first = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|it| it.parse().ok());
    for round in 0..4 {
        let seed = first.map_or_else(|| fastrand::u64(..), |it: u64| it + round);
        let mode = if round % 2 == 0 { OutputMode::Update } else { OutputMode::Append };
        println!("seed {seed} {mode}");
        run(node, seed, mode).await;
    }
}
