//! Rows without the buffers that views would keep alive.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::DataType;
use tidegate_api::Result;

use super::copying;

/// The same rows without the buffers that views would keep alive: taking rows copies all else.
pub(in crate::state) fn compacted(rows: &RecordBatch) -> Result<RecordBatch> {
    if !rows.schema_ref().fields().iter().any(|it| has_views(it.data_type())) {
        return Ok(rows.clone());
    }
    let columns = rows.columns().iter().map(compacted_array).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(rows.schema(), columns).map_err(copying)
}

fn has_views(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => true,
        DataType::Struct(fields) => fields.iter().any(|it| has_views(it.data_type())),
        DataType::List(it) | DataType::LargeList(it) => has_views(it.data_type()),
        _ => false,
    }
}

fn compacted_array(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        it if !has_views(it) => array.clone(),
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter().map(compacted_array).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, array.nulls().cloned()).map_err(copying)?)
        }
        DataType::List(_) => {
            let (field, ends, values, nulls) = array.as_list::<i32>().clone().into_parts();
            let list = arrow_array::ListArray::try_new(field, ends, compacted_array(&values)?, nulls);
            Arc::new(list.map_err(copying)?)
        }
        DataType::LargeList(_) => {
            let (field, ends, values, nulls) = array.as_list::<i64>().clone().into_parts();
            let list = arrow_array::LargeListArray::try_new(field, ends, compacted_array(&values)?, nulls);
            Arc::new(list.map_err(copying)?)
        }
        _ => array.clone(),
    })
}
