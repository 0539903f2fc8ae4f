//! The conformance suite of sinks, and the crash matrix over folders of files.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tidegate_api::Result;
use tidegate_storage::object_store::memory::InMemory;
use tidegate_testkit::FlakyStore;
use tidegate_testkit::crash::{
    BenchFactory, CrashSetup, Fault, MatrixReport, Mistake, ProgramKind, SinkUnder, all_pairs, matrix, sink_pairs,
};
use tidegate_testkit::store::FlakyPlan;

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

/// Every pair of faults, of which the first happens in these epochs.
fn every_pair(name: &str, bench: BenchFactory, epochs: Range<u64>) {
    let began = Instant::now();
    let report = sink_pairs(bench, epochs).unwrap();
    println!("crash pairs, files, {name}: {:.1?}: {report}", began.elapsed());
    assert!(report.wrong.is_empty() && report.acted == report.ran && report.points.len() >= 7, "{name}");
}

#[test]
fn every_pair_of_faults_is_survived_on_a_local_disk() {
    every_pair("local disk", bench(false, "spark"), 0..2);
}

#[test]
fn every_pair_of_faults_is_survived_on_an_object_store() {
    if all_pairs() {
        // Else the store that fails shows what this one does.
        every_pair("object store", bench(true, "spark"), 0..2);
    }
    every_pair("object store, bounded manifest", bench(true, "tidegate"), 0..1);
}

#[test]
fn every_pair_of_faults_is_survived_on_a_store_that_fails() {
    let flaky: BenchFactory = Arc::new(|_| {
        let store = FlakyStore::new(Arc::new(InMemory::new()), 5);
        // Never more often in a row than the sink tries.
        let (fail, unavailable, lose_reply, repeat) = (0.02, 0.02, 0.03, 0.02);
        store.set(FlakyPlan { fail, unavailable, lose_reply, repeat, most_in_a_row: Some(1), ..FlakyPlan::default() });
        let mut table = Table::store(Arc::new(store.clone()), "parquet", "spark");
        table.view = store.inner().clone();
        Ok(Box::new(table))
    });
    every_pair("a store that fails", flaky, 1..2);
}

/// Nothing but the sink stops an owner that was followed by another, once that has committed an epoch with rows. Before it
/// has, the sink can't know whose epoch is the right one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sink_alone_fences_an_old_owner() {
    for program in [ProgramKind::Stateless, ProgramKind::Aggregate, ProgramKind::Volatile] {
        let sinks = vec![SinkUnder::Bench(bench(false, "spark"))];
        let setup = CrashSetup { faults: vec![Fault::Stop], ..CrashSetup::on(program, sinks) };
        let setup = CrashSetup { check_ownership: false, epochs: Some(0..4), ..setup };
        let report = run(&format!("{program:?}, ownership unchecked"), setup).await;
        assert!(report.cases >= 30 && report.acted == report.cases && report.wrong.is_empty(), "{report}");
    }
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
