//! The stateful aggregate: `Partial` below it, `PartialReduce` to merge with the state, `Final` for what it emits.
//!
//! Per epoch (Spark: `StateStoreSaveExec`):
//! ```text
//! new    = merge(partials)                       // one row a key
//! new    = windows of new                         // if they are of panes (see `panes`)
//! new   -= late rows                              // pane <= late watermark; not in complete mode
//! merged = merge(state rows of the same keys, new)
//! state := merged                                 // overlay
//! emit changed = finish(merged), closed = finish(evicted: pane <= watermark), whole = finish(state)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int8Array, RecordBatch, new_null_array};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::EmitTo;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use tidegate_api::{Clock, Error, Result};
use tidegate_epoch::state::{KeyedState, StateLayout};
use tidegate_epoch::{OperatorDelta, OperatorNumbers, OperatorSnapshot};
use tidegate_sql::Panes;

use super::panes::Spread;
use super::shape::{split_late, to_output};
use crate::error::from_datafusion;
use crate::exec::leaf::Emission;
use crate::exec::{LeafExec, LeafId, RunInput, Runner, Statics, TimesSeen};

/// How a grouping key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupKey {
    /// A window, kept by its end.
    Window { size_us: i64, event_time: bool },
    /// The event time itself.
    EventTime,
    /// Any other value.
    Plain,
    /// There is no key: all rows are one group.
    Constant,
}

/// An aggregate as planned.
pub(crate) struct AggregateSpec {
    pub(crate) name: Arc<str>,
    pub(crate) complete: bool,
    pub(crate) keys: Vec<GroupKey>,
    /// Its rows come in panes of sliding windows.
    pub(crate) panes: Option<Panes>,
    /// The sinks above it. Where a watermark acts they go by the same.
    pub(crate) sinks: BTreeSet<usize>,
    /// The stage that it was one with before their sinks went by different watermarks.
    pub(crate) origin: Option<Arc<str>>,
    output: SchemaRef,
    physical: Option<Physical>,
}

struct Physical {
    key_count: usize,
    partial: SchemaRef,
    merge: Arc<dyn ExecutionPlan>,
    finish: Arc<dyn ExecutionPlan>,
    /// The state of a group that has seen no row.
    empty: Option<RecordBatch>,
}

impl AggregateSpec {
    pub(crate) fn new(name: Arc<str>, complete: bool, keys: Vec<GroupKey>, output: SchemaRef) -> Self {
        Self { name, complete, keys, panes: None, sinks: BTreeSet::new(), origin: None, output, physical: None }
    }

    /// Takes DataFusion's plan of the aggregate apart; returns the piece that makes partial rows.
    pub(crate) fn take_physical(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let partial = find_partial(plan).ok_or_else(|| Error::internal("no partial aggregate in the plan"))?;
        let exec = partial.downcast_ref::<AggregateExec>().ok_or_else(|| Error::internal("no aggregate"))?;
        let functions = exec.aggr_expr().to_vec();
        let schema = partial.schema();
        let groups = exec.group_expr().as_final();
        let leaf = || Arc::new(LeafExec::new(LeafId::Partials, schema.clone()));
        let build = |mode, input_schema| {
            let filters = vec![None; functions.len()];
            AggregateExec::try_new(mode, groups.clone(), functions.clone(), filters, leaf(), input_schema)
                .map_err(from_datafusion)
        };
        let merge = Arc::new(build(AggregateMode::PartialReduce, schema.clone())?);
        let finish = Arc::new(build(AggregateMode::Final, exec.input_schema())?);
        let constant = self.keys == [GroupKey::Constant];
        let empty = constant.then(|| empty_group(&functions, &exec.input_schema(), &schema)).transpose()?;
        let key_count = groups.expr().len();
        self.physical = Some(Physical { key_count, partial: schema, merge, finish, empty });
        Ok(partial)
    }

    /// The key column that is a window.
    fn window(&self) -> Option<usize> {
        self.keys.iter().position(|key| matches!(key, GroupKey::Window { .. }))
    }

    /// The key column by which rows are late and groups close.
    fn pane(&self) -> Option<usize> {
        let window = self.keys.iter().position(|key| matches!(key, GroupKey::Window { event_time: true, .. }));
        window.or_else(|| self.keys.iter().position(|key| *key == GroupKey::EventTime))
    }

    /// True if rows are late by the watermark, and groups close.
    pub(crate) fn waits_for_watermark(&self) -> bool {
        !self.complete && self.pane().is_some()
    }

    /// Names the columns of the state, so that another aggregate's state is refused.
    fn layout(physical: &Physical) -> Arc<str> {
        let fields = physical.partial.fields().iter().map(|it| format!("{}: {}", it.name(), it.data_type()));
        let fields: Vec<_> = fields.collect();
        format!("aggregate/1 keys {}; {}", physical.key_count, fields.join(", ")).into()
    }
}

fn find_partial(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    if let Some(exec) = plan.downcast_ref::<AggregateExec>()
        && *exec.mode() == AggregateMode::Partial
    {
        return Some(plan.clone());
    }
    plan.children().into_iter().find_map(find_partial)
}

/// The state of the one group of an aggregate without keys, before any row.
fn empty_group(functions: &[Arc<AggregateFunctionExpr>], input: &SchemaRef, state: &SchemaRef) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int8Array::from(vec![0_i8]))];
    for function in functions {
        columns.extend(empty_state(function, input).map_err(from_datafusion)?);
    }
    RecordBatch::try_new(state.clone(), columns)
        .map_err(|e| Error::internal("an empty group can't be built").because(e))
}

/// By the accumulator that partial aggregation uses: the others spell "no row yet" differently.
fn empty_state(function: &AggregateFunctionExpr, input: &SchemaRef) -> Result<Vec<ArrayRef>, DataFusionError> {
    if !function.groups_accumulator_supported() {
        let state = function.create_accumulator()?.state()?;
        return state.into_iter().map(|it| it.to_array()).collect();
    }
    let mut accumulator = function.create_groups_accumulator()?;
    let arguments = function.expressions().into_iter().map(|it| Ok(new_null_array(&it.data_type(input)?, 1)));
    let arguments = arguments.collect::<Result<Vec<_>, DataFusionError>>()?;
    // A row that the filter leaves out: with no row at all, accumulators take "none was null" for "each was seen".
    accumulator.update_batch(&arguments, &[0], Some(&BooleanArray::from(vec![false])), 1)?;
    accumulator.state(EmitTo::All)
}

/// What an operator emits in an epoch.
pub(crate) type Emitted = BTreeMap<Emission, Vec<RecordBatch>>;

/// What an epoch brings to an operator, beside its rows.
pub(crate) struct OperatorEpoch<'a> {
    pub(crate) runner: &'a Runner,
    pub(crate) clock: &'a dyn Clock,
    /// Rows at or before this are late, microseconds.
    pub(crate) late_us: Option<i64>,
    /// Groups at or before this are closed, microseconds.
    pub(crate) evict_us: Option<i64>,
    /// False in an epoch without data.
    pub(crate) with_data: bool,
}

/// An aggregate with its state.
pub(crate) struct Aggregate {
    spec: AggregateSpec,
    physical: Physical,
    state: KeyedState,
    emissions: BTreeSet<Emission>,
    pane: Option<usize>,
}

impl Aggregate {
    pub(crate) fn new(mut spec: AggregateSpec, emissions: BTreeSet<Emission>) -> Result<Self> {
        let physical = spec.physical.take().ok_or_else(|| Error::internal("an aggregate was not planned"))?;
        let pane = spec.pane().filter(|_| !spec.complete);
        let state = KeyedState::new(StateLayout {
            operator: spec.name.clone(),
            layout: AggregateSpec::layout(&physical),
            schema: physical.partial.clone(),
            key_columns: (0..physical.key_count).collect(),
            pane_column: pane,
        })?;
        Ok(Self { spec, physical, state, emissions, pane })
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.spec.name
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.spec.complete
    }

    /// The sinks above it. Where a watermark acts they go by the same.
    pub(crate) fn sinks(&self) -> &BTreeSet<usize> {
        &self.spec.sinks
    }

    /// The stage whose state it takes over as long as the checkpoint has none of its own.
    pub(crate) fn origin(&self) -> Option<&Arc<str>> {
        self.spec.origin.as_ref()
    }

    /// What the epoch changed in the state: nothing.
    pub(crate) fn no_delta(&self) -> OperatorDelta {
        let (operator, layout) = (self.spec.name.clone(), AggregateSpec::layout(&self.physical));
        OperatorDelta { operator, layout, evict_through_us: None, tombstones: None, puts: None }
    }

    /// Merges partial rows, which come in input order, down to one row a key.
    pub(crate) async fn merge(&self, runner: &Runner, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        merge_with(&self.physical.merge, runner, rows).await
    }

    /// The plan of [`Self::merge`], for tasks that shrink their rows before the epoch's end.
    pub(crate) fn merge_plan(&self) -> Arc<dyn ExecutionPlan> {
        self.physical.merge.clone()
    }

    /// Takes the partial rows of a whole epoch; state changes stay in the overlay.
    pub(crate) async fn epoch(
        &mut self,
        partials: Vec<RecordBatch>,
        ctx: &OperatorEpoch<'_>,
    ) -> Result<(Emitted, OperatorNumbers)> {
        let started = ctx.clock.monotonic();
        let mut numbers = OperatorNumbers { name: "stateStoreSave".to_owned(), ..OperatorNumbers::default() };
        let new = self.new_rows(partials, ctx, &mut numbers).await?;
        let changed = self.store(new, ctx.runner).await?;
        numbers.rows_updated = changed.iter().map(|it| it.num_rows() as u64).sum();
        let updated = ctx.clock.monotonic();
        let mut closed = Vec::new();
        if let (Some(_), Some(evict_us)) = (self.pane, ctx.evict_us) {
            let evicted = self.state.evict_through(evict_us)?;
            numbers.rows_removed = evicted.num_rows() as u64;
            if evicted.num_rows() > 0 {
                closed.push(evicted);
            }
        }
        let removed = ctx.clock.monotonic();
        let mut emitted = Emitted::new();
        for emission in &self.emissions {
            let rows = match emission {
                Emission::Changed => changed.clone(),
                Emission::Closed => closed.clone(),
                Emission::Whole => self.state.all()?,
            };
            emitted.insert(*emission, self.finish(ctx.runner, rows).await?);
        }
        numbers.rows_total = self.state.len() as u64;
        numbers.memory_bytes = self.state.memory_bytes() as u64;
        numbers.updates_ms = millis(updated.saturating_sub(started));
        numbers.removals_ms = millis(removed.saturating_sub(updated));
        Ok((emitted, numbers))
    }

    /// One row a key, without the late ones.
    async fn new_rows(
        &self,
        mut partials: Vec<RecordBatch>,
        ctx: &OperatorEpoch<'_>,
        numbers: &mut OperatorNumbers,
    ) -> Result<Vec<RecordBatch>> {
        if let Some(empty) = &self.physical.empty
            && partials.is_empty()
            && ctx.with_data
        {
            // Without keys there is a row even over no input.
            partials.push(empty.clone());
        }
        let mut rows = self.merge(ctx.runner, partials).await?;
        if let (Some(panes), Some(key)) = (self.spec.panes, self.spec.window()) {
            rows = Spread { panes, key, merge: &self.physical.merge, runner: ctx.runner }.windows(rows).await?;
        }
        if let (Some(pane), Some(late_us)) = (self.pane, ctx.late_us) {
            for batch in &mut rows {
                let (kept, late) = split_late(batch.clone(), pane, late_us)?;
                numbers.rows_dropped_by_watermark += late as u64;
                *batch = kept;
            }
            rows.retain(|it| it.num_rows() > 0);
        }
        Ok(rows)
    }

    /// Merges new rows with the state's rows of the same keys and puts the result into the overlay.
    async fn store(&mut self, new: Vec<RecordBatch>, runner: &Runner) -> Result<Vec<RecordBatch>> {
        if new.is_empty() {
            return Ok(new);
        }
        let new = concat(&self.physical.partial, &new)?;
        let stored = self.state.matching(&new)?;
        let merged = if stored.num_rows() == 0 {
            new
        } else {
            // Stored rows first: order-sensitive aggregates see them as the older ones.
            concat(&self.physical.partial, &self.merge(runner, vec![stored, new]).await?)?
        };
        self.state.put(merged.clone())?;
        Ok(vec![merged])
    }

    async fn finish(&self, runner: &Runner, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        if rows.is_empty() {
            return Ok(rows);
        }
        let rows = runner.run(&self.physical.finish, partials_input(rows)).await?;
        rows.iter().map(|it| to_output(it, &self.spec.keys, &self.spec.output)).collect()
    }

    pub(crate) fn delta(&self) -> Result<Option<OperatorDelta>> {
        self.state.delta()
    }

    pub(crate) fn seal(&mut self) {
        self.state.seal();
    }

    pub(crate) fn discard(&mut self) {
        self.state.discard();
    }

    pub(crate) fn snapshot(&self) -> Result<OperatorSnapshot> {
        self.state.snapshot()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) -> Result<()> {
        self.state = KeyedState::new(self.state.layout().clone())?;
        Ok(())
    }

    pub(crate) fn load(&mut self, snapshot: &OperatorSnapshot) -> Result<()> {
        self.state.load(snapshot)
    }

    pub(crate) fn apply(&mut self, delta: &OperatorDelta) -> Result<()> {
        self.state.apply(delta)
    }
}

/// Merges partial rows by the plan that [`Aggregate::merge_plan`] gives.
pub(crate) async fn merge_with(
    plan: &Arc<dyn ExecutionPlan>,
    runner: &Runner,
    rows: Vec<RecordBatch>,
) -> Result<Vec<RecordBatch>> {
    if rows.is_empty() {
        return Ok(rows);
    }
    runner.run(plan, partials_input(rows)).await
}

fn partials_input(rows: Vec<RecordBatch>) -> RunInput {
    RunInput { leaf: LeafId::Partials, rows, statics: Statics::default(), times: Arc::new(TimesSeen::default()) }
}

/// One batch of all rows. The nodes of a plan may spell nullability differently: the state's schema counts.
fn concat(schema: &SchemaRef, rows: &[RecordBatch]) -> Result<RecordBatch> {
    let wrong = |e| Error::internal("partial rows do not fit the state").because(e);
    let rows = rows.iter().map(|it| RecordBatch::try_new(schema.clone(), it.columns().to_vec()));
    let rows = rows.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    concat_batches(schema, &rows).map_err(wrong)
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
