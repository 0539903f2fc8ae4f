//! The settings of the `kafka` source.

use std::num::NonZeroU64;
use std::time::Duration;

use tidegate_api::{ConfigDef, ConfigIssue, ConfigValue, PassThrough};

use crate::fetch;
use crate::offset::StartingOffsets;
use crate::settings;

/// Settings of the `kafka` source.
#[derive(ConfigDef)]
pub struct KafkaConfig {
    /// Settings of the Kafka client, by librdkafka's names. `kafka.bootstrap.servers` is required.
    #[config(prefix = "kafka.", importance = "high")]
    pub kafka: PassThrough,
    /// The topics to read, separated by commas.
    #[config(synonym = "topics", importance = "high")]
    pub subscribe: Vec<String>,
    /// Where a new query starts: earliest, latest, or an offset for each partition, as in
    /// `{"t":{"0":23,"1":-1,"2":-2}}` (-1 latest, -2 earliest). Partitions that appear later are read from their start.
    #[config(default = "latest", importance = "high")]
    pub starting_offsets: StartingOffsets,
    /// Most offsets in one epoch, shared among the partitions by what lies waiting in them.
    pub max_offsets_per_trigger: Option<NonZeroU64>,
    /// Fail if records may have been lost (deleted topic, expired offsets); false: log it and go on.
    #[config(default = "true")]
    pub fail_on_data_loss: bool,
    /// Deliver the column `headers`.
    #[config(default = "false")]
    pub include_headers: bool,
    /// Time to wait for records that should be there.
    #[config(
        name = "poll.timeout.ms",
        default = "120000",
        synonym = "kafkaConsumer.pollTimeoutMs",
        importance = "low"
    )]
    pub poll_timeout: Duration,
    /// How often a failed query for offsets is repeated.
    #[config(default = "3", importance = "low")]
    pub fetch_offset_num_retries: u32,
    /// Time between such repetitions.
    #[config(name = "fetch.offset.retry.interval.ms", default = "10", importance = "low")]
    pub fetch_offset_retry_interval: Duration,
    /// Who fetches the records: own (faster; knows TLS, and SASL with PLAIN or SCRAM), librdkafka (knows all settings), or
    /// auto: own where the settings below `kafka.` allow it.
    #[config(default = "auto", importance = "low")]
    pub fetch_client: FetchClient,
}

/// Who fetches the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchClient {
    /// Our own client where the settings allow it.
    Auto,
    /// Our own client.
    Own,
    /// librdkafka.
    Librdkafka,
}

impl ConfigValue for FetchClient {
    const KIND: &'static str = "auto, own or librdkafka";
    fn parse_value(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "own" => Ok(Self::Own),
            "librdkafka" => Ok(Self::Librdkafka),
            _ => Err(format!("'{text}' is not {}", Self::KIND)),
        }
    }
}

impl KafkaConfig {
    /// What the derive can't see.
    pub(crate) fn issues(&self) -> Vec<ConfigIssue> {
        let mut issues = settings::issues(&self.kafka);
        if let (FetchClient::Own, Err(reason)) = (self.fetch_client, fetch::supports(&settings::source(self, ""))) {
            issues.push(ConfigIssue::new("fetch.client", format!("can't be own: {reason}")));
        }
        if self.subscribe.is_empty() {
            issues.push(ConfigIssue::new("subscribe", "names no topic; expected topics separated by commas"));
        }
        for (at, topic) in self.subscribe.iter().enumerate() {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if topic.len() > 249 || topic == "." || topic == ".." || !topic.chars().all(legal) {
                let expected = "expected up to 249 letters, digits, '.', '_' and '-'";
                issues.push(ConfigIssue::new("subscribe", format!("'{topic}' is not a topic name; {expected}")));
            }
            if self.subscribe.iter().take(at).any(|it| it == topic) {
                issues.push(ConfigIssue::new("subscribe", format!("'{topic}' is named twice")));
            }
        }
        if let StartingOffsets::Each(each) = &self.starting_offsets {
            let strange = each.keys().find(|it| !self.subscribe.contains(&it.name.to_string()));
            if let Some(strange) = strange {
                let message = format!("topic '{}' is not among those subscribed to", strange.name);
                issues.push(ConfigIssue::new("starting.offsets", message));
            }
        }
        issues
    }
}
