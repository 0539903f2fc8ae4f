//! A table of a test's own, sinks over it and what a reader sees.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow_schema::{DataType, Field};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::value::Row;
use serde_json::Value;
use tidegate_api::{
    AttemptId, Changes, Clock, CommitOutcome, ConfigDef, ConnectorContext, Epoch, OutputMode, QueryId, RecordBatch,
    Rejected, Result, Schema, SchemaRef, Settings, Sink, SinkConnector, SinkSpec, SinkWriter, SystemClock, WriterId,
};
use tidegate_cassandra::{Cassandra, CassandraConfig, CassandraSink, Part};
use tidegate_testkit::MemoryLog;

/// Columns that may be null.
pub(crate) fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, of): &(&str, DataType)| Field::new(*name, of.clone(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

static TABLES: AtomicU32 = AtomicU32::new(0);

/// One table.
pub(crate) struct Bench {
    pub(crate) session: Arc<Session>,
    pub(crate) node: String,
    pub(crate) table: String,
    pub(crate) log: MemoryLog,
    pub(crate) mode: OutputMode,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) memory: u64,
}

pub(crate) async fn session(node: &str) -> Session {
    SessionBuilder::new().known_node(node).user("cassandra", "cassandra").build().await.unwrap()
}

impl Bench {
    /// A table with these columns, as `CREATE TABLE` takes them.
    pub(crate) async fn new(node: &str, columns: &str) -> Self {
        let session = Arc::new(session(node).await);
        let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
        let keyspace = format!("CREATE KEYSPACE IF NOT EXISTS it WITH replication = {replication}");
        session.query_unpaged(keyspace, ()).await.unwrap();
        let table = format!("t{}", TABLES.fetch_add(1, Ordering::Relaxed));
        let bench = Self {
            session,
            node: node.to_owned(),
            table,
            log: MemoryLog::default(),
            mode: OutputMode::Append,
            clock: Arc::new(SystemClock::default()),
            memory: 64 << 20,
        };
        // With options behind the columns: the bracket is theirs.
        let columns = if columns.contains(") WITH") { columns.to_owned() } else { format!("{columns})") };
        bench.cql(&format!("CREATE TABLE it.{} ({columns}", bench.table)).await;
        bench
    }

    pub(crate) async fn cql(&self, text: &str) -> Vec<Row> {
        let result = self.session.query_unpaged(text, ()).await.unwrap_or_else(|e| panic!("{text}: {e}"));
        if !result.is_rows() {
            return Vec::new();
        }
        result.into_rows_result().unwrap().rows::<Row>().unwrap().map(Result::<_, _>::unwrap).collect()
    }

    /// The one number that a statement gives; none if it gives no row or a null.
    pub(crate) async fn number(&self, text: &str) -> Option<i64> {
        use scylla::value::CqlValue as V;
        let value = self.cql(text).await.into_iter().next()?.columns.into_iter().next()?;
        Some(match value? {
            V::BigInt(it) => it,
            V::Int(it) => i64::from(it),
            V::Counter(it) => it.0,
            other => panic!("{text}: {other:?}"),
        })
    }

    /// All rows as JSON, sorted.
    pub(crate) async fn rows(&self) -> Vec<Value> {
        let rows = self.cql(&format!("SELECT JSON * FROM it.{}", self.table)).await;
        let text = |row: Row| row.columns.into_iter().next().unwrap().unwrap().as_text().unwrap().clone();
        let mut rows: Vec<Value> = rows.into_iter().map(|it| serde_json::from_str(&text(it)).unwrap()).collect();
        rows.sort_by_key(ToString::to_string);
        rows
    }

    pub(crate) async fn try_sink(&self, schema: &SchemaRef, more: &[(&str, &str)]) -> Result<CassandraSink> {
        let own = [
            ("contact.points", self.node.as_str()),
            ("keyspace", "it"),
            ("table", self.table.as_str()),
            ("username", "cassandra"),
            ("password", "cassandra"),
        ];
        let mut settings = Settings::default();
        for (key, value) in own.iter().filter(|(key, _)| more.iter().all(|it| it.0 != *key)).chain(more) {
            if !value.is_empty() {
                settings.push(*key, *value);
            }
        }
        let config = CassandraConfig::parse(&settings).unwrap_or_else(|issues| panic!("{issues:?}"));
        let (schema, keys) = (schema.clone(), Vec::new());
        let spec = SinkSpec { schema, mode: self.mode, keys, changes: Changes::Append, tasks: 1 };
        let issues = Cassandra::accepts(&config, &spec);
        if !issues.is_empty() {
            let all: Vec<_> = issues.iter().map(ToString::to_string).collect();
            return Err(tidegate_api::Error::config(all.join("; ")));
        }
        let id = QueryId("0000".into());
        let mut ctx = ConnectorContext::new("test", "out", id.clone(), Arc::new(self.log.clone()));
        ctx.clock = self.clock.clone();
        ctx.memory = tidegate_api::MemoryBudget::new(self.memory);
        let mut sink = Cassandra::build(config, &spec, &ctx).await?;
        let last = sink.open(&WriterId { query_id: id, sink: "out".into(), shard: None }).await?;
        assert_eq!(last, None, "the table does not tell its epochs");
        Ok(sink)
    }

    pub(crate) async fn sink(&self, schema: &SchemaRef, more: &[(&str, &str)]) -> CassandraSink {
        self.try_sink(schema, more).await.unwrap()
    }
}

/// An epoch of now, with the write time `start + number`.
pub(crate) fn epoch(number: u64, start_us: i64) -> Epoch {
    let write_time_us = start_us + i64::try_from(number).unwrap();
    let attempt = AttemptId { generation: 1, n: 0 };
    Epoch { number, attempt, time_ms: write_time_us / 1000, write_time_us, watermark_ms: None }
}

pub(crate) fn now_us() -> i64 {
    SystemClock::default().now_ms() * 1000
}

/// Rows from JSON objects.
pub(crate) fn batch(schema: &SchemaRef, rows: &[Value]) -> RecordBatch {
    let lines: Vec<String> = rows.iter().map(ToString::to_string).collect();
    let mut reader = arrow_json::ReaderBuilder::new(schema.clone()).build(Cursor::new(lines.join("\n"))).unwrap();
    reader.next().map_or_else(|| RecordBatch::new_empty(schema.clone()), Result::unwrap)
}

/// Writes one batch and prepares it.
pub(crate) async fn prepare(sink: &CassandraSink, epoch: &Epoch, rows: RecordBatch) -> (Vec<Part>, Vec<Rejected>) {
    let mut writer = sink.writer(epoch, 0).await.unwrap();
    let rejected = writer.write(rows).await.unwrap();
    (vec![writer.prepare().await.unwrap()], rejected)
}

/// The whole step of one epoch.
pub(crate) async fn put(sink: &CassandraSink, epoch: &Epoch, rows: RecordBatch) {
    let (parts, rejected) = prepare(sink, epoch, rows).await;
    assert!(rejected.is_empty(), "{rejected:?}");
    assert_eq!(sink.commit(epoch, parts, &[]).await.unwrap(), CommitOutcome::Committed);
}
