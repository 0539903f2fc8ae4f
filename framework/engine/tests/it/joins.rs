//! Joins of two streams: any cut of the input into epochs, with restarts between them, gives the join of the rows that were
//! not late, and rows without a match come out when the watermark says. The model compares all pairs by hand.

use std::cell::Cell;

use proptest::prelude::*;
use tidegate_api::OutputMode;
use tidegate_epoch::Step;

use crate::harness::{Rig, late_rows, late_sink, random_cases, sink, source, spec};

const DELAY: i64 = 3;
const KINDS: [&str; 5] = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "LEFT SEMI JOIN"];

#[derive(Clone, Copy, Debug)]
struct Row {
    at: i64,
    key: Option<u8>,
    id: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// `l.ts BETWEEN r.ts - before AND r.ts + after`
    Range { before: i64, after: i64 },
    /// `l.ts = r.ts`
    Time,
}

#[derive(Clone, Debug)]
struct Case {
    epochs: Vec<(Vec<Row>, Vec<Row>)>,
    kind: usize,
    condition: Condition,
    restart_after: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let row = |base: i64| {
        (0..20_i64, prop::option::weighted(0.9, 0..3_u8), 0..10_i64).prop_map(move |(back, key, id)| {
            // Some rows lie so far back that they are late.
            let back = if back > 16 { back * 2 } else { back % 6 };
            Row { at: (base - back).max(1), key, id }
        })
    };
    let side = move |at: usize| prop::collection::vec(row(10 + 4 * at as i64), 0..8);
    let epochs = (2..9_usize).prop_flat_map(move |count| (0..count).map(|at| (side(at), side(at))).collect::<Vec<_>>());
    let range = (0..8_i64, 0..8_i64).prop_map(|(before, after)| Condition::Range { before, after });
    let condition = prop_oneof![3 => range, 1 => Just(Condition::Time)];
    (epochs, 0..KINDS.len(), condition, 0..9_usize).prop_map(|(epochs, kind, condition, restart_after)| Case {
        epochs,
        kind,
        condition,
        restart_after,
    })
}

type Output = Vec<(Option<i64>, Option<i64>)>;

/// What must come out, sorted, and how many rows are late and left in state.
#[derive(Debug, PartialEq)]
struct Expected {
    rows: Output,
    late: u64,
    total: u64,
}

fn model(case: &Case) -> Expected {
    let (mut watermark, mut nodes, mut late) = (0, [0, 0], 0);
    let mut kept: [Vec<Row>; 2] = Default::default();
    for (number, (left, right)) in case.epochs.iter().enumerate() {
        for (side, rows) in [left, right].into_iter().enumerate() {
            for row in rows {
                // A row without a key is removed below the watermark where the join can't keep it.
                let keeps = matches!((KINDS[case.kind], side), ("LEFT JOIN", 0) | ("RIGHT JOIN", 1) | ("FULL JOIN", _));
                if row.key.is_none() && !keeps {
                    continue;
                }
                nodes[side] = nodes[side].max(row.at * 1000 - DELAY * 1000);
                if row.at * 1000 <= watermark {
                    late += 1;
                } else {
                    kept[side].push(*row);
                }
            }
        }
        // If it rises, an epoch without data follows: the next rows are late by it.
        watermark = watermark.max(nodes[0].min(nodes[1]));
        if number == case.restart_after {
            nodes = [0, 0];
        }
    }
    let meets = |l: &Row, r: &Row| {
        let near = match case.condition {
            Condition::Range { before, after } => (r.at - before..=r.at + after).contains(&l.at),
            Condition::Time => l.at == r.at,
        };
        l.key.is_some() && l.key == r.key && near
    };
    let over = |side: usize, row: &Row| match (case.condition, side) {
        (Condition::Time, _) => row.at * 1000 <= watermark,
        (Condition::Range { before, .. }, 0) => row.at * 1000 < watermark - before * 1000,
        (Condition::Range { after, .. }, _) => row.at * 1000 < watermark - after * 1000,
    };
    let [left, right] = &kept;
    let kind = KINDS[case.kind];
    let mut rows = Output::new();
    let mut total = 0;
    for l in left {
        let pairs: Vec<_> = right.iter().filter(|r| meets(l, r)).map(|r| (Some(l.id), Some(r.id))).collect();
        let met = !pairs.is_empty();
        match kind {
            "LEFT SEMI JOIN" => rows.extend(met.then_some((Some(l.id), None))),
            _ => rows.extend(pairs),
        }
        if !met && over(0, l) && ["LEFT JOIN", "FULL JOIN"].contains(&kind) {
            rows.push((Some(l.id), None));
        }
        let came_out = kind == "LEFT SEMI JOIN" && met;
        total += u64::from(!over(0, l) && !came_out);
    }
    for r in right {
        if over(1, r) && left.iter().all(|l| !meets(l, r)) && ["RIGHT JOIN", "FULL JOIN"].contains(&kind) {
            rows.push((None, Some(r.id)));
        }
        total += u64::from(!over(1, r));
    }
    rows.sort();
    Expected { rows, late, total }
}

fn lines(rows: &[Row]) -> Vec<String> {
    let key = |it: &Row| it.key.map_or("null".to_owned(), |it| it.to_string());
    rows.iter().map(|it| format!(r#"{{"ts": {}, "k": {}, "id": {}}}"#, it.at, key(it), it.id)).collect()
}

async fn stream(case: &Case) -> Expected {
    let folder = tempfile::tempdir().unwrap();
    let schema = "ts TIMESTAMP, k INT, id BIGINT";
    let inputs = [source("l", schema, Some(("ts", "3 seconds"))), source("r", schema, Some(("ts", "3 seconds")))];
    let times = match case.condition {
        Condition::Range { before, after } => {
            format!("l.ts BETWEEN r.ts - INTERVAL {before} SECONDS AND r.ts + INTERVAL {after} SECONDS")
        }
        Condition::Time => "l.ts = r.ts".to_owned(),
    };
    let kind = KINDS[case.kind];
    let columns = if kind == "LEFT SEMI JOIN" { "l.id AS lid, l.ts" } else { "l.id AS lid, r.id AS rid" };
    let sql = format!("SELECT {columns} FROM l {kind} r ON l.k = r.k AND {times}");
    let query = || {
        let sinks = [("out", OutputMode::Append), ("again", OutputMode::Update)];
        let sinks = sinks.map(|(name, mode)| sink(name, &sql, mode)).into_iter().chain([late_sink("late")]);
        let mut query = spec(folder.path(), inputs.to_vec(), &[], sinks.collect());
        query.options.extensions.update_mode = true;
        query
    };
    let rig = Rig::new();
    let mut running = rig.start(query()).await.unwrap();
    let (mut late, mut total) = (0, 0);
    for (number, (left, right)) in case.epochs.iter().enumerate() {
        rig.add(&inputs[0], &lines(left));
        rig.add(&inputs[1], &lines(right));
        while let Step::Ran(progress) = running.step().await.unwrap() {
            let progress = serde_json::to_value(&*progress).unwrap();
            let operator = &progress["stateOperators"][0];
            assert_eq!(operator["operatorName"], "symmetricHashJoin");
            late += operator["numRowsDroppedByWatermark"].as_u64().unwrap();
            total = operator["numRowsTotal"].as_u64().unwrap();
        }
        if number == case.restart_after {
            drop(running);
            running = rig.start(query()).await.unwrap();
        }
    }
    let mut rows: Output = rig
        .sink_rows("out")
        .iter()
        .map(|text| {
            let row: serde_json::Value = serde_json::from_str(text).unwrap();
            (row["lid"].as_i64(), row["rid"].as_i64())
        })
        .collect();
    rows.sort();
    assert_eq!(rig.sink_rows("again"), rig.sink_rows("out"), "update mode shows what append mode does");
    assert_eq!(late_rows(&rig, "late").len() as u64, late);
    Expected { rows, late, total }
}

#[test]
fn any_cut_gives_the_join_of_the_rows_that_were_not_late() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let totals = Cell::new((0, 0, 0));
    random_cases(120)
        .run(&cases(), |case| {
            let expected = model(&case);
            prop_assert_eq!(&runtime.block_on(stream(&case)), &expected);
            let (pairs, alone, late) = totals.get();
            let paired = expected.rows.iter().filter(|it| it.0.is_some() && it.1.is_some()).count();
            totals.set((pairs + paired, alone + expected.rows.len() - paired, late + expected.late));
            Ok(())
        })
        .unwrap();
    let (pairs, alone, late) = totals.get();
    println!("pairs {pairs}, alone {alone}, late {late}");
    assert!(pairs > 200 && alone > 100 && late > 50, "the cases must have pairs, rows without a match, and late rows");
}
