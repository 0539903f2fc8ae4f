//! The `console` sink: writers keep the first rows as text, commit prints them.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_api::DynSink;
use tidegate_api::prelude::*;
use tidegate_api::registry::DynSinkConnector;

use crate::config::ConsoleConfig;
use crate::{cell, table};

/// Where tables go. Locked and flushed once an epoch.
pub type Output = Arc<Mutex<dyn Write + Send>>;

/// Adds this crate's connector, printing to stdout.
#[must_use]
pub fn register(registry: Registry) -> Registry {
    registry.sink::<Console>()
}

/// Adds this crate's connector, printing to `output`.
#[must_use]
pub fn register_to(registry: Registry, output: Output) -> Registry {
    registry.with_sink(Arc::new(ConsoleTo { output }))
}

/// The `console` connector.
pub struct Console;

#[async_trait]
impl SinkConnector for Console {
    const NAME: &'static str = "console";
    type Config = ConsoleConfig;
    type Sink = ConsoleSink;

    fn guarantee(_config: &ConsoleConfig) -> Option<Guarantee> {
        Some(Guarantee::AtLeastOnce)
    }

    async fn build(config: ConsoleConfig, spec: &SinkSpec, _ctx: &ConnectorContext) -> Result<ConsoleSink> {
        Ok(ConsoleSink::new(&config, &spec.schema, Arc::new(Mutex::new(std::io::stdout()))))
    }
}

/// Prints each epoch.
pub struct ConsoleSink {
    names: Arc<[String]>,
    num_rows: usize,
    truncate: usize,
    output: Output,
}

impl ConsoleSink {
    /// A sink for rows of `schema` that prints to `output`.
    pub fn new(config: &ConsoleConfig, schema: &Schema, output: Output) -> Self {
        let names = schema.fields().iter().map(|field| table::escape(field.name())).collect();
        let num_rows = usize::try_from(config.num_rows).unwrap_or(usize::MAX);
        Self { names, num_rows, truncate: config.truncate.0, output }
    }
}

/// Keeps the first rows of a task, and one more to know that there are more.
pub struct ConsoleWriter {
    rows: Vec<Vec<String>>,
    most: usize,
    truncate: usize,
}

#[async_trait]
impl SinkWriter for ConsoleWriter {
    type Committable = Vec<Vec<String>>;

    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        for row in 0..batch.num_rows().min(self.most - self.rows.len()) {
            let cells = batch.columns().iter().map(|column| {
                let mut text = String::new();
                cell::push_cell(&mut text, column, row)?;
                Ok(table::cut(table::escape(&text), self.truncate))
            });
            self.rows.push(cells.collect::<Result<_>>()?);
        }
        Ok(Vec::new())
    }

    async fn prepare(self) -> Result<Vec<Vec<String>>> {
        Ok(self.rows)
    }
}

#[async_trait]
impl Sink for ConsoleSink {
    /// The rows themselves, as text: there are few.
    type Committable = Vec<Vec<String>>;
    type Writer = ConsoleWriter;

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn best_effort(&self) -> bool {
        true
    }

    async fn open(&mut self, _writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        Ok(None)
    }

    async fn writer(&self, _epoch: &Epoch, _task: u32) -> Result<ConsoleWriter> {
        Ok(ConsoleWriter { rows: Vec::new(), most: self.num_rows.saturating_add(1), truncate: self.truncate })
    }

    async fn commit(
        &self,
        epoch: &Epoch,
        parts: Vec<Vec<Vec<String>>>,
        _positions: &[SourcePosition],
    ) -> Result<CommitOutcome> {
        let rows: Vec<_> = parts.into_iter().flatten().take(self.num_rows.saturating_add(1)).collect();
        let text = table::render(epoch.number, &self.names, &rows, self.num_rows, self.truncate);
        let output = self.output.clone();
        let printed = tokio::task::spawn_blocking(move || {
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            output.write_all(text.as_bytes())?;
            output.flush()
        });
        let printed = printed.await.map_err(|e| Error::internal("console: printing stopped").because(e))?;
        printed
            .map_err(|e| Error::transient(format!("console: epoch {} can't be printed", epoch.number)).because(e))?;
        Ok(CommitOutcome::Committed)
    }

    fn describe(&self) -> String {
        format!("console[numRows={}, truncate={}]", self.num_rows, self.truncate)
    }
}

/// The connector with another output.
struct ConsoleTo {
    output: Output,
}

#[async_trait]
impl DynSinkConnector for ConsoleTo {
    fn name(&self) -> &'static str {
        Console::NAME
    }

    fn keys(&self) -> &'static [ConfigKey] {
        ConsoleConfig::keys()
    }

    fn validate(&self, settings: &Settings, _spec: Option<&SinkSpec>) -> Vec<ConfigIssue> {
        ConsoleConfig::parse(settings).err().unwrap_or_default()
    }

    async fn build(&self, settings: &Settings, spec: &SinkSpec, _ctx: &ConnectorContext) -> Result<Box<dyn DynSink>> {
        let config = ConsoleConfig::parse(settings).map_err(|issues| {
            let all: Vec<_> = issues.iter().map(ToString::to_string).collect();
            Error::config(all.join("; "))
        })?;
        Ok(Box::new(ConsoleSink::new(&config, &spec.schema, self.output.clone())))
    }
}
