//! The watermarks of a query: from the largest event time of each node, one for each group of sinks, and one over all.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{Error, Result};

use crate::program::{Closing, EventTimes, WatermarkNode};

mod groups;
mod idle;

pub(crate) use groups::{Feeds, Levels};
pub use groups::{GroupMark, Watermarks};
pub(crate) use idle::Aside;
use idle::Rest;

/// The end of time: the last millisecond that SQL's TIMESTAMP text can show.
pub(crate) const END_OF_TIME_MS: i64 = 253_402_300_799_999;

/// How the nodes' values become the query's (`watermark.policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatermarkPolicy {
    /// The slowest node leads.
    #[default]
    Min,
    /// The fastest node leads.
    Max,
}

impl fmt::Display for WatermarkPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Min => "min",
            Self::Max => "max",
        })
    }
}

impl FromStr for WatermarkPolicy {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "min" => Ok(Self::Min),
            "max" => Ok(Self::Max),
            _ => Err(Error::config(format!("watermark policy '{text}': expected min or max"))),
        }
    }
}

/// The watermarks after the last decided epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    policy: WatermarkPolicy,
    feeds: Arc<Feeds>,
    /// By node; nothing until it has seen data in this run, since a restart keeps the values below only.
    values: Vec<Option<i64>>,
    /// By node.
    rests: Vec<Rest>,
    query_ms: i64,
    /// By group.
    groups_ms: Vec<i64>,
}

impl Watermark {
    /// The watermarks of a query that begins, in a run that begins now.
    pub(crate) fn new(policy: WatermarkPolicy, feeds: Feeds, now_ms: i64) -> Self {
        let (values, groups_ms) = (vec![None; feeds.nodes.len()], vec![0; feeds.groups.len()]);
        let rests = vec![Rest::since(now_ms); feeds.nodes.len()];
        Self { policy, feeds: Arc::new(feeds), values, rests, query_ms: 0, groups_ms }
    }

    /// The watermarks of a run that goes on at the highest of these levels, with these nodes aside; what each node had
    /// reached is not known any more.
    pub(crate) fn at(&self, policy: WatermarkPolicy, levels: &[Levels], aside: &Aside) -> Self {
        let mut next = Self { policy, values: vec![None; self.values.len()], ..self.clone() };
        next.set_aside(aside);
        let highest = |of: &dyn Fn(&Levels) -> Option<i64>| levels.iter().filter_map(of).max().unwrap_or(0);
        next.query_ms = highest(&|it| self.feeds.query_ms(it));
        next.groups_ms = self.feeds.groups.iter().map(|group| highest(&|it| it.of(group))).collect();
        next
    }

    /// The query's; nothing if no column has a watermark.
    pub(crate) fn current(&self) -> Option<i64> {
        (!self.feeds.nodes.is_empty()).then_some(self.query_ms)
    }

    /// What the next epoch evicts with.
    pub(crate) fn levels(&self) -> Levels {
        Levels { query_ms: self.current(), groups: self.marks(|_, ms| ms) }
    }

    /// By what the next epoch drops late rows, if this is what the last one evicted with: in the first epoch both are the
    /// start value.
    pub(crate) fn late(&self, last: Option<&Levels>) -> Levels {
        let query_ms = self.current().map(|it| last.and_then(|last| self.feeds.query_ms(last)).unwrap_or(it));
        let groups = self.marks(|group, ms| last.and_then(|it| it.of(group)).unwrap_or(ms));
        Levels { query_ms, groups }
    }

    /// What the program goes by at these levels.
    pub(crate) fn watermarks(&self, levels: &Levels) -> Watermarks {
        self.feeds.watermarks(levels)
    }

    pub(crate) fn policy(&self) -> WatermarkPolicy {
        self.policy
    }

    /// The nodes with their values.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&WatermarkNode, Option<i64>)> {
        self.feeds.nodes.iter().zip(self.values.iter().copied())
    }

    /// The watermarks after an epoch of this time that saw these event times, by node. `self` stays as it is: the epoch
    /// may yet fail.
    pub(crate) fn after(&self, seen: &[EventTimes], time_ms: i64) -> Self {
        let mut next = self.clone();
        for ((value, node), times) in next.values.iter_mut().zip(&self.feeds.nodes).zip(seen) {
            if times.count > 0 {
                let reached = times.max_ms.saturating_sub(node.delay_ms);
                *value = Some(value.map_or(reached, |old| old.max(reached)));
            }
        }
        for (rest, _) in next.rests.iter_mut().zip(seen).filter(|it| it.1.count > 0) {
            rest.end(time_ms);
        }
        next.look_for_idle(time_ms);
        next.look_for_caught_up();
        next.rise();
        next
    }

    /// What tells the watermarks that rows of an epoch of this time lead to.
    pub(crate) fn closing(&self, time_ms: i64) -> Closing {
        Closing { before: self.clone(), time_ms }
    }

    /// Takes the query's watermark, and those of groups, to where the nodes' values are.
    fn rise(&mut self) {
        self.query_ms = self.query_ms.max(self.chosen(0..self.values.len()));
        let reached: Vec<i64> = self.feeds.groups.iter().map(|it| self.chosen(it.members.iter().copied())).collect();
        for (ms, reached) in self.groups_ms.iter_mut().zip(reached) {
            *ms = reached.max(*ms);
        }
    }

    /// Takes over values from elsewhere; a watermark only rises.
    pub(crate) fn raise_to(&mut self, levels: &Levels) {
        self.query_ms = self.query_ms.max(self.feeds.query_ms(levels).unwrap_or(i64::MIN));
        for (ms, group) in self.groups_ms.iter_mut().zip(&self.feeds.groups) {
            *ms = levels.of(group).map_or(*ms, |it| it.max(*ms));
        }
    }

    /// True if any watermark is behind this one.
    pub(crate) fn is_behind(&self, ms: i64) -> bool {
        self.current().is_some() && self.groups_ms.iter().chain([&self.query_ms]).any(|it| *it < ms)
    }

    /// The levels at which all stand at one value, if there are watermarks.
    pub(crate) fn all_at(&self, ms: i64) -> Levels {
        Levels { query_ms: self.current().map(|_| ms), groups: self.marks(|_, _| ms) }
    }

    /// True if any watermark is higher in `to`.
    pub(crate) fn rises(&self, from: &Levels, to: &Levels) -> bool {
        to.query_ms > from.query_ms || self.feeds.groups.iter().any(|it| to.of(it) > from.of(it))
    }

    /// A node that has seen nothing stands at 1970. One that is idle holds no other one back; where all are, none does. Nor does
    /// one that follows, if there is another to follow.
    fn chosen(&self, members: impl Iterator<Item = usize> + Clone) -> i64 {
        let value = |it: usize| self.values.get(it).copied().flatten().unwrap_or(0);
        let counting = members.clone().filter(|it| !self.is_idle(*it));
        let leading = counting.clone().filter(|it| !self.follows(*it)).map(value).min();
        let slowest = leading.or_else(|| counting.map(value).min());
        let fastest = members.map(value).max();
        let chosen = match self.policy {
            WatermarkPolicy::Min => slowest.or(fastest),
            WatermarkPolicy::Max => fastest,
        };
        chosen.unwrap_or(0)
    }

    /// A mark for each group, if there are several.
    fn marks(&self, of: impl Fn(&groups::Group, i64) -> i64) -> Vec<GroupMark> {
        if self.feeds.are_one() {
            return Vec::new();
        }
        self.feeds.groups.iter().zip(&self.groups_ms).map(|(group, ms)| group.mark(of(group, *ms))).collect()
    }
}

#[cfg(test)]
mod tests;
