//! Sinks for tests, and readers of what they wrote.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidegate_api::{
    AttemptId, Changes, CommitOutcome, ConfigDef, ConnectorContext, Epoch, OutputMode, Ownership, QueryId, Result,
    Settings, Sink, SinkConnector, SinkSpec, SinkWriter, WriterId,
};
use tidegate_kafka::{KafkaSink, KafkaSinkConfig, TopicPart, TopicSink};
use tidegate_testkit::MemoryLog;

use crate::stand::{config, topic};

/// Key and value of a record.
pub(crate) type Pair = (Option<String>, Option<String>);

static BENCHES: AtomicU32 = AtomicU32::new(0);

/// A topic, a marker topic, and what the checkpoint remembers of a sink.
pub(crate) struct Bench {
    pub(crate) broker: String,
    pub(crate) topic: String,
    pub(crate) markers: String,
    pub(crate) log: MemoryLog,
    pub(crate) more: Vec<(String, String)>,
    pub(crate) query_id: QueryId,
    pub(crate) owner: Option<Arc<dyn Ownership>>,
}

impl Bench {
    pub(crate) async fn new(broker: &str, name: &str, partitions: i32) -> Self {
        let number = BENCHES.fetch_add(1, Ordering::Relaxed);
        let own = format!("{}-{number}", std::process::id());
        Self {
            broker: broker.to_owned(),
            topic: topic(broker, &format!("{name}-{number}"), partitions).await,
            markers: format!("markers-{own}"),
            log: MemoryLog::default(),
            more: vec![("transaction.timeout".to_owned(), "20 seconds".to_owned())],
            query_id: QueryId(format!("query-{own}").into()),
            owner: None,
        }
    }

    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.more.retain(|(it, _)| it != key);
        self.more.push((key.to_owned(), value.to_owned()));
        self
    }

    pub(crate) async fn build(&self, spec: &SinkSpec) -> Result<TopicSink> {
        self.build_with(spec, Some(("topic", &self.topic))).await
    }

    /// A sink whose rows say where they go.
    pub(crate) async fn build_without_topic(&self, spec: &SinkSpec) -> Result<TopicSink> {
        self.build_with(spec, None).await
    }

    async fn build_with(&self, spec: &SinkSpec, topic: Option<(&str, &str)>) -> Result<TopicSink> {
        let mut all: BTreeMap<&str, &str> = topic.into_iter().collect();
        all.extend([("kafka.bootstrap.servers", self.broker.as_str()), ("markers.topic", self.markers.as_str())]);
        all.extend(self.more.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let settings = Settings::from_iter(all);
        let config = KafkaSinkConfig::parse(&settings).unwrap_or_else(|issues| panic!("{issues:?}"));
        let issues = KafkaSink::accepts(&config, spec);
        assert!(issues.is_empty(), "{issues:?}");
        let mut ctx = ConnectorContext::new("test", "out", self.query_id.clone(), Arc::new(self.log.clone()));
        if let Some(owner) = &self.owner {
            ctx.owner = owner.clone();
        }
        KafkaSink::build(config, spec, &ctx).await
    }

    /// A sink of keys and values, as a new process would open it.
    pub(crate) async fn open(&self) -> Result<(TopicSink, Option<(u64, AttemptId)>)> {
        self.open_as("out").await
    }

    pub(crate) async fn open_as(&self, name: &str) -> Result<(TopicSink, Option<(u64, AttemptId)>)> {
        let mut sink = self.build(&spec(&pairs(&[]))).await?;
        let last = sink.open(&self.writer(name)).await?;
        Ok((sink, last))
    }

    pub(crate) fn writer(&self, name: &str) -> WriterId {
        WriterId { query_id: self.query_id.clone(), sink: name.into(), shard: None }
    }

    /// What a reader of committed records sees: values by partition, in order. No transaction may be open.
    pub(crate) fn seen(&self) -> BTreeMap<i32, Vec<Pair>> {
        let open = open_transactions(&self.broker, &self.topic);
        assert!(open.is_empty(), "open transactions in {}: {open:?}", self.topic);
        read(&self.broker, &self.topic)
    }

    /// All values that a reader sees, sorted.
    pub(crate) fn values(&self) -> Vec<String> {
        let mut all: Vec<_> = self.seen().into_values().flatten().filter_map(|(_, value)| value).collect();
        all.sort();
        all
    }
}

pub(crate) fn spec(rows: &RecordBatch) -> SinkSpec {
    SinkSpec { schema: rows.schema(), mode: OutputMode::Append, keys: Vec::new(), changes: Changes::Append, tasks: 4 }
}

/// Rows of a key and a value.
pub(crate) fn pairs(rows: &[(&str, &str)]) -> RecordBatch {
    let (keys, values): (Vec<_>, Vec<_>) = rows.iter().copied().unzip();
    let columns: [(&str, ArrayRef, bool); 2] =
        [("key", Arc::new(StringArray::from(keys)), true), ("value", Arc::new(StringArray::from(values)), true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Rows of the key `k` and these numbers.
pub(crate) fn numbers(range: std::ops::Range<u32>) -> RecordBatch {
    let values: Vec<String> = range.map(|it| format!("{it:06}")).collect();
    pairs(&values.iter().map(|it| ("k", it.as_str())).collect::<Vec<_>>())
}

/// What a reader sees of them.
pub(crate) fn texts(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|it| format!("{it:06}")).collect()
}

pub(crate) fn epoch(number: u64, generation: u64, n: u32) -> Epoch {
    let attempt = AttemptId { generation, n };
    Epoch { number, attempt, time_ms: 1_700_000_000_000, write_time_us: 0, watermark_ms: None }
}

/// Writes and prepares rows in one task.
pub(crate) async fn prepared(sink: &TopicSink, epoch: &Epoch, rows: &RecordBatch) -> Result<Vec<TopicPart>> {
    let mut writer = sink.writer(epoch, 0).await?;
    let rejected = writer.write(rows.clone()).await?;
    assert!(rejected.is_empty(), "{rejected:?}");
    Ok(vec![writer.prepare().await?])
}

/// The whole step.
pub(crate) async fn step(sink: &TopicSink, epoch: &Epoch, rows: &RecordBatch) -> Result<CommitOutcome> {
    let parts = prepared(sink, epoch, rows).await?;
    sink.commit(epoch, parts, &[]).await
}

fn consumer(broker: &str, isolation: &str) -> BaseConsumer {
    config(broker).set("group.id", "reader").set("isolation.level", isolation).create().unwrap()
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> i32 {
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
    i32::try_from(metadata.topics()[0].partitions().len()).unwrap()
}

/// Partitions whose last stable offset lies below the high watermark, with both. Markers of a commit are written a
/// moment after it is answered, so it waits for a moment.
pub(crate) fn open_transactions(broker: &str, topic: &str) -> Vec<(i32, i64, i64)> {
    let (committed, all) = (consumer(broker, "read_committed"), consumer(broker, "read_uncommitted"));
    let end = |of: &BaseConsumer, partition| of.fetch_watermarks(topic, partition, Duration::from_secs(10)).unwrap().1;
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let marks = (0..partitions(&all, topic)).map(|it| (it, end(&committed, it), end(&all, it)));
        let open: Vec<_> = marks.filter(|(_, stable, high)| stable < high).collect();
        if open.is_empty() || Instant::now() > deadline {
            return open;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All committed records of a topic: keys and values by partition.
pub(crate) fn read(broker: &str, topic: &str) -> BTreeMap<i32, Vec<Pair>> {
    let consumer: BaseConsumer = config(broker)
        .set("group.id", "reader")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    let count = partitions(&consumer, topic);
    for partition in 0..count {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut all = BTreeMap::<i32, Vec<_>>::new();
    let mut ended = std::collections::BTreeSet::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while ended.len() < usize::try_from(count).unwrap() {
        assert!(Instant::now() < deadline, "{topic} was not read within a minute");
        let text = |it: Option<&[u8]>| it.map(|it| String::from_utf8(it.to_vec()).unwrap());
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(it)) => all.entry(it.partition()).or_default().push((text(it.key()), text(it.payload()))),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => panic!("{topic}: {error}"),
            None => {}
        }
    }
    all
}
