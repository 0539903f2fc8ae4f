//! Lines between the peer and the epochs: bounded on the way in, kept on the way out until they may be forgotten.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A line and when it came.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) time_us: i64,
}

/// How the connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Open,
    Closed,
    Failed(String),
}

struct State {
    lines: VecDeque<Line>,
    /// Lines forgotten, so the count of the line in front.
    forgotten: usize,
    /// Lines given to a plan.
    planned: usize,
    /// Bytes of the lines that no plan has been given yet.
    waiting_bytes: usize,
    peer: Peer,
}

/// Shared by the reader and the source. Lines are counted from 0, from the start of the connection.
pub(crate) struct Buffer {
    state: Mutex<State>,
    most_bytes: usize,
    /// Something came, or the connection ended.
    pub(crate) arrived: Notify,
    /// There is room again.
    pub(crate) drained: Notify,
}

impl Buffer {
    /// Lets `most_bytes` wait to be planned.
    pub(crate) fn new(most_bytes: usize) -> Self {
        let state = State { lines: VecDeque::new(), forgotten: 0, planned: 0, waiting_bytes: 0, peer: Peer::Open };
        Self { state: Mutex::new(state), most_bytes, arrived: Notify::new(), drained: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, line: Line) {
        let mut state = self.lock();
        state.waiting_bytes += line.text.len();
        state.lines.push_back(line);
        drop(state);
        self.arrived.notify_waiters();
    }

    pub(crate) fn close(&self, peer: Peer) {
        self.lock().peer = peer;
        self.arrived.notify_waiters();
    }

    pub(crate) fn peer(&self) -> Peer {
        self.lock().peer.clone()
    }

    /// True if the reader must wait.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().waiting_bytes >= self.most_bytes
    }

    /// Lines that came so far.
    pub(crate) fn count(&self) -> usize {
        let state = self.lock();
        state.forgotten + state.lines.len()
    }

    /// The end of as many lines after `from` as the limits allow, one at least; and their bytes.
    pub(crate) fn plan(&self, from: usize, max_rows: usize, max_bytes: usize) -> (usize, usize) {
        let mut state = self.lock();
        let skip = from.saturating_sub(state.forgotten);
        let (mut end, mut bytes) = (from, 0);
        for line in state.lines.iter().skip(skip).take(max_rows) {
            if end > from && bytes + line.text.len() > max_bytes {
                break;
            }
            end += 1;
            bytes += line.text.len();
        }
        let planned = state.planned.max(end);
        state.planned = planned;
        let waiting = planned - state.forgotten;
        state.waiting_bytes = state.lines.iter().skip(waiting).map(|it| it.text.len()).sum();
        drop(state);
        self.drained.notify_one();
        (end, bytes)
    }

    /// The lines of a range; none if some are forgotten or have not come.
    pub(crate) fn get(&self, range: Range<usize>) -> Option<Vec<Line>> {
        let state = self.lock();
        let (start, end) = (range.start.checked_sub(state.forgotten)?, range.end.checked_sub(state.forgotten)?);
        (end <= state.lines.len()).then(|| state.lines.range(start..end).cloned().collect())
    }

    /// Forgets the lines before `through`.
    pub(crate) fn forget(&self, through: usize) {
        let mut state = self.lock();
        let gone = through.min(state.planned).saturating_sub(state.forgotten);
        state.lines.drain(..gone);
        state.forgotten += gone;
    }
}
