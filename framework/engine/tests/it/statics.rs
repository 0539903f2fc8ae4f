//! Static sources: a pending epoch reads them as they were when it was planned.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow_array::{Int64Array, StringArray};
use arrow_schema::{DataType, Field};
use tidegate_api::prelude::*;
use tidegate_engine::{QuerySpec, SourceSpec, ask_columns, plan};

use crate::harness::{Rig, sink, source, spec, until_idle};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_epoch_sees_the_static_table_of_its_plan() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let input = source("input", "k STRING", None);
    let mut users = source("users", "k STRING, name STRING", None);
    users.is_static = true;
    let sql = "SELECT i.k AS k, u.name AS name FROM input i JOIN users u ON i.k = u.k";
    let query = || {
        let sinks = vec![sink("sink", sql, OutputMode::Append)];
        spec(folder.path(), vec![input.clone(), users.clone()], &[], sinks)
    };
    rig.add(&users, &[r#"{"k":"a","name":"Ann"}"#.to_owned()]);
    rig.add(&input, &[r#"{"k":"a"}"#.to_owned(), r#"{"k":"b"}"#.to_owned()]);
    let mut running = rig.start(query()).await.unwrap();
    rig.arm("ownership=crash");
    running.step().await.unwrap_err();
    drop(running);
    rig.add(&users, &[r#"{"k":"b","name":"Bob"}"#.to_owned()]);
    let mut running = rig.start(query()).await.unwrap();
    assert_eq!(rig.sink_rows("sink"), [r#"{"k":"a","name":"Ann"}"#], "Bob came after the plan");
    rig.add(&input, &[r#"{"k":"b"}"#.to_owned()]);
    until_idle(&mut running).await.unwrap();
    assert_eq!(rig.sink_rows("sink"), [r#"{"k":"a","name":"Ann"}"#, r#"{"k":"b","name":"Bob"}"#]);
}

/// How often the table was read.
static READINGS: AtomicI64 = AtomicI64::new(0);

/// Settings of the `counting` source.
#[derive(ConfigDef)]
struct CountingConfig {}

/// A table without versions, of one row: how often it was read.
struct Counting;

struct CountingTable(i64);

fn counting_schema() -> SchemaRef {
    let columns = [("k", DataType::Utf8), ("reading", DataType::Int64)];
    Arc::new(Schema::new(columns.map(|(name, of)| Field::new(name, of, true)).to_vec()))
}

#[async_trait]
impl SourceConnector for Counting {
    const NAME: &'static str = "counting";
    type Config = CountingConfig;
    type Source = CountingTable;

    fn only_static() -> Option<&'static str> {
        Some("a counting table is no stream: set static: true")
    }

    fn tells_columns() -> bool {
        true
    }

    async fn columns(_config: CountingConfig) -> Result<SchemaRef> {
        Ok(counting_schema())
    }

    async fn build(_config: CountingConfig, _ctx: &ConnectorContext) -> Result<CountingTable> {
        Ok(CountingTable(0))
    }
}

#[async_trait]
impl Source for CountingTable {
    type Offset = i64;

    fn payload(&self) -> Payload {
        Payload::Rows(counting_schema())
    }

    fn replay(&self) -> Replay {
        Replay::None
    }

    async fn initial_offset(&mut self) -> Result<i64> {
        Ok(0)
    }

    async fn plan(&mut self, _start: &i64, _limit: &ReadLimit) -> Result<Planned<i64>> {
        self.0 += 1;
        Ok(Planned { end: self.0, latest: self.0, rows: None, bytes: None, schema: None })
    }

    async fn read(&self, _split: Split<i64>) -> Result<BatchStream> {
        let reading = READINGS.fetch_add(1, Ordering::Relaxed) + 1;
        let columns: Vec<arrow_array::ArrayRef> =
            vec![Arc::new(StringArray::from(vec!["a"])), Arc::new(Int64Array::from(vec![reading]))];
        let batch = RecordBatch::try_new(counting_schema(), columns).map_err(|e| Error::internal("rows").because(e));
        Ok(Box::pin(futures::stream::iter([batch])))
    }

    fn describe(&self) -> String {
        "counting".to_owned()
    }
}

/// A query that joins `input` with the counting table.
fn counting_query(folder: &std::path::Path, input: &SourceSpec, is_static: bool) -> QuerySpec {
    let mut table = source("readings", "k STRING", None);
    table.connector = "counting".into();
    (table.schema, table.is_static) = (None, is_static);
    let sql = "SELECT i.k AS k, r.reading AS reading FROM input i JOIN readings r ON i.k = r.k";
    spec(folder, vec![input.clone(), table], &[], vec![sink("sink", sql, OutputMode::Append)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_versions_is_read_in_each_epoch_and_not_again_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let registry = rig.registry().source::<Counting>();
    let input = source("input", "k STRING", None);
    let row = || [r#"{"k":"a"}"#.to_owned()];
    rig.add(&input, &row());
    let start = async || {
        let mut query = counting_query(folder.path(), &input, true);
        ask_columns(&mut query, &registry).await.unwrap();
        plan(query, &registry).await.unwrap().start(rig.environment()).await.unwrap()
    };
    let mut running = start().await;
    rig.arm("ownership=crash");
    running.step().await.unwrap_err();
    drop(running);
    // The epoch is finished with the rows that it had: what they were is staged.
    let mut running = start().await;
    assert_eq!(rig.sink_rows("sink"), [r#"{"k":"a","reading":1}"#]);
    assert_eq!(READINGS.load(Ordering::Relaxed), 1);
    for at in 2..4 {
        rig.add(&input, &row());
        until_idle(&mut running).await.unwrap();
        assert_eq!(rig.sink_rows("sink").last().unwrap(), &format!(r#"{{"k":"a","reading":{at}}}"#));
    }
}

#[tokio::test]
async fn what_a_source_is_not_made_for_or_does_not_know_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let registry = rig.registry().source::<Counting>();
    let input = source("input", "k STRING", None);
    let mut stream = counting_query(folder.path(), &input, false);
    ask_columns(&mut stream, &registry).await.unwrap();
    let problems = plan(stream, &registry).await.err().unwrap();
    assert_eq!(problems[0].to_string(), "sources.readings: a counting table is no stream: set static: true");
    let problems = plan(counting_query(folder.path(), &input, true), &registry).await.err().unwrap();
    let said = "sources.readings: schema: missing; it is asked for its columns when the query starts";
    assert_eq!(problems[0].to_string(), said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_of_a_table_are_counted_against_the_memory_of_the_query() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let input = source("input", "k STRING", None);
    let mut users = source("users", "k STRING, name STRING", None);
    users.is_static = true;
    rig.add(&users, &[format!(r#"{{"k":"a","name":"{}"}}"#, "x".repeat(5000))]);
    rig.add(&input, &[r#"{"k":"a"}"#.to_owned()]);
    let sql = "SELECT i.k AS k, u.name AS name FROM input i JOIN users u ON i.k = u.k";
    let query = spec(folder.path(), vec![input, users], &[], vec![sink("sink", sql, OutputMode::Append)]);
    let mut environment = rig.environment();
    environment.memory = MemoryBudget::new(4096);
    let mut running = plan(query, &rig.registry()).await.unwrap().start(environment).await.unwrap();
    let error = running.step().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("static source users") && error.to_string().contains("4096 bytes"), "{error}");
}
