//! All scenario files of the repository, in this process.

use std::path::PathBuf;

use tidegate::scenario::{self, Scenario};

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("../tests/scenarios").unwrap().map(|it| it.unwrap().path());
    let mut files: Vec<_> = entries.filter(|it| it.extension().is_some_and(|it| it == "yaml")).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_passes() {
    all_pass(None).await;
}

/// Where state lies changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_passes_with_state_on_disk() {
    all_pass(Some("1")).await;
}

async fn all_pass(state_memory: Option<&str>) {
    let files = files();
    assert!(!files.is_empty());
    let registry = tidegate::built_in();
    let mut failures = Vec::new();
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut scenario = Scenario::read(path).unwrap_or_else(|e| panic!("{name}: {e}"));
        if let Some(bytes) = state_memory.filter(|_| scenario.settings.get("state.memory").is_none()) {
            scenario.settings.push("state.memory", bytes);
        }
        if let Err(failure) = scenario::run(&scenario, &registry).await {
            failures.push(format!("{name}: {failure}"));
        }
    }
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), files.len(), failures.join("\n\n"));
}
