//! The clients' settings: what the user passed below `kafka.`, checked, translated and completed.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use tidegate_api::{ConfigIssue, PassThrough};

use crate::config::KafkaConfig;

mod writing;

pub(crate) use writing::{Writing, writing_issues};

/// Keys with the way to say what is meant instead.
type Refused = &'static [(&'static str, &'static str)];

/// Keys that the source decides by itself.
const REFUSED: Refused = &[
    ("auto.offset.reset", "use starting.offsets"),
    ("key.deserializer", "keys are always bytes"),
    ("value.deserializer", "use value.format"),
    ("enable.auto.commit", "the checkpoint holds the offsets"),
    ("enable.auto.offset.store", "the checkpoint holds the offsets"),
    ("enable.partition.eof", "the source needs it on"),
    ("interceptor.classes", "there are no interceptors; use transforms or SQL"),
    ("plugin.library.paths", "libraries are not loaded"),
    ("max.poll.records", "use max.offsets.per.trigger"),
    ("ssl.truststore.password", "give the certificates as PEM in kafka.ssl.ca.location"),
];

/// Names of the Java client that librdkafka calls otherwise.
const RENAMED: &[(&str, &str)] = &[
    ("max.request.size", "message.max.bytes"),
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("request.timeout.ms", "socket.timeout.ms"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
    ("ssl.truststore.certificates", "ssl.ca.pem"),
    ("ssl.keystore.certificate.chain", "ssl.certificate.pem"),
    ("ssl.keystore.key", "ssl.key.pem"),
];

/// Ours where the user says nothing. A queue is per partition, and a record in it costs librdkafka about 400 bytes beside
/// its own, which the limit in kilobytes does not count: the number of records is kept small, as is what one fetch adds
/// to it, and a full queue must not cost a second. A fetch that waits at the end holds up a seek and new partitions, so
/// it waits for a tenth of a second only. The client waits half of `reconnect.backoff.ms` between the first server and
/// the broker that it names, and doubles it with each connection that fails.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "tidegate"),
    ("queued.max.messages.kbytes", "8192"),
    ("queued.min.messages", "20000"),
    ("fetch.message.max.bytes", "524288"),
    ("fetch.queue.backoff.ms", "2"),
    ("fetch.wait.max.ms", "100"),
    ("reconnect.backoff.ms", "20"),
    ("reconnect.backoff.max.ms", "2000"),
];

/// All that is wrong with the settings below `kafka.`.
pub(crate) fn issues(passed: &PassThrough) -> Vec<ConfigIssue> {
    let mut issues = issues_below("kafka.", passed, REFUSED);
    issues.extend(without_servers(passed));
    issues
}

/// All that is wrong with the settings below `prefix`, one by one.
fn issues_below(prefix: &str, passed: &PassThrough, refused: Refused) -> Vec<ConfigIssue> {
    let mut issues = Vec::new();
    let mut config = ClientConfig::new();
    for (key, value) in passed {
        match translated(passed, refused, key, value) {
            Ok(pairs) => pairs.into_iter().for_each(|(key, value)| {
                config.set(key, value);
            }),
            Err(message) => issues.push(ConfigIssue::new(format!("{prefix}{key}"), message)),
        }
    }
    // One setting at a time, so that each mistake is found.
    for (key, value) in owned(&config) {
        if let Err(error) = ClientConfig::new().set(&key, value).create_native_config() {
            issues.push(ConfigIssue::new(format!("{prefix}{key}"), refusal(&key, &error)));
        }
    }
    issues
}

fn without_servers(passed: &PassThrough) -> Option<ConfigIssue> {
    let message = "missing; expected host:port, or several separated by commas";
    servers(passed).trim().is_empty().then(|| ConfigIssue::new("kafka.bootstrap.servers", message))
}

/// The client's settings. `issues` has found nothing.
pub(crate) fn client_config(passed: &PassThrough, group: &str, fail_on_data_loss: bool) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in DEFAULTS {
        config.set(*key, *value);
    }
    config.set("group.id", group);
    for (key, value) in passed {
        for (key, value) in translated(passed, REFUSED, key, value).unwrap_or_default() {
            config.set(key, value);
        }
    }
    let reset = if fail_on_data_loss { "error" } else { "earliest" };
    config
        .set("auto.offset.reset", reset)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("allow.auto.create.topics", "false");
    config
}

/// The client's settings of a source.
pub(crate) fn source(config: &KafkaConfig, group: &str) -> ClientConfig {
    client_config(&config.kafka, group, config.fail_on_data_loss)
}

/// The servers, as the user wrote them.
pub(crate) fn servers(passed: &PassThrough) -> String {
    let found = passed.get("bootstrap.servers").or_else(|| passed.get("metadata.broker.list"));
    found.cloned().unwrap_or_default()
}

/// True if records of open transactions are read too.
pub(crate) fn reads_uncommitted(passed: &PassThrough) -> bool {
    passed.get("isolation.level").is_some_and(|it| it.trim() == "read_uncommitted")
}

/// How long one request may take: at most 15 seconds.
pub(crate) fn request_timeout(passed: &PassThrough) -> Duration {
    let set = passed.get("socket.timeout.ms").or_else(|| passed.get("request.timeout.ms"));
    let ms = set.and_then(|it| it.trim().parse().ok()).unwrap_or(u64::MAX);
    Duration::from_millis(ms.min(15_000))
}

/// One setting as librdkafka knows it: none, one or several, or why it can't be.
fn translated(passed: &PassThrough, refused: Refused, key: &str, value: &str) -> Result<Vec<(String, String)>, String> {
    if let Some((_, instead)) = refused.iter().find(|(it, _)| *it == key) {
        return Err(format!("can't be set: {instead}"));
    }
    let one = |key: &str, value: &str| Ok(vec![(key.to_owned(), value.to_owned())]);
    if let Some((_, name)) = RENAMED.iter().find(|(it, _)| *it == key) {
        let both = passed.contains_key(*name);
        return if both { Err(format!("is the same setting as kafka.{name}")) } else { one(name, value) };
    }
    let is_type = |key: &str, wanted: &str| passed.get(key).is_some_and(|it| it.eq_ignore_ascii_case(wanted));
    match key {
        "sasl.jaas.config" => {
            let (user, password) = jaas_login(value)?;
            Ok(vec![("sasl.username".to_owned(), user), ("sasl.password".to_owned(), password)])
        }
        "ssl.truststore.location" if is_type("ssl.truststore.type", "PEM") => one("ssl.ca.location", value),
        "ssl.truststore.location" => Err("can't be read: give the certificates as PEM in kafka.ssl.ca.location".into()),
        "ssl.truststore.type" | "ssl.keystore.type" => match value.to_ascii_uppercase().as_str() {
            "PEM" | "PKCS12" => Ok(Vec::new()),
            _ => Err(format!("'{value}' can't be read: expected PEM or PKCS12")),
        },
        // The empty text is Java's way to switch the check off.
        "ssl.endpoint.identification.algorithm" if value.is_empty() => one(key, "none"),
        _ => one(key, value),
    }
}

/// User and password of a JAAS line, as for Java's `PlainLoginModule` and `ScramLoginModule`.
fn jaas_login(line: &str) -> Result<(String, String), String> {
    let wrong =
        || "expected '…PlainLoginModule required username=\"…\" password=\"…\";' (or ScramLoginModule)".to_owned();
    let module = line.split_whitespace().next().unwrap_or_default();
    if !module.ends_with(".PlainLoginModule") && !module.ends_with(".ScramLoginModule") {
        return Err(wrong());
    }
    let field = |name: &str| {
        let rest = line.split_once(&format!(" {name}="))?.1;
        let mut chars = rest.strip_prefix('"')?.chars();
        let mut text = String::new();
        loop {
            match chars.next()? {
                '"' => return Some(text),
                '\\' => text.push(chars.next()?),
                c => text.push(c),
            }
        }
    };
    field("username").zip(field("password")).ok_or_else(wrong)
}

/// The entries with their values; `config_map` hides some of them.
fn owned(config: &ClientConfig) -> Vec<(String, String)> {
    let keys = config.config_map().into_keys();
    keys.filter_map(|key| Some((key.to_owned(), config.get(key)?.to_owned()))).collect()
}

/// Why librdkafka refuses a setting. Its own text may quote the value, which may be a password.
fn refusal(key: &str, error: &KafkaError) -> String {
    let secret = ["password", "secret", "key", "token", "pem"].iter().any(|it| key.contains(it));
    match error {
        KafkaError::ClientConfig(_, text, ..) if !secret => lowered(text),
        _ => "the client refuses this value".to_owned(),
    }
}

/// With a small first letter, as our errors are written.
fn lowered(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
