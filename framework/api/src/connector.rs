//! Connectors: what can be named in `connector.class`, how it is configured and built.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::batch_sink::BatchSink;
use crate::clock::Clock;
use crate::config::{ConfigDef, ConfigIssue};
use crate::error::{Error, Result};
use crate::import::{Imported, SparkPosition};
use crate::sink::{Guarantee, QueryId, Sink, SinkSpec};
use crate::source::{Payload, Replay, Source};

/// A small durable log for what a source must remember beside its offsets (Spark: `sources/<i>/…`). The engine gives
/// one to each connector; a test may write its own.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
/// use tidegate_api::prelude::*;
///
/// #[derive(Default)]
/// struct MemoryLog(Mutex<BTreeMap<String, Vec<u8>>>);
///
/// #[async_trait]
/// impl MetadataLog for MemoryLog {
///     async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
///         Ok(self.0.lock().unwrap().get(key).cloned())
///     }
///     async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
///         let mut entries = self.0.lock().unwrap();
///         let new = !entries.contains_key(key);
///         entries.entry(key.to_owned()).or_insert_with(|| bytes.to_vec());
///         Ok(new)
///     }
///     async fn list(&self) -> Result<Vec<String>> {
///         Ok(self.0.lock().unwrap().keys().cloned().collect())
///     }
///     async fn remove(&self, key: &str) -> Result<()> {
///         self.0.lock().unwrap().remove(key);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait MetadataLog: Send + Sync + 'static {
    /// The bytes under `key`, if any.
    ///
    /// # Errors
    /// `Transient` if the store fails.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>>;

    /// Writes `bytes` under `key` if it is new; false if it was there.
    ///
    /// # Errors
    /// `Transient` if the store fails.
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool>;

    /// All keys, sorted as text.
    ///
    /// # Errors
    /// `Transient` if the store fails.
    async fn list(&self) -> Result<Vec<String>>;

    /// Forgets `key`.
    ///
    /// # Errors
    /// `Transient` if the store fails.
    async fn remove(&self, key: &str) -> Result<()>;
}

/// Counts the bytes that a query holds, against a limit.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    used: Arc<AtomicU64>,
    limit: u64,
}

/// Bytes counted against a [`MemoryBudget`] until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    used: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// Counts `bytes`, or gives nothing if that would pass the limit.
    pub fn try_reserve(&self, bytes: u64) -> Option<Reservation> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let reservation = Reservation { used: self.used.clone(), bytes };
        (before.saturating_add(bytes) <= self.limit).then_some(reservation)
    }

    /// Bytes counted now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

/// Whether this process still owns the query's checkpoint.
#[async_trait]
pub trait Ownership: Send + Sync + 'static {
    /// For a sink that is about to fence others (a new producer with an old transactional id).
    ///
    /// # Errors
    /// `Fenced` if another owner has taken over: then nothing may be fenced, committed or deleted.
    async fn check(&self) -> Result<()>;
}

/// A query without a checkpoint: there is nothing to lose.
struct Unowned;

#[async_trait]
impl Ownership for Unowned {
    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// What the engine hands to a connector when it is built.
#[non_exhaustive]
#[derive(Clone)]
pub struct ConnectorContext {
    /// The query's name.
    pub query: Arc<str>,
    /// The source's or sink's name in the query.
    pub name: Arc<str>,
    /// The query's identity.
    pub query_id: QueryId,
    /// The columns declared by the key `schema`.
    pub schema: Option<SchemaRef>,
    /// The source's own log in the checkpoint; sinks get one too.
    pub log: Arc<dyn MetadataLog>,
    /// Whether this process may still act for the query.
    pub owner: Arc<dyn Ownership>,
    /// Where relative local paths begin.
    pub data_dir: PathBuf,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Cancelled when the query stops: long waits must end then.
    pub cancel: CancellationToken,
    /// The query's memory.
    pub memory: MemoryBudget,
    /// The runtime for network and disk.
    pub io: tokio::runtime::Handle,
}

impl ConnectorContext {
    /// A context with the system's clock, 256 MiB and the current directory; the fields are public for the rest.
    ///
    /// # Panics
    /// Outside a tokio runtime, as `Handle::current` does.
    pub fn new(query: &str, name: &str, query_id: QueryId, log: Arc<dyn MetadataLog>) -> Self {
        Self {
            query: query.into(),
            name: name.into(),
            query_id,
            schema: None,
            log,
            owner: Arc::new(Unowned),
            data_dir: PathBuf::from("."),
            clock: Arc::new(crate::clock::SystemClock::default()),
            cancel: CancellationToken::new(),
            memory: MemoryBudget::new(256 << 20),
            io: tokio::runtime::Handle::current(),
        }
    }
}

/// A kind of source. The crate's front page has a whole one.
#[async_trait]
pub trait SourceConnector: Send + Sync + 'static {
    /// Its short name in `connector.class`.
    const NAME: &'static str;
    /// Its settings.
    type Config: ConfigDef;
    /// What it builds.
    type Source: Source;

    /// What the derive can't see: settings that exclude each other. No I/O.
    fn validate(config: &Self::Config) -> Vec<ConfigIssue> {
        let _ = config;
        Vec::new()
    }

    /// Why it can't be read as a stream, and what to do instead, if so: then it is for static tables alone.
    fn only_static() -> Option<&'static str> {
        None
    }

    /// What the source will deliver, as far as settings and declared columns tell. No I/O: for `validate` and `explain`.
    /// `None` if they don't tell; then the declared columns are taken for it.
    fn payload(config: &Self::Config, declared: Option<&SchemaRef>) -> Option<Payload> {
        let _ = (config, declared);
        None
    }

    /// True if the outside system can be asked for the columns, where neither settings nor a declaration tell them.
    fn tells_columns() -> bool {
        false
    }

    /// Asks for them, before a query that is to run is planned. I/O yes. Not called unless [`tells_columns`](Self::tells_columns).
    ///
    /// # Errors
    /// `Config` if the system can't be asked like this, `Transient` if it is away.
    async fn columns(config: Self::Config) -> Result<SchemaRef> {
        drop(config);
        Err(Error::internal(format!("a source of kind '{}' is asked for columns that it does not know", Self::NAME)))
    }

    /// Whether the built source will give the same rows for the same range. No I/O: for `explain`.
    fn replay(config: &Self::Config) -> Replay {
        let _ = config;
        Replay::Deterministic
    }

    /// The `value.format` to use where the user gave none (`json` for files of JSON lines). `None`: raw.
    fn value_format(config: &Self::Config) -> Option<&'static str> {
        let _ = config;
        None
    }

    /// Reads where Spark's source of this kind stands, for `tidegate checkpoint import`. Nothing: Spark has not settled
    /// where it begins, so it begins as a new one. The default knows no source of Spark's that is alike.
    ///
    /// # Errors
    /// `Config` if that can't be read, naming what was found.
    async fn import(
        config: Self::Config,
        found: &SparkPosition,
    ) -> Result<Option<Imported<<Self::Source as Source>::Offset>>> {
        let _ = (config, found);
        Err(Error::config(format!("a source of kind '{}' can't go on from a position of Spark's", Self::NAME)))
    }

    /// Builds the source. I/O yes, spawning no.
    ///
    /// # Errors
    /// `Config` if the settings can't work, `Transient` if the outside system is away.
    async fn build(config: Self::Config, ctx: &ConnectorContext) -> Result<Self::Source>;
}

/// A kind of sink; see [`Sink`] for a whole one.
#[async_trait]
pub trait SinkConnector: Send + Sync + 'static {
    /// Its short name in `connector.class`.
    const NAME: &'static str;
    /// Its settings.
    type Config: ConfigDef;
    /// What it builds.
    type Sink: Sink;

    /// What is wrong with these settings for these rows. No I/O: for `validate` and `explain`.
    fn accepts(config: &Self::Config, spec: &SinkSpec) -> Vec<ConfigIssue> {
        let _ = (config, spec);
        Vec::new()
    }

    /// What the built sink will promise when an epoch is repeated; `None` if the settings don't tell. No I/O.
    fn guarantee(config: &Self::Config) -> Option<Guarantee> {
        let _ = config;
        None
    }

    /// Builds the sink. I/O yes, spawning no.
    ///
    /// # Errors
    /// `Config` if the settings can't work, `Transient` if the outside system is away.
    async fn build(config: Self::Config, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<Self::Sink>;
}

/// A kind of sink that takes each epoch in one call.
///
/// ```
/// use tidegate_api::prelude::*;
///
/// /// Settings of the `null` sink.
/// #[derive(ConfigDef)]
/// struct NullConfig {}
///
/// /// Drops all rows.
/// struct Null;
///
/// #[async_trait]
/// impl BatchSink for Null {
///     async fn add_batch(&mut self, _epoch: &Epoch, _rows: EpochRows) -> Result<CommitOutcome> {
///         Ok(CommitOutcome::Committed)
///     }
/// }
///
/// #[async_trait]
/// impl BatchSinkConnector for Null {
///     const NAME: &'static str = "null";
///     type Config = NullConfig;
///     type Sink = Null;
///     async fn build(_config: NullConfig, _spec: &SinkSpec, _ctx: &ConnectorContext) -> Result<Null> {
///         Ok(Null)
///     }
/// }
///
/// assert!(Registry::new().batch_sink::<Null>().find_sink("null").is_ok());
/// ```
#[async_trait]
pub trait BatchSinkConnector: Send + Sync + 'static {
    /// Its short name in `connector.class`.
    const NAME: &'static str;
    /// Its settings.
    type Config: ConfigDef;
    /// What it builds.
    type Sink: BatchSink;

    /// What is wrong with these settings for these rows. No I/O.
    fn accepts(config: &Self::Config, spec: &SinkSpec) -> Vec<ConfigIssue> {
        let _ = (config, spec);
        Vec::new()
    }

    /// Builds the sink. I/O yes, spawning no.
    ///
    /// # Errors
    /// `Config` if the settings can't work, `Transient` if the outside system is away.
    async fn build(config: Self::Config, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<Self::Sink>;
}
