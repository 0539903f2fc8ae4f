//! The stateful aggregate: `Partial` below it, `PartialReduce` for what an epoch brings; from there on the groups of the rows are
//! known, and its functions work without a plan (see `functions`).
//!
//! Per epoch (Spark: `StateStoreSaveExec`):
//! ```text
//! new    = merge(partials)                       // one row a key
//! new    = windows of new                         // if they are of panes (see `panes`)
//! new   -= late rows                              // pane <= late watermark; not in complete mode
//! merged = merge(state rows of the same keys, new)
//! state := merged                                 // overlay
//! emit changed = finish(merged), closed = finish(evicted: pane <= watermark), whole = finish(state)
//!      changes = -finish(state rows), +finish(merged)                            // see `changes`
//! ```
//! Over an aggregate whose changes it reads, functions add up signed rows, and a group whose rows have all been taken back is no
//! more.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int8Array, RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take;
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use tidegate_api::{Error, Result};
use tidegate_epoch::OperatorNumbers;
use tidegate_epoch::state::{KeyedState, Matching, StateLayout};
use tidegate_sql::Panes;

use super::changes::changes;
use super::functions::Functions;
use super::panes::Spread;
use super::shape::{filtered, not, on_time, to_output};
use super::{Emitted, Operator, OperatorEpoch, OperatorSpec, concat, merge_with, micros};
use crate::error::from_datafusion;
use crate::exec::leaf::Emission;
use crate::exec::{LeafExec, LeafId};

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
    pub(crate) complete: bool,
    pub(crate) keys: Vec<GroupKey>,
    /// Its rows come in panes of sliding windows.
    pub(crate) panes: Option<Panes>,
    /// Its rows are changes: the first function counts those that are there.
    pub(crate) retracts: bool,
    output: SchemaRef,
    physical: Option<Physical>,
}

/// DataFusion's plan of an aggregate, taken apart.
pub(super) struct Physical {
    pub(super) key_count: usize,
    /// Of partial rows: `keys…, states of the functions…`.
    pub(super) partial: SchemaRef,
    /// Partial rows to one a group.
    pub(super) merge: Arc<dyn ExecutionPlan>,
    /// The same functions, for rows whose groups are known.
    pub(super) functions: Functions,
    /// The state of the one group that there is without keys, before any row.
    empty: Option<RecordBatch>,
}

impl Physical {
    /// The piece that makes partial rows, and what works on them. `constant`: there is one group, even over no row.
    pub(super) fn of(plan: &Arc<dyn ExecutionPlan>, constant: bool) -> Result<(Arc<dyn ExecutionPlan>, Self)> {
        let partial = find_partial(plan).ok_or_else(|| Error::internal("no partial aggregate in the plan"))?;
        let exec = partial.downcast_ref::<AggregateExec>().ok_or_else(|| Error::internal("no aggregate"))?;
        let (schema, groups) = (partial.schema(), exec.group_expr().as_final());
        let leaf = Arc::new(LeafExec::new(LeafId::Partials, schema.clone()));
        let (exprs, key_count) = (exec.aggr_expr().to_vec(), groups.expr().len());
        let filters = vec![None; exprs.len()];
        let functions = Functions::new(key_count, &exprs, exec.input_schema()).map_err(from_datafusion)?;
        let merge = AggregateExec::try_new(AggregateMode::PartialReduce, groups, exprs, filters, leaf, schema.clone());
        let merge = Arc::new(merge.map_err(from_datafusion)?);
        let mut physical = Self { key_count, partial: schema, merge, functions, empty: None };
        if constant {
            let key: ArrayRef = Arc::new(Int8Array::from(vec![0_i8]));
            physical.empty = Some(physical.without_rows(vec![key])?);
        }
        Ok((partial, physical))
    }

    /// Groups of these keys that have seen no row, as the state keeps them.
    pub(super) fn without_rows(&self, keys: Vec<ArrayRef>) -> Result<RecordBatch> {
        let broken = |e| Error::internal("an empty group can't be built").because(e);
        let none_of = UInt32Array::from_value(0, keys.first().map_or(0, |it| it.len()));
        let mut columns = keys;
        for state in self.functions.empty().map_err(from_datafusion)? {
            columns.push(take(&state, &none_of, None).map_err(broken)?);
        }
        RecordBatch::try_new(self.partial.clone(), columns).map_err(broken)
    }

    /// Groups with these keys, of partial rows whose groups are known, as [`Functions::merged`].
    pub(super) fn merged(&self, keys: &[ArrayRef], rows: &[&RecordBatch], groups: &[usize]) -> Result<RecordBatch> {
        let count = keys.first().map_or(0, |it| it.len());
        let mut columns = keys.to_vec();
        columns.extend(self.functions.merged(rows, groups, count).map_err(from_datafusion)?);
        RecordBatch::try_new(self.partial.clone(), columns)
            .map_err(|e| Error::internal("groups can't be built").because(e))
    }

    /// Names keys and states, so that another aggregate's state is refused.
    pub(super) fn layout(&self, kind: &str) -> Arc<str> {
        let fields = self.partial.fields().iter().map(|it| format!("{}: {}", it.name(), it.data_type()));
        let fields: Vec<_> = fields.collect();
        format!("{kind}/1 keys {}; {}", self.key_count, fields.join(", ")).into()
    }
}

impl AggregateSpec {
    pub(crate) fn new(complete: bool, keys: Vec<GroupKey>, output: SchemaRef) -> Self {
        Self { complete, keys, panes: None, retracts: false, output, physical: None }
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
}

impl OperatorSpec for AggregateSpec {
    /// Takes DataFusion's plan of the aggregate apart: rows come as partial ones.
    fn take_input(&mut self, _: usize, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let constant = self.keys == [GroupKey::Constant];
        let (partial, physical) = Physical::of(&plan, constant)?;
        self.physical = Some(physical);
        Ok(partial)
    }

    fn build(self: Box<Self>, name: Arc<str>, emissions: BTreeSet<Emission>) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Aggregate::new(*self, name, emissions)?))
    }

    fn waits_for_watermark(&self) -> bool {
        !self.complete && self.pane().is_some()
    }

    fn details(&self) -> Option<String> {
        let Panes { size_us, slide_us, pane_us, .. } = self.panes?;
        let (size, slide, pane) = (micros(size_us), micros(slide_us), micros(pane_us));
        Some(format!("windows of {size:?} every {slide:?}, merged from panes of {pane:?}"))
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

/// The partial rows of the groups that an epoch changed.
struct Changed {
    /// As they were; kept only where changes are asked for.
    before: Vec<RecordBatch>,
    after: Vec<RecordBatch>,
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
    fn new(mut spec: AggregateSpec, name: Arc<str>, emissions: BTreeSet<Emission>) -> Result<Self> {
        let physical = spec.physical.take().ok_or_else(|| Error::internal("an aggregate was not planned"))?;
        let pane = spec.pane().filter(|_| !spec.complete);
        let state = KeyedState::new(StateLayout {
            operator: name,
            layout: physical.layout("aggregate"),
            schema: physical.partial.clone(),
            key_columns: (0..physical.key_count).collect(),
            pane_column: pane,
            row_column: None,
        })?;
        Ok(Self { spec, physical, state, emissions, pane })
    }

    /// One row a key, without the late ones.
    async fn new_rows(
        &self,
        mut partials: Vec<RecordBatch>,
        ctx: &OperatorEpoch<'_>,
        numbers: &mut OperatorNumbers,
    ) -> Result<Vec<RecordBatch>> {
        // Without keys there is a row even over no input: in Spark also in the epoch without data that a watermark asks for.
        let is_run = ctx.with_data || ctx.evict_us.is_some() && !self.spec.complete;
        if let Some(empty) = &self.physical.empty
            && partials.is_empty()
            && is_run
        {
            partials.push(empty.clone());
        }
        let mut rows = merge_with(&self.physical.merge, ctx.runner, partials).await?;
        if let (Some(panes), Some(key)) = (self.spec.panes, self.spec.window()) {
            rows = Spread { panes, key, merge: &self.physical.merge, runner: ctx.runner }.windows(rows).await?;
        }
        for batch in &mut rows {
            *batch = on_time(batch.clone(), self.pane, ctx.late_us, numbers)?;
        }
        rows.retain(|it| it.num_rows() > 0);
        Ok(rows)
    }

    /// Merges new rows with the state's rows of the same keys and puts the result into the overlay.
    fn store(&mut self, new: Vec<RecordBatch>) -> Result<Changed> {
        if new.is_empty() {
            return Ok(Changed { before: Vec::new(), after: new });
        }
        let new = concat(&self.physical.partial, &new)?;
        let Matching { rows: stored, of } = self.state.matching(&new)?;
        let mut merged = if stored.num_rows() == 0 {
            new
        } else {
            // Stored rows first: order-sensitive aggregates see them as the older ones.
            let groups: Vec<usize> = of.into_iter().chain(0..new.num_rows()).collect();
            let keys = new.columns().get(..self.physical.key_count).unwrap_or_default();
            self.physical.merged(keys, &[&stored, &new], &groups)?
        };
        let mut before = if self.emissions.contains(&Emission::Changes) { vec![stored] } else { Vec::new() };
        if self.spec.retracts && self.physical.empty.is_none() {
            merged = self.without_gone(merged)?;
        }
        self.state.put(merged.clone())?;
        let mut after = vec![merged];
        [&mut before, &mut after].into_iter().for_each(|it| it.retain(|it| it.num_rows() > 0));
        Ok(Changed { before, after })
    }

    /// The groups that have rows; the state forgets the others.
    fn without_gone(&mut self, merged: RecordBatch) -> Result<RecordBatch> {
        let rows = merged.columns().get(self.physical.key_count).and_then(|it| it.as_primitive_opt::<Int64Type>());
        let rows = rows.ok_or_else(|| Error::internal("an aggregate of changes does not count its rows"))?;
        let there = BooleanArray::from_unary(rows, |count| count != 0);
        if there.true_count() < merged.num_rows() {
            self.state.remove(&filtered(&merged, &not(&there))?)?;
        }
        filtered(&merged, &there)
    }

    fn finish(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let rows = self.physical.functions.finished(rows)?;
        rows.iter().map(|it| to_output(it, &self.spec.keys, &self.spec.output)).collect()
    }
}

#[async_trait]
impl Operator for Aggregate {
    fn stores(&self) -> &[KeyedState] {
        std::slice::from_ref(&self.state)
    }

    fn stores_mut(&mut self) -> &mut [KeyedState] {
        std::slice::from_mut(&mut self.state)
    }

    fn shrink(&self, _: usize) -> Option<Arc<dyn ExecutionPlan>> {
        Some(self.physical.merge.clone())
    }

    fn drops_late(&self, _: usize) -> bool {
        self.pane.is_some()
    }

    fn wants_epoch(&self, used_us: Option<i64>, next_us: Option<i64>) -> bool {
        !self.spec.complete && next_us > used_us
    }

    async fn epoch(
        &mut self,
        inputs: Vec<Vec<RecordBatch>>,
        ctx: &OperatorEpoch<'_>,
    ) -> Result<(Emitted, OperatorNumbers)> {
        let mut at = ctx.clock.monotonic();
        let mut numbers = OperatorNumbers { name: "stateStoreSave".to_owned(), ..OperatorNumbers::default() };
        let new = self.new_rows(inputs.into_iter().flatten().collect(), ctx, &mut numbers).await?;
        let Changed { before, after: changed } = self.store(new)?;
        numbers.rows_updated = changed.iter().map(|it| it.num_rows() as u64).sum();
        numbers.updates_ms = ctx.lap_ms(&mut at);
        let mut closed = Vec::new();
        if let (Some(_), Some(evict_us)) = (self.pane, ctx.evict_us) {
            if self.emissions.contains(&Emission::Closed) {
                closed.push(self.state.evict_through(evict_us)?);
                closed.retain(|it| it.num_rows() > 0);
                numbers.rows_removed = closed.iter().map(|it| it.num_rows() as u64).sum();
            } else {
                numbers.rows_removed = self.state.evict_unless(evict_us, None)?.1;
            }
        }
        numbers.removals_ms = ctx.lap_ms(&mut at);
        let mut emitted = Emitted::new();
        for emission in &self.emissions {
            let rows = match emission {
                Emission::Changed | Emission::Changes | Emission::Rows => changed.clone(),
                Emission::Closed => closed.clone(),
                Emission::Whole => self.state.all()?,
            };
            let mut rows = self.finish(&rows)?;
            if *emission == Emission::Changes {
                rows = changes(&self.finish(&before)?, &rows)?;
            }
            emitted.insert(*emission, rows);
        }
        Ok((emitted, numbers))
    }
}
