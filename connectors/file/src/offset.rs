//! Positions in the log of files.

use serde::{Deserialize, Serialize};

/// A position: after the log entry `log_offset`, or inside it. Only the former stand in a checkpoint (as in Spark:
/// `{"logOffset":n}`); the latter cut an epoch into splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOffset {
    /// The number of a log entry; -1: before the first.
    #[serde(rename = "logOffset")]
    pub log_offset: i64,
    /// Where inside the entry; none: all of it has been read.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub inside: Option<Inside>,
}

/// A position inside a log entry: what lies before it has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// The file's place in the entry.
    pub file: usize,
    /// Lines that begin before this byte have been read.
    pub byte: u64,
}

impl FileOffset {
    /// After the whole entry `n`.
    pub fn after(n: i64) -> Self {
        Self { log_offset: n, inside: None }
    }

    /// In entry `n`.
    pub fn inside(n: i64, file: usize, byte: u64) -> Self {
        Self { log_offset: n, inside: Some(Inside { file, byte }) }
    }

    /// The last entry that has been read wholly.
    pub fn whole(self) -> i64 {
        self.log_offset - i64::from(self.inside.is_some())
    }
}
