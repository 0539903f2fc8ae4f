//! The file sink over real processes: killed anywhere, disks that are full or read-only, folders read by DuckDB, pyarrow
//! and Spark.

use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{Finished, binary, finish, python, root, tidegate, wait, write};
use crate::stand;

const LIMIT: Duration = Duration::from_secs(300);

/// Writes numbered rows into files; `tests/oracle/files.py` says which.
pub(crate) fn numbers(folder: &Path, files: Range<usize>, rows_per_file: usize) -> usize {
    fs::create_dir_all(folder).unwrap();
    for file in files.clone() {
        let mut text = String::new();
        for id in file * rows_per_file..(file + 1) * rows_per_file {
            let (second, milli) = (id % 60, id % 1000);
            let (minute, hour, day) = (id / 60 % 60, id / 3600 % 24, id / 86_400 + 1);
            let word = if id % 5 == 0 { String::new() } else { format!(",\"word\":\"w{}\"", id % 7) };
            writeln!(
                text,
                "{{\"id\":{id}{word},\"ts\":\"2026-01-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z\"}}"
            )
            .unwrap();
        }
        write(&folder.join(format!("{file:04}.json")), &text);
    }
    files.len() * rows_per_file
}

/// A pipeline file: numbered rows to these sinks, a file an epoch.
pub(crate) fn pipeline(folder: &Path, name: &str, trigger: &str, sinks: &str) -> PathBuf {
    let text = format!(
        "name: {name}
checkpoint.location: {folder}/checkpoint-{name}
{trigger}
sources:
  numbers:
    connector.class: file
    path: {folder}/input
    max.files.per.trigger: 1
    schema: id BIGINT, word STRING, ts TIMESTAMP
sinks:
{sinks}
",
        folder = folder.display()
    );
    let path = folder.join(format!("{name}.yaml"));
    write(&path, &text);
    path
}

pub(crate) fn sink(name: &str, path: &Path, format: &str, manifest: &str) -> String {
    format!(
        "  {name}: {{ connector.class: file, path: {}, format: {format}, manifest.format: {manifest}, from: numbers }}\n",
        path.display()
    )
}

fn run(pipeline: &Path) -> Finished {
    finish(tidegate(&["run", &pipeline.display().to_string()]), LIMIT)
}

pub(crate) fn check(folder: &Path, format: &str, manifest: &str, rows: usize) {
    let folder = folder.display().to_string();
    println!("{}", python("tests/oracle/files.py", &[&folder, format, manifest, &rows.to_string()]).trim());
}

fn commits(checkpoint: &Path) -> usize {
    fs::read_dir(checkpoint.join("commits")).map_or(0, Iterator::count)
}

fn kill_later(pipeline: &Path, checkpoint: &Path, epochs: usize, wait_us: u64) {
    let goal = commits(checkpoint) + epochs;
    let mut child: Child = quiet(pipeline, None);
    let started = Instant::now();
    while commits(checkpoint) < goal && child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < LIMIT, "no progress");
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(Duration::from_micros(wait_us));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn quiet(pipeline: &Path, faults: Option<&str>) -> Child {
    let mut command: Command = tidegate(&["run", &pipeline.display().to_string()]);
    if let Some(faults) = faults {
        command.env("TIDEGATE_FAULTS", faults);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A data file that no manifest names, as another program might leave it.
fn plant(folder: &Path, extension: &str) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let one = files.filter(|it| it.extension().is_some_and(|it| it == extension)).min().unwrap();
    let planted = folder.join(format!("part-00000-planted.{extension}"));
    fs::copy(one, &planted).unwrap();
    planted
}

#[test]
fn files_survive_sigkill_and_spark_reads_each_row_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let rows = numbers(&at.join("input"), 0..80, 500);
    let seed = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(20_261_121_u64);
    println!("seed {seed}");
    let mut spark_arguments = vec![rows.to_string()];
    for (name, format) in [("parquet", "parquet"), ("json", "json")] {
        let (table, checkpoint) = (at.join(name), at.join(format!("checkpoint-{name}")));
        let sinks = sink("out", &table, format, "spark");
        let endless = pipeline(at, name, "", &sinks);
        for (step, kill) in
            ["prepare", "commit.before", "commit.after", "record.dirsync", "commits_file"].iter().zip(0..)
        {
            let mut child = quiet(&endless, Some(&format!("{step}=kill@{}", 3 + kill % 2)));
            let started = Instant::now();
            while child.try_wait().unwrap().is_none() {
                assert!(started.elapsed() < LIMIT, "step {step} was not reached");
                std::thread::sleep(Duration::from_millis(2));
            }
            assert_eq!(child.wait().unwrap().code(), None, "step {step}: ended by itself");
        }
        for kill in 0..10_u64 {
            let wait_us = seed.wrapping_mul(kill * 2 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
            kill_later(&endless, &checkpoint, 3, wait_us);
        }
        let last = run(&pipeline(at, name, "trigger: available-now", &sinks));
        assert_eq!(last.code, Some(0), "{}", last.stderr);
        check(&table, format, "spark", rows);
        plant(&table, format);
        spark_arguments.push(format!("{format}={}", table.display()));
    }
    let python = stand::cache().join("venv-spark/bin/python");
    assert!(python.exists(), "{} is missing: run tests/setup.sh", python.display());
    let mut spark = Command::new(python);
    spark.arg(root().join("tests/oracle/files_spark.py")).args(&spark_arguments);
    let spark = wait(spark.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), LIMIT);
    println!("{}", spark.stdout.trim());
    assert_eq!(spark.code, Some(0), "{}{}", spark.stdout, spark.stderr);
}

#[test]
fn two_folders_in_one_query_get_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let rows = numbers(&at.join("input"), 0..25, 200);
    let (left, right) = (at.join("left"), at.join("right"));
    let sinks = sink("left", &left, "parquet", "tidegate") + &sink("right", &right, "json", "spark");
    let checkpoint = at.join("checkpoint-both");
    let endless = pipeline(at, "both", "", &sinks);
    for wait_us in [0, 700, 1900, 3100] {
        kill_later(&endless, &checkpoint, 3, wait_us);
    }
    let last = run(&pipeline(at, "both", "trigger: available-now", &sinks));
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    check(&left, "parquet", "tidegate", rows);
    check(&right, "json", "spark", rows);
}

/// Runs a script with a small file system of its own at `disk`, in a name space of its own.
fn on_small_disk(at: &Path, script: &str) -> Finished {
    let disk = at.join("disk");
    fs::create_dir_all(&disk).unwrap();
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--map-root-user", "--mount", "sh", "-euc", script]);
    shell.env("DISK", &disk).env("TIDEGATE", binary()).env("AT", at);
    wait(shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), LIMIT)
}

#[test]
fn a_full_disk_stops_the_query_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let rows = numbers(&at.join("input"), 0..6, 4000);
    pipeline(at, "full", "trigger: available-now", &sink("out", &at.join("disk/table"), "json", "spark"));
    let script = "mount -t tmpfs -o size=700k tmpfs $DISK
        if $TIDEGATE run $AT/full.yaml; then echo 'it had room'; exit 9; fi
        ls $DISK/table/_staging | wc -l
        mount -o remount,size=64m $DISK
        $TIDEGATE run $AT/full.yaml
        cp -a $DISK/table $AT/copy";
    let run = on_small_disk(at, script);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.to_lowercase().contains("no space left"), "{}", run.stderr);
    check(&at.join("copy"), "json", "spark", rows);
}

#[test]
fn a_read_only_disk_stops_the_query_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    numbers(&at.join("input"), 0..3, 100);
    pipeline(at, "shut", "trigger: available-now", &sink("out", &at.join("disk/table"), "parquet", "spark"));
    let script = "mount -t tmpfs tmpfs $DISK
        $TIDEGATE run $AT/shut.yaml
        cp $AT/input/0002.json $AT/input/0003.json
        mount -o remount,ro $DISK
        if $TIDEGATE run $AT/shut.yaml; then echo 'it was written to'; exit 9; fi
        mount -o remount,rw $DISK
        rm $AT/input/0003.json
        cp -a $DISK/table $AT/copy";
    let started = Instant::now();
    let run = on_small_disk(at, script);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("Read-only file system"), "{}", run.stderr);
    assert!(started.elapsed() < Duration::from_secs(20), "it is not tried again: {:?}", started.elapsed());
    check(&at.join("copy"), "parquet", "spark", 300);
}
