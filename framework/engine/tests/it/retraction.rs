//! Aggregations over aggregations in update and complete mode: after each epoch the table that a sink of changes adds up is
//! what DataFusion answers over all rows so far, whatever the query, the cuts, the restarts and where state lies.

mod queries;
mod toy;

use std::collections::BTreeMap;
use std::path::Path;

use arrow_array::RecordBatch;
use datafusion::prelude::SessionContext;
use proptest::prelude::*;
use tidegate_api::OutputMode;
use tidegate_engine::{QuerySpec, SourceSpec};

use crate::harness::{Rig, as_json, random_cases, rows, sink, source, spec, until_idle};
use queries::{Query, queries};

/// Seconds since 1970, keys and a value that may be null.
#[derive(Clone, Copy, Debug)]
struct Event {
    at: i64,
    k: i64,
    j: i64,
    v: Option<i64>,
}

#[derive(Clone, Debug)]
struct Case {
    query: Query,
    epochs: Vec<Vec<Event>>,
    restart_after: usize,
    tasks: [usize; 2],
    state_memory: Option<u64>,
}

fn cases(query: impl Strategy<Value = Query>) -> impl Strategy<Value = Case> {
    let event = |base: i64| {
        let v = prop_oneof![1 => Just(None), 5 => (-3..4_i64).prop_map(Some)];
        (0..30_i64, 0..5_i64, 0..3_i64, v).prop_map(move |(back, k, j, v)| {
            // Some rows lie so far back that they are late.
            let back = if back > 24 { back * 2 } else { back % 8 };
            Event { at: (base - back).max(1), k, j, v }
        })
    };
    let epochs = (3..8_usize).prop_flat_map(move |count| {
        (0..count).map(|at| prop::collection::vec(event(12 + 9 * at as i64), 0..14)).collect::<Vec<_>>()
    });
    let memory = prop::sample::select(vec![None, Some(1), Some(2000)]);
    (query, epochs, 0..7_usize, [1..4_usize, 1..4_usize], memory).prop_map(
        |(query, epochs, restart_after, tasks, state_memory)| Case {
            query,
            epochs,
            restart_after,
            tasks,
            state_memory,
        },
    )
}

fn line(event: &Event) -> String {
    let Event { at, k, j, v } = event;
    let v = v.map_or("null".to_owned(), |it| it.to_string());
    format!(r#"{{"ts": {at}, "at": {at}, "k": {k}, "j": {j}, "v": {v}}}"#)
}

const SCHEMA: &str = "ts TIMESTAMP, at BIGINT, k INT, j INT, v BIGINT";

fn input(watermark: bool) -> SourceSpec {
    source("t", SCHEMA, watermark.then_some(("ts", "5 seconds")))
}

fn query(folder: &Path, input: &SourceSpec, case: &Case, tasks: usize) -> QuerySpec {
    let sql = &case.query.stream;
    let sinks = vec![sink("changes", sql, OutputMode::Update), sink("whole", sql, OutputMode::Complete)];
    let mut spec = spec(folder, vec![input.clone()], &[], sinks);
    spec.options.state_memory = case.state_memory;
    spec.options.tasks_max = tasks;
    spec.options.extensions.chained_aggregates = true;
    spec
}

/// The rows that changes come to, how many there are of each.
type Table = BTreeMap<String, i64>;

fn add_up(table: &mut Table, changes: &[String]) {
    for text in changes {
        let mut row: serde_json::Value = serde_json::from_str(text).unwrap();
        let change = row.as_object_mut().unwrap().remove("_change").unwrap().as_i64().unwrap();
        assert!(change == 1 || change == -1, "{text}");
        *table.entry(row.to_string()).or_default() += change;
    }
    table.retain(|_, count| *count != 0);
}

fn table(rows: &[String]) -> Table {
    let mut table = Table::new();
    for text in rows {
        let row: serde_json::Value = serde_json::from_str(text).unwrap();
        *table.entry(row.to_string()).or_default() += 1;
    }
    table
}

/// DataFusion's answer over these rows.
async fn batch(sql: &str, events: &[Event]) -> Table {
    let schema = input(false).schema.unwrap();
    let lines: Vec<_> = events.iter().map(line).collect();
    let all = if lines.is_empty() { RecordBatch::new_empty(schema) } else { rows(&schema, &lines) };
    let context = SessionContext::new();
    context.register_batch("t", all).unwrap();
    let answer = context.sql(sql).await.unwrap().collect().await.unwrap();
    table(&as_json(&answer))
}

/// The rows that are not late by the windows of ten seconds that they belong to.
fn in_time(epochs: &[Vec<Event>]) -> Vec<Event> {
    let (mut watermark, mut largest, mut kept) = (0, i64::MIN, Vec::new());
    for events in epochs {
        kept.extend(events.iter().filter(|it| it.at - it.at % 10 + 10 > watermark));
        largest = events.iter().map(|it| it.at).fold(largest, i64::max);
        watermark = watermark.max(if largest == i64::MIN { 0 } else { largest - 5 });
    }
    kept
}

/// Counts of what the cases had, so that they are not all easy.
#[derive(Debug, Default)]
struct Met {
    back: usize,
    added: usize,
    late: usize,
}

async fn check(case: &Case, timed: bool, met: &mut Met) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let input = input(timed);
    let rig = Rig::new();
    let mut running = rig.start(query(folder.path(), &input, case, case.tasks[0])).await.unwrap();
    let (mut shown, mut seen) = (Table::new(), 0);
    for (number, events) in case.epochs.iter().enumerate() {
        // An add for each: as many splits as there are tasks.
        events.iter().for_each(|it| rig.add(&input, &[line(it)]));
        until_idle(&mut running).await.unwrap();
        let sink = rig.memory.table("q", "changes").unwrap();
        let since = seen;
        for epoch in sink.epochs().into_iter().filter(|it| *it >= since) {
            let changes = as_json(&sink.epoch_rows(epoch).unwrap());
            met.back += changes.iter().filter(|it| it.contains(r#""_change":-1"#)).count();
            met.added += changes.iter().filter(|it| it.contains(r#""_change":1"#)).count();
            add_up(&mut shown, &changes);
            prop_assert!(shown.values().all(|it| *it > 0), "taken back and never there: {:?}", shown);
            seen = epoch + 1;
        }
        let so_far = &case.epochs[..=number];
        let all: Vec<Event> = so_far.iter().flatten().copied().collect();
        let kept = if timed { in_time(so_far) } else { all.clone() };
        if seen > 0 {
            prop_assert_eq!(&shown, &batch(&case.query.batch, &kept).await, "update, epoch {}", number);
            let whole = table(&rig.sink_rows("whole"));
            prop_assert_eq!(&whole, &batch(&case.query.batch, &all).await, "complete, epoch {}", number);
        }
        met.late += all.len() - kept.len();
        if number == case.restart_after {
            drop(running);
            running = rig.start(query(folder.path(), &input, case, case.tasks[1])).await.unwrap();
        }
    }
    Ok(())
}

fn any_cut(cases_wanted: u32, timed: bool) -> Met {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let met = std::cell::RefCell::new(Met::default());
    random_cases(cases_wanted)
        .run(&cases(queries(timed)), |case| runtime.block_on(check(&case, timed, &mut met.borrow_mut())))
        .unwrap();
    met.into_inner()
}

#[test]
fn any_cut_adds_up_to_the_batch_answer() {
    let met = any_cut(100, false);
    assert!(met.back > 150 && met.added > 300, "{met:?}");
}

#[test]
fn any_cut_of_windows_adds_up_to_the_batch_answer_of_the_rows_in_time() {
    let met = any_cut(50, true);
    assert!(met.back > 40 && met.added > 100 && met.late > 40, "{met:?}");
}

const CHAIN: &str = "SELECT c, count(*) AS n, max(s) AS s FROM (SELECT n, count(*) AS c, sum(s) AS s FROM (SELECT k, count(*) AS n, \
                     max(v) AS s FROM t GROUP BY k) low GROUP BY n) high GROUP BY c";

/// What the sink of changes got in the end; `fault` hits every second epoch.
async fn after(fault: Option<&str>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let input = input(false);
    let chain = Query { stream: CHAIN.to_owned(), batch: String::new() };
    let case = Case { query: chain, epochs: Vec::new(), restart_after: 0, tasks: [2, 2], state_memory: Some(1) };
    let rig = Rig::new();
    let mut running = Some(rig.start(query(folder.path(), &input, &case, 2)).await.unwrap());
    for epoch in 0..8 {
        let event = |at: i64| Event { at, k: (epoch * 3 + at * at) % 7, j: 0, v: Some(at - epoch) };
        rig.add(&input, &(0..5).map(|at| line(&event(at))).collect::<Vec<_>>());
        if let Some(fault) = fault.filter(|_| epoch % 2 == 1) {
            rig.arm(fault);
        }
        rig.through(&mut running, || query(folder.path(), &input, &case, 2)).await;
    }
    rig.sink_rows("changes")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_leaves_the_same_changes() {
    let undisturbed = after(None).await;
    assert!(undisturbed.iter().filter(|it| it.contains(r#""_change":-1"#)).count() > 5, "{undisturbed:?}");
    let points = ["plan", "run", "prepare", "record.write", "record.dirsync", "commit.before", "commit.after", "seal"];
    for fault in points.iter().flat_map(|it| ["crash", "error"].map(|how| format!("{it}={how}"))) {
        assert_eq!(after(Some(&fault)).await, undisturbed, "{fault}");
    }
}

#[tokio::test]
async fn the_state_below_is_shared_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let lower = "SELECT k, count(*) AS n, max(v) AS s FROM t GROUP BY k";
    let sinks = vec![
        sink("changes", &format!("SELECT n, count(*) AS c FROM ({lower}) low GROUP BY n"), OutputMode::Update),
        sink("groups", &format!("SELECT k, n, s FROM ({lower}) low"), OutputMode::Update),
    ];
    let mut spec = spec(folder.path(), vec![input(false)], &[], sinks);
    spec.options.extensions.chained_aggregates = true;
    let text = Rig::new().plan(spec).await.unwrap().explain();
    assert_eq!(text.lines().filter(|it| it.starts_with("stage ")).count(), 2, "{text}");
    assert!(
        text.contains("groups that changed (update) and groups that changed, as they were and as they are"),
        "{text}"
    );
    assert!(text.contains("_change: -1 for a row that no longer is"), "{text}");
}

#[test]
fn each_mistake_in_taking_back_is_seen() {
    toy::each_mistake_is_seen(&cases(Just(toy::query())));
}
