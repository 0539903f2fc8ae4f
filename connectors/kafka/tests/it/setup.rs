//! Sources for tests, and loops around them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use tidegate_api::{
    ConfigDef, ConnectorContext, Error, FieldPath, MetadataLog, OffsetRange, ReadLimit, RecordBatch, Result,
    ScanRequest, Settings, Source, SourceConnector, async_trait,
};
use tidegate_kafka::{Kafka, KafkaConfig, KafkaOffset, KafkaSource};

/// A source's log in memory.
#[derive(Default)]
pub(crate) struct Log(pub(crate) Mutex<BTreeMap<String, Vec<u8>>>);

#[async_trait]
impl MetadataLog for Log {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        let mut entries = self.0.lock().unwrap();
        let new = !entries.contains_key(key);
        entries.entry(key.to_owned()).or_insert_with(|| bytes.to_vec());
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

tokio::task_local! {
    /// Who fetches, in tests that `both_clients` runs.
    pub(crate) static CLIENT: &'static str;
}

/// Tests that run once with each client that can fetch.
#[macro_export]
macro_rules! both_clients {
    ($($name:ident),* $(,)?) => {
        mod own {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::setup::CLIENT.scope("own", super::$name()).await;
            })*
        }
        mod librdkafka {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::setup::CLIENT.scope("librdkafka", super::$name()).await;
            })*
        }
    };
}

/// Who fetches here, if it matters.
pub(crate) fn client() -> Option<&'static str> {
    CLIENT.try_get().ok()
}

/// Builds a source of `topic` with more settings.
pub(crate) async fn try_source(
    broker: &str,
    topic: &str,
    more: &[(&str, &str)],
    log: &Arc<Log>,
) -> Result<KafkaSource> {
    let mut settings = Settings::from_iter([("kafka.bootstrap.servers", broker), ("subscribe", topic)]);
    for (key, value) in more {
        settings.push(*key, *value);
    }
    if let Some(client) = client() {
        settings.push("fetch.client", client);
    }
    let config = KafkaConfig::parse(&settings).unwrap_or_else(|issues| panic!("{issues:?}"));
    let issues = Kafka::validate(&config);
    assert!(issues.is_empty(), "{issues:?}");
    let id = tidegate_api::QueryId("0000".into());
    Kafka::build(config, &ConnectorContext::new("test", "clicks", id, log.clone())).await
}

/// A source that delivers partition, offset and value.
pub(crate) async fn source(broker: &str, topic: &str, more: &[(&str, &str)]) -> KafkaSource {
    let mut source = try_source(broker, topic, more, &Arc::default()).await.unwrap();
    bind(&mut source, &["partition", "offset", "value"]).unwrap();
    source
}

pub(crate) fn bind(source: &mut KafkaSource, columns: &[&str]) -> Result<tidegate_api::Bound> {
    let projection = columns.iter().copied().map(FieldPath::column).collect();
    source.bind(&ScanRequest { projection, filters: Vec::new(), batch_rows: 8192 })
}

/// Partition, offset and value of a row.
pub(crate) type Row = (i32, i64, String);

pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let partitions = batch.column(0).as_primitive::<Int32Type>();
    let offsets = batch.column(1).as_primitive::<Int64Type>();
    let values = batch.column(2).as_binary::<i32>();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (0..batch.num_rows()).map(|at| (partitions.value(at), offsets.value(at), text(values.value(at)))).collect()
}

/// All batches of a range, all splits read side by side; in the order of the splits.
pub(crate) async fn batches(source: &KafkaSource, start: &KafkaOffset, end: &KafkaOffset) -> Result<Vec<RecordBatch>> {
    let range = OffsetRange { start: start.clone(), end: end.clone() };
    let reads = source
        .splits(range, 4)
        .into_iter()
        .map(|split| async { source.read(split).await?.try_collect::<Vec<_>>().await });
    let read = async { Ok(try_join_all(reads).await?.into_iter().flatten().collect()) };
    let late = |_| Err(Error::internal("the range was not read within 60 s"));
    tokio::time::timeout(Duration::from_secs(60), read).await.unwrap_or_else(late)
}

pub(crate) async fn read(source: &KafkaSource, start: &KafkaOffset, end: &KafkaOffset) -> Result<Vec<Row>> {
    Ok(batches(source, start, end).await?.iter().flat_map(rows_of).collect())
}

/// Plans until there is something after `start`, at most ten seconds.
pub(crate) async fn plan_some(source: &mut KafkaSource, start: &KafkaOffset) -> KafkaOffset {
    let planning = async {
        loop {
            let planned = source.plan(start, &ReadLimit::NONE).await.unwrap();
            if planned.end != *start {
                return planned.end;
            }
            source.ready(start).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), planning).await.expect("nothing to plan within 10 s")
}

/// Plans until `start` is as far as `wanted` offsets in all, and reads all of it.
pub(crate) async fn read_until(source: &mut KafkaSource, start: &mut KafkaOffset, wanted: i64) -> Vec<Row> {
    let mut all = Vec::new();
    while start.iter().map(|(_, offset)| offset).sum::<i64>() < wanted {
        let end = plan_some(source, start).await;
        all.extend(read(source, start, &end).await.unwrap());
        *start = end;
    }
    all
}

pub(crate) fn offset(json: &str) -> KafkaOffset {
    serde_json::from_str(json).unwrap()
}

/// The first few batches of a split, and then no more.
pub(crate) async fn read_some(
    source: &KafkaSource,
    start: &KafkaOffset,
    end: &KafkaOffset,
    batches: usize,
) -> Vec<Row> {
    let split = source.splits(OffsetRange { start: start.clone(), end: end.clone() }, 1).remove(0);
    let taken: Vec<_> = source.read(split).await.unwrap().take(batches).try_collect().await.unwrap();
    taken.iter().flat_map(rows_of).collect()
}
