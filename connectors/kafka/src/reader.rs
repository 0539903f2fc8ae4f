//! `Reader`: one partition, read forward through a queue of its own. Rows that were taken too early wait for the next
//! range; a jump seeks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use rdkafka::types::RDKafkaErrorCode;
use tidegate_api::{Error, PartitionId, RecordBatch, Result};
use tidegate_kafka_ffi::{Column, Limits, Polled, RecordView, Rows};
use tokio::sync::Notify;

use crate::cluster::{Cluster, number};
use crate::feed::{Feed, Taker};
use crate::fetch::Fetcher;

/// Records taken in one step, between two looks at the clock and the other tasks.
const STEP: usize = 4096;
/// What planning takes ahead of reading, to know how far a partition goes.
const AHEAD: Limits = Limits { rows: 2 * STEP, bytes: 1 << 20 };

/// One partition.
pub(crate) struct Reader {
    pub(crate) place: PartitionId,
    /// Told when the queue has got something.
    pub(crate) filled: Arc<Notify>,
    cluster: Arc<Cluster>,
    tickets: AtomicU64,
    state: Mutex<State>,
}

/// How far a partition is known to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// All visible records below this offset exist and can be read.
    pub(crate) covered: i64,
    /// The log turned out to be shorter than it was, and goes on from here.
    pub(crate) moved_to: Option<i64>,
    /// The end of the partition, if the feed tells it beside the records.
    pub(crate) end: Option<i64>,
}

/// What a step of reading gave.
pub(crate) enum Step {
    /// Rows.
    Batch(RecordBatch),
    /// Something, but not a batch yet.
    Progress,
    /// Nothing: wait for the queue.
    Wait,
    /// The range is complete.
    Done,
}

struct State {
    feed: Feed,
    rows: Rows,
    /// Rows from here on are in `rows` or still to come. None: unknown, seek first.
    next: Option<i64>,
    covered: i64,
    /// The highest offset of an end or a failure: the client's position may be one too high there.
    bumped: Option<i64>,
    moved_to: Option<i64>,
    trouble: Option<Trouble>,
    turn: u64,
    /// The read whose turn it is has not ended.
    reading: bool,
}

/// What is wrong with a partition.
#[derive(Clone, Debug)]
enum Trouble {
    Lost(String),
    Denied(String),
    Passing(String),
    Broken(String),
}

impl Reader {
    /// Starts to fetch the partition at `start`. Blocks for a moment.
    pub(crate) fn open(
        cluster: &Arc<Cluster>,
        fetcher: Option<&Arc<Fetcher>>,
        place: &PartitionId,
        start: i64,
        columns: &[Column],
        batch: Limits,
        any_filled: &Arc<Notify>,
    ) -> Result<Self> {
        let filled = Arc::new(Notify::new());
        let (one, any) = (filled.clone(), any_filled.clone());
        let wake = Arc::new(move || {
            one.notify_one();
            any.notify_one();
        });
        let feed = Feed::open(cluster, fetcher, place, start, wake)?;
        let state = State {
            feed,
            rows: Rows::new(columns, &place.name, number(place), batch),
            next: Some(start),
            covered: start,
            bumped: None,
            moved_to: None,
            trouble: None,
            turn: 0,
            reading: false,
        };
        let (cluster, tickets) = (cluster.clone(), AtomicU64::new(0));
        Ok(Self { place: place.clone(), filled, cluster, tickets, state: Mutex::new(state) })
    }

    /// Takes ahead what lies ready, within bounds, to see how far the partition goes. Nothing if a read is at it.
    pub(crate) fn look_ahead(&self) -> Result<Option<Seen>> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        if state.next.is_none() {
            return Ok(None);
        }
        if state.rows.len() < AHEAD.rows && state.rows.bytes() < AHEAD.bytes {
            let most = AHEAD.rows - state.rows.len();
            state.fill(most.min(STEP), self.cluster.fail_on_data_loss);
        }
        self.checked(&mut state)?;
        // A read that is under way ends its range first.
        let moved_to = if state.reading { None } else { state.moved_to };
        Ok(Some(Seen { covered: state.covered, moved_to, end: state.feed.end() }))
    }

    /// A number for a read that is about to begin; of two reads the one with the higher number goes on.
    pub(crate) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Begins to read at `start`, if that needs neither waiting nor seeking.
    pub(crate) fn begin_here(&self, ticket: u64, start: i64) -> bool {
        let Ok(mut state) = self.state.try_lock() else { return false };
        let here = {
            let State { next, trouble, moved_to, turn, .. } = &*state;
            *next == Some(start) && trouble.is_none() && moved_to.is_none() && ticket > *turn
        };
        if here {
            (state.turn, state.reading) = (ticket, true);
        }
        here
    }

    /// Begins to read at `start`. Blocks if it has to seek.
    pub(crate) fn begin(&self, ticket: u64, start: i64) -> Result<()> {
        let mut state = self.lock();
        if ticket <= state.turn {
            return Err(self.overtaken());
        }
        state.turn = ticket;
        if state.next == Some(start) && state.moved_to.is_none() {
            self.checked(&mut state)?;
            state.reading = true;
            return Ok(());
        }
        state.next = None;
        state.feed.seek(&self.cluster, &self.place, start)?;
        state.rows.clear();
        (state.next, state.covered) = (Some(start), start);
        (state.bumped, state.moved_to, state.trouble) = (None, None, None);
        state.reading = true;
        Ok(())
    }

    /// Ends a read, complete or not.
    pub(crate) fn end(&self, ticket: u64) {
        let mut state = self.lock();
        state.reading &= state.turn != ticket;
    }

    /// Goes on reading up to `end`.
    pub(crate) fn step(&self, ticket: u64, end: i64) -> Result<Step> {
        let mut state = self.lock();
        if ticket != state.turn {
            return Err(self.overtaken());
        }
        let missing = usize::try_from(end.saturating_sub(state.covered)).unwrap_or(0);
        let taken = if missing > 0 { state.fill(missing.min(STEP), self.cluster.fail_on_data_loss) } else { 0 };
        self.checked(&mut state)?;
        let complete = state.covered >= end || state.moved_to.is_some();
        let rows = state.rows.take_below(end, complete).map_err(|e| Error::internal("kafka columns").because(e))?;
        Ok(match rows {
            Some((batch, next)) => {
                state.next = Some(next);
                Step::Batch(batch)
            }
            None if complete => {
                state.next = Some(end);
                Step::Done
            }
            None if taken > 0 => Step::Progress,
            None => Step::Wait,
        })
    }

    fn checked(&self, state: &mut State) -> Result<()> {
        let Some(trouble) = &state.trouble else { return Ok(()) };
        let PartitionId { name, number } = &self.place;
        let place = format!("{name} [{number}] on kafka at {}", self.cluster.servers());
        let error = match trouble {
            Trouble::Lost(text) => Error::config(format!(
                "{place} lost records after offset {}: {text}; set fail.on.data.loss to false to go on without them",
                state.covered
            )),
            Trouble::Denied(text) => Error::config(format!("{place}: {text}")),
            Trouble::Passing(text) => Error::transient(format!("{place}: {text}")),
            Trouble::Broken(text) => Error::internal(format!("{place}: {text}")),
        };
        if matches!(trouble, Trouble::Passing(_)) {
            state.trouble = None;
        }
        Err(error)
    }

    fn overtaken(&self) -> Error {
        let PartitionId { name, number } = &self.place;
        Error::internal(format!("two reads of {name} [{number}] at once"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes up to `most` items out of the feed, without waiting.
    fn fill(&mut self, most: usize, fail_on_data_loss: bool) -> usize {
        let Self { feed, rows, covered, bumped, moved_to, trouble, .. } = self;
        let mut filling = Filling { rows, covered, bumped, moved_to, trouble, fail_on_data_loss };
        let taken = feed.consume(most, &mut filling);
        if taken < most && moved_to.is_none() {
            // Markers and aborted records at the end show up in the position only.
            *covered = feed.position(*bumped).unwrap_or(*covered).max(*covered);
        }
        taken
    }
}

/// What a feed fills: the parts of a state without the feed.
struct Filling<'a> {
    rows: &'a mut Rows,
    covered: &'a mut i64,
    bumped: &'a mut Option<i64>,
    moved_to: &'a mut Option<i64>,
    trouble: &'a mut Option<Trouble>,
    fail_on_data_loss: bool,
}

impl Taker for Filling<'_> {
    #[inline]
    fn take<'a, R: RecordView<'a>>(&mut self, polled: Polled<R>) {
        match polled {
            Polled::Record(record) => {
                let offset = record.offset();
                if offset < *self.covered {
                    // Only after a reset: the log is not the one that it was.
                    self.moved_to.get_or_insert(offset);
                    return;
                }
                *self.covered = offset + 1;
                if let Err(error) = self.rows.push(&record) {
                    *self.trouble = Some(Trouble::Broken(error.to_string()));
                }
            }
            Polled::EndOfPartition(end) => {
                *self.bumped = Some(end).max(*self.bumped);
                if end < *self.covered {
                    self.moved_to.get_or_insert(end);
                } else {
                    *self.covered = end;
                }
            }
            Polled::Failed { offset, code, text } => {
                *self.bumped = Some(offset).max(*self.bumped);
                match sorted_out(code, text) {
                    Trouble::Lost(text) if !self.fail_on_data_loss => {
                        let covered = *self.covered;
                        tracing::warn!("records of a kafka partition are lost after offset {covered}: {text}");
                        self.moved_to.get_or_insert(covered);
                    }
                    found => {
                        self.trouble.get_or_insert(found);
                    }
                }
            }
        }
    }
}

fn sorted_out(code: RDKafkaErrorCode, text: String) -> Trouble {
    use RDKafkaErrorCode as Code;
    match code {
        Code::AutoOffsetReset
        | Code::OffsetOutOfRange
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition => Trouble::Lost(text),
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedVersion => Trouble::Denied(text),
        _ => Trouble::Passing(text),
    }
}
