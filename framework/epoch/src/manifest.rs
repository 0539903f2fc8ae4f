//! The epoch manifest: what state N is made of, and all that epoch N+1 takes from N.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{AttemptId, Error, Result};

use crate::program::{EpochNumbers, EventTimes};
use crate::watermark::Watermark;

/// A watermark node after the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeEntry {
    pub(crate) id: Arc<str>,
    /// Event times of this epoch.
    pub(crate) count: u64,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    /// Its value after the epoch; nothing if it has seen no data in this run.
    pub(crate) value_ms: Option<i64>,
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

/// Counts of one epoch that outlive it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) source_rows: Vec<u64>,
    pub(crate) sink_rows: Vec<u64>,
    /// Rows or groups that came too late, over all operators.
    pub(crate) late: u64,
}

/// `N.<attempt>`: durable, as a part of the epoch's record, before any effect outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) attempt: AttemptId,
    pub(crate) nodes: Vec<NodeEntry>,
    /// The watermark of epoch N+1.
    pub(crate) next_watermark_ms: Option<i64>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) counts: Counts,
}

impl Manifest {
    /// That `delta` is the piece that this manifest names.
    pub(crate) fn check(&self, delta: &[u8]) -> Result<()> {
        if self.pieces == [Piece::of(delta)] {
            return Ok(());
        }
        Err(Error::config("the file is damaged: its state delta is not the one that its manifest names"))
    }

    /// Of an epoch that has run: `next` is the watermark after it, `delta` its state delta as it will be written.
    pub(crate) fn new(
        attempt: AttemptId,
        numbers: &EpochNumbers,
        next: &Watermark,
        sink_rows: Vec<u64>,
        delta: &[u8],
    ) -> Self {
        let nodes = next.nodes().enumerate().map(|(at, (node, value_ms))| {
            let EventTimes { count, min_ms, max_ms, .. } = numbers.event_times.get(at).copied().unwrap_or_default();
            NodeEntry { id: node.id.clone(), count, min_ms, max_ms, value_ms }
        });
        Self {
            attempt,
            nodes: nodes.collect(),
            next_watermark_ms: next.current(),
            pieces: vec![Piece::of(delta)],
            counts: Counts {
                source_rows: numbers.source_rows.clone(),
                sink_rows,
                late: numbers.operators.iter().map(|it| it.rows_dropped_by_watermark).sum(),
            },
        }
    }
}
