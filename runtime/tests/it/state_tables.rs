//! What an operator remembers, as a table in SQL and on the command line.

use crate::process::{Folder, send, wait_until};

const WORDS: &str = "
name: words
checkpoint.location: ./words
min.epochs.to.retain: 2
sources: { lines: { connector.class: file, path: ./in, value.format: json, schema: 'w STRING, n BIGINT' } }
sinks:
  screen:
    connector.class: console
    output.mode: update
    sql: SELECT w, sum(n) AS total FROM lines GROUP BY w
";

/// Reads the state of the other query.
fn reader(call: &str) -> String {
    format!(
        "
name: reader
checkpoint.location: ./reader
sources: {{ asked: {{ connector.class: file, path: ./asked, value.format: json, schema: 'w STRING' }} }}
views: {{ known: \"SELECT * FROM {call}\" }}
sinks:
  screen:
    connector.class: console
    sql: SELECT asked.w, CASE WHEN k.virtual_node >= 0 THEN 'is there' END AS seen FROM asked LEFT JOIN known k ON asked.w = k.w
"
    )
}

fn folder_with_state() -> Folder {
    let folder = Folder::new();
    folder.write("words.yaml", WORDS);
    for (at, lines) in
        [r#"{"w": "a", "n": 1}"#, "{\"w\": \"a\", \"n\": 2}\n{\"w\": \"b\", \"n\": 5}"].iter().enumerate()
    {
        folder.write(&format!("in/{at}.json"), &format!("{lines}\n"));
        folder.run(&["run", "words.yaml", "--trigger", "available-now"]).says(0, &[]);
    }
    folder
}

#[test]
fn state_is_shown_row_by_row() {
    let folder = folder_with_state();
    let rows = |args: &[&str]| -> Vec<serde_json::Value> {
        let shown = folder.run(&[&["checkpoint", "show", "words", "--state", "aggregate-0"], args].concat());
        shown.says(0, &[]);
        let mut rows: Vec<_> = shown.stdout.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        rows.sort_by_key(|it: &serde_json::Value| it["w"].to_string());
        rows
    };
    let newest = rows(&[]);
    assert_eq!(newest.len(), 2, "{newest:?}");
    assert_eq!((&newest[0]["w"], &newest[1]["w"]), (&"a".into(), &"b".into()));
    let cells: Vec<_> = newest[0].as_object().unwrap().values().collect();
    assert!(cells.contains(&&3.into()) && newest[0]["virtual_node"].is_number(), "{newest:?}");
    let before = rows(&["--epoch", "0"]);
    assert_eq!(before.len(), 1, "{before:?}");
    assert!(before[0].as_object().unwrap().values().any(|it| *it == 1), "{before:?}");
    let wrong = |args: &[&str], text: &str| {
        folder.run(&[&["checkpoint", "show", "words", "--state"], args].concat()).says(1, &[text]);
    };
    wrong(&["counts"], "found operator 'counts', expected one of aggregate-0");
    wrong(&["aggregate-0", "--epoch", "7"], "found epoch 7, expected one of 0-1");
}

#[test]
fn state_is_joined_like_any_table() {
    let folder = folder_with_state();
    folder.write("asked/0.json", "{\"w\": \"a\"}\n{\"w\": \"b\"}\n{\"w\": \"c\"}\n");
    folder.write("newest.yaml", &reader("state('words', operator => 'aggregate-0')"));
    let ran = folder.run(&["run", "newest.yaml", "--trigger", "available-now"]);
    ran.says(0, &[]);
    assert_eq!(ran.stdout.matches("is there").count(), 2, "{}", ran.stdout);
    std::fs::remove_dir_all(folder.path("reader")).unwrap();
    folder.write("first.yaml", &reader("state('words', operator => 'aggregate-0', epoch => 0)"));
    let ran = folder.run(&["run", "first.yaml", "--trigger", "available-now"]);
    ran.says(0, &[]);
    assert_eq!(ran.stdout.matches("is there").count(), 1, "{}", ran.stdout);
}

#[test]
fn a_state_that_is_not_there_is_refused_with_what_is() {
    let folder = folder_with_state();
    for (call, text) in [
        ("state('words', operator => 'counts')", "expected one of aggregate-0"),
        ("state('words', operator => 'aggregate-0', epoch => 9)", "found epoch 9, expected one of 0-1"),
        ("state('nowhere', operator => 'aggregate-0')", "state: checkpoint"),
        ("state_metadata('words', epoch => 9)", "found epoch 9, expected one of 0-1"),
        (
            "state_metadata('words', operator => 'aggregate-0')",
            "expected state_metadata('<checkpoint>' [, epoch => <number>])",
        ),
        ("state('words', 'aggregate-0')", "expected state('<checkpoint>', operator => '<name>' [, epoch => <number>])"),
        ("state(operator => 'aggregate-0')", "found no checkpoint"),
    ] {
        folder.write("reader.yaml", &reader(call));
        folder.run(&["validate", "reader.yaml"]).says(2, &[text]);
    }
}

#[test]
fn operators_are_listed_and_joined() {
    let folder = folder_with_state();
    let shown = folder.run(&["checkpoint", "show", "words.yaml", "--operators"]);
    shown.says(0, &[]);
    let row: serde_json::Value = serde_json::from_str(shown.stdout.trim()).unwrap();
    let named = |key: &str| row[key].clone();
    assert_eq!((named("operator"), named("key_columns")), ("aggregate-0".into(), "w".into()), "{row}");
    assert_eq!((named("min_epoch"), named("max_epoch")), (0.into(), 1.into()));
    folder.write("asked/0.json", "{\"w\": \"w\"}\n{\"w\": \"x\"}\n");
    let sql = "SELECT operator AS w, key_columns AS virtual_node FROM state_metadata('words')";
    let reader = reader("nothing").replace("SELECT * FROM nothing", sql);
    folder.write(
        "reader.yaml",
        &reader.replace("asked.w = k.w", "asked.w = k.virtual_node").replace("virtual_node >= 0", "w <> ''"),
    );
    let ran = folder.run(&["run", "reader.yaml", "--trigger", "available-now"]);
    ran.says(0, &[]);
    assert_eq!(ran.stdout.matches("is there").count(), 1, "{}", ran.stdout);
    folder.run(&["checkpoint", "show", "words", "--epoch", "0"]).says(2, &["--epoch"]);
}

#[test]
fn a_running_owner_is_not_disturbed_and_a_damaged_file_is_named() {
    let folder = folder_with_state();
    let mut owner = folder.spawn(&["run", "words.yaml"]);
    let show = || folder.run(&["checkpoint", "show", "words", "--state", "aggregate-0"]);
    wait_until("the owner", || {
        folder.run(&["checkpoint", "show", "words"]).stdout.contains("owner      running: run ")
    });
    assert_eq!(show().stdout.lines().count(), 2);
    folder.write("in/2.json", "{\"w\": \"c\", \"n\": 7}\n");
    wait_until("the new row", || show().stdout.lines().count() == 3);
    send(&owner, "TERM");
    assert_eq!(owner.wait().unwrap().code(), Some(0));
    folder.run(&["checkpoint", "verify", "words"]).says(0, &[]);
    let mut records: Vec<_> =
        std::fs::read_dir(folder.path("words/state/wal")).unwrap().map(|it| it.unwrap().path()).collect();
    records.sort();
    let record = records.pop().unwrap();
    let mut bytes = std::fs::read(&record).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&record, bytes).unwrap();
    let name = format!("state/wal/{}", record.file_name().unwrap().to_str().unwrap());
    show().says(1, &[&name, "damaged"]);
    folder.write("reader.yaml", &reader("state('words', operator => 'aggregate-0')"));
    folder.run(&["validate", "reader.yaml"]).says(2, &[&name, "damaged"]);
}
