//! `FlakyStore`: an object store that fails, delays, loses replies and reorders on demand, the same way from the same seed.
//!
//! ```
//! use std::sync::Arc;
//! use tidegate_storage::object_store::{ObjectStoreExt, memory::InMemory};
//! use tidegate_testkit::store::{FlakyStore, StoreFault, StoreOp};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
//! # runtime.block_on(async {
//! let store = FlakyStore::new(Arc::new(InMemory::new()), 7);
//! store.fail_next(StoreOp::Put, "log/", StoreFault::LoseReply, 1);
//! assert!(store.put(&"log/1".into(), "a".into()).await.is_err());
//! assert!(store.get(&"log/1".into()).await.is_ok()); // it is there all the same
//! assert_eq!(store.counts()[&StoreOp::Put], 1);
//! # });
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_storage::object_store::{ObjectStore, PutOptions, PutPayload, path::Path};
use tokio::sync::watch;

use self::faults::Faults;

mod faults;
mod ops;
#[cfg(test)]
mod tests;
mod upload;

/// One kind of call to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreOp {
    /// The bytes of an object, or some of them.
    Get,
    /// Only what is known about an object.
    Head,
    /// A whole object, with or without a condition.
    Put,
    /// The start of a multipart upload.
    PutMultipart,
    /// One part of it.
    PutPart,
    /// Its end, which makes the object visible.
    Complete,
    /// Its end without an object.
    Abort,
    /// A listing, whole or of one folder.
    List,
    /// One object is deleted.
    Delete,
    /// A copy; a rename is a copy and a delete.
    Copy,
}

impl fmt::Display for StoreOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Put => "put",
            Self::PutMultipart => "put multipart",
            Self::PutPart => "put part",
            Self::Complete => "complete",
            Self::Abort => "abort",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Copy => "copy",
        })
    }
}

impl StoreOp {
    /// Whether the call changes what the store holds.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::Head | Self::List)
    }
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Nothing is done, an error is answered.
    Fail,
    /// Nothing is done, the answer is like a server's 503 that no retry got past.
    Unavailable,
    /// It is done, and an error is answered. For a call that only reads: [`Self::Fail`].
    LoseReply,
    /// It is done twice and the second answer is given, as if a client had lost the first reply and tried again by
    /// itself: a conditional put then hears that its own object exists. For a call that only reads: once.
    Repeat,
    /// It is done after a while.
    Delay(Duration),
    /// It is done once another write that begins later has been done, or after 100 ms.
    Overtake,
    /// An error is answered at once, and the put lands when so many other calls have begun; for other calls:
    /// [`Self::Fail`]. With 1 the caller's next call finds nothing yet, and the one after it finds it there.
    LandLate(u32),
    /// The call stops until [`FlakyStore::release`], then it is done: a caller that was paused.
    Hold,
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail => f.write_str("fails"),
            Self::Unavailable => f.write_str("answers 503"),
            Self::LoseReply => f.write_str("loses the reply"),
            Self::Repeat => f.write_str("is sent twice"),
            Self::Delay(time) => write!(f, "is delayed by {} ms", time.as_millis()),
            Self::Overtake => f.write_str("is overtaken"),
            Self::LandLate(calls) => write!(f, "lands {calls} calls late"),
            Self::Hold => f.write_str("is held"),
        }
    }
}

/// How often what goes wrong. The shares (0 to 1) of `fail` to `land_late` exclude each other; a delay may come on top.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlakyPlan {
    /// Share of calls that [`StoreFault::Fail`].
    pub fail: f64,
    /// Share of calls that are [`StoreFault::Unavailable`].
    pub unavailable: f64,
    /// Share of calls that [`StoreFault::LoseReply`].
    pub lose_reply: f64,
    /// Share of calls that [`StoreFault::Repeat`].
    pub repeat: f64,
    /// Share of writes that [`StoreFault::Overtake`].
    pub overtake: f64,
    /// Share of puts that [`StoreFault::LandLate`], by 1 to 4 calls.
    pub land_late: f64,
    /// Share of calls that are delayed, and the longest delay.
    pub delay: Option<(f64, Duration)>,
    /// Only calls of these kinds; empty: all.
    pub only: Vec<StoreOp>,
    /// Only calls whose path holds this text; empty: all.
    pub matching: String,
    /// After so many calls in a row that answered an error one goes through, so that a bounded retry gets past; only
    /// calls that the plan is for count.
    pub most_in_a_row: Option<u32>,
}

/// An object store around another one. Clones are the same store.
#[derive(Clone)]
pub struct FlakyStore {
    inner: Arc<dyn ObjectStore>,
    shared: Arc<Shared>,
}

struct Shared {
    faults: Mutex<Faults>,
    /// Counts the writes that are done: what is overtaken waits for the next one.
    written: watch::Sender<u64>,
    /// Counts the releases.
    released: watch::Sender<u64>,
    /// Counts the calls that wait for one.
    held: watch::Sender<usize>,
}

/// A put that its caller believes to have failed.
struct Late {
    /// It lands when this many calls have begun.
    at: u64,
    path: Path,
    payload: PutPayload,
    options: PutOptions,
}

impl FlakyStore {
    /// A store over `inner` in which nothing goes wrong yet. What goes wrong depends on `seed` and the order of calls.
    pub fn new(inner: Arc<dyn ObjectStore>, seed: u64) -> Self {
        let shared = Shared {
            faults: Mutex::new(Faults::new(seed)),
            written: watch::Sender::new(0),
            released: watch::Sender::new(0),
            held: watch::Sender::new(0),
        };
        Self { inner, shared: Arc::new(shared) }
    }

    /// From now on calls go wrong at random as `plan` says; [`FlakyPlan::default`] ends it.
    pub fn set(&self, plan: FlakyPlan) {
        self.faults().plan = plan;
    }

    /// The next `times` calls of this kind whose path holds `matching` go wrong in this way. Asked first to last, before
    /// the plan.
    pub fn fail_next(&self, op: StoreOp, matching: &str, how: StoreFault, times: u32) {
        self.faults().add_rule(op, matching, how, times);
    }

    /// Forgets what [`Self::fail_next`] asked for and did not come up.
    pub fn forget_rules(&self) {
        self.faults().clear_rules();
    }

    /// The calls so far with what went wrong, a line each: at most the last 10,000.
    pub fn trace(&self) -> Vec<String> {
        self.faults().trace()
    }

    /// The calls so far by kind, also those that failed.
    pub fn counts(&self) -> BTreeMap<StoreOp, u64> {
        self.faults().counts.clone()
    }

    /// Counts from zero again.
    pub fn reset_counts(&self) {
        self.faults().counts.clear();
    }

    /// How many calls went wrong, other than by a delay.
    pub fn faulted(&self) -> u64 {
        self.faults().faulted
    }

    /// Lets puts land that are late.
    pub async fn settle(&self) {
        let late = self.faults().take_late(u64::MAX);
        self.land(late).await;
    }

    /// Waits until `calls` calls are held.
    pub async fn held(&self, calls: usize) {
        // Fails only without a sender, and `self` holds it.
        let _ = self.shared.held.subscribe().wait_for(|it| *it >= calls).await;
    }

    /// Lets the calls go on that are held.
    pub fn release(&self) {
        self.shared.released.send_modify(|it| *it += 1);
    }

    /// The store below, in which nothing goes wrong.
    pub fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.inner
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn land(&self, late: Vec<Late>) {
        for put in late {
            let done = self.inner.put_opts(&put.path, put.payload, put.options).await;
            let how = done.map_or_else(|e| format!("too late: {e}"), |_| "lands now".to_owned());
            self.faults().note(format!("  late put {} {how}", put.path));
        }
    }
}

impl fmt::Debug for FlakyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlakyStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl fmt::Display for FlakyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlakyStore({})", self.inner)
    }
}
