//! Refusals: each names the file, the key as written, what was found and what was expected.

use super::*;

#[test]
fn unknown_keys_come_with_the_nearest_known_one() {
    one_problem(&small_with("trigerr: once"), &["job.yaml: trigerr: unknown key; did you mean 'trigger'?"]);
    one_problem(&small_with("sources.s.valu.format: json"), &["sources.s.valu.format", "did you mean 'value.format'?"]);
    one_problem(&small_with("sources.s.starting.offset: x"), &["did you mean 'starting.offsets'?"]);
    one_problem(
        &small_with("views: { v: { sql: SELECT 1, watermrk.column: c } }"),
        &["did you mean 'watermark.column'?"],
    );
    let sink = "sources: { s: { connector.class: stream } }\nsinks: { o: { connector.class: out, from: s, pth: x } }";
    one_problem(sink, &["sinks.o.pth", "did you mean 'path'?"]);
    one_problem(&small_with("zzzzzzzzzz: 1"), &["job.yaml: zzzzzzzzzz: unknown key"]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let found = problems(
        "
trigger: sometimes
no.data.epochs: perhaps
max.rows.per.epoch: 0
min.epochs.to.retain: -1
shutdown.timeout: soon
on.end: stop
watermark.policy: avg
tasks.max: many
exactly.once.support: maybe
checkpoint.location: ftp://host/x
sources:
  s: { connector.class: straem, value.format: xml, value.mode: lenient, static: 1 }
views: { v: { watermark.column: ts } }
sinks: { a: { connector.class: outt, output.mode: insert, best.effort: 2 }, b: { from: s, sql: SELECT 1 } }
",
    );
    let expected = [
        ("trigger", "sometimes"),
        ("no.data.epochs", "'perhaps' is not true or false"),
        ("max.rows.per.epoch", "positive whole number"),
        ("min.epochs.to.retain", "positive whole number"),
        ("shutdown.timeout", "duration"),
        ("on.end", "expected keep or flush"),
        ("watermark.policy", "expected min or max"),
        ("tasks.max", "whole number"),
        ("exactly.once.support", "expected requested"),
        ("checkpoint.location", "a URL of s3"),
        ("sources.s.connector.class", "did you mean 'stream'?"),
        ("sources.s.value.format", "found 'xml'"),
        ("sources.s.value.mode", "found 'lenient'"),
        ("sources.s.static", "'1' is not true or false"),
        ("views.v.watermark.column", "without 'delay'"),
        ("views.v", "found no 'sql'"),
        ("sinks.a.connector.class", "did you mean 'out'?"),
        ("sinks.a.output.mode", "expected append, update or complete"),
        ("sinks.a.best.effort", "'2'"),
        ("sinks.a", "neither 'sql' nor 'from'"),
        ("sinks.b", "found no 'connector.class'"),
        ("sinks.b.from", "found 'sinks.b.sql' and 'sinks.b.from'"),
    ];
    for (key, word) in expected {
        let start = format!("job.yaml: {key}: ");
        assert!(found.iter().any(|it| it.starts_with(&start) && it.contains(word)), "{key}: {word} in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn formats_and_options_that_will_come_are_refused_by_name() {
    for format in ["csv", "avro"] {
        one_problem(&small_with(&format!("sources.s.value.format: {format}")), &[format, "not supported yet"]);
    }
    one_problem(
        &small_with("views: { v: { sql: SELECT 1, deduplicate.within.watermark: true } }"),
        &["views.v.deduplicate.within.watermark", "found no 'deduplicate'"],
    );
    one_problem(
        &small_with("views: { v: { sql: SELECT 1, deduplicate: [a, ''] } }"),
        &["views.v.deduplicate", "found 'a,'", "names of columns"],
    );
    one_problem(&small_with("transforms.t.type: X"), &["'transforms' are not supported yet"]);
    one_problem(&small_with("session.time.zone: CET"), &["session.time.zone", "not supported yet"]);
    one_problem(&small_with("target.latency: 0s"), &["target.latency", "'0s'", "more than 0"]);
}

#[test]
fn a_sink_that_promises_too_little_is_refused() {
    let sink = |keys: &str| small_with(&format!("sinks: {{ a: {{ connector.class: out{keys} }} }}"));
    let required = |level: &str, keys: &str| format!("{}exactly.once.support: {level}\n", sink(keys));
    one_problem(
        &required("required", ""),
        &["job.yaml: exactly.once.support: 'required'", "'a' (out)", "at least once"],
    );
    one_problem(
        &sink(", exactly.once.support: required-atomic, path: idempotent"),
        &["job.yaml: sinks.a.exactly.once.support: 'required-atomic'", "idempotent"],
    );
    right(&required("required", ", path: idempotent"));
    right(&required("required-atomic", ", best.effort: true"));
    right(&required("required-atomic", ", exactly.once.support: requested"));
}

#[test]
fn a_query_needs_a_source_and_something_to_do() {
    one_problem("sql: SELECT 1", &["job.yaml: sources: found none"]);
    one_problem("sources: { s: { connector.class: stream } }", &["neither 'sinks' nor 'sql'"]);
    let found = problems("name: x");
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn late_rows_go_to_a_sink_that_is_there_and_gets_nothing_else() {
    one_problem(&small_with("late.rows.sink: late"), &["late.rows.sink: found 'late'", "one of the sinks: sink"]);
    let sinks = |more: &str| format!("sources: {{ s: {{ connector.class: stream }} }}\nlate.rows.sink: a\n{more}");
    let both = "sinks: { a: { connector.class: out, from: s }, b: { connector.class: out, from: s } }";
    one_problem(&sinks(both), &["sinks.a.from: found beside 'late.rows.sink'"]);
    let alone = "sinks: { a: { connector.class: out } }";
    one_problem(&sinks(alone), &["sinks: found that of late rows only", "expected another one, or 'sql'"]);
    one_problem(&small_with("watermark.on.add: wait"), &["watermark.on.add", "'wait'", "hold or follow"]);
    one_problem(&small_with("count.distinct: maybe"), &["count.distinct", "'maybe'", "refuse or exact"]);
    one_problem(&small_with("chained.aggregates: all"), &["chained.aggregates", "'all'", "refuse or retract"]);
    one_problem(&small_with("update.mode: all"), &["update.mode", "'all'", "spark or extended"]);
}

#[test]
fn top_level_sql_does_not_go_with_several_sinks() {
    let sinks = "sinks: { a: { connector.class: out, from: s }, b: { connector.class: out, from: s } }";
    one_problem(&small_with(sinks), &["sql: goes with one sink, found 2"]);
    let sink = "sinks: { a: { connector.class: out, sql: SELECT 2 } }";
    one_problem(&small_with(sink), &["'sinks.a.sql' and 'sql' are the same key"]);
}

#[test]
fn a_plain_value_in_the_place_of_names_is_refused() {
    one_problem(&small_with("sinks: console"), &["sinks: found a plain value"]);
    one_problem(&small_with("sources.t: x"), &["sources.t: found a plain value"]);
}

#[test]
fn a_schema_that_can_t_be_read_keeps_the_query_from_being_planned() {
    let loaded = load_settings(&settings(&SMALL.replace("v INT", "v INTT")));
    assert!(loaded.pipeline.is_none());
    assert_eq!(loaded.problems.len(), 1);
    assert_eq!(loaded.problems[0].key, "sources.s.schema");
}

#[test]
fn an_idle_timeout_is_of_a_watermark_and_more_than_nothing() {
    let watermark = "sources.s.watermark: { column: ts, delay: 1 minute, idle.timeout: 0 seconds }";
    one_problem(&small_with(watermark), &["sources.s.watermark.idle.timeout", "0 seconds", "more than 0"]);
    one_problem(
        &small_with("sources.s.watermark.idleTimeout: 1 minute"),
        &["sources.s.watermark.idleTimeout", "watermark.column"],
    );
}
