//! The examples: all are valid, and the click job shows every event once.

use std::path::PathBuf;

use crate::process::{Folder, Ran};

fn root() -> PathBuf {
    std::env::current_dir().unwrap().join("..")
}

#[test]
fn every_example_is_valid() {
    let folder = Folder::new();
    for name in ["clicks/pipeline.yaml", "clicks-kafka.yaml", "rate.yaml", "word-count.yaml"] {
        let path = root().join("examples").join(name);
        folder.run(&["validate", &path.display().to_string()]).says(0, &[]);
    }
}

#[test]
fn the_click_job_counts_every_event_once() {
    let folder = Folder::new();
    let checkpoint = format!("checkpoint.location={}", folder.path("checkpoint").display());
    let table = format!("sinks.table.path={}", folder.path("table").display());
    let mut command = folder.command(&["run", "examples/clicks/pipeline.yaml", "--set", &checkpoint, "--set", &table]);
    let mut run = || Ran::of(command.current_dir(root()).output().unwrap());
    let first = run();
    first.says(0, &[]);
    // | start | end | page | views | users |
    let cells = first.stdout.lines().map(|it| it.split('|').map(str::trim).collect::<Vec<_>>());
    let views = cells.filter_map(|row| row.get(4)?.parse::<u64>().ok());
    assert_eq!(views.sum::<u64>(), 2000, "{}", first.stdout);
    let files = || std::fs::read_dir(folder.path("table")).unwrap().count();
    let written = files();
    assert!(written > 1, "data files beside the log");
    let second = run();
    second.says(0, &[]);
    assert_eq!((second.stdout.as_str(), files()), ("", written));
}
