//! `Sink`: writes the rows of an epoch and makes them visible at once.
//!
//! The loop that calls it, once an epoch:
//! ```text
//! writer = sink.writer(&epoch, task)            // one a task
//! writer.write(batch) …                          // as rows come
//! part = writer.prepare()                        // all is durable, nothing is visible
//! …offsets/N, manifest N and state N durable; ownership checked…
//! sink.commit(&epoch, parts, positions)          // visible; called again with the same parts if the outcome is unknown
//! …commits/N…
//! ```

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};
use crate::offset::OffsetJson;

/// The identity of a query: minted with its checkpoint, never reused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueryId(pub Arc<str>);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of a sink's output everywhere outside (Delta's appId, Kafka's transactional id, file manifests):
/// `<query id>/<sink name>[/<shard>]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WriterId {
    /// The query.
    pub query_id: QueryId,
    /// The sink's name in the query.
    pub sink: Arc<str>,
    /// The share of a query that is split over workers.
    pub shard: Option<u32>,
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.query_id, self.sink)?;
        self.shard.map_or(Ok(()), |shard| write!(f, "/{shard}"))
    }
}

/// One try at an epoch: `<generation>.<n>`. The generation says who owned the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct AttemptId {
    /// Rises with every owner of the checkpoint.
    pub generation: u64,
    /// Counts the tries of that owner.
    pub n: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.n)
    }
}

impl From<AttemptId> for String {
    fn from(attempt: AttemptId) -> Self {
        attempt.to_string()
    }
}

impl FromStr for AttemptId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        text.split_once('.')
            .and_then(|(generation, n)| Some(Self { generation: generation.parse().ok()?, n: n.parse().ok()? }))
            .ok_or_else(|| Error::data(format!("attempt '{text}': expected <generation>.<n>")))
    }
}

impl TryFrom<String> for AttemptId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// An epoch as a sink sees it. All times come from the epoch's log record, so a repeated epoch sees the same ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its number in the query, never reused.
    pub number: u64,
    /// Which try this is.
    pub attempt: AttemptId,
    /// The epoch's clock, milliseconds since 1970.
    pub time_ms: i64,
    /// The epoch's write time, microseconds since 1970; rises from epoch to epoch.
    pub write_time_us: i64,
    /// The watermark that the epoch runs with, milliseconds since 1970.
    pub watermark_ms: Option<i64>,
}

/// Which rows of the result a sink gets (Spark: `OutputMode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputMode {
    /// Rows that will never change.
    #[default]
    Append,
    /// Rows that changed in this epoch.
    Update,
    /// The whole result, each epoch.
    Complete,
}

impl fmt::Display for OutputMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Append => "append",
            Self::Update => "update",
            Self::Complete => "complete",
        })
    }
}

impl FromStr for OutputMode {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "append" => Ok(Self::Append),
            "update" => Ok(Self::Update),
            "complete" => Ok(Self::Complete),
            _ => Err(Error::config(format!("output mode '{text}': expected append, update or complete"))),
        }
    }
}

/// How the rows of an epoch change the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Each row is new.
    Append,
    /// A row replaces the one with the same keys.
    Upsert,
    /// The last column, `_change` (Int8), says +1 or -1.
    Retract,
}

/// What a sink will be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSpec {
    /// The columns of every batch.
    pub schema: SchemaRef,
    /// Which rows come.
    pub mode: OutputMode,
    /// The columns that identify a row (the grouping keys); empty if none do.
    pub keys: Vec<usize>,
    /// How rows change the result.
    pub changes: Changes,
    /// Most writers in one epoch.
    pub tasks: u32,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The rows are visible now.
    Committed,
    /// They were already, by this attempt if the sink knows it.
    AlreadyCommitted {
        /// The attempt whose rows are visible.
        attempt: Option<AttemptId>,
    },
}

/// What a sink promises when an epoch is repeated. Ordered from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// Rows may come twice.
    AtLeastOnce,
    /// A repeat overwrites; readers may see part of an epoch.
    Idempotent,
    /// An epoch becomes visible whole, once.
    Transactional,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeastOnce => "at least once",
            Self::Idempotent => "exactly once (idempotent)",
            Self::Transactional => "exactly once (transactional)",
        })
    }
}

/// How the rows of an epoch get from the operators to the outside.
///
/// In a query with one atomic sink nothing needs to be staged: a pending epoch is computed again. With several sinks, or
/// with input that can't be read again, what will be committed is staged in the checkpoint first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staging {
    /// The sink writes in one short step, once the epoch is logged: `writer`, `write`, `prepare` and `commit` follow
    /// each other, and the whole step is repeated if its outcome is unknown. The rows wait for it: in the checkpoint if
    /// the sink is not atomic ([`Guarantee::Transactional`]) or not alone, else in memory or in a temporary file.
    Rows,
    /// Rows are written as they come, and what `prepare` returns is durable: it can be committed after a restart, by
    /// `commit` alone. It is staged if the sink is not alone.
    Committable,
    /// Rows are written as they come, but what `prepare` returns dies with the process. If the sink is not alone, it is
    /// treated like [`Staging::Rows`].
    None,
}

/// Where a source stands after an epoch; for sinks that commit it with their rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePosition {
    /// The source's name in the query.
    pub source: Arc<str>,
    /// The end of the epoch.
    pub offset: OffsetJson,
}

/// A row that the sink can't take.
#[derive(Debug)]
pub struct Rejected {
    /// Its place in the batch.
    pub row: usize,
    /// Why.
    pub error: Error,
}

/// The write side of a connector.
///
/// `prepare` leaves only what a reader can't see, under a name made of writer id, epoch, task and attempt. `commit` is
/// called again with the same parts when its outcome is unknown, also after a restart.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use tidegate_api::prelude::*;
///
/// /// Settings of the `count` sink.
/// #[derive(ConfigDef)]
/// struct CountConfig {}
///
/// /// Counts rows; an epoch that comes twice counts once.
/// struct Count(Arc<Mutex<(Option<u64>, usize)>>);
///
/// struct CountWriter(usize);
///
/// #[async_trait]
/// impl SinkWriter for CountWriter {
///     type Committable = usize;
///     async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
///         self.0 += batch.num_rows();
///         Ok(Vec::new())
///     }
///     async fn prepare(self) -> Result<usize> {
///         Ok(self.0)
///     }
/// }
///
/// #[async_trait]
/// impl Sink for Count {
///     type Committable = usize;
///     type Writer = CountWriter;
///     fn guarantee(&self) -> Guarantee {
///         Guarantee::Transactional
///     }
///     async fn open(&mut self, _writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
///         Ok(None)
///     }
///     async fn writer(&self, _epoch: &Epoch, _task: u32) -> Result<CountWriter> {
///         Ok(CountWriter(0))
///     }
///     async fn commit(&self, epoch: &Epoch, parts: Vec<usize>, _: &[SourcePosition]) -> Result<CommitOutcome> {
///         let mut seen = self.0.lock().unwrap();
///         if seen.0.is_some_and(|last| last >= epoch.number) {
///             return Ok(CommitOutcome::AlreadyCommitted { attempt: None });
///         }
///         *seen = (Some(epoch.number), seen.1 + parts.iter().sum::<usize>());
///         Ok(CommitOutcome::Committed)
///     }
///     fn describe(&self) -> String {
///         "count".into()
///     }
/// }
///
/// #[async_trait]
/// impl SinkConnector for Count {
///     const NAME: &'static str = "count";
///     type Config = CountConfig;
///     type Sink = Count;
///     async fn build(_config: CountConfig, _spec: &SinkSpec, _ctx: &ConnectorContext) -> Result<Count> {
///         Ok(Count(Arc::default()))
///     }
/// }
///
/// let sink = Registry::new().sink::<Count>().find_sink("Count").unwrap();
/// assert_eq!(sink.name(), "count");
/// ```
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// What `prepare` hands to `commit`; may be kept in the checkpoint between them.
    type Committable: Serialize + DeserializeOwned + Send + 'static;
    /// Writes the rows of one task.
    type Writer: SinkWriter<Committable = Self::Committable>;

    /// What the sink promises when an epoch is repeated.
    fn guarantee(&self) -> Guarantee;

    /// How rows get into it.
    fn staging(&self) -> Staging {
        Staging::None
    }

    /// True for a sink whose failure or repetition must not hold up the others (console).
    fn best_effort(&self) -> bool {
        false
    }

    /// Sinks of equal groups (one Kafka cluster) are committed by one call on the first, with all their parts.
    fn commit_group(&self) -> Option<String> {
        None
    }

    /// Fences writers of the same identity that may still live, and tells the last epoch that they committed.
    ///
    /// # Errors
    /// `Fenced` if a newer owner has been here, `Transient` while the outside system can't tell.
    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>>;

    /// A writer for one task of an epoch.
    ///
    /// # Errors
    /// As the outside system.
    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<Self::Writer>;

    /// Makes the parts visible, all or none.
    ///
    /// # Errors
    /// `Transient` with an unknown outcome: the call is repeated. `Fenced` if a newer owner has been here.
    async fn commit(
        &self,
        epoch: &Epoch,
        parts: Vec<Self::Committable>,
        positions: &[SourcePosition],
    ) -> Result<CommitOutcome>;

    /// Drops what was prepared for an epoch that will not be committed by this attempt.
    ///
    /// # Errors
    /// Are logged and nothing else.
    async fn abort(&self, epoch: &Epoch, parts: Vec<Self::Committable>) -> Result<()> {
        let _ = (epoch, parts);
        Ok(())
    }

    /// Looks whether something stands in the way of `restore`, and changes nothing: asked before a query goes back, so that
    /// it can be refused whole. Called after `open`. The default sees nothing.
    ///
    /// # Errors
    /// `Config` if `restore` would fail for good, saying why.
    async fn check_restore(&self, through: Option<u64>) -> Result<()> {
        let _ = through;
        Ok(())
    }

    /// Takes back what was committed after epoch `through` (nothing: all), for a query that goes back to it. False if the
    /// sink can't: then those rows stay, and come a second time. Called once, after `open`, while no epoch runs.
    ///
    /// # Errors
    /// As the outside system; the query then stays where it is.
    async fn restore(&mut self, through: Option<u64>) -> Result<bool> {
        let _ = through;
        Ok(false)
    }

    /// Compaction, checkpoints, vacuum: in the background, never inside `commit`.
    ///
    /// # Errors
    /// Are logged and nothing else.
    async fn maintain(&self, budget: Duration) -> Result<()> {
        let _ = budget;
        Ok(())
    }

    /// One line for `QueryProgress.sink.description`.
    fn describe(&self) -> String;
}

/// Writes the rows of one task of an epoch.
#[async_trait]
pub trait SinkWriter: Send + 'static {
    /// What `prepare` hands to `Sink::commit`.
    type Committable;

    /// Takes rows. What it can't take it gives back: the same rows whenever it is given the same.
    ///
    /// # Errors
    /// `Data` if the whole batch is unusable: then none of its rows was taken, and it may come again in pieces. Else as the
    /// outside system.
    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>>;

    /// True if rows are dropped since the sink shows the epoch already. What it rejects now counts for nothing then, and
    /// what it rejected when it took the epoch stands.
    fn is_shown(&self) -> bool {
        false
    }

    /// Makes all rows durable, none visible. Consumes the writer: a write after it does not compile.
    ///
    /// # Errors
    /// As the outside system.
    async fn prepare(self) -> Result<Self::Committable>;
}
