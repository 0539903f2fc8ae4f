//! Turn after turn until the trigger ends, something fails, or a stop is asked for.

use std::time::Duration;

use tidegate_api::{Clock, Result};
use tokio_util::sync::CancellationToken;

use super::{Life, Query, Step};

/// An idle query looks up this often even if no source wakes it, to tell that it is idle.
const LOOK_UP: Duration = Duration::from_secs(10);

/// Asks a query to stop.
#[derive(Clone, Debug, Default)]
pub struct StopSignal {
    /// Finish the running epoch, then stop.
    pub graceful: CancellationToken,
    /// Drop the undecided epoch and stop: the next start runs it again.
    pub forced: CancellationToken,
}

impl StopSignal {
    async fn asked(&self) {
        tokio::select! {
            () = self.graceful.cancelled() => {}
            () = self.forced.cancelled() => {}
        }
    }

    fn is_asked(&self) -> bool {
        self.graceful.is_cancelled() || self.forced.is_cancelled()
    }

    /// The end of the patience with a running epoch.
    async fn patience(&self, timeout: Duration) {
        let waited = async {
            self.graceful.cancelled().await;
            tokio::time::sleep(timeout).await;
        };
        tokio::select! {
            () = waited => {}
            () = self.forced.cancelled() => {}
        }
    }
}

impl Query {
    /// Runs until the trigger ends or `stop` asks. Recovers first, if that has not been done.
    ///
    /// # Errors
    /// Whatever stopped the query, `Fenced` among it.
    pub async fn run(&mut self, stop: &StopSignal) -> Result<()> {
        let timeout = self.settings.shutdown_timeout;
        if matches!(self.life, Life::New) {
            tokio::select! {
                biased;
                started = self.start() => { started?; }
                () = stop.patience(timeout) => return Ok(()),
            }
        }
        while !stop.is_asked() {
            let step = tokio::select! {
                biased;
                step = self.step() => step?,
                () = stop.patience(timeout) => {
                    tracing::warn!(query = self.handle.name(), "stopped in the middle of an epoch; the next start runs it again");
                    return Ok(());
                }
            };
            match step {
                Step::Ran(_) => {}
                Step::Ended => break,
                Step::Idle => {
                    let idle = until(self.clock.as_ref(), self.wakes_ms());
                    tokio::select! {
                        () = self.sources.ready() => {}
                        () = tokio::time::sleep(LOOK_UP) => {}
                        () = idle => {}
                        () = stop.asked() => {}
                    }
                }
                Step::Waiting { until_ms } => tokio::select! {
                    () = self.clock.sleep_until(until_ms) => {}
                    () = stop.asked() => {}
                },
            }
        }
        self.maintenance.shutdown().await;
        self.settle().await?;
        self.checkpoint.owner.release().await;
        Ok(())
    }
}

/// Returns when the clock has reached a time; never if there is none.
async fn until(clock: &dyn Clock, at_ms: Option<i64>) {
    match at_ms {
        Some(at_ms) => clock.sleep_until(at_ms).await,
        None => std::future::pending().await,
    }
}
