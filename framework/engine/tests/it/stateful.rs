//! Deduplication, sessions and limits: any cut of the input into epochs, with a restart, gives what a small model computes,
//! and a fault in any step changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;
use tidegate_api::OutputMode;
use tidegate_engine::{DeduplicateSpec, QuerySpec, SourceSpec};

use crate::harness::{Rig, as_json, late_rows, late_sink, random_cases, sink, source, spec, until_idle};

const DELAY: i64 = 5;
const GAP: i64 = 4;
const LIMIT: usize = 7;

#[derive(Clone, Copy, Debug)]
struct Event {
    at: i64,
    key: u8,
    value: i64,
}

/// Epochs of events, after which of them the query restarts, and how many splits are read side by side before and after.
type Case = (Vec<Vec<Event>>, usize, [usize; 2]);

fn cases() -> impl Strategy<Value = Case> {
    let event = |base: i64| {
        (0..30_i64, 0..4_u8, 0..100_i64).prop_map(move |(back, key, value)| {
            // Some rows lie so far back that they are late.
            let back = if back > 24 { back } else { back % 9 };
            Event { at: (base - back).max(1), key, value }
        })
    };
    let epochs = (2..8_usize).prop_flat_map(move |count| {
        (0..count).map(|at| prop::collection::vec(event(10 + 7 * at as i64), 0..10)).collect::<Vec<_>>()
    });
    (epochs, 0..8_usize, [1..5_usize, 1..5_usize])
}

/// A session: start, end, rows, sum.
type Session = (i64, i64, i64, i64);

/// What each sink must hold in the end, as JSON text.
#[derive(Debug, Default, PartialEq)]
struct Rows {
    by_key_and_time: Vec<String>,
    by_key: Vec<String>,
    within: Vec<String>,
    closed: Vec<String>,
    whole: Vec<String>,
    /// The last that update mode showed of each session, without those that are no more.
    changed: Vec<String>,
    limited: usize,
    /// Late rows by operator.
    late: BTreeMap<String, usize>,
}

fn row(event: &Event) -> String {
    format!(r#"{{"k":{},"t":{},"v":{}}}"#, event.key, event.at, event.value)
}

fn session(key: u8, (start, end, n, total): Session) -> String {
    format!(r#"{{"k":{key},"s":{start},"e":{end},"n":{n},"total":{total}}}"#)
}

fn join(sessions: &mut Vec<Session>, event: &Event) {
    let mut new = (event.at, event.at + GAP, 1, event.value);
    while let Some(at) = sessions.iter().position(|it| it.0 <= new.1 && new.0 <= it.1) {
        let old = sessions.remove(at);
        new = (old.0.min(new.0), old.1.max(new.1), old.2 + new.2, old.3 + new.3);
    }
    sessions.push(new);
}

fn model(epochs: &[Vec<Event>]) -> Rows {
    let mut rows = Rows::default();
    let (mut times, mut keys, mut expires) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    let (mut open, mut whole): (BTreeMap<u8, Vec<Session>>, BTreeMap<u8, Vec<Session>>) = Default::default();
    let (mut watermark, mut largest, mut rows_late) = (0, i64::MIN, BTreeMap::new());
    let mut drop_at = |names: &[&str]| {
        names.iter().for_each(|it| *rows_late.entry((*it).to_owned()).or_default() += 1);
    };
    for events in epochs {
        for event in events {
            largest = largest.max(event.at);
            if event.at <= watermark {
                drop_at(&["deduplicate-0", "deduplicate-1", "deduplicate-2"]);
            }
            if event.at + GAP <= watermark {
                drop_at(&["session-0", "session-0-complete"]);
            }
            if event.at > watermark {
                rows.by_key_and_time.extend(times.insert((event.key, event.at)).then(|| row(event)));
                rows.by_key.extend(keys.insert(event.key).then(|| row(event)));
                expires.entry(event.key).or_insert_with(|| {
                    rows.within.push(row(event));
                    event.at + DELAY
                });
            }
            if event.at + GAP > watermark {
                join(open.entry(event.key).or_default(), event);
                join(whole.entry(event.key).or_default(), event);
            }
            rows.limited += 1;
        }
        // If the watermark rises, an epoch without data follows, and the next rows are late by that.
        watermark = watermark.max(if largest == i64::MIN { 0 } else { largest - DELAY });
        expires.retain(|_, end| *end > watermark);
        for (key, sessions) in &mut open {
            rows.closed.extend(sessions.iter().filter(|it| it.1 <= watermark).map(|it| session(*key, *it)));
            sessions.retain(|it| it.1 > watermark);
        }
    }
    rows.whole = whole.iter().flat_map(|(key, all)| all.iter().map(|it| session(*key, *it))).collect();
    let still_open = open.iter().flat_map(|(key, all)| all.iter().map(|it| session(*key, *it)));
    rows.changed = rows.closed.iter().cloned().chain(still_open).collect();
    rows.limited = rows.limited.min(LIMIT);
    rows.late = rows_late;
    rows.changed.sort();
    for list in [&mut rows.by_key_and_time, &mut rows.by_key, &mut rows.within, &mut rows.closed, &mut rows.whole] {
        list.sort();
    }
    rows
}

fn query(folder: &Path, input: &SourceSpec) -> QuerySpec {
    let seconds = |time: &str| format!("CAST(date_part('epoch', {time}) AS BIGINT)");
    let columns = format!("k, {} AS t, v", seconds("ts"));
    let sessions = format!(
        "SELECT k, {} AS s, {} AS e, count(*) AS n, sum(v) AS total FROM t GROUP BY session_window(ts, '{GAP} seconds'), k",
        seconds("session_window.start"),
        seconds("session_window.end")
    );
    let append = OutputMode::Append;
    let sinks = vec![
        sink("by_key_and_time", &format!("SELECT DISTINCT ON (k, ts) {columns} FROM t"), append),
        sink("by_key", &format!("SELECT DISTINCT ON (k) {columns} FROM t"), OutputMode::Update),
        sink("within", &format!("SELECT {columns} FROM uniq"), append),
        sink("closed", &sessions, append),
        sink("whole", &sessions, OutputMode::Complete),
        sink("changed", &sessions, OutputMode::Update),
        late_sink("late"),
        sink("limited", &format!("SELECT {columns} FROM t LIMIT {LIMIT}"), append),
    ];
    let mut query = spec(folder, vec![input.clone()], &[("uniq", "SELECT * FROM t")], sinks);
    for view in &mut query.views {
        view.deduplicate = Some(DeduplicateSpec { columns: vec!["K".to_owned()], within_watermark: true });
    }
    query.options.extensions.update_mode = true;
    // Some chunks stay in memory, some are on disk.
    query.options.state_memory = Some(2000);
    query
}

fn lines(events: &[Event]) -> Vec<String> {
    events.iter().map(|it| format!(r#"{{"ts": {}, "k": {}, "v": {}}}"#, it.at, it.key, it.value)).collect()
}

fn input() -> SourceSpec {
    source("t", "ts TIMESTAMP, k INT, v BIGINT", Some(("ts", "5 seconds")))
}

/// The last that came of each session by key and start; an empty one takes away what was there.
fn changed(rig: &Rig) -> Vec<String> {
    let table = rig.memory.table("q", "changed").unwrap();
    let mut last = BTreeMap::new();
    for epoch in table.epochs() {
        for text in as_json(&table.epoch_rows(epoch).unwrap()) {
            let row: serde_json::Value = serde_json::from_str(&text).unwrap();
            let number = |column: &str| row[column].as_i64();
            let key = (number("k"), number("s"));
            if number("n") == Some(0) {
                assert_eq!((number("e"), number("total")), (number("s"), None), "{text}");
                assert!(last.remove(&key).is_some(), "nothing was shown of {text}");
            } else {
                last.insert(key, text);
            }
        }
    }
    let mut rows: Vec<_> = last.into_values().collect();
    rows.sort();
    rows
}

fn found(rig: &Rig) -> Rows {
    let mut late = BTreeMap::new();
    late_rows(rig, "late").into_iter().for_each(|it| *late.entry(it.0).or_default() += 1);
    Rows {
        changed: changed(rig),
        late,
        by_key_and_time: rig.sink_rows("by_key_and_time"),
        by_key: rig.sink_rows("by_key"),
        within: rig.sink_rows("within"),
        closed: rig.sink_rows("closed"),
        whole: rig.sink_rows("whole"),
        limited: rig.sink_rows("limited").len(),
    }
}

async fn stream((epochs, restart_after, tasks): &Case) -> Rows {
    let folder = tempfile::tempdir().unwrap();
    let input = input();
    let rig = Rig::new();
    let query = |tasks: usize| {
        let mut query = query(folder.path(), &input);
        query.options.tasks_max = tasks;
        query
    };
    let mut running = rig.start(query(tasks[0])).await.unwrap();
    for (number, events) in epochs.iter().enumerate() {
        // An add for each: as many splits as there are tasks.
        lines(events).iter().for_each(|it| rig.add(&input, std::slice::from_ref(it)));
        until_idle(&mut running).await.unwrap();
        if number == *restart_after {
            drop(running);
            running = rig.start(query(tasks[1])).await.unwrap();
        }
    }
    until_idle(&mut running).await.unwrap();
    found(&rig)
}

#[test]
fn any_cut_gives_the_answer_of_the_model() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let totals = std::cell::Cell::new((0, 0, 0));
    random_cases(40)
        .run(&cases(), |case| {
            let expected = model(&case.0);
            let found = runtime.block_on(stream(&case));
            prop_assert_eq!(&found, &expected);
            let rows: usize = case.0.iter().map(Vec::len).sum();
            let (all, once, closed) = totals.get();
            totals.set((all + rows, once + expected.by_key_and_time.len(), closed + expected.closed.len()));
            Ok(())
        })
        .unwrap();
    let (all, once, closed) = totals.get();
    println!("rows {all}, without duplicates and late ones {once}, sessions closed {closed}");
    assert!(closed > 50 && once < all, "the cases must close sessions and have rows that are dropped");
}

/// The rows of a run over six epochs; the fault hits each of them, after which the query starts anew.
async fn run(fault: Option<&str>) -> Rows {
    let folder = tempfile::tempdir().unwrap();
    let (input, rig) = (input(), Rig::new());
    let mut running = Some(rig.start(query(folder.path(), &input)).await.unwrap());
    for number in 0..6_i64 {
        let event = |at: i64, key: u8| Event { at: 1 + number * 6 + at, key, value: number };
        rig.add(&input, &lines(&[event(0, 0), event(3, 1), event(0, 0), event(5, number as u8), event(-10, 2)]));
        fault.iter().for_each(|it| rig.arm(it));
        rig.through(&mut running, || query(folder.path(), &input)).await;
    }
    found(&rig)
}

#[tokio::test]
async fn every_fault_leaves_the_same_rows() {
    let undisturbed = run(None).await;
    assert!(undisturbed.closed.len() > 3 && undisturbed.limited == LIMIT, "{undisturbed:?}");
    assert!(undisturbed.late.len() == 5 && undisturbed.late.values().all(|it| *it > 3), "{:?}", undisturbed.late);
    for fault in ["run=error", "record.write=crash", "commit.before=crash", "commit.after=error", "seal=crash"] {
        assert_eq!(run(Some(fault)).await, undisturbed, "{fault}");
    }
}
