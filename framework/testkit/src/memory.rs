//! The `memory` connectors: sources that a test fills, sinks that it reads. Their data live outside the query, so they
//! are there after a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use tidegate_api::config::KeyReader;
use tidegate_api::registry::{DynSinkConnector, DynSourceConnector};
use tidegate_api::{
    ConfigIssue, ConfigKey, ConnectorContext, DynSink, DynSource, Error, Guarantee, Payload, Registry, Result,
    Settings, SinkSpec,
};

mod cells;
mod log;
mod sink;
mod source;

pub use log::MemoryLog;
pub use sink::{MemoryKind, MemorySink, MemoryTable, MemoryWriter};
pub use source::{MemoryInput, MemorySource};

type Name = (String, String);

/// All memory inputs and tables of a test, by query and name; clones share them.
///
/// ```
/// use tidegate_api::Registry;
/// use tidegate_testkit::MemoryConnectors;
///
/// let memory = MemoryConnectors::new();
/// let registry = memory.register(Registry::new());
/// assert!(registry.find_source("memory").is_ok() && registry.find_sink("memory").is_ok());
/// // … start the query "counts" with a source "input", then:
/// assert!(memory.input("counts", "input").is_none(), "made when the query is built");
/// ```
#[derive(Clone, Default)]
pub struct MemoryConnectors {
    store: Arc<Mutex<Store>>,
}

#[derive(Default)]
struct Store {
    inputs: BTreeMap<Name, MemoryInput>,
    tables: BTreeMap<Name, MemoryTable>,
}

impl MemoryConnectors {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the source and the sink `memory` to a registry.
    #[must_use]
    pub fn register(&self, registry: Registry) -> Registry {
        registry.with_source(Arc::new(self.clone())).with_sink(Arc::new(self.clone()))
    }

    /// The input behind a source, once the query has been built or [`create_input`](Self::create_input) called.
    pub fn input(&self, query: &str, source: &str) -> Option<MemoryInput> {
        self.store().inputs.get(&name(query, source)).cloned()
    }

    /// The input behind a source that has these columns. What was added stays if it was there.
    ///
    /// # Errors
    /// `Config` if it holds rows of other columns.
    pub fn create_input(&self, query: &str, source: &str, schema: SchemaRef) -> Result<MemoryInput> {
        let mut store = self.store();
        let input = store.inputs.entry(name(query, source)).or_insert_with(|| MemoryInput::new(schema.clone()));
        if *input.schema() != schema {
            if !input.is_empty() {
                return Err(Error::config(format!("memory source {source}: it holds rows of other columns")));
            }
            *input = MemoryInput::new(schema);
        }
        Ok(input.clone())
    }

    /// The table behind a sink, once the query has been built.
    pub fn table(&self, query: &str, sink: &str) -> Option<MemoryTable> {
        self.store().tables.get(&name(query, sink)).cloned()
    }

    /// All tables of a query, by name.
    pub fn tables(&self, query: &str) -> Vec<(String, MemoryTable)> {
        let store = self.store();
        let own = store.tables.iter().filter(|((it, _), _)| it == query);
        own.map(|((_, sink), table)| (sink.clone(), table.clone())).collect()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(query: &str, part: &str) -> Name {
    (query.to_owned(), part.to_owned())
}

fn checked(settings: &Settings) -> Result<()> {
    let issues = KeyReader::new(settings, &[]).finish();
    match issues.as_slice() {
        [] => Ok(()),
        issues => Err(Error::config(issues.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))),
    }
}

#[async_trait]
impl DynSourceConnector for MemoryConnectors {
    fn name(&self) -> &'static str {
        "memory"
    }
    fn keys(&self) -> &'static [ConfigKey] {
        &[]
    }
    fn validate(&self, settings: &Settings) -> Vec<ConfigIssue> {
        KeyReader::new(settings, &[]).finish()
    }
    fn payload(&self, _settings: &Settings, declared: Option<&SchemaRef>) -> Option<Payload> {
        declared.cloned().map(Payload::Rows)
    }
    fn value_format(&self, _settings: &Settings) -> Option<&'static str> {
        None
    }
    async fn build(&self, settings: &Settings, ctx: &ConnectorContext) -> Result<Box<dyn DynSource>> {
        checked(settings)?;
        let schema = ctx.schema.clone().ok_or_else(|| {
            Error::config(format!("memory source {}: key 'schema' is missing; expected columns as SQL DDL", ctx.name))
        })?;
        Ok(Box::new(self.create_input(&ctx.query, &ctx.name, schema)?.source()))
    }
}

#[async_trait]
impl DynSinkConnector for MemoryConnectors {
    fn name(&self) -> &'static str {
        "memory"
    }
    fn keys(&self) -> &'static [ConfigKey] {
        &[]
    }
    fn validate(&self, settings: &Settings, _spec: Option<&SinkSpec>) -> Vec<ConfigIssue> {
        KeyReader::new(settings, &[]).finish()
    }
    fn guarantee(&self, _settings: &Settings) -> Option<Guarantee> {
        Some(Guarantee::Transactional)
    }
    async fn build(&self, settings: &Settings, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<Box<dyn DynSink>> {
        checked(settings)?;
        let mut store = self.store();
        let table = store.tables.entry(name(&ctx.query, &ctx.name)).or_default();
        Ok(Box::new(table.sink(spec)))
    }
}

#[cfg(test)]
mod tests;
