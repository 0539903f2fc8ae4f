//! How many tasks and threads run a query, how its input is split, and where its state lies change no answer: a query that
//! restarts with other numbers goes on as it would have with the old ones, whatever operator keeps the state.

use std::collections::BTreeMap;
use std::path::Path;

use arrow_array::cast::AsArray;
use futures::TryStreamExt;
use proptest::prelude::*;
use tidegate_api::OutputMode;
use tidegate_engine::{DeduplicateSpec, QuerySpec, SourceSpec};
use tidegate_epoch::inspect;
use tidegate_storage::Location;

use crate::harness::{Rig, as_json, random_cases, sink, source, spec, until_idle};

#[derive(Clone, Copy, Debug)]
struct Event {
    at: i64,
    key: u8,
    value: i64,
}

/// What a run begins with, and the epochs until the next.
#[derive(Clone, Debug)]
struct Run {
    tasks: usize,
    threads: usize,
    state_memory: Option<u64>,
    epochs: Vec<[Vec<Event>; 2]>,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let event = |base: i64| {
        (0..30_i64, 0..5_u8, 0..100_i64).prop_map(move |(back, key, value)| {
            // Some rows lie so far back that they are late.
            let back = if back > 26 { back } else { back % 9 };
            Event { at: (base - back).max(1), key, value }
        })
    };
    let side = move |at: i64| prop::collection::vec(event(10 + 6 * at), 0..9);
    let epoch = move |at: i64| (side(at), side(at)).prop_map(|(left, right)| [left, right]);
    (2..5_i64).prop_flat_map(move |count| {
        let run = |at: i64| {
            let epochs =
                (1..4_i64).prop_flat_map(move |epochs| (0..epochs).map(|it| epoch(3 * at + it)).collect::<Vec<_>>());
            let memory = prop::sample::select(vec![None, Some(1), Some(2000)]);
            (1..7_usize, 0..4_usize, memory, epochs).prop_map(|(tasks, threads, state_memory, epochs)| Run {
                tasks,
                threads,
                state_memory,
                epochs,
            })
        };
        (0..count).map(run).collect::<Vec<_>>()
    })
}

fn inputs() -> [SourceSpec; 2] {
    ["t", "u"].map(|it| source(it, "ts TIMESTAMP, k INT, v BIGINT", Some(("ts", "5 seconds"))))
}

/// An operator of each kind, in each output mode that keeps state in a way of its own.
fn query(folder: &Path, run: &Run) -> QuerySpec {
    let seconds = |time: &str| format!("CAST(date_part('epoch', {time}) AS BIGINT)");
    let columns = format!("k, {} AS t, v", seconds("ts"));
    let windows = format!(
        "SELECT k, {} AS s, count(*) AS n, sum(v) AS total FROM t GROUP BY window(ts, '8 seconds', '4 seconds'), k",
        seconds("window.start")
    );
    let sessions = format!(
        "SELECT k, {} AS s, count(*) AS n, sum(v) AS total FROM t GROUP BY session_window(ts, '4 seconds'), k",
        seconds("session_window.start")
    );
    let join = |kind: &str| {
        format!(
            "SELECT t.k, t.v AS left, u.v AS right FROM t {kind} JOIN u ON t.k = u.k AND t.ts BETWEEN u.ts - INTERVAL 3 \
             SECONDS AND u.ts + INTERVAL 4 SECONDS"
        )
    };
    let (append, update) = (OutputMode::Append, OutputMode::Update);
    let sinks = vec![
        sink("closed", &windows, append),
        sink("changed", &windows, update),
        sink("whole", &windows, OutputMode::Complete),
        sink("per_key", "SELECT k, count(*) AS n, min(v) AS least FROM t GROUP BY k", update),
        sink("sessions", &sessions, append),
        sink("distinct", &format!("SELECT DISTINCT ON (k, ts) {columns} FROM t"), append),
        sink("for_ever", &format!("SELECT DISTINCT ON (k) {columns} FROM t"), append),
        sink("within", &format!("SELECT {columns} FROM uniq"), append),
        sink("limited", &format!("SELECT {columns} FROM t LIMIT 9"), append),
        sink("inner", &join("INNER"), append),
        sink("outer", &join("LEFT OUTER"), append),
    ];
    let mut query = spec(folder, inputs().into(), &[("uniq", "SELECT * FROM t")], sinks);
    for view in &mut query.views {
        view.deduplicate = Some(DeduplicateSpec { columns: vec!["k".to_owned()], within_watermark: true });
    }
    query.options.tasks_max = run.tasks;
    query.options.state_memory = run.state_memory;
    query
}

/// Each event is an add of its own, so that an epoch has as many splits as there are tasks for.
async fn run_epochs(rig: &Rig, folder: &Path, run: &Run) {
    let mut running = rig.start(query(folder, run)).await.unwrap();
    for epoch in &run.epochs {
        for (input, events) in inputs().iter().zip(epoch) {
            for it in events {
                rig.add(input, &[format!(r#"{{"ts": {}, "k": {}, "v": {}}}"#, it.at, it.key, it.value)]);
            }
        }
        until_idle(&mut running).await.unwrap();
    }
}

fn threads(count: usize) -> tokio::runtime::Runtime {
    let mut builder = match count {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(count.max(1)).enable_all().build().unwrap()
}

/// What each operator remembers.
async fn states(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let place = Location::at(&folder.join("checkpoint")).unwrap();
    let mut states = BTreeMap::new();
    if inspect::newest_epoch(&place).await.unwrap().is_none() {
        return states;
    }
    let operators = inspect::operators(&place, None).await.unwrap();
    for operator in operators.column(0).as_string::<i32>().iter().flatten() {
        let rows: Vec<_> = inspect::state(&place, operator, None).await.unwrap().rows.try_collect().await.unwrap();
        states.insert(format!("state of {operator}"), as_json(&rows));
    }
    states
}

/// The rows of each sink, and what each operator remembers.
fn answers(runs: &[Run]) -> BTreeMap<String, Vec<String>> {
    let (folder, rig) = (tempfile::tempdir().unwrap(), Rig::new());
    for run in runs {
        threads(run.threads).block_on(run_epochs(&rig, folder.path(), run));
    }
    let mut answers = threads(1).block_on(states(folder.path()));
    let sinks = query(folder.path(), &runs[0]).sinks;
    answers.extend(sinks.iter().map(|it| (it.name.clone(), rig.sink_rows(&it.name))));
    answers
}

#[test]
fn a_restart_with_other_numbers_of_tasks_keeps_all_state() {
    let seen = std::cell::RefCell::new(BTreeMap::<String, usize>::new());
    random_cases(12)
        .run(&runs(), |runs| {
            let plain = |run: &Run| Run { tasks: 1, threads: 1, state_memory: None, ..run.clone() };
            let expected = answers(&runs.iter().map(plain).collect::<Vec<_>>());
            let found = answers(&runs);
            for (sink, rows) in &expected {
                prop_assert_eq!(&found[sink], rows, "{}", sink);
                *seen.borrow_mut().entry(sink.clone()).or_default() += rows.len();
            }
            Ok(())
        })
        .unwrap();
    println!("rows: {:?}", seen.borrow());
    assert!(seen.borrow().values().all(|it| *it > 5), "each operator must have rows");
}
