//! The record of an epoch: the plan, what came of it, and the outcome of the epoch before.
//!
//! One record an epoch attempt, in the write-ahead log ([`wal`]), is the truth at recovery; Spark's text files
//! ([`spark`]) are written from it.

pub(crate) mod branch;
pub(crate) mod frame;
pub(crate) mod spark;
pub(crate) mod wal;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{AttemptId, Epoch, OffsetJson};

use crate::manifest::Manifest;
use crate::program::StaticVersion;
use crate::watermark::{Aside, GroupMark, Levels, WatermarkPolicy};

/// What one source brings into an epoch: `(start, end]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceRange {
    pub(crate) name: Arc<str>,
    /// Its line in `offsets/<n>` and its folder under `sources/`, for ever.
    pub(crate) index: usize,
    pub(crate) start: OffsetJson,
    pub(crate) end: OffsetJson,
}

impl SourceRange {
    pub(crate) fn end_mark(&self) -> SourceMark {
        SourceMark { name: self.name.clone(), index: self.index, offset: self.end.clone() }
    }
}

/// Where a source stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceMark {
    pub(crate) name: Arc<str>,
    /// As in [`SourceRange`].
    pub(crate) index: usize,
    pub(crate) offset: OffsetJson,
}

/// All that decides what an epoch computes, beside the state before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) epoch: u64,
    pub(crate) sources: Vec<SourceRange>,
    pub(crate) time_ms: i64,
    pub(crate) write_time_us: i64,
    /// The watermark that evicts, unless the epoch's own rows take it further.
    pub(crate) watermark_ms: Option<i64>,
    /// The one that drops late rows: the epoch's before.
    pub(crate) late_watermark_ms: Option<i64>,
    /// The watermarks of groups of sinks that evict, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<GroupMark>,
    /// Those that drop late rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) late_groups: Vec<GroupMark>,
    /// Event times after this are too far ahead of the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ceiling_ms: Option<i64>,
    pub(crate) watermark_policy: WatermarkPolicy,
    /// The watermark nodes that were idle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) idle: Vec<Arc<str>>,
    /// Those that were added and had not caught up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) following: Vec<Arc<str>>,
    /// For volatile functions.
    pub(crate) seed: u64,
    pub(crate) zone: String,
    /// Of the canonical query.
    pub(crate) digest: String,
    /// What static sources are read at.
    #[serde(default)]
    pub(crate) statics: Vec<StaticVersion>,
    /// Where sources stand that the query had once: under the same name they go on from there.
    #[serde(default)]
    pub(crate) removed: Vec<SourceMark>,
    /// The sinks have the rows already: nothing is written.
    #[serde(default)]
    pub(crate) suppress: bool,
    #[serde(default, skip_serializing_if = "OwnRows::is_later")]
    pub(crate) own_rows: OwnRows,
}

/// Which epoch emits what an epoch's own rows close (`emit.on.watermark`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OwnRows {
    /// The next one.
    #[default]
    Later,
    /// It does itself, by the watermarks that its rows lead to.
    Close,
    /// It has done so, by these: what the nodes had reached before is not known after a restart.
    Closed { watermark_ms: Option<i64>, groups: Vec<GroupMark> },
}

impl OwnRows {
    pub(crate) fn closed(Levels { query_ms, groups }: Levels) -> Self {
        Self::Closed { watermark_ms: query_ms, groups }
    }

    fn is_later(&self) -> bool {
        *self == Self::Later
    }
}

impl Plan {
    /// The epoch as sinks and operators see it, at a try.
    pub(crate) fn epoch(&self, attempt: AttemptId) -> Epoch {
        Epoch {
            number: self.epoch,
            attempt,
            time_ms: self.time_ms,
            write_time_us: self.write_time_us,
            watermark_ms: self.watermark_ms,
        }
    }

    /// The watermark nodes that held no other one back.
    pub(crate) fn aside(&self) -> Aside {
        Aside { idle: self.idle.clone(), following: self.following.clone() }
    }

    /// The watermarks that evict.
    pub(crate) fn levels(&self) -> Levels {
        match &self.own_rows {
            OwnRows::Closed { watermark_ms, groups } => Levels::new(*watermark_ms, groups),
            OwnRows::Later | OwnRows::Close => Levels::new(self.watermark_ms, &self.groups),
        }
    }

    /// The watermarks that drop late rows.
    pub(crate) fn late_levels(&self) -> Levels {
        Levels::new(self.late_watermark_ms, &self.late_groups)
    }

    /// False for the epoch without data.
    pub(crate) fn has_data(&self) -> bool {
        self.sources.iter().any(|it| it.start != it.end)
    }
}

/// The outcome of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commit {
    pub(crate) epoch: u64,
    /// The attempt whose rows the sinks show; its state is the state.
    pub(crate) attempt: AttemptId,
    pub(crate) next_watermark_ms: Option<i64>,
}

/// One try at an epoch; durable before any of its effects outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) attempt: AttemptId,
    /// Of the epoch before; nothing in the first.
    pub(crate) commit: Option<Commit>,
    pub(crate) plan: Plan,
    pub(crate) manifest: Manifest,
}

impl Record {
    pub(crate) fn epoch(&self) -> u64 {
        self.plan.epoch
    }

    /// What stands in the next record once this attempt is the chosen one.
    pub(crate) fn outcome(&self) -> Commit {
        Commit { epoch: self.epoch(), attempt: self.attempt, next_watermark_ms: self.manifest.next_watermark_ms }
    }
}
