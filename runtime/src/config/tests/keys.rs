//! Keys: spellings, doubles, names that users choose, pass-through, overlays.

use super::*;

#[test]
fn nested_and_dotted_are_one_form() {
    let nested = right(
        "
sources: { s: { connector: { class: stream }, topics: t, watermark: { column: ts, delay: 1 minute, idle: { timeout: 1 hour } } } }
sinks: { out: { connector.class: out, path: x, sql: SELECT 1, output: { mode: update } } }
",
    );
    let dotted = right(
        "
sources.s.connector.class: stream
sources.s.topics: t
sources.s.watermark.column: ts
sources.s.watermark.delay: 1 minute
sources.s.watermark.idle.timeout: 1 hour
sinks.out.connector.class: out
sinks.out.path: x
sinks.out.sql: SELECT 1
sinks.out.output.mode: update
",
    );
    assert_eq!(format!("{:?}", nested.spec), format!("{:?}", dotted.spec));
    assert_eq!(nested.spec.sinks[0].mode, OutputMode::Update);
    assert_eq!(nested.spec.sources[0].watermark.as_ref().unwrap().delay, "1 minute");
}

#[test]
fn each_user_writes_the_spelling_that_they_know() {
    for key in ["starting.offsets", "startingOffsets", "starting_offsets", "STARTING-OFFSETS"] {
        let pipeline = right(&small_with(&format!("sources.s.{key}: earliest")));
        assert_eq!(pipeline.spec.sources[0].settings.get("starting.offsets"), Some("earliest"), "{key}");
    }
    let pipeline = right(&small_with("maxRowsPerEpoch: 5\nno_data_epochs: false"));
    assert_eq!(pipeline.spec.options.max_rows_per_epoch, Some(5));
    assert!(!pipeline.spec.options.no_data_epochs);
}

#[test]
fn two_spellings_of_one_key_are_an_error_that_names_both() {
    one_problem(
        &small_with("max.rows.per.epoch: 5\nmaxRowsPerEpoch: 6"),
        &["'max.rows.per.epoch' and 'maxRowsPerEpoch' are the same key"],
    );
    one_problem(
        &small_with("sources.s.value.format: json\nsources.s.valueFormat: raw"),
        &["'sources.s.value.format' and 'sources.s.valueFormat' are the same key"],
    );
    one_problem(&small_with("views: { v: SELECT 1 }\nviews.v.sql: SELECT 2"), &["'views.v' and 'views.v.sql'"]);
}

#[test]
fn two_spellings_of_a_connector_s_key_are_found_by_the_connector() {
    let pipeline = right(&small_with("sources.s.subscribe: u"));
    let issues = SourceConfig::parse(&pipeline.spec.sources[0].settings).unwrap_err();
    assert!(issues[0].message.contains("'topics' and 'subscribe' are the same key"), "{issues:?}");
}

#[test]
fn names_are_taken_as_written() {
    let pipeline = right(
        "
sources: { Click_Stream-2: { connector.class: stream } }
views: { _v: SELECT 1 }
sinks: { Out: { connector.class: out, from: _v } }
",
    );
    assert_eq!(pipeline.spec.sources[0].name, "Click_Stream-2");
    assert_eq!(pipeline.spec.views[0].name, "_v");
    assert_eq!(pipeline.spec.sinks[0].name, "Out");
    assert!(matches!(&pipeline.spec.sinks[0].input, SinkInput::From(name) if name == "_v"));
}

#[test]
fn names_that_are_none_are_refused() {
    one_problem(&small_with("views: { 1v: SELECT 1 }"), &["views.1v", "found name '1v'"]);
    one_problem(&small_with("views: { 'a b': SELECT 1 }"), &["found name 'a b'"]);
}

#[test]
fn names_that_differ_in_case_only_are_refused() {
    one_problem(&small_with("views: { v: SELECT 1, V: SELECT 1 }"), &["'views.v' and 'views.V' differ in case only"]);
    one_problem(&small_with("views: { S: SELECT 1 }"), &["'sources.s' and 'views.S' differ in case only"]);
    one_problem(&small_with("views: { s: SELECT 1 }"), &["'sources.s' and 'views.s' have the same name"]);
    let sinks = "sources: { s: { connector.class: stream } }
sinks: { a: { connector.class: out, from: s }, A: { connector.class: out, from: s } }";
    one_problem(sinks, &["'sinks.a' and 'sinks.A'"]);
}

#[test]
fn pass_through_keys_are_verbatim() {
    let pipeline = right(&small_with("sources.s.kafka: { Group.Id: g, group.id: h }"));
    let kafka = SourceConfig::parse(&pipeline.spec.sources[0].settings).unwrap().kafka;
    assert_eq!((kafka.len(), kafka["Group.Id"].as_str()), (2, "g"));
    one_problem(
        &small_with("sources.s.kafka.a: x\nsources.s: { kafka: { a: y } }"),
        &["sources.s.kafka.a", "given twice"],
    );
}

#[test]
fn views_keep_the_order_of_the_file() {
    let pipeline = right(&small_with("views: { z: SELECT 1, a: SELECT 2, m: SELECT 3 }"));
    let names: Vec<_> = pipeline.spec.views.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["z", "a", "m"]);
}

#[test]
fn an_overlay_replaces_a_key_in_any_spelling() {
    let base = settings("output.mode: append\nviews: { v: SELECT 1 }\nsources: { s: { kafka: { a: 1 } } }");
    let over = settings("outputMode: update\nviews.v.sql: SELECT 2\nsources.s.kafka.A: 2");
    let merged = overlay(&base, &over);
    let expected =
        [("sources.s.kafka.a", "1"), ("outputMode", "update"), ("views.v.sql", "SELECT 2"), ("sources.s.kafka.A", "2")];
    assert_eq!(merged.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn an_assignment_is_cut_at_the_first_equals_sign() {
    let sql = "sql=SELECT * FROM s WHERE a = 1";
    assert_eq!(parse_assignment(sql), Ok(("sql".to_owned(), "SELECT * FROM s WHERE a = 1".to_owned())));
    assert_eq!(parse_assignment("a="), Ok(("a".to_owned(), String::new())));
    assert!(parse_assignment("sql").unwrap_err().contains("expected key=value"));
    assert!(parse_assignment("=1").is_err());
}

#[tokio::test]
async fn a_problem_of_the_plan_is_told_by_the_key_as_written() {
    for (yaml, key) in [
        (SMALL.replace("SELECT v", "SELEC v"), "sql"),
        (small_with("views: { v: SELEC 1 }"), "views.v"),
        (small_with("sources.s.Port: many"), "sources.s.Port"),
        (small_with("sinks: { o: { connector.class: out } }").replace("SELECT v", "SELECT w"), "sql"),
        (
            "sources: { s: { connector.class: stream, schema: 'v INT' } }
sinks: { o: { connector.class: out, sql: SELECT w FROM s } }"
                .to_owned(),
            "sinks.o.sql",
        ),
    ] {
        let Err(problems) = right(&yaml).plan(&connectors::registry()).await else { panic!("{yaml} is planned") };
        assert_eq!(problems[0].key, key, "{problems:?}");
    }
}

#[tokio::test]
async fn a_reference_that_was_kept_is_no_problem_of_the_plan() {
    let kept = right(&small_with("sources.s.port: '${env:PORT}'"));
    assert_eq!(kept.plan(&connectors::registry()).await.err(), Some(Vec::new()));
}
