//! `state('<checkpoint>', operator => …)` and `state_metadata('<checkpoint>')` in SQL: what operators of this or another
//! query remember, as static tables (Spark: the data sources `statestore` and `state-metadata`).
//!
//! Each call becomes a static source of its own. Its columns are in the checkpoint, so planning reads that; all else is as
//! with any other static source: an epoch sees the version that stands in its record.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use futures::stream;
use tidegate_api::prelude::*;
use tidegate_api::registry::DynSourceConnector;
use tidegate_epoch::inspect;
use tidegate_sql::{StateCall, state_calls};
use tidegate_storage::{Location, StoreOptions};

use crate::plan::Problem;
use crate::spec::{QuerySpec, SinkInput, SourceSpec, ValueMode};

/// What such a source has for `connector.class`; no pipeline file can name it.
const CONNECTOR: &str = "state()";

/// Before the keys of the store that a checkpoint lies on.
const STORAGE: &str = "storage.";

/// Adds a static source for each call in the query's SQL. Reads the checkpoints that are named.
///
/// # Errors
/// What is wrong with each of them, with its place.
pub(crate) async fn add_state_tables(spec: &mut QuerySpec) -> Result<(), Vec<Problem>> {
    let views = spec.views.iter().map(|it| (format!("views.{}", it.name), &it.sql));
    let sinks = spec.sinks.iter().filter_map(|it| match &it.input {
        SinkInput::Sql(sql) => Some((format!("sinks.{}", it.name), sql)),
        SinkInput::From(_) | SinkInput::LateRows => None,
    });
    // What is no SQL, or no call as it should be, is told by the planner.
    let calls = views.chain(sinks).flat_map(|(place, sql)| {
        let calls = state_calls(sql).unwrap_or_default();
        calls.into_iter().map(move |it| (place.clone(), it))
    });
    let calls: Vec<(String, StateCall)> = calls.collect();
    let mut problems = Vec::new();
    for (place, call) in calls {
        if spec.sources.iter().any(|it| it.name == call.table()) {
            continue;
        }
        match source(&call, &spec.options.storage).await {
            Ok(source) => spec.sources.push(source),
            Err(e) => problems.push(Problem { place, message: format!("sql: {}: {e}", call.function()) }),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// What builds the sources of this class, if it is one of these.
pub(crate) fn connector(class: &str) -> Option<Result<Arc<dyn DynSourceConnector>>> {
    (class == CONNECTOR).then(|| Registry::new().source::<StateConnector>().find_source(CONNECTOR))
}

async fn source(call: &StateCall, storage: &StoreOptions) -> Result<SourceSpec> {
    let place = location(&call.location, storage)?;
    let schema = match &call.operator {
        Some(operator) => inspect::state_schema(&place, operator, call.epoch).await?,
        // It must be there all the same.
        None => inspect::operators(&place, call.epoch).await?.schema(),
    };
    let mut settings = Settings::default();
    settings.push("location", &call.location);
    if let Some(operator) = &call.operator {
        settings.push("operator", operator);
    }
    if let Some(epoch) = call.epoch {
        settings.push("epoch", epoch.to_string());
    }
    if place.local().is_none() {
        storage.iter().for_each(|(key, value)| settings.push(format!("{STORAGE}{key}"), value));
    }
    Ok(SourceSpec {
        name: call.table(),
        connector: CONNECTOR.to_owned(),
        settings,
        format: None,
        mode: ValueMode::Permissive,
        schema: Some(schema),
        watermark: None,
        is_static: true,
    })
}

/// A checkpoint on an object store is reached with the settings of the query's own.
fn location(text: &str, storage: &StoreOptions) -> Result<Location> {
    let base = Path::new(".");
    let plain = Location::open(text, &StoreOptions::new(), base)?;
    if plain.local().is_some() || storage.is_empty() { Ok(plain) } else { Location::open(text, storage, base) }
}

struct StateConnector;

#[derive(ConfigDef)]
struct StateConfig {
    /// The checkpoint.
    #[config(importance = "high")]
    location: String,
    /// The operator; without one, a list of all.
    operator: Option<String>,
    /// The state after this epoch; without one, after the newest at each epoch of the query that reads it.
    epoch: Option<u64>,
    /// Settings of the store that the checkpoint lies on.
    #[config(prefix = "storage.")]
    storage: PassThrough,
}

#[async_trait]
impl SourceConnector for StateConnector {
    const NAME: &'static str = CONNECTOR;
    type Config = StateConfig;
    type Source = StateSource;

    async fn build(config: StateConfig, ctx: &ConnectorContext) -> Result<StateSource> {
        let schema = ctx.schema.clone().ok_or_else(|| Error::internal("a table of state has no columns"))?;
        let location = location(&config.location, &config.storage)?;
        Ok(StateSource { location, operator: config.operator, epoch: config.epoch, schema })
    }
}

/// The state after an epoch; positions are epochs, and each is the whole table.
struct StateSource {
    location: Location,
    operator: Option<String>,
    epoch: Option<u64>,
    schema: SchemaRef,
}

#[async_trait]
impl Source for StateSource {
    /// The epoch; nothing at the start.
    type Offset = Option<u64>;

    fn payload(&self) -> Payload {
        Payload::Rows(self.schema.clone())
    }

    fn replay(&self) -> Replay {
        Replay::Deterministic
    }

    async fn initial_offset(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn plan(&mut self, _start: &Option<u64>, _limit: &ReadLimit) -> Result<Planned<Option<u64>>> {
        let newest = match self.epoch {
            Some(epoch) => Some(epoch),
            None => inspect::newest_epoch(&self.location).await?,
        };
        Ok(Planned { end: newest, latest: newest, rows: None, bytes: None, schema: None })
    }

    async fn read(&self, split: Split<Option<u64>>) -> Result<BatchStream> {
        let epoch = split.range.end.ok_or_else(|| Error::config(format!("{} has no epoch", self.location)))?;
        let Some(operator) = &self.operator else {
            let rows = inspect::operators(&self.location, Some(epoch)).await?;
            return Ok(Box::pin(stream::once(async move { Ok(rows) })));
        };
        let table = inspect::state(&self.location, operator, Some(epoch)).await?;
        if table.schema != self.schema {
            let text = "the operator's columns have changed since this query was planned; start it anew";
            return Err(Error::config(text).within(format!("state of operator '{operator}'")));
        }
        Ok(table.rows)
    }

    fn describe(&self) -> String {
        match &self.operator {
            Some(operator) => format!("state of operator '{operator}' in {}", self.location),
            None => format!("operators in {}", self.location),
        }
    }
}
