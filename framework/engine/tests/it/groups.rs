//! Sinks that are fed by different watermarks: each goes by its own, as if it were the query's only sink.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use tidegate_api::OutputMode;
use tidegate_engine::{QuerySpec, SinkPart, SourceSpec};
use tidegate_epoch::{Query, SinkMode, WatermarkPolicy};

use crate::harness::{Rig, random_cases, sink, source, spec, until_idle};

const SOURCES: [&str; 3] = ["lefts", "rights", "others"];

fn sources() -> Vec<SourceSpec> {
    SOURCES.map(|it| source(it, "ts TIMESTAMP, k INT", Some(("ts", "5 seconds")))).into()
}

fn counts(from: &str) -> String {
    format!(
        "SELECT '{from}' AS side, CAST(date_part('epoch', window.start) AS BIGINT) AS start, count(*) AS n FROM {from} \
         GROUP BY window(ts, '10 seconds')"
    )
}

fn rows_of(from: &str) -> String {
    format!(
        "SELECT '{from}' AS side, CAST(date_part('epoch', ts) AS BIGINT) AS start, CAST(1 AS BIGINT) AS n FROM {from}"
    )
}

/// The sinks that a query may have, by name.
fn part(name: &str) -> SinkPart {
    let lefts = counts("lefts");
    let both = format!("{lefts} UNION ALL {}", counts("rights"));
    let (sql, mode) = match name {
        "l" => (lefts, OutputMode::Append),
        "r" => (counts("rights"), OutputMode::Append),
        "o" => (counts("others"), OutputMode::Append),
        "both" => (both, OutputMode::Append),
        "all" => (format!("{both} UNION ALL {}", counts("others")), OutputMode::Append),
        "r_rows" => (rows_of("rights"), OutputMode::Append),
        "l_and_rows" => (format!("{lefts} UNION ALL {}", rows_of("rights")), OutputMode::Append),
        "under" => (
            counts("lefts").replace("FROM lefts", "FROM (SELECT * FROM lefts UNION ALL SELECT * FROM rights)"),
            OutputMode::Append,
        ),
        "changed" => (format!("{lefts} UNION ALL {}", rows_of("rights")), OutputMode::Update),
        "l_changed" => (lefts, OutputMode::Update),
        "r_whole" => (counts("rights"), OutputMode::Complete),
        _ => panic!("no sink {name}"),
    };
    sink(name, &sql, mode)
}

fn query(folder: &Path, sinks: &[&str], policy: WatermarkPolicy) -> QuerySpec {
    let mut query = spec(folder, sources(), &[], sinks.iter().map(|it| part(it)).collect());
    query.options.watermark_policy = policy;
    query
}

/// Rows at these seconds.
fn add(rig: &Rig, to: &str, seconds: &[i64]) {
    let lines: Vec<_> = seconds.iter().map(|it| format!(r#"{{"ts": {it}, "k": 1}}"#)).collect();
    let source = sources().into_iter().find(|it| it.name == to).unwrap();
    rig.add(&source, &lines);
}

/// The watermark of each group, by its nodes.
fn groups(query: &Query) -> Vec<(String, i64)> {
    let groups = query.watermark_groups();
    groups.iter().map(|it| (it.nodes.join("+"), it.watermark_ms / 1000)).collect()
}

fn seconds(groups: &[(&str, i64)]) -> Vec<(String, i64)> {
    groups.iter().map(|(nodes, at)| ((*nodes).to_owned(), *at)).collect()
}

fn row(side: &str, start: i64, n: i64) -> String {
    format!(r#"{{"side":"{side}","start":{start},"n":{n}}}"#)
}

#[tokio::test]
async fn a_sink_goes_by_the_watermark_of_its_own_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let mut running = rig.start(query(folder.path(), &["l", "r"], WatermarkPolicy::Min)).await.unwrap();
    add(&rig, "lefts", &[1, 2, 30]);
    add(&rig, "rights", &[3]);
    until_idle(&mut running).await.unwrap();
    assert_eq!(rig.sink_rows("l"), [row("lefts", 0, 2)], "lefts has passed 10 s");
    assert_eq!(rig.sink_rows("r"), Vec::<String>::new(), "rights has not");
    assert_eq!(running.watermark_ms(), Some(0), "the query's own is that of the slowest");
    assert_eq!(groups(&running), seconds(&[("lefts", 25), ("rights", 0)]));
    add(&rig, "lefts", &[4]);
    add(&rig, "rights", &[4, 40]);
    until_idle(&mut running).await.unwrap();
    assert_eq!(rig.sink_rows("l"), [row("lefts", 0, 2)], "4 s is late in lefts");
    assert_eq!(rig.sink_rows("r"), [row("rights", 0, 2)], "and was not in rights");
}

#[tokio::test]
async fn each_policy_runs_over_the_nodes_of_a_sink() {
    for (policy, both, all, query_ms) in [(WatermarkPolicy::Min, 25, 25, 25), (WatermarkPolicy::Max, 35, 95, 95)] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::new();
        let sinks = ["l", "r", "o", "both", "all"];
        let mut running = rig.start(query(folder.path(), &sinks, policy)).await.unwrap();
        add(&rig, "lefts", &[1, 30]);
        add(&rig, "rights", &[1, 40]);
        add(&rig, "others", &[1, 100]);
        until_idle(&mut running).await.unwrap();
        let expected =
            [("lefts", 25), ("rights", 35), ("others", 95), ("lefts+rights", both), ("lefts+others+rights", all)];
        assert_eq!(groups(&running), seconds(&expected), "{policy}");
        assert_eq!(running.watermark_ms(), Some(query_ms * 1000), "{policy}");
        let shown = rig.sink_rows("all");
        let of = |it: &str| shown.contains(&row(it, 0, 1));
        assert_eq!((of("lefts"), of("rights"), of("others")), (true, true, true));
        assert_eq!(shown.contains(&row("lefts", 30, 1)), policy == WatermarkPolicy::Max, "{policy}: {shown:?}");
        assert!(!rig.sink_rows("l").contains(&row("lefts", 30, 1)), "{policy}");
    }
}

#[tokio::test]
async fn sinks_of_one_group_and_sinks_without_a_watermark_make_no_groups() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let mut query = query(folder.path(), &["l", "l_changed"], WatermarkPolicy::Min);
    query.sinks.push(sink("plain", "SELECT k FROM plain", OutputMode::Append));
    query.sources.push(source("plain", "k INT", None));
    let mut running = rig.start(query).await.unwrap();
    add(&rig, "lefts", &[1, 30]);
    until_idle(&mut running).await.unwrap();
    assert_eq!((groups(&running), running.watermark_ms()), (Vec::new(), Some(25_000)));
    for (name, bytes) in records(folder.path()) {
        assert!(!String::from_utf8_lossy(&bytes).contains("groups"), "record {name} is as ever");
    }
}

fn records(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder.join("checkpoint/state/wal")).unwrap().flatten();
    entries.map(|it| (it.file_name().into_string().unwrap(), std::fs::read(it.path()).unwrap())).collect()
}

#[tokio::test]
async fn sinks_share_state_only_within_a_group() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let sinks = ["l", "both", "changed", "l_changed", "r_whole"];
    let text = rig.plan(query(folder.path(), &sinks, WatermarkPolicy::Min)).await.unwrap().explain();
    let stages: Vec<_> = text.lines().filter_map(|it| it.strip_prefix("stage ")).collect();
    let (closed, changed) = ("groups that the watermark closes (append)", "groups that changed (update)");
    let expected = [
        format!("0: state 'aggregate-0', emits {closed} and {changed}"),
        format!("1: state 'aggregate-0-by-lefts+rights', emits {closed} and {changed}"),
        format!("2: state 'aggregate-1', emits {closed}"),
        "3: state 'aggregate-1-complete', emits all groups (complete)".to_owned(),
    ];
    assert_eq!(stages, expected, "{text}");
    assert!(text.contains("goes by the watermarks of lefts, rights\n"), "{text}");
    let alone = rig.plan(query(folder.path(), &["both"], WatermarkPolicy::Min)).await.unwrap().explain();
    assert!(!alone.contains("goes by"), "{alone}");
}

/// Rows of the sources, by epoch.
type Feeds = Vec<[Vec<i64>; 2]>;

/// What each sink shows in the end. After the epochs `restarts` the query is started anew; each fault hits one epoch.
async fn run(sinks: &[&str], policy: WatermarkPolicy, feeds: &Feeds, restarts: &[usize], fault: &str) -> Shown {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let mut running = Some(rig.start(query(folder.path(), sinks, policy)).await.unwrap());
    for (number, [lefts, rights]) in feeds.iter().enumerate() {
        add(&rig, "lefts", lefts);
        add(&rig, "rights", rights);
        if !fault.is_empty() {
            rig.arm(fault);
        }
        rig.through(&mut running, || query(folder.path(), sinks, policy)).await;
        if restarts.contains(&number) {
            running = None;
        }
    }
    sinks.iter().map(|it| ((*it).to_owned(), rig.sink_rows(it))).collect()
}

type Shown = BTreeMap<String, Vec<String>>;

#[test]
fn each_sink_shows_what_it_shows_alone() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rows = |pace: i64, at: usize| {
        prop::collection::vec(
            (0..30_i64).prop_map(move |back| {
                // Some rows lie so far back that they are late.
                (12 + pace * at as i64 - if back > 24 { back * 2 } else { back % 8 }).max(0)
            }),
            0..6,
        )
    };
    // One side may stand still while the other goes on.
    let feeds =
        (2..7_usize, prop::sample::select(vec![(9, 4), (2, 11), (8, 8)])).prop_flat_map(move |(count, pace)| {
            (0..count).map(|at| [rows(pace.0, at), rows(pace.1, at)]).collect::<Vec<_>>()
        });
    let restarts = prop::collection::vec(0..7_usize, 0..2);
    let policies = prop::sample::select(vec![WatermarkPolicy::Min, WatermarkPolicy::Max]);
    let differ = std::cell::Cell::new((0, 0));
    random_cases(12)
        .run(&(feeds, restarts, policies), |(feeds, restarts, policy)| {
            let sinks = ["l", "r", "both", "under", "changed", "l_changed", "r_whole"];
            let together = runtime.block_on(run(&sinks, policy, &feeds, &restarts, ""));
            for name in sinks {
                let alone = runtime.block_on(run(&[name], policy, &feeds, &restarts, ""));
                prop_assert_eq!(&together[name], &alone[name], "{} by {}", name, policy);
            }
            let own: Vec<_> = ["l", "r"].iter().flat_map(|it| together[*it].clone()).collect();
            let (cases, others) = differ.get();
            let mut own = own;
            own.sort();
            differ.set((cases + 1, others + usize::from(own != together["both"])));
            Ok(())
        })
        .unwrap();
    let (cases, others) = differ.get();
    println!("{cases} cases, in {others} the sink of both shows other windows than those of one");
    assert!(others > 0, "the cases must tell groups apart");
}

#[tokio::test]
async fn a_crash_at_any_step_keeps_each_groups_watermark() {
    // Nothing is late for its own group, and all that is early in lefts would be late by the watermark of rights.
    let feeds: Feeds = (0..6_i64).map(|at| [vec![7 * at + 1, 7 * at + 4], vec![19 * at + 3]]).collect();
    let sinks = ["l", "r", "both", "changed", "r_whole"];
    for policy in [WatermarkPolicy::Min, WatermarkPolicy::Max] {
        let undisturbed = run(&sinks, policy, &feeds, &[], "").await;
        assert!(undisturbed["l"].len() > 2 && undisturbed["r"].len() > 4, "{undisturbed:?}");
        let points =
            ["plan", "run", "prepare", "record.write", "record.dirsync", "commit.before", "commit.after", "seal"];
        for fault in points.map(|it| format!("{it}=crash")) {
            let disturbed = run(&sinks, policy, &feeds, &[], &fault).await;
            // What two nodes have reached is forgotten, so sinks of both may close windows later, but none twice.
            for name in ["l", "r", "r_whole"] {
                assert_eq!(disturbed[name], undisturbed[name], "{fault}, {policy}, {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_restart_keeps_the_value_of_each_group() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let start = async |sinks: &[&str]| rig.start(query(folder.path(), sinks, WatermarkPolicy::Min)).await.unwrap();
    let mut running = start(&["l"]).await;
    add(&rig, "lefts", &[1, 20]);
    until_idle(&mut running).await.unwrap();
    assert_eq!(groups(&running), Vec::new());
    drop(running);
    // Its log knows no groups: each begins with the query's value.
    let mut running = start(&["l", "r_rows", "l_and_rows"]).await;
    assert_eq!(groups(&running), seconds(&[("lefts", 15), ("rights", 15), ("lefts+rights", 15)]));
    add(&rig, "lefts", &[1, 70]);
    add(&rig, "rights", &[1, 30]);
    until_idle(&mut running).await.unwrap();
    let reached = seconds(&[("lefts", 65), ("rights", 25), ("lefts+rights", 25)]);
    assert_eq!(groups(&running), reached);
    drop(running);
    let running = start(&["l", "r_rows", "l_and_rows"]).await;
    assert_eq!(groups(&running), reached);
}

#[tokio::test]
async fn a_changed_query_takes_no_sink_back() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let start = async |sinks: &[&str]| rig.start(query(folder.path(), sinks, WatermarkPolicy::Min)).await.unwrap();
    let mut running = start(&["l", "r_rows"]).await;
    add(&rig, "lefts", &[1, 30]);
    add(&rig, "rights", &[10]);
    until_idle(&mut running).await.unwrap();
    assert_eq!((groups(&running), running.watermark_ms()), (seconds(&[("lefts", 25), ("rights", 5)]), Some(5_000)));
    drop(running);
    // Rows of rights come to the sink of lefts too, which has closed all up to 25 s.
    let mut changed = query(folder.path(), &["r_rows"], WatermarkPolicy::Min);
    changed.sinks.push(SinkPart { name: "l".into(), ..part("l_and_rows") });
    let mut running = rig.start(changed).await.unwrap();
    assert_eq!(groups(&running), seconds(&[("rights", 5), ("lefts+rights", 25)]));
    add(&rig, "lefts", &[2]);
    until_idle(&mut running).await.unwrap();
    drop(running);
    // A sink that is left alone goes on where it was, not where the slowest was.
    let mut running = start(&["l"]).await;
    assert_eq!((groups(&running), running.watermark_ms()), (Vec::new(), Some(25_000)));
    add(&rig, "lefts", &[3, 50]);
    until_idle(&mut running).await.unwrap();
    assert_eq!(running.watermark_ms(), Some(45_000));
    assert_eq!(rig.sink_rows("l"), [row("lefts", 0, 1), row("lefts", 30, 1)], "no window comes twice");
}

#[tokio::test]
async fn state_that_two_sinks_shared_is_given_to_both_when_their_groups_part() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let shared = || {
        let mut shared = query(folder.path(), &["l"], WatermarkPolicy::Min);
        shared.sinks.push(SinkPart { name: "both".into(), ..part("l") });
        shared
    };
    let parted = || query(folder.path(), &["l", "both"], WatermarkPolicy::Min);
    let mut running = rig.start(shared()).await.unwrap();
    add(&rig, "lefts", &[1, 2]);
    until_idle(&mut running).await.unwrap();
    drop(running);
    for (lefts, rights) in [(&[3, 22][..], &[][..]), (&[30], &[]), (&[24], &[1, 16])] {
        // Each start reads deltas of both queries.
        let mut running = rig.start(parted()).await.unwrap();
        add(&rig, "lefts", lefts);
        add(&rig, "rights", rights);
        until_idle(&mut running).await.unwrap();
    }
    assert_eq!(rig.sink_rows("l"), [row("lefts", 0, 3)]);
    assert_eq!(rig.sink_rows("both"), [row("lefts", 0, 3), row("rights", 0, 1)], "by the slower of both");
    let mut running = rig.start(parted()).await.unwrap();
    add(&rig, "lefts", &[40]);
    add(&rig, "rights", &[25]);
    until_idle(&mut running).await.unwrap();
    assert_eq!(rig.sink_rows("l"), [row("lefts", 0, 3), row("lefts", 20, 2)]);
    let both = [row("lefts", 0, 3), row("rights", 0, 1), row("rights", 10, 1)];
    assert_eq!(rig.sink_rows("both"), both, "with the rows from before, each once");
}

#[tokio::test]
async fn going_back_takes_each_group_back() {
    for mode in [SinkMode::Keep, SinkMode::Replay] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::new();
        let query = || query(folder.path(), &["l", "r", "both"], WatermarkPolicy::Min);
        let mut running = rig.start(query()).await.unwrap();
        let mut after = Vec::new();
        for at in 0..4 {
            add(&rig, "lefts", &[12 * at + 1]);
            add(&rig, "rights", &[30 * at + 2, 30 * at + 15]);
            until_idle(&mut running).await.unwrap();
            after.push((groups(&running), running.watermark_ms()));
        }
        drop(running);
        let before: Shown = ["l", "r", "both"].map(|it| (it.to_owned(), rig.sink_rows(it))).into();
        assert!(before["l"].len() < before["r"].len(), "{before:?}");
        rig.build(query()).await.unwrap().rewind(1, mode).await.unwrap();
        let mut running = rig.start(query()).await.unwrap();
        until_idle(&mut running).await.unwrap();
        let single = |it: &(Vec<(String, i64)>, Option<i64>)| it.0[..2].to_vec();
        assert_eq!(single(&(groups(&running), None)), single(&after[3]), "{mode}");
        add(&rig, "lefts", &[60, 61]);
        add(&rig, "rights", &[120, 121]);
        until_idle(&mut running).await.unwrap();
        for name in ["l", "r"] {
            let rows = rig.sink_rows(name);
            let mut once = rows.clone();
            once.dedup();
            assert_eq!(rows, once, "{mode}: {name} shows a window twice");
            assert!(before[name].iter().all(|it| rows.contains(it)), "{mode}: {name} {rows:?}");
        }
    }
}
