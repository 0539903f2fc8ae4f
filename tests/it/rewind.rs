//! Going back on the command line, over real tables, folders and topics: what is kept does not come again, what is
//! replayed is taken back first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka::{client, create_topic};
use crate::process::{Finished, finish, python, tidegate};
use crate::stand::Kafka;
use crate::{clicks, file_sink};

const LIMIT: Duration = Duration::from_secs(300);

fn run(pipeline: &Path) {
    let ran = finish(tidegate(&["run", &pipeline.display().to_string()]), LIMIT);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

fn rewind(pipeline: &Path, to: u64, sinks: &str) -> Finished {
    let (pipeline, to) = (pipeline.display().to_string(), to.to_string());
    finish(tidegate(&["checkpoint", "rewind", &pipeline, "--to", &to, "--sinks", sinks]), LIMIT)
}

/// Goes back; returns what was said of the sinks.
fn rewound(pipeline: &Path, to: u64, sinks: &str) -> String {
    let done = rewind(pipeline, to, sinks);
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    println!("{}", done.stdout.trim());
    done.stdout
}

/// The job of windows over clicks into a Delta table, of which a part of the input is there.
struct Clicks {
    folder: tempfile::TempDir,
    pipeline: PathBuf,
}

impl Clicks {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        clicks::generate_files(&at.join("all"), clicks::events() / 2, seed, 8);
        fs::create_dir(at.join("input")).unwrap();
        let source = format!(
            "    connector.class: file\n    path: {}\n    max.files.per.trigger: 1",
            at.join("input").display()
        );
        let pipeline = clicks::pipeline(at, &source, "trigger: available-now");
        Self { folder, pipeline }
    }

    /// So many files are there.
    fn put(&self, files: usize) {
        let mut all: Vec<_> =
            fs::read_dir(self.folder.path().join("all")).unwrap().map(|it| it.unwrap().path()).collect();
        all.sort();
        for file in all.iter().take(files) {
            let place = self.folder.path().join("input").join(file.file_name().unwrap());
            if !place.exists() {
                fs::copy(file, place).unwrap();
            }
        }
    }

    fn table(&self) -> PathBuf {
        self.folder.path().join("table")
    }

    fn compare(&self) {
        clicks::compare(&self.folder.path().join("input"), &self.table());
    }

    fn versions(&self) -> usize {
        let names = fs::read_dir(self.table().join("_delta_log")).unwrap();
        names.filter(|it| it.as_ref().unwrap().path().extension().is_some_and(|it| it == "json")).count()
    }
}

#[test]
fn kept_rows_of_a_delta_table_do_not_come_again() {
    let job = Clicks::new(31);
    job.put(5);
    run(&job.pipeline);
    let versions = job.versions();
    for to in [3, 0] {
        let said = rewound(&job.pipeline, to, "keep");
        assert!(said.contains(&format!("sink       table: keeps its rows of epochs after {to}")), "{said}");
        run(&job.pipeline);
        assert_eq!(job.versions(), versions, "nothing is new");
        job.compare();
    }
    job.put(8);
    run(&job.pipeline);
    assert!(job.versions() > versions);
    job.compare();
}

#[test]
fn replayed_rows_of_a_delta_table_are_taken_back_first() {
    let job = Clicks::new(32);
    job.put(6);
    run(&job.pipeline);
    for to in [4, 2] {
        let said = rewound(&job.pipeline, to, "replay");
        for line in ["sink       table: has taken back its rows", "sink       screen: gets its rows of epochs after"] {
            assert!(said.contains(line), "{said}");
        }
        let table = job.table().display().to_string();
        // The second time it goes back before anything has run since the first.
        println!("{}", python("tests/oracle/rewound.py", &[&table, &to.to_string()]).trim());
    }
    run(&job.pipeline);
    job.compare();
    job.put(8);
    run(&job.pipeline);
    job.compare();
    let pipeline = job.pipeline.display().to_string();
    let verified = finish(tidegate(&["checkpoint", "verify", &pipeline]), LIMIT);
    assert_eq!(verified.code, Some(0), "{}", verified.stdout);
}

#[test]
fn folders_of_files_are_kept_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let rows = file_sink::numbers(&at.join("input"), 0..10, 100);
    let (left, right) = (at.join("left"), at.join("right"));
    let sinks =
        file_sink::sink("left", &left, "parquet", "spark") + &file_sink::sink("right", &right, "json", "tidegate");
    let pipeline = file_sink::pipeline(at, "back", "trigger: available-now", &sinks);
    let check = |rows| {
        file_sink::check(&left, "parquet", "spark", rows);
        file_sink::check(&right, "json", "tidegate", rows);
    };
    run(&pipeline);
    rewound(&pipeline, 6, "keep");
    run(&pipeline);
    check(rows);
    rewound(&pipeline, 3, "replay");
    check(400);
    run(&pipeline);
    check(rows);
    let more = file_sink::numbers(&at.join("input"), 10..13, 100);
    run(&pipeline);
    check(rows + more);
}

#[test]
fn a_topic_gets_replayed_rows_a_second_time_and_the_user_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (at, kafka) = (folder.path(), Kafka::shared());
    file_sink::numbers(&at.join("input"), 0..4, 25);
    create_topic(&kafka.servers(), "rewind-target");
    let sink = format!(
        "  out: {{ connector.class: kafka, kafka.bootstrap.servers: '{}', topic: rewind-target, value.format: json, \
         markers.topic: rewind-markers, from: numbers }}\n",
        kafka.servers()
    );
    let pipeline = file_sink::pipeline(at, "topic", "trigger: available-now", &sink);
    run(&pipeline);
    assert_eq!(records(&kafka, "rewind-target"), 100);
    let said = rewound(&pipeline, 1, "keep");
    assert!(said.contains("out: keeps its rows"), "{said}");
    run(&pipeline);
    assert_eq!(records(&kafka, "rewind-target"), 100);
    let said = rewound(&pipeline, 1, "replay");
    assert!(said.contains("out: can't take back its rows of epochs after 1: they come a second time"), "{said}");
    run(&pipeline);
    assert_eq!(records(&kafka, "rewind-target"), 150, "epochs 2 and 3 came again");
}

/// Committed records of a topic.
fn records(kafka: &Kafka, topic: &str) -> usize {
    let mut config = client(&kafka.servers());
    config.set("group.id", "reader").set("enable.partition.eof", "true").set("isolation.level", "read_committed");
    let reader: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..4 {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    reader.assign(&list).unwrap();
    let (mut ended, mut found, began) = (0, 0, Instant::now());
    while ended < 4 {
        assert!(began.elapsed() < LIMIT);
        match reader.poll(Duration::from_millis(200)) {
            Some(Ok(_)) => found += 1,
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(e)) => panic!("{e}"),
            None => {}
        }
    }
    found
}

#[test]
fn a_running_query_and_an_epoch_that_is_not_there_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    file_sink::numbers(&at.join("input"), 0..3, 10);
    let sinks = file_sink::sink("out", &at.join("out"), "json", "tidegate");
    let pipeline = file_sink::pipeline(at, "mine", "", &sinks);
    let none = rewind(&pipeline, 0, "keep");
    assert_eq!(none.code, Some(1));
    assert!(
        none.stderr.contains("there is no checkpoint at") && !at.join("checkpoint-mine").exists(),
        "{}",
        none.stderr
    );
    let mut command = tidegate(&["run", &pipeline.display().to_string()]);
    let running: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !at.join("checkpoint-mine/commits/2").exists() {
        assert!(began.elapsed() < LIMIT, "no progress");
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = rewind(&pipeline, 0, "replay");
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let owner = format!("(process {} on ", running.id());
    assert!(refused.stderr.contains("is in use by run ") && refused.stderr.contains(&owner), "{}", refused.stderr);
    let stopped = std::process::Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    let mut running = running;
    assert_eq!(running.wait().unwrap().code(), Some(0));
    let refused = rewind(&pipeline, 3, "keep");
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let expected = "epoch 3 can't be gone back to: expected one from 0 to 2";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    file_sink::check(&at.join("out"), "json", "tidegate", 30);
}
