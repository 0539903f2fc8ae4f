//! Rows that can't be used, with the binary as a user runs it: what a Delta table does not take and what is no JSON goes
//! to files, once.

use std::path::Path;

use serde_json::{Value, json};

use crate::process::{Folder, Ran};

const PIPELINE: &str = "
trigger: available-now
sources:
  lines: { connector.class: file, path: in, value.format: json, value.mode: fail, schema: 'id BIGINT, page STRING' }
sinks:
  table: { connector.class: delta, path: table, from: lines }
";
const TOLERANT: &str = "
errors.tolerance: all
dead.letters: { connector.class: file, path: letters, format: json }
";

/// A table whose `id` takes no null.
fn table(folder: &Folder) {
    let field = |name: &str, kind: &str, nullable: bool| json!({"name": name, "type": kind, "nullable": nullable, "metadata": {}});
    let schema = json!({"type": "struct", "fields": [field("id", "long", false), field("page", "string", true)]});
    let protocol = json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}});
    let metadata = json!({"metaData": {
        "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9", "format": {"provider": "parquet", "options": {}},
        "schemaString": schema.to_string(), "partitionColumns": [], "configuration": {}, "createdTime": 0,
    }});
    folder.write("table/_delta_log/00000000000000000000.json", &format!("{protocol}\n{metadata}\n"));
}

fn folder(pipeline: &str) -> Folder {
    let folder = Folder::new();
    folder.write("q.yaml", pipeline);
    folder.write("in/1.json", "{\"id\":1,\"page\":\"a\"}\n{\"page\":\"b\"}\nno JSON\n{\"id\":3,\"page\":\"c\"}\n");
    table(&folder);
    folder
}

fn lines(folder: &Path) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|it| it.unwrap().path()).collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "json"));
    files.sort();
    let text: String = files.iter().map(|it| std::fs::read_to_string(it).unwrap()).collect();
    text.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// How many rows the table has.
fn rows(folder: &Folder) -> i64 {
    let actions = lines(&folder.path("table/_delta_log"));
    let stats = actions.iter().filter_map(|it| it["add"]["stats"].as_str());
    stats.map(|it| serde_json::from_str::<Value>(it).unwrap()["numRecords"].as_i64().unwrap()).sum()
}

/// Each letter: its stage, its name, its epoch and its row.
fn letters(folder: &Folder) -> Vec<String> {
    let mut letters: Vec<String> = Vec::new();
    for it in lines(&folder.path("letters")) {
        assert!(it["timestamp"].is_string() && it["error_kind"] == "data" && it["error"].is_string(), "{it}");
        let text = |key: &str| it[key].as_str().unwrap().to_owned();
        letters.push(format!("{} {} {} {}", text("stage"), text("name"), it["epoch"], text("row")));
    }
    letters.sort();
    letters
}

const EXPECTED: [&str; 2] = [r#"decode lines 0 {"value":"no JSON"}"#, r#"write table 0 {"page":"b"}"#];

#[test]
fn without_tolerance_the_first_bad_row_fails_the_query() {
    let folder = folder(PIPELINE);
    folder.run(&["run", "q.yaml"]).says(1, &["epoch 0"]);
    assert_eq!(rows(&folder), 0);
}

#[test]
fn what_a_table_does_not_take_goes_to_files() {
    let folder = folder(&format!("{PIPELINE}{TOLERANT}"));
    let ran = folder.run(&["run", "q.yaml", "--progress", "json"]);
    ran.says(0, &[]);
    assert_eq!((rows(&folder), letters(&folder)), (2, EXPECTED.map(str::to_owned).to_vec()));
    let progress: Value = serde_json::from_str(ran.stderr.lines().find(|it| it.starts_with('{')).unwrap()).unwrap();
    assert_eq!(progress["sinks"][0]["metrics"]["deadLetters"], "1", "{progress}");
    assert_eq!(progress["sources"][0]["metrics"]["deadLetters"], "1", "{progress}");
    assert_eq!(
        (&progress["sinks"][0]["numOutputRows"], &progress["sinks"][1]["numOutputRows"]),
        (&json!(2), &json!(2))
    );
    folder.write("in/2.json", "{\"id\":4}\n{\"page\":\"e\"}\n");
    folder.run(&["run", "q.yaml"]).says(0, &[]);
    assert_eq!((rows(&folder), letters(&folder).len()), (3, 3));
    let ran = folder.run(&["explain", "q.yaml"]);
    assert!(ran.stdout.contains("rows that can't be used: dead letters (file, exactly once"), "{}", ran.stdout);
}

#[test]
fn a_kill_behind_the_commit_of_the_table_loses_no_letter() {
    // The table commits first, the files second.
    for fault in ["commit.after=kill", "commit.before=kill@2", "commit.after=kill@2", "commits_file=kill"] {
        let folder = folder(&format!("{PIPELINE}{TOLERANT}"));
        let killed = folder.command(&["run", "q.yaml"]).env("TIDEGATE_FAULTS", fault).output().unwrap();
        assert!(!killed.status.success(), "{fault}: {}", Ran::of(killed).stderr);
        assert_eq!(rows(&folder), 2, "{fault}");
        folder.run(&["run", "q.yaml"]).says(0, &[]);
        assert_eq!((rows(&folder), letters(&folder)), (2, EXPECTED.map(str::to_owned).to_vec()), "{fault}");
        let verified = folder.run(&["checkpoint", "verify", "data/checkpoints/q"]);
        assert_eq!(verified.code, Some(0), "{fault}: {}{}", verified.stdout, verified.stderr);
    }
}

#[test]
fn without_a_place_for_them_they_are_dropped_and_counted() {
    let folder = folder(&format!("{PIPELINE}\nerrors.tolerance: all\nerrors.log.enable: true\n"));
    let ran = folder.run(&["run", "q.yaml", "--progress", "json"]);
    ran.says(0, &[r#""deadLetters":"1""#, "null, the table takes none"]);
    assert_eq!((rows(&folder), letters(&folder)), (2, Vec::new()));
}

#[test]
fn wrong_keys_are_named() {
    for (keys, words) in [
        ("errors.tolerance: some", ["errors.tolerance", "expected none or all"]),
        ("errors.tolerance: all\ndead.letters: { path: x }", ["dead.letters", "found no 'connector.class'"]),
        (
            "errors.tolerance: all\ndeadLetters: { connector.class: file, pth: x }",
            ["deadLetters.pth", "did you mean 'path'"],
        ),
        ("errors.tolerance: all\ndead.letters: { connector.class: file }", ["dead.letters", "path"]),
        ("dead.letters: { connector.class: console }", ["dead.letters", "goes with errors.tolerance: all"]),
        (
            "errors.tolerance: all\ndead.letters: { connector.class: nothing }",
            ["dead.letters.connector.class", "nothing"],
        ),
    ] {
        folder(&format!("{PIPELINE}\n{keys}\n")).run(&["validate", "q.yaml"]).says(2, &words);
    }
}
