//! Deduplication: lets the first row of each key through, in input order, and remembers the key (Spark:
//! `StreamingDeduplicateExec`, `StreamingDeduplicateWithinWatermarkExec`).
//!
//! A port's rows are `columns of the input…, keys…[, event time]`; the state's are `keys…[, expires]`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use tidegate_api::{Error, Result};
use tidegate_epoch::OperatorNumbers;
use tidegate_epoch::state::{KeyedState, StateLayout};
use tidegate_sql::event_time::timestamp;

use super::shape::{filtered, on_time};
use super::{Emitted, Operator, OperatorEpoch, OperatorSpec, concat, micros};
use crate::exec::leaf::Emission;

/// Rows whose keys are looked up at once.
const GROUP_ROWS: usize = 1 << 18;

/// A deduplication as planned.
pub(crate) struct DeduplicateSpec {
    /// The columns that are passed on.
    pub(crate) output: SchemaRef,
    /// What the user calls the keys.
    pub(crate) keys: Vec<String>,
    /// The key by which keys are forgotten.
    pub(crate) pane: Option<usize>,
    /// The event time follows the keys.
    pub(crate) timed: bool,
    /// How long a key is remembered after its first event time, microseconds; then it is forgotten by that alone.
    pub(crate) within_us: Option<i64>,
    input: Option<SchemaRef>,
}

impl DeduplicateSpec {
    pub(crate) fn new(output: SchemaRef, keys: Vec<String>) -> Self {
        Self { output, keys, pane: None, timed: false, within_us: None, input: None }
    }

    fn key_columns(&self) -> Range<usize> {
        let first = self.output.fields().len();
        first..first + self.keys.len()
    }

    fn state_layout(&self, name: Arc<str>, input: &SchemaRef) -> StateLayout {
        let columns = input.fields().iter().skip(self.key_columns().start).zip(&self.keys);
        let mut fields: Vec<Field> = columns.map(|(it, name)| Field::new(name, it.data_type().clone(), true)).collect();
        let described: Vec<_> = fields.iter().map(|it| format!("{}: {}", it.name(), it.data_type())).collect();
        let within = if self.within_us.is_some() { " within the watermark" } else { "" };
        let mut pane_column = self.pane;
        if self.within_us.is_some() {
            pane_column = Some(fields.len());
            fields.push(Field::new("__expires", timestamp(), true));
        }
        StateLayout {
            operator: name,
            layout: format!("deduplicate/1{within} keys {}", described.join(", ")).into(),
            schema: Arc::new(Schema::new(fields)),
            key_columns: (0..self.keys.len()).collect(),
            pane_column,
            row_column: None,
        }
    }
}

impl OperatorSpec for DeduplicateSpec {
    fn take_input(&mut self, _: usize, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        self.input = Some(plan.schema());
        Ok(plan)
    }

    fn build(self: Box<Self>, name: Arc<str>, _: BTreeSet<Emission>) -> Result<Box<dyn Operator>> {
        let input = self.input.clone().ok_or_else(|| Error::internal("a deduplication was not planned"))?;
        let state = KeyedState::new(self.state_layout(name, &input))?;
        // A type that can't be a key is found now, not with the first row.
        state.absent(&RecordBatch::new_empty(state.layout().schema.clone()))?;
        Ok(Box::new(Deduplicate { spec: *self, state }))
    }

    fn waits_for_watermark(&self) -> bool {
        self.timed
    }

    fn details(&self) -> Option<String> {
        let end = match (self.within_us, self.pane.and_then(|it| self.keys.get(it))) {
            (Some(us), _) => format!("until the watermark has passed the first time by {:?}", micros(us)),
            (None, Some(time)) => format!("until the watermark has passed {time}"),
            (None, None) => "for ever".to_owned(),
        };
        Some(format!("the first row by {}, remembered {end}", self.keys.join(", ")))
    }
}

/// A deduplication with its state.
struct Deduplicate {
    spec: DeduplicateSpec,
    state: KeyedState,
}

impl Deduplicate {
    /// The rows of `batches` that get through; their keys are in the state then.
    fn pass(&mut self, batches: &[RecordBatch], numbers: &mut OperatorNumbers) -> Result<Vec<RecordBatch>> {
        let rows = batches.iter().map(|it| self.state_rows(it)).collect::<Result<Vec<_>>>()?;
        let rows = concat(&self.state.layout().schema, &rows)?;
        let is_new = self.state.absent(&rows)?;
        let new = is_new.true_count();
        numbers.rows_updated += new as u64;
        *numbers.custom.entry("numDroppedDuplicateRows").or_default() += (rows.num_rows() - new) as u64;
        if new == 0 {
            return Ok(Vec::new());
        }
        self.state.put(filtered(&rows, &is_new)?)?;
        let mut passed = Vec::with_capacity(batches.len());
        let columns: Vec<usize> = (0..self.spec.output.fields().len()).collect();
        let mut first = 0;
        for batch in batches {
            let which = is_new.slice(first, batch.num_rows());
            first += batch.num_rows();
            passed.push(filtered(&batch.project(&columns).map_err(broken)?, &which)?);
        }
        passed.retain(|it| it.num_rows() > 0);
        Ok(passed)
    }

    /// What the state would keep of rows.
    fn state_rows(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let keys = self.spec.key_columns();
        let mut columns = batch.columns().get(keys.clone()).map(<[ArrayRef]>::to_vec).unwrap_or_default();
        if let Some(within_us) = self.spec.within_us {
            let times = batch.columns().get(keys.end).and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
            let times = times.ok_or_else(|| Error::internal("a deduplication's rows have no event time"))?;
            let expires: TimestampMicrosecondArray = times.unary(|it| it.saturating_add(within_us));
            columns.push(Arc::new(expires.with_data_type(timestamp())));
        }
        RecordBatch::try_new(self.state.layout().schema.clone(), columns).map_err(broken)
    }
}

#[async_trait]
impl Operator for Deduplicate {
    fn stores(&self) -> &[KeyedState] {
        std::slice::from_ref(&self.state)
    }

    fn stores_mut(&mut self) -> &mut [KeyedState] {
        std::slice::from_mut(&mut self.state)
    }

    fn drops_late(&self, _: usize) -> bool {
        self.spec.timed
    }

    fn wants_epoch(&self, used_us: Option<i64>, next_us: Option<i64>) -> bool {
        next_us > used_us
    }

    async fn epoch(
        &mut self,
        inputs: Vec<Vec<RecordBatch>>,
        ctx: &OperatorEpoch<'_>,
    ) -> Result<(Emitted, OperatorNumbers)> {
        let mut at = ctx.clock.monotonic();
        let name = if self.spec.within_us.is_some() { "dedupeWithinWatermark" } else { "dedupe" };
        let mut numbers = OperatorNumbers { name: name.to_owned(), ..OperatorNumbers::default() };
        numbers.custom.insert("numDroppedDuplicateRows", 0);
        let (mut passed, mut group, mut rows) = (Vec::new(), Vec::new(), 0);
        let time = self.spec.timed.then(|| self.spec.key_columns().end);
        for batch in inputs.into_iter().flatten() {
            group.push(on_time(batch, time, ctx.late_us, &mut numbers)?);
            rows += group.last().map_or(0, RecordBatch::num_rows);
            if rows >= GROUP_ROWS {
                passed.extend(self.pass(&std::mem::take(&mut group), &mut numbers)?);
                rows = 0;
            }
        }
        if rows > 0 {
            passed.extend(self.pass(&group, &mut numbers)?);
        }
        numbers.updates_ms = ctx.lap_ms(&mut at);
        if let (Some(evict_us), Some(_)) = (ctx.evict_us, self.state.layout().pane_column) {
            numbers.rows_removed = self.state.evict_unless(evict_us, None)?.1;
        }
        numbers.removals_ms = ctx.lap_ms(&mut at);
        Ok((Emitted::from([(Emission::Rows, passed)]), numbers))
    }
}

fn broken(error: arrow_schema::ArrowError) -> Error {
    Error::internal("rows can't be deduplicated").because(error)
}
