//! Positions: an offset for each partition, in Spark's JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tidegate_api::{ConfigValue, PartitionId};

/// The offset after the last record read, for each partition: `{"topic":{"0":534,"1":134}}`. Written with topics in
/// order of text and partitions in order of number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KafkaOffset(pub BTreeMap<String, BTreeMap<u32, i64>>);

impl KafkaOffset {
    /// The offset of a partition.
    pub fn get(&self, place: &PartitionId) -> Option<i64> {
        self.0.get(&*place.name)?.get(&place.number).copied()
    }

    /// All partitions, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, i64)> {
        self.0.iter().flat_map(|(topic, offsets)| {
            let name: std::sync::Arc<str> = topic.as_str().into();
            offsets.iter().map(move |(number, offset)| (PartitionId { name: name.clone(), number: *number }, *offset))
        })
    }

    /// A position in one partition alone.
    pub fn only(place: &PartitionId, offset: i64) -> Self {
        std::iter::once((place.clone(), offset)).collect()
    }
}

impl FromIterator<(PartitionId, i64)> for KafkaOffset {
    fn from_iter<I: IntoIterator<Item = (PartitionId, i64)>>(offsets: I) -> Self {
        let mut all = Self::default();
        for (place, offset) in offsets {
            all.0.entry(place.name.to_string()).or_default().insert(place.number, offset);
        }
        all
    }
}

impl fmt::Display for KafkaOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Where to start in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest record; -2 in JSON.
    Earliest,
    /// After the newest record; -1 in JSON.
    Latest,
    /// At this offset.
    Offset(i64),
}

/// Where a new query starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartingOffsets {
    /// Everywhere alike.
    All(StartAt),
    /// By partition; must name exactly those that exist.
    Each(BTreeMap<PartitionId, StartAt>),
}

impl ConfigValue for StartingOffsets {
    const KIND: &'static str = r#"earliest, latest or JSON such as {"topic":{"0":23,"1":-1}}"#;

    fn parse_value(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "earliest" => return Ok(Self::All(StartAt::Earliest)),
            "latest" => return Ok(Self::All(StartAt::Latest)),
            _ => {}
        }
        let offsets: KafkaOffset =
            serde_json::from_str(text).map_err(|e| format!("'{text}' is not {}: {e}", Self::KIND))?;
        let each = offsets.iter().map(|(place, offset)| match offset {
            -2 => Ok((place, StartAt::Earliest)),
            -1 => Ok((place, StartAt::Latest)),
            0.. => Ok((place, StartAt::Offset(offset))),
            _ => Err(format!("offset {offset} of {} [{}]: expected 0 or more, -1 or -2", place.name, place.number)),
        });
        Ok(Self::Each(each.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests;
