//! `Registry`: the connectors that a binary knows. Built explicitly, no globals.
//!
//! ```text
//! Registry::new().source::<Rate>().sink::<Console>()
//! ```

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;

use crate::batch_sink::BatchSinkAdapter;
use crate::config::{ConfigDef, ConfigIssue, ConfigKey, Settings, nearest};
use crate::connector::{BatchSinkConnector, ConnectorContext, SinkConnector, SourceConnector};
use crate::erased::{DynSink, DynSource};
use crate::error::{Error, Result};
use crate::import::{Imported, SparkPosition};
use crate::offset::OffsetJson;
use crate::sink::{Guarantee, SinkSpec};
use crate::source::{Payload, Replay};

/// A [`SourceConnector`] with its types erased.
#[async_trait]
pub trait DynSourceConnector: Send + Sync {
    /// The short name.
    fn name(&self) -> &'static str;
    /// All keys.
    fn keys(&self) -> &'static [ConfigKey];
    /// All that is wrong with the settings. No I/O.
    fn validate(&self, settings: &Settings) -> Vec<ConfigIssue>;
    /// Why it can't be read as a stream, and what to do instead, if so.
    fn only_static(&self) -> Option<&'static str> {
        None
    }
    /// True if the outside system can be asked for the columns.
    fn tells_columns(&self) -> bool {
        false
    }
    /// Asks for them.
    async fn columns(&self, settings: &Settings) -> Result<SchemaRef> {
        let _ = settings;
        Err(Error::internal(format!("a source of kind '{}' is asked for columns that it does not know", self.name())))
    }
    /// What the source will deliver; `None` if the settings don't tell. No I/O.
    fn payload(&self, settings: &Settings, declared: Option<&SchemaRef>) -> Option<Payload>;
    /// The `value.format` to use where the user gave none.
    fn value_format(&self, settings: &Settings) -> Option<&'static str>;
    /// Whether the built source will give the same rows for the same range.
    fn replay(&self, settings: &Settings) -> Replay {
        let _ = settings;
        Replay::Deterministic
    }
    /// Reads where Spark's source of this kind stands.
    async fn import(&self, settings: &Settings, found: &SparkPosition) -> Result<Option<Imported>> {
        let _ = (settings, found);
        Err(Error::config(format!("a source of kind '{}' can't go on from a position of Spark's", self.name())))
    }
    /// Builds the source.
    async fn build(&self, settings: &Settings, ctx: &ConnectorContext) -> Result<Box<dyn DynSource>>;
}

/// A [`SinkConnector`] or [`BatchSinkConnector`] with its types erased.
#[async_trait]
pub trait DynSinkConnector: Send + Sync {
    /// The short name.
    fn name(&self) -> &'static str;
    /// All keys.
    fn keys(&self) -> &'static [ConfigKey];
    /// All that is wrong with the settings; with `spec` also for these rows. No I/O.
    fn validate(&self, settings: &Settings, spec: Option<&SinkSpec>) -> Vec<ConfigIssue>;
    /// What the built sink will promise when an epoch is repeated, if the settings tell. No I/O.
    fn guarantee(&self, settings: &Settings) -> Option<Guarantee> {
        let _ = settings;
        None
    }
    /// Builds the sink.
    async fn build(&self, settings: &Settings, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<Box<dyn DynSink>>;
}

/// The connectors that a binary knows, by short name.
#[derive(Clone, Default)]
pub struct Registry {
    sources: BTreeMap<&'static str, Arc<dyn DynSourceConnector>>,
    sinks: BTreeMap<&'static str, Arc<dyn DynSinkConnector>>,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind of source; a later one of the same name replaces it.
    #[must_use]
    pub fn source<C: SourceConnector>(mut self) -> Self {
        self.sources.insert(C::NAME, Arc::new(TypedSource::<C>(PhantomData)));
        self
    }

    /// Adds a kind of sink; a later one of the same name replaces it.
    #[must_use]
    pub fn sink<C: SinkConnector>(mut self) -> Self {
        self.sinks.insert(C::NAME, Arc::new(TypedSink::<C>(PhantomData)));
        self
    }

    /// Adds a kind of sink that takes each epoch in one call.
    #[must_use]
    pub fn batch_sink<C: BatchSinkConnector>(mut self) -> Self {
        self.sinks.insert(C::NAME, Arc::new(TypedBatchSink::<C>(PhantomData)));
        self
    }

    /// Adds a source connector that is already erased (one that holds shared data, as the memory source of tests does).
    #[must_use]
    pub fn with_source(mut self, connector: Arc<dyn DynSourceConnector>) -> Self {
        self.sources.insert(connector.name(), connector);
        self
    }

    /// Adds a sink connector that is already erased.
    #[must_use]
    pub fn with_sink(mut self, connector: Arc<dyn DynSinkConnector>) -> Self {
        self.sinks.insert(connector.name(), connector);
        self
    }

    /// All kinds of sources, by name.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<dyn DynSourceConnector>> {
        self.sources.values()
    }

    /// All kinds of sinks, by name.
    pub fn sinks(&self) -> impl Iterator<Item = &Arc<dyn DynSinkConnector>> {
        self.sinks.values()
    }

    /// The source connector named `class`.
    ///
    /// # Errors
    /// `Config`, listing the choices.
    pub fn find_source(&self, class: &str) -> Result<Arc<dyn DynSourceConnector>> {
        find(&self.sources, "source", class)
    }

    /// The sink connector named `class`.
    ///
    /// # Errors
    /// `Config`, listing the choices.
    pub fn find_sink(&self, class: &str) -> Result<Arc<dyn DynSinkConnector>> {
        find(&self.sinks, "sink", class)
    }
}

fn find<T: ?Sized>(known: &BTreeMap<&'static str, Arc<T>>, role: &str, class: &str) -> Result<Arc<T>> {
    known.get(class.to_ascii_lowercase().as_str()).cloned().ok_or_else(|| {
        let hint = nearest(class, known.keys().copied()).map(|it| format!("; did you mean '{it}'?"));
        let names: Vec<_> = known.keys().copied().collect();
        let hint = hint.unwrap_or_default();
        Error::config(format!("connector.class '{class}' is not a {role} ({}){hint}", names.join(", ")))
    })
}

struct TypedSource<C>(PhantomData<fn() -> C>);
struct TypedSink<C>(PhantomData<fn() -> C>);
struct TypedBatchSink<C>(PhantomData<fn() -> C>);

/// All that is wrong with settings: in themselves, and by what `more` finds in them once they are read.
fn issues<C: ConfigDef>(settings: &Settings, more: impl FnOnce(&C) -> Vec<ConfigIssue>) -> Vec<ConfigIssue> {
    C::parse(settings).map_or_else(|issues| issues, |config| more(&config))
}

/// The settings, read and found right.
fn checked<C: ConfigDef>(settings: &Settings, more: impl FnOnce(&C) -> Vec<ConfigIssue>) -> Result<C> {
    let config = C::parse(settings).map_err(|issues| refused(&issues))?;
    let issues = more(&config);
    if issues.is_empty() { Ok(config) } else { Err(refused(&issues)) }
}

/// The issues as one `Config` error.
fn refused(issues: &[ConfigIssue]) -> Error {
    let all: Vec<_> = issues.iter().map(ToString::to_string).collect();
    Error::config(all.join("; "))
}

#[async_trait]
impl<C: SourceConnector> DynSourceConnector for TypedSource<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }
    fn keys(&self) -> &'static [ConfigKey] {
        C::Config::keys()
    }
    fn validate(&self, settings: &Settings) -> Vec<ConfigIssue> {
        issues(settings, C::validate)
    }
    fn only_static(&self) -> Option<&'static str> {
        C::only_static()
    }
    fn tells_columns(&self) -> bool {
        C::tells_columns()
    }
    async fn columns(&self, settings: &Settings) -> Result<SchemaRef> {
        C::columns(checked(settings, C::validate)?).await
    }
    fn payload(&self, settings: &Settings, declared: Option<&SchemaRef>) -> Option<Payload> {
        C::Config::parse(settings).ok().and_then(|config| C::payload(&config, declared))
    }
    fn replay(&self, settings: &Settings) -> Replay {
        C::Config::parse(settings).map_or(Replay::Deterministic, |config| C::replay(&config))
    }
    fn value_format(&self, settings: &Settings) -> Option<&'static str> {
        C::Config::parse(settings).ok().and_then(|config| C::value_format(&config))
    }
    async fn import(&self, settings: &Settings, found: &SparkPosition) -> Result<Option<Imported>> {
        let config = checked(settings, C::validate)?;
        let Some(Imported { offset, log }) = C::import(config, found).await? else { return Ok(None) };
        let json = serde_json::to_value(&offset);
        let json = json.map_err(|e| Error::internal("an offset can't be written as JSON").because(e))?;
        Ok(Some(Imported { offset: OffsetJson(json), log }))
    }
    async fn build(&self, settings: &Settings, ctx: &ConnectorContext) -> Result<Box<dyn DynSource>> {
        let config = checked(settings, C::validate)?;
        Ok(Box::new(C::build(config, ctx).await?))
    }
}

#[async_trait]
impl<C: SinkConnector> DynSinkConnector for TypedSink<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }
    fn keys(&self) -> &'static [ConfigKey] {
        C::Config::keys()
    }
    fn validate(&self, settings: &Settings, spec: Option<&SinkSpec>) -> Vec<ConfigIssue> {
        issues(settings, |config| spec.map_or_else(Vec::new, |spec| C::accepts(config, spec)))
    }
    fn guarantee(&self, settings: &Settings) -> Option<Guarantee> {
        C::Config::parse(settings).ok().and_then(|config| C::guarantee(&config))
    }
    async fn build(&self, settings: &Settings, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<Box<dyn DynSink>> {
        let config = checked(settings, |config| C::accepts(config, spec))?;
        Ok(Box::new(C::build(config, spec, ctx).await?))
    }
}

#[async_trait]
impl<C: BatchSinkConnector> DynSinkConnector for TypedBatchSink<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }
    fn keys(&self) -> &'static [ConfigKey] {
        C::Config::keys()
    }
    fn validate(&self, settings: &Settings, spec: Option<&SinkSpec>) -> Vec<ConfigIssue> {
        issues(settings, |config| spec.map_or_else(Vec::new, |spec| C::accepts(config, spec)))
    }
    fn guarantee(&self, _settings: &Settings) -> Option<Guarantee> {
        Some(Guarantee::AtLeastOnce)
    }
    async fn build(&self, settings: &Settings, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<Box<dyn DynSink>> {
        let config = checked(settings, |config| C::accepts(config, spec))?;
        Ok(Box::new(BatchSinkAdapter::new(C::NAME, C::build(config, spec, ctx).await?)))
    }
}
