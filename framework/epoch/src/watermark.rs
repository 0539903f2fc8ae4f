//! The query's watermark: one value, from the largest event time of each watermark node.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tidegate_api::{Error, Result};

use crate::program::{EventTimes, WatermarkNode};

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

/// The watermark after the last decided epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    policy: WatermarkPolicy,
    nodes: Vec<WatermarkNode>,
    /// By node; nothing until it has seen data in this run, since a restart keeps the query's value only.
    values: Vec<Option<i64>>,
    query_ms: i64,
}

impl Watermark {
    /// The watermark at the start of a run that goes on at `query_ms`.
    pub(crate) fn new(policy: WatermarkPolicy, nodes: Vec<WatermarkNode>, query_ms: i64) -> Self {
        let values = vec![None; nodes.len()];
        Self { policy, nodes, values, query_ms }
    }

    /// What the next epoch evicts with; nothing if no column has a watermark.
    pub(crate) fn current(&self) -> Option<i64> {
        (!self.nodes.is_empty()).then_some(self.query_ms)
    }

    pub(crate) fn policy(&self) -> WatermarkPolicy {
        self.policy
    }

    /// The nodes with their values.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&WatermarkNode, Option<i64>)> {
        self.nodes.iter().zip(self.values.iter().copied())
    }

    /// The watermark after an epoch that saw these event times, by node. `self` stays as it is: the epoch may yet fail.
    pub(crate) fn after(&self, seen: &[EventTimes]) -> Self {
        let mut next = self.clone();
        for ((value, node), times) in next.values.iter_mut().zip(&self.nodes).zip(seen) {
            if times.count > 0 {
                let reached = times.max_ms.saturating_sub(node.delay_ms);
                *value = Some(value.map_or(reached, |old| old.max(reached)));
            }
        }
        // A node that has seen nothing stands at 1970.
        let values = next.values.iter().map(|it| it.unwrap_or(0));
        let chosen = match self.policy {
            WatermarkPolicy::Min => values.min(),
            WatermarkPolicy::Max => values.max(),
        };
        next.raise_to(chosen.unwrap_or(0));
        next
    }

    /// Takes over a value from elsewhere; the watermark only rises.
    pub(crate) fn raise_to(&mut self, query_ms: i64) {
        self.query_ms = self.query_ms.max(query_ms);
    }
}

#[cfg(test)]
mod tests;
