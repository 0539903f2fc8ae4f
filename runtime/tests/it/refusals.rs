//! What `run` refuses before it starts: code 2, and a line that names the file, the key, what was found and expected.

use crate::process::{Folder, Ran};

const GOOD: &str = "
sources: { ticks: { connector.class: rate } }
sinks: { screen: { connector.class: console, sql: SELECT value FROM ticks } }
";

fn run(text: &str) -> Ran {
    let folder = Folder::new();
    folder.write("job.yaml", text);
    folder.run(&["run", "job.yaml"])
}

#[test]
fn a_missing_file() {
    Folder::new().run(&["run", "none.yaml"]).says(2, &["error: none.yaml: can't be read: No such file"]);
}

#[test]
fn a_file_of_another_kind() {
    let folder = Folder::new();
    folder.write("job.txt", GOOD);
    folder.run(&["run", "job.txt"]).says(2, &["job.txt", "found extension 'txt', expected .yaml"]);
    folder.write("list.yaml", "- a\n- b\n");
    folder.run(&["run", "list.yaml"]).says(2, &["list.yaml: found a list, expected a map"]);
}

#[test]
fn an_unknown_key() {
    run(&GOOD.replace("console,", "console, num.row: 5,"))
        .says(2, &["error: job.yaml: sinks.screen.num.row: unknown key; did you mean 'num.rows'?"]);
}

#[test]
fn an_unknown_connector() {
    run(&GOOD.replace("rate", "rat"))
        .says(2, &["job.yaml: sources.ticks.connector.class: 'rat'", "did you mean 'rate'?"]);
    run(&GOOD.replace("console", "rate")).says(2, &["sinks.screen.connector.class: 'rate' is not a sink", "console"]);
}

#[test]
fn a_bad_trigger() {
    run(&format!("{GOOD}trigger: sometimes")).says(2, &["job.yaml: trigger: ", "sometimes", "available-now"]);
    let folder = Folder::new();
    folder.write("job.yaml", GOOD);
    folder.run(&["run", "job.yaml", "--trigger", "often"]).says(2, &["job.yaml: trigger: ", "often"]);
}

#[test]
fn a_value_of_the_wrong_kind() {
    run(&GOOD.replace("rate }", "rate, rows.per.second: many }"))
        .says(2, &["job.yaml: sources.ticks", "rows.per.second: 'many' is not a positive whole number"]);
    run(&GOOD.replace("rate }", "kafka }")).says(2, &["job.yaml: sources.ticks", "subscribe"]);
}

#[test]
fn broken_sql() {
    let ran = run(&GOOD.replace("SELECT value FROM ticks", "SELEC value FROM ticks"));
    ran.says(2, &["job.yaml: sinks.screen", "SELEC"]);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    run(&GOOD.replace("SELECT value", "SELECT valu")).says(2, &["job.yaml: sinks.screen", "valu"]);
    run(&GOOD.replace("FROM ticks", "FROM tick")).says(2, &["job.yaml: sinks.screen", "tick"]);
}

#[test]
fn sql_cut_at_a_comma() {
    run(&GOOD.replace("SELECT value", "SELECT value, value + 1")).says(2, &["job.yaml: sinks.screen.", "needs quotes"]);
}

#[test]
fn an_output_mode_that_the_query_can_t_have() {
    let counts = "'SELECT value, count(*) AS n FROM ticks GROUP BY value'";
    run(&GOOD.replace("SELECT value FROM ticks", counts)).says(2, &["job.yaml: sinks.screen", "watermark"]);
    let complete = GOOD.replace("console,", "console, output.mode: complete,");
    run(&complete).says(2, &["job.yaml: sinks.screen", "complete", "no aggregation"]);
}

#[test]
fn a_format_that_is_not_there_yet() {
    run(&GOOD.replace("rate }", "rate, value.format: avro }")).says(2, &["format 'avro' is not supported yet"]);
}

#[test]
fn a_reference_to_nothing() {
    run(&GOOD.replace("rate }", "rate, rows.per.second: '${env:TIDEGATE_NOT_SET}' }"))
        .says(2, &["sources.ticks.rows.per.second: ${env:TIDEGATE_NOT_SET}", "is not set"]);
}

#[test]
fn a_resolved_value_is_never_shown() {
    let folder = Folder::new();
    folder.write("job.yaml", &GOOD.replace("rate }", "rate, rows.per.second: '${env:TIDEGATE_SECRET}' }"));
    let output = folder.command(&["run", "job.yaml"]).env("TIDEGATE_SECRET", "hunter22").output().unwrap();
    let ran = Ran::of(output);
    ran.says(2, &["rows.per.second", "${env:TIDEGATE_SECRET}"]);
    assert!(!ran.stderr.contains("hunter22"), "{}", ran.stderr);
}

#[test]
fn two_queries_of_one_name_or_one_checkpoint() {
    let folder = Folder::new();
    folder.write("a.yaml", &format!("{GOOD}name: q"));
    folder.write("b.yaml", &format!("{GOOD}name: q"));
    folder.run(&["run", "a.yaml", "b.yaml"]).says(2, &["b.yaml: name: query 'q' of a.yaml has the same name"]);
    folder.write("a.yaml", &format!("{GOOD}checkpoint.location: ./c/one"));
    folder.write("b.yaml", &format!("{GOOD}checkpoint.location: c/../c/one/"));
    folder.run(&["run", "a.yaml", "b.yaml"]).says(2, &["b.yaml: checkpoint.location:", "c/one", "of query 'a' too"]);
}
