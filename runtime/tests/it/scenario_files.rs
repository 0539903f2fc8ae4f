//! `tidegate test`: what it prints, and which code comes back.

use crate::process::Folder;

const GOOD: &str = "name: counts
pipeline:
  sources: { input: { connector.class: memory, schema: 'v INT' } }
  sql: SELECT v, count(*) AS n FROM input GROUP BY v
  output.mode: update
steps:
  - add: { input: [ {v: 1}, {v: 1} ] }
";

#[test]
fn passed_and_failed_are_counted() {
    let folder = Folder::new();
    folder.write("good.yaml", &format!("{GOOD}  - expect: [ {{v: 1, n: 2}} ]\n"));
    folder.write("bad.yaml", &format!("{GOOD}  - expect: [ {{v: 1, n: 3}} ]\n"));
    let good = folder.run(&["test", "good.yaml"]);
    good.says(0, &[]);
    assert_eq!(good.stdout, "ok      good.yaml\n1 passed, 0 failed\n");
    let both = folder.run(&["test", "bad.yaml", "good.yaml"]);
    both.says(1, &[]);
    assert_eq!(both.stdout.lines().last(), Some("1 passed, 1 failed"));
    for word in ["FAILED  bad.yaml", "step 2", "expected: [{v: 1, n: 3}]", "came:     [{v: 1, n: 2}]", "\"batchId\":0"]
    {
        assert!(both.stdout.contains(word), "'{word}' in {}", both.stdout);
    }
}

#[test]
fn every_kind_of_step_can_fail() {
    let cases = [
        ("- expect: [ {v: 1} ]", "lacks: n"),
        ("- expect: [ {v: 1, n: 2, x: 3} ]", "too many: x"),
        ("- expect: [ {v: 1, n: x} ]", "'n'"),
        ("- expect: { other: [] }", "no memory sink 'other'"),
        ("- expect_all: []", "too many: [{v: 1, n: 2}]"),
        ("- expect_last_epoch: []", "too many: [{v: 1, n: 2}]"),
        ("- watermark: 5", "expected: watermark 5"),
        ("- state: { total: 2 }", "expected: state total 2"),
        ("- state: { updated: [1, 1] }", "expected: state updated [1, 1]"),
        ("- event_time: { max: 5 }", "expected: event_time max 5"),
        ("- add: { outside: [] }", "unknown source 'outside'"),
        ("- add: { input: [ {w: 1} ] }", "unknown column 'w'"),
        ("- error: { at: run, contains: x }", "expected: an error while running"),
        ("- restart: { set: { output.mode: append } }", "no step expected it"),
        ("- restart: { set: { output.mode: append } }\n  - error: { at: start, contains: zebra }", "holds 'zebra'"),
        ("- restart: { set: { output.mode: append } }\n  - error: { at: run, contains: watermark }", "one at start"),
        ("- restart: { set: { output.mode: append } }\n  - expect: []", "the query has failed"),
    ];
    let folder = Folder::new();
    for (step, word) in cases {
        folder.write("case.yaml", &format!("{GOOD}  {step}\n"));
        let ran = folder.run(&["test", "case.yaml"]);
        ran.says(1, &[]);
        assert!(ran.stdout.contains(word), "{step}: '{word}' in {}", ran.stdout);
    }
}

#[test]
fn a_file_that_is_no_scenario_is_code_2() {
    let folder = Folder::new();
    folder.write("bad.yaml", "pipeline: { sql: SELECT 1 }\nstepps: []\n");
    folder.write("good.yaml", &format!("{GOOD}  - expect: [ {{v: 1, n: 2}} ]\n"));
    let ran = folder.run(&["test", "bad.yaml", "good.yaml", "none.yaml"]);
    ran.says(2, &[]);
    assert!(ran.stdout.contains("unknown key 'stepps'") && ran.stdout.contains("can't be read"), "{}", ran.stdout);
    assert_eq!(ran.stdout.lines().last(), Some("1 passed, 2 failed"));
}
