//! Ownership of a checkpoint: a generation that only rises, and a way to tell that the owner still lives.
//!
//! ```text
//! local disk     state/owner              locked by the owner as long as it lives; says who it is
//!                state/generations/<g>    who began generation g; the highest is the owner
//! object store   state/owner/<g>          the same
//!                state/owner/<g>.beat     that it lives
//! ```

mod claim;
mod holder;
mod lease;
mod lock;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_api::{Clock, Ownership, Result};
use tokio::runtime::Handle;

use crate::store::Store;

use lease::{Lease, Vacant};
use lock::{Lock, Locked};

pub(crate) use claim::{GENERATIONS, OWNERS};
pub(crate) use holder::Holder;
pub(crate) use lease::{Beat, beat_key};
pub(crate) use lock::{LOCK, unsealed};

/// How to become the owner.
#[derive(Clone)]
pub(crate) struct OwnerOptions {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) run_id: Arc<str>,
    /// How long a silent owner is waited for.
    pub(crate) lease_timeout: Duration,
    /// Don't wait: the operator says that the other owner is dead.
    pub(crate) take_over: bool,
    /// False leaves it to the sinks to fence an old owner: for tests of that.
    pub(crate) check: bool,
    /// Where heartbeats run: no work of a query may hold them up.
    pub(crate) io: Option<Handle>,
}

enum Kind {
    Lock(Lock),
    Lease(Lease),
}

/// The right to become the owner: nobody else works on the checkpoint, and nothing in it has been changed yet.
pub(crate) enum Candidate {
    Lock(Locked),
    Lease(Vacant),
}

impl Candidate {
    /// Waits as long as another owner may live. In a copy the owner that the files name works elsewhere.
    ///
    /// # Errors
    /// `Config` if it does, saying who it is.
    pub(crate) async fn new(store: &Store, options: &OwnerOptions, is_copy: bool) -> Result<Self> {
        match store.location().local() {
            Some(root) => Ok(Self::Lock(Locked::take(root, options, is_copy).await?)),
            None => Ok(Self::Lease(Vacant::wait(store, options, is_copy).await?)),
        }
    }

    /// Begins the next generation, durably.
    ///
    /// # Errors
    /// `Config` if another start was faster.
    pub(crate) async fn claim(self, store: &Arc<Store>, options: &OwnerOptions) -> Result<Owner> {
        let kind = match self {
            Self::Lock(it) => Kind::Lock(it.claim(store, options).await?),
            Self::Lease(it) => Kind::Lease(it.claim(store, options).await?),
        };
        Ok(Owner { kind, check: options.check })
    }
}

/// The one owner of a checkpoint. Dropping it gives the checkpoint up.
pub(crate) struct Owner {
    kind: Kind,
    check: bool,
}

impl Owner {
    pub(crate) fn generation(&self) -> u64 {
        match &self.kind {
            Kind::Lock(it) => it.generation(),
            Kind::Lease(it) => it.generation(),
        }
    }

    /// A record is durable. On an object store heartbeats tell of it; on a local disk Spark's files do.
    pub(crate) fn wrote(&self, record: impl FnOnce() -> String) {
        if let Kind::Lease(it) = &self.kind {
            it.wrote(record());
        }
    }

    /// Gives the checkpoint up in good order: the next start need not wait.
    pub(crate) async fn release(&self) {
        if let Kind::Lease(it) = &self.kind {
            it.release().await;
        }
    }
}

#[async_trait]
impl Ownership for Owner {
    async fn check(&self) -> Result<()> {
        if cfg!(feature = "unowned") || !self.check {
            return Ok(());
        }
        match &self.kind {
            Kind::Lock(it) => it.check().await,
            Kind::Lease(it) => it.check().await,
        }
    }
}

#[cfg(test)]
mod tests;
