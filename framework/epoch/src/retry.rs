//! How often, and after which wait, a step that failed for now is tried again.

use std::time::Duration;

/// Tries again with waits that double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries after the first.
    pub tries: u32,
    /// The wait before the first of them.
    pub first: Duration,
    /// The longest wait.
    pub most: Duration,
}

impl Default for Retry {
    /// Ten tries over some 25 seconds.
    fn default() -> Self {
        Self { tries: 10, first: Duration::from_millis(100), most: Duration::from_secs(5) }
    }
}

impl Retry {
    /// Waits before try number `n` (from 1); false if there are no more tries.
    pub(crate) async fn wait(&self, n: u32) -> bool {
        if n > self.tries {
            return false;
        }
        let wait = self.first.saturating_mul(1_u32.checked_shl(n - 1).unwrap_or(u32::MAX)).min(self.most);
        tokio::time::sleep(wait).await;
        true
    }
}
