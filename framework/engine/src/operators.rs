//! Stateful operators: each keeps its state between epochs and emits rows when an epoch's input is complete.
//!
//! ```text
//! piece = spec.take_input(port, plan)             // when the query is planned, once a port
//! operator = spec.build(name, emissions)          // when it starts
//! emitted = operator.epoch(inputs, ctx)           // each epoch; changes stay in the stores' overlays
//! ```
//! What all of them do alike with their stores (delta, seal, discard, snapshot …) is in [`stage`].

pub(crate) mod aggregate;
mod by_key;
pub(crate) mod changes;
pub(crate) mod deduplicate;
mod functions;
pub(crate) mod join;
pub(crate) mod limit;
mod panes;
pub(crate) mod session;
pub(crate) mod shape;
pub(crate) mod stage;
pub(crate) mod user_state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use tidegate_api::{Clock, Error, Result};
use tidegate_epoch::OperatorNumbers;
use tidegate_epoch::state::KeyedState;

use crate::exec::leaf::Emission;
use crate::exec::{LeafId, RunInput, Runner, Statics, TimesSeen, Wanted};

/// A stateful operator as planned.
pub(crate) trait OperatorSpec: Send + Sync {
    /// Takes DataFusion's plan of what stands below a port (of the whole node, if it is an aggregate) and returns the piece
    /// that makes the rows of the port, chunk by chunk. Called once for each port, in their order.
    fn take_input(&mut self, port: usize, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>>;

    /// The operator with an empty state. Its stores are called `name`, or begin with it if there are several.
    fn build(self: Box<Self>, name: Arc<str>, emissions: BTreeSet<Emission>) -> Result<Box<dyn Operator>>;

    /// True if rows are late by the watermark, or state is given up: then sinks that go by different watermarks can't share it.
    fn waits_for_watermark(&self) -> bool {
        true
    }

    /// What `explain` says beside name and emissions.
    fn details(&self) -> Option<String> {
        None
    }
}

/// A stateful operator that runs.
#[async_trait]
pub(crate) trait Operator: Send + Sync {
    /// What it remembers: one store, or one for each side of a join. Their number and names never change.
    fn stores(&self) -> &[KeyedState];

    /// The same, to be changed from outside.
    fn stores_mut(&mut self) -> &mut [KeyedState];

    /// Takes the rows of a whole epoch, by port, each in input order; a port that got none may be missing. State changes
    /// stay in the overlays. What its stores hold then is counted by its stage.
    async fn epoch(
        &mut self,
        inputs: Vec<Vec<RecordBatch>>,
        ctx: &OperatorEpoch<'_>,
    ) -> Result<(Emitted, OperatorNumbers)>;

    /// A plan over [`LeafId::Partials`] that makes fewer rows of many that mean the same, for tasks that shrink a port's rows
    /// before the epoch's end.
    fn shrink(&self, _port: usize) -> Option<Arc<dyn ExecutionPlan>> {
        None
    }

    /// True if late rows of a port are dropped.
    fn drops_late(&self, port: usize) -> bool;

    /// True if an epoch without data must follow, since its watermark rose from `used_us` (the one that the last epoch
    /// evicted with) to `next_us` (Spark: `shouldRunAnotherBatch`).
    fn wants_epoch(&self, used_us: Option<i64>, next_us: Option<i64>) -> bool;

    /// When an epoch without data must come, whatever the watermark: a timer of the clock. Microseconds.
    fn next_time_us(&self) -> Option<i64> {
        None
    }

    /// The watermark of the rows that it emits, given that of its input (Spark: `produceOutputWatermark`).
    fn output_watermark(&self, input_us: Option<i64>) -> Option<i64> {
        input_us
    }
}

/// What an operator emits in an epoch.
pub(crate) type Emitted = BTreeMap<Emission, Vec<RecordBatch>>;

/// What an epoch brings to an operator, beside its rows.
pub(crate) struct OperatorEpoch<'a> {
    pub(crate) runner: &'a Runner,
    pub(crate) clock: &'a dyn Clock,
    /// The time of the epoch, milliseconds.
    pub(crate) time_ms: i64,
    /// Rows at or before this are late, microseconds.
    pub(crate) late_us: Option<i64>,
    /// Groups at or before this are closed, microseconds.
    pub(crate) evict_us: Option<i64>,
    /// False in an epoch without data.
    pub(crate) with_data: bool,
}

impl OperatorEpoch<'_> {
    /// Milliseconds since `at`, which becomes now.
    fn lap_ms(&self, at: &mut Duration) -> u64 {
        let now = self.clock.monotonic();
        let ms = now.saturating_sub(std::mem::replace(at, now)).as_millis();
        u64::try_from(ms).unwrap_or(u64::MAX)
    }
}

/// Runs a plan over [`LeafId::Partials`], such as [`Operator::shrink`] gives, on `rows`; of no rows it makes none.
pub(crate) async fn merge_with(
    plan: &Arc<dyn ExecutionPlan>,
    runner: &Runner,
    rows: Vec<RecordBatch>,
) -> Result<Vec<RecordBatch>> {
    if rows.is_empty() {
        return Ok(rows);
    }
    let (statics, times) = (Statics::default(), Arc::new(TimesSeen::default()));
    runner.run(plan, RunInput { leaf: LeafId::Partials, rows, statics, times, wanted: Wanted::All }).await
}

/// One batch of all rows. The nodes of a plan may spell nullability differently: `schema` counts.
fn concat(schema: &SchemaRef, rows: &[RecordBatch]) -> Result<RecordBatch> {
    let wrong = |e| Error::internal("rows do not fit an operator's state").because(e);
    let rows = rows.iter().map(|it| RecordBatch::try_new(schema.clone(), it.columns().to_vec()));
    let rows = rows.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    concat_batches(schema, &rows).map_err(wrong)
}

/// For people; a negative length is none.
fn micros(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}
