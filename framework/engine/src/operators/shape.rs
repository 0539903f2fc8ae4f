//! Between the rows that an aggregate keeps and those that the query sees: windows are kept by their end alone.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StructArray};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::filter::filter_record_batch;
use tidegate_api::{Error, Result};

use super::aggregate::GroupKey;

/// Rows of the final aggregate (`keys…, values…`) as the plan above expects them.
pub(crate) fn to_output(batch: &RecordBatch, keys: &[GroupKey], schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (at, column) in batch.columns().iter().enumerate() {
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
    let windows = StructArray::try_new(fields.clone(), children, None);
    Ok(Arc::new(windows.map_err(|e| Error::internal("a window can't be built").because(e))?))
}

/// Splits off the rows whose event time is at or before `late_us`: (kept, late). Rows without event time are kept.
pub(crate) fn parted(batch: RecordBatch, pane: usize, late_us: i64) -> Result<(RecordBatch, RecordBatch)> {
    let column = batch.columns().get(pane).ok_or_else(|| Error::internal("the event time is missing"))?;
    let times = times(column.as_ref())?;
    let keep: BooleanArray = times.iter().map(|it| Some(it.is_none_or(|time| time > late_us))).collect();
    if keep.true_count() == batch.num_rows() {
        let none = batch.slice(0, 0);
        return Ok((batch, none));
    }
    let of = |which: &BooleanArray| {
        filter_record_batch(&batch, which).map_err(|e| Error::internal("late rows can't be split off").because(e))
    };
    let late: BooleanArray = keep.iter().map(|it| it.map(|it| !it)).collect();
    Ok((of(&keep)?, of(&late)?))
}

/// As [`parted`], of the late rows only their number.
pub(crate) fn split_late(batch: RecordBatch, pane: usize, late_us: i64) -> Result<(RecordBatch, usize)> {
    let (kept, late) = parted(batch, pane, late_us)?;
    Ok((kept, late.num_rows()))
}

fn times(column: &dyn Array) -> Result<&arrow_array::TimestampMicrosecondArray> {
    column
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| Error::internal(format!("the event time is {}, not a TIMESTAMP", column.data_type())))
}
