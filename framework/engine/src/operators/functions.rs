//! The functions of an aggregate, called on partial rows whose groups are known: without a table of groups, which for many of
//! them is most of the work.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use tidegate_api::Result;

use crate::error::from_datafusion;

/// Rows that are finished at once: what functions keep of so many stays in the cache.
const AT_ONCE: usize = 1 << 13;

/// What DataFusion makes.
type Made<T> = std::result::Result<T, DataFusionError>;

/// A function, and the columns of its state in a partial row.
struct Function {
    expr: Arc<AggregateFunctionExpr>,
    states: Range<usize>,
}

/// The functions over partial rows `keys…, states…`.
pub(super) struct Functions {
    keys: usize,
    functions: Vec<Function>,
    /// Of the rows that partial ones are made of.
    input: SchemaRef,
}

impl Functions {
    pub(super) fn new(keys: usize, exprs: &[Arc<AggregateFunctionExpr>], input: SchemaRef) -> Made<Self> {
        let (mut functions, mut start) = (Vec::with_capacity(exprs.len()), keys);
        for expr in exprs {
            let states = start..start + expr.state_fields()?.len();
            start = states.end;
            functions.push(Function { expr: expr.clone(), states });
        }
        Ok(Self { keys, functions, input })
    }

    /// The states of groups from partial rows. `groups`: the group of each row, one batch after the other; from 0 on, each has
    /// a row.
    pub(super) fn merged(&self, rows: &[&RecordBatch], groups: &[usize], count: usize) -> Made<Vec<ArrayRef>> {
        let mut merged = Vec::new();
        for function in &self.functions {
            // All rows in one call: functions take "none of these was null" for "each group was seen".
            merged.extend(function.merged(rows, groups, count)?.state(EmitTo::All)?);
        }
        Ok(merged)
    }

    /// Of partial rows, one a group: `keys…, values…`, in several pieces.
    pub(super) fn finished(&self, rows: &[RecordBatch]) -> Result<Vec<Vec<ArrayRef>>> {
        let pieces = rows.iter().flat_map(|batch| {
            let starts = (0..batch.num_rows()).step_by(AT_ONCE);
            starts.map(|from| batch.slice(from, AT_ONCE.min(batch.num_rows() - from)))
        });
        pieces.map(|it| self.piece(&it).map_err(from_datafusion)).collect()
    }

    fn piece(&self, rows: &RecordBatch) -> Made<Vec<ArrayRef>> {
        let groups: Vec<usize> = (0..rows.num_rows()).collect();
        let mut columns: Vec<ArrayRef> = rows.columns().iter().take(self.keys).cloned().collect();
        for function in &self.functions {
            columns.push(function.merged(&[rows], &groups, groups.len())?.evaluate(EmitTo::All)?);
        }
        Ok(columns)
    }

    /// The states of a group that has seen no row.
    pub(super) fn empty(&self) -> Made<Vec<ArrayRef>> {
        let mut states = Vec::new();
        for function in &self.functions {
            states.extend(function.empty(&self.input)?);
        }
        Ok(states)
    }
}

impl Function {
    /// An accumulator that has seen these partial rows.
    fn merged(&self, rows: &[&RecordBatch], groups: &[usize], count: usize) -> Made<Box<dyn GroupsAccumulator>> {
        let states = self.states.clone().map(|at| {
            let parts = rows.iter().filter_map(|it| it.columns().get(at));
            concat(&parts.map(AsRef::as_ref).collect::<Vec<&dyn Array>>())
        });
        let states = states.collect::<Result<Vec<_>, _>>()?;
        let mut accumulator = self.accumulator()?;
        accumulator.merge_batch(&states, groups, count)?;
        Ok(accumulator)
    }

    /// As DataFusion's plans make it.
    fn accumulator(&self) -> Made<Box<dyn GroupsAccumulator>> {
        if self.expr.groups_accumulator_supported() {
            return self.expr.create_groups_accumulator();
        }
        let expr = self.expr.clone();
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || expr.create_accumulator())))
    }

    /// The state before any row, by the accumulator that partial aggregation uses: the others spell "no row yet" differently.
    fn empty(&self, input: &SchemaRef) -> Made<Vec<ArrayRef>> {
        if !self.expr.groups_accumulator_supported() {
            let state = self.expr.create_accumulator()?.state()?;
            return state.into_iter().map(|it| it.to_array()).collect();
        }
        let mut accumulator = self.accumulator()?;
        let order = self.expr.order_bys().iter().map(|it| it.expr.clone());
        let arguments = self.expr.expressions().into_iter().chain(order);
        let arguments = arguments.map(|it| Ok(new_null_array(&it.data_type(input)?, 1)));
        let arguments = arguments.collect::<Made<Vec<_>>>()?;
        // A row that the filter leaves out: with no row at all, accumulators take "none was null" for "each was seen".
        accumulator.update_batch(&arguments, &[0], Some(&BooleanArray::from(vec![false])), 1)?;
        accumulator.state(EmitTo::All)
    }
}
