//! Where requests to object stores run.

use std::sync::{PoisonError, RwLock};

use object_store::client::SpawnedReqwestConnector;
use tokio::runtime::Handle;

static IO: RwLock<Option<Handle>> = RwLock::new(None);

/// Stores that are opened from now on send their requests from this runtime, whoever asks them: a connection lives on the
/// runtime of its first request, so a thread that computes would hold up all that share it, heartbeats among them.
/// Without a call, requests run where they are asked for.
pub fn run_requests_on(handle: Handle) {
    *IO.write().unwrap_or_else(PoisonError::into_inner) = Some(handle);
}

/// The connector of a store that is being opened.
pub(crate) fn connector() -> Option<SpawnedReqwestConnector> {
    let handle = IO.read().unwrap_or_else(PoisonError::into_inner).clone();
    handle.map(SpawnedReqwestConnector::new)
}
