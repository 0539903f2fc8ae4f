//! Time, as something that a test can hold in its hand.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

/// Where all time comes from.
///
/// ```
/// use std::sync::atomic::{AtomicI64, Ordering};
/// use std::time::Duration;
/// use tidegate_api::prelude::*;
///
/// /// Stands still until a test moves it.
/// struct Manual(AtomicI64);
///
/// #[async_trait]
/// impl Clock for Manual {
///     fn now_ms(&self) -> i64 {
///         self.0.load(Ordering::SeqCst)
///     }
///     fn monotonic(&self) -> Duration {
///         Duration::from_millis(self.now_ms() as u64)
///     }
///     async fn sleep_until(&self, at_ms: i64) {
///         while self.now_ms() < at_ms {
///             tokio::task::yield_now().await;
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970, UTC.
    fn now_ms(&self) -> i64;

    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;

    /// Returns when `now_ms` is at least `at_ms`.
    async fn sleep_until(&self, at_ms: i64);
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep_until(&self, at_ms: i64) {
        let wait = at_ms.saturating_sub(self.now_ms());
        tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))).await;
    }
}
