//! The job of numbered events: its topics, its processes, and what is expected of it at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka::client;
use crate::pair::{Run, setting};
use crate::process::write;
use crate::stand::Kafka;

const PARTITIONS: i32 = 4;
const KEYS: u64 = 37;
/// One number in this many is left out by the query.
const LEFT_OUT: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// The job, with a broker of its own.
pub(super) struct Numbers {
    pub(super) kafka: Kafka,
    pub(super) markers: String,
    folder: tempfile::TempDir,
    binary: PathBuf,
    events: u64,
    rows: u64,
    source: String,
    target: String,
}

impl Numbers {
    /// Fills a topic; the input makes `epochs` epochs at least.
    pub(super) fn new(name: &str, binary: PathBuf, epochs: u64) -> Self {
        let events = setting("TIDEGATE_TEST_NUMBERS", 20_000);
        let job = Self {
            kafka: Kafka::own(),
            markers: format!("markers-{name}"),
            folder: tempfile::tempdir().unwrap(),
            binary,
            events,
            rows: (events / epochs).max(1),
            source: format!("numbers-{name}"),
            target: format!("kept-{name}"),
        };
        for topic in [&job.source, &job.target] {
            job.make_topic(topic, PARTITIONS, &[]);
        }
        job.produce();
        job
    }

    fn make_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = client(&self.kafka.servers()).create().expect("a client");
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let made = runtime.block_on(admin.create_topics([&new], &AdminOptions::new())).expect("create topic");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }

    /// Makes the marker topic, before the sink does it.
    pub(super) fn make_markers(&self, policy: &str) {
        self.make_topic(&self.markers, 4, &[("cleanup.policy", policy)]);
    }

    fn produce(&self) {
        let mut config = client(&self.kafka.servers());
        config.set("linger.ms", "20").set("enable.idempotence", "true").set("queue.buffering.max.messages", "500000");
        let producer: BaseProducer = config.create().expect("a producer");
        for n in 0..self.events {
            let key = n % KEYS;
            let partition = i32::try_from(key).unwrap() % PARTITIONS;
            let value = format!("{{\"n\":{n},\"k\":\"key-{key}\"}}");
            let mut record = BaseRecord::<(), _>::to(&self.source).payload(&value).partition(partition);
            while let Err((error, back)) = producer.send(record) {
                assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "produce");
                record = back;
                producer.poll(Duration::from_millis(5));
            }
        }
        producer.flush(PATIENCE).expect("all is sent");
    }

    fn pipeline(&self, name: &str, trigger: &str) -> PathBuf {
        let text = format!(
            r"name: numbers
checkpoint.location: {folder}/checkpoint
max.rows.per.epoch: {rows}
{trigger}
sources:
  numbers:
    connector.class: kafka
    kafka.bootstrap.servers: {servers}
    topics: {source}
    starting.offsets: earliest
    value.format: json
    schema: n BIGINT, k STRING
sinks:
  kept:
    connector.class: kafka
    kafka.bootstrap.servers: {servers}
    topic: {target}
    value.format: json
    key.column: k
    markers.topic: {markers}
    markers.timeout: 2 seconds
    sql: SELECT n, k FROM numbers WHERE n % {LEFT_OUT} <> 0
",
            folder = self.folder.path().display(),
            rows = self.rows,
            servers = self.kafka.servers(),
            source = self.source,
            target = self.target,
            markers = self.markers,
        );
        let path = self.folder.path().join(name);
        write(&path, &text);
        path
    }

    /// Starts a process with faults in its sink; `name` tells its files from those of others.
    pub(super) fn start(&self, name: &str, faults: &str, args: &[&str]) -> Run {
        self.start_with(name, "trigger: 20 milliseconds", faults, args)
    }

    fn start_with(&self, name: &str, trigger: &str, faults: &str, args: &[&str]) -> Run {
        let file = |kind: &str| self.folder.path().join(format!("{name}.{kind}"));
        let _ = std::fs::remove_file(file("phase"));
        let mut command = Command::new(&self.binary);
        command.arg("run").arg(self.pipeline(&format!("{name}.yaml"), trigger)).args(args);
        command.env("TIDEGATE_SINK_FAULTS", faults);
        Run::start(command, file("phase"), file("err"))
    }

    /// Runs until all input is through.
    pub(super) fn drain(&self) {
        self.drain_with("");
    }

    /// The same with faults.
    pub(super) fn drain_with(&self, faults: &str) {
        let mut run = self.start_with("drain", "trigger: available-now", faults, &[]);
        let code = run.ended(Duration::from_secs(900));
        assert_eq!(code, Some(0), "{}", run.said());
        println!("epochs {}", run.phase().map_or(0, |(epoch, _)| epoch));
    }

    /// How many records a reader of committed ones sees by now.
    pub(super) fn count(&self) -> usize {
        self.read().values().map(Vec::len).sum()
    }

    /// Each number that the query keeps is there once, in order per key, and no transaction is open.
    pub(super) fn check(&self) {
        for topic in [&self.target, &self.markers] {
            self.nothing_is_open(topic);
        }
        let mut seen = BTreeSet::new();
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        let mut wrong = String::new();
        for (partition, records) in self.read() {
            for (key, value) in records {
                let value: serde_json::Value = serde_json::from_str(&value).expect("a document");
                let n = value["n"].as_u64().expect("a number");
                assert_eq!((value["k"].as_str(), format!("key-{}", n % KEYS)), (Some(key.as_str()), key.clone()));
                if !seen.insert(n) {
                    write!(wrong, " {n} twice").unwrap();
                }
                if last.insert(key.clone(), n).is_some_and(|before| before >= n) {
                    write!(wrong, " {n} out of order in [{partition}]").unwrap();
                }
            }
        }
        let expected: BTreeSet<u64> = (0..self.events).filter(|it| it % LEFT_OUT != 0).collect();
        let lost: Vec<_> = expected.difference(&seen).take(5).collect();
        let extra: Vec<_> = seen.difference(&expected).take(5).collect();
        println!("numbers {} of {}", seen.len(), expected.len());
        let few: String = wrong.chars().take(300).collect();
        assert!(wrong.is_empty() && seen == expected, "lost {lost:?}, too many {extra:?},{few}");
    }

    fn consumer(&self, isolation: &str) -> BaseConsumer {
        let mut config = client(&self.kafka.servers());
        config.set("group.id", "reader").set("isolation.level", isolation).set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "earliest").create().expect("a consumer")
    }

    fn partitions(consumer: &BaseConsumer, topic: &str) -> i32 {
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
        i32::try_from(metadata.topics()[0].partitions().len()).unwrap()
    }

    /// The last stable offset is the high watermark, in every partition.
    fn nothing_is_open(&self, topic: &str) {
        let (committed, all) = (self.consumer("read_committed"), self.consumer("read_uncommitted"));
        let end = |of: &BaseConsumer, it| of.fetch_watermarks(topic, it, PATIENCE).expect("marks").1;
        let started = Instant::now();
        for partition in 0..Self::partitions(&all, topic) {
            while end(&committed, partition) < end(&all, partition) {
                assert!(started.elapsed() < Duration::from_secs(5), "a transaction is open in {topic} [{partition}]");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn read(&self) -> BTreeMap<i32, Vec<(String, String)>> {
        let consumer = self.consumer("read_committed");
        let mut assignment = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            assignment.add_partition_offset(&self.target, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).expect("assign");
        let mut records = BTreeMap::<i32, Vec<_>>::new();
        let mut ended = BTreeSet::new();
        let started = Instant::now();
        while ended.len() < usize::try_from(PARTITIONS).unwrap() {
            assert!(started.elapsed() < PATIENCE, "the topic is not read");
            let text = |it: Option<&[u8]>| String::from_utf8(it.unwrap_or_default().to_vec()).expect("text");
            match consumer.poll(Duration::from_millis(500)) {
                Some(Ok(it)) => records.entry(it.partition()).or_default().push((text(it.key()), text(it.payload()))),
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
        records
    }
}

/// A transaction of somebody else that is open in all partitions of the marker topic.
pub(super) struct Foreign(BaseProducer);

impl Foreign {
    pub(super) fn begin(job: &Numbers) -> Self {
        let mut config = client(&job.kafka.servers());
        let producer: BaseProducer = config.set("transactional.id", "somebody else").create().expect("a producer");
        producer.init_transactions(PATIENCE).expect("init");
        producer.begin_transaction().expect("begin");
        for partition in 0..Numbers::partitions(&job.consumer("read_committed"), &job.markers) {
            let record = BaseRecord::to(&job.markers).key("somebody else").payload("{}").partition(partition);
            producer.send(record).map_err(|(e, _)| e).expect("send");
        }
        producer.flush(PATIENCE).expect("flush");
        Self(producer)
    }

    pub(super) fn abort(self) {
        self.0.abort_transaction(PATIENCE).expect("abort");
    }
}
