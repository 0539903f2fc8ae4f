//! Idle nodes: those without new rows for their time-out hold no other watermark back (`idle.timeout`).

use std::sync::Arc;

use super::Watermark;

/// Whether a node rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// The clock when its last rows came, or when the run began, milliseconds since 1970.
    since_ms: i64,
    is_idle: bool,
}

impl Rest {
    pub(super) fn since(now_ms: i64) -> Self {
        Self { since_ms: now_ms, is_idle: false }
    }

    /// Rows have come in an epoch of this time. An epoch that is run again may be older than the run.
    pub(super) fn end(&mut self, time_ms: i64) {
        *self = Self::since(self.since_ms.max(time_ms));
    }
}

impl Watermark {
    /// True if a node, by index, is idle.
    pub(crate) fn is_idle(&self, node: usize) -> bool {
        self.rests.get(node).is_some_and(|it| it.is_idle)
    }

    /// The names of the nodes that are idle.
    pub(crate) fn idle(&self) -> Vec<Arc<str>> {
        let nodes = self.feeds.nodes.iter().zip(&self.rests);
        nodes.filter(|it| it.1.is_idle).map(|it| it.0.id.clone()).collect()
    }

    /// When the next node becomes idle if no rows come, milliseconds since 1970.
    pub(crate) fn next_idle_ms(&self) -> Option<i64> {
        let waiting = self.feeds.nodes.iter().zip(&self.rests).filter(|it| !it.1.is_idle);
        waiting.filter_map(|(node, rest)| Some(rest.since_ms.saturating_add(node.idle_ms?))).min()
    }

    /// The watermarks at this time if no rows come.
    pub(crate) fn without_rows(&self, time_ms: i64) -> Self {
        let mut next = self.clone();
        next.look_for_idle(time_ms);
        next.rise();
        next
    }

    /// These nodes are idle, as long as they still may be, and no others.
    pub(super) fn set_idle(&mut self, idle: &[Arc<str>]) {
        for (node, rest) in self.feeds.nodes.iter().zip(&mut self.rests) {
            rest.is_idle = node.idle_ms.is_some() && idle.contains(&node.id);
        }
    }

    pub(super) fn look_for_idle(&mut self, time_ms: i64) {
        for (node, rest) in self.feeds.nodes.iter().zip(&mut self.rests) {
            rest.is_idle |= node.idle_ms.is_some_and(|it| time_ms.saturating_sub(rest.since_ms) >= it);
        }
    }
}
