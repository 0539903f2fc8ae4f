//! Pairs of a row that enters and a row of the other side's state: what must hold of them, and what they look like.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take;
use datafusion::physical_expr::PhysicalExpr;
use tidegate_api::{Error, Result};
use tidegate_epoch::state::{KeyedState, RowRef};

use super::side::{Side, SidePlan, holds};

/// Rows of `side` by number, and the rows of the other side's `store` that they met.
pub(super) struct Pairs<'a> {
    pub(super) side: Side,
    pub(super) rows: &'a RecordBatch,
    pub(super) store: &'a KeyedState,
    pub(super) numbers: Vec<u32>,
    pub(super) refs: Vec<RowRef>,
}

/// A condition on both sides, over no more columns than it needs.
pub(crate) struct Residual {
    pub(crate) condition: Arc<dyn PhysicalExpr>,
    /// Its columns, by side and column of the port.
    pub(crate) columns: Vec<(Side, usize)>,
    pub(crate) schema: SchemaRef,
}

impl Residual {
    /// The pairs of which the condition holds.
    pub(super) fn holding<'a>(&self, mut pairs: Pairs<'a>) -> Result<Pairs<'a>> {
        let columns = pairs.columns(&self.columns)?;
        let options = RecordBatchOptions::new().with_row_count(Some(pairs.refs.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|e| Error::internal("a join's condition does not fit its rows").because(e))?;
        let held = holds(&self.condition, &rows)?;
        let mut bits = held.values().iter();
        pairs.numbers.retain(|_| bits.next().unwrap_or(false));
        let mut bits = held.values().iter();
        pairs.refs.retain(|_| bits.next().unwrap_or(false));
        Ok(pairs)
    }
}

impl Pairs<'_> {
    /// All columns of the query, the left ones first.
    pub(super) fn joined(&self, sides: &[SidePlan; 2]) -> Result<Vec<ArrayRef>> {
        let columns = |side: Side| (0..side.of(sides).columns).map(move |at| (side, at));
        let wanted: Vec<_> = columns(Side::Left).chain(columns(Side::Right)).collect();
        self.columns(&wanted)
    }

    fn columns(&self, wanted: &[(Side, usize)]) -> Result<Vec<ArrayRef>> {
        let of_state: Vec<usize> = wanted.iter().filter(|it| it.0 != self.side).map(|it| it.1).collect();
        let mut of_state = self.store.take(&self.refs, &of_state)?.into_iter();
        let numbers = UInt32Array::from(self.numbers.clone());
        let missing = || Error::internal("a join lacks a column");
        let columns = wanted.iter().map(|(side, at)| {
            if *side != self.side {
                return of_state.next().ok_or_else(missing);
            }
            let column: &dyn Array = self.rows.columns().get(*at).ok_or_else(missing)?.as_ref();
            take(column, &numbers, None).map_err(|e| Error::internal("rows of a join can't be copied").because(e))
        });
        columns.collect()
    }
}
