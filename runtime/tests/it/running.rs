//! Queries that run: their results, progress, signals, failures, and what a restart finds.

use std::io::{BufRead, BufReader};

use crate::process::{Folder, Ran, send, wait_until};

const WORDS: &str = "
trigger: available-now
sources: { lines: { connector.class: file, path: in, format: text } }
sinks: { screen: { connector.class: console, sql: SELECT upper(value) AS word FROM lines } }
";

const TICKS: &str = "
sources: { ticks: { connector.class: rate, rows.per.second: 100 } }
sinks: { screen: { connector.class: console, sql: SELECT value FROM ticks } }
";

#[test]
fn results_go_to_stdout_and_nothing_else_anywhere() {
    let folder = Folder::new();
    folder.write("words.yaml", WORDS);
    folder.write("in/1.txt", "tide\ngate\n");
    let ran = folder.run(&["run", "words.yaml"]);
    ran.says(0, &[]);
    let table = "+----+\n|word|\n+----+\n|TIDE|\n|GATE|\n+----+\n";
    assert!(ran.stdout.contains("Batch: 0") && ran.stdout.contains(table), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
    assert!(folder.path("data/checkpoints/words/commits/0").exists());
}

#[test]
fn a_second_run_goes_on_where_the_first_ended() {
    let folder = Folder::new();
    folder.write("words.yaml", WORDS);
    folder.write("in/1.txt", "one\n");
    folder.run(&["run", "words.yaml"]).says(0, &[]);
    assert_eq!(folder.run(&["run", "words.yaml"]).stdout, "");
    folder.write("in/2.txt", "two\n");
    let ran = folder.run(&["run", "words.yaml"]);
    assert!(ran.stdout.contains("Batch: 1") && ran.stdout.contains("TWO"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("ONE"), "{}", ran.stdout);
}

#[test]
fn the_data_folder_holds_the_checkpoints() {
    let folder = Folder::new();
    folder.write("words.yaml", WORDS);
    folder.write("in/1.txt", "one\n");
    folder.run(&["run", "words.yaml", "--data-dir", "elsewhere"]).says(0, &[]);
    assert!(folder.path("elsewhere/checkpoints/words/metadata").exists());
    assert!(!folder.path("data").exists());
}

#[test]
fn progress_is_an_object_a_line() {
    let folder = Folder::new();
    folder.write("words.yaml", WORDS);
    folder.write("in/1.txt", "tide\ngate\n");
    let ran = folder.run(&["run", "words.yaml", "--progress", "json"]);
    ran.says(0, &[]);
    let objects: Vec<serde_json::Value> = ran.stderr.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!((&objects[0]["name"], &objects[0]["batchId"]), (&"words".into(), &0.into()));
    assert_eq!(objects[0]["numInputRows"], 2);
    assert_eq!(folder.run(&["run", "words.yaml", "--progress", "none"]).stderr, "");
}

#[test]
fn several_files_run_side_by_side() {
    let folder = Folder::new();
    folder.write("a.yaml", WORDS);
    folder.write("b.yaml", &WORDS.replace("upper(value)", "'b-' || value"));
    folder.write("in/1.txt", "tide\n");
    let ran = folder.run(&["run", "a.yaml", "b.yaml"]);
    ran.says(0, &[]);
    assert!(ran.stdout.contains("TIDE") && ran.stdout.contains("b-tide"), "{}", ran.stdout);
}

#[test]
fn a_signal_lets_the_epoch_finish() {
    for signal in ["INT", "TERM"] {
        let folder = Folder::new();
        folder.write("ticks.yaml", TICKS);
        let mut child = folder.spawn(&["run", "ticks.yaml"]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|it| it.unwrap().contains("Batch: 0")));
        send(&child, signal);
        let printed = lines.map(Result::unwrap).filter(|it| it.contains("Batch: ")).count();
        Ran::of(child.wait_with_output().unwrap()).says(0, &[]);
        let committed = std::fs::read_dir(folder.path("data/checkpoints/ticks/commits")).unwrap().count();
        assert_eq!(committed, printed + 1, "every epoch that was shown is committed");
    }
}

#[test]
fn a_second_owner_of_a_checkpoint_is_refused_and_the_first_goes_on() {
    let folder = Folder::new();
    folder.write("ticks.yaml", TICKS);
    let mut first = folder.spawn(&["run", "ticks.yaml"]);
    wait_until("a first epoch", || folder.path("data/checkpoints/ticks/commits/0").exists());
    let second = folder.run(&["run", "ticks.yaml"]);
    second.says(1, &["error: query 'ticks' failed: ", "checkpoint"]);
    assert!(second.last_line().starts_with("error: query 'ticks' failed: "), "{}", second.stderr);
    assert!(first.try_wait().unwrap().is_none(), "the first still runs");
    // Its pipe must not fill up while it ends.
    let drain = std::thread::spawn({
        let out = first.stdout.take().unwrap();
        move || BufReader::new(out).lines().count()
    });
    send(&first, "TERM");
    Ran::of(first.wait_with_output().unwrap()).says(0, &[]);
    drain.join().unwrap();
}

#[test]
fn one_query_that_fails_stops_the_others() {
    let folder = Folder::new();
    folder.write("ticks.yaml", &TICKS.replace("console,", "console, num.rows: 1,"));
    folder.write("broken.yaml", &WORDS.replace("upper(value)", "CAST(value AS INT)"));
    folder.write("data/checkpoints/broken/metadata", "no JSON");
    let ran = folder.run(&["run", "ticks.yaml", "broken.yaml"]);
    ran.says(1, &[]);
    assert!(ran.last_line().starts_with("error: query 'broken' failed: "), "{}", ran.stderr);
}

#[test]
fn a_checkpoint_of_another_query_is_refused() {
    let folder = Folder::new();
    let counts = |key: &str| {
        format!(
            "trigger: available-now
checkpoint.location: c
sources: {{ lines: {{ connector.class: file, path: in, format: text }} }}
sinks: {{ screen: {{ connector.class: console, output.mode: update, sql: {key} }} }}"
        )
    };
    folder.write("job.yaml", &counts("'SELECT value, count(*) AS n FROM lines GROUP BY value'"));
    folder.write("in/1.txt", "one\n");
    folder.run(&["run", "job.yaml"]).says(0, &[]);
    let other = counts("'SELECT length(value) AS l, upper(value) AS u, sum(1) AS n FROM lines GROUP BY 1, 2'");
    folder.write("job.yaml", &other);
    folder.write("in/2.txt", "two\n");
    let ran = folder.run(&["run", "job.yaml"]);
    ran.says(1, &["error: query 'job' failed: "]);
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_peer_that_is_away_is_named() {
    let folder = Folder::new();
    folder.write(
        "job.yaml",
        "sources: { lines: { connector.class: socket, host: 127.0.0.1, port: 1 } }\nsql: SELECT value FROM lines",
    );
    folder.run(&["run", "job.yaml"]).says(1, &["error: query 'job' failed: ", "127.0.0.1:1"]);
}
