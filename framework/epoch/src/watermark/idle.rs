//! Nodes that hold no other watermark back: idle ones, without new rows for their time-out (`idle.timeout`), and ones that
//! were added to a checkpoint and have not caught up with its watermark (`watermark.on.add: follow`).

use std::sync::Arc;

use super::Watermark;

/// The nodes that hold no other one back, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aside {
    pub(crate) idle: Vec<Arc<str>>,
    /// They were added, and have not caught up.
    pub(crate) following: Vec<Arc<str>>,
}

/// Whether a node rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// The clock when its last rows came, or when the run began, milliseconds since 1970.
    since_ms: i64,
    is_idle: bool,
    pub(super) follows: bool,
}

impl Rest {
    pub(super) fn since(now_ms: i64) -> Self {
        Self { since_ms: now_ms, is_idle: false, follows: false }
    }

    /// Rows have come in an epoch of this time. An epoch that is run again may be older than the run.
    pub(super) fn end(&mut self, time_ms: i64) {
        *self = Self { follows: self.follows, ..Self::since(self.since_ms.max(time_ms)) };
    }
}

impl Watermark {
    /// True if a node, by index, is idle.
    pub(crate) fn is_idle(&self, node: usize) -> bool {
        self.rests.get(node).is_some_and(|it| it.is_idle)
    }

    /// True if a node, by index, was added and has not caught up.
    pub(crate) fn follows(&self, node: usize) -> bool {
        self.rests.get(node).is_some_and(|it| it.follows)
    }

    /// The nodes that hold no other one back.
    pub(crate) fn aside(&self) -> Aside {
        let nodes = self.feeds.nodes.iter().zip(&self.rests);
        let following = nodes.filter(|it| it.1.follows).map(|it| it.0.id.clone());
        Aside { idle: self.idle(), following: following.collect() }
    }

    /// The names of the nodes that are not among these.
    pub(crate) fn nodes_beside(&self, known: &[Arc<str>]) -> Vec<Arc<str>> {
        self.feeds.nodes.iter().map(|it| &it.id).filter(|it| !known.contains(it)).cloned().collect()
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

    /// These nodes are idle, as long as they still may be, and follow, and no others.
    pub(super) fn set_aside(&mut self, aside: &Aside) {
        for (node, rest) in self.feeds.nodes.iter().zip(&mut self.rests) {
            rest.is_idle = node.idle_ms.is_some() && aside.idle.contains(&node.id);
            rest.follows = aside.following.contains(&node.id);
        }
    }

    /// These nodes follow from now on, beside those that do.
    pub(crate) fn follow(&mut self, added: Vec<Arc<str>>) {
        let mut aside = self.aside();
        aside.following.extend(added);
        self.set_aside(&aside);
    }

    /// Nodes that have reached all watermarks that they feed count from now on.
    pub(super) fn look_for_caught_up(&mut self) {
        for (at, (rest, value)) in self.rests.iter_mut().zip(&self.values).enumerate() {
            let fed = self.feeds.groups.iter().zip(&self.groups_ms).filter(|it| it.0.members.contains(&at));
            let furthest = fed.map(|it| *it.1).max();
            rest.follows &= furthest.is_some_and(|it| value.is_none_or(|value| value < it));
        }
    }

    pub(super) fn look_for_idle(&mut self, time_ms: i64) {
        for (node, rest) in self.feeds.nodes.iter().zip(&mut self.rests) {
            rest.is_idle |= node.idle_ms.is_some_and(|it| time_ms.saturating_sub(rest.since_ms) >= it);
        }
    }
}
