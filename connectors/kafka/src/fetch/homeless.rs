//! `Homeless`: partitions without a broker, on their way to the one that leads them.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::inbox::Inbox;

/// Partitions that wait for `leaders` to find their brokers.
#[derive(Default)]
pub(super) struct Homeless {
    waiting: Mutex<Vec<(Arc<Inbox>, Since)>>,
    bell: Notify,
}

/// Why a partition waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// It was opened, or somebody has sought in it.
    New,
    /// Its broker is gone or leads it no longer: not at once again, or an error would be asked for without a pause.
    Left,
}

impl Homeless {
    pub(super) fn new_one(&self, inbox: Arc<Inbox>) {
        self.add(inbox, Since::New);
    }

    pub(super) fn again(&self, inbox: Arc<Inbox>) {
        self.add(inbox, Since::Left);
    }

    fn add(&self, inbox: Arc<Inbox>, since: Since) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((inbox, since));
        self.bell.notify_one();
    }

    /// Waits until there are some, and takes them all.
    pub(super) async fn take(&self) -> Vec<(Arc<Inbox>, Since)> {
        loop {
            let found = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !found.is_empty() {
                return found;
            }
            self.bell.notified().await;
        }
    }
}
