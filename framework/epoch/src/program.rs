//! `Program`: what an epoch computes. The engine fills this trait; the loop in `query` calls it.
//!
//! ```text
//! numbers = program.run(input, &mut outputs)     // state changes stay in an overlay on state N-1
//! deltas  = program.delta()                       // state delta N, durable before any sink commits
//! …sinks prepare and commit…
//! program.seal()                                  // the overlay becomes state N
//! program.discard()                               // or: as if the epoch had never run
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidegate_api::{BatchStream, Epoch, PartitionId, Result};

use crate::sink_task::Outputs;
use crate::state::LaterRows;
use crate::watermark::{Watermark, Watermarks};

/// A watermark of the query: one event-time column and how late it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkNode {
    /// Names the node in records and progress: the source or view that declares it.
    pub id: Arc<str>,
    /// How far the watermark stays behind the largest event time, milliseconds.
    pub delay_ms: i64,
    /// After this time of the epoch's clock without new rows, milliseconds, it holds no other one back (`idle.timeout`).
    /// Nothing: it always does.
    pub idle_ms: Option<i64>,
}

/// Event times that one watermark node saw in an epoch, milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventTimes {
    /// Rows with an event time.
    pub count: u64,
    /// The smallest; meaningless if `count` is 0.
    pub min_ms: i64,
    /// The largest; meaningless if `count` is 0.
    pub max_ms: i64,
    /// The sum, for the average.
    pub sum_ms: i128,
}

impl EventTimes {
    /// What both saw together.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        match (self.count, other.count) {
            (0, _) => other,
            (_, 0) => self,
            _ => Self {
                count: self.count + other.count,
                min_ms: self.min_ms.min(other.min_ms),
                max_ms: self.max_ms.max(other.max_ms),
                sum_ms: self.sum_ms + other.sum_ms,
            },
        }
    }
}

/// The rows of one split of a source.
pub struct SplitInput {
    /// Which partition it is of.
    pub partition: PartitionId,
    /// The rows, as the source delivers them.
    pub rows: BatchStream,
}

/// What a source brings into an epoch.
pub struct SourceInput {
    /// The source's name.
    pub name: Arc<str>,
    /// Ordered by partition and position; none in an epoch without data.
    pub splits: Vec<SplitInput>,
}

/// What a static source is read at in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticVersion {
    /// The source's name.
    pub name: Arc<str>,
    /// Its version, in words of the program.
    pub version: String,
}

/// The watermarks that the rows of an epoch lead to (`emit.on.watermark: same-epoch`).
#[derive(Clone, Debug)]
pub struct Closing {
    pub(crate) before: Watermark,
    pub(crate) time_ms: i64,
}

impl Closing {
    /// The watermarks after these event times, by node in the order of [`Program::watermarks`]. Who evicts with them says so by
    /// [`EpochNumbers::closed_by`].
    pub fn after(&self, seen: &[EventTimes]) -> Watermarks {
        let after = self.before.after(seen, self.time_ms);
        after.watermarks(&after.levels())
    }
}

/// All that an epoch depends on, beside the state before it.
pub struct EpochInput {
    /// Its number, attempt and times. `watermark_ms` is the query's; what closes is said by `evict`.
    pub epoch: Epoch,
    /// Rows at or before this are late: the watermarks of the epoch before.
    pub late: Watermarks,
    /// Groups at or before this are closed: the watermarks of the epoch.
    pub evict: Watermarks,
    /// If groups that the epoch's own rows close are closed in it: what to ask once the sources' rows are read.
    pub closing: Option<Closing>,
    /// Rows whose event time is after this are too far ahead of the clock, milliseconds since 1970: they move no watermark and
    /// are late. Nothing: none is.
    pub ceiling_ms: Option<i64>,
    /// One for each source of the query, in the order in which they were given.
    pub sources: Vec<SourceInput>,
    /// What to read static sources at; one that is missing here was added since the epoch was logged.
    pub statics: Vec<StaticVersion>,
    /// For what looks random: the same each time the epoch runs.
    pub seed: u64,
    /// The session's time zone.
    pub zone: String,
}

/// What a stateful operator did in an epoch (Spark: `StateOperatorProgress`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorNumbers {
    /// Spark's name of the operator (`stateStoreSave` …).
    pub name: String,
    /// Keys in state after the epoch.
    pub rows_total: u64,
    /// Keys written.
    pub rows_updated: u64,
    /// Keys removed.
    pub rows_removed: u64,
    /// Late rows left out, counted after partial aggregation.
    pub rows_dropped_by_watermark: u64,
    /// Time spent in writing, milliseconds.
    pub updates_ms: u64,
    /// Time spent in removing, milliseconds.
    pub removals_ms: u64,
    /// Bytes held in memory.
    pub memory_bytes: u64,
    /// What only operators of its kind count, by Spark's names.
    pub custom: BTreeMap<&'static str, u64>,
}

/// What an epoch found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochNumbers {
    /// Event times by watermark node, in the order of [`Program::watermarks`].
    pub event_times: Vec<EventTimes>,
    /// Stateful operators, downstream first.
    pub operators: Vec<OperatorNumbers>,
    /// Rows read, by source, in the order of the sources.
    pub source_rows: Vec<u64>,
    /// The event times by whose watermarks the epoch evicted, if by those of its own rows ([`Closing`]).
    pub closed_by: Option<Vec<EventTimes>>,
}

/// The columns of an operator's rows and which of them find a row, for those who read the state without the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateShape {
    /// All columns.
    pub columns: SchemaRef,
    /// Those that identify a row.
    pub keys: Vec<usize>,
    /// The one that says when a row is over.
    pub pane: Option<usize>,
    /// The one that tells the rows of one key apart.
    pub row: Option<usize>,
    /// The operator whose state it took over before it had one of its own.
    pub origin: Option<Arc<str>>,
}

/// What one operator changed in an epoch. Applied in this order: `evict_through`, `tombstones`, `puts`.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorDelta {
    /// The operator's stable name in the query.
    pub operator: Arc<str>,
    /// Names the columns and the meaning of the rows; another layout is refused.
    pub layout: Arc<str>,
    /// Rows whose pane (window end, microseconds) is at or before this are gone.
    pub evict_through_us: Option<i64>,
    /// Keys that are gone: the key columns only.
    pub tombstones: Option<RecordBatch>,
    /// Rows that are new or replace those of the same key.
    pub puts: Option<RecordBatch>,
    /// The shape of its rows. Nothing: the delta has no rows, or is of before shapes were noted.
    pub shape: Option<StateShape>,
}

/// The whole state of one operator.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorSnapshot {
    /// The operator's stable name in the query.
    pub operator: Arc<str>,
    /// As in [`OperatorDelta`].
    pub layout: Arc<str>,
    /// Rows that are there as they are; with those of `later` each key once.
    pub rows: Vec<RecordBatch>,
    /// Rows that have to be copied out of others, or read from disk.
    pub later: Vec<LaterRows>,
    /// The shape of its rows. Nothing: the snapshot is of before shapes were noted.
    pub shape: Option<StateShape>,
}

impl OperatorSnapshot {
    /// All rows; those for later are copied and read as they are asked for.
    pub fn batches(&self) -> impl Iterator<Item = Result<RecordBatch>> {
        self.rows.iter().cloned().map(Ok).chain(self.later.iter().map(LaterRows::read))
    }
}

/// The deltas of epochs, read as they are asked for; damaged ones are errors.
pub type Deltas<'a> = dyn Iterator<Item = Result<Vec<OperatorDelta>>> + 'a;

/// What an epoch computes.
#[async_trait]
pub trait Program: Send + 'static {
    /// The watermarks of the query, in a fixed order.
    fn watermarks(&self) -> Vec<WatermarkNode>;

    /// For each sink, in the order in which the query got them, the names of the watermark nodes that feed it: its
    /// watermark is made of theirs. A sink that is not reached is fed by all.
    fn watermark_groups(&self) -> Vec<BTreeSet<Arc<str>>> {
        Vec::new()
    }

    /// The versions that static sources have now. Called when an epoch is planned; [`run`](Self::run) is given them,
    /// each time that the epoch runs.
    ///
    /// # Errors
    /// As the sources.
    async fn statics(&mut self) -> Result<Vec<StaticVersion>> {
        Ok(Vec::new())
    }

    /// False if a version of a static source may give other rows when it is read again: then what an epoch came to is staged.
    fn statics_are_replayable(&self) -> bool {
        true
    }

    /// Computes an epoch. Rows for sinks go to `outputs` (sinks by index, in the order in which the query got them);
    /// state changes stay in an overlay.
    ///
    /// # Errors
    /// Whatever the sources, the operators or the sinks' writers say; the loop then discards. `Config` if a static source
    /// can't be read at the version that it had.
    async fn run(&mut self, input: EpochInput, outputs: &mut Outputs) -> Result<EpochNumbers>;

    /// What the epoch changed in the state, for all operators that changed.
    ///
    /// # Errors
    /// `Internal` if the overlay can't be read.
    fn delta(&self) -> Result<Vec<OperatorDelta>>;

    /// Folds the overlay in: it becomes the state.
    fn seal(&mut self);

    /// Drops the overlay: as if the epoch had never run.
    fn discard(&mut self);

    /// Sets the state from a snapshot and the deltas of the epochs after it, oldest first. What was there before is gone,
    /// whether it fails or not.
    ///
    /// # Errors
    /// `Config` if an operator or its layout is not the one of this query, saying what differs; as `deltas`.
    fn restore(&mut self, snapshot: Vec<OperatorSnapshot>, deltas: &mut Deltas<'_>) -> Result<()>;

    /// The whole sealed state. Cheap: batches are shared, not copied.
    ///
    /// # Errors
    /// `Internal` if the state can't be read.
    fn snapshot(&self) -> Result<Vec<OperatorSnapshot>>;

    /// When an epoch without data must come though no watermark rises: a timer of the epochs' clock, milliseconds since 1970.
    fn next_time_ms(&self) -> Option<i64> {
        None
    }

    /// True if an epoch without data must follow, since a watermark that something waits for rose from `used` (what the
    /// last epoch evicted with) to `next` (Spark: `shouldRunAnotherBatch`).
    fn wants_epoch_without_data(&self, used: &Watermarks, next: &Watermarks) -> bool;
}
