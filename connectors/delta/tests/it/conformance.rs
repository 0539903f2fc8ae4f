//! The conformance suite of sinks, and the crash matrix over real tables.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use deltalake::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;
use tidegate_api::{
    ConfigDef, ConnectorContext, DynSink, Error, QueryId, Result, Settings, SinkConnector, SinkSpec, async_trait,
};
use tidegate_delta::{Delta, DeltaConfig};
use tidegate_testkit::MemoryLog;
use tidegate_testkit::crash::{
    BenchFactory, CrashSetup, Fault, MatrixReport, Mistake, ProgramKind, SinkUnder, matrix, sink_pairs,
};
use tidegate_testkit::suite::SinkBench;

/// A table in a folder of its own.
struct TableBench {
    folder: PathBuf,
    /// Removes the folder, if it is this bench's.
    _owned: Option<TempDir>,
    log: MemoryLog,
    settings: Vec<(&'static str, &'static str)>,
}

impl TableBench {
    fn table(&self) -> PathBuf {
        self.folder.join("table")
    }
}

#[async_trait]
impl SinkBench for TableBench {
    async fn sink(&self, spec: &SinkSpec) -> Result<Box<dyn DynSink>> {
        let settings = self.settings.iter().copied().chain([("path", "table")]);
        let config = DeltaConfig::parse(&Settings::from_iter(settings)).expect("good settings");
        let mut ctx = ConnectorContext::new("suite", "out", QueryId("suite".into()), Arc::new(self.log.clone()));
        ctx.data_dir = self.folder.clone();
        Ok(Box::new(Delta::build(config, spec, &ctx).await?))
    }

    async fn rows(&self) -> Result<Vec<RecordBatch>> {
        if !self.table().join("_delta_log").exists() {
            return Ok(Vec::new());
        }
        let url = url::Url::from_directory_path(self.table()).unwrap();
        let table = deltalake::open_table(url).await.map_err(|e| Error::internal("table").because(e))?;
        let mut rows = Vec::new();
        for uri in table.get_file_uris().unwrap() {
            let file = std::fs::File::open(&uri).map_err(|e| Error::internal(format!("file {uri}")).because(e))?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
            rows.extend(reader.map(|it| it.unwrap()));
        }
        Ok(rows)
    }
}

async fn new_bench() -> Result<TableBench> {
    let dir = TempDir::new().unwrap();
    Ok(TableBench {
        folder: dir.path().to_owned(),
        _owned: Some(dir),
        log: MemoryLog::default(),
        settings: vec![("log.checkpoint.interval", "2")],
    })
}

tidegate_testkit::sink_suite!(suite, new_bench);

fn table_bench() -> BenchFactory {
    Arc::new(|folder: &Path| {
        let settings = vec![("log.checkpoint.interval", "3")];
        Ok(Box::new(TableBench { folder: folder.to_owned(), _owned: None, log: MemoryLog::default(), settings }))
    })
}

async fn run(name: &str, setup: CrashSetup) -> MatrixReport {
    let report = matrix(&setup).await.unwrap();
    println!("crash matrix, {name}: {} cases, {} wrong", report.cases, report.wrong.len());
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crash_matrix_finds_nothing() {
    let stateless = CrashSetup { faults: vec![Fault::Crash], ..setup(ProgramKind::Stateless, 1) };
    // An error after the commit is a lost reply: the same parts come again.
    let faults = vec![Fault::Crash, Fault::ErrorOnce];
    let aggregate = CrashSetup { faults, ..setup(ProgramKind::Aggregate, 1) };
    for (name, setup) in [("aggregate", aggregate), ("stateless", stateless)] {
        let report = run(name, setup).await;
        assert!(report.cases >= 50 && report.wrong.is_empty(), "{report}");
        assert!(
            ["prepare", "commit.before", "commit.after"].iter().all(|it| report.points.contains_key(it)),
            "{report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crash_matrix_over_two_tables_finds_nothing() {
    let report = run("two tables", CrashSetup { faults: vec![Fault::Crash], ..setup(ProgramKind::Aggregate, 2) }).await;
    assert!(report.cases >= 50 && report.wrong.is_empty(), "{report}");
}

/// Every pair of faults, of which the first happens in these epochs.
pub(crate) fn every_pair(name: &str, bench: BenchFactory, epochs: Range<u64>) {
    let began = Instant::now();
    let report = sink_pairs(bench, epochs).unwrap();
    println!("crash pairs, {name}: {:.1?}: {report}", began.elapsed());
    assert!(report.wrong.is_empty() && report.acted == report.ran && report.points.len() >= 7, "{name}");
}

#[test]
fn every_pair_of_faults_is_survived_on_a_local_disk() {
    every_pair("delta, local disk", table_bench(), 1..2);
}

/// Nothing but the sink stops an owner that was followed by another, once that has committed an epoch with rows. Before it
/// has, the sink can't know whose epoch is the right one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sink_alone_fences_an_old_owner() {
    for program in [ProgramKind::Stateless, ProgramKind::Aggregate, ProgramKind::Volatile] {
        let sinks = vec![SinkUnder::Bench(table_bench())];
        let setup = CrashSetup { faults: vec![Fault::Stop], ..CrashSetup::on(program, sinks) };
        let setup = CrashSetup { check_ownership: false, epochs: Some(0..4), ..setup };
        let report = run(&format!("{program:?}, ownership unchecked"), setup).await;
        assert!(report.cases >= 30 && report.acted == report.cases && report.wrong.is_empty(), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_about_the_sink_are_caught() {
    for mistake in [Mistake::SinkForgetsEpoch, Mistake::CommitLogFirst] {
        let crash = CrashSetup { faults: vec![Fault::Crash], ..setup(ProgramKind::Stateless, 1) };
        let report = run(&format!("with {mistake:?}"), crash.with_mistake(mistake)).await;
        assert!(!report.wrong.is_empty(), "{mistake:?} goes unseen: {report}");
    }
}

fn setup(program: ProgramKind, sinks: usize) -> CrashSetup {
    CrashSetup::new(program, (0..sinks).map(|_| table_bench()).collect())
}
