//! `Cassandra`: the connector class; what it refuses before anything is touched.

use std::time::Duration;

use arrow_schema::DataType;
use scylla::client::session::Session;
use scylla::statement::Statement;
use scylla::value::{CqlValue, Row};
use tidegate_api::{
    Changes, ConfigIssue, ConnectorContext, Error, Guarantee, Result, SinkConnector, SinkSpec, async_trait,
};

use crate::config::CassandraConfig;
use crate::session::{connect, failed};
use crate::sink::{CassandraSink, guarantee};
use crate::table::{Found, field, find, listed, plan};

/// The longest that a row may live: Cassandra's limit of 20 years.
const MAX_TTL: Duration = Duration::from_secs(630_720_000);

/// The `cassandra` sink connector.
pub struct Cassandra;

#[async_trait]
impl SinkConnector for Cassandra {
    const NAME: &'static str = "cassandra";
    type Config = CassandraConfig;
    type Sink = CassandraSink;

    fn accepts(config: &CassandraConfig, spec: &SinkSpec) -> Vec<ConfigIssue> {
        let mut issues = crate::config::issues(&config.access(), &config.keyspace, &config.table);
        let mut issue = |key: &str, message: String| issues.push(ConfigIssue::new(key, message));
        if let Some(ttl) = config.ttl.filter(|it| it.is_zero() || *it > MAX_TTL) {
            issue("ttl", format!("is {} s, expected more than 0 and at most {} s", ttl.as_secs(), MAX_TTL.as_secs()));
        }
        if let Some(name) = &config.delete_column {
            let found = field(&spec.schema, name).and_then(|at| spec.schema.fields().get(at));
            match found.map(|it| it.data_type()) {
                Some(DataType::Boolean) => {}
                Some(other) => issue("delete.column", format!("column '{name}' is {other}, expected BOOLEAN")),
                None => {
                    let known = listed(spec.schema.fields().iter().map(|it| it.name().as_str()));
                    issue(
                        "delete.column",
                        format!("column '{name}' is not among those of the rows, which are {known}"),
                    );
                }
            }
        }
        if spec.changes == Changes::Retract {
            let message = "rows that take others back (chained.aggregates) can't be written to cassandra: use one aggregation, or \
                           foreach_batch";
            issue("output.mode", message.to_owned());
        }
        issues
    }

    fn guarantee(config: &CassandraConfig) -> Option<Guarantee> {
        Some(guarantee(config))
    }

    async fn build(config: CassandraConfig, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<CassandraSink> {
        let within = |e: Error| e.within(format_args!("sink {}", ctx.name));
        Box::pin(build(config, spec, ctx)).await.map_err(within)
    }
}

async fn build(config: CassandraConfig, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<CassandraSink> {
    let session = connect(&config.access()).await?;
    let found = find(&session, &config.keyspace, &config.table)?;
    let plan = plan_of(&session, &config, spec, &found).await?;
    CassandraSink::new(session, plan, config, spec, ctx).await
}

async fn plan_of(
    session: &Session,
    config: &CassandraConfig,
    spec: &SinkSpec,
    found: &Found,
) -> Result<crate::table::TablePlan> {
    let Found { keyspace, name, table } = found;
    let mut ask = Statement::new(
        "SELECT default_time_to_live FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?",
    );
    ask.set_is_idempotent(true);
    ask.set_consistency(scylla::statement::Consistency::One);
    let answer = Box::pin(session.query_unpaged(ask, (keyspace, name))).await.map_err(failed)?;
    let wrong = |e: String| Error::internal(format!("table {keyspace}.{name}: its default time to live: {e}"));
    let rows = answer.into_rows_result().map_err(|e| wrong(e.to_string()))?;
    let row = rows.maybe_first_row::<Row>().map_err(|e| wrong(e.to_string()))?;
    let seconds = match row.and_then(|it| it.columns.into_iter().next().flatten()) {
        Some(CqlValue::Int(seconds)) => u64::try_from(seconds).unwrap_or(0),
        _ => 0,
    };
    let default = (seconds > 0).then(|| Duration::from_secs(seconds));
    plan(config, &spec.schema, (keyspace, name, table), default)
}
