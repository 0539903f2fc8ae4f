//! Positions in a source, and ranges of them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A position in a source: any plain value that serde can write. Authors never see its JSON.
///
/// Its serialised form is what stands in the checkpoint (Spark: `offsets/<n>`), so it must not change between versions.
pub trait Offset: Clone + Eq + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Clone + Eq + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static> Offset for T {}

/// What lies after `start`, up to and with `end`: `(start, end]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetRange<O> {
    /// The position already read.
    pub start: O,
    /// The position that will have been read.
    pub end: O,
}

/// A position with its type erased, as the engine and the checkpoint hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OffsetJson(pub serde_json::Value);

impl fmt::Display for OffsetJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One partition of a source; rows of different partitions have no order among them. Ordered by name, then number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// The topic, folder or similar; empty where a source has only one.
    pub name: Arc<str>,
    /// The number within it.
    pub number: u32,
}

impl PartitionId {
    /// The only partition of a source that has just one.
    pub fn only() -> Self {
        Self { name: Arc::from(""), number: 0 }
    }
}

/// A piece of one source partition that can be read alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split<O> {
    /// What to read.
    pub range: OffsetRange<O>,
    /// Which partition it is of.
    pub partition: PartitionId,
    /// Its size in bytes, if known.
    pub bytes: Option<u64>,
}
