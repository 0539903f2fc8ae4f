//! `PauseGate`: where a query stands still in the middle of a step, as a process does on SIGSTOP.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Nobody has come yet.
    #[default]
    Armed,
    /// A thread stands here.
    Stands,
    /// Who stood here goes on, and who comes passes.
    Over,
}

/// A fault point at which the thread that comes stands still. It blocks the thread on purpose: with a runtime of one
/// thread nothing of the query goes on, no heartbeat and no background work.
#[derive(Clone, Default)]
pub struct PauseGate(Arc<(Mutex<Stage>, Condvar)>);

impl PauseGate {
    /// Blocks until a thread stands at the gate (true), or until [`resume`](Self::resume) (false).
    #[must_use]
    pub fn reached(&self) -> bool {
        let mut stage = self.stage();
        while *stage == Stage::Armed {
            stage = self.0.1.wait(stage).unwrap_or_else(PoisonError::into_inner);
        }
        *stage == Stage::Stands
    }

    /// Lets the thread go on that stands here; nobody will be stopped any more.
    pub fn resume(&self) {
        *self.stage() = Stage::Over;
        self.0.1.notify_all();
    }

    /// True once whoever stood here has been let go.
    #[must_use]
    pub fn is_over(&self) -> bool {
        *self.stage() == Stage::Over
    }

    pub(super) fn stand(&self) {
        let mut stage = self.stage();
        if *stage == Stage::Over {
            return;
        }
        *stage = Stage::Stands;
        self.0.1.notify_all();
        while *stage == Stage::Stands {
            stage = self.0.1.wait(stage).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
