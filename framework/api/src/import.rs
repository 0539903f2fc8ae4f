//! What a source takes over from a checkpoint of Spark Structured Streaming, for a query that goes on where one of
//! Spark's stopped.

use std::path::PathBuf;
use std::sync::Arc;

use crate::connector::MetadataLog;
use crate::offset::OffsetJson;

/// What Spark's checkpoint holds of one source.
#[non_exhaustive]
#[derive(Clone)]
pub struct SparkPosition {
    /// The source's line in `offsets/<n>`; nothing if Spark has logged none (`-`).
    pub offset: Option<String>,
    /// Its folder `sources/<i>`, to be read.
    pub log: Arc<dyn MetadataLog>,
    /// Where relative local paths of the settings begin.
    pub data_dir: PathBuf,
}

impl SparkPosition {
    /// A position; relative paths begin at the current folder.
    pub fn new(offset: Option<String>, log: Arc<dyn MetadataLog>) -> Self {
        Self { offset, log, data_dir: PathBuf::from(".") }
    }
}

/// Where a source goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported<O = OffsetJson> {
    /// The position that Spark has read up to.
    pub offset: O,
    /// Entries of the source's own log that belong to it, by key.
    pub log: Vec<(String, Vec<u8>)>,
}
