//! The marker topic: which epoch each writer has committed. A marker is written in the transaction of its epoch, so it
//! is there exactly if the epoch is.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidegate_api::{AttemptId, Error, Result};
use tidegate_kafka_ffi::{BulkConsumer, Polled, Record, RecordView};
use tokio_util::sync::CancellationToken;

use crate::client::ClientEvents;
use crate::settings::Writing;

use super::producer::client_error;

/// Partitions of a marker topic that we make: an open transaction holds up only the writers of its own partition.
const PARTITIONS: i32 = 16;
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// What a writer has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) epoch: u64,
    pub(crate) attempt: AttemptId,
    pub(crate) rows: u64,
}

/// Where a writer's markers are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The cluster's id, if it has one.
    pub(crate) cluster: Option<String>,
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

/// Makes the topic if it is not there, and refuses one that would lose markers.
pub(crate) async fn ensure_topic(writing: &Writing, topic: &str) -> Result<()> {
    let about = |text: String| format!("marker topic '{topic}' on kafka at {}: {text}", writing.servers);
    let admin = AdminClient::from_config_and_context(&writing.plain(), ClientEvents::default());
    let admin: AdminClient<ClientEvents> = admin.map_err(|e| client_error("client", &writing.servers, e))?;
    let options = AdminOptions::new().request_timeout(Some(writing.request_timeout));
    let mut created = false;
    let deadline = Instant::now() + writing.request_timeout;
    loop {
        let what = [ResourceSpecifier::Topic(topic)];
        let found = admin.describe_configs(&what, &options).await;
        let found = found.map_err(|e| unanswered(&admin, &about("no answer about its settings".to_owned()), &e))?;
        let settings = found.into_iter().next().and_then(Result::ok);
        match settings.as_ref().and_then(|it| it.get("cleanup.policy")).and_then(|it| it.value.as_deref()) {
            Some(policy) if policy.trim() == "compact" => return Ok(()),
            Some(policy) => {
                let only = "expected cleanup.policy=compact and nothing else, or markers would be lost";
                return Err(Error::config(about(format!("found cleanup.policy={policy}, {only}"))));
            }
            // The client tells no reason: the topic may be missing, or its settings may be no business of ours.
            None if !created => {
                create(&admin, topic, &options).await.map_err(|(kind, text)| Error::new(kind, about(text)))?;
                created = true;
            }
            // A topic made a moment ago has not reached every broker.
            None if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            None => {
                let text = "its settings can't be read; the user may need the right to DescribeConfigs on it";
                return Err(Error::config(about(text.to_owned())));
            }
        }
    }
}

async fn create(
    admin: &AdminClient<ClientEvents>,
    topic: &str,
    options: &AdminOptions,
) -> Result<(), (tidegate_api::ErrorKind, String)> {
    use tidegate_api::ErrorKind::{Config, Transient};
    // -1: as many replicas as the brokers' default.
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(-1)).set("cleanup.policy", "compact");
    let done = admin.create_topics(&[new], options).await.map_err(|e| (Transient, format!("can't be made: {e}")))?;
    match done.into_iter().next() {
        Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((
            _,
            code @ (RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::InvalidReplicationFactor),
        ))) => Err((Config, format!("can't be made: {code}; make it yourself, with cleanup.policy=compact"))),
        Some(Err((_, code))) => Err((Transient, format!("can't be made: {code}"))),
        None => Err((Transient, "can't be made: no answer".to_owned())),
    }
}

fn unanswered(admin: &AdminClient<ClientEvents>, what: &str, error: &KafkaError) -> Error {
    let last = admin.inner().context().last();
    let reason = last.as_ref().map(|(_, text)| format!(": {text}")).unwrap_or_default();
    let text = format!("{what}: {error}{reason}");
    let denied = last.is_some_and(|(code, _)| code == RDKafkaErrorCode::Authentication);
    if denied { Error::config(text) } else { Error::transient(text) }
}

/// The cluster's id, if it has one and tells it in time. Blocks.
pub(crate) fn cluster_id(writing: &Writing) -> Result<Option<String>> {
    Ok(consumer(&writing.marks_reader(), writing)?.client().fetch_cluster_id(writing.request_timeout))
}

/// The number of a topic's partitions. `Config` if it does not exist; asking makes it, if the brokers make topics by
/// themselves. Blocks.
pub(crate) fn partitions(writing: &Writing, topic: &str, cancel: &CancellationToken) -> Result<i32> {
    let mut config = writing.marks_reader();
    let consumer = consumer(config.set("allow.auto.create.topics", "true"), writing)?;
    let deadline = Instant::now() + writing.request_timeout;
    let mut unknown = 0;
    loop {
        let slice = deadline.saturating_duration_since(Instant::now()).clamp(PAUSE, Duration::from_secs(1));
        let answer = consumer.fetch_metadata(Some(topic), slice);
        let found = match &answer {
            Ok(metadata) => metadata.topics().iter().find(|it| it.name() == topic),
            Err(error) if Instant::now() >= deadline || cancel.is_cancelled() => {
                return Err(Error::transient(format!(
                    "kafka at {} gives no answer about topic '{topic}': {error}{}",
                    writing.servers,
                    said(&consumer)
                )));
            }
            Err(_) => continue,
        };
        match found.map(|it| (it.error(), it.partitions().len())) {
            Some((None, count)) if count > 0 => {
                return Ok(i32::try_from(count).unwrap_or(i32::MAX));
            }
            Some((Some(error), _)) if RDKafkaErrorCode::from(error) == RDKafkaErrorCode::TopicAuthorizationFailed => {
                return Err(Error::config(format!("topic '{topic}' on kafka at {}: not authorised", writing.servers)));
            }
            // A topic made a moment ago may not have reached this broker.
            _ if unknown < 20 && !cancel.is_cancelled() => unknown += 1,
            _ => return Err(Error::config(format!("topic '{topic}' does not exist on kafka at {}", writing.servers))),
        }
        std::thread::sleep(PAUSE);
    }
}

/// The last marker of a writer, as of now: everything below the high watermark is read, and a transaction that is open
/// below it is waited for. Never "nothing" while it can't be known. Blocks.
pub(crate) fn last(
    writing: &Writing,
    place: &Place,
    writer: &str,
    patience: Duration,
    cancel: &CancellationToken,
) -> Result<Option<Marker>> {
    let deadline = Instant::now() + patience;
    let (low, high) = marks(writing, place, deadline, cancel)?;
    if low >= high {
        return Ok(None);
    }
    let mut marker = None;
    let reader = BulkConsumer::new(&writing.committed_reader(), ClientEvents::default());
    let reader = reader.map_err(|e| client_error("client", &writing.servers, e))?;
    let queue = reader.open(&place.topic, place.partition, low, Arc::new(|| ()));
    let mut queue = queue.map_err(|e| Error::transient(about(writing, place, "it can't be read")).because(e))?;
    let (mut covered, mut trouble) = (low, None);
    while covered < high {
        let taken = queue.consume(4096, Duration::ZERO, |polled| match polled {
            Polled::Record(record) => {
                covered = covered.max(record.offset() + 1);
                if record.key() == Some(writer.as_bytes()) {
                    marker = read(&record).transpose();
                }
            }
            Polled::EndOfPartition(end) => covered = covered.max(end),
            Polled::Failed { code, text, .. } => trouble = Some((code, text)),
        });
        if let Some((code, text)) = trouble.take() {
            let error = about(writing, place, &format!("it can't be read: {text}"));
            let denied = code == RDKafkaErrorCode::TopicAuthorizationFailed;
            return Err(if denied { Error::config(error) } else { Error::transient(error) });
        }
        if covered < high && (Instant::now() >= deadline || cancel.is_cancelled()) {
            let why = "a transaction of another writer is open there";
            let text =
                format!("read up to offset {covered} of {high} after {patience:?}: {why}, or it can't be reached");
            return Err(Error::transient(about(writing, place, &format!("{text}{}", said(reader.client())))));
        }
        if taken == 0 {
            // Logs and errors of the client come this way.
            drop(reader.client().poll(Duration::from_millis(1)));
        }
    }
    marker.transpose().map_err(|e: serde_json::Error| {
        Error::config(about(writing, place, &format!("the marker of {writer} can't be read"))).because(e)
    })
}

/// A marker; nothing for a tombstone.
fn read(record: &Record<'_>) -> Result<Option<Marker>, serde_json::Error> {
    record.value().map(serde_json::from_slice).transpose()
}

/// The lowest offset and the high watermark, asked anew. A new leader answers only once it knows the watermark that its
/// predecessor had (`OFFSET_NOT_AVAILABLE` until then).
fn marks(writing: &Writing, place: &Place, deadline: Instant, cancel: &CancellationToken) -> Result<(i64, i64)> {
    let consumer = consumer(&writing.marks_reader(), writing)?;
    loop {
        let slice = deadline.saturating_duration_since(Instant::now()).clamp(PAUSE, writing.request_timeout);
        match consumer.fetch_watermarks(&place.topic, place.partition, slice) {
            Ok(marks) => return Ok(marks),
            Err(error) if Instant::now() >= deadline || cancel.is_cancelled() => {
                let text = about(writing, place, &format!("no answer about its end{}", said(&consumer)));
                return Err(Error::transient(text).because(error));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn about(writing: &Writing, place: &Place, what: &str) -> String {
    format!("marker partition {} [{}] on kafka at {}: {what}", place.topic, place.partition, writing.servers)
}

fn consumer(config: &ClientConfig, writing: &Writing) -> Result<BaseConsumer<ClientEvents>> {
    BaseConsumer::from_config_and_context(config, ClientEvents::default())
        .map_err(|e| client_error("client", &writing.servers, e))
}

/// The last thing that a client said about its connections.
fn said(consumer: &BaseConsumer<ClientEvents>) -> String {
    for _ in 0..32 {
        drop(consumer.poll(Duration::ZERO));
    }
    consumer.context().last().map(|(_, text)| format!(": {text}")).unwrap_or_default()
}

/// The partition of a writer: the same for the same number of partitions (FNV-1a of the writer's id).
pub(crate) fn partition_of(writer: &str, partitions: i32) -> i32 {
    let hash = writer
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let count = u64::try_from(partitions.max(1)).unwrap_or(1);
    i32::try_from(hash % count).unwrap_or_default()
}
