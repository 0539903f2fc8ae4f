//! Any cut of the input into epochs, with restarts between them, gives what a model of thirty lines computes.
//!
//! The model shares no code with the engine: it keeps rows by hand, decides who is late from the epochs' watermarks, and
//! counts windows with integer arithmetic.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidegate_api::OutputMode;

use crate::harness::{Rig, late_rows, late_sink, random_cases, sink, source, spec, until_idle};

const SIZE: i64 = 10;
const DELAY: i64 = 5;

#[derive(Clone, Copy, Debug)]
struct Event {
    at: i64,
    key: u8,
    value: i64,
}

#[derive(Clone, Debug)]
struct Case {
    epochs: Vec<Vec<Event>>,
    slide: i64,
    restart_after: usize,
    /// How many splits are read side by side, before the restart and after it.
    tasks: [usize; 2],
    /// So many bytes of state stay in memory.
    state_memory: Option<u64>,
}

fn cases() -> impl Strategy<Value = Case> {
    let event = |base: i64| {
        (0..30_i64, 0..3_u8, -5..5_i64).prop_map(move |(back, key, value)| {
            // Some rows lie so far back that they are late.
            let back = if back > 24 { back * 2 } else { back % 8 };
            Event { at: (base - back).max(0), key, value }
        })
    };
    let epochs = (2..8_usize).prop_flat_map(move |count| {
        (0..count).map(|at| prop::collection::vec(event(12 + 9 * at as i64), 0..12)).collect::<Vec<_>>()
    });
    let memory = prop::sample::select(vec![None, Some(1), Some(2000)]);
    let tasks = prop_oneof![Just([1, 1]), (1..5_usize, 1..5_usize).prop_map(|(before, after)| [before, after])];
    (epochs, prop::sample::select(vec![10, 5, 4]), 0..8_usize, tasks, memory).prop_map(
        |(epochs, slide, restart_after, tasks, state_memory)| Case {
            epochs,
            slide,
            restart_after,
            tasks,
            state_memory,
        },
    )
}

type Groups = BTreeMap<(i64, u8), (i64, i64)>;

/// Windows (start, key) with count and sum, and how many groups were late: what append, update and complete must show.
#[derive(Debug, Default, PartialEq)]
struct Model {
    closed: Groups,
    kept: Groups,
    all: Groups,
    late: usize,
    /// What the late rows would have been.
    late_rows: Groups,
    /// The values of the rows that were not late.
    values: BTreeMap<(i64, u8), BTreeSet<i64>>,
}

fn windows(at: i64, slide: i64) -> impl Iterator<Item = i64> {
    let last = at - at.rem_euclid(slide);
    (0..).map(move |i| last - i * slide).take_while(move |start| start + SIZE > at)
}

fn model(case: &Case) -> Model {
    let mut model = Model::default();
    let mut evict = 0;
    let mut largest = i64::MIN;
    for events in &case.epochs {
        let mut dropped = BTreeSet::new();
        for event in events {
            largest = largest.max(event.at);
            for start in windows(event.at, case.slide) {
                let add = |groups: &mut Groups| {
                    let group = groups.entry((start, event.key)).or_default();
                    *group = (group.0 + 1, group.1 + event.value);
                };
                add(&mut model.all);
                if start + SIZE <= evict {
                    dropped.insert((start, event.key));
                    add(&mut model.late_rows);
                } else {
                    add(&mut model.kept);
                    model.values.entry((start, event.key)).or_default().insert(event.value);
                }
            }
        }
        model.late += dropped.len();
        // The epoch's rows move the watermark; if it rose, an epoch without data follows and closes windows, and the next
        // rows are late by that.
        evict = evict.max(if largest == i64::MIN { 0 } else { largest - DELAY });
    }
    for (key, group) in &model.kept {
        if key.0 + SIZE <= evict {
            model.closed.insert(*key, *group);
        }
    }
    model
}

fn lines(events: &[Event]) -> Vec<String> {
    events.iter().map(|it| format!(r#"{{"ts": {}, "k": {}, "v": {}}}"#, it.at, it.key, it.value)).collect()
}

fn parse(rows: &[String]) -> Vec<((i64, u8), (i64, i64))> {
    let number = |row: &serde_json::Value, key: &str| row[key].as_i64().unwrap();
    rows.iter()
        .map(|text| {
            let row: serde_json::Value = serde_json::from_str(text).unwrap();
            let key = (number(&row, "start"), u8::try_from(number(&row, "k")).unwrap());
            (key, (number(&row, "n"), number(&row, "total")))
        })
        .collect()
}

/// What the sinks hold in the end: closed rows, last value by key, last complete result, and late rows by window and key.
async fn stream(case: &Case) -> (Vec<((i64, u8), (i64, i64))>, Groups, Groups, u64, Groups) {
    let folder = tempfile::tempdir().unwrap();
    let input = source("t", "ts TIMESTAMP, k INT, v BIGINT", Some(("ts", "5 seconds")));
    let sql = format!(
        "SELECT CAST(date_part('epoch', window.start) AS BIGINT) AS start, k, count(*) AS n, sum(v) AS total FROM t GROUP \
         BY window(ts, '{SIZE} seconds', '{} seconds'), k",
        case.slide
    );
    let modes = [("closed", OutputMode::Append), ("changed", OutputMode::Update), ("whole", OutputMode::Complete)];
    let query = |tasks: usize| {
        let sinks = modes.iter().map(|(name, mode)| sink(name, &sql, *mode)).chain([late_sink("late")]).collect();
        let mut spec = spec(folder.path(), vec![input.clone()], &[], sinks);
        spec.options.state_memory = case.state_memory;
        spec.options.tasks_max = tasks;
        spec
    };
    let rig = Rig::new();
    let mut running = rig.start(query(case.tasks[0])).await.unwrap();
    let mut dropped = 0;
    for (number, events) in case.epochs.iter().enumerate() {
        // An add for each: as many splits as there are tasks.
        lines(events).iter().for_each(|it| rig.add(&input, std::slice::from_ref(it)));
        while let tidegate_epoch::Step::Ran(progress) = running.step().await.unwrap() {
            let operators = serde_json::to_value(&*progress).unwrap();
            for operator in operators["stateOperators"].as_array().unwrap() {
                dropped += operator["numRowsDroppedByWatermark"].as_u64().unwrap();
            }
        }
        if number == case.restart_after {
            drop(running);
            running = rig.start(query(case.tasks[1])).await.unwrap();
        }
    }
    until_idle(&mut running).await.unwrap();
    let closed = parse(&rig.sink_rows("closed"));
    let table = rig.memory.table("q", "changed").unwrap();
    let mut changed = Groups::new();
    for epoch in table.epochs() {
        changed.extend(parse(&crate::harness::as_json(&table.epoch_rows(epoch).unwrap())));
    }
    let whole = parse(&rig.sink_rows("whole")).into_iter().collect();
    let mut late = Groups::new();
    for (_, _, end, row) in late_rows(&rig, "late") {
        let group = late.entry((end - SIZE, row["k"].as_u64().unwrap() as u8)).or_default();
        *group = (group.0 + 1, group.1 + row["v"].as_i64().unwrap());
    }
    (closed, changed, whole, dropped, late)
}

/// The last count of different values that update mode showed, by window and key.
async fn distinct(case: &Case) -> BTreeMap<(i64, u8), i64> {
    let folder = tempfile::tempdir().unwrap();
    let input = source("t", "ts TIMESTAMP, k INT, v BIGINT", Some(("ts", "5 seconds")));
    let sql = format!(
        "SELECT CAST(date_part('epoch', window.start) AS BIGINT) AS start, k, count(DISTINCT v) AS n, 0 AS total FROM t \
         GROUP BY window(ts, '{SIZE} seconds', '{} seconds'), k",
        case.slide
    );
    let query = || {
        let mut spec = spec(folder.path(), vec![input.clone()], &[], vec![sink("out", &sql, OutputMode::Update)]);
        spec.options.state_memory = case.state_memory;
        spec.options.extensions.count_distinct = true;
        spec
    };
    let rig = Rig::new();
    let mut running = rig.start(query()).await.unwrap();
    for (number, events) in case.epochs.iter().enumerate() {
        rig.add(&input, &lines(events));
        until_idle(&mut running).await.unwrap();
        if number == case.restart_after {
            drop(running);
            running = rig.start(query()).await.unwrap();
        }
    }
    let table = rig.memory.table("q", "out").unwrap();
    let rows =
        table.epochs().into_iter().flat_map(|it| parse(&crate::harness::as_json(&table.epoch_rows(it).unwrap())));
    rows.map(|(key, (n, _))| (key, n)).collect()
}

#[test]
fn any_cut_counts_the_different_values() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let repeated = std::cell::Cell::new(0);
    random_cases(60)
        .run(&cases(), |case| {
            let model = model(&case);
            let expected: BTreeMap<_, _> = model.values.iter().map(|(key, it)| (*key, it.len() as i64)).collect();
            prop_assert_eq!(&runtime.block_on(distinct(&case)), &expected);
            let rows: i64 = model.kept.values().map(|it| it.0).sum();
            repeated.set(repeated.get() + rows - expected.values().sum::<i64>());
            Ok(())
        })
        .unwrap();
    assert!(repeated.get() > 100, "the cases must have values that come again: {}", repeated.get());
}

#[test]
fn any_cut_gives_the_batch_answer() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let totals = std::cell::Cell::new((0, 0, 0));
    random_cases(60)
        .run(&cases(), |case| {
            let expected = model(&case);
            let (closed, changed, whole, dropped, late) = runtime.block_on(stream(&case));
            let unique: Groups = closed.iter().copied().collect();
            prop_assert_eq!(unique.len(), closed.len(), "a window came twice");
            prop_assert_eq!(&unique, &expected.closed, "append");
            prop_assert_eq!(&changed, &expected.kept, "update");
            prop_assert_eq!(&whole, &expected.all, "complete");
            prop_assert_eq!(&late, &expected.late_rows, "late rows");
            // Late groups are counted split by split, as Spark counts them partition by partition.
            let late = expected.late as u64;
            prop_assert!(if case.tasks == [1, 1] { dropped == late } else { dropped >= late }, "late groups");
            let (all, closed, late) = totals.get();
            totals.set((all + expected.all.len(), closed + expected.closed.len(), late + expected.late));
            Ok(())
        })
        .unwrap();
    let (all, closed, late) = totals.get();
    println!("groups {all}, closed {closed}, late {late}");
    assert!(closed > 50 && late > 20, "the cases must close windows and have late rows");
}
