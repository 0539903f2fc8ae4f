//! Functions end to end: parsed, planned, optimised and run over rows.

use crate::support::{Fixture, assert_lines};

/// The one column `x` of one row of an expression over `t`.
#[track_caller]
fn value(ddl: &str, expression: &str, row: &str) -> String {
    let fixture = Fixture::new().stream("t", ddl);
    let shown = fixture.run(&format!("SELECT {expression} AS x FROM t"), &[("t", &[row])]);
    shown.lines().nth(3).unwrap().trim_matches(['|', ' ']).to_owned()
}

#[test]
fn tumbling_windows() {
    let fixture = Fixture::new().stream("t", "ts TIMESTAMP, v INT");
    let sql = "SELECT window.start AS start, window.end AS end, count(*) AS n, sum(v) AS s, avg(v) AS a
               FROM t GROUP BY window(ts, '5 minutes') ORDER BY start";
    let rows: &[&str] = &[
        r#"{"ts": "1969-12-31T23:59:59.999999Z", "v": 1}"#,
        r#"{"ts": "1970-01-01T00:00:00Z", "v": 2}"#,
        r#"{"ts": "1970-01-01T00:04:59.999999Z", "v": null}"#,
        r#"{"ts": null, "v": 4}"#,
        r#"{"ts": "2026-03-01T10:07:00Z", "v": 8}"#,
    ];
    assert_lines(
        &fixture.run(sql, &[("t", rows)]),
        "
        +----------------------+----------------------+---+---+-----+
        | start                | end                  | n | s | a   |
        +----------------------+----------------------+---+---+-----+
        | 1969-12-31T23:55:00Z | 1970-01-01T00:00:00Z | 1 | 1 | 1.0 |
        | 1970-01-01T00:00:00Z | 1970-01-01T00:05:00Z | 2 | 2 | 2.0 |
        | 2026-03-01T10:05:00Z | 2026-03-01T10:10:00Z | 1 | 8 | 8.0 |
        +----------------------+----------------------+---+---+-----+
        ",
    );
}

#[test]
fn sliding_windows() {
    let fixture = Fixture::new().stream("t", "ts TIMESTAMP, page STRING");
    let sql = "SELECT window.start AS start, page, count(*) AS n FROM t
               GROUP BY window(ts, '10 minutes', '5 minutes'), page ORDER BY start";
    let rows: &[&str] = &[
        r#"{"ts": "2026-03-01T10:02:00Z", "page": "a"}"#,
        r#"{"ts": "2026-03-01T10:07:00Z", "page": "a"}"#,
        r#"{"ts": "2026-03-01T10:10:00Z", "page": "a"}"#,
        r#"{"ts": null, "page": "a"}"#,
    ];
    assert_lines(
        &fixture.run(sql, &[("t", rows)]),
        "
        +----------------------+------+---+
        | start                | page | n |
        +----------------------+------+---+
        | 2026-03-01T09:55:00Z | a    | 1 |
        | 2026-03-01T10:00:00Z | a    | 2 |
        | 2026-03-01T10:05:00Z | a    | 2 |
        | 2026-03-01T10:10:00Z | a    | 1 |
        +----------------------+------+---+
        ",
    );
}

#[test]
fn windows_over_joins_keep_their_names() {
    let fixture = Fixture::new().stream("t", "ts TIMESTAMP, id INT").fixed("u", "id INT, name STRING");
    let sql = "SELECT window.start AS s, u.name, count(t.id) AS n FROM t LEFT JOIN u ON t.id = u.id
               GROUP BY window(t.ts, '1 minute'), u.name ORDER BY name";
    let rows: &[(&str, &[&str])] = &[
        ("t", &[r#"{"ts": "2026-03-01T10:00:01Z", "id": 1}"#, r#"{"ts": "2026-03-01T10:00:02Z", "id": 2}"#]),
        ("u", &[r#"{"id": 1, "name": "ann"}"#]),
    ];
    assert_lines(
        &fixture.run(sql, rows),
        "
        +----------------------+------+---+
        | s                    | name | n |
        +----------------------+------+---+
        | 2026-03-01T10:00:00Z |      | 1 |
        | 2026-03-01T10:00:00Z | ann  | 1 |
        +----------------------+------+---+
        ",
    );
}

#[test]
fn json_permissive() {
    let sql = "SELECT j.id, j.name, j.pos.x AS x, j IS NULL AS nothing FROM (
                 SELECT from_json(payload, 'id INT, name STRING, pos STRUCT<x: DOUBLE>') AS j FROM raw) t";
    let rows: &[&str] = &[
        r#"{"payload": "{\"id\": 1, \"name\": \"a\", \"pos\": {\"x\": 2.5}}"}"#,
        r#"{"payload": "{\"id\": \"one\", \"name\": \"b\"}"}"#,
        r#"{"payload": "not json"}"#,
        r#"{"payload": null}"#,
        r#"{"payload": "{\"id\": 3, \"extra\": true}"}"#,
    ];
    assert_lines(
        &Fixture::new().stream("raw", "payload STRING").run(sql, &[("raw", rows)]),
        "
        +----+------+-----+---------+
        | id | name | x   | nothing |
        +----+------+-----+---------+
        | 1  | a    | 2.5 | false   |
        |    | b    |     | false   |
        |    |      |     | false   |
        |    |      |     | true    |
        | 3  |      |     | false   |
        +----+------+-----+---------+
        ",
    );
}

#[test]
fn json_from_bytes_and_strict() {
    // The bytes of {"id":7} in Base64, which is how JSON writes BINARY.
    let bytes = r#"{"value": "eyJpZCI6N30="}"#;
    assert_eq!(value("value BINARY", "from_json(CAST(value AS STRING), 'id INT').id", bytes), "7");
    assert_eq!(value("value BINARY", "from_json(value, 'struct<id: int>').id", bytes), "7");
    assert_eq!(value("v STRING", "from_json(v, 'ARRAY<INT>')", r#"{"v": "[1, 2]"}"#), "[1, 2]");
    let fixture = Fixture::new().stream("t", "v STRING");
    let strict = fixture.batches("SELECT from_json(v, 'id INT', 'FAILFAST') AS x FROM t", &[("t", &[r#"{"v": "{"}"#])]);
    assert!(strict.is_err());
    for (arguments, words) in [
        ("v, 'id INTT'", "schema"),
        ("v, v", "constant"),
        ("v, 'id INT', 'LAX'", "expected PERMISSIVE or FAILFAST"),
        ("1, 'id INT'", "expected STRING or BINARY"),
    ] {
        let error = fixture.error(&format!("SELECT from_json({arguments}) AS x FROM t"));
        assert!(error.contains("from_json") && error.contains(words), "{error}");
    }
}

#[test]
fn json_back() {
    let ddl = "a INT, b STRING, c TIMESTAMP";
    let row = r#"{"a": 1, "b": "x\"y", "c": "2026-03-01T10:00:00Z"}"#;
    assert_eq!(value(ddl, "to_json(struct(a, b))", row), r#"{"a":1,"b":"x\"y"}"#);
    assert_eq!(value(ddl, "to_json(named_struct('k', a, \"v\", b))", row), r#"{"k":1,"v":"x\"y"}"#);
    assert_eq!(value(ddl, "to_json(struct(t.a, a + 1, b AS bee))", row), r#"{"a":1,"col2":2,"bee":"x\"y"}"#);
    let error = Fixture::new().stream("t", ddl).error("SELECT to_json(a) FROM t");
    assert!(error.contains("to_json: expected a STRUCT"), "{error}");
}

#[test]
fn bytes_as_text_never_fail() {
    assert_eq!(value("v BINARY", "CAST(v AS STRING)", r#"{"v": "YWJj"}"#), "abc");
    assert_eq!(value("v BINARY", "CAST(v AS STRING)", r#"{"v": "Yf9i"}"#), "a\u{fffd}b");
    assert_eq!(value("v BINARY", "upper(v::STRING)", r#"{"v": "YWJj"}"#), "ABC");
}

#[test]
fn times() {
    let text = r#"{"v": "2026-03-01 10:00:00"}"#;
    assert_eq!(value("v STRING", "to_timestamp(v)", text), "2026-03-01T10:00:00Z");
    assert_eq!(value("v STRING", "to_timestamp(v, 'yyyy-MM-dd HH:mm:ss')", text), "2026-03-01T10:00:00Z");
    assert_eq!(value("v STRING", "to_timestamp(v, 'dd/MM/yyyy')", r#"{"v": "01/03/2026"}"#), "2026-03-01T00:00:00Z");
    assert_eq!(value("v STRING", "to_timestamp(v, 'dd/MM/yyyy') IS NULL", text), "true");
    assert_eq!(value("v INT", "timestamp_seconds(v)", r#"{"v": -1}"#), "1969-12-31T23:59:59Z");
    assert_eq!(value("v DOUBLE", "timestamp_seconds(v)", r#"{"v": 1.5}"#), "1970-01-01T00:00:01.500Z");
    assert_eq!(value("v DECIMAL(10,3)", "timestamp_seconds(v)", r#"{"v": 1.25}"#), "1970-01-01T00:00:01.250Z");
    assert_eq!(
        value("v TIMESTAMP", "v + INTERVAL 1 DAY 2 HOURS", r#"{"v": "2026-03-01T10:00:00Z"}"#),
        "2026-03-02T12:00:00Z"
    );
    assert_eq!(
        value("v TIMESTAMP", "v - INTERVAL '1 2:3:4' DAY TO SECOND", r#"{"v": "2026-03-02T12:03:04Z"}"#),
        "2026-03-01T10:00:00Z"
    );
    assert_eq!(
        value("v TIMESTAMP", "v + INTERVAL '1-2' YEAR TO MONTH", r#"{"v": "2026-03-01T10:00:00Z"}"#),
        "2027-05-01T10:00:00Z"
    );
    let error = Fixture::new().stream("t", "v STRING").error("SELECT to_timestamp(v, 'yyyy-ww') FROM t");
    assert!(error.contains("to_timestamp") && error.contains("'w'"), "{error}");
}

#[test]
fn comparisons_of_times_stay_in_microseconds() {
    let row = r#"{"v": "2300-01-01T00:00:00Z"}"#;
    for expression in [
        "v > '2299-12-31 23:59:59'",
        "v >= TIMESTAMP '2300-01-01 00:00:00'",
        "v = '2300-01-01T00:00:00Z'",
        "v BETWEEN '2299-01-01' AND '2301-01-01'",
        "v IN ('2300-01-01', '2301-01-01')",
        "'2299-01-01' < v",
        "v > DATE '2299-01-01'",
    ] {
        assert_eq!(value("v TIMESTAMP", expression, row), "true", "{expression}");
    }
}

#[test]
fn types_of_results_are_sparks() {
    let fixture = Fixture::new().stream("t", "i INT, d DECIMAL(10,2), s STRING, ts TIMESTAMP");
    let sql = "SELECT count(*) AS a, sum(i) AS b, avg(i) AS c, min(i) AS d, max(ts) AS e, approx_distinct(s) AS f,
               approx_count_distinct(s) AS g, count(s) AS h FROM t";
    let plan = fixture.planner.plan(sql).unwrap();
    let types: Vec<String> =
        plan.schema().fields().iter().map(|it| tidegate_formats::ddl::type_name(it.data_type())).collect();
    assert_eq!(types, ["BIGINT", "BIGINT", "DOUBLE", "INT", "TIMESTAMP", "BIGINT", "BIGINT", "BIGINT"]);
    let sql = "SELECT CAST(s AS TIMESTAMP) AS a, CAST(i AS STRING) AS b, CAST(s AS DECIMAL) AS c, CAST(s AS LONG) AS d,
               CAST(s AS ARRAY<TIMESTAMP>) AS e, date_trunc('hour', ts) AS f, ts - INTERVAL 1 DAY AS g, CAST(s AS BINARY) AS h
               FROM t";
    let plan = fixture.planner.plan(sql).unwrap();
    let types: Vec<String> =
        plan.schema().fields().iter().map(|it| tidegate_formats::ddl::type_name(it.data_type())).collect();
    assert_eq!(
        types,
        ["TIMESTAMP", "STRING", "DECIMAL(10,0)", "BIGINT", "ARRAY<TIMESTAMP>", "TIMESTAMP", "TIMESTAMP", "BINARY"]
    );
}

#[test]
fn exploded_text() {
    let fixture = Fixture::new()
        .stream("lines", "line STRING")
        .view("words", "SELECT explode(split(line, ' ')) AS word FROM lines");
    let rows: &[&str] = &[r#"{"line": "the cat the"}"#, r#"{"line": ""}"#, r#"{"line": null}"#, r#"{"line": "end  "}"#];
    assert_lines(
        &fixture.run("SELECT word, count(*) AS n FROM words GROUP BY word ORDER BY word", &[("lines", rows)]),
        "
        +------+---+
        | word | n |
        +------+---+
        |      | 3 |
        | cat  | 1 |
        | end  | 1 |
        | the  | 2 |
        +------+---+
        ",
    );
}

#[test]
fn rollup() {
    let fixture = Fixture::new().stream("sales", "region STRING, shop STRING, v INT");
    let sql =
        "SELECT region, shop, sum(v) AS total FROM sales GROUP BY ROLLUP (region, shop) ORDER BY region, shop, total";
    let rows: &[&str] = &[r#"{"region": "n", "shop": "a", "v": 1}"#, r#"{"region": null, "shop": "a", "v": 2}"#];
    assert_lines(
        &fixture.run(sql, &[("sales", rows)]),
        "
        +--------+------+-------+
        | region | shop | total |
        +--------+------+-------+
        |        |      | 2     |
        |        |      | 3     |
        |        | a    | 2     |
        | n      |      | 1     |
        | n      | a    | 1     |
        +--------+------+-------+
        ",
    );
}
