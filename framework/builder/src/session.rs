//! `Session`: where streams come from and where their queries run (Spark: `SparkSession`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{Clock, Error, MemoryBudget, Registry, Result, SystemClock};
use tidegate_engine::{Environment, MEMORY_BYTES, Problem, QueryPlan, failed};
use tidegate_epoch::{Faults, Query, QueryProgress, StopSignal};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::lineage::{Lineage, Sql, Step, Tables, is_name, quoted};
use crate::manager::{Listener, ListenerId, Manager, Reserved};
use crate::read::StreamReader;
use crate::running::{Outcome, StreamingQuery};
use crate::stream::Stream;
use crate::write::StreamWriter;

/// The connectors that queries may use, what they run in, and the queries themselves. Clones are the same session.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    settings: SessionBuilder,
    manager: Arc<Manager>,
}

/// Settings of a session.
#[must_use = "the session comes from build"]
pub struct SessionBuilder {
    registry: Registry,
    clock: Arc<dyn Clock>,
    io: Option<Handle>,
    memory_bytes: u64,
    checkpoints: Option<String>,
    data_dir: PathBuf,
}

impl SessionBuilder {
    /// The runtime for network and disk. Queries compute on the one that calls `start`; with a second one for this a query
    /// that computes never holds up a commit or a heartbeat. Absent: the same.
    pub fn io(mut self, handle: Handle) -> Self {
        self.io = Some(handle);
        self
    }

    /// Where time comes from; absent: the system.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What each query may hold in memory, in bytes; absent: 4 GiB.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// The folder, or URL of an object store, below which checkpoints of queries lie that name none.
    pub fn checkpoints(mut self, location: &str) -> Self {
        self.checkpoints = Some(location.to_owned());
        self
    }

    /// Where relative paths begin; absent: the current folder.
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data_dir = folder.into();
        self
    }

    /// The session.
    pub fn build(self) -> Session {
        if let Some(io) = &self.io {
            tidegate_storage::run_requests_on(io.clone());
        }
        Session(Arc::new(Inner { settings: self, manager: Arc::default() }))
    }
}

impl Session {
    /// A session with the defaults.
    pub fn new(registry: Registry) -> Self {
        Self::builder(registry).build()
    }

    /// A session with settings of its own.
    pub fn builder(registry: Registry) -> SessionBuilder {
        SessionBuilder {
            registry,
            clock: Arc::new(SystemClock::default()),
            io: None,
            memory_bytes: MEMORY_BYTES,
            checkpoints: None,
            data_dir: PathBuf::from("."),
        }
    }

    /// A source that grows, under the name by which SQL and the checkpoint know it (Spark: `readStream`).
    pub fn read_stream(&self, name: &str) -> StreamReader {
        StreamReader::new(self.clone(), name, false)
    }

    /// A source that is read whole in each epoch (Spark: `read`).
    pub fn read(&self, name: &str) -> StreamReader {
        StreamReader::new(self.clone(), name, true)
    }

    /// A query over streams, by the names given here.
    ///
    /// # Errors
    /// `Config` if a name is none.
    pub fn sql<'s>(&self, text: &str, streams: impl IntoIterator<Item = (&'s str, &'s Stream)>) -> Result<Stream> {
        let mut tables = Vec::new();
        for (name, stream) in streams {
            if !is_name(name) {
                return Err(Error::config(format!(
                    "table '{name}': expected a name of letters, digits, '_' and '-', a digit not first"
                )));
            }
            let lineage = match stream.lineage() {
                // A name below another one must not be one of those given here.
                it if matches!(&*it, Lineage::Source(_)) => {
                    let sql = Sql::text("SELECT * FROM ").and(Sql::table(&it));
                    Arc::new(Lineage::Step(Step::new("input", sql)))
                }
                it => it,
            };
            let table = Sql::text(format!("{} AS (SELECT * FROM ", quoted(name))).and(Sql::table(&lineage)).then(")");
            tables.push(table);
        }
        let lineage = Arc::new(Lineage::Step(Step::new("sql", with_tables(text, tables))));
        Ok(Stream::table(self.clone(), lineage, None))
    }

    /// A sink of the rows that operators drop as late (`late.rows.sink` of a pipeline file), for
    /// [`StreamWriter::and`](crate::StreamWriter::and).
    pub fn late_rows(&self) -> StreamWriter {
        StreamWriter::new(self.clone(), None)
    }

    /// The queries that run now.
    pub fn active(&self) -> Vec<StreamingQuery> {
        self.0.manager.active()
    }

    /// The running query of a name.
    pub fn query(&self, name: &str) -> Option<StreamingQuery> {
        self.active().into_iter().find(|it| it.name() == name)
    }

    /// Waits until a query has ended since the session began or was reset.
    ///
    /// # Errors
    /// What a query failed with, with its name.
    pub async fn await_any_termination(&self) -> Result<()> {
        self.0.manager.await_any().await
    }

    /// The same, at most so long; true if one has ended.
    ///
    /// # Errors
    /// As `await_any_termination`.
    pub async fn await_any_termination_within(&self, timeout: Duration) -> Result<bool> {
        match tokio::time::timeout(timeout, self.await_any_termination()).await {
            Ok(ended) => ended.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Forgets queries that have ended, for the next `await_any_termination`.
    pub fn reset_terminated(&self) {
        self.0.manager.reset();
    }

    /// From now on the listener hears of all queries.
    pub fn add_listener(&self, listener: impl Listener) -> ListenerId {
        self.0.manager.add_listener(Arc::new(listener))
    }

    /// From now on it does not.
    pub fn remove_listener(&self, id: ListenerId) {
        self.0.manager.remove_listener(id);
    }

    /// Stops all queries, each after its running epoch, and waits for them.
    pub async fn stop(&self) {
        let active = self.active();
        futures::future::join_all(active.iter().map(StreamingQuery::stop)).await;
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.settings.registry
    }

    pub(crate) fn manager(&self) -> &Arc<Manager> {
        &self.0.manager
    }

    pub(crate) fn checkpoints(&self) -> Option<&str> {
        self.0.settings.checkpoints.as_deref()
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.0.settings.data_dir
    }

    /// Takes the checkpoint, builds the connectors and lets the query run.
    pub(crate) async fn run(&self, plan: QueryPlan, name: Reserved) -> Result<StreamingQuery> {
        let (settings, manager) = (&self.0.settings, self.0.manager.clone());
        let cancel = CancellationToken::new();
        // What the connectors have started ends with the query, however that ends.
        let connectors = cancel.clone().drop_guard();
        let compute = Handle::current();
        let within = about(plan.name());
        let environment = Environment {
            clock: settings.clock.clone(),
            io: settings.io.clone().unwrap_or_else(|| compute.clone()),
            memory: MemoryBudget::new(settings.memory_bytes),
            cancel,
            listeners: vec![{
                let manager = manager.clone();
                Box::new(move |progress: &QueryProgress| manager.progressed(progress))
            }],
            faults: Faults::default(),
        };
        let query = plan.build(environment).await.map_err(|e| e.within(&within))?;
        let (stop, (end, ended)) = (StopSignal::default(), watch::channel(None));
        let running = StreamingQuery::new(query.handle(), stop.clone(), ended);
        manager.started(&running, settings.clock.now_ms());
        let (work, worker) = (Box::pin(run_to_end(query, stop)), compute.clone());
        let ending = running.clone();
        compute.spawn(async move {
            let outcome = worker.spawn(work).await;
            drop(connectors);
            let outcome = outcome.unwrap_or_else(|e| Err(Error::internal("the query broke off").because(e)));
            let outcome: Outcome = outcome.map_err(|e| Arc::new(failed(e, &within)));
            manager.ending(&ending, outcome.as_ref().err().map(ToString::to_string));
            drop(name);
            manager.ended(&ending, outcome, &end);
        });
        Ok(running)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("active", &self.active()).finish_non_exhaustive()
    }
}

/// When this is done the query is gone, and its checkpoint free.
async fn run_to_end(mut query: Query, stop: StopSignal) -> Result<()> {
    query.run(&stop).await
}

fn about(name: &str) -> String {
    if name.is_empty() { "a query without a name".to_owned() } else { format!("query '{name}'") }
}

/// All that is wrong with a query as one error, a line each.
pub(crate) fn refused(problems: &[Problem], tables: &Tables) -> Error {
    let lines = problems.iter().map(|it| format!("{}: {}", tables.place(&it.place), it.message));
    Error::config(lines.collect::<Vec<_>>().join("\n"))
}

/// The tables in front of the text, among those that it brings along itself.
fn with_tables(text: &str, tables: Vec<Sql>) -> Sql {
    if tables.is_empty() {
        return Sql::text(text);
    }
    let mut sql = Sql::default();
    for (at, table) in tables.into_iter().enumerate() {
        sql = sql.then(if at == 0 { "WITH " } else { ", " }).and(table);
    }
    let text = text.trim_start();
    let own = text.get(..4).filter(|it| it.eq_ignore_ascii_case("with")).and_then(|_| text.get(4..));
    match own.filter(|it| it.starts_with(char::is_whitespace)) {
        Some(rest) => sql.then(",\n").then(rest.trim_start()),
        None => sql.then("\n").then(text),
    }
}
