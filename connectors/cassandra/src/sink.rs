//! `CassandraSink`: an epoch is a set of statements that all bear its write time.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;
use tidegate_api::{
    AttemptId, CommitOutcome, ConnectorContext, Epoch, Error, Guarantee, OutputMode, Result, Sink, SinkSpec,
    SourcePosition, Staging, WriterId, async_trait, fault,
};

use crate::cells::{NULL, UNSET};
use crate::config::{CassandraConfig, Delivery, Nulls};
use crate::future_cells;
use crate::held::Held;
use crate::rows::{CellBytes, Op, merged};
use crate::session::{failed, unprepared};
use crate::statements::{self, Bind};
use crate::table::TablePlan;
use crate::writer::{CassandraWriter, Part, WriterParts};

/// Writes epochs to a table of Cassandra or Scylla.
pub struct CassandraSink {
    session: Session,
    plan: Arc<TablePlan>,
    write: PreparedStatement,
    /// None for counter tables.
    delete: Option<PreparedStatement>,
    config: CassandraConfig,
    /// The cell of a null among the values.
    null: [u8; 4],
    held: Held,
    ctx: ConnectorContext,
}

impl CassandraSink {
    pub(crate) async fn new(
        session: Session,
        plan: TablePlan,
        config: CassandraConfig,
        spec: &SinkSpec,
        ctx: &ConnectorContext,
    ) -> Result<Self> {
        let write = prepare(&session, statements::write(&plan, plan.ttl.is_some()), !plan.counter).await?;
        let delete = match plan.counter {
            true => None,
            false => Some(prepare(&session, statements::delete(&plan), true).await?),
        };
        let default = if spec.mode == OutputMode::Update { Nulls::Unset } else { Nulls::Tombstone };
        let null = match config.nulls.unwrap_or(default) {
            // An increment by nothing is no increment.
            _ if plan.counter => UNSET,
            Nulls::Unset => UNSET,
            Nulls::Tombstone => NULL,
        };
        let (plan, held) = (Arc::new(plan), Held::default());
        Ok(Self { session, plan, write, delete, config, null, held, ctx: ctx.clone() })
    }

    /// Does one operation. The removal that goes before a write bears the microsecond before it: later than all that the
    /// epochs before wrote, or as late as the last of them, where a removal wins.
    fn execute<'a>(&'a self, epoch: &'a Epoch, key: CellBytes, op: Op) -> BoxFuture<'a, Result<()>> {
        async move {
            fault::hit("cassandra.statement")?;
            let time = epoch.write_time_us;
            if let (true, Some(delete)) = (op.clear, &self.delete) {
                let before = Some(if op.values.is_some() { time - 1 } else { time });
                let bind = Bind { before, first: &key, ..Bind::default() };
                self.session.execute_unpaged(delete, bind).await.map_err(failed)?;
            }
            let Some(values) = &op.values else { return Ok(()) };
            let bind = if self.plan.counter {
                Bind { first: values, second: &key, ..Bind::default() }
            } else {
                let now_ms = self.ctx.clock.now_ms();
                let ttl = self.plan.ttl.map(|ttl| seconds_left(ttl, epoch.time_ms, now_ms));
                Bind { first: &key, second: values, after: Some(time), ttl, before: None }
            };
            self.session.execute_unpaged(&self.write, bind).await.map_err(failed)?;
            Ok(())
        }
        .boxed()
    }
}

async fn prepare(session: &Session, text: String, repeatable: bool) -> Result<PreparedStatement> {
    let prepared = Box::pin(session.prepare(text)).await;
    let mut prepared = prepared.map_err(unprepared)?;
    prepared.set_is_idempotent(repeatable);
    Ok(prepared)
}

/// The seconds that a row of an epoch has still to live, so that it ends when it would have if it had been written at
/// once: at the first full second after `time_ms + ttl`. At least one: a row whose end has passed must still take the
/// place of what it replaced, and a second write with the same time must not outlast the first by more than that. Never
/// more than the whole time, whatever the clocks say.
pub(crate) fn seconds_left(ttl: Duration, time_ms: i64, now_ms: i64) -> i32 {
    let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    let up = |ms: i64| ms.div_euclid(1000) + i64::from(ms.rem_euclid(1000) > 0);
    let left = up(time_ms.saturating_add(ttl_ms)) - now_ms.div_euclid(1000);
    i32::try_from(left.clamp(1, up(ttl_ms).max(1))).unwrap_or(i32::MAX)
}

#[async_trait]
impl Sink for CassandraSink {
    type Committable = Part;
    type Writer = CassandraWriter;

    fn guarantee(&self) -> Guarantee {
        guarantee(&self.config)
    }

    fn staging(&self) -> Staging {
        Staging::Rows
    }

    /// Cassandra can't tell which epochs it holds: nothing is named, and the epoch in doubt is written again.
    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        future_cells::check(&self.session, &self.plan, &self.config, &self.ctx, writer).await?;
        Ok(None)
    }

    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<CassandraWriter> {
        self.held.begin(epoch);
        let parts = WriterParts {
            plan: self.plan.clone(),
            null: self.null,
            memory: self.ctx.memory.clone(),
            held: self.held.clone(),
        };
        Ok(CassandraWriter::new(parts, epoch, task))
    }

    async fn commit(&self, epoch: &Epoch, parts: Vec<Part>, _: &[SourcePosition]) -> Result<CommitOutcome> {
        let Some(rows) = self.held.get(&parts)? else {
            return Ok(CommitOutcome::AlreadyCommitted { attempt: Some(epoch.attempt) });
        };
        let in_flight = usize::try_from(self.config.max_in_flight.get()).unwrap_or(usize::MAX);
        let all = stream::iter(merged(&rows)).map(|(key, op)| self.execute(epoch, key, op));
        let done: Result<()> = all.buffer_unordered(in_flight).try_collect().await;
        done.map_err(|e: Error| e.within(format_args!("table {}", self.plan.name())))?;
        self.held.written(&parts);
        Ok(CommitOutcome::Committed)
    }

    async fn abort(&self, _epoch: &Epoch, parts: Vec<Part>) -> Result<()> {
        self.held.drop_parts(&parts);
        Ok(())
    }

    fn describe(&self) -> String {
        format!("cassandra {}", self.plan.name())
    }
}

pub(crate) fn guarantee(config: &CassandraConfig) -> Guarantee {
    match config.delivery {
        Delivery::ExactlyOnce => Guarantee::Idempotent,
        Delivery::AtLeastOnce => Guarantee::AtLeastOnce,
    }
}

#[cfg(test)]
mod tests;
