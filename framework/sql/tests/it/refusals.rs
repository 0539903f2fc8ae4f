//! What can't run, with the words that must be in the text.

use tidegate_api::OutputMode::{self, Append, Complete, Update};
use tidegate_sql::{Planner, TableKind};

use crate::support::Fixture;

fn fixture() -> Fixture {
    let window = |from: &str| format!("SELECT key, window(ts, '10 seconds') AS win FROM {from}");
    Fixture::new()
        .stream("input", "value INT, k STRING, at TIMESTAMP")
        .timed("clicks", "ts TIMESTAMP, page STRING, key INT", "ts", "10 minutes")
        .timed("views", "ts TIMESTAMP, page STRING, key INT", "ts", "10 minutes")
        .fixed("names", "value INT, name STRING")
        .view("cw", &window("clicks"))
        .view("vw", &window("views"))
        .view("five", "SELECT window AS w5, count(*) AS n FROM clicks GROUP BY window(ts, '5 seconds')")
}

#[track_caller]
fn refused(sql: &str, mode: OutputMode, words: &[&str]) {
    let text = fixture().refusals(sql, mode);
    assert!(!text.is_empty(), "{sql} is not refused in {mode} mode");
    for word in words {
        assert!(text.contains(word), "{sql}: '{word}' is not in: {text}");
    }
}

#[track_caller]
fn not_planned(sql: &str, words: &[&str]) {
    let text = fixture().error(sql);
    for word in words {
        assert!(text.contains(word), "{sql}: '{word}' is not in: {text}");
    }
}

#[track_caller]
fn allowed(sql: &str, modes: &[OutputMode]) {
    for mode in [Append, Update, Complete] {
        let text = fixture().refusals(sql, mode);
        assert_eq!(text.is_empty(), modes.contains(&mode), "{sql} in {mode} mode: {text}");
    }
}

#[test]
fn output_modes_of_aggregations() {
    allowed(
        "SELECT page, count(*) AS n FROM clicks GROUP BY window(ts, '5 minutes'), page",
        &[Append, Update, Complete],
    );
    allowed(
        "SELECT page, count(*) AS n FROM clicks GROUP BY window(ts, '5 minutes', '1 minute'), page",
        &[Append, Update, Complete],
    );
    allowed("SELECT ts, count(*) AS n FROM clicks GROUP BY ts", &[Append, Update, Complete]);
    allowed("SELECT DISTINCT ts FROM clicks", &[Append, Update, Complete]);
    allowed("SELECT k, count(*) AS n FROM input GROUP BY k", &[Update, Complete]);
    allowed("SELECT count(*) AS n FROM input", &[Update, Complete]);
    allowed("SELECT DISTINCT k FROM input", &[Update, Complete]);
    allowed("SELECT k, value, sum(value) AS s FROM input GROUP BY ROLLUP (k, value)", &[Update, Complete]);
    allowed("SELECT window.start AS s, count(*) AS n FROM input GROUP BY window(at, '5 minutes')", &[Update, Complete]);
    refused("SELECT k, count(*) AS n FROM input GROUP BY k", Append, &["append", "watermark", "GROUP BY input.k"]);
    // A start is not the time that the watermark is compared with.
    refused(
        "SELECT window.start AS s, count(*) AS n FROM (SELECT window(ts, '1 minute') AS window FROM clicks) t GROUP BY window.start",
        Append,
        &["watermark"],
    );
}

#[test]
fn output_modes_of_projections() {
    allowed("SELECT value + 1 AS value FROM input WHERE k = 'a'", &[Append, Update]);
    allowed("SELECT i.value, n.name FROM input i JOIN names n ON i.value = n.value", &[Append, Update]);
    allowed("SELECT value FROM input UNION ALL SELECT key FROM clicks", &[Append, Update]);
    refused("SELECT value FROM input", Complete, &["complete", "no aggregation"]);
    refused(
        "SELECT k, count(*) AS n FROM input GROUP BY k UNION ALL SELECT k, value FROM input",
        Complete,
        &["no aggregation"],
    );
}

#[test]
fn no_stream() {
    for mode in [Append, Update, Complete] {
        refused("SELECT value FROM names", mode, &["streaming source"]);
    }
}

#[test]
fn static_parts_may_do_anything() {
    allowed(
        "SELECT i.value, n.c FROM input i JOIN (SELECT value, count(DISTINCT name) AS c FROM names GROUP BY value
         ORDER BY value LIMIT 3) n ON i.value = n.value",
        &[Append, Update],
    );
}

#[test]
fn sort_limit_offset() {
    refused("SELECT value FROM input ORDER BY value", Append, &["sort"]);
    refused("SELECT k, count(*) AS n FROM input GROUP BY k ORDER BY n", Update, &["sort"]);
    refused("SELECT value FROM (SELECT value FROM input ORDER BY value) t", Append, &["sort"]);
    allowed("SELECT k, count(*) AS n FROM input GROUP BY k ORDER BY n DESC", &[Complete]);
    refused("SELECT value FROM input LIMIT 4", Update, &["limit", "update"]);
    refused("SELECT value FROM input LIMIT 4 OFFSET 2", Append, &["OFFSET"]);
}

#[test]
fn aggregates_that_need_all_rows() {
    refused("SELECT count(DISTINCT value) AS n FROM input", Update, &["distinct", "approx_distinct"]);
    allowed("SELECT k, count(*) AS n FROM input GROUP BY CUBE (k, value)", &[Update, Complete]);
    allowed("SELECT k, count(*) AS n FROM input GROUP BY GROUPING SETS ((k), ())", &[Update, Complete]);
    refused(
        "SELECT value, row_number() OVER (PARTITION BY k ORDER BY value) AS r FROM input",
        Append,
        &["row window functions", "OVER"],
    );
}

#[test]
fn chained_operators() {
    refused(
        "SELECT window.start AS s, sum(n) AS n FROM five GROUP BY window(w5, '10 seconds')",
        Update,
        &["more than one aggregation", "append"],
    );
    refused("SELECT sum(n) AS n FROM five", Complete, &["more than one aggregation"]);
}

#[test]
fn event_times() {
    refused(
        "SELECT ts, count(*) AS n FROM clicks GROUP BY window(ts, '5 minutes'), ts",
        Append,
        &["more than one event-time column", "window", "ts"],
    );
    let twice = fixture().timed_view("again", "SELECT ts, page FROM clicks", "ts", "1 minute");
    let text = twice.refusals("SELECT page FROM again", Append);
    assert!(text.contains("watermark redefined") && text.contains("again") && text.contains("clicks"), "{text}");
}

#[test]
fn joins() {
    let left = "SELECT a.value AS x, b.value AS y FROM input a LEFT JOIN input b ON a.value = b.value";
    refused(left, Append, &["Left join", "watermark"]);
    let static_left = "SELECT a.value AS x, b.value AS y FROM names a LEFT JOIN input b ON a.value = b.value";
    refused(static_left, Append, &["join", "static"]);
    refused("SELECT a.value AS x FROM input a FULL JOIN names b ON a.value = b.value", Append, &["join", "static"]);
    allowed("SELECT a.value AS x FROM input a LEFT JOIN names b ON a.value = b.value", &[Append, Update]);
    allowed("SELECT b.value AS x FROM names a RIGHT JOIN input b ON a.value = b.value", &[Append, Update]);
    allowed("SELECT a.key AS x FROM clicks a JOIN views b ON a.key = b.key", &[Append, Update]);
    allowed("SELECT a.key AS x FROM clicks a, views b WHERE a.key = b.key", &[Append, Update]);
    allowed("SELECT a.key AS x FROM clicks a JOIN views b ON a.key <=> b.key", &[Append, Update]);
    refused("SELECT a.key AS x FROM clicks a CROSS JOIN views b", Append, &["equality"]);
    refused("SELECT a.key AS x FROM clicks a JOIN views b ON a.key > b.key", Append, &["equality"]);
    refused("SELECT a.key AS x FROM clicks a, views b WHERE a.key = 1", Append, &["equality"]);
    for kind in ["LEFT", "RIGHT", "FULL"] {
        let on = |more: &str| format!("SELECT 1 AS x FROM cw a {kind} JOIN vw b ON a.key = b.key {more}");
        allowed(&on("AND a.win = b.win"), &[Append]);
        refused(&on(""), Append, &["watermark", "range"]);
        refused(&on("AND a.win = b.win"), Update, &["outer join", "update"]);
        refused(&on("AND a.win = b.win"), Complete, &["outer join", "complete"]);
    }
    allowed("SELECT a.key AS x FROM cw a LEFT SEMI JOIN vw b ON a.key = b.key AND a.win = b.win", &[Append, Update]);
    refused("SELECT a.key AS x FROM cw a LEFT SEMI JOIN vw b ON a.key = b.key", Append, &["LeftSemi", "watermark"]);
    // The range must bound the side that is kept, by the watermark of the other.
    let ranged = |kind: &str, range: &str| {
        format!("SELECT 1 AS x FROM clicks a {kind} JOIN views b ON a.key = b.key AND {range}")
    };
    allowed(&ranged("LEFT", "a.ts > b.ts"), &[Append]);
    refused(&ranged("LEFT", "a.ts < b.ts"), Append, &["nullable side"]);
    allowed(&ranged("RIGHT", "a.ts < b.ts"), &[Append]);
    refused(&ranged("RIGHT", "a.ts > b.ts"), Append, &["nullable side"]);
    allowed(&ranged("FULL", "a.ts < b.ts"), &[Append]);
    let unmarked = "SELECT 1 AS x FROM clicks a LEFT JOIN input b ON a.key = b.value AND a.ts > b.at";
    refused(unmarked, Append, &["watermark"]);
    refused(
        "SELECT 1 AS x FROM five f JOIN vw b ON f.n = b.key AND f.w5 = b.win",
        Update,
        &["above an aggregation", "append"],
    );
    refused(
        "SELECT a.key AS x FROM cw a LEFT JOIN vw b ON a.key = b.key AND a.win = b.win",
        Update,
        &["outer join", "update"],
    );
    refused(
        "SELECT a.key AS x FROM cw a LEFT ANTI JOIN vw b ON a.key = b.key",
        Append,
        &["not possible between two streams"],
    );
}

#[test]
fn unions_and_set_operations() {
    refused("SELECT value FROM input UNION ALL SELECT value FROM names", Append, &["union", "static"]);
    not_planned("SELECT value FROM input INTERSECT SELECT value FROM names", &["INTERSECT", "stream"]);
    not_planned("SELECT value FROM names EXCEPT SELECT value FROM input", &["EXCEPT", "stream"]);
    not_planned("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n FROM r) SELECT * FROM r", &["RECURSIVE"]);
}

#[test]
fn subqueries_over_streams() {
    refused("SELECT value FROM input WHERE value IN (SELECT key FROM clicks)", Append, &["subquery", "static"]);
    allowed("SELECT value FROM input WHERE value IN (SELECT value FROM names)", &[Append, Update]);
}

#[test]
fn deduplications() {
    allowed("SELECT DISTINCT ON (key) key, page FROM clicks", &[Append, Update]);
    allowed(
        "SELECT key, count(*) AS n FROM (SELECT DISTINCT ON (page) * FROM clicks) GROUP BY key",
        &[Update, Complete],
    );
    refused("SELECT DISTINCT ON (value) value FROM input ORDER BY value", Append, &["sort", "DISTINCT ON"]);
    refused("SELECT DISTINCT ON (value) value FROM input", Complete, &["no aggregation"]);
    refused("SELECT DISTINCT ON (n) n, w5 FROM five", Update, &["deduplication by", "append mode only"]);
    let view = |name: &str, within| fixture().planner.deduplicate_view(name, &["KEY".to_owned()], within);
    assert!(view("cw", true).is_ok());
    let missing = fixture().planner.deduplicate_view("cw", &["nope".to_owned()], false).unwrap_err().to_string();
    assert!(missing.contains("no column nope") && missing.contains("key, win"), "{missing}");
    let mut fixture = fixture().view("fixed", "SELECT * FROM names").view("plain", "SELECT * FROM input");
    let fixed = fixture.planner.deduplicate_view("fixed", &["value".to_owned()], true).unwrap_err().to_string();
    assert!(fixed.contains("fixed: deduplicate") && fixed.contains("streaming source"), "{fixed}");
    fixture.planner.deduplicate_view("fixed", &["value".to_owned()], false).unwrap();
    fixture.planner.deduplicate_view("plain", &["value".to_owned()], true).unwrap();
    let text = fixture.refusals("SELECT * FROM plain", Append);
    assert!(text.contains("within the watermark") && text.contains("no watermark"), "{text}");
}

#[test]
fn sessions_limits_and_what_comes_later() {
    allowed("SELECT value FROM input LIMIT 4", &[Append]);
    let sessions =
        |keys: &str| format!("SELECT count(*) AS n FROM clicks GROUP BY session_window(ts, '10 seconds'){keys}");
    allowed(&sessions(", page"), &[Append, Complete]);
    refused(&sessions(", page"), Update, &["session window", "update mode"]);
    refused(&sessions(""), Append, &["session window", "without another key"]);
    not_planned(
        "SELECT page FROM clicks GROUP BY session_window(ts), page",
        &["session_window(time, gap)", "1 arguments"],
    );
    not_planned(
        "SELECT page FROM clicks GROUP BY session_window(ts, 'soon'), page",
        &["gap 'soon'", "not an interval"],
    );
    not_planned("SELECT page FROM clicks GROUP BY session_window(ts, 5), page", &["session_window", "found Int64"]);
    not_planned("SELECT value FROM input TABLESAMPLE (10 PERCENT)", &["sampling", "line 1"]);
    not_planned("SELECT monotonically_increasing_id() AS id FROM input", &["monotonically_increasing_id"]);
    for call in ["rand()", "random()", "randn(3)", "uuid()", "shuffle(split(k, ' '))"] {
        let name = call.split('(').next().unwrap();
        not_planned(&format!("SELECT {call} AS x FROM input"), &[name, "must give the same rows"]);
    }
    not_planned("SELECT posexplode(split(k, ' ')) FROM input", &["posexplode", "not supported yet"]);
}

#[test]
fn windows() {
    not_planned(
        "SELECT window(at, '10 seconds') AS a, window(at, '15 seconds') AS b FROM input",
        &["two window expressions"],
    );
    not_planned(
        "SELECT count(*) AS n FROM input GROUP BY window(at, '1 minute', '2 minutes')",
        &["slide '2 minutes'", "size '1 minute'"],
    );
    not_planned(
        "SELECT count(*) AS n FROM input GROUP BY window(at, '5 minutes', '1 minute', '-1 minute')",
        &["offset '-1 minute'", "slide '1 minute'"],
    );
    not_planned("SELECT count(*) AS n FROM input GROUP BY window(at, '1 month')", &["size '1 month'", "months"]);
    not_planned(
        "SELECT count(*) AS n FROM input GROUP BY window(at, '-5 minutes')",
        &["size '-5 minutes'", "greater than zero"],
    );
    not_planned("SELECT count(*) AS n FROM input GROUP BY window(at, k)", &["constant", "found k"]);
    not_planned("SELECT count(*) AS n FROM input GROUP BY window(at, 'five minutes')", &["size 'five minutes'"]);
    not_planned("SELECT count(*) AS n FROM input GROUP BY window(value, '5 minutes')", &["TIMESTAMP", "found Int32"]);
    not_planned("SELECT count(*) AS n FROM input GROUP BY window(at)", &["window(time, size"]);
    not_planned(
        "SELECT a.k FROM input a JOIN clicks b ON window(a.at, '1 minute') = window(b.ts, '1 minute')",
        &["join condition", "view"],
    );
    not_planned(
        "SELECT window(window_time(win), '1 hour') AS w FROM (SELECT window(at, '1 minute') AS win, 1 AS window FROM input) t",
        &["column named window"],
    );
}

#[test]
fn watermarks() {
    let source = |column: &str, delay: &str| {
        let mut planner = Planner::new(std::sync::Arc::default());
        let schema = tidegate_formats::ddl::parse_schema("value INT, ts TIMESTAMP").unwrap();
        let added = planner.add_source("input", std::sync::Arc::new(schema), TableKind::Stream, Some((column, delay)));
        added.map_err(|error| error.to_string())
    };
    assert_eq!(source("TS", "0 seconds"), Ok(()));
    for (column, delay, words) in [
        ("ts", "-10 seconds", "negative"),
        ("ts", "1 month -40 days", "negative"),
        ("ts", "soon", "'soon' is not an interval"),
        ("bad_column", "1 minute", "bad_column: there is no such column"),
        ("value", "1 minute", "expected a TIMESTAMP, found INT"),
    ] {
        let error = source(column, delay).unwrap_err();
        assert!(error.contains(words) && error.starts_with("input: watermark on"), "{error}");
    }
}

/// A refusal of the text says where.
#[test]
fn places() {
    not_planned("SELECT valeu\nFROM input", &["valeu", "line 1, column 8"]);
    not_planned("SELECT value\nFROM inptu", &["inptu", "line 2, column 6", "known are: input, clicks"]);
    not_planned("SELECT value FROM", &["expected", "found: EOF"]);
    not_planned("DELETE FROM input", &["expected a SELECT, found DELETE"]);
    not_planned("SELECT 1; SELECT 2", &["one SELECT, found 2"]);
    not_planned("SELECT nothing_like_it(value) FROM input", &["nothing_like_it"]);
}

/// Nanoseconds end in 2262, and two units of time in one state can't be compared.
#[test]
fn other_units_of_time() {
    refused(
        "SELECT to_timestamp_nanos(value) AS t FROM input",
        Append,
        &["column t", "microseconds", "CAST(t AS TIMESTAMP)"],
    );
}

#[test]
fn names_are_taken_once() {
    let mut fixture = fixture();
    let error = fixture.planner.add_view("INPUT", "SELECT 1 AS x", None).unwrap_err().to_string();
    assert!(error.contains("INPUT") && error.contains("taken by input"), "{error}");
}
