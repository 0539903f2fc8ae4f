//! Bad input over real processes: a clear error, or a null where Spark says so, and nothing lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process::{Finished, finish, tidegate, write};
use crate::stand::{Kafka, free_port};

fn run(pipeline: &Path) -> Finished {
    finish(tidegate(&["run", &pipeline.display().to_string()]), Duration::from_secs(120))
}

/// A pipeline that shows what a source reads.
fn shown(folder: &Path, source: &str) -> PathBuf {
    let path = folder.join("shown.yaml");
    let text = format!(
        r#"name: shown
checkpoint.location: {folder}/checkpoint
trigger: available-now
sources:
  input:
{source}
    value.format: json
    schema: id BIGINT, amount DOUBLE, ts TIMESTAMP
sinks:
  screen: {{ connector.class: console, from: input }}
"#,
        folder = folder.display()
    );
    write(&path, &text);
    path
}

fn from_files(folder: &Path, lines: &str) -> PathBuf {
    let input = folder.join("input");
    fs::create_dir_all(&input).unwrap();
    write(&input.join("a.json"), lines);
    shown(folder, &format!("    connector.class: file\n    path: {}", input.display()))
}

#[test]
fn malformed_documents_and_wrong_types_are_nulls() {
    let folder = tempfile::tempdir().unwrap();
    let lines = concat!(
        "{\"id\": 1, \"amount\": 2.5, \"ts\": \"2026-03-01T10:00:00Z\"}\n",
        "{\"id\": \"one\", \"amount\": 3.5, \"ts\": \"2026-03-01T10:00:01Z\"}\n",
        "{\"id\": 3, \"amount\": true, \"ts\": \"no time\"}\n",
        "this is no JSON\n",
        "{\"id\": 5, \"amount\": 1.0\n",
    );
    let run = run(&from_files(folder.path(), lines));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let expected = "\
+----+------+-------------------+
|  id|amount|                 ts|
+----+------+-------------------+
|   1|   2.5|2026-03-01 10:00:00|
|NULL|   3.5|2026-03-01 10:00:01|
|   3|  NULL|               NULL|
|NULL|  NULL|               NULL|
|NULL|  NULL|               NULL|
+----+------+-------------------+
";
    assert!(run.stdout.contains(expected), "{}", run.stdout);
}

#[test]
fn a_missing_topic_is_named() {
    let kafka = Kafka::shared();
    let folder = tempfile::tempdir().unwrap();
    let source = format!(
        "    connector.class: kafka\n    kafka.bootstrap.servers: {}\n    topics: not-there\n    starting.offsets: earliest",
        kafka.servers()
    );
    let run = run(&shown(folder.path(), &source));
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let last = run.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("not-there") && last.contains("shown"), "{}", run.stderr);
}

#[test]
fn an_unreachable_broker_is_named_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let servers = format!("127.0.0.1:{}", free_port());
    let source = format!(
        "    connector.class: kafka\n    kafka.bootstrap.servers: {servers}\n    topics: clicks\n    poll.timeout.ms: 3000\n    \
         kafka.sasl.password: not-to-be-shown"
    );
    let started = Instant::now();
    let run = run(&shown(folder.path(), &source));
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let last = run.stderr.lines().last().unwrap_or_default();
    assert!(last.contains(&servers), "{}", run.stderr);
    assert!(!run.stderr.contains("not-to-be-shown"), "{}", run.stderr);
    println!("after {:?}: {last}", started.elapsed());
}

#[test]
fn a_damaged_checkpoint_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = from_files(folder.path(), "{\"id\": 1}\n");
    assert_eq!(run(&pipeline).code, Some(0));
    let log = folder.path().join("checkpoint/state/wal");
    let mut records: Vec<_> = fs::read_dir(&log).unwrap().map(|it| it.unwrap().path()).collect();
    records.sort();
    let newest = records.pop().expect("a record");
    let whole = fs::read(&newest).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    fs::write(&newest, &damaged).unwrap();
    let refused = run(&pipeline);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let name = newest.file_name().unwrap().to_string_lossy();
    assert!(refused.stderr.contains(&*name), "{}", refused.stderr);
    assert_eq!(fs::read(&newest).unwrap(), damaged, "nothing is touched");
    fs::write(&newest, &whole).unwrap();
    write(&folder.path().join("input/b.json"), "{\"id\": 2}\n");
    let mended = run(&pipeline);
    assert_eq!(mended.code, Some(0), "{}", mended.stderr);
    assert!(mended.stdout.contains("|  2|") && !mended.stdout.contains("|  1|"), "{}", mended.stdout);
}
