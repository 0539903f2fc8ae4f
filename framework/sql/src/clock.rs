//! The clock that a query's SQL reads: it stands still within an epoch, and a replayed epoch sees its original time.

use std::sync::atomic::{AtomicI64, Ordering};

/// The time of the running epoch, set by the engine from the epoch's log record.
#[derive(Debug, Default)]
pub struct EpochClock {
    time_us: AtomicI64,
}

impl EpochClock {
    /// A clock that stands at `time_us`, microseconds since 1970, UTC.
    pub fn new(time_us: i64) -> Self {
        Self { time_us: AtomicI64::new(time_us) }
    }

    /// Moves the clock; between epochs only.
    pub fn set_us(&self, time_us: i64) {
        self.time_us.store(time_us, Ordering::Release);
    }

    /// The time of the epoch.
    pub fn now_us(&self) -> i64 {
        self.time_us.load(Ordering::Acquire)
    }
}
