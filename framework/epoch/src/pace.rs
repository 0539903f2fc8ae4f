//! The size of epochs that follows from how fast they are (`target.latency`): how many rows of each source the next one may
//! read. What it reads is logged, so an epoch that runs again reads the same.

use std::time::Duration;

/// Rows of each source in the first epoch of a run, when nothing is known yet.
const FIRST_ROWS: u64 = 10_000;
/// Even few rows cost an epoch: with fewer than this it would not get shorter.
const LEAST_ROWS: u64 = 100;
/// From one epoch to the next the size grows at most by this factor, so that one that was fast by chance is not followed by one
/// that takes for ever.
const MOST_GROWTH: u64 = 2;
/// It shrinks at most by this factor: one epoch that had to wait for something tells little.
const MOST_SHRINKAGE: u64 = 4;

/// How many rows of a source an epoch may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    target: Duration,
    rows: u64,
}

impl Pace {
    pub(crate) fn new(target: Duration) -> Self {
        Self { target, rows: FIRST_ROWS }
    }

    /// Of each source, in the next epoch.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// An epoch has taken so long over these rows, by source. One that read all there was says how slow it is, but not how
    /// fast it would be with more.
    pub(crate) fn learn(&mut self, rows: &[u64], took: Duration) {
        let most = rows.iter().copied().max().unwrap_or_default();
        if most == 0 {
            return;
        }
        let fitting = u128::from(most).saturating_mul(self.target.as_nanos()) / took.as_nanos().max(1);
        let fitting = u64::try_from(fitting).unwrap_or(u64::MAX);
        let (least, greatest) = (self.rows / MOST_SHRINKAGE, self.rows.saturating_mul(MOST_GROWTH));
        // Sources that share their limit among partitions may stay a little below it.
        let was_full = most >= self.rows - self.rows / 10;
        let next = if was_full || took > self.target { fitting } else { self.rows };
        self.rows = next.clamp(least, greatest).max(LEAST_ROWS);
    }
}

#[cfg(test)]
mod tests;
