//! `Held`: the rows of prepared parts, until they are committed. They live as long as the process: after a restart they
//! come again from the stage.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_api::{AttemptId, Epoch, Error, Result};

use crate::rows::Rows;
use crate::writer::Part;

type Key = (u64, AttemptId, u32);

/// Shared by a sink and its writers. Of a part that has been written only the fact is kept.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<BTreeMap<Key, Option<Arc<Rows>>>>>);

impl Held {
    fn parts(&self) -> MutexGuard<'_, BTreeMap<Key, Option<Arc<Rows>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a task prepared.
    pub(crate) fn put(&self, part: &Part, rows: Rows) {
        self.parts().insert((part.epoch, part.attempt, part.task), Some(Arc::new(rows)));
    }

    /// What the parts stand for, in their order; nothing if one has been written already.
    ///
    /// # Errors
    /// `Internal` if another process prepared them.
    pub(crate) fn get(&self, parts: &[Part]) -> Result<Option<Vec<Arc<Rows>>>> {
        let held = self.parts();
        let one = |it: &Part| {
            held.get(&(it.epoch, it.attempt, it.task)).cloned().ok_or_else(|| {
                let Part { epoch, attempt, task, .. } = it;
                Error::internal(format!("epoch {epoch}: the rows of task {task}, attempt {attempt}, are not held here"))
            })
        };
        parts.iter().map(one).collect()
    }

    /// Forgets other tries at an epoch, and all epochs that are decided by now: at most the one before may not be.
    pub(crate) fn begin(&self, epoch: &Epoch) {
        self.parts().retain(|(number, attempt, _), _| {
            *number > epoch.number
                || (*number == epoch.number && *attempt == epoch.attempt)
                || number.checked_add(1) == Some(epoch.number)
        });
    }

    /// The parts have been written: their rows are let go.
    pub(crate) fn written(&self, parts: &[Part]) {
        let mut held = self.parts();
        for it in parts {
            held.insert((it.epoch, it.attempt, it.task), None);
        }
    }

    /// Forgets parts.
    pub(crate) fn drop_parts(&self, parts: &[Part]) {
        let mut held = self.parts();
        for it in parts {
            held.remove(&(it.epoch, it.attempt, it.task));
        }
    }
}
