//! `StreamingQuery`: what the program holds of a query that runs.

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{Error, QueryId, Result};
use tidegate_epoch::{QueryHandle, QueryProgress, QueryStatus, StopSignal};
use tokio::sync::watch;

/// How a query ended.
pub(crate) type Outcome = Result<(), Arc<Error>>;

/// A query that was started (Spark: `StreamingQuery`). Clones are the same query; dropping them does not stop it.
#[derive(Clone)]
pub struct StreamingQuery {
    handle: QueryHandle,
    stop: StopSignal,
    /// Nothing while it runs.
    ended: watch::Receiver<Option<Outcome>>,
}

impl StreamingQuery {
    pub(crate) fn new(handle: QueryHandle, stop: StopSignal, ended: watch::Receiver<Option<Outcome>>) -> Self {
        Self { handle, stop, ended }
    }

    /// Its name; empty if it has none.
    pub fn name(&self) -> &str {
        self.handle.name()
    }

    /// Its identity, minted with the checkpoint.
    pub fn id(&self) -> &QueryId {
        self.handle.id()
    }

    /// The identity of this run.
    pub fn run_id(&self) -> &str {
        self.handle.run_id()
    }

    /// True until it has ended.
    pub fn is_active(&self) -> bool {
        self.ended.borrow().is_none()
    }

    /// What it is doing now.
    pub fn status(&self) -> QueryStatus {
        let message = match &*self.ended.borrow() {
            None => return self.handle.status(),
            Some(Ok(())) => "Stopped",
            Some(Err(_)) => "Terminated with exception",
        };
        QueryStatus { message, is_data_available: false, is_trigger_active: false }
    }

    /// The newest progress object.
    pub fn last_progress(&self) -> Option<Arc<QueryProgress>> {
        self.handle.latest()
    }

    /// The last hundred progress objects, newest last.
    pub fn recent_progress(&self) -> Vec<Arc<QueryProgress>> {
        self.handle.progress()
    }

    /// Why it failed, if it has.
    pub fn exception(&self) -> Option<Arc<Error>> {
        self.outcome().and_then(Result::err)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// What it failed with, with its name.
    pub async fn await_termination(&self) -> Result<()> {
        let mut ended = self.ended.clone();
        let outcome = ended.wait_for(Option::is_some).await.map(|it| it.clone());
        match outcome {
            Ok(Some(Err(error))) => Err(again(&error)),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::internal(format!("query '{}': its runtime has ended", self.name()))),
        }
    }

    /// Waits until it has ended, at most so long; true if it has.
    ///
    /// # Errors
    /// As `await_termination`.
    pub async fn await_termination_within(&self, timeout: Duration) -> Result<bool> {
        match tokio::time::timeout(timeout, self.await_termination()).await {
            Ok(ended) => ended.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Lets the running epoch finish within the query's `shutdown_timeout`, and waits for the end. What is not finished
    /// then, the next start finishes. That it had failed is no error here.
    pub async fn stop(&self) {
        self.stop.graceful.cancel();
        let mut ended = self.ended.clone();
        // No answer: its runtime has ended, and it with that.
        let _ = ended.wait_for(Option::is_some).await;
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.ended.borrow().clone()
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.ended.same_channel(&other.ended)
    }
}

impl std::fmt::Debug for StreamingQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamingQuery").field("name", &self.name()).field("active", &self.is_active()).finish()
    }
}

/// The same error, for a further caller.
pub(crate) fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}
