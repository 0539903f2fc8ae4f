//! Groups of sinks: those that the same watermark nodes feed go by one watermark.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::program::WatermarkNode;

/// Where the watermark of a group of sinks stands. A query that has one group only writes none down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMark {
    /// The watermark nodes that feed the sinks, by name.
    pub nodes: Vec<Arc<str>>,
    /// The sinks, in the order of the query.
    pub sinks: Vec<Arc<str>>,
    /// Milliseconds since 1970.
    pub watermark_ms: i64,
}

/// The watermarks at one time, as a program sees them: the query's, and the one that each sink goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    query_ms: Option<i64>,
    sinks: Vec<Option<i64>>,
}

impl Watermarks {
    /// The query's, over all nodes, milliseconds since 1970; nothing if no column has a watermark.
    pub fn query_ms(&self) -> Option<i64> {
        self.query_ms
    }

    /// That of a sink, by index: over the nodes that feed it. Nothing if none does.
    pub fn of_sink(&self, sink: usize) -> Option<i64> {
        self.sinks.get(sink).copied().unwrap_or(self.query_ms)
    }

    /// All at one value.
    pub(super) fn new(query_ms: Option<i64>, sinks: Vec<Option<i64>>) -> Self {
        Self { query_ms, sinks }
    }
}

/// Watermarks as they are written down: the query's, and each group's if there are several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    pub(crate) query_ms: Option<i64>,
    pub(crate) groups: Vec<GroupMark>,
}

impl Levels {
    pub(crate) fn new(query_ms: Option<i64>, groups: &[GroupMark]) -> Self {
        Self { query_ms, groups: groups.to_vec() }
    }

    /// What a group stood at. The query may have been another then: no sink goes back behind where it was, also if other
    /// nodes feed it now. Of a group that there was none of the query's value counts.
    pub(crate) fn of(&self, group: &Group) -> Option<i64> {
        let known = |it: &&GroupMark| it.nodes == group.nodes || it.sinks.iter().any(|it| group.sinks.contains(it));
        self.groups.iter().filter(known).map(|it| it.watermark_ms).max().or(self.query_ms)
    }
}

/// Sinks that the same nodes feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// By name.
    nodes: Vec<Arc<str>>,
    sinks: Vec<Arc<str>>,
    /// The nodes, by index.
    pub(super) members: Vec<usize>,
}

impl Group {
    pub(super) fn mark(&self, watermark_ms: i64) -> GroupMark {
        GroupMark { nodes: self.nodes.clone(), sinks: self.sinks.clone(), watermark_ms }
    }
}

/// Which nodes feed which sinks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Feeds {
    pub(super) nodes: Vec<WatermarkNode>,
    /// In the order in which sinks first need them.
    pub(super) groups: Vec<Group>,
    /// The group of each sink; nothing if no node feeds it.
    by_sink: Vec<Option<usize>>,
}

impl Feeds {
    /// `fed` says which nodes feed each of the `sinks`; those that it does not reach are fed by all.
    pub(crate) fn new(nodes: Vec<WatermarkNode>, fed: &[BTreeSet<Arc<str>>], sinks: &[Arc<str>]) -> Self {
        let all: BTreeSet<Arc<str>> = nodes.iter().map(|it| it.id.clone()).collect();
        let mut feeds = Self { nodes, ..Self::default() };
        for (at, sink) in sinks.iter().enumerate() {
            let names: Vec<_> = fed.get(at).unwrap_or(&all).intersection(&all).cloned().collect();
            let group = (!names.is_empty()).then(|| feeds.group(names));
            if let Some(group) = group.and_then(|it| feeds.groups.get_mut(it)) {
                group.sinks.push(sink.clone());
            }
            feeds.by_sink.push(group);
        }
        feeds
    }

    fn group(&mut self, names: Vec<Arc<str>>) -> usize {
        if let Some(known) = self.groups.iter().position(|it| it.nodes == names) {
            return known;
        }
        let member = |(at, node): (usize, &WatermarkNode)| names.contains(&node.id).then_some(at);
        let members = self.nodes.iter().enumerate().filter_map(member).collect();
        self.groups.push(Group { nodes: names, sinks: Vec::new(), members });
        self.groups.len() - 1
    }

    /// True if all sinks go by the query's watermark.
    pub(super) fn are_one(&self) -> bool {
        match self.groups.as_slice() {
            [] => true,
            [group] => group.members.len() == self.nodes.len(),
            _ => false,
        }
    }

    /// The query's value among these: if it has one group only, that group's.
    pub(super) fn query_ms(&self, levels: &Levels) -> Option<i64> {
        match self.groups.first() {
            Some(group) if self.are_one() => levels.of(group),
            _ => levels.query_ms,
        }
    }

    /// What the program goes by at these levels.
    pub(super) fn watermarks(&self, levels: &Levels) -> Watermarks {
        let of = |group: &Option<usize>| group.and_then(|it| self.groups.get(it)).and_then(|it| levels.of(it));
        Watermarks::new(self.query_ms(levels), self.by_sink.iter().map(of).collect())
    }
}
