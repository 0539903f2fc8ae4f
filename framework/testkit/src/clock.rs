//! `ManualClock`: time that stands still until a test moves it.

use std::time::Duration;

use async_trait::async_trait;
use tidegate_api::Clock;
use tokio::sync::watch;

/// A clock that a test moves. Who waits on it wakes as soon as it has been moved far enough.
///
/// ```
/// use std::time::Duration;
/// use tidegate_api::Clock;
/// use tidegate_testkit::ManualClock;
///
/// let clock = ManualClock::new(0);
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now_ms(), 5000);
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<Now>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug)]
struct Now {
    /// Since 1970; may be set back.
    wall: i64,
    /// Since the clock was made; only rises.
    monotonic: i64,
}

impl Default for ManualClock {
    /// At 1970-01-01.
    fn default() -> Self {
        Self::new(0)
    }
}

impl ManualClock {
    /// A clock that shows `start_ms`, milliseconds since 1970.
    pub fn new(start_ms: i64) -> Self {
        Self { now: watch::Sender::new(Now { wall: start_ms, monotonic: 0 }) }
    }

    /// A clock of its own that shows what this one shows now.
    pub(crate) fn fork(&self) -> Self {
        Self { now: watch::Sender::new(*self.now.borrow()) }
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.now.send_modify(|now| {
            now.wall = now.wall.saturating_add(by);
            now.monotonic = now.monotonic.saturating_add(by);
        });
    }

    /// Moves the clock to `at_ms`, unless that is over.
    pub fn advance_to(&self, at_ms: i64) {
        let by = at_ms.saturating_sub(self.now.borrow().wall);
        self.advance(Duration::from_millis(u64::try_from(by).unwrap_or(0)));
    }

    /// Sets the time of day back, as an operator or NTP may; the monotonic time stays.
    pub fn set_back(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.now.send_modify(|now| now.wall = now.wall.saturating_sub(by));
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.now.borrow().wall
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now.borrow().monotonic).unwrap_or(0))
    }

    async fn sleep_until(&self, at_ms: i64) {
        // The sender lives in `self`, so the wait ends only when the time has come.
        let _ = self.now.subscribe().wait_for(|now| now.wall >= at_ms).await;
    }
}
