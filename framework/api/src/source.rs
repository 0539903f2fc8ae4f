//! `Source`: plans a range of a stream, then reads it.
//!
//! The loop that calls it, once an epoch:
//! ```text
//! planned = source.plan(&start, &limit)        // network only where it must be
//! offsets/N := planned.end                      // the plan is logged before any effect outside
//! for split in source.splits(start..planned.end, tasks) { rows = source.read(split) }
//! …sinks commit, commits/N…
//! source.commit(&oldest_offset_that_may_be_read_again)
//! ```

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::Stream;

use crate::error::Result;
use crate::offset::{Offset, OffsetRange, PartitionId, Split};
use crate::predicate::Predicate;

/// Rows as they come, in batches.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// How much one epoch may read. All off by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// At most this many rows (`max.rows.per.epoch`).
    pub max_rows: Option<u64>,
    /// At most this many bytes, but one unit at least (`max.bytes.per.epoch`).
    pub max_bytes: Option<u64>,
    /// Wait until there are as many rows …
    pub min_rows: u64,
    /// … or this long has passed since the last epoch with data.
    pub max_delay: Duration,
}

impl ReadLimit {
    /// No limit.
    pub const NONE: Self =
        Self { max_rows: None, max_bytes: None, min_rows: 0, max_delay: Duration::from_secs(15 * 60) };
}

/// What `plan` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned<O> {
    /// The end of the next epoch; equal to its start: nothing to do.
    pub end: O,
    /// The last position known to exist.
    pub latest: O,
    /// Rows in the range, if known.
    pub rows: Option<u64>,
    /// Bytes in the range, if known.
    pub bytes: Option<u64>,
    /// Set when the schema has changed since `bind`.
    pub schema: Option<SchemaRef>,
}

/// What a source's batches hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Rows, ready for SQL.
    Rows(SchemaRef),
    /// Records as they lie in the outside system: a BINARY column `value` and whatever else the schema names (`key`,
    /// `topic`, …). The engine decodes `value` as `value.format` says; `raw` leaves the columns as they are.
    Records(SchemaRef),
}

impl Payload {
    /// The columns that the source can deliver.
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Self::Rows(schema) | Self::Records(schema) => schema,
        }
    }
}

/// Whether the same range gives the same rows again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Yes, for as long as the range exists.
    Deterministic,
    /// No: what was read once is gone (a socket).
    None,
}

/// A column, or a field inside a struct column: names from the outside in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldPath(pub Vec<String>);

impl FieldPath {
    /// A whole top-level column.
    pub fn column(name: impl Into<String>) -> Self {
        Self(vec![name.into()])
    }
}

/// What the query needs of a source or table.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanRequest {
    /// The columns to deliver, in this order.
    pub projection: Vec<FieldPath>,
    /// Rows that fail one of these need not be delivered.
    pub filters: Vec<Predicate>,
    /// The size of a batch to aim at, in rows.
    pub batch_rows: usize,
}

/// A source's answer to a `ScanRequest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The schema of every batch to come.
    pub schema: SchemaRef,
    /// Which of the filters the source applies by itself; the engine applies the rest.
    pub filters_taken: Vec<bool>,
}

/// A stream that can be read by ranges.
///
/// Planning has `&mut self`, reading `&self`: the next epoch may be planned while this one is read. Five methods have
/// no default; see the crate's front page for a whole source.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// A position in the stream.
    type Offset: Offset;

    /// What the batches hold, before any projection.
    fn payload(&self) -> Payload;

    /// Whether the same range gives the same rows again.
    fn replay(&self) -> Replay;

    /// Tells once, before anything else, what the query needs. The default delivers all columns that were asked for by
    /// projecting nothing: override it to read less.
    ///
    /// # Errors
    /// `Config` if a column does not exist.
    fn bind(&mut self, scan: &ScanRequest) -> Result<Bound> {
        Ok(Bound { schema: self.payload().schema().clone(), filters_taken: vec![false; scan.filters.len()] })
    }

    /// Where a query starts that has no checkpoint yet.
    ///
    /// # Errors
    /// `Config` or `Transient` if the outside system can't say.
    async fn initial_offset(&mut self) -> Result<Self::Offset>;

    /// The end of the next epoch that begins after `start`. Called often: no network where it can be helped.
    ///
    /// # Errors
    /// `Transient` while the outside system is away, `Config` if `start` is lost for good.
    async fn plan(&mut self, start: &Self::Offset, limit: &ReadLimit) -> Result<Planned<Self::Offset>>;

    /// Fixes the end for `available-now`: from now on `plan` never passes the position returned. The default is what
    /// `plan` can see now without a limit.
    ///
    /// # Errors
    /// As `plan`.
    async fn freeze(&mut self, start: &Self::Offset) -> Result<Self::Offset> {
        Ok(self.plan(start, &ReadLimit::NONE).await?.latest)
    }

    /// Returns when `plan(after)` may give more than `after`. The default waits 10 ms (Spark: `pollingDelay`).
    ///
    /// # Errors
    /// As `plan`.
    async fn ready(&mut self, after: &Self::Offset) -> Result<()> {
        let _ = after;
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(())
    }

    /// Cuts a range into at most `max` pieces of one partition each (more if there are more partitions), ordered by
    /// partition and position. The default is one piece.
    fn splits(&self, range: OffsetRange<Self::Offset>, max: usize) -> Vec<Split<Self::Offset>> {
        let _ = max;
        vec![Split { range, partition: PartitionId::only(), bytes: None }]
    }

    /// The rows of a split: a function of the split alone where `replay` says so. May run beside the next `plan`.
    ///
    /// # Errors
    /// `Transient` if it may work later, `Config` if the range is lost. The stream's items fail alike.
    async fn read(&self, split: Split<Self::Offset>) -> Result<BatchStream>;

    /// Advice: nothing up to `through` will be read again.
    ///
    /// # Errors
    /// Are logged and nothing else.
    async fn commit(&mut self, through: &Self::Offset) -> Result<()> {
        let _ = through;
        Ok(())
    }

    /// Numbers for `QueryProgress.sources[].metrics`.
    fn metrics(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// One line for `QueryProgress.sources[].description`.
    fn describe(&self) -> String;
}
