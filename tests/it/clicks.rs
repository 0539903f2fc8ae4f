//! The click job: its input, its pipeline file, and the comparison with DuckDB.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{python, python_with, root, write};

/// Events of the click job in the tests; `TIDEGATE_TEST_EVENTS` sets another number for long runs.
pub(crate) fn events() -> usize {
    std::env::var("TIDEGATE_TEST_EVENTS").ok().and_then(|it| it.parse().ok()).unwrap_or(200_000)
}

/// Writes `events` clicks into four files in `folder`.
pub(crate) fn generate(folder: &Path, events: usize, seed: u64) {
    generate_files(folder, events, seed, 4);
}

/// The same into so many files.
pub(crate) fn generate_files(folder: &Path, events: usize, seed: u64, files: usize) {
    let status = Command::new("python3")
        .arg(root().join("examples/clicks/generate.py"))
        .args(["--events", &events.to_string(), "--seed", &seed.to_string(), "--files", &files.to_string(), "--out"])
        .arg(folder)
        .status()
        .expect("python3 runs");
    assert!(status.success(), "the generator failed");
}

/// A pipeline file of the click job; `source` is the text of the source's own keys.
pub(crate) fn pipeline(folder: &Path, source: &str, options: &str) -> PathBuf {
    let text = format!(
        r#"name: clicks
checkpoint.location: {folder}/checkpoint
{options}
sources:
  clicks:
{source}
    value.format: json
    schema: event_id STRING, user_id BIGINT, page STRING, action STRING, amount DOUBLE, ts TIMESTAMP, agent STRING
    watermark: {{ column: ts, delay: 10 minutes }}
views:
  per_page: |
    SELECT window.start AS start, window.end AS end, page, count(*) AS views, count(user_id) AS users
    FROM clicks GROUP BY window(ts, '5 minutes'), page
sinks:
  table: {{ connector.class: delta, path: {folder}/table, from: per_page }}
  screen: {{ connector.class: console, from: per_page, output.mode: update }}
"#,
        folder = folder.display()
    );
    let path = folder.join("clicks.yaml");
    write(&path, &text);
    path
}

/// Fails unless the table is what DuckDB computes over the same input; returns what the comparison printed.
pub(crate) fn compare(input: &Path, table: &Path) -> String {
    let glob = format!("{}/*.json*", input.display());
    let said = python("tests/oracle/clicks.py", &[&glob, &table.display().to_string()]);
    println!("{said}");
    said
}

/// The same for a table on an object store, whose settings `env` has.
pub(crate) fn compare_url(input: &Path, url: &str, env: &[(String, String)]) -> String {
    let glob = format!("{}/*.json*", input.display());
    let said = python_with("tests/oracle/clicks.py", &[&glob, url], env);
    println!("{said}");
    said
}
