//! `LIMIT n` over a stream: the first rows of the query's whole life (Spark: `StreamingGlobalLimitExec`).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::limit::LocalLimitExec;
use tidegate_api::{Error, Result};
use tidegate_epoch::OperatorNumbers;
use tidegate_epoch::state::{KeyedState, StateLayout};

use super::{Emitted, Operator, OperatorEpoch, OperatorSpec};
use crate::exec::leaf::Emission;
use crate::exec::{LeafExec, LeafId};

/// A limit as planned.
pub(crate) struct LimitSpec {
    most: usize,
    input: Option<SchemaRef>,
}

impl LimitSpec {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, input: None }
    }
}

impl OperatorSpec for LimitSpec {
    fn take_input(&mut self, _: usize, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        self.input = Some(plan.schema());
        Ok(plan)
    }

    fn build(self: Box<Self>, name: Arc<str>, _: BTreeSet<Emission>) -> Result<Box<dyn Operator>> {
        let input = self.input.ok_or_else(|| Error::internal("a limit was not planned"))?;
        let schema = Arc::new(Schema::new(vec![Field::new("rows", DataType::Int64, false)]));
        let layout = "limit/1 rows: Int64".into();
        let state = StateLayout {
            operator: name,
            layout,
            schema,
            key_columns: Vec::new(),
            pane_column: None,
            row_column: None,
        };
        let leaf = Arc::new(LeafExec::new(LeafId::Partials, input));
        let shrink = Arc::new(LocalLimitExec::new(leaf, self.most));
        Ok(Box::new(Limit { most: self.most, shrink, state: KeyedState::new(state)? }))
    }

    fn waits_for_watermark(&self) -> bool {
        false
    }

    fn details(&self) -> Option<String> {
        Some(format!("the first {} rows of the query's whole life", self.most))
    }
}

/// A limit and how many rows have come through.
struct Limit {
    most: usize,
    shrink: Arc<dyn ExecutionPlan>,
    state: KeyedState,
}

impl Limit {
    fn passed(&self) -> Result<usize> {
        let rows = self.state.all()?;
        let counts = rows.iter().filter_map(|it| it.columns().first()?.as_primitive_opt::<Int64Type>());
        Ok(counts.flat_map(|it| it.values()).map(|it| usize::try_from(*it).unwrap_or(usize::MAX)).sum())
    }
}

#[async_trait]
impl Operator for Limit {
    fn stores(&self) -> &[KeyedState] {
        std::slice::from_ref(&self.state)
    }

    fn stores_mut(&mut self) -> &mut [KeyedState] {
        std::slice::from_mut(&mut self.state)
    }

    fn shrink(&self, _: usize) -> Option<Arc<dyn ExecutionPlan>> {
        Some(self.shrink.clone())
    }

    fn drops_late(&self, _: usize) -> bool {
        false
    }

    fn wants_epoch(&self, _: Option<i64>, _: Option<i64>) -> bool {
        false
    }

    async fn epoch(
        &mut self,
        inputs: Vec<Vec<RecordBatch>>,
        ctx: &OperatorEpoch<'_>,
    ) -> Result<(Emitted, OperatorNumbers)> {
        let mut at = ctx.clock.monotonic();
        let mut numbers = OperatorNumbers { name: "globalLimit".to_owned(), ..OperatorNumbers::default() };
        let before = self.passed()?;
        let mut left = self.most.saturating_sub(before);
        let mut passed = Vec::new();
        for batch in inputs.into_iter().flatten() {
            let batch = batch.slice(0, left.min(batch.num_rows()));
            left -= batch.num_rows();
            passed.extend((batch.num_rows() > 0).then_some(batch));
        }
        let after = self.most.max(before) - left;
        if after > before {
            let count = Int64Array::from(vec![i64::try_from(after).unwrap_or(i64::MAX)]);
            let row = RecordBatch::try_new(self.state.layout().schema.clone(), vec![Arc::new(count)]);
            self.state.put(row.map_err(|e| Error::internal("the count of a limit").because(e))?)?;
            numbers.rows_updated = 1;
        }
        numbers.updates_ms = ctx.lap_ms(&mut at);
        Ok((Emitted::from([(Emission::Rows, passed)]), numbers))
    }
}
