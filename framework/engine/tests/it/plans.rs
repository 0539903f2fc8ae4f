//! What plans hold and what is refused.

use tidegate_api::OutputMode;

use crate::harness::{Rig, late_sink, sink, source, spec, until_idle};

const SCHEMA: &str = "ts TIMESTAMP, page STRING, user_id BIGINT";
const COUNTS: &str =
    "SELECT window.start AS start, page, count(*) AS n FROM clicks GROUP BY window(ts, '5 minutes'), page";

#[tokio::test]
async fn pieces_hold_no_exchange() {
    let folder = tempfile::tempdir().unwrap();
    let clicks = source("clicks", SCHEMA, Some(("ts", "10 minutes")));
    let more = source("more", SCHEMA, Some(("ts", "10 minutes")));
    let union = "SELECT page, count(*) AS n FROM (SELECT * FROM clicks UNION ALL SELECT * FROM more) GROUP BY page";
    let sinks = vec![sink("a", COUNTS, OutputMode::Append), sink("b", union, OutputMode::Complete)];
    let plan = Rig::new().plan(spec(folder.path(), vec![clicks, more], &[], sinks)).await.unwrap();
    let text = plan.explain();
    assert!(!text.contains("RepartitionExec") && !text.contains("CoalescePartitionsExec"), "{text}");
    assert!(text.contains("UnionExec") && text.contains("WatermarkExec"), "{text}");
}

#[tokio::test]
async fn append_and_update_share_a_stage_and_complete_has_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let clicks = source("clicks", SCHEMA, Some(("ts", "10 minutes")));
    let modes = [("a", OutputMode::Append), ("u", OutputMode::Update), ("c", OutputMode::Complete)];
    let sinks = modes.iter().map(|(name, mode)| sink(name, COUNTS, *mode)).collect();
    let plan = Rig::new().plan(spec(folder.path(), vec![clicks], &[], sinks)).await.unwrap();
    let text = plan.explain();
    let shared = "stage 0: state 'aggregate-0', emits groups that the watermark closes (append) and groups that changed (update)";
    assert!(text.contains(shared), "{text}");
    assert!(text.contains("stage 1: state 'aggregate-0-complete', emits all groups (complete)"), "{text}");
    assert!(!text.contains("stage 2"), "{text}");
}

#[tokio::test]
async fn a_source_is_asked_for_used_columns_only() {
    let folder = tempfile::tempdir().unwrap();
    let clicks = source("clicks", SCHEMA, Some(("ts", "10 minutes")));
    let sinks = vec![sink("a", COUNTS, OutputMode::Append)];
    let plan = Rig::new().plan(spec(folder.path(), vec![clicks], &[], sinks)).await.unwrap();
    assert!(plan.explain().contains("source clicks (memory, stream): reads ts, page\n"), "{}", plan.explain());
}

#[tokio::test]
async fn problems_name_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let clicks = source("clicks", SCHEMA, None);
    let sinks = vec![sink("a", COUNTS, OutputMode::Append), sink("b", "SELECT nope FROM clicks", OutputMode::Append)];
    let problems = Rig::new().plan(spec(folder.path(), vec![clicks], &[], sinks)).await.err().unwrap();
    let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert!(text.iter().any(|it| it.starts_with("sinks.a: ") && it.contains("watermark")), "{text:?}");
    assert!(text.iter().any(|it| it.starts_with("sinks.b: ") && it.contains("nope")), "{text:?}");
}

#[tokio::test]
async fn sliding_windows_are_merged_from_panes_where_the_functions_merge() {
    let folder = tempfile::tempdir().unwrap();
    let clicks = source("clicks", SCHEMA, Some(("ts", "10 minutes")));
    let query = |what: &str, every: &str| {
        format!("SELECT window.start AS s, {what} AS n FROM clicks GROUP BY window(ts, '10 minutes', '{every}'), page")
    };
    let explain = async |sql: String| {
        let sinks = vec![sink("a", &sql, OutputMode::Append)];
        Rig::new().plan(spec(folder.path(), vec![clicks.clone()], &[], sinks)).await.unwrap().explain()
    };
    let text = explain(query("count(*)", "10 seconds")).await;
    assert!(text.contains("windows of 600s every 10s, merged from panes of 10s"), "{text}");
    assert!(!text.contains("UnnestExec"), "{text}");
    let text = explain(query("sum(user_id)", "4 minutes")).await;
    assert!(text.contains("windows of 600s every 240s, merged from panes of 120s"), "{text}");
    for (what, every) in [("first_value(user_id)", "10 seconds"), ("count(*)", "7 seconds")] {
        let text = explain(query(what, every)).await;
        assert!(text.contains("UnnestExec") && !text.contains("panes"), "{text}");
    }
}

#[tokio::test]
async fn documents_are_decoded_once_and_as_far_as_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let raw = source("raw", "value STRING", None);
    let views = [("parsed", "SELECT from_json(value, 'id INT, name STRING, n INT, rest ARRAY<STRING>') AS j FROM raw")];
    let counts = "SELECT j.name AS name, sum(j.n) AS n FROM parsed WHERE j.id > 1 GROUP BY j.name";
    let of_two = || spec(folder.path(), vec![raw.clone()], &views, vec![sink("a", counts, OutputMode::Complete)]);
    let rig = Rig::new();
    let text = rig.plan(of_two()).await.unwrap().explain();
    assert_eq!(text.matches("from_json").count(), 1, "{text}");
    assert!(text.contains("from_json<id, name, n>("), "{text}");
    assert!(text.contains("state 'aggregate-0', emits all groups"), "{text}");

    let mut query = rig.start(of_two()).await.unwrap();
    let documents = [
        r#"{"id": 2, "name": "a", "n": 1, "rest": ["x"]}"#,
        r#"{"id": 2, "name": "a", "n": 2, "rest": 7}"#,
        r#"{"id": 2, "name": "a", "n": 4, "rest": ["x]}"#,
        r#"{"id": 1, "name": "a", "n": 8}"#,
    ];
    let line = |it: &&str| format!(r#"{{"value": "{}"}}"#, it.replace('"', r#"\""#));
    rig.add(&raw, &documents.iter().map(line).collect::<Vec<_>>());
    until_idle(&mut query).await.unwrap();
    assert_eq!(rig.sink_rows("a"), [r#"{"name":"a","n":3}"#]);
}

#[tokio::test]
async fn late_rows_have_all_columns_of_what_an_operator_reads() {
    let queries: [(&str, &[&str]); 8] = [
        (COUNTS, &["'aggregate-0': ts, page, user_id, window"]),
        (
            "SELECT upper(page) AS p, sum(user_id + 1) AS s, avg(user_id + 1) AS a FROM clicks WHERE user_id > 1 GROUP BY \
             window(ts, '5 minutes', '1 minute'), upper(page)",
            &["'aggregate-0': ts, page, user_id, window"],
        ),
        (
            "SELECT page, count(*) AS n FROM clicks GROUP BY window(ts, '5 minutes'), page HAVING page <> 'x'",
            &["'aggregate-0': ts, page, user_id, window"],
        ),
        (
            "SELECT page, count(*) AS n FROM clicks GROUP BY session_window(ts, '5 minutes'), page",
            &["'session-0': ts, page, user_id, session_window"],
        ),
        ("SELECT DISTINCT page, ts FROM clicks", &["'aggregate-0': page, ts"]),
        ("SELECT DISTINCT ON (ts) page FROM clicks", &["'deduplicate-0': ts, page, user_id"]),
        (
            "SELECT c.page FROM clicks c LEFT JOIN more m ON c.page = m.page AND c.ts = m.ts AND c.user_id > m.user_id",
            &["'join-0-left': ts, page, user_id", "'join-0-right': ts, page, user_id"],
        ),
        // What stands above another operator has the columns that are used.
        (
            "SELECT count(*) AS n FROM (SELECT c.ts, c.page FROM clicks c JOIN more m ON c.ts = m.ts) t GROUP BY \
             window(ts, '5 minutes')",
            &["'join-0-left': ts, page, user_id", "'join-0-right': ts, page, user_id", "'aggregate-0': window"],
        ),
    ];
    for (sql, expected) in queries {
        let folder = tempfile::tempdir().unwrap();
        let inputs = ["clicks", "more"].map(|it| source(it, SCHEMA, Some(("ts", "10 minutes"))));
        let sinks = vec![sink("out", sql, OutputMode::Append), late_sink("late")];
        let plan = Rig::new().plan(spec(folder.path(), inputs.to_vec(), &[], sinks)).await.unwrap();
        let text = plan.explain();
        let mut found: Vec<_> = text.lines().filter_map(|it| it.trim().strip_prefix("late rows of ")).collect();
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{sql}\n{text}");
    }
}
