//! A look at a table that a query has never written to: are there cells from the future that its rows would lose against?

use scylla::client::session::Session;
use scylla::statement::{Consistency, Statement};
use scylla::value::{CqlValue, Row};
use tidegate_api::{ConnectorContext, Error, Result, WriterId};

use crate::config::{CassandraConfig, FutureCells};
use crate::session::failed;
use crate::statements::quoted;
use crate::table::TablePlan;

/// How far ahead of our clock a cell may be.
const AHEAD_US: i64 = 60_000_000;
/// Rows that are looked at.
const SAMPLE: usize = 1_000;
/// Columns that are looked at.
const COLUMNS: usize = 16;

/// Looks at a sample of the table, once for each table that the query writes to.
///
/// # Errors
/// `Config` if a cell lies ahead of our clock by over a minute, else as the cluster.
pub(crate) async fn check(
    session: &Session,
    plan: &TablePlan,
    config: &CassandraConfig,
    ctx: &ConnectorContext,
    writer: &WriterId,
) -> Result<()> {
    let key = format!("table.{}.{}", plan.keyspace, plan.table);
    if ctx.log.get(&key).await?.is_some() {
        return Ok(());
    }
    let now_us = ctx.clock.now_ms().saturating_mul(1000);
    if config.future_cells == FutureCells::Refuse && !plan.counter {
        let newest = newest(session, plan, config.consistency.0).await?;
        if let Some(newest) = newest.filter(|it| it.saturating_sub(now_us) > AHEAD_US) {
            let seconds = newest.saturating_sub(now_us) / 1_000_000;
            let text = format!("table {} holds cells written {seconds} s ahead of this machine's clock", plan.name());
            let text = format!("{text} (write time {newest} µs): rows of this query would lose against them");
            return Err(Error::config(format!("{text}; set future.cells to accept that")));
        }
    }
    ctx.log.put_new(&key, format!("{writer}\n").as_bytes()).await?;
    Ok(())
}

/// The highest write time in a sample of the table, microseconds.
async fn newest(session: &Session, plan: &TablePlan, level: Consistency) -> Result<Option<i64>> {
    let columns = plan.values.iter().filter(|it| it.one_cell).take(COLUMNS);
    let asked: Vec<_> = columns.map(|it| format!("WRITETIME({})", quoted(&it.name))).collect();
    if asked.is_empty() {
        return Ok(None);
    }
    let text = format!("SELECT {} FROM {} LIMIT {SAMPLE}", asked.join(", "), plan.quoted());
    let mut statement = Statement::new(text);
    statement.set_is_idempotent(true);
    // Levels that only writes know.
    statement.set_consistency(match level {
        Consistency::Any => Consistency::One,
        Consistency::EachQuorum => Consistency::Quorum,
        other => other,
    });
    let result = Box::pin(session.query_unpaged(statement, ())).await.map_err(failed)?;
    let wrong = |e: String| Error::internal(format!("table {}: write times: {e}", plan.name()));
    let rows = result.into_rows_result().map_err(|e| wrong(e.to_string()))?;
    let mut newest = None;
    for row in rows.rows::<Row>().map_err(|e| wrong(e.to_string()))? {
        let row = row.map_err(|e| wrong(e.to_string()))?;
        let times = row.columns.into_iter().flatten().filter_map(|it| match it {
            CqlValue::BigInt(time) => Some(time),
            _ => None,
        });
        newest = newest.max(times.max());
    }
    Ok(newest)
}
