//! The machine's clock, or one that stands apart from it by a fixed time: how tests see what a clock that was set back
//! does to a query.

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{Clock, Error, Result, SystemClock, async_trait};

/// For tests: milliseconds that the process's clock stands ahead of the machine's, negative for behind.
const OFFSET_ENV: &str = "TIDEGATE_CLOCK_OFFSET_MS";

/// The clock of this process.
///
/// # Errors
/// `Config` if the environment asks for an offset that is no number.
pub(crate) fn clock() -> Result<Arc<dyn Clock>> {
    let Ok(text) = std::env::var(OFFSET_ENV) else { return Ok(Arc::new(SystemClock::default())) };
    let offset_ms = text
        .trim()
        .parse()
        .map_err(|_| Error::config(format!("{OFFSET_ENV}: '{text}' is not a whole number of milliseconds")))?;
    Ok(Arc::new(Shifted { machine: SystemClock::default(), offset_ms }))
}

struct Shifted {
    machine: SystemClock,
    offset_ms: i64,
}

#[async_trait]
impl Clock for Shifted {
    fn now_ms(&self) -> i64 {
        self.machine.now_ms().saturating_add(self.offset_ms)
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }

    async fn sleep_until(&self, at_ms: i64) {
        self.machine.sleep_until(at_ms.saturating_sub(self.offset_ms)).await;
    }
}
