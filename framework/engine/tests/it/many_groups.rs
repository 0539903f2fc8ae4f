//! An epoch with more groups than are shrunk, or finished, at once.

use std::path::Path;

use tidegate_api::OutputMode;
use tidegate_engine::{QuerySpec, SourceSpec};

use crate::harness::{Rig, sink, source, spec, until_idle};

/// More than a split keeps before it shrinks them.
const KEYS: i64 = 150_000;
const ROWS: i64 = 30_000;

fn input() -> SourceSpec {
    source("e", "k INT, v BIGINT", None)
}

fn query(folder: &Path) -> QuerySpec {
    let sql = "SELECT k, count(*) AS n, sum(v) AS total, min(v) AS lo FROM e GROUP BY k";
    spec(folder, vec![input()], &[], vec![sink("out", sql, OutputMode::Update)])
}

/// A row for each key, several of the input's batches.
fn add(rig: &Rig, keys: impl Iterator<Item = i64>, value: impl Fn(i64) -> i64) {
    let lines: Vec<_> = keys.map(|k| format!(r#"{{"k": {k}, "v": {}}}"#, value(k))).collect();
    for lines in lines.chunks(ROWS as usize) {
        rig.add(&input(), lines);
    }
}

#[tokio::test]
async fn each_group_is_counted_once_and_merged_with_its_own_state() {
    let (folder, rig) = (tempfile::tempdir().unwrap(), Rig::new());
    let mut query = rig.start(query(folder.path())).await.unwrap();
    add(&rig, 0..KEYS, |k| k);
    assert_eq!(until_idle(&mut query).await.unwrap(), 1);
    // Every third key again, backwards, twice; between them keys that are new.
    add(&rig, (0..KEYS).rev().step_by(3).flat_map(|k| [k, -k - 1, k]), |k| 2 * k);
    assert_eq!(until_idle(&mut query).await.unwrap(), 1);
    let again: std::collections::BTreeSet<i64> = (0..KEYS).rev().step_by(3).collect();
    let row = |k: i64, n: i64, total: i64, lo: i64| format!(r#"{{"k":{k},"n":{n},"total":{total},"lo":{lo}}}"#);
    let mut expected: Vec<_> = (0..KEYS).map(|k| row(k, 1, k, k)).collect();
    expected.extend(again.iter().map(|k| row(*k, 3, 5 * k, *k)));
    expected.extend(again.iter().map(|k| row(-k - 1, 1, -2 * k - 2, -2 * k - 2)));
    expected.sort();
    // Not by `assert_eq!`, which would print all of them.
    assert!(rig.sink_rows("out") == expected);
}
