//! `Cluster`: questions to the brokers. All calls block for a bounded time; callers put them on a blocking thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use tidegate_api::{Error, PartitionId, Result};
use tidegate_kafka_ffi::BulkConsumer;
use tokio_util::sync::CancellationToken;

use crate::client::ClientEvents;
use crate::config::KafkaConfig;
use crate::settings;

/// The lowest offset of a partition and its end: the last stable offset, or the high watermark if the source reads
/// uncommitted records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) low: i64,
    pub(crate) high: i64,
}

/// One client of a cluster, and the topics it is asked about.
pub(crate) struct Cluster {
    pub(crate) consumer: BulkConsumer<ClientEvents>,
    pub(crate) topics: Vec<Arc<str>>,
    pub(crate) fail_on_data_loss: bool,
    pub(crate) reads_uncommitted: bool,
    servers: String,
    timeout: Duration,
    retries: u32,
    retry_interval: Duration,
    cancel: CancellationToken,
}

/// Why a topic can't be looked at.
enum Missing {
    /// It is not there.
    Unknown,
    /// Not ready yet, or the broker is away.
    Away(KafkaError),
    /// Never.
    Refused(RDKafkaErrorCode),
}

impl Cluster {
    /// A client; connects to nothing yet.
    pub(crate) fn new(config: &KafkaConfig, group: &str, cancel: CancellationToken) -> Result<Self> {
        let servers = settings::servers(&config.kafka);
        let client = settings::source(config, group);
        let consumer = BulkConsumer::new(&client, ClientEvents::default()).map_err(|e| {
            let text = match e {
                KafkaError::ClientCreation(text) => text,
                // Its own text would show a value.
                KafkaError::ClientConfig(_, _, key, _) => format!("setting kafka.{key} is refused"),
                other => other.to_string(),
            };
            Error::config(format!("no kafka client for {servers}: {text}"))
        })?;
        Ok(Self {
            consumer,
            topics: config.subscribe.iter().map(|it| it.as_str().into()).collect(),
            fail_on_data_loss: config.fail_on_data_loss,
            reads_uncommitted: settings::reads_uncommitted(&config.kafka),
            servers,
            timeout: settings::request_timeout(&config.kafka),
            retries: config.fetch_offset_num_retries,
            retry_interval: config.fetch_offset_retry_interval,
            cancel,
        })
    }

    /// The partitions of all topics, in order. `Config` for a topic that does not exist, `Transient` if no broker
    /// answers in time.
    pub(crate) fn partitions(&self) -> Result<Vec<PartitionId>> {
        let mut all = Vec::new();
        for topic in &self.topics {
            let count = self.partition_count(topic)?;
            all.extend((0..count).map(|number| PartitionId { name: topic.clone(), number }));
        }
        all.sort();
        Ok(all)
    }

    /// The number of partitions of a topic.
    pub(crate) fn partition_count(&self, topic: &Arc<str>) -> Result<u32> {
        let deadline = self.begin();
        let mut unknown = 0;
        loop {
            match self.ask_partition_count(topic, deadline) {
                Ok(count) => return Ok(count),
                // A topic made a moment ago may not have reached this broker.
                Err(Missing::Unknown) if unknown < self.retries => unknown += 1,
                Err(Missing::Unknown) => {
                    return Err(Error::config(format!("topic '{topic}' does not exist on kafka at {}", self.servers)));
                }
                Err(Missing::Refused(code)) => {
                    return Err(Error::config(format!("topic '{topic}' on kafka at {}: {code}", self.servers)));
                }
                Err(Missing::Away(error)) => self.give_up(&format!("topic '{topic}'"), &error, deadline)?,
            }
            std::thread::sleep(self.retry_interval);
        }
    }

    fn ask_partition_count(&self, topic: &str, deadline: Instant) -> Result<u32, Missing> {
        // Short slices, so that what the client says about the connection is heard in between.
        let slice = deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(500));
        let slice = slice.max(Duration::from_millis(10));
        let metadata = self.consumer.client().fetch_metadata(Some(topic), slice).map_err(Missing::Away)?;
        let found = metadata.topics().iter().find(|it| it.name() == topic).ok_or(Missing::Unknown)?;
        found.error().map_or_else(|| Ok(partition_count(found)), |code| Err(sorted_out(code.into())))
    }

    /// Begins a question: when it has to end. Errors told before are not about it.
    fn begin(&self) -> Instant {
        drop(self.consumer.client().context().take_last());
        Instant::now() + self.timeout
    }

    /// An error if it is time to stop trying.
    fn give_up(&self, what: &str, error: &KafkaError, deadline: Instant) -> Result<()> {
        let client = self.consumer.client();
        // Logs and errors wait to be fetched; nothing else comes this way.
        for _ in 0..32 {
            drop(client.poll(Duration::ZERO));
        }
        let last = client.context().last();
        let reason = last.as_ref().map(|(_, text)| format!(": {text}")).unwrap_or_default();
        let message = format!("kafka at {} gives no answer about {what}: {error}{reason}", self.servers);
        if last.is_some_and(|(code, _)| code == RDKafkaErrorCode::Authentication) {
            return Err(Error::config(message));
        }
        if self.cancel.is_cancelled() || Instant::now() >= deadline {
            return Err(Error::transient(message));
        }
        Ok(())
    }

    /// Low and high marks of these partitions, asked anew.
    pub(crate) fn marks(&self, places: &[PartitionId]) -> Result<BTreeMap<PartitionId, Mark>> {
        let low = self.offsets(places, Offset::Beginning)?;
        let high = self.offsets(places, Offset::End)?;
        let both = low.into_iter().filter_map(|(place, low)| {
            let high = *high.get(&place)?;
            Some((place, Mark { low, high: high.max(low) }))
        });
        Ok(both.collect())
    }

    /// The first or last offsets of these partitions, asked anew. One request a broker.
    pub(crate) fn offsets(&self, places: &[PartitionId], at: Offset) -> Result<BTreeMap<PartitionId, i64>> {
        let deadline = self.begin();
        let mut tries = 0;
        loop {
            match self.ask_offsets(places, at) {
                Ok(offsets) => return Ok(offsets),
                Err(error) => {
                    let late = if tries < self.retries { deadline } else { Instant::now() };
                    self.give_up("offsets", &error, late)?;
                }
            }
            tries += 1;
            std::thread::sleep(self.retry_interval);
        }
    }

    fn ask_offsets(&self, places: &[PartitionId], at: Offset) -> Result<BTreeMap<PartitionId, i64>, KafkaError> {
        if places.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut question = TopicPartitionList::with_capacity(places.len());
        for place in places {
            question.add_partition_offset(&place.name, number(place), at)?;
        }
        let answer = self.consumer.client().offsets_for_times(question, self.timeout)?;
        let mut offsets = BTreeMap::new();
        for place in places {
            let found = answer.find_partition(&place.name, number(place));
            let found = found.ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition))?;
            found.error()?;
            match found.offset() {
                Offset::Offset(offset) => offsets.insert(place.clone(), offset),
                _ => return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset)),
            };
        }
        Ok(offsets)
    }

    /// The servers, for errors.
    pub(crate) fn servers(&self) -> &str {
        &self.servers
    }

    /// How long one request may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// The number of a partition as the client wants it.
pub(crate) fn number(place: &PartitionId) -> i32 {
    i32::try_from(place.number).unwrap_or(i32::MAX)
}

fn partition_count(topic: &MetadataTopic) -> u32 {
    u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX)
}

/// True if a broker says that it knows no such topic.
pub(crate) fn is_unknown(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
}

fn sorted_out(code: RDKafkaErrorCode) -> Missing {
    match code {
        code if is_unknown(code) => Missing::Unknown,
        RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::InvalidTopic => Missing::Refused(code),
        code => Missing::Away(KafkaError::MetadataFetch(code)),
    }
}
