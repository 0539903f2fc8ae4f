//! The join of two streams: the rows of each side are kept until no row of the other can meet them any more.
//!
//! Per epoch (Spark: `StreamingSymmetricHashJoinExec`):
//! ```text
//! left rows   -= late, those that fail the condition on themselves (out with nulls, if the join keeps them)
//! left rows meet the right state; all are stored with whether they met any
//! right rows  likewise meet the left state, which has this epoch's left rows now
//! both states -= rows that are over; those that met none come out with nulls, if the join keeps them
//! ```
//! Of a semi join the right side goes first, and a left row leaves the state when it has met one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::filter::filter;
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use tidegate_api::{Error, Result};
use tidegate_epoch::OperatorNumbers;
use tidegate_epoch::state::{KeyedState, Matches, Probe, RowRef};

use super::shape::{filtered, not, on_time};
use super::{Emitted, Operator, OperatorEpoch, OperatorSpec, concat};
use crate::exec::leaf::Emission;
use pairs::Pairs;
pub(crate) use pairs::Residual;
pub(crate) use side::{Eviction, Side, SidePlan, Within};

mod pairs;
mod side;

/// Pairs that are looked at together.
const PAIRS: usize = 1 << 16;
/// Rows that enter together.
const ROWS: usize = 1 << 18;

/// Which rows a join gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    /// Left rows that meet a right one, once.
    Semi,
}

impl JoinKind {
    /// True if rows of the side come out even if they meet none.
    fn keeps(self, side: Side) -> bool {
        match side {
            Side::Left => matches!(self, Self::Left | Self::Full),
            Side::Right => matches!(self, Self::Right | Self::Full),
        }
    }

    /// Which side's rows enter first.
    fn first(self) -> Side {
        if self == Self::Semi { Side::Right } else { Side::Left }
    }
}

/// A join as planned.
pub(crate) struct JoinSpec {
    pub(crate) kind: JoinKind,
    pub(crate) sides: [SidePlan; 2],
    /// For each key whether null equals null.
    pub(crate) null_safe: Vec<bool>,
    /// What must hold of a pair beside the keys.
    pub(crate) residual: Option<Residual>,
    /// The rows of the join: left columns, then right ones.
    pub(crate) output: SchemaRef,
    /// The rows of each port.
    pub(crate) ports: Vec<SchemaRef>,
}

impl OperatorSpec for JoinSpec {
    fn take_input(&mut self, _: usize, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        self.ports.push(plan.schema());
        Ok(plan)
    }

    fn build(self: Box<Self>, name: Arc<str>, _: BTreeSet<Emission>) -> Result<Box<dyn Operator>> {
        let [left, right] = self.ports.as_slice() else {
            return Err(Error::internal(format!("join '{name}' has {} inputs", self.ports.len())));
        };
        let [left_plan, right_plan] = &self.sides;
        let stores = [
            KeyedState::new(left_plan.layout(&format!("{name}-left"), left)?)?,
            KeyedState::new(right_plan.layout(&format!("{name}-right"), right)?)?,
        ];
        Ok(Box::new(StreamJoin { spec: *self, stores }))
    }

    fn waits_for_watermark(&self) -> bool {
        self.sides.iter().any(|it| it.late.is_some() || it.evicts != Eviction::Never)
    }

    fn details(&self) -> Option<String> {
        let [left, right] = &self.sides;
        let keys = self.null_safe.len();
        Some(format!(
            "{:?} join on {keys} {}; left rows are kept {}, right rows {}",
            self.kind,
            if keys == 1 { "key" } else { "keys" },
            left.evicts,
            right.evicts
        ))
    }
}

/// A join with its two states.
pub(crate) struct StreamJoin {
    spec: JoinSpec,
    stores: [KeyedState; 2],
}

/// What comes of an epoch.
#[derive(Default)]
struct Run {
    emitted: Vec<RecordBatch>,
    numbers: OperatorNumbers,
    /// Rows of the state that have met one, of the side that does not enter just now.
    met: BTreeSet<RowRef>,
}

#[async_trait]
impl Operator for StreamJoin {
    fn stores(&self) -> &[KeyedState] {
        &self.stores
    }

    fn stores_mut(&mut self) -> &mut [KeyedState] {
        &mut self.stores
    }

    async fn epoch(
        &mut self,
        inputs: Vec<Vec<RecordBatch>>,
        ctx: &OperatorEpoch<'_>,
    ) -> Result<(Emitted, OperatorNumbers)> {
        let mut at = ctx.clock.monotonic();
        let mut run = Run::default();
        run.numbers.name = "symmetricHashJoin".to_owned();
        let mut inputs = inputs.into_iter();
        let mut inputs = [inputs.next().unwrap_or_default(), inputs.next().unwrap_or_default()];
        let first = self.spec.kind.first();
        for side in [first, first.other()] {
            let mut rows = VecDeque::from(std::mem::take(side.of_mut(&mut inputs)));
            while let Some(rows) = self.next_rows(side, &mut rows)? {
                self.enter(side, rows, ctx, &mut run)?;
            }
            self.settle(side.other(), &mut run)?;
        }
        run.numbers.updates_ms = ctx.lap_ms(&mut at);
        for side in [Side::Left, Side::Right] {
            self.evict(side, ctx.evict_us, &mut run)?;
        }
        run.numbers.removals_ms = ctx.lap_ms(&mut at);
        let Run { emitted, numbers, .. } = run;
        Ok((Emitted::from([(Emission::Rows, emitted)]), numbers))
    }

    fn drops_late(&self, port: usize) -> bool {
        self.spec.sides.get(port).is_some_and(|it| it.late.is_some())
    }

    fn wants_epoch(&self, used_us: Option<i64>, next_us: Option<i64>) -> bool {
        next_us > used_us && self.spec.sides.iter().any(|it| it.evicts != Eviction::Never)
    }

    fn output_watermark(&self, input_us: Option<i64>) -> Option<i64> {
        let states = self.spec.sides.iter().filter_map(|it| it.evicts.through(input_us));
        states.chain(input_us).min()
    }
}

impl StreamJoin {
    /// The next rows of a side, in one batch.
    fn next_rows(&self, side: Side, waiting: &mut VecDeque<RecordBatch>) -> Result<Option<RecordBatch>> {
        let (mut rows, mut count) = (Vec::new(), 0);
        while let Some(batch) = waiting.pop_front_if(|it| rows.is_empty() || count + it.num_rows() <= ROWS) {
            count += batch.num_rows();
            rows.push(batch);
        }
        let schema = self.spec.ports.get(side.port()).ok_or_else(|| Error::internal("a join lacks an input"))?;
        if rows.is_empty() { Ok(None) } else { concat(schema, &rows).map(Some) }
    }

    /// Takes in rows of a side: they meet the state of the other, and are stored.
    fn enter(&mut self, side: Side, rows: RecordBatch, ctx: &OperatorEpoch<'_>, run: &mut Run) -> Result<()> {
        let plan = side.of(&self.spec.sides);
        let keeps = self.spec.kind.keeps(side);
        let mut rows = on_time(rows, plan.late, ctx.late_us, &mut run.numbers)?;
        if let Some(passes) = plan.passes(&rows)? {
            if keeps {
                let failed = filtered(&rows, &not(&passes))?;
                self.emit_alone(side, plan.own(&failed), failed.num_rows(), run)?;
            }
            rows = filtered(&rows, &passes)?;
        }
        let mut meets = plan.with_keys(&rows, &self.spec.null_safe);
        if !keeps && let Some(mask) = meets.take() {
            // Without a key they never meet any.
            rows = filtered(&rows, &mask)?;
        }
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let other = side.other();
        let store = other.of(&self.stores);
        let mut probe = store.probe(&plan.key_columns(&rows), rows.num_rows())?;
        if let Some((from, to)) = other.of(&self.spec.sides).within(&rows)? {
            probe = probe.within(from, to);
        }
        if let Some(mask) = meets {
            probe = probe.only(mask);
        }
        let met = self.meet(side, &rows, &probe, run)?;
        self.store(side, &rows, &probe, &met, ctx.evict_us, run)
    }

    /// Emits the pairs that rows of a side make with the state of the other; says of each row whether it met one.
    fn meet(&self, side: Side, rows: &RecordBatch, probe: &Probe, run: &mut Run) -> Result<BooleanArray> {
        let (kind, other) = (self.spec.kind, side.other());
        let store = other.of(&self.stores);
        let mut met = BooleanBufferBuilder::new(rows.num_rows());
        met.append_n(rows.num_rows(), false);
        let mut from = 0;
        while from < rows.num_rows() {
            let (Matches { probe: numbers, rows: refs }, next) = store.matches(probe, from, PAIRS)?;
            from = next;
            for (numbers, refs) in numbers.chunks(PAIRS).zip(refs.chunks(PAIRS)) {
                let mut pairs = Pairs { side, rows, store, numbers: numbers.to_vec(), refs: refs.to_vec() };
                if let Some(residual) = &self.spec.residual {
                    pairs = residual.holding(pairs)?;
                }
                pairs.numbers.iter().for_each(|it| met.set_bit(*it as usize, true));
                match (kind, side) {
                    (JoinKind::Semi, Side::Left) => {}
                    (JoinKind::Semi, Side::Right) => {
                        let new: Vec<RowRef> = pairs.refs.iter().copied().filter(|it| run.met.insert(*it)).collect();
                        let columns: Vec<usize> = (0..other.of(&self.spec.sides).columns).collect();
                        self.emit(store.take(&new, &columns)?, new.len(), run)?;
                    }
                    _ => {
                        if kind.keeps(other) {
                            run.met.extend(pairs.refs.iter().copied());
                        }
                        self.emit(pairs.joined(&self.spec.sides)?, pairs.refs.len(), run)?;
                    }
                }
            }
        }
        let met = BooleanArray::new(met.finish(), None);
        if (kind, side) == (JoinKind::Semi, Side::Left) {
            let which = filtered(rows, &met)?;
            self.emit(side.of(&self.spec.sides).own(&which), which.num_rows(), run)?;
        }
        Ok(met)
    }

    /// Stores the rows of a side that may yet meet another, or must come out when they are over.
    fn store(
        &mut self,
        side: Side,
        rows: &RecordBatch,
        probe: &Probe,
        met: &BooleanArray,
        evict_us: Option<i64>,
        run: &mut Run,
    ) -> Result<()> {
        let (plan, kind) = (side.of(&self.spec.sides), self.spec.kind);
        // The other side's rows of this epoch have met the state when the second side enters.
        let over = if side == kind.first() { None } else { plan.over(rows, evict_us) };
        let keep: Option<BooleanArray> = match (kind, side, over) {
            (JoinKind::Semi, Side::Left, over) => {
                let over = |row: usize| over.as_ref().is_some_and(|it| it.value(row));
                Some((0..rows.num_rows()).map(|row| Some(!met.value(row) && !over(row))).collect())
            }
            (_, _, Some(over)) => {
                let unmet = |row: usize| kind.keeps(side) && !met.value(row);
                Some((0..rows.num_rows()).map(|row| Some(!over.value(row) || unmet(row))).collect())
            }
            (_, _, None) => None,
        };
        let mut columns: Vec<ArrayRef> = rows.columns().iter().take(plan.stored).cloned().collect();
        if plan.has_flag {
            columns.push(Arc::new(met.clone()));
        }
        let broken = |e| Error::internal("rows of a join can't be stored").because(e);
        let mut stored = rows.num_rows();
        let mut kept = None;
        if let Some(keep) = keep.filter(|it| it.true_count() < rows.num_rows()) {
            columns = columns.iter().map(|it| filter(it, &keep)).collect::<Result<_, _>>().map_err(broken)?;
            stored = keep.true_count();
            kept = Some(probe.filtered(&keep)?);
        }
        if stored == 0 {
            return Ok(());
        }
        let store = side.of_mut(&mut self.stores);
        let first = store.next_row();
        let numbers = Int64Array::from_iter_values((first..).take(stored));
        columns.insert(plan.stored, Arc::new(numbers));
        let batch = RecordBatch::try_new(store.layout().schema.clone(), columns).map_err(broken)?;
        store.append(&batch, Some(kept.as_ref().unwrap_or(probe)))?;
        run.numbers.rows_updated += stored as u64;
        Ok(())
    }

    /// Notes on the rows of a side that they have met one; those of a semi join leave.
    fn settle(&mut self, side: Side, run: &mut Run) -> Result<()> {
        let met: Vec<RowRef> = std::mem::take(&mut run.met).into_iter().collect();
        if met.is_empty() {
            return Ok(());
        }
        let plan = side.of(&self.spec.sides);
        let store = side.of_mut(&mut self.stores);
        if self.spec.kind == JoinKind::Semi {
            store.remove_rows(&met);
            run.numbers.rows_removed += met.len() as u64;
            return Ok(());
        }
        let known = store.take(&met, &[plan.flag()])?;
        let known = known.first().and_then(|it| it.as_any().downcast_ref::<BooleanArray>());
        let known = known.ok_or_else(|| Error::internal("a join's rows have no flags"))?;
        let new: Vec<RowRef> = met.iter().zip(known.values()).filter(|it| !it.1).map(|it| *it.0).collect();
        store.set_flags(&new, plan.flag())
    }

    /// Takes out the rows of a side that no row can meet any more.
    fn evict(&mut self, side: Side, evict_us: Option<i64>, run: &mut Run) -> Result<()> {
        let plan = side.of(&self.spec.sides);
        let Some(through_us) = plan.evicts.through(evict_us) else { return Ok(()) };
        let flag = self.spec.kind.keeps(side).then_some(plan.flag());
        let (unmet, count) = side.of_mut(&mut self.stores).evict_unless(through_us, flag)?;
        run.numbers.rows_removed += count;
        self.emit_alone(side, side.of(&self.spec.sides).own(&unmet), unmet.num_rows(), run)
    }

    /// Emits rows of a side, with nulls for the other.
    fn emit_alone(&self, side: Side, own: Vec<ArrayRef>, rows: usize, run: &mut Run) -> Result<()> {
        let fields = self.spec.output.fields();
        let nulls = |fields: &mut dyn Iterator<Item = &arrow_schema::FieldRef>| -> Vec<ArrayRef> {
            fields.map(|it| arrow_array::new_null_array(it.data_type(), rows)).collect()
        };
        let columns = match side {
            Side::Left => {
                let others = nulls(&mut fields.iter().skip(own.len()));
                own.into_iter().chain(others).collect()
            }
            Side::Right => {
                let before = fields.len().saturating_sub(own.len());
                nulls(&mut fields.iter().take(before)).into_iter().chain(own).collect()
            }
        };
        self.emit(columns, rows, run)
    }

    fn emit(&self, columns: Vec<ArrayRef>, rows: usize, run: &mut Run) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.spec.output.clone(), columns, &options);
        run.emitted.push(batch.map_err(|e| Error::internal("rows of a join do not fit its schema").because(e))?);
        Ok(())
    }
}
