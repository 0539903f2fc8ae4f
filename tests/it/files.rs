//! The click job from files: no server, one command, the table that DuckDB computes.

use std::time::Duration;

use crate::clicks;
use crate::process::{finish, tidegate};

#[test]
fn click_job_from_files_is_what_duckdb_computes() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    clicks::generate(&input, clicks::events(), 7);
    let source = format!("    connector.class: file\n    path: {}\n    max.files.per.trigger: 1", input.display());
    let pipeline = clicks::pipeline(folder.path(), &source, "trigger: available-now");
    let run = finish(tidegate(&["run", &pipeline.display().to_string()]), Duration::from_secs(600));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("Batch: 0") && run.stdout.contains("|views|users|"), "{}", run.stdout);
    let said = clicks::compare(&input, &folder.path().join("table"));
    assert!(!said.starts_with("rows 0 "), "{said}");
    // Nothing is left to do: a second run adds nothing.
    let again = finish(tidegate(&["run", &pipeline.display().to_string()]), Duration::from_secs(60));
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    clicks::compare(&input, &folder.path().join("table"));
}
