//! Spark's `offsets/<n>` and `commits/<n>`, versions 1 and 2.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tidegate_api::{Error, Result};
use tidegate_epoch::WatermarkPolicy;

const POLICY: &str = "spark.sql.streaming.multipleWatermarkPolicy";

/// What `offsets/<n>` says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Offsets {
    /// The watermark that epoch n runs with, milliseconds since 1970; 0: none yet.
    pub(super) watermark_ms: i64,
    pub(super) watermark_policy: WatermarkPolicy,
    /// Where each source ends in epoch n.
    pub(super) sources: BTreeMap<String, Option<String>>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(rename = "batchWatermarkMs", default)]
    watermark_ms: i64,
    #[serde(default)]
    conf: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Commit {
    #[serde(rename = "nextBatchWatermarkMs", default)]
    next_watermark_ms: i64,
}

#[derive(Deserialize)]
struct Identity {
    id: String,
}

pub(super) fn parse_offsets(bytes: &[u8]) -> Result<Offsets> {
    let (named, mut lines) = head(bytes)?;
    let metadata = match lines.next().map(str::trim) {
        None => return Err(Error::config("the file is cut short: expected the epoch's metadata in line 2")),
        // As Spark 2.0 wrote it.
        Some("") => Metadata::default(),
        Some(json) => {
            let wrong = |e| Error::config("line 2 is not the epoch's metadata, expected a JSON object").because(e);
            object(json).map_err(wrong)?
        }
    };
    let mut sources = BTreeMap::new();
    for (at, line) in lines.enumerate() {
        let (source, position) = match named {
            false => (at.to_string(), line),
            true => line.split_once(':').map(|(name, rest)| (name.to_owned(), rest)).ok_or_else(|| {
                Error::config(format!("line {}: found '{line}', expected <source>:<position>", at + 3))
            })?,
        };
        if position.is_empty() {
            return Err(Error::config(format!("line {} is empty, expected a position or '-'", at + 3)));
        }
        // It names a folder.
        if source.is_empty() || source.starts_with('.') || source.contains(['/', '\\', '\0']) {
            return Err(Error::config(format!("line {}: found '{source}', expected the name of a source", at + 3)));
        }
        let position = (position != "-").then(|| position.to_owned());
        if sources.insert(source.clone(), position).is_some() {
            return Err(Error::config(format!("line {}: source '{source}' is there twice", at + 3)));
        }
    }
    if sources.is_empty() {
        return Err(Error::config("the file is cut short: expected a line for each source"));
    }
    let policy = metadata.conf.get(POLICY).map(|it| it.parse().map_err(|e: Error| e.within(POLICY))).transpose()?;
    Ok(Offsets { watermark_ms: metadata.watermark_ms, watermark_policy: policy.unwrap_or_default(), sources })
}

/// The watermark of the next epoch; 0: none yet.
pub(super) fn parse_commit(bytes: &[u8]) -> Result<i64> {
    let (_, mut lines) = head(bytes)?;
    let json = lines.next().filter(|it| !it.trim().is_empty()).unwrap_or("{}");
    let wrong = |e| Error::config("line 2 is not the outcome of an epoch, expected a JSON object").because(e);
    let commit: Commit = object(json).map_err(wrong)?;
    Ok(commit.next_watermark_ms)
}

/// The query's identity in `metadata`.
pub(super) fn parse_id(bytes: &[u8]) -> Option<String> {
    serde_json::from_slice::<Identity>(bytes).ok().map(|it| it.id)
}

/// An object by name: serde would take a list by order too.
fn object<T: DeserializeOwned>(json: &str) -> serde_json::Result<T> {
    let object: Map<String, Value> = serde_json::from_str(json)?;
    serde_json::from_value(Value::Object(object))
}

/// True for version 2, and the lines after the first.
fn head(bytes: &[u8]) -> Result<(bool, std::str::Lines<'_>)> {
    let text = std::str::from_utf8(bytes).map_err(|e| Error::config("the file is not text").because(e))?;
    let mut lines = text.lines();
    match lines.next().unwrap_or_default().trim_end() {
        "v1" => Ok((false, lines)),
        "v2" => Ok((true, lines)),
        "" => Err(Error::config("the file is empty, expected v1 or v2 in its first line")),
        found => {
            let found: String = found.chars().take(40).collect();
            Err(Error::config(format!("the file begins with '{}', expected v1 or v2", found.escape_debug())))
        }
    }
}
