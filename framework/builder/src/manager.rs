//! What a session knows of its queries: those that run, the one that ended, and who listens (Spark:
//! `StreamingQueryManager`).

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_api::{Error, QueryId, Result};
use tidegate_epoch::QueryProgress;
use tokio::sync::watch;

use crate::running::{Outcome, StreamingQuery, again};

/// Hears of all queries of a session (Spark: `StreamingQueryListener`). Called by the query's own task between epochs, so a
/// call that takes long holds the query up.
pub trait Listener: Send + Sync + 'static {
    /// A query was started; `start` gives it out after this.
    fn on_started(&self, event: &Started) {
        let _ = event;
    }

    /// An epoch is done; each 10 seconds also while there is nothing to do.
    fn on_progress(&self, progress: &QueryProgress) {
        let _ = progress;
    }

    /// A query has ended; who waits for that hears of it after this.
    fn on_terminated(&self, event: &Terminated) {
        let _ = event;
    }
}

/// A query was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The query, minted with its checkpoint.
    pub id: QueryId,
    /// This run.
    pub run_id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
}

/// A query has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminated {
    /// The query, minted with its checkpoint.
    pub id: QueryId,
    /// This run.
    pub run_id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it failed with, if it did.
    pub exception: Option<String>,
}

/// Tells listeners apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerId(u64);

#[derive(Default)]
pub(crate) struct Manager {
    state: Mutex<State>,
    /// Counts what changes in `ended`.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    active: Vec<StreamingQuery>,
    /// Names of queries that run or are being started.
    names: BTreeSet<String>,
    /// How the first ended, or the last that failed, since the reset.
    ended: Option<Outcome>,
    listeners: Vec<(ListenerId, Arc<dyn Listener>)>,
    next_listener: u64,
}

/// A query's name, its own until this is dropped.
pub(crate) struct Reserved {
    manager: Arc<Manager>,
    name: String,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.manager.state().names.remove(&self.name);
    }
}

impl Manager {
    /// Takes a name for a query that is to start; queries without one are not told apart.
    pub(crate) fn reserve(self: &Arc<Self>, name: &str) -> Result<Reserved> {
        if !name.is_empty() && !self.state().names.insert(name.to_owned()) {
            return Err(Error::config(format!("query '{name}': one of this name is active; stop it first")));
        }
        Ok(Reserved { manager: self.clone(), name: name.to_owned() })
    }

    pub(crate) fn active(&self) -> Vec<StreamingQuery> {
        self.state().active.clone()
    }

    pub(crate) fn add_listener(&self, listener: Arc<dyn Listener>) -> ListenerId {
        let mut state = self.state();
        state.next_listener += 1;
        let id = ListenerId(state.next_listener);
        state.listeners.push((id, listener));
        id
    }

    pub(crate) fn remove_listener(&self, id: ListenerId) {
        self.state().listeners.retain(|(it, _)| *it != id);
    }

    pub(crate) fn started(&self, query: &StreamingQuery, time_ms: i64) {
        self.state().active.push(query.clone());
        let (id, run_id, name) = identity(query);
        let event = Started { id, run_id, name, time_ms };
        self.tell(|it| it.on_started(&event));
    }

    pub(crate) fn progressed(&self, progress: &QueryProgress) {
        self.tell(|it| it.on_progress(progress));
    }

    /// A query is about to be known as ended.
    pub(crate) fn ending(&self, query: &StreamingQuery, exception: Option<String>) {
        let (id, run_id, name) = identity(query);
        let event = Terminated { id, run_id, name, exception };
        self.tell(|it| it.on_terminated(&event));
    }

    /// A query has ended: who waits for it and who waits for any hear of it, and it is no longer among the active ones, all
    /// at once.
    pub(crate) fn ended(&self, query: &StreamingQuery, outcome: Outcome, end: &watch::Sender<Option<Outcome>>) {
        let mut state = self.state();
        state.active.retain(|it| !it.is(query));
        if state.ended.is_none() || outcome.is_err() {
            state.ended = Some(outcome.clone());
        }
        end.send_replace(Some(outcome));
        drop(state);
        self.changed.send_modify(|it| *it += 1);
    }

    pub(crate) async fn await_any(&self) -> Result<()> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let ended = self.state().ended.clone();
            if let Some(outcome) = ended {
                return outcome.map_err(|it| again(&it));
            }
            // It can't be closed while `self` is there.
            let _ = changed.changed().await;
        }
    }

    pub(crate) fn reset(&self) {
        self.state().ended = None;
    }

    /// Calls all listeners; none of them under the lock. One that panics does not take the query along.
    fn tell(&self, call: impl Fn(&dyn Listener)) {
        let listeners: Vec<_> = self.state().listeners.iter().map(|(_, it)| it.clone()).collect();
        for listener in listeners {
            // The panic's own message has been written by then.
            let _ = catch_unwind(AssertUnwindSafe(|| call(listener.as_ref())));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(query: &StreamingQuery) -> (QueryId, String, Option<String>) {
    let name = Some(query.name().to_owned()).filter(|it| !it.is_empty());
    (query.id().clone(), query.run_id().to_owned(), name)
}
