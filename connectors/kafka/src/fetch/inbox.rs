//! `Inbox`: what has been fetched of one partition and waits for its reader. The task of a broker fills it, the reader
//! empties it, and both may find it full or empty without waiting for each other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rdkafka::types::RDKafkaErrorCode;
use tidegate_kafka_ffi::Wake;
use tokio::sync::Notify;

use super::records::RecordSet;

/// The inbox of one partition.
pub(super) struct Inbox {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// Bytes from which on nothing more is asked for; the last answer may pass them.
    limit: usize,
    wake: Wake,
    state: Mutex<State>,
}

/// What waits for the reader.
pub(super) enum Item {
    Set(RecordSet),
    /// All below this offset has been fetched.
    End(i64),
    Failed {
        offset: i64,
        code: RDKafkaErrorCode,
        text: String,
    },
}

/// A place in the partition to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Counts jumps: an answer from before one is thrown away.
    pub(super) jump: u64,
    pub(super) next: i64,
    /// The leader's epoch of the record before `next`, -1 if it is not known.
    pub(super) epoch: i32,
}

/// Whether a partition is to be asked for.
pub(super) enum Wants {
    Records(Turn),
    /// Its inbox is full.
    Full,
    /// It has failed, or it looks for a place to begin.
    Nothing,
}

/// What keeps a partition from being fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fetched,
    /// Its offset is not there, and losses are allowed: it goes on where the partition begins.
    LooksForStart,
    /// Somebody has to seek.
    Stopped,
}

struct State {
    turn: Turn,
    phase: Phase,
    items: VecDeque<Item>,
    bytes: usize,
    /// The end of the partition as the last answer told it.
    end: Option<i64>,
    /// The end that was told last, so that each is told once.
    told: Option<i64>,
    /// Told when there is room again, or another place to ask for.
    asker: Option<Arc<Notify>>,
    /// Since when nobody knows the partition.
    unknown_since: Option<Instant>,
}

impl Inbox {
    pub(super) fn new(topic: &str, partition: i32, start: i64, limit: usize, wake: Wake) -> Self {
        let state = State {
            turn: Turn { jump: 0, next: start, epoch: -1 },
            phase: Phase::Fetched,
            items: VecDeque::new(),
            bytes: 0,
            end: None,
            told: None,
            asker: None,
            unknown_since: None,
        };
        Self { topic: topic.into(), partition, limit, wake, state: Mutex::new(state) }
    }

    // The reader's side.

    /// Takes the next item.
    pub(super) fn take(&self) -> Option<Item> {
        let mut state = self.lock();
        let item = state.items.pop_front()?;
        if let Item::Set(set) = &item {
            let was_full = state.bytes >= self.limit;
            state.bytes -= set.bytes.len();
            if was_full && state.bytes < self.limit {
                state.tell_asker();
            }
        }
        Some(item)
    }

    /// Goes on at `start`, with nothing of what was fetched. True if the partition had stopped, so that somebody has to
    /// look for its leader.
    pub(super) fn jump(&self, start: i64) -> bool {
        let mut state = self.lock();
        let stopped = state.phase == Phase::Stopped;
        state.restart(start);
        stopped
    }

    /// The end of the partition, as far as a broker has told it beside records.
    pub(super) fn end(&self) -> Option<i64> {
        self.lock().end
    }

    // The fetching side.

    /// Says whether to ask for more.
    pub(super) fn wants(&self) -> Wants {
        let state = self.lock();
        match state.phase {
            Phase::Fetched if state.bytes < self.limit => Wants::Records(state.turn),
            Phase::Fetched => Wants::Full,
            Phase::LooksForStart | Phase::Stopped => Wants::Nothing,
        }
    }

    /// Who is to be told when there is room again.
    pub(super) fn asked_by(&self, asker: &Arc<Notify>) {
        let mut state = self.lock();
        state.asker = Some(asker.clone());
        state.unknown_since = None;
    }

    /// Takes in what was fetched for `turn`: records up to the offset `next`, or none, and how far the partition goes.
    pub(super) fn fetched(&self, turn: Turn, records: Option<(RecordSet, i64, i32)>, end: i64) {
        let news = {
            let mut state = self.lock();
            if state.turn.jump != turn.jump {
                return;
            }
            let further = state.end.replace(end) != Some(end);
            let mut news = further;
            if let Some((set, next, epoch)) = records {
                state.bytes += set.bytes.len();
                state.items.push_back(Item::Set(set));
                (state.turn.next, state.turn.epoch) = (next, epoch);
                news = true;
            }
            let at = state.turn.next;
            if at >= end && state.told != Some(at) {
                state.told = Some(at);
                state.items.push_back(Item::End(at));
                news = true;
            }
            news
        };
        if news {
            (self.wake)();
        }
    }

    /// Tells the reader that something is wrong. With `stop` nothing more is fetched until somebody seeks.
    pub(super) fn failed(&self, turn: Turn, code: RDKafkaErrorCode, text: String, stop: bool) {
        {
            let mut state = self.lock();
            if state.turn.jump != turn.jump {
                return;
            }
            let offset = state.turn.next;
            // The last one counts: one that comes again and again does not fill the inbox.
            state.items.pop_back_if(|it| matches!(it, Item::Failed { .. }));
            state.items.push_back(Item::Failed { offset, code, text });
            if stop {
                state.phase = Phase::Stopped;
            }
        }
        (self.wake)();
    }

    /// The offset asked for is not there: the partition waits for `begins_at`.
    pub(super) fn look_for_start(&self, turn: Turn) {
        let mut state = self.lock();
        if state.turn.jump == turn.jump {
            state.phase = Phase::LooksForStart;
            state.end = None;
        }
    }

    /// True if it waits for `begins_at`.
    pub(super) fn looks_for_start(&self) -> Option<Turn> {
        let state = self.lock();
        (state.phase == Phase::LooksForStart).then_some(state.turn)
    }

    /// Goes on at another offset behind what has been fetched, which stays.
    pub(super) fn begins_at(&self, turn: Turn, start: i64) {
        let mut state = self.lock();
        if state.turn.jump == turn.jump {
            state.turn = Turn { jump: turn.jump, next: start, epoch: -1 };
            (state.phase, state.end, state.told) = (Phase::Fetched, None, None);
            state.tell_asker();
        }
    }

    /// The place to ask for next, whatever the inbox holds.
    pub(super) fn turn(&self) -> Turn {
        self.lock().turn
    }

    /// Since when nobody knows the partition; now if that is new.
    pub(super) fn unknown_since(&self) -> Instant {
        *self.lock().unknown_since.get_or_insert_with(Instant::now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn restart(&mut self, start: i64) {
        self.turn = Turn { jump: self.turn.jump + 1, next: start, epoch: -1 };
        self.phase = Phase::Fetched;
        self.items.clear();
        (self.bytes, self.end, self.told) = (0, None, None);
        self.unknown_since = None;
        self.tell_asker();
    }

    fn tell_asker(&self) {
        if let Some(asker) = &self.asker {
            asker.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
