//! `Options`: what the settings ask of a fetch, or why it is left to librdkafka.

use std::time::Duration;

use rdkafka::ClientConfig;
use tokio_rustls::TlsConnector;

use super::security::{Keys, Security};
use super::tls::Trusted;

/// What the fetch needs to know of the client's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(super) client_id: String,
    pub(super) read_committed: bool,
    /// Bytes of records that wait for a reader, per partition.
    pub(super) queue_bytes: usize,
    pub(super) min_bytes: i32,
    pub(super) max_bytes: i32,
    pub(super) partition_bytes: i32,
    /// How long a fetch waits at the end.
    pub(super) wait: Duration,
    /// The longest answer, and the most that a batch may have unpacked, in bytes.
    pub(super) answer_bytes: usize,
    pub(super) connect_timeout: Duration,
    /// How long an answer may take, beside `wait`.
    pub(super) request_timeout: Duration,
    pub(super) backoff: Duration,
    pub(super) backoff_max: Duration,
    pub(super) security: Security,
}

/// Settings that do not change how records are fetched by our own client: those of groups and producers, and of
/// librdkafka's threads and its questions beside the fetch.
const INDIFFERENT: &[&str] = &[
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "bootstrap.servers",
    "check.crcs",
    "connections.max.idle.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.metrics.push",
    "enable.partition.eof",
    "fetch.error.backoff.ms",
    "fetch.queue.backoff.ms",
    "group.id",
    "group.protocol",
    "heartbeat.interval.ms",
    "log.connection.close",
    "log_level",
    "max.poll.interval.ms",
    "message.max.bytes",
    "metadata.broker.list",
    "metadata.max.age.ms",
    "metadata.recovery.strategy",
    "partition.assignment.strategy",
    "queued.min.messages",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "session.timeout.ms",
    // A connection here is either asked for something, with a limit of time, or will be: it need not be kept alive.
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "statistics.interval.ms",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// Decides whether these settings can be kept here, and reads them.
///
/// # Errors
/// The key that can't be, for people to read; never its value, which may be a password.
pub(crate) fn supports(config: &ClientConfig) -> Result<Options, String> {
    let (mut options, mut keys) = (Options::default(), Keys::default());
    for key in config.config_map().into_keys() {
        let Some(value) = config.get(key) else { continue };
        if !keys.set(key, value) {
            options.set(key, value.trim())?;
        }
    }
    options.security = keys.finish().map_err(left)?;
    Ok(options)
}

fn left(key: &str) -> String {
    format!("kafka.{key} is a matter for librdkafka")
}

impl Default for Options {
    /// As librdkafka's, but for the queue, which needs no memory beside the records here.
    fn default() -> Self {
        Self {
            client_id: "tidegate".to_owned(),
            read_committed: true,
            queue_bytes: 8 << 20,
            min_bytes: 1,
            max_bytes: 50 << 20,
            partition_bytes: 1 << 20,
            wait: Duration::from_millis(100),
            answer_bytes: 100_000_000,
            connect_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(60),
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            security: Security::default(),
        }
    }
}

impl Options {
    /// What encrypts connections, if they are to be. Reads files.
    ///
    /// # Errors
    /// If the certificates can't be read, in words.
    pub(crate) fn connector(&self) -> Result<Option<TlsConnector>, String> {
        self.security.tls.as_ref().map(Trusted::connector).transpose()
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<i32>().ok().filter(|it| *it >= 0);
        let number = || number().ok_or_else(|| format!("kafka.{key} is no number"));
        let ms = || number().map(|it| Duration::from_millis(it.unsigned_abs().into()));
        let size = || number().map(|it| it.unsigned_abs() as usize);
        match key {
            "client.id" => value.clone_into(&mut self.client_id),
            "isolation.level" => self.read_committed = value != "read_uncommitted",
            "queued.max.messages.kbytes" => self.queue_bytes = size()?.saturating_mul(1024),
            "fetch.min.bytes" => self.min_bytes = number()?,
            "fetch.max.bytes" => self.max_bytes = number()?,
            "fetch.message.max.bytes" | "max.partition.fetch.bytes" => self.partition_bytes = number()?,
            "fetch.wait.max.ms" => self.wait = ms()?,
            "receive.message.max.bytes" => self.answer_bytes = size()?,
            "socket.connection.setup.timeout.ms" => self.connect_timeout = ms()?,
            "socket.timeout.ms" => self.request_timeout = ms()?,
            "reconnect.backoff.ms" => self.backoff = ms()?,
            "reconnect.backoff.max.ms" => self.backoff_max = ms()?,
            key if INDIFFERENT.contains(&key) => {}
            key => return Err(left(key)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
