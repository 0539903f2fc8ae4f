//! `QueryHandle`: what others may see of a query while it runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tidegate_api::QueryId;

use crate::progress::QueryProgress;

/// Progress objects that are kept.
const KEPT: usize = 100;

/// Called with the progress of each epoch, and each 10 seconds while there is nothing to do.
pub type QueryListener = Box<dyn Fn(&QueryProgress) + Send + Sync>;

/// What a query is doing now (Spark: `StreamingQueryStatus`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryStatus {
    /// In Spark's words.
    pub message: &'static str,
    /// The last plan found rows.
    pub is_data_available: bool,
    /// An epoch runs.
    pub is_trigger_active: bool,
}

struct Shared {
    id: QueryId,
    run_id: Arc<str>,
    name: Arc<str>,
    seen: Mutex<Seen>,
}

struct Seen {
    status: QueryStatus,
    progress: VecDeque<Arc<QueryProgress>>,
}

/// A cheap view of a query, to be shared.
#[derive(Clone)]
pub struct QueryHandle(Arc<Shared>);

impl QueryHandle {
    pub(crate) fn new(id: QueryId, run_id: Arc<str>, name: Arc<str>) -> Self {
        let status =
            QueryStatus { message: "Initializing sources", is_data_available: false, is_trigger_active: false };
        let seen = Mutex::new(Seen { status, progress: VecDeque::new() });
        Self(Arc::new(Shared { id, run_id, name, seen }))
    }

    /// The query's identity.
    pub fn id(&self) -> &QueryId {
        &self.0.id
    }

    /// The identity of this run.
    pub fn run_id(&self) -> &str {
        &self.0.run_id
    }

    /// The query's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What the query is doing now.
    pub fn status(&self) -> QueryStatus {
        self.seen().status.clone()
    }

    /// The last hundred progress objects, newest last.
    pub fn progress(&self) -> Vec<Arc<QueryProgress>> {
        self.seen().progress.iter().cloned().collect()
    }

    /// The newest progress object.
    pub fn latest(&self) -> Option<Arc<QueryProgress>> {
        self.seen().progress.back().cloned()
    }

    pub(crate) fn add(&self, progress: Arc<QueryProgress>) {
        let mut seen = self.seen();
        if seen.progress.len() == KEPT {
            seen.progress.pop_front();
        }
        seen.progress.push_back(progress);
    }

    pub(crate) fn set_status(&self, message: &'static str, data: bool, active: bool) {
        self.seen().status = QueryStatus { message, is_data_available: data, is_trigger_active: active };
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
