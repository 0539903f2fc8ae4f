//! The settings of a sink's clients: its producer, and those that look after the markers.

use std::time::Duration;

use rdkafka::ClientConfig;
use tidegate_api::{ConfigIssue, PassThrough};

use super::{Refused, issues_below, servers, translated, without_servers};

/// Keys that the sink decides by itself.
const REFUSED: Refused = &[
    ("transactional.id", "the query's id and the sink's name are the id"),
    ("transaction.timeout.ms", "use transaction.timeout"),
    ("enable.idempotence", "it is always on"),
    ("enable.gapless.guarantee", "an epoch is written by transaction"),
    ("acks", "all replicas always acknowledge"),
    ("request.required.acks", "all replicas always acknowledge"),
    ("key.serializer", "keys are STRING or BINARY"),
    ("value.serializer", "use value.format"),
    ("partitioner.class", "use kafka.partitioner, or a column partition"),
    ("interceptor.classes", "there are no interceptors; use transforms or SQL"),
    ("plugin.library.paths", "libraries are not loaded"),
    ("ssl.truststore.password", "give the certificates as PEM in kafka.ssl.ca.location"),
];

/// Ours where the user says nothing.
const DEFAULTS: &[(&str, &str)] =
    &[("client.id", "tidegate"), ("reconnect.backoff.ms", "20"), ("reconnect.backoff.max.ms", "2000")];

/// The same for a producer. Keys go to the partitions that the Java client would choose; what waits to be sent is kept
/// small, since `write` waits when it is full. Records without a key stay with a partition for a millisecond: a small
/// epoch is one request, and a large one is spread.
const PRODUCER: &[(&str, &str)] = &[
    ("partitioner", "murmur2_random"),
    ("linger.ms", "5"),
    ("queue.buffering.max.kbytes", "65536"),
    ("sticky.partitioning.linger.ms", "1"),
];

/// What holds for a reader of markers, whatever the user says.
const READER: &[(&str, &str)] = &[
    ("group.id", "tidegate-markers"),
    ("auto.offset.reset", "earliest"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("allow.auto.create.topics", "false"),
    ("fetch.wait.max.ms", "100"),
];

/// All that is wrong with what was passed to a sink.
pub(crate) fn writing_issues(kafka: &PassThrough, overridden: &PassThrough) -> Vec<ConfigIssue> {
    let mut issues = issues_below("kafka.", kafka, REFUSED);
    issues.extend(issues_below("producer.override.", overridden, REFUSED));
    issues.extend(without_servers(&merged(kafka, overridden)));
    issues
}

/// The settings of a sink's clients. `writing_issues` has found nothing.
pub(crate) struct Writing {
    pairs: Vec<(String, String)>,
    /// The servers, as the user wrote them.
    pub(crate) servers: String,
    /// How long one request may take.
    pub(crate) request_timeout: Duration,
}

impl Writing {
    pub(crate) fn new(kafka: &PassThrough, overridden: &PassThrough) -> Self {
        let passed = merged(kafka, overridden);
        let pairs = passed.iter().flat_map(|(key, value)| translated(&passed, REFUSED, key, value).unwrap_or_default());
        Self { pairs: pairs.collect(), servers: servers(&passed), request_timeout: super::request_timeout(&passed) }
    }

    /// For questions and for making topics.
    pub(crate) fn plain(&self) -> ClientConfig {
        self.over(DEFAULTS)
    }

    /// A producer: of transactions with this id, or without. Records that go `alone` do not fail for one another.
    pub(crate) fn producer(
        &self,
        transactional_id: Option<&str>,
        transaction_timeout: Duration,
        alone: bool,
    ) -> ClientConfig {
        let mut config = self.over(&[DEFAULTS, PRODUCER].concat());
        config.set("enable.idempotence", "true").set("acks", "all");
        if alone {
            config.set("batch.num.messages", "1");
        }
        if let Some(id) = transactional_id {
            config.set("transactional.id", id);
            config.set("transaction.timeout.ms", transaction_timeout.as_millis().to_string());
        }
        config
    }

    /// A reader that sees no record of a transaction that is open or aborted.
    pub(crate) fn committed_reader(&self) -> ClientConfig {
        self.reader("read_committed")
    }

    /// Asks for offsets: for it the end of a partition is the high watermark.
    pub(crate) fn marks_reader(&self) -> ClientConfig {
        self.reader("read_uncommitted")
    }

    /// What the user passed, over these defaults.
    fn over(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (key, value) in defaults {
            config.set(*key, *value);
        }
        for (key, value) in &self.pairs {
            config.set(key, value);
        }
        config
    }

    fn reader(&self, isolation: &str) -> ClientConfig {
        let mut config = self.plain();
        for (key, value) in READER {
            config.set(*key, *value);
        }
        config.set("isolation.level", isolation);
        config
    }
}

fn merged(kafka: &PassThrough, overridden: &PassThrough) -> PassThrough {
    kafka.iter().chain(overridden).map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(pairs: &[(&str, &str)]) -> PassThrough {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_the_sink_decides_is_refused() {
        for (key, _) in REFUSED {
            let issues = writing_issues(&passed(&[("bootstrap.servers", "x:1")]), &passed(&[(key, "x")]));
            let text = issues.iter().map(ToString::to_string).collect::<String>();
            assert!(text.starts_with(&format!("producer.override.{key}: can't be set")), "{text}");
        }
        let issues = writing_issues(&passed(&[("linger.ms", "soon")]), &passed(&[]));
        let text = issues.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(text.contains("kafka.linger.ms: invalid value"), "{text}");
        assert!(text.contains("kafka.bootstrap.servers: missing"), "{text}");
    }

    #[test]
    fn overrides_win_and_java_names_are_translated() {
        let kafka = passed(&[("bootstrap.servers", "a:1"), ("linger.ms", "7"), ("max.request.size", "2000000")]);
        let overridden = passed(&[("linger.ms", "9"), ("compression.type", "lz4")]);
        assert_eq!(writing_issues(&kafka, &overridden), []);
        let writing = Writing::new(&kafka, &overridden);
        let config = writing.producer(Some("q/out"), Duration::from_secs(7), false);
        for (key, value) in [
            ("bootstrap.servers", "a:1"),
            ("linger.ms", "9"),
            ("message.max.bytes", "2000000"),
            ("compression.type", "lz4"),
            ("transactional.id", "q/out"),
            ("transaction.timeout.ms", "7000"),
            ("partitioner", "murmur2_random"),
            ("acks", "all"),
        ] {
            assert_eq!(config.get(key), Some(value), "{key}");
        }
        assert_eq!(writing.committed_reader().get("isolation.level"), Some("read_committed"));
        assert_eq!(writing.marks_reader().get("isolation.level"), Some("read_uncommitted"));
    }
}
