//! The conformance suite of sinks, and the crash matrix over folders of files.

use std::path::Path;
use std::sync::Arc;

use tidegate_api::Result;
use tidegate_testkit::crash::{BenchFactory, CrashSetup, Fault, MatrixReport, Mistake, ProgramKind, matrix};

use crate::sink_support::Table;

async fn disk(format: &str, manifest: &str) -> Result<Table> {
    Ok(Table::disk(format, manifest).with("append.foreign", "true"))
}

async fn memory(format: &str, manifest: &str) -> Result<Table> {
    Ok(Table::memory(format, manifest).with("append.foreign", "true"))
}

tidegate_testkit::sink_suite!(parquet_on_disk, || disk("parquet", "spark"));
tidegate_testkit::sink_suite!(json_on_disk, || disk("json", "spark"));
tidegate_testkit::sink_suite!(bounded_on_disk, || disk("parquet", "tidegate"));
tidegate_testkit::sink_suite!(parquet_in_memory, || memory("parquet", "spark"));
tidegate_testkit::sink_suite!(json_in_memory, || memory("json", "spark"));
tidegate_testkit::sink_suite!(bounded_in_memory, || memory("json", "tidegate"));

fn bench(memory: bool, manifest: &'static str) -> BenchFactory {
    Arc::new(move |folder: &Path| {
        let memory_table = || Table::memory("parquet", manifest);
        Ok(Box::new(if memory { memory_table() } else { Table::in_folder(folder, "parquet", manifest) }))
    })
}

fn setup(program: ProgramKind, sinks: Vec<BenchFactory>, faults: &[Fault]) -> CrashSetup {
    CrashSetup { faults: faults.to_vec(), ..CrashSetup::new(program, sinks) }
}

async fn run(name: &str, setup: CrashSetup) -> MatrixReport {
    let report = matrix(&setup).await.unwrap();
    println!("crash matrix, files, {name}: {} cases, {} wrong", report.cases, report.wrong.len());
    report
}

async fn finds_nothing(memory: bool, manifest: &'static str, faults: &[Fault]) {
    let (one, sinks) = (vec![bench(memory, manifest)], vec![bench(memory, manifest), bench(memory, manifest)]);
    // An error after the commit is a lost reply: the same parts come again.
    let cases = [
        ("aggregate", setup(ProgramKind::Aggregate, one.clone(), faults)),
        ("volatile", setup(ProgramKind::Volatile, one, &[Fault::Crash])),
        ("two folders", setup(ProgramKind::Aggregate, sinks, &[Fault::Crash])),
    ];
    for (name, setup) in cases {
        let report = run(&format!("{name}, {manifest}, in memory: {memory}"), setup).await;
        assert!(report.cases >= 50 && report.wrong.is_empty(), "{report}");
        let points = ["prepare", "commit.before", "commit.after"];
        assert!(points.iter().all(|it| report.points.contains_key(it)), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crash_matrix_finds_nothing() {
    finds_nothing(false, "spark", &Fault::ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crash_matrix_over_a_bounded_manifest_finds_nothing() {
    finds_nothing(false, "tidegate", &[Fault::Crash, Fault::ErrorOnce]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crash_matrix_over_object_stores_finds_nothing() {
    for manifest in ["spark", "tidegate"] {
        finds_nothing(true, manifest, &[Fault::Crash, Fault::ErrorOnce]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crash_matrix_two_deep_finds_nothing() {
    let setup = setup(ProgramKind::Aggregate, vec![bench(false, "spark")], &[Fault::Crash]);
    let report = run("aggregate, two deep", CrashSetup { two_deep: true, every: 4, ..setup }).await;
    assert!(report.cases >= 500 && report.wrong.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_about_the_sink_are_caught() {
    for mistake in [Mistake::SinkForgetsEpoch, Mistake::CommitLogFirst] {
        for manifest in ["spark", "tidegate"] {
            let crash = setup(ProgramKind::Stateless, vec![bench(false, manifest)], &[Fault::Crash]);
            let report = run(&format!("{manifest} with {mistake:?}"), crash.with_mistake(mistake)).await;
            assert!(!report.wrong.is_empty(), "{mistake:?} goes unseen: {report}");
        }
    }
}
