//! One broker for all tests of this binary, topics in it, and producers.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

static BROKER: OnceLock<Option<String>> = OnceLock::new();
static SKIPPED: AtomicU32 = AtomicU32::new(0);

/// The broker's address. None where java or its jars can't be had: the test is skipped, which is printed and counted.
pub(crate) fn broker(test: &str) -> Option<&'static str> {
    let address = BROKER.get_or_init(start).as_deref();
    if address.is_none() {
        let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
        println!("SKIPPED: {test}: no kafka on this machine ({count} skipped so far)");
    }
    address
}

/// Starts a broker on a port of its own.
fn start() -> Option<String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{}", std::process::id()));
    stand("up", "0", &dir)
}

/// Calls the stand's script. What it starts ends by itself when this process has ended. None: not possible here.
pub(crate) fn stand(command: &str, port: &str, dir: &Path) -> Option<String> {
    stand_with(command, port, dir, "")
}

/// As `stand`, with more lines for the broker's settings.
pub(crate) fn stand_with(command: &str, port: &str, dir: &Path, extra: &str) -> Option<String> {
    let script = Path::new("../../tests/stand/kafka.sh");
    let parent = std::process::id().to_string();
    let mut call = Command::new(script);
    call.args([command, port]).arg(dir).env("KAFKA_PARENT", parent).env("KAFKA_EXTRA", extra).stderr(Stdio::inherit());
    let done = call.output().unwrap();
    if done.status.code() == Some(3) {
        return None;
    }
    assert!(done.status.success(), "kafka.sh {command} failed");
    Some(String::from_utf8(done.stdout).unwrap().trim().to_owned())
}

/// Returns with `SKIPPED` printed if there is no broker.
#[macro_export]
macro_rules! broker_or_skip {
    () => {{
        let name = std::any::type_name_of_val(&|| ()).trim_end_matches("::{{closure}}");
        match $crate::stand::broker(name) {
            Some(address) => address,
            None => return,
        }
    }};
}

pub(crate) fn config(broker: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker);
    config
}

fn admin(broker: &str) -> AdminClient<DefaultClientContext> {
    config(broker).create().unwrap()
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)))
}

/// A topic of its own for each test.
pub(crate) async fn topic(broker: &str, name: &str, partitions: i32) -> String {
    let name = format!("{name}-{}{}", crate::setup::client().unwrap_or_default(), std::process::id());
    create(broker, &name, partitions).await.unwrap();
    name
}

pub(crate) async fn create(broker: &str, name: &str, partitions: i32) -> Result<(), RDKafkaErrorCode> {
    let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let done = admin(broker).create_topics(&[new], &options()).await.unwrap();
    done.into_iter().try_for_each(|it| it.map(drop).map_err(|(_, code)| code))
}

/// A topic with settings of its own.
pub(crate) async fn create_with(broker: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
    for done in admin(broker).create_topics(&[new], &options()).await.unwrap() {
        done.unwrap();
    }
}

pub(crate) async fn delete_topic(broker: &str, name: &str) {
    for done in admin(broker).delete_topics(&[name], &options()).await.unwrap() {
        done.unwrap();
    }
}

pub(crate) async fn grow(broker: &str, topic: &str, partitions: usize) {
    let new = NewPartitions::new(topic, partitions);
    for done in admin(broker).create_partitions(&[new], &options()).await.unwrap() {
        done.unwrap();
    }
}

/// Deletes the records of a partition that lie before `offset`.
pub(crate) async fn delete_before(broker: &str, topic: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    admin(broker).delete_records(&list, &options()).await.unwrap();
}

pub(crate) fn producer(broker: &str) -> BaseProducer {
    config(broker).set("linger.ms", "5").set("queue.buffering.max.messages", "1000000").create().unwrap()
}

pub(crate) fn transactional(broker: &str, id: &str) -> BaseProducer {
    let producer: BaseProducer = config(broker).set("transactional.id", id).create().unwrap();
    producer.init_transactions(Duration::from_secs(20)).unwrap();
    producer
}

/// Sends records with values `<first>`, `<first + 1>` … to one partition, without waiting for the broker.
pub(crate) fn send(producer: &BaseProducer, topic: &str, partition: i32, values: std::ops::Range<u64>) {
    for value in values {
        let text = value.to_string();
        let mut record = BaseRecord::<(), _>::to(topic).partition(partition).payload(&text);
        while let Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
}

/// As `send`, and waits for the broker.
pub(crate) fn produce(producer: &BaseProducer, topic: &str, partition: i32, values: std::ops::Range<u64>) {
    send(producer, topic, partition, values);
    producer.flush(Duration::from_secs(60)).unwrap();
}
