//! The settings of the `kafka` sink.

use std::time::Duration;

use tidegate_api::{ConfigDef, ConfigIssue, ConfigValue, PassThrough};

use crate::settings;

/// Settings of the `kafka` sink.
#[derive(ConfigDef)]
pub struct KafkaSinkConfig {
    /// Settings of the Kafka client, by librdkafka's names or Java's. `kafka.bootstrap.servers` is required.
    #[config(prefix = "kafka.", importance = "high")]
    pub kafka: PassThrough,
    /// Settings of the producer; they win over those below `kafka.`.
    #[config(prefix = "producer.override.", importance = "low")]
    pub producer_override: PassThrough,
    /// The topic of all rows. Left out, the column `topic` names it row by row.
    #[config(importance = "high")]
    pub topic: Option<String>,
    /// How a row becomes a value: raw takes the column `value` (STRING or BINARY), json writes all columns but `key`,
    /// `topic`, `partition` and `headers` as one document.
    #[config(default = "raw", importance = "high")]
    pub value_format: ValueFormat,
    /// The column that is the record's key: STRING or BINARY as it is, whole numbers and booleans as text. By default
    /// the column `key`, if there is one.
    pub key_column: Option<String>,
    /// exactly-once: each epoch is one transaction. at-least-once: no transactions, rows may come twice.
    #[config(default = "exactly-once")]
    pub delivery: Delivery,
    /// How long a transaction may be open; the brokers abort it then. They allow up to 15 minutes unless told otherwise.
    #[config(default = "60 seconds", importance = "low")]
    pub transaction_timeout: Duration,
    /// The compacted topic that remembers which epoch each sink has committed. It is made if it is not there.
    #[config(default = "__tidegate_epochs", importance = "low")]
    pub markers_topic: String,
    /// How long a start waits for transactions of others that are open in the markers' partition.
    #[config(default = "30 seconds", importance = "low")]
    pub markers_timeout: Duration,
}

/// How a row becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueFormat {
    /// The column `value`.
    Raw,
    /// A JSON document.
    Json,
}

impl ConfigValue for ValueFormat {
    const KIND: &'static str = "raw or json";
    fn parse_value(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "raw" => Ok(Self::Raw),
            "json" => Ok(Self::Json),
            _ => Err(format!("'{text}' is not {}", Self::KIND)),
        }
    }
}

/// What the sink promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// An epoch becomes visible whole, once.
    ExactlyOnce,
    /// Rows may come twice.
    AtLeastOnce,
}

impl ConfigValue for Delivery {
    const KIND: &'static str = "exactly-once or at-least-once";
    fn parse_value(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().replace(['_', ' '], "-").as_str() {
            "exactly-once" => Ok(Self::ExactlyOnce),
            "at-least-once" => Ok(Self::AtLeastOnce),
            _ => Err(format!("'{text}' is not {}", Self::KIND)),
        }
    }
}

impl KafkaSinkConfig {
    /// What the derive can't see.
    pub(crate) fn issues(&self) -> Vec<ConfigIssue> {
        let mut issues = settings::writing_issues(&self.kafka, &self.producer_override);
        let topics = [("topic", self.topic.as_deref()), ("markers.topic", Some(self.markers_topic.as_str()))];
        for (key, topic) in topics {
            let Some(topic) = topic.filter(|it| !is_topic(it)) else { continue };
            let expected = "expected up to 249 letters, digits, '.', '_' and '-'";
            issues.push(ConfigIssue::new(key, format!("'{topic}' is not a topic name; {expected}")));
        }
        if self.topic.as_ref() == Some(&self.markers_topic) {
            let message = format!("'{}' holds the markers of all sinks, expected another topic", self.markers_topic);
            issues.push(ConfigIssue::new("topic", message));
        }
        if self.transaction_timeout < Duration::from_secs(1) || self.transaction_timeout > Duration::from_secs(86_400) {
            let message = format!("found {:?}, expected at least 1 second and at most a day", self.transaction_timeout);
            issues.push(ConfigIssue::new("transaction.timeout", message));
        }
        issues
    }
}

/// True for a name that a topic may have.
pub(crate) fn is_topic(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.chars().all(legal)
}
