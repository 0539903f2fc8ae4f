//! Between the rows that an aggregate keeps and those that the query sees: windows are kept by their end alone.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StructArray};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::filter::filter_record_batch;
use tidegate_api::{Error, Result};
use tidegate_epoch::OperatorNumbers;

use super::aggregate::GroupKey;

/// Rows of the final aggregate (`keys…, values…`) as the plan above expects them.
pub(crate) fn to_output(rows: &[ArrayRef], keys: &[GroupKey], schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (at, column) in rows.iter().enumerate() {
        match keys.get(at) {
            Some(GroupKey::Constant) => {}
            Some(GroupKey::Window { size_us, .. }) => {
                let field = schema.fields().get(columns.len());
                let kind = field.map(|it| it.data_type()).ok_or_else(|| Error::internal("a window is not expected"))?;
                columns.push(window_of(column, *size_us, kind)?);
            }
            Some(GroupKey::EventTime | GroupKey::Plain) | None => columns.push(column.clone()),
        }
    }
    RecordBatch::try_new(schema.clone(), columns)
        .map_err(|e| Error::internal("an aggregate's rows do not fit its schema").because(e))
}

/// The struct `{start, end}` of windows that are `size_us` long.
fn window_of(ends: &ArrayRef, size_us: i64, kind: &DataType) -> Result<ArrayRef> {
    let DataType::Struct(fields) = kind else {
        return Err(Error::internal(format!("a window is a struct, not {kind}")));
    };
    let times = times(ends.as_ref())?;
    let starts =
        times.unary::<_, TimestampMicrosecondType>(|end| end - size_us).with_data_type(ends.data_type().clone());
    let children: Vec<ArrayRef> = vec![Arc::new(starts), ends.clone()];
    let windows = StructArray::try_new(fields.clone(), children, ends.nulls().cloned());
    Ok(Arc::new(windows.map_err(|e| Error::internal("a window can't be built").because(e))?))
}

/// Splits off the rows whose event time is at or before `late_us`: (kept, late). Rows without event time are kept.
pub(crate) fn parted(batch: &RecordBatch, pane: usize, late_us: i64) -> Result<(RecordBatch, RecordBatch)> {
    let keep = in_time(batch, pane, late_us)?;
    Ok((filtered(batch, &keep)?, filtered(batch, &not(&keep))?))
}

/// The rows that are not late by the event time in `pane`, as [`parted`]; the others are counted. Without an event time or a
/// watermark none is late.
pub(crate) fn on_time(
    batch: RecordBatch,
    pane: Option<usize>,
    late_us: Option<i64>,
    numbers: &mut OperatorNumbers,
) -> Result<RecordBatch> {
    let (Some(pane), Some(late_us)) = (pane, late_us) else { return Ok(batch) };
    let kept = filtered(&batch, &in_time(&batch, pane, late_us)?)?;
    numbers.rows_dropped_by_watermark += (batch.num_rows() - kept.num_rows()) as u64;
    Ok(kept)
}

fn in_time(batch: &RecordBatch, pane: usize, late_us: i64) -> Result<BooleanArray> {
    let column = batch.columns().get(pane).ok_or_else(|| Error::internal("the event time is missing"))?;
    Ok(times(column.as_ref())?.iter().map(|it| Some(it.is_none_or(|time| time > late_us))).collect())
}

/// The rows at which a mask is true.
pub(crate) fn filtered(rows: &RecordBatch, which: &BooleanArray) -> Result<RecordBatch> {
    if which.true_count() == rows.num_rows() {
        return Ok(rows.clone());
    }
    filter_record_batch(rows, which).map_err(|e| Error::internal("rows of an operator can't be filtered").because(e))
}

/// What is not true; a mask has no nulls.
pub(crate) fn not(mask: &BooleanArray) -> BooleanArray {
    BooleanArray::new(!mask.values(), None)
}

fn times(column: &dyn Array) -> Result<&arrow_array::TimestampMicrosecondArray> {
    column
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| Error::internal(format!("the event time is {}, not a TIMESTAMP", column.data_type())))
}
