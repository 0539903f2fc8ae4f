//! A sink over a folder on disk or in memory, and eyes to look into the folder without the sink.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_api::prelude::*;

use tidegate_file::{File, FileSink, FileSinkConfig, Prepared};
use tidegate_storage::Location;
use tidegate_storage::object_store::local::LocalFileSystem;
use tidegate_storage::object_store::memory::InMemory;
use tidegate_storage::object_store::path::Path as StorePath;
use tidegate_storage::object_store::{ObjectStore, ObjectStoreExt};
use tidegate_testkit::MemoryLog;
use tidegate_testkit::suite::{SinkBench, suite_schema};

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

/// A folder of files with its sink's log.
pub(crate) struct Table {
    pub(crate) location: Location,
    /// The folder as a store of its own, to look into it and to change it behind the sink's back.
    pub(crate) view: Arc<dyn ObjectStore>,
    pub(crate) log: MemoryLog,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) owner: Option<Arc<dyn Ownership>>,
    _dir: Option<TempDir>,
}

/// The settings that the cases differ by.
pub(crate) const KINDS: [(&str, &str); 3] = [("parquet", "spark"), ("json", "spark"), ("parquet", "tidegate")];

pub(crate) fn settings(format: &str, manifest: &str) -> Vec<(String, String)> {
    [("path", "unused"), ("format", format), ("manifest.format", manifest)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub(crate) fn writer_id(sink: &str) -> WriterId {
    WriterId { query_id: QueryId("q1".into()), sink: sink.into(), shard: None }
}

pub(crate) fn epoch(number: u64, n: u32) -> Epoch {
    let attempt = AttemptId { generation: 1, n };
    Epoch { number, attempt, time_ms: 0, write_time_us: 0, watermark_ms: None }
}

pub(crate) fn already(n: u32) -> CommitOutcome {
    CommitOutcome::AlreadyCommitted { attempt: Some(AttemptId { generation: 1, n }) }
}

/// Rows of the suite's columns with these ids.
pub(crate) fn rows(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let words: StringArray = ids.iter().map(|it| (it % 3 != 1).then(|| format!("word {it}"))).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids)), Arc::new(words)];
    RecordBatch::try_new(suite_schema(), columns).unwrap()
}

/// Writes and prepares, one task for each batch, and does not commit.
pub(crate) async fn prepare(sink: &FileSink, epoch: &Epoch, batches: &[RecordBatch]) -> Result<Vec<Prepared>> {
    let mut parts = Vec::new();
    for (task, batch) in (0..).zip(batches) {
        let mut writer = sink.writer(epoch, task).await?;
        assert!(writer.write(batch.clone()).await?.is_empty());
        parts.push(writer.prepare().await?);
    }
    Ok(parts)
}

/// A whole epoch.
pub(crate) async fn run(sink: &FileSink, epoch: &Epoch, batches: &[RecordBatch]) -> Result<CommitOutcome> {
    let parts = prepare(sink, epoch, batches).await?;
    sink.commit(epoch, parts, &[]).await
}

impl Table {
    /// In a folder of its own.
    pub(crate) fn disk(format: &str, manifest: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let mut table = Self::in_folder(dir.path(), format, manifest);
        table._dir = Some(dir);
        table
    }

    pub(crate) fn in_folder(folder: &Path, format: &str, manifest: &str) -> Self {
        let folder = folder.join("table");
        std::fs::create_dir_all(&folder).unwrap();
        let view = Arc::new(LocalFileSystem::new_with_prefix(&folder).unwrap());
        let location = Location::open(folder.to_str().unwrap(), &BTreeMap::new(), Path::new("")).unwrap();
        Self::over(location, view, format, manifest)
    }

    /// In memory.
    pub(crate) fn memory(format: &str, manifest: &str) -> Self {
        Self::store(Arc::new(InMemory::new()), format, manifest)
    }

    /// On a store, below no prefix.
    pub(crate) fn store(store: Arc<dyn ObjectStore>, format: &str, manifest: &str) -> Self {
        let url = url::Url::parse("memory://bucket/").unwrap();
        let location = Location::of_store(url, store.clone(), StorePath::default());
        Self::over(location, store, format, manifest)
    }

    fn over(location: Location, view: Arc<dyn ObjectStore>, format: &str, manifest: &str) -> Self {
        let clock = Arc::new(HandClock(AtomicI64::new(1_790_000_000_000)));
        let (log, settings) = (MemoryLog::default(), settings(format, manifest).into_iter().collect());
        Self { location, view, log, clock, settings, owner: None, _dir: None }
    }

    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn build(&self, spec: &SinkSpec) -> Result<FileSink> {
        let config = FileSinkConfig::parse(&Settings::from_iter(self.settings.clone())).unwrap();
        assert_eq!(<File as SinkConnector>::accepts(&config, spec), []);
        let mut ctx = ConnectorContext::new("suite", "out", QueryId("q1".into()), Arc::new(self.log.clone()));
        ctx.clock = self.clock.clone();
        if let Some(owner) = &self.owner {
            ctx.owner = owner.clone();
        }
        FileSink::at(self.location.clone(), &config, spec, &ctx)
    }

    pub(crate) async fn try_open(&self, writer: &str) -> Result<(FileSink, Option<(u64, AttemptId)>)> {
        let mut sink = self.build(&spec())?;
        let last = sink.open(&writer_id(writer)).await?;
        Ok((sink, last))
    }

    pub(crate) async fn open(&self) -> FileSink {
        self.try_open("out").await.unwrap().0
    }

    /// The epoch that a new process finds.
    pub(crate) async fn last(&self) -> Option<(u64, u32)> {
        self.try_open("out").await.unwrap().1.map(|it| (it.0, it.1.n))
    }

    pub(crate) async fn get(&self, path: &str) -> Bytes {
        self.view.get(&StorePath::from(path)).await.unwrap().bytes().await.unwrap()
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        String::from_utf8(self.get(path).await.to_vec()).unwrap()
    }

    pub(crate) async fn put(&self, path: &str, text: impl Into<Bytes>) {
        let bytes: Bytes = text.into();
        self.view.put(&StorePath::from(path), bytes.into()).await.unwrap();
    }

    pub(crate) async fn remove(&self, path: &str) {
        self.view.delete(&StorePath::from(path)).await.unwrap();
    }

    /// Moves a staged file into place, as a commit does first.
    pub(crate) async fn place(&self, name: &str) {
        let from = StorePath::from(format!("_staging/{name}"));
        if self.location.local().is_some() {
            self.view.rename(&from, &StorePath::from(name)).await.unwrap();
        } else {
            self.view.copy(&from, &StorePath::from(name)).await.unwrap();
        }
    }

    /// All paths, sorted.
    pub(crate) async fn all(&self) -> Vec<String> {
        let listed: Vec<_> = self.view.list(None).try_collect().await.unwrap();
        let mut paths: Vec<_> = listed.into_iter().map(|it| it.location.to_string()).collect();
        paths.sort();
        paths
    }

    /// Data files, staged or not, sorted.
    pub(crate) async fn files(&self) -> Vec<String> {
        let all = self.all().await;
        all.into_iter().filter(|it| it.starts_with("part-") || it.starts_with("_staging/")).collect()
    }

    /// Numbers in the manifest of Spark's format, as names.
    pub(crate) async fn entries(&self) -> Vec<String> {
        let all = self.all().await;
        let names = all.iter().filter_map(|it| it.strip_prefix("_spark_metadata/"));
        let mut names: Vec<_> = names.filter(|it| !it.starts_with('.')).map(str::to_owned).collect();
        names.sort_by_key(|it| it.trim_end_matches(".compact").parse::<u64>().unwrap());
        names
    }

    /// Names of the files that a reader counts, found without our code.
    pub(crate) async fn counted(&self) -> Vec<String> {
        if self.settings["manifest.format"] == "tidegate" {
            return self.files().await.into_iter().filter(|it| !it.starts_with('_')).collect();
        }
        let entries = self.entries().await;
        let from = entries.iter().rposition(|it| it.ends_with(".compact")).unwrap_or(0);
        let mut names = Vec::new();
        for entry in entries.get(from..).unwrap_or_default() {
            let text = self.text(&format!("_spark_metadata/{entry}")).await;
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("v1"));
            for line in lines {
                let line: Value = serde_json::from_str(line).unwrap();
                let path = line["path"].as_str().unwrap();
                let own = self.location.url().as_str();
                names.push(path.strip_prefix(own).unwrap_or_else(|| panic!("{path} not below {own}")).to_owned());
                let size = self.get(names.last().unwrap()).await.len();
                assert_eq!(line["size"], size, "{line}");
            }
        }
        names
    }

    /// The rows that a reader sees.
    pub(crate) async fn visible(&self) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        for name in self.counted().await {
            let bytes = self.get(&name).await;
            if name.ends_with(".json") {
                let reader = arrow_json::ReaderBuilder::new(suite_schema()).build(bytes.as_ref()).unwrap();
                batches.extend(reader.map(|it| it.unwrap()));
            } else {
                let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
                batches.extend(reader.map(|it| it.unwrap()));
            }
        }
        batches
    }

    /// The ids of the rows that a reader sees, sorted.
    pub(crate) async fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = Vec::new();
        for batch in self.visible().await {
            ids.extend(batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().iter().flatten());
        }
        ids.sort_unstable();
        ids
    }

    /// Fails unless every data file counts.
    pub(crate) async fn nothing_is_left(&self, what: &str) {
        let mut counted = self.counted().await;
        counted.sort();
        assert_eq!(self.files().await, counted, "{what}");
        let drafts: Vec<_> = self.all().await.into_iter().filter(|it| it.ends_with(".tmp")).collect();
        assert!(drafts.is_empty(), "{what}: {drafts:?}");
    }
}

pub(crate) fn spec() -> SinkSpec {
    let (mode, changes) = (OutputMode::Append, Changes::Append);
    SinkSpec { schema: suite_schema(), mode, keys: Vec::new(), changes, tasks: 2 }
}

#[async_trait]
impl SinkBench for Table {
    async fn sink(&self, spec: &SinkSpec) -> Result<Box<dyn tidegate_api::DynSink>> {
        Ok(Box::new(self.build(spec)?))
    }

    async fn rows(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.visible().await)
    }
}
