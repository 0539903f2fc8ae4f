//! Real queries of Spark that have stopped, from Kafka and from files, gone on with by the real binary: both together
//! deliver each row once.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::file_sink;
use crate::kafka::{create_topic, produce};
use crate::process::{Finished, finish, python, root, tidegate, wait, write};
use crate::stand::{self, Kafka};

const LIMIT: Duration = Duration::from_secs(600);
const TOPIC: &str = "import-numbers";
/// Numbers that Spark finds, and those that are there in the end.
const FIRST: usize = 600;
const ALL: usize = 1000;
/// Files likewise, and rows in each.
const FIRST_FILES: usize = 7;
const FILES: usize = 12;
const FILE_ROWS: usize = 50;

/// What Spark left behind, with more to read.
struct Left {
    kafka: Arc<Kafka>,
    folder: tempfile::TempDir,
}

#[test]
fn queries_of_spark_are_gone_on_with() {
    let left = Left::behind();
    left.topic_goes_on();
    left.pending_epoch_that_is_in_the_table();
    left.pending_epoch_that_is_not_in_the_table();
    left.epoch_that_failed();
    left.files_go_on();
    left.state_is_not_taken_over();
    left.what_is_gone_is_refused();
}

impl Left {
    fn behind() -> Self {
        let left = Self { kafka: Kafka::shared(), folder: tempfile::tempdir().unwrap() };
        create_topic(&left.kafka.servers(), TOPIC);
        left.produce(0..FIRST);
        file_sink::numbers(&left.path("input"), 0..FIRST_FILES, FILE_ROWS);
        let began = Instant::now();
        let (python, jars) = stand::spark();
        let mut spark = Command::new(python);
        spark.arg(root().join("tests/stand/spark_jobs.py")).args([&left.kafka.servers(), TOPIC]);
        spark.arg(left.folder.path()).arg(jars).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let spark = wait(spark.spawn().unwrap(), LIMIT);
        assert_eq!((spark.code, spark.stdout.trim()), (Some(0), "done"), "{}", spark.stderr);
        println!("spark: {:?}", began.elapsed());
        left.produce(FIRST..ALL);
        file_sink::numbers(&left.path("input"), FIRST_FILES..FILES, FILE_ROWS);
        left
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn produce(&self, numbers: std::ops::Range<usize>) {
        let mut text = String::new();
        for n in numbers {
            let (minute, second) = (n / 60, n % 60);
            writeln!(text, "{{\"n\":{n},\"ts\":\"2026-01-01T00:{minute:02}:{second:02}.000Z\"}}").unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("numbers"), &text);
        produce(&self.kafka.servers(), TOPIC, folder.path());
    }

    /// Another query of the same folder, as it stands.
    fn copy(&self, of: &str, name: &str) {
        let done = Command::new("cp").arg("-a").arg(self.path(of)).arg(self.path(name)).status().unwrap();
        assert!(done.success());
    }

    /// The newest epoch of a job of Spark.
    fn newest(&self, job: &str) -> u64 {
        let names = fs::read_dir(self.path(job).join("checkpoint/offsets")).unwrap();
        names.filter_map(|it| it.unwrap().file_name().to_str()?.parse().ok()).max().unwrap()
    }

    /// Takes an outcome away, as a crash before it was written leaves it.
    fn uncommit(&self, job: &str) {
        let commits = self.path(job).join("checkpoint/commits");
        let newest = self.newest(job);
        fs::remove_file(commits.join(newest.to_string())).unwrap();
        fs::remove_file(commits.join(format!(".{newest}.crc"))).unwrap();
    }

    /// A pipeline file that goes on with a job over the topic.
    fn pipeline(&self, job: &str, topic: &str, sink: &str) -> PathBuf {
        let text = format!(
            "name: {job}
checkpoint.location: {folder}/{job}/ours
trigger: available-now
sources:
  numbers:
    connector.class: kafka
    kafka.bootstrap.servers: {servers}
    topics: {topic}
    value.format: json
    schema: n BIGINT, ts TIMESTAMP
    watermark: {{ column: ts, delay: 30 seconds }}
sinks:
  table: {{ {sink}, path: {folder}/{job}/table, sql: {sql} }}
",
            folder = self.folder.path().display(),
            servers = self.kafka.servers(),
            sql = match job {
                "windows" =>
                    "\"SELECT window.start AS start, count(*) AS n FROM numbers GROUP BY window(ts, '10 seconds')\"",
                _ => "SELECT n FROM numbers WHERE n % 5 <> 0",
            },
        );
        let path = self.path(&format!("{job}.yaml"));
        write(&path, &text);
        path
    }

    fn import(&self, job: &str, pipeline: &Path, more: &[&str]) -> Finished {
        let from = self.path(job).join("checkpoint");
        let (pipeline, from) = (pipeline.display().to_string(), from.display().to_string());
        let args = ["checkpoint", "import", &pipeline, "--from", &from];
        finish(tidegate(&[&args[..], more].concat()), LIMIT)
    }

    /// Imports and runs; the table must hold each number once then.
    fn goes_on(&self, job: &str, sink: &str, more: &[&str]) -> String {
        let pipeline = self.pipeline(job, TOPIC, sink);
        let imported = self.import(job, &pipeline, more);
        assert_eq!(imported.code, Some(0), "{}", imported.stderr);
        run(&pipeline);
        let form = if sink.contains("delta") { "delta" } else { "parquet" };
        let table = self.path(job).join("table").display().to_string();
        println!("{job}: {}", python("tests/oracle/each_once.py", &[form, &table, &ALL.to_string()]).trim());
        imported.stdout
    }

    fn topic_goes_on(&self) {
        // Copies first: they need the table as Spark left it.
        self.copy("topic", "done");
        self.copy("topic", "redo");
        let newest = self.newest("topic");
        let said = self.goes_on("topic", DELTA, &[]);
        assert!(said.contains(&format!("next epoch {}", newest + 1)), "{said}");
        assert!(said.contains(&format!("source     numbers (source 0 of Spark's) at {{\"{TOPIC}\":{{")), "{said}");
        let again = self.import("topic", &self.path("topic.yaml"), &[]);
        assert_eq!(again.code, Some(1), "{}", again.stderr);
        assert!(again.stderr.contains("it has been used"), "{}", again.stderr);
        // The number goes on, and what tells of a checkpoint knows its beginning.
        let pipeline = self.path("topic.yaml").display().to_string();
        let shown = finish(tidegate(&["checkpoint", "show", "--json", &pipeline]), LIMIT);
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!(shown["epochs"][0]["epoch"], newest + 1);
        let verified = finish(tidegate(&["checkpoint", "verify", &pipeline]), LIMIT);
        assert_eq!(verified.code, Some(0), "{}", verified.stdout);
    }

    /// Spark died between its sink's commit and its own.
    fn pending_epoch_that_is_in_the_table(&self) {
        self.uncommit("done");
        let pipeline = self.pipeline("done", TOPIC, DELTA);
        let refused = self.import("done", &pipeline, &[]);
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        for word in ["is pending", "--pending done", "--pending redo"] {
            assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
        }
        assert!(!self.path("done/ours").exists(), "nothing is made of a refusal");
        self.goes_on("done", DELTA, &["--pending", "done"]);
    }

    /// Spark died before its sink's commit.
    fn pending_epoch_that_is_not_in_the_table(&self) {
        self.uncommit("redo");
        let log = self.path("redo").join("table/_delta_log");
        let versions = fs::read_dir(&log).unwrap().map(|it| it.unwrap().path());
        let newest = versions.filter(|it| it.extension().is_some_and(|it| it == "json")).max().unwrap();
        assert!(fs::read_to_string(&newest).unwrap().contains(&format!("\"version\":{}", self.newest("redo"))));
        for path in fs::read_dir(&log).unwrap().map(|it| it.unwrap().path()) {
            let version = newest.file_stem().unwrap().to_str().unwrap();
            if path.file_name().unwrap().to_string_lossy().contains(version) {
                fs::remove_file(path).unwrap();
            }
        }
        let said = self.goes_on("redo", DELTA, &["--pending", "redo"]);
        assert!(said.contains(&format!("next epoch {}", self.newest("redo"))), "{said}");
    }

    /// The epoch failed in Spark: nothing was taken away by hand.
    fn epoch_that_failed(&self) {
        let newest = self.newest("broken");
        assert!(!self.path("broken").join(format!("checkpoint/commits/{newest}")).exists(), "it failed");
        let said = self.goes_on("broken", PARQUET, &["--pending", "redo"]);
        assert!(said.contains(&format!("epoch {newest}, which was pending, is read again")), "{said}");
    }

    /// Spark's log of files has been compacted at other numbers than ours is.
    fn files_go_on(&self) {
        let at = self.folder.path();
        let sink = file_sink::sink("out", &at.join("files/table"), "parquet", "spark");
        let sink = sink.replace("from:", "append.foreign: true, from:");
        let pipeline = file_sink::pipeline(at, "files", "trigger: available-now", &sink);
        let imported = self.import("files", &pipeline, &[]);
        assert_eq!(imported.code, Some(0), "{}", imported.stderr);
        let line = format!("numbers (source 0 of Spark's) at {{\"logOffset\":{}}}", FIRST_FILES - 1);
        assert!(imported.stdout.contains(&line), "{}", imported.stdout);
        run(&pipeline);
        // The oracle wants the folder of staged files, which a committed epoch leaves empty.
        file_sink::check(&at.join("files/table"), "parquet", "spark", FILES * FILE_ROWS);
    }

    fn state_is_not_taken_over(&self) {
        let pipeline = self.pipeline("windows", TOPIC, DELTA);
        let refused = self.import("windows", &pipeline, &[]);
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains("--without-state: is needed: this query keeps rows"), "{}", refused.stderr);
        let imported = self.import("windows", &pipeline, &["--without-state", "--json"]);
        assert_eq!(imported.code, Some(0), "{}", imported.stderr);
        let newest = self.path("windows").join(format!("checkpoint/commits/{}", self.newest("windows")));
        let newest = fs::read_to_string(newest).unwrap();
        let outcome: Value = serde_json::from_str(newest.lines().nth(1).unwrap()).unwrap();
        let said: Value = serde_json::from_str(&imported.stdout).unwrap();
        assert_eq!(said["watermark_ms"], outcome["nextBatchWatermarkMs"]);
        // The last of Spark's numbers less thirty seconds.
        assert_eq!(said["watermark_ms"], 1_767_225_600_000_i64 + (FIRST as i64 - 1 - 30) * 1000);
        run(&pipeline);
    }

    fn what_is_gone_is_refused(&self) {
        create_topic(&self.kafka.servers(), "import-other");
        let pipeline = self.pipeline("gone", "import-other", DELTA);
        let refused = self.import("topic", &pipeline, &[]);
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
        assert!(refused.stderr.contains(&format!("{TOPIC} [0] is gone")), "{}", refused.stderr);
        // Nothing was begun: the right topic can still be taken.
        let pipeline = self.pipeline("gone", TOPIC, DELTA);
        let imported = self.import("topic", &pipeline, &[]);
        assert_eq!(imported.code, Some(0), "{}", imported.stderr);
    }
}

const DELTA: &str = "connector.class: delta";
const PARQUET: &str = "connector.class: file, format: parquet, append.foreign: true";

fn run(pipeline: &Path) {
    let ran = finish(tidegate(&["run", &pipeline.display().to_string()]), LIMIT);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}
