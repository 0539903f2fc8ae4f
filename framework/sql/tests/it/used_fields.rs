//! `from_json` decodes the fields that are used above it, and gives what it would give with all of them.

use arrow_schema::DataType;
use tidegate_formats::ddl::type_name;

use crate::support::{Fixture, assert_lines};

const SCHEMA: &str = "id INT, ts TIMESTAMP, name STRING, pos STRUCT<x: DOUBLE, y: DOUBLE, at: STRUCT<p: INT, q: INT>>, \
    list ARRAY<STRUCT<a: INT, b: INT>>, tags MAP<STRING, INT>";

fn raw() -> Fixture {
    let decoded = format!("SELECT part, from_json(CAST(value AS STRING), '{SCHEMA}') AS j FROM raw");
    let parsed = format!("SELECT part, j.ts AS ts, j.id AS id, j.name AS name FROM ({decoded}) t");
    Fixture::new().stream("raw", "part INT, value BINARY").view("decoded", &decoded).timed_view(
        "parsed",
        &parsed,
        "ts",
        "10 seconds",
    )
}

/// What the calls of `from_json` in a query decode; `*` for all.
fn decoded(sql: &str) -> Vec<String> {
    let text = raw().plan_text(sql);
    let calls = text.split("from_json").skip(1);
    let part = |it: &str| it.strip_prefix('<').and_then(|it| it.split('>').next()).unwrap_or("*").to_owned();
    let found: Vec<String> = calls.map(part).collect();
    assert!(!found.is_empty(), "{text}");
    found
}

#[test]
fn used_fields_are_decoded_and_names_stay() {
    let fixture = raw();
    let sql = "SELECT d.j.name, d.j.pos.at.q FROM decoded d WHERE d.part > 1 AND d.j.id > 0";
    assert_lines(
        &fixture.plan_text(sql).replace(SCHEMA, "…"),
        r#"
        Projection: get_field(d.j, Utf8("name")) AS name, get_field(d.j, Utf8("pos"), Utf8("at"), Utf8("q")) AS q
          SubqueryAlias: d
            SubqueryAlias: decoded
              Filter: get_field(j, Utf8("id")) > Int32(0)
                Projection: from_json<id, name, pos.at.q>(raw.value, Utf8("…")) AS j
                  Filter: raw.part > Int32(1)
                    TableScan: raw projection=[part, value]
        "#,
    );
    let call = format!("from_json(value, '{SCHEMA}').name");
    let plan = fixture.planner.plan(&format!("SELECT {call}, max({call}) FROM raw GROUP BY {call}")).unwrap();
    let names = plan.schema().field_names();
    let optimised = fixture.planner.optimize(plan).unwrap();
    assert_eq!(optimised.schema().field_names(), names);
    assert!(optimised.display_indent().to_string().contains("from_json<name>"), "{}", optimised.display_indent());
}

#[test]
fn uses_are_found_wherever_the_column_goes() {
    for (sql, expected) in [
        ("SELECT j.id FROM decoded", vec!["id"]),
        ("SELECT d.k.id FROM (SELECT j AS k FROM decoded) d", vec!["id"]),
        ("SELECT j.id FROM decoded WHERE j.name = 'a' AND j.pos.x > 1", vec!["id, name, pos.x"]),
        ("SELECT count(*) FROM decoded WHERE j IS NOT NULL AND j.pos IS NULL AND j.id IS NULL", vec!["id, pos.x"]),
        ("SELECT j.pos.at FROM decoded", vec!["pos.at.p, pos.at.q"]),
        ("SELECT j.list[0].a, j.tags['k'] FROM decoded", vec!["list, tags"]),
        ("SELECT max(j.name) FROM decoded GROUP BY j.id", vec!["id, name"]),
        ("SELECT CASE WHEN part > 1 THEN j.name ELSE concat(j.name, 'x') END FROM decoded", vec!["name"]),
        ("SELECT name, count(*) FROM parsed GROUP BY name", vec!["ts, name"]),
        ("SELECT count(*) FROM decoded GROUP BY window(j.ts, '10 seconds', '5 seconds')", vec!["ts"]),
        (
            "SELECT a.j.id, b.j.name FROM decoded a JOIN decoded b ON a.part = b.part AND a.j.ts = b.j.ts",
            vec!["id, ts", "ts, name"],
        ),
        ("SELECT j FROM decoded", vec!["*"]),
        ("SELECT j.id, to_json(j) FROM decoded", vec!["*"]),
        ("SELECT j.id FROM (SELECT DISTINCT j FROM decoded) t", vec!["*"]),
        ("SELECT j.id FROM (SELECT j FROM decoded UNION ALL SELECT j FROM decoded) t", vec!["*", "*"]),
    ] {
        assert_eq!(decoded(sql), expected, "{sql}");
    }
}

#[test]
fn a_call_without_a_view_is_made_once_for_all_its_fields() {
    let call = format!("from_json(CAST(value AS STRING), '{SCHEMA}')");
    assert_eq!(decoded(&format!("SELECT {call}.id AS id FROM raw")), ["id"]);
    assert_eq!(decoded(&format!("SELECT {call}.id AS id, {call}.pos.y AS y FROM raw")), ["id, pos.y"]);
    assert_eq!(decoded(&format!("SELECT upper({call}.name) AS a, {call}.id + 1 AS b FROM raw")), ["id, name"]);
}

#[test]
fn a_strict_call_looks_at_all_fields() {
    let call = |mode: &str| format!("SELECT from_json(v, 'id INT, name INT', '{mode}').id AS id FROM t");
    let fixture = Fixture::new().stream("t", "v STRING");
    let rows: &[&str] = &[r#"{"v": "{\"id\": 1, \"name\": \"a\"}"}"#];
    assert!(fixture.batches(&call("failfast"), &[("t", rows)]).is_err());
    assert!(fixture.batches(&call("permissive"), &[("t", rows)]).is_ok());
    assert!(fixture.plan_text(&call("Permissive")).contains("from_json<id>"));
}

/// Documents that are malformed, or do not fit, in places that a narrowed schema skips.
const DOCUMENTS: [&str; 22] = [
    r#"{"id": 1, "name": "a", "pos": {"x": 1, "y": 2, "at": {"p": 3, "q": 4}}, "list": [{"a": 1}], "tags": {"k": 1}}"#,
    r#"{"id": 1, "name": "a", "pos": 7}"#,
    r#"{"id": 1, "name": "a", "pos": {"x": "wrong", "at": []}}"#,
    r#"{"id": 1, "name": "a", "list": [{"a": 1}, 2], "tags": {"k": "wrong"}}"#,
    r#"{"id": 1, "name": "a", "pos": {"x": 1"#,
    r#"{"id": 1, "name": "a", "pos": {"x": 1}"#,
    r#"{"id": 1, "name": "a", "pos": {"x": 01}}"#,
    r#"{"id": 1, "name": "a", "pos": {"x": tru}}"#,
    r#"{"id": 1, "name": "a", "pos": {x: 1}}"#,
    r#"{"id": 1, "name": "a", "list": [{"a": 1},]}"#,
    r#"{"id": 1, "name": "a", "tags": {"k": 1 "l": 2}}"#,
    r#"{"id": 1, "name": "a", "ts": "2026-01-01\q"}"#,
    r#"{"id": 1, "name": "a", "ts": "2026-01-01}"#,
    r#"{"id": 1, "name": "a"} x"#,
    r#"{"id": 1, "ts": 1e, "name": "a"}"#,
    r#"{"ts": "soon", "id": 1, "name": "a", "name": "b"}"#,
    r#"{"id": 1, "id": "wrong", "name": null}"#,
    "[{\"id\": 1, \"name\": \"a\"}]",
    "[1]",
    "null",
    " ",
    "7",
];

#[test]
fn fewer_fields_change_no_value() {
    let ddl = "id INT, name STRING, pos STRUCT<x: DOUBLE, y: DOUBLE, at: STRUCT<p: INT, q: INT>>";
    let fixture = Fixture::new().stream("t", "n INT, v STRING");
    let rows: Vec<String> = DOCUMENTS
        .iter()
        .enumerate()
        .map(|(n, document)| {
            let text = document.replace('\\', r"\\").replace('"', r#"\""#);
            format!(r#"{{"n": {n}, "v": "{text}"}}"#)
        })
        .chain([r#"{"n": -1}"#.to_owned()])
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let run = |sql: &str| fixture.batches(sql, &[("t", &rows)]).unwrap();
    let call = format!("from_json(v, '{SCHEMA}')");
    let fields = ["j.id", "j.name", "j.pos.at.q", "j.ts", "j.list", "j IS NULL", "j.pos IS NULL", "j.pos.at IS NULL"];
    for field in fields {
        let narrow = format!("SELECT n, {field} AS it FROM (SELECT n, {call} AS j FROM t) s");
        // The whole struct stands beside the field, so it is decoded whole.
        let whole = format!(
            "SELECT n, it FROM (SELECT n, {field} AS it, to_json(j) AS other FROM (SELECT n, {call} AS j FROM t) s) s WHERE other IS NULL OR other <> 'never'"
        );
        assert!(fixture.plan_text(&narrow).contains("from_json<"), "{}", fixture.plan_text(&narrow));
        assert!(!fixture.plan_text(&whole).contains("from_json<"), "{}", fixture.plan_text(&whole));
        assert_eq!(run(&narrow), run(&whole), "{field}");
    }
    // And against another list of fields, whose rest is no fields at all.
    for field in ["j.id", "j.name", "j.pos.at.q", "j IS NULL", "j.pos IS NULL"] {
        let of = |ddl: &str| run(&format!("SELECT {field} AS it FROM (SELECT from_json(v, '{ddl}') AS j FROM t) s"));
        assert_eq!(of(SCHEMA), of(ddl), "{field}");
    }
}

#[test]
fn the_column_has_the_fields_that_are_decoded() {
    let fixture = raw();
    let plan = fixture.planner.plan("SELECT j.id, j.pos.y FROM decoded").unwrap();
    let plan = fixture.planner.optimize(plan).unwrap();
    let input = plan.inputs()[0].schema().field(0).data_type().clone();
    assert!(matches!(&input, DataType::Struct(fields) if fields.len() == 2), "{input}");
    assert_eq!(type_name(&input), "STRUCT<id: INT, pos: STRUCT<y: DOUBLE>>");
}
