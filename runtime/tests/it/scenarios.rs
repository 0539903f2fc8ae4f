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
    all_pass(|_| {}, |_| false).await;
}

/// Where state lies changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_passes_with_state_on_disk() {
    let on_disk = |scenario: &mut Scenario| {
        if scenario.settings.get("state.memory").is_none() {
            scenario.settings.push("state.memory", "1");
        }
    };
    all_pass(on_disk, |_| false).await;
}

/// Whether somebody looks at late rows changes nothing, where there may be some.
#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_passes_with_a_sink_of_late_rows() {
    let watched = |scenario: &mut Scenario| {
        if scenario.settings.get("late.rows.sink").is_none() {
            scenario.settings.push("late.rows.sink", "dropped");
            scenario.settings.push("sinks.dropped.connector.class", "memory");
        }
    };
    let passed = all_pass(watched, |failure| failure.contains("no operator of the query drops any")).await;
    assert!(passed > 200, "{passed} scenarios may have late rows");
}

/// Runs all scenarios, each after a change; how many passed. Failures that `may_fail` allows are none.
async fn all_pass(change: impl Fn(&mut Scenario), may_fail: impl Fn(&str) -> bool) -> usize {
    let files = files();
    assert!(!files.is_empty());
    let registry = tidegate::built_in();
    let (mut passed, mut failures) = (0, Vec::new());
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut scenario = Scenario::read(path).unwrap_or_else(|e| panic!("{name}: {e}"));
        change(&mut scenario);
        match scenario::run(&scenario, &registry).await {
            Ok(()) => passed += 1,
            Err(failure) if may_fail(&failure.to_string()) => {}
            Err(failure) => failures.push(format!("{name}: {failure}")),
        }
    }
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), files.len(), failures.join("\n\n"));
    passed
}
