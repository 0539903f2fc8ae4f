//! A table on an object store in memory that fails on demand, and eyes to look into it without the sink.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Array, Int64Array, RecordBatch};
use arrow_schema::SchemaRef;
use deltalake::DeltaTable;
use deltalake::logstore::{StorageConfig, default_logstore};
use deltalake::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use futures::TryStreamExt as _;
use tidegate_api::{
    AttemptId, Changes, ConfigDef, ConnectorContext, DynSink, MetadataLog, OutputMode, QueryId, Result, Settings, Sink,
    SinkSpec, async_trait,
};
use tidegate_delta::{DeltaConfig, DeltaSink};
use tidegate_storage::Location;
use tidegate_storage::object_store::memory::InMemory;
use tidegate_storage::object_store::prefix::PrefixStore;
use tidegate_storage::object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use tidegate_testkit::FlakyStore;
use tidegate_testkit::suite::SinkBench;
use url::Url;

use crate::harness::{MemoryLog, clicks, writer_id};

/// A bucket with one table, and the checkpoint's log of one sink.
pub(crate) struct Bucket {
    pub(crate) store: FlakyStore,
    pub(crate) settings: Vec<(&'static str, &'static str)>,
    log: Arc<dyn MetadataLog>,
}

impl Bucket {
    pub(crate) fn new(seed: u64) -> Self {
        let store = FlakyStore::new(Arc::new(InMemory::new()), seed);
        Self { store, settings: vec![("log.checkpoint.interval", "5")], log: Arc::new(MemoryLog::default()) }
    }

    pub(crate) fn location(&self) -> Location {
        let url = Url::parse("s3://bucket/some/table").unwrap();
        Location::of_store(url, Arc::new(self.store.clone()), Path::from("some/table"))
    }

    pub(crate) fn build(&self, schema: SchemaRef) -> Result<DeltaSink> {
        let settings = self.settings.iter().copied().chain([("path", "s3://bucket/some/table")]);
        let config = DeltaConfig::parse(&Settings::from_iter(settings)).unwrap();
        let spec = SinkSpec { schema, mode: OutputMode::Append, keys: Vec::new(), changes: Changes::Append, tasks: 2 };
        let ctx = ConnectorContext::new("clicks", "out", QueryId("q1".into()), self.log.clone());
        DeltaSink::at(&self.location(), config, &spec, &ctx)
    }

    pub(crate) async fn try_open(&self) -> Result<(DeltaSink, Option<(u64, AttemptId)>)> {
        let mut sink = self.build(clicks())?;
        let last = Sink::open(&mut sink, &writer_id()).await?;
        Ok((sink, last))
    }

    pub(crate) async fn open(&self) -> DeltaSink {
        self.try_open().await.unwrap().0
    }

    /// The table as a reader sees it, past what fails.
    async fn table(&self) -> Option<DeltaTable> {
        let root = self.store.inner().clone();
        let prefixed = Arc::new(PrefixStore::new(root.clone(), "some/table"));
        let url = Url::parse("s3://bucket/some/table").unwrap();
        let log = default_logstore(prefixed, root, &url, &StorageConfig::default());
        if !log.is_delta_table_location().await.unwrap() {
            return None;
        }
        let mut table = DeltaTable::new(log);
        table.load().await.unwrap();
        Some(table)
    }

    /// Data files that the table names.
    pub(crate) async fn live(&self) -> BTreeSet<String> {
        let Some(table) = self.table().await else { return BTreeSet::new() };
        table.get_files_by_partitions(&[]).await.unwrap().iter().map(|it| format!("some/table/{it}")).collect()
    }

    /// Data files that some commit has named, whether or not the table holds them now.
    pub(crate) async fn named(&self) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        for version in 0.. {
            let path = Path::from(format!("some/table/_delta_log/{version:020}.json"));
            let Ok(got) = self.store.inner().get(&path).await else { break };
            let text = String::from_utf8(got.bytes().await.unwrap().to_vec()).unwrap();
            let lines = text.lines().map(|it| serde_json::from_str::<serde_json::Value>(it).unwrap());
            named.extend(lines.filter_map(|it| Some(format!("some/table/{}", it["add"]["path"].as_str()?))));
        }
        named
    }

    /// Objects of the table outside its log, whether or not it names them.
    pub(crate) async fn objects(&self) -> BTreeSet<String> {
        let all = self.store.inner().list(None).map_ok(|it| it.location.to_string());
        all.try_collect::<Vec<_>>().await.unwrap().into_iter().filter(|it| !it.contains("_delta_log")).collect()
    }

    pub(crate) async fn batches(&self) -> Vec<RecordBatch> {
        let mut rows = Vec::new();
        for path in self.live().await {
            let bytes = self.store.inner().get(&Path::from(path)).await.unwrap().bytes().await.unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
            rows.extend(reader.map(|it| it.unwrap()));
        }
        rows
    }

    /// The numbers in `views` of all rows that a reader sees, sorted.
    pub(crate) async fn views(&self) -> Vec<i64> {
        let mut views = Vec::new();
        for batch in self.batches().await {
            let column: &Int64Array = batch.column_by_name("views").unwrap().as_any().downcast_ref().unwrap();
            views.extend(column.iter().flatten());
        }
        views.sort_unstable();
        views
    }

    /// The newest version.
    pub(crate) async fn version(&self) -> u64 {
        self.table().await.unwrap().version().unwrap()
    }

    /// After the next start, and its clean-up, only files of the table are left.
    pub(crate) async fn check_clean(&self) {
        self.store.settle().await;
        let sink = self.open().await;
        Sink::maintain(&sink, Duration::from_secs(1)).await.unwrap();
        assert_eq!(self.objects().await, self.live().await, "files that came to nothing stay behind");
    }
}

#[async_trait]
impl SinkBench for Bucket {
    async fn sink(&self, spec: &SinkSpec) -> Result<Box<dyn DynSink>> {
        Ok(Box::new(self.build(spec.schema.clone())?))
    }

    async fn rows(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.batches().await)
    }
}
