//! Columns as they stand in files: types that Spark reads, all nullable.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_cast::cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use tidegate_api::{Error, Result};
use tidegate_formats::json;

use super::config::SinkFormat;

/// The columns of the files for these rows.
///
/// # Errors
/// All that files of this format can't hold, each naming its column.
pub(crate) fn of_files(schema: &Schema, format: SinkFormat) -> Result<SchemaRef, Vec<String>> {
    let mut problems = Vec::new();
    if schema.fields().is_empty() {
        problems.push("the query has no columns".to_owned());
    }
    let mut fields = Vec::new();
    for (at, field) in schema.fields().iter().enumerate() {
        let name = field.name();
        if name.is_empty() {
            problems.push(format!("column {} has no name: give it one with AS", at + 1));
        }
        if let Some(other) = schema.fields().iter().take(at).find(|it| it.name().eq_ignore_ascii_case(name)) {
            problems.push(format!("columns '{}' and '{name}' differ in case only or not at all", other.name()));
        }
        let stored = match format {
            SinkFormat::Parquet => parquet_type(field.data_type()),
            SinkFormat::Json => json_type(field.data_type()),
        };
        match stored {
            Ok(data_type) => fields.push(Field::new(name, data_type, true)),
            Err(why) => problems.push(format!("column '{name}' {why}")),
        }
    }
    if problems.is_empty() { Ok(Arc::new(Schema::new(fields))) } else { Err(problems) }
}

/// The rows with the columns of the files.
///
/// # Errors
/// `Internal` if the batch has other columns than the query, `Data` if a value does not fit.
pub(crate) fn fit(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        let (found, expected) = (batch.num_columns(), schema.fields().len());
        return Err(Error::internal(format!("a batch has {found} columns, the query has {expected}")));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, given)| {
        let (from, to) = (given.data_type(), field.data_type());
        if from == to {
            return Ok(given.clone());
        }
        cast_with_options(given, to, &options)
            .map_err(|e| Error::data(format!("column '{}': a {from} does not fit {to}", field.name())).because(e))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema.clone(), columns)
        .map_err(|e| Error::internal("rows can't be brought into the files' form").because(e))
}

/// The encoder takes every type that it can write as it is.
fn json_type(given: &DataType) -> Result<DataType, String> {
    match json::encode(&arrow_array::new_empty_array(given)) {
        Ok(_) => Ok(given.clone()),
        Err(e) => Err(format!("has a type that JSON does not have: {e}")),
    }
}

/// What a reader of Spark's takes for the same type: microseconds, no unsigned numbers but those of decimals.
fn parquet_type(given: &DataType) -> Result<DataType, String> {
    let inner = |field: &FieldRef| -> Result<FieldRef, String> {
        let stored = parquet_type(field.data_type()).map_err(|why| format!("holds '{}', which {why}", field.name()))?;
        Ok(Arc::new(field.as_ref().clone().with_data_type(stored)))
    };
    Ok(match given {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32
        | DataType::Decimal128(..) => given.clone(),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| Arc::from("UTC")))
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(inner(item)?),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries)?, *sorted),
        DataType::Struct(fields) if fields.is_empty() => return Err("is a struct without fields".to_owned()),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect::<Result<_, _>>()?),
        DataType::Dictionary(_, values) => parquet_type(values)?,
        DataType::RunEndEncoded(_, values) => parquet_type(values.data_type())?,
        DataType::Null => return Err("has no type, as NULL has none: cast it".to_owned()),
        other => return Err(format!("has type {other}, which Spark's Parquet files do not have: cast it")),
    })
}

#[cfg(test)]
mod tests;
