//! The examples: all are valid, and print what they promise.

use std::path::PathBuf;

use crate::process::{Folder, Ran};

fn root() -> PathBuf {
    std::env::current_dir().unwrap().join("..")
}

#[test]
fn every_example_is_valid() {
    let folder = Folder::new();
    let examples = root().join("examples");
    let of = |folder: &str| {
        let entries = std::fs::read_dir(examples.join(folder)).unwrap().map(|it| it.unwrap().path());
        entries.filter(|it| it.extension().is_some_and(|it| it == "yaml")).collect::<Vec<_>>()
    };
    let all = [".", "clicks", "logins", "shop"].map(of).concat();
    assert!(all.len() >= 11, "{all:?}");
    for path in all {
        folder.run(&["validate", &path.display().to_string()]).says(0, &[]);
    }
}

/// The tables that an example prints, those without rows left out: the cells of each row, rows in order of their text.
fn tables(example: &str) -> Vec<Vec<String>> {
    let folder = Folder::new();
    let (file, checkpoint) = (format!("examples/shop/{example}.yaml"), folder.path("checkpoint").display().to_string());
    let mut command = folder.command(&["run", &file, "--set", &format!("checkpoint.location={checkpoint}")]);
    let ran = Ran::of(command.current_dir(root()).output().unwrap());
    ran.says(0, &[]);
    let rows_of = |table: &str| {
        let lines = table.lines().filter(|it| it.starts_with('|')).skip(1);
        let cells = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" ");
        let mut rows: Vec<_> = lines.map(|it| cells(it).replace("2026-03-01 ", "").replace(":00 ", " ")).collect();
        rows.sort();
        rows
    };
    ran.stdout.split("Batch: ").map(rows_of).filter(|it| !it.is_empty()).collect()
}

#[test]
fn windows_close_when_the_watermark_has_passed_them() {
    let expected: [&[&str]; 11] = [
        // The third file: the watermark is 10:07.
        &["10:00 18"],
        &["10:00 ink 2", "10:00 pen 2"],
        &["09:55 10:05 4.5 18"],
        // The fourth: 10:21.
        &["10:05 9", "10:15 1"],
        &["10:05 ink 1", "10:05 pen 1", "10:15 ink 1"],
        &["10:00 10:10 5.142857142857143 36", "10:05 10:15 4.5 9", "10:10 10:20 1.0 1"],
        &["10:01 10:11 pen 4", "10:02 10:14 ink 3"],
        // No more rows: 10:35.
        &["10:30 8"],
        &["10:30 pen 1"],
        &["10:15 10:25 1.0 1", "10:25 10:35 8.0 8"],
        &["10:17 10:22 ink 1"],
    ];
    assert_eq!(tables("windows"), expected);
}

#[test]
fn output_modes_show_one_result_in_three_ways() {
    let expected: [&[&str]; 12] = [
        &["10:00 7", "10:05 3"],
        &["10:00 7", "10:05 3"],
        &["10:00 11", "10:15 1"],
        &["10:00 11", "10:05 3", "10:15 1"],
        // The watermark is 10:07: append shows what is final.
        &["10:00 18"],
        &["10:00 18", "10:05 9", "10:30 8"],
        &["10:00 18", "10:05 9", "10:15 1", "10:30 8"],
        // Complete counts the order that is late for the others.
        &["10:05 9", "10:15 1"],
        &["10:45 2"],
        &["10:00 27", "10:05 9", "10:15 1", "10:30 8", "10:45 2"],
        &["10:30 8"],
        &["10:00 27", "10:05 9", "10:15 1", "10:30 8", "10:45 2"],
    ];
    assert_eq!(tables("output-modes"), expected);
}

#[test]
fn joins_tell_what_was_clicked_and_what_was_not() {
    let expected: [&[&str]; 5] = [
        &["a1 10:00 10:03:00", "a2 10:01 10:08:00"],
        &["a1 10:00 10:03:00"],
        &["a4 10:20 10:21:00"],
        &["a4 10:20 10:21:00"],
        // Nothing can click these in time any more.
        &["a2 10:01 NULL", "a3 10:02 NULL"],
    ];
    assert_eq!(tables("joins"), expected);
}

#[test]
fn an_inner_join_needs_no_watermark() {
    let expected: [&[&str]; 2] = [&["a1 10:00 10:03:00", "a2 10:01 10:08:00"], &["a4 10:20 10:21:00"]];
    assert_eq!(tables("inner-join"), expected);
}

#[test]
fn a_stream_is_joined_with_a_table() {
    assert_eq!(tables("static-join"), [["l1 Ann 10:00:00", "l2 Bob 10:01:00"]]);
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
