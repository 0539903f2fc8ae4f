//! What a query is, as the runtime or the Rust builder says it: sources, views, sinks and options. Plain data.

use std::path::PathBuf;
use std::time::Duration;

use arrow_schema::SchemaRef;
use tidegate_api::{OutputMode, Settings};
use tidegate_epoch::{Tolerance, Trigger, WatermarkPolicy};
use tidegate_sql::Extensions;
use tidegate_storage::{Location, StoreOptions};

use crate::user::ProcessSpec;

/// A whole query.
#[derive(Clone, Debug)]
pub struct QuerySpec {
    /// Its name; unique among running queries.
    pub name: String,
    /// Where rows come from. Names are unique without regard to case, over sources and views.
    pub sources: Vec<SourceSpec>,
    /// Named queries over sources and earlier views.
    pub views: Vec<ViewSpec>,
    /// Where rows go.
    pub sinks: Vec<SinkPart>,
    /// Everything else.
    pub options: QueryOptions,
}

/// One source of a query.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// The table's name in SQL.
    pub name: String,
    /// `connector.class`.
    pub connector: String,
    /// The connector's own settings.
    pub settings: Settings,
    /// How records become rows (`value.format`); absent: as the connector says.
    pub format: Option<ValueFormat>,
    /// What to do with a record that can't be decoded (`value.mode`).
    pub mode: ValueMode,
    /// The declared columns (`schema`).
    pub schema: Option<SchemaRef>,
    /// The event-time column (`watermark`).
    pub watermark: Option<WatermarkSpec>,
    /// Read whole in each epoch (`static`).
    pub is_static: bool,
}

/// How a record's value becomes columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueFormat {
    /// Not at all: the source's own columns.
    Raw,
    /// A JSON document a record, by the declared schema.
    Json,
    /// One column `value` STRING.
    Text,
}

/// What to do with a record that can't be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValueMode {
    /// A malformed document gives nulls, a wrong field null (Spark: `PERMISSIVE`).
    #[default]
    Permissive,
    /// The query fails (Spark: `FAILFAST`), unless errors are tolerated.
    Fail,
    /// The record is left out (Spark: `DROPMALFORMED`).
    Drop,
}

/// A watermark as declared: `{ column: ts, delay: 10 minutes }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkSpec {
    /// The event-time column.
    pub column: String,
    /// The delay as written; read by the planner, which refuses a negative one.
    pub delay: String,
    /// `idle.timeout`: after so long without new rows it holds no other watermark back; nothing: it always does.
    pub idle_timeout: Option<Duration>,
}

/// A named query.
#[derive(Clone, Debug)]
pub struct ViewSpec {
    /// The table's name in SQL.
    pub name: String,
    /// The query.
    pub sql: String,
    /// The event-time column.
    pub watermark: Option<WatermarkSpec>,
    /// Only the first row of each key is in it.
    pub deduplicate: Option<DeduplicateSpec>,
    /// It is what user code makes of the rows of the query.
    pub process: Option<ProcessSpec>,
}

/// A deduplication as declared: `deduplicate: [id]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeduplicateSpec {
    /// The columns that make two rows the same.
    pub columns: Vec<String>,
    /// `deduplicate.within.watermark`: a key is new again when the watermark has passed its first time plus the delay.
    pub within_watermark: bool,
}

/// One sink of a query.
#[derive(Clone, Debug)]
pub struct SinkPart {
    /// Its name: part of the writer id.
    pub name: String,
    /// `connector.class`.
    pub connector: String,
    /// The connector's own settings.
    pub settings: Settings,
    /// Which rows it gets.
    pub mode: OutputMode,
    /// What it gets.
    pub input: SinkInput,
    /// Its failure never holds up the others (`best.effort`).
    pub best_effort: bool,
}

/// What a sink reads.
#[derive(Clone, Debug)]
pub enum SinkInput {
    /// A query over sources and views.
    Sql(String),
    /// A source or view as it is.
    From(String),
    /// The rows that the query's stateful operators drop since they are late (`late.rows.sink`), as
    /// [`crate::late_rows_schema`] has them; in append mode.
    LateRows,
}

/// Settings of the query itself, with their defaults.
#[derive(Clone, Debug)]
pub struct QueryOptions {
    /// Where the checkpoint lies (`checkpoint.location`).
    pub checkpoint: Location,
    /// `storage.*`: the settings of the object store that it lies on. They may hold secrets.
    pub storage: StoreOptions,
    /// Where relative paths of connectors begin.
    pub data_dir: PathBuf,
    /// `trigger`.
    pub trigger: Trigger,
    /// `watermark.policy`, for a query without checkpoint.
    pub watermark_policy: WatermarkPolicy,
    /// `emit.on.watermark: same-epoch`: what an epoch's own rows close is emitted in it, and not in the next one.
    pub emit_in_same_epoch: bool,
    /// `watermark.on.add: follow`: a watermark that is added to a checkpoint holds no other one back until it has caught up.
    pub follow_when_added: bool,
    /// What is allowed beyond Spark's rules (`update.mode`, `count.distinct`, `chained.aggregates`).
    pub extensions: Extensions,
    /// `watermark.max.ahead`: rows whose event time is further ahead of the epoch's clock move no watermark and are late.
    pub max_ahead: Option<Duration>,
    /// `no.data.epochs`.
    pub no_data_epochs: bool,
    /// `max.rows.per.epoch`, by source.
    pub max_rows_per_epoch: Option<u64>,
    /// `max.bytes.per.epoch`, by source.
    pub max_bytes_per_epoch: Option<u64>,
    /// `target.latency`: about how long an epoch with rows is to take; how many it reads follows from that.
    pub target_latency: Option<Duration>,
    /// `min.epochs.to.retain`.
    pub min_epochs_to_retain: u64,
    /// `checkpoint.interval`: the least time between epochs; nothing: none on a local disk, 500 ms on an object store.
    pub checkpoint_interval: Option<Duration>,
    /// `lease.timeout`: how long a silent owner of a checkpoint on an object store is waited for.
    pub lease_timeout: Duration,
    /// Takes the checkpoint from its owner, who is known to be dead.
    pub take_over: bool,
    /// Makes a copied checkpoint a query of its own.
    pub adopt: bool,
    /// `shutdown.timeout`.
    pub shutdown_timeout: Duration,
    /// `tasks.max`: splits read side by side; 0: one a core.
    pub tasks_max: usize,
    /// `on.end: flush`: the last epoch of available-now takes the watermark to the end of time.
    pub flush_on_end: bool,
    /// `stage.outputs`: several atomic sinks get the same rows even if an epoch is cut short.
    pub stage_outputs: bool,
    /// `state.memory`: bytes of state that stay in memory, what is more goes to local disk; nothing: all stays.
    pub state_memory: Option<u64>,
    /// `state.spill.dir`: where that is; nothing: in the checkpoint's folder, or the system's for temporary files.
    pub state_spill_dir: Option<PathBuf>,
    /// What becomes of rows that can't be used.
    pub errors: ErrorOptions,
}

/// What becomes of rows that a sink does not take, and of records that can't be decoded in [`ValueMode::Fail`].
#[derive(Clone, Debug, Default)]
pub struct ErrorOptions {
    /// `errors.tolerance`.
    pub tolerance: Tolerance,
    /// `errors.log.enable`: each one is logged.
    pub log: bool,
    /// `dead.letters`: where they go if they are tolerated; nothing: they are counted and dropped.
    pub letters: Option<LetterSink>,
}

/// The sink of dead letters, which gets rows of [`tidegate_epoch::dead_letter_schema`] in append mode.
#[derive(Clone, Debug)]
pub struct LetterSink {
    /// `connector.class`.
    pub connector: String,
    /// The connector's own settings.
    pub settings: Settings,
}

/// What an epoch's requests to an object store are worth.
const REMOTE_INTERVAL: Duration = Duration::from_millis(500);

impl QueryOptions {
    /// The least time from the beginning of an epoch to that of the next.
    pub fn least_interval(&self) -> Duration {
        let default = if self.checkpoint.local().is_some() { Duration::ZERO } else { REMOTE_INTERVAL };
        self.checkpoint_interval.unwrap_or(default)
    }

    /// The defaults, with the checkpoint in `checkpoint`.
    pub fn new(checkpoint: Location) -> Self {
        Self {
            checkpoint,
            storage: StoreOptions::new(),
            data_dir: PathBuf::from("."),
            trigger: Trigger::Default,
            watermark_policy: WatermarkPolicy::Min,
            emit_in_same_epoch: false,
            follow_when_added: false,
            extensions: Extensions::default(),
            max_ahead: None,
            no_data_epochs: true,
            max_rows_per_epoch: None,
            max_bytes_per_epoch: None,
            target_latency: None,
            min_epochs_to_retain: 100,
            checkpoint_interval: None,
            lease_timeout: Duration::from_secs(15),
            take_over: false,
            adopt: false,
            shutdown_timeout: Duration::from_secs(30),
            tasks_max: 0,
            flush_on_end: false,
            stage_outputs: true,
            state_memory: None,
            state_spill_dir: None,
            errors: ErrorOptions::default(),
        }
    }
}
