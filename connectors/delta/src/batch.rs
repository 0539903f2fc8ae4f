//! Batches of the query as the table wants them: types, rows that don't fit, rows by partition.

use std::collections::BTreeMap;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow_cast::cast::{CastOptions, cast, cast_with_options};
use arrow_schema::{ArrowError, DataType};
use deltalake::arrow::compute::{SortColumn, filter_record_batch, lexsort_to_indices, partition, take_record_batch};
use tidegate_api::{Error, Rejected, Result};

use crate::table::{Column, Layout};

/// Values of the partition columns, as the log writes them, in the table's order.
pub(crate) type PartitionValues = Vec<Option<String>>;

/// The rows that the table can take, all columns in its types, and those that it can't.
///
/// # Errors
/// `Internal` if the batch has other columns than the query, `Data` if a nested value does not fit.
pub(crate) fn fit(layout: &Layout, batch: &RecordBatch) -> Result<(RecordBatch, Vec<Rejected>)> {
    if batch.num_columns() != layout.columns.len() {
        return Err(Error::internal(format!(
            "a batch has {} columns, the query has {}",
            batch.num_columns(),
            layout.columns.len()
        )));
    }
    let mut rejected = BTreeMap::new();
    let mut columns = Vec::with_capacity(layout.columns.len());
    for (column, given) in layout.columns.iter().zip(batch.columns()) {
        columns.push(fit_column(column, given, &mut rejected)?);
    }
    let fitted = RecordBatch::try_new(layout.schema.clone(), columns).map_err(broken)?;
    if rejected.is_empty() {
        return Ok((fitted, Vec::new()));
    }
    let keep: BooleanArray = (0..batch.num_rows()).map(|row| Some(!rejected.contains_key(&row))).collect();
    let fitted = filter_record_batch(&fitted, &keep).map_err(broken)?;
    Ok((fitted, rejected.into_iter().map(|(row, error)| Rejected { row, error }).collect()))
}

/// The rows of each partition, without the partition columns.
///
/// # Errors
/// `Internal` if Arrow's kernels fail.
pub(crate) fn by_partition(layout: &Layout, batch: &RecordBatch) -> Result<Vec<(PartitionValues, RecordBatch)>> {
    let files = |batch: &RecordBatch| batch.project(&layout.in_file).map_err(broken);
    if layout.partitions.is_empty() {
        return Ok(vec![(Vec::new(), files(batch)?)]);
    }
    let texts = layout.partitions.iter().map(|at| cast(batch.column(*at), &DataType::Utf8));
    let texts = texts.collect::<Result<Vec<ArrayRef>, ArrowError>>().map_err(broken)?;
    let sort: Vec<_> = texts.iter().map(|it| SortColumn { values: it.clone(), options: None }).collect();
    let order = lexsort_to_indices(&sort, None).map_err(broken)?;
    let sorted = take_record_batch(batch, &order).map_err(broken)?;
    let texts = texts.iter().map(|it| deltalake::arrow::compute::take(it, &order, None));
    let texts = texts.collect::<Result<Vec<_>, _>>().map_err(broken)?;
    let ranges = partition(&texts).map_err(broken)?.ranges();
    let mut parts = Vec::with_capacity(ranges.len());
    for range in ranges {
        let values = texts.iter().map(|it| value_at(it, range.start)).collect();
        parts.push((values, files(&sorted.slice(range.start, range.len()))?));
    }
    Ok(parts)
}

/// An empty text is null to every reader of partition values.
fn value_at(texts: &ArrayRef, row: usize) -> Option<String> {
    let texts = texts.as_any().downcast_ref::<StringArray>()?;
    let text = texts.is_valid(row).then(|| texts.value(row))?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn fit_column(column: &Column, given: &ArrayRef, rejected: &mut BTreeMap<usize, Error>) -> Result<ArrayRef> {
    let fitted = if given.data_type() == &column.arrow {
        given.clone()
    } else {
        // A flat value that does not fit becomes null and its row is rejected; inside nested ones it could not be seen.
        let safe = !column.arrow.is_nested();
        let options = CastOptions { safe, ..CastOptions::default() };
        cast_with_options(given, &column.arrow, &options).map_err(|e| {
            let (from, to) = (given.data_type(), &column.arrow);
            Error::data(format!("column '{}': a {from} does not fit {to}", column.name)).because(e)
        })?
    };
    let (before, after) = (given.logical_null_count(), fitted.logical_null_count());
    if after > before {
        let nulls = given.logical_nulls();
        for row in 0..fitted.len() {
            if fitted.is_null(row) && nulls.as_ref().is_none_or(|it| it.is_valid(row)) {
                let text = format!("column '{}': the value does not fit {}", column.name, column.arrow);
                rejected.entry(row).or_insert_with(|| Error::data(text));
            }
        }
    }
    if column.required && after > 0 {
        for row in (0..fitted.len()).filter(|row| fitted.is_null(*row)) {
            let text = format!("column '{}': null, the table takes none", column.name);
            rejected.entry(row).or_insert_with(|| Error::data(text));
        }
    }
    Ok(fitted)
}

fn broken(e: ArrowError) -> Error {
    Error::internal("rows can't be brought into the table's form").because(e)
}

#[cfg(test)]
mod tests;
