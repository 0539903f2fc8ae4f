//! `CassandraTable`: a table as the static side of a join, read whole for each epoch.

pub(crate) mod columns;
pub(crate) mod config;
mod ranges;
mod scan;

use std::sync::Arc;

use scylla::statement::{Consistency, Statement};
use tidegate_api::{
    BatchStream, Bound, Clock, ConfigIssue, ConnectorContext, Error, Payload, Planned, ReadLimit, Replay, Result,
    ScanRequest, SchemaRef, Source, SourceConnector, Split, async_trait,
};

use self::columns::{TableColumns, own_columns};
use self::config::CassandraTableConfig;
use self::scan::{Scan, ScanLimits};
use crate::session::{connect, failed};
use crate::table::find;

const ONLY_STATIC: &str = "a table of Cassandra does not tell what was added to it, so it can't be a stream: set static: true \
     and join a stream with it";
/// The partitioner whose tokens are known.
const PARTITIONER: &str = "Murmur3Partitioner";

/// The `cassandra` source connector.
pub struct CassandraTable;

#[async_trait]
impl SourceConnector for CassandraTable {
    const NAME: &'static str = "cassandra";
    type Config = CassandraTableConfig;
    type Source = TableSource;

    fn validate(config: &CassandraTableConfig) -> Vec<ConfigIssue> {
        let mut issues = crate::config::issues(&config.access(), &config.keyspace, &config.table);
        if config.consistency.0 == Consistency::Any {
            issues.push(ConfigIssue::new("consistency", "is any, which is for writing alone"));
        }
        if config.request_timeout.is_zero() {
            issues.push(ConfigIssue::new("request.timeout", "is 0, expected more"));
        }
        issues
    }

    fn only_static() -> Option<&'static str> {
        Some(ONLY_STATIC)
    }

    fn payload(_config: &CassandraTableConfig, declared: Option<&SchemaRef>) -> Option<Payload> {
        declared.cloned().map(Payload::Rows)
    }

    fn replay(_config: &CassandraTableConfig) -> Replay {
        Replay::None
    }

    fn tells_columns() -> bool {
        true
    }

    async fn columns(config: CassandraTableConfig) -> Result<SchemaRef> {
        let session = connect(&config.access()).await?;
        own_columns(&find(&session, &config.keyspace, &config.table)?)
    }

    async fn build(config: CassandraTableConfig, ctx: &ConnectorContext) -> Result<TableSource> {
        let session = connect(&config.access()).await?;
        check_partitioner(&session).await?;
        let found = find(&session, &config.keyspace, &config.table)?;
        let schema = match &ctx.schema {
            Some(declared) => declared.clone(),
            None => own_columns(&found)?,
        };
        let columns = TableColumns::new(&found, &schema)?;
        let limits = ScanLimits {
            page_rows: config.page_rows,
            split_rows: config.split_rows,
            in_flight: config.max_in_flight,
            memory: ctx.memory.clone(),
        };
        let scan = Arc::new(Scan::new(session, columns, limits));
        Ok(TableSource { schema, scan, clock: ctx.clock.clone(), reading: 0 })
    }
}

/// Tokens of other partitioners are of other types, and can't be cut like those.
async fn check_partitioner(session: &scylla::client::session::Session) -> Result<()> {
    let mut ask = Statement::new("SELECT partitioner FROM system.local");
    ask.set_is_idempotent(true);
    ask.set_consistency(Consistency::One);
    let answer = Box::pin(session.query_unpaged(ask, ())).await.map_err(failed)?;
    let wrong = |e: String| Error::internal(format!("the cluster's partitioner: {e}"));
    let rows = answer.into_rows_result().map_err(|e| wrong(e.to_string()))?;
    let (partitioner,) = rows.first_row::<(String,)>().map_err(|e| wrong(e.to_string()))?;
    if partitioner.ends_with(PARTITIONER) {
        return Ok(());
    }
    Err(Error::config(format!(
        "the cluster's partitioner is {partitioner}, tables can be read with {PARTITIONER} alone"
    )))
}

/// A table that is read whole. Its offsets number the readings, so that each epoch reads anew: the table has no versions.
pub struct TableSource {
    schema: SchemaRef,
    scan: Arc<Scan>,
    clock: Arc<dyn Clock>,
    /// The last one, from the clock in milliseconds, so that a restart does not come to an earlier one.
    reading: i64,
}

#[async_trait]
impl Source for TableSource {
    /// The number of a reading.
    type Offset = i64;

    fn payload(&self) -> Payload {
        Payload::Rows(self.schema.clone())
    }

    fn replay(&self) -> Replay {
        Replay::None
    }

    fn bind(&mut self, scan: &ScanRequest) -> Result<Bound> {
        self.scan = Arc::new(self.scan.narrowed(&scan.projection)?);
        Ok(Bound { schema: self.scan.schema(), filters_taken: vec![false; scan.filters.len()] })
    }

    async fn initial_offset(&mut self) -> Result<i64> {
        Ok(0)
    }

    async fn plan(&mut self, _start: &i64, _limit: &ReadLimit) -> Result<Planned<i64>> {
        self.reading = self.clock.now_ms().max(self.reading + 1);
        Ok(Planned { end: self.reading, latest: self.reading, rows: None, bytes: None, schema: None })
    }

    async fn read(&self, _split: Split<i64>) -> Result<BatchStream> {
        Scan::read(self.scan.clone()).await
    }

    fn describe(&self) -> String {
        format!("cassandra[{}]", self.scan.name())
    }
}
