//! A sink over a temporary folder, and eyes to look into the table without the sink.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use deltalake::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_api::{
    AttemptId, Changes, Clock, CommitOutcome, ConfigDef, ConnectorContext, Epoch, MetadataLog, OutputMode, QueryId,
    Result, Settings, Sink, SinkConnector, SinkSpec, SinkWriter, WriterId, async_trait,
};
use tidegate_delta::{Delta, DeltaConfig, DeltaSink, Prepared};

/// A sink's log that forgets with the process.
#[derive(Default)]
pub(crate) struct MemoryLog(Mutex<BTreeMap<String, Vec<u8>>>);

#[async_trait]
impl MetadataLog for MemoryLog {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        let mut all = self.0.lock().unwrap();
        let new = !all.contains_key(key);
        all.entry(key.to_owned()).or_insert_with(|| bytes.to_vec());
        Ok(new)
    }
    async fn list(&self) -> Result<Vec<String>> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }
    async fn remove(&self, key: &str) -> Result<()> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }
}

/// A clock that stands still unless told.
pub(crate) struct HandClock(pub(crate) AtomicI64);

#[async_trait]
impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    async fn sleep_until(&self, _at_ms: i64) {}
}

/// A folder with one table, and the checkpoint's log of one sink.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) schema: SchemaRef,
}

pub(crate) fn clicks() -> SchemaRef {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("start", utc, false),
        Field::new("page", DataType::Utf8, true),
        Field::new("views", DataType::Int64, false),
    ]))
}

pub(crate) fn epoch(number: u64, n: u32) -> Epoch {
    let attempt = AttemptId { generation: 1, n };
    Epoch { number, attempt, time_ms: 0, write_time_us: 0, watermark_ms: None }
}

pub(crate) fn already(n: u32) -> CommitOutcome {
    CommitOutcome::AlreadyCommitted { attempt: Some(AttemptId { generation: 1, n }) }
}

/// Rows of `clicks` whose `views` are these numbers.
pub(crate) fn rows(views: impl IntoIterator<Item = i64>) -> RecordBatch {
    let views: Vec<i64> = views.into_iter().collect();
    let start = TimestampMicrosecondArray::from_iter_values(views.iter().map(|it| it * 1_000_001)).with_timezone("UTC");
    let page: StringArray = views.iter().map(|it| (it % 3 != 0).then(|| format!("/page/{}", it % 3))).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(start), Arc::new(page), Arc::new(Int64Array::from(views))];
    RecordBatch::try_new(clicks(), columns).unwrap()
}

impl Bench {
    pub(crate) fn new(settings: &[(&str, &str)]) -> Self {
        let mut settings: Vec<_> = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        settings.push(("path".to_owned(), "table".to_owned()));
        let clock = Arc::new(HandClock(AtomicI64::new(1_790_000_000_000)));
        Self { dir: TempDir::new().unwrap(), log: Arc::default(), clock, settings, schema: clicks() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("table")
    }

    pub(crate) async fn build(&self) -> DeltaSink {
        let config = DeltaConfig::parse(&Settings::from_iter(self.settings.clone())).unwrap();
        let spec = SinkSpec {
            schema: self.schema.clone(),
            mode: OutputMode::Append,
            keys: Vec::new(),
            changes: Changes::Append,
            tasks: 1,
        };
        assert_eq!(Delta::accepts(&config, &spec), []);
        let mut ctx = ConnectorContext::new("clicks", "out", QueryId("q1".into()), self.log.clone());
        ctx.data_dir = self.dir.path().to_path_buf();
        ctx.clock = self.clock.clone();
        Delta::build(config, &spec, &ctx).await.unwrap()
    }

    pub(crate) async fn open(&self) -> DeltaSink {
        self.try_open().await.unwrap().0
    }

    pub(crate) async fn try_open(&self) -> Result<(DeltaSink, Option<(u64, AttemptId)>)> {
        let mut sink = self.build().await;
        let last = sink.open(&writer_id()).await?;
        Ok((sink, last))
    }

    /// Commits of the log, oldest first, each as its lines.
    pub(crate) fn commits(&self) -> Vec<Vec<Value>> {
        let read = |version: usize| {
            let text = std::fs::read_to_string(self.commit_file(version as u64)).ok()?;
            Some(text.lines().map(|it| serde_json::from_str(it).unwrap()).collect())
        };
        (0..).map_while(read).collect()
    }

    pub(crate) fn commit_file(&self, version: u64) -> PathBuf {
        self.path().join("_delta_log").join(format!("{version:020}.json"))
    }

    /// Writes a commit as another program would.
    pub(crate) fn foreign_commit(&self, lines: &[Value]) {
        let text: Vec<_> = lines.iter().map(Value::to_string).collect();
        std::fs::write(self.commit_file(self.commits().len() as u64), text.join("\n")).unwrap();
    }

    /// The `metaData` of the first commit, to be changed.
    pub(crate) fn metadata(&self) -> Value {
        self.commits()[0].iter().find_map(|it| it.get("metaData")).unwrap().clone()
    }

    /// Data files on disk, whether or not the table names them.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.path(), &mut found);
        found.sort();
        found
    }

    /// The numbers in `views` of all rows that a reader sees, sorted. Uses the Delta library, not our code.
    pub(crate) async fn views(&self) -> Vec<i64> {
        let url = url::Url::from_directory_path(self.path()).unwrap();
        let table = deltalake::open_table(url).await.unwrap();
        let mut views = Vec::new();
        for uri in table.get_file_uris().unwrap() {
            let file = std::fs::File::open(&uri).unwrap();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let column: &Int64Array = batch.column_by_name("views").unwrap().as_any().downcast_ref().unwrap();
                views.extend(column.iter().flatten());
            }
        }
        views.sort_unstable();
        views
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("_delta_log") {
            walk(&path, found);
        } else if path.extension().is_some_and(|it| it == "parquet") {
            found.push(path);
        }
    }
}

pub(crate) fn writer_id() -> WriterId {
    WriterId { query_id: QueryId("q1".into()), sink: "out".into(), shard: None }
}

/// Writes and prepares, and does not commit.
pub(crate) async fn prepare(sink: &DeltaSink, epoch: &Epoch, batch: RecordBatch) -> Vec<Prepared> {
    let mut writer = sink.writer(epoch, 0).await.unwrap();
    assert!(writer.write(batch).await.unwrap().is_empty());
    vec![writer.prepare().await.unwrap()]
}

/// A whole epoch.
pub(crate) async fn run(sink: &DeltaSink, epoch: &Epoch, batch: RecordBatch) -> Result<CommitOutcome> {
    let parts = prepare(sink, epoch, batch).await;
    sink.commit(epoch, parts, &[]).await
}
