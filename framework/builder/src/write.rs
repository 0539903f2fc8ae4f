//! `StreamWriter`: from a stream to a running query.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_api::{BatchSink, DynSink, Epoch, EpochRows, Error, OutputMode, Result, Settings, foreach_batch};
use tidegate_engine::{QueryOptions, QueryPlan, QuerySpec, SinkInput, SinkPart};
use tidegate_epoch::Trigger;
use tidegate_storage::{Location, StoreOptions};

use crate::functions::{CLASS, Foreach, ForeachWriter, Functions, function};
use crate::lineage::{Lineage, Tables, is_name};
use crate::running::StreamingQuery;
use crate::session::{Session, refused};

/// The sink's name in the checkpoint and outside, as in a pipeline file with one sink.
const ONLY_SINK: &str = "sink";

/// Changes the options of a query.
type Change = Box<dyn FnOnce(&mut QueryOptions) + Send>;

/// Describes a sink and the query that feeds it (Spark: `DataStreamWriter`).
#[must_use = "nothing runs before start"]
pub struct StreamWriter {
    session: Session,
    query: String,
    checkpoint: Option<String>,
    storage: StoreOptions,
    changes: Vec<Change>,
    sinks: Vec<Output>,
}

/// One sink.
struct Output {
    name: String,
    /// None: what is dropped as late.
    lineage: Option<Arc<Lineage>>,
    connector: String,
    settings: Settings,
    mode: OutputMode,
    best_effort: bool,
    function: Option<Box<dyn DynSink>>,
}

impl StreamWriter {
    pub(crate) fn new(session: Session, lineage: Option<Arc<Lineage>>) -> Self {
        let sink = Output {
            name: ONLY_SINK.to_owned(),
            lineage,
            connector: String::new(),
            settings: Settings::default(),
            mode: OutputMode::default(),
            best_effort: false,
            function: None,
        };
        Self {
            session,
            query: String::new(),
            checkpoint: None,
            storage: StoreOptions::new(),
            changes: Vec::new(),
            sinks: vec![sink],
        }
    }

    /// The query's name, unique among those that run (Spark: `queryName`).
    pub fn query_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.query);
        self
    }

    /// The kind of sink: `connector.class` of a pipeline file (Spark: `format`).
    pub fn connector(self, class: &str) -> Self {
        self.sink(|it| class.clone_into(&mut it.connector))
    }

    /// A setting of the connector.
    pub fn option(self, key: &str, value: impl ToString) -> Self {
        self.sink(|it| it.settings.push(key, value.to_string()))
    }

    /// Settings of the connector.
    pub fn options<K: Into<String>, V: Into<String>>(self, options: impl IntoIterator<Item = (K, V)>) -> Self {
        self.sink(|it| options.into_iter().for_each(|(key, value)| it.settings.push(key, value)))
    }

    /// Which rows of the result the sink gets.
    pub fn output_mode(self, mode: OutputMode) -> Self {
        self.sink(|it| it.mode = mode)
    }

    /// The sink's failure never holds up the others of the query.
    pub fn best_effort(self) -> Self {
        self.sink(|it| it.best_effort = true)
    }

    /// The sink is a function, called with each epoch, its number among it, and its rows; also if there are none (Spark:
    /// `foreachBatch`). At least once: what it writes is there once only if it leaves out a number that it has seen.
    pub fn foreach_batch<F, R>(self, mut run: F) -> Self
    where
        F: FnMut(Epoch, EpochRows) -> R + Send + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.function("foreach_batch", foreach_batch(move |epoch, rows| Box::pin(run(epoch, rows))))
    }

    /// The sink is a writer, or a function that is called for each row (Spark: `foreach`). At least once.
    pub fn foreach(self, writer: impl ForeachWriter) -> Self {
        self.function("foreach", Foreach(writer))
    }

    /// The sink is this one, which says itself what it promises.
    pub fn batch_sink(self, sink: impl BatchSink) -> Self {
        self.function("batch_sink", sink)
    }

    /// When epochs run.
    pub fn trigger(self, trigger: Trigger) -> Self {
        self.configure(move |it| it.trigger = trigger)
    }

    /// Where the checkpoint lies: a folder, or a URL of an object store. Absent: below the session's, by the query's name.
    pub fn checkpoint(mut self, location: &str) -> Self {
        self.checkpoint = Some(location.to_owned());
        self
    }

    /// A setting of the checkpoint's object store: `storage.*` of a pipeline file, without that prefix.
    pub fn storage_option(mut self, key: &str, value: &str) -> Self {
        self.storage.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Any other option of the query.
    pub fn configure(mut self, change: impl FnOnce(&mut QueryOptions) + Send + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// A further sink of the same query, which shares its epochs; of `other` only the sink counts.
    pub fn and(mut self, name: &str, other: Self) -> Self {
        self.sinks.extend(other.sinks.into_iter().enumerate().map(|(at, it)| match at {
            0 => Output { name: name.to_owned(), ..it },
            _ => it,
        }));
        self
    }

    /// Starts the query. It runs until its trigger ends, it fails, it is stopped, or the runtime ends.
    ///
    /// # Errors
    /// `Config` with all that is wrong with the query, or if its name or its checkpoint is taken; else as the connectors.
    pub async fn start(self) -> Result<StreamingQuery> {
        let (session, name) = (self.session.clone(), self.query.clone());
        let reserved = session.manager().reserve(&name)?;
        let plan = Box::pin(self.plan(true)).await?;
        Box::pin(session.run(plan, reserved)).await
    }

    /// The plan as text for people. Touches nothing outside.
    ///
    /// # Errors
    /// `Config` with all that is wrong with the query.
    pub async fn explain(self) -> Result<String> {
        Ok(Box::pin(self.plan(false)).await?.explain())
    }

    /// The plan; if it is `to_run`, with columns that sources are asked for.
    async fn plan(self, to_run: bool) -> Result<QueryPlan> {
        let mut options = QueryOptions::new(self.location()?);
        options.data_dir = PathBuf::from(self.session.data_dir());
        options.storage.clone_from(&self.storage);
        self.changes.into_iter().for_each(|change| change(&mut options));
        let mut tables = Tables::default();
        let mut functions = BTreeMap::new();
        let mut sinks = Vec::new();
        for output in self.sinks {
            output.check_name(&sinks)?;
            sinks.push(output.part(&mut tables, &mut functions));
        }
        let mut registry = self.session.registry().clone();
        if !functions.is_empty() {
            registry = registry.with_sink(Arc::new(Functions::new(functions)));
        }
        let (sources, views) = (tables.sources.clone(), tables.views.clone());
        let mut spec = QuerySpec { name: self.query, sources, views, sinks, options };
        if to_run {
            Box::pin(tidegate_engine::ask_columns(&mut spec, &registry)).await?;
        }
        tidegate_engine::plan(spec, &registry).await.map_err(|problems| refused(&problems, &tables))
    }

    fn location(&self) -> Result<Location> {
        let base = self.session.data_dir();
        match (&self.checkpoint, self.session.checkpoints()) {
            (Some(place), _) => Location::open(place, &self.storage, base),
            (None, Some(folder)) if is_name(&self.query) => {
                let place = format!("{}/{}", folder.trim_end_matches('/'), self.query);
                Location::open(&place, &self.storage, base)
            }
            (None, Some(_)) => Err(Error::config(format!(
                "query '{}': found no checkpoint; below the session's it lies under a name of letters, digits, '_' and '-'",
                self.query
            ))),
            (None, None) => {
                Err(Error::config(format!("query '{}': found no checkpoint, expected a folder or URL", self.query)))
            }
        }
    }

    fn function(self, name: &str, sink: impl BatchSink) -> Self {
        let function = function(name, sink);
        self.sink(|it| {
            CLASS.clone_into(&mut it.connector);
            it.function = Some(function);
        })
    }

    /// Changes the sink of this writer.
    fn sink(mut self, change: impl FnOnce(&mut Output)) -> Self {
        if let Some(own) = self.sinks.first_mut() {
            change(own);
        }
        self
    }
}

impl Output {
    fn check_name(&self, others: &[SinkPart]) -> Result<()> {
        let wrong = |why: &str| Err(Error::config(format!("sink '{}': {why}", self.name)));
        if !is_name(&self.name) {
            return wrong("expected a name of letters, digits, '_' and '-'");
        }
        if others.iter().any(|it| it.name == self.name) {
            return wrong("the query has one of this name; names of its sinks differ");
        }
        Ok(())
    }

    fn part(self, tables: &mut Tables, functions: &mut BTreeMap<String, Box<dyn DynSink>>) -> SinkPart {
        let input = match &self.lineage {
            Some(lineage) => SinkInput::From(tables.add(lineage)),
            None => SinkInput::LateRows,
        };
        if let Some(function) = self.function {
            functions.insert(self.name.clone(), function);
        }
        let Self { name, connector, settings, mode, best_effort, .. } = self;
        SinkPart { name, connector, settings, mode, input, best_effort }
    }
}
