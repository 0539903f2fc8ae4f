//! What an epoch changed, as rows: -1 for one that no longer is, +1 for one that is there now.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema};
use datafusion::arrow::row::{RowConverter, SortField};
use tidegate_api::{Error, Result};

use super::concat;
use super::shape::filtered;

/// The changes from the rows before to those after, the change of each as the last column; what is in both is left out.
pub(crate) fn changes(before: &[RecordBatch], after: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let before = before.iter().map(|it| marked(it, -1));
    net(before.chain(after.iter().map(|it| marked(it, 1))).collect::<Result<_>>()?)
}

fn marked(rows: &RecordBatch, change: i64) -> Result<RecordBatch> {
    let schema = rows.schema();
    let field = Arc::new(Field::new("change", DataType::Int64, false));
    let fields: Vec<_> = schema.fields().iter().cloned().chain([field]).collect();
    let change: ArrayRef = Arc::new(Int64Array::from_value(change, rows.num_rows()));
    let columns = rows.columns().iter().cloned().chain([change]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(broken)
}

/// Changes, the last column says which, without those that take back what others add. The rest stays in its order.
pub(crate) fn net(rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let Some(first) = rows.first() else { return Ok(rows) };
    let rows = concat(&first.schema(), &rows)?;
    let Some((change, columns)) = rows.columns().split_last() else { return Ok(vec![rows]) };
    let change = cast(change, &DataType::Int64).map_err(broken)?;
    let change = change.as_primitive::<Int64Type>().values();
    if columns.is_empty() || change.iter().all(|it| *it > 0) {
        return Ok(vec![rows]);
    }
    let fields = columns.iter().map(|it| SortField::new(it.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(broken)?;
    let keys = converter.convert_columns(columns).map_err(broken)?;
    let mut order: Vec<(u32, i64)> = (0u32..).zip(change.iter().copied()).collect();
    let key = |row: u32| keys.row(row as usize);
    order.sort_unstable_by(|a, b| key(a.0).cmp(&key(b.0)).then((a.1, a.0).cmp(&(b.1, b.0))));
    let mut stays = vec![true; rows.num_rows()];
    for same in order.chunk_by(|a, b| key(a.0) == key(b.0)) {
        let (back, added) = same.split_at(same.partition_point(|it| it.1 < 0));
        for (row, _) in back.iter().zip(added).flat_map(|(back, added)| [back, added]) {
            stays.get_mut(*row as usize).into_iter().for_each(|it| *it = false);
        }
    }
    let rows = filtered(&rows, &BooleanArray::from(stays))?;
    Ok(if rows.num_rows() == 0 { Vec::new() } else { vec![rows] })
}

fn broken(error: arrow_schema::ArrowError) -> Error {
    Error::internal("changes can't be put together").because(error)
}

#[cfg(test)]
mod tests;
