//! The epoch manifest: what state N is made of, and all that epoch N+1 takes from N.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{AttemptId, Error, Result};

use crate::program::{EpochNumbers, EventTimes};
use crate::watermark::{Aside, GroupMark, Levels, Watermark};

/// A watermark node after the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeEntry {
    pub(crate) id: Arc<str>,
    /// Event times of this epoch.
    pub(crate) count: u64,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    /// The average, to a millisecond.
    #[serde(default)]
    pub(crate) avg_ms: i64,
    /// Its value after the epoch; nothing if it has seen no data in this run.
    pub(crate) value_ms: Option<i64>,
    /// It is idle: it holds no watermark back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) idle: bool,
    /// It was added, and has not caught up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) following: bool,
}

/// A piece of state N.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
}

impl Piece {
    /// The state delta: the only piece as long as one task writes it.
    fn of(delta: &[u8]) -> Self {
        Self { name: "delta".to_owned(), bytes: delta.len() as u64, crc32: crc32fast::hash(delta) }
    }
}

/// What is kept of an output until its sink has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StagedKind {
    /// The rows, as an Arrow IPC stream; no bytes if there are none.
    Rows,
    /// What the sink's writers prepared, as a JSON list.
    Parts,
}

/// Where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StagedPlace {
    /// In the record, this many sections after the state delta.
    Section(usize),
    /// In a file of this name in `state/staged`.
    File(String),
}

/// An output of the epoch that its sink can be given without running the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagedPiece {
    pub(crate) sink: Arc<str>,
    pub(crate) kind: StagedKind,
    #[serde(rename = "where")]
    pub(crate) place: StagedPlace,
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
    pub(crate) rows: u64,
}

/// What a program wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// By sink.
    pub(crate) rows: Vec<u64>,
    /// Rows that were not taken, by sink.
    pub(crate) dead: Vec<u64>,
    /// Records that could not be decoded, by source.
    pub(crate) undecoded: BTreeMap<Arc<str>, u64>,
}

/// Counts of one epoch that outlive it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) source_rows: Vec<u64>,
    pub(crate) sink_rows: Vec<u64>,
    /// Rows or groups that came too late, over all operators.
    pub(crate) late: u64,
    /// Dead letters by sink, those known when the epoch is logged: a sink whose rows wait for it has its own later, in
    /// `state/staged`. Empty if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dead: Vec<u64>,
    /// Dead letters by source. Empty if there are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) undecoded: BTreeMap<Arc<str>, u64>,
}

/// `N.<attempt>`: durable, as a part of the epoch's record, before any effect outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) attempt: AttemptId,
    pub(crate) nodes: Vec<NodeEntry>,
    /// The watermark of epoch N+1.
    pub(crate) next_watermark_ms: Option<i64>,
    /// Those of groups of sinks, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) next_groups: Vec<GroupMark>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) counts: Counts,
    /// The sinks that the epoch waits for: all but best-effort ones.
    #[serde(default)]
    pub(crate) sinks: Vec<Arc<str>>,
    #[serde(default)]
    pub(crate) staged: Vec<StagedPiece>,
}

impl Manifest {
    /// That `delta` and the staged sections are the pieces that this manifest names.
    pub(crate) fn check(&self, delta: &[u8], sections: &[&[u8]]) -> Result<()> {
        if self.pieces != [Piece::of(delta)] {
            return Err(Error::config("the file is damaged: its state delta is not the one that its manifest names"));
        }
        let mut named = 0;
        for piece in &self.staged {
            let StagedPlace::Section(at) = piece.place else { continue };
            let found = sections.get(at).map(|it| (it.len() as u64, crc32fast::hash(it)));
            if found != Some((piece.bytes, piece.crc32)) {
                let sink = &piece.sink;
                let text =
                    format!("the file is damaged: what it stages for sink {sink} is not what its manifest names");
                return Err(Error::config(text));
            }
            named += 1;
        }
        if named == sections.len() {
            return Ok(());
        }
        Err(Error::config("the file is damaged: it has sections that its manifest does not name"))
    }

    /// True if all sinks that the epoch waits for can be given their part without running it.
    pub(crate) fn is_staged(&self) -> bool {
        !self.sinks.is_empty() && self.sinks.iter().all(|sink| self.staged.iter().any(|it| it.sink == *sink))
    }

    /// The watermarks of epoch N+1.
    pub(crate) fn next_levels(&self) -> Levels {
        Levels::new(self.next_watermark_ms, &self.next_groups)
    }

    /// The watermark nodes that hold no other one back after the epoch.
    pub(crate) fn aside(&self) -> Aside {
        let names = |wanted: fn(&NodeEntry) -> bool| {
            self.nodes.iter().filter(|it| wanted(it)).map(|it| it.id.clone()).collect()
        };
        Aside { idle: names(|it| it.idle), following: names(|it| it.following) }
    }

    /// What the epoch found, as far as it is written down.
    pub(crate) fn numbers(&self) -> EpochNumbers {
        let times = |it: &NodeEntry| EventTimes {
            count: it.count,
            min_ms: it.min_ms,
            max_ms: it.max_ms,
            sum_ms: i128::from(it.avg_ms) * i128::from(it.count),
        };
        EpochNumbers {
            event_times: self.nodes.iter().map(times).collect(),
            operators: Vec::new(),
            source_rows: self.counts.source_rows.clone(),
            closed_by: None,
        }
    }

    /// Of an epoch that has run: `next` is the watermark after it, `delta` its state delta as it will be written.
    pub(crate) fn new(
        attempt: AttemptId,
        numbers: &EpochNumbers,
        next: &Watermark,
        written: Written,
        delta: &[u8],
    ) -> Self {
        let nodes = next.nodes().enumerate().map(|(at, (node, value_ms))| {
            let EventTimes { count, min_ms, max_ms, sum_ms } = numbers.event_times.get(at).copied().unwrap_or_default();
            let avg_ms = i64::try_from(sum_ms / i128::from(count.max(1))).unwrap_or(max_ms);
            let (id, idle, following) = (node.id.clone(), next.is_idle(at), next.follows(at));
            NodeEntry { id, count, min_ms, max_ms, avg_ms, value_ms, idle, following }
        });
        let Levels { query_ms, groups } = next.levels();
        Self {
            attempt,
            nodes: nodes.collect(),
            next_watermark_ms: query_ms,
            next_groups: groups,
            pieces: vec![Piece::of(delta)],
            counts: Counts {
                source_rows: numbers.source_rows.clone(),
                sink_rows: written.rows,
                dead: if written.dead.iter().all(|it| *it == 0) { Vec::new() } else { written.dead },
                undecoded: written.undecoded,
                late: numbers.operators.iter().map(|it| it.rows_dropped_by_watermark).sum(),
            },
            sinks: Vec::new(),
            staged: Vec::new(),
        }
    }
}
