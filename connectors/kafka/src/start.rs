//! Where a new query starts, and the file that remembers it: Spark's `sources/<i>/0`.

use std::collections::BTreeMap;

use tidegate_api::{Error, Imported, MetadataLog, PartitionId, Result, SparkPosition};

use crate::cluster::Mark;
use crate::offset::{KafkaOffset, StartAt, StartingOffsets};

/// The key in the source's log.
const KEY: &str = "0";
/// A zero byte, then the version: what Spark writes.
const HEAD: &[u8] = b"\0v1\n";

/// What was remembered, if anything.
pub(crate) async fn remembered(log: &dyn MetadataLog) -> Result<Option<KafkaOffset>> {
    log.get(KEY).await?.map(|bytes| decode(&bytes)).transpose()
}

/// Remembers `offset`, unless another is remembered already; returns the one that counts.
pub(crate) async fn remember(log: &dyn MetadataLog, offset: KafkaOffset) -> Result<KafkaOffset> {
    let mut bytes = HEAD.to_vec();
    bytes.extend(offset.to_string().into_bytes());
    if log.put_new(KEY, &bytes).await? {
        return Ok(offset);
    }
    let gone = || Error::internal("the initial offsets of a kafka source were there and are gone");
    remembered(log).await?.ok_or_else(gone)
}

/// Where Spark's source stands; before its first epoch where it said that it would begin.
pub(crate) async fn import(found: &SparkPosition) -> Result<Option<Imported<KafkaOffset>>> {
    let offset = match &found.offset {
        Some(text) => {
            let wrong = "is not the position of a kafka source, expected JSON such as {\"topic\":{\"0\":23}}";
            let wrong = || Error::config(format!("'{text}' {wrong}"));
            let offset: KafkaOffset = serde_json::from_str(text).map_err(|e| wrong().because(e))?;
            if offset.iter().any(|(_, it)| it < 0) {
                return Err(wrong().because(Error::config("found an offset below 0")));
            }
            Some(offset)
        }
        None => remembered(&*found.log).await?,
    };
    Ok(offset.map(|offset| Imported { offset, log: Vec::new() }))
}

fn decode(bytes: &[u8]) -> Result<KafkaOffset> {
    let wrong = || Error::config("the initial offsets of a kafka source (sources/<i>/0) can't be read");
    let text = bytes.strip_prefix(HEAD).ok_or_else(|| {
        let found = String::from_utf8_lossy(bytes.get(..8.min(bytes.len())).unwrap_or_default()).into_owned();
        wrong().because(Error::config(format!("found {found:?}, expected a zero byte and v1")))
    })?;
    serde_json::from_slice(text).map_err(|e| wrong().because(e))
}

/// Turns the setting into offsets. An offset that no longer exists is an error, or is moved to the nearest that does.
pub(crate) fn resolve(
    starting: &StartingOffsets,
    marks: &BTreeMap<PartitionId, Mark>,
    fail_on_data_loss: bool,
) -> Result<KafkaOffset> {
    let each = match starting {
        StartingOffsets::All(at) => marks.keys().map(|place| (place.clone(), *at)).collect(),
        StartingOffsets::Each(each) => each.clone(),
    };
    if !each.keys().eq(marks.keys()) {
        let (named, found) = (list(each.keys()), list(marks.keys()));
        return Err(Error::config(format!("starting.offsets names {named}, but the topics have {found}")));
    }
    let offsets = each.into_iter().zip(marks.values()).map(|((place, at), mark)| {
        let offset = match at {
            StartAt::Earliest => mark.low,
            StartAt::Latest => mark.high,
            StartAt::Offset(offset) => offset.clamp(mark.low, mark.high),
        };
        match at {
            StartAt::Offset(asked) if asked != offset => {
                let (name, number, Mark { low, high }) = (&place.name, place.number, mark);
                let text = format!("starting.offsets: {name} [{number}] has no offset {asked}, only {low} to {high}");
                if fail_on_data_loss {
                    return Err(Error::config(format!("{text}; fail.on.data.loss=false would start at {offset}")));
                }
                tracing::warn!("{text}: starting at {offset}");
            }
            _ => {}
        }
        Ok((place, offset))
    });
    offsets.collect()
}

/// Partitions as text, shortened.
fn list<'a>(places: impl Iterator<Item = &'a PartitionId>) -> String {
    let mut names: Vec<_> = places.map(|it| format!("{} [{}]", it.name, it.number)).collect();
    let more = names.len().saturating_sub(20);
    names.truncate(20);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    if names.is_empty() { "no partition".to_owned() } else { names.join(", ") + &more }
}

#[cfg(test)]
mod tests;
