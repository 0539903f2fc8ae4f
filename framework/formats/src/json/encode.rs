//! Columns to JSON texts (Spark: `to_json`).

use arrow_array::{Array, StringArray};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use tidegate_api::{Error, Result};

mod scalar;
mod writer;

use writer::Writer;

/// Writes each value of a column as JSON; a null value is a null.
///
/// As Spark: fields that are null are left out, elements and map values that are null are written; timestamps are
/// `2026-03-01T10:00:00.000Z` (without the zone for TIMESTAMP_NTZ), cut to milliseconds; doubles are written as Java
/// writes them, NaN and the infinities as texts; BINARY is base64.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int32Array, StringArray, StructArray};
/// use arrow_schema::{DataType, Field};
/// use tidegate_formats::json;
///
/// let rows = StructArray::from(vec![
///     (Arc::new(Field::new("n", DataType::Int32, true)), Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef),
///     (Arc::new(Field::new("s", DataType::Utf8, true)), Arc::new(StringArray::from(vec!["a\"b", "c"]))),
/// ]);
/// let texts = json::encode(&rows).unwrap();
/// assert_eq!(texts.value(0), r#"{"n":1,"s":"a\"b"}"#);
/// assert_eq!(texts.value(1), r#"{"s":"c"}"#);
/// ```
///
/// # Errors
/// `Config` if a type can't be written as JSON; `Data` if the texts of one batch take more than 2 GiB.
pub fn encode(values: &dyn Array) -> Result<StringArray> {
    let writer = Writer::new(values)?;
    let mut out = String::new();
    let mut ends = Vec::with_capacity(values.len() + 1);
    ends.push(0);
    for row in 0..values.len() {
        if writer.is_valid(row) {
            writer.write(row, &mut out);
        }
        let end = i32::try_from(out.len()).map_err(|_| Error::data("JSON texts of one batch take more than 2 GiB"))?;
        ends.push(end);
    }
    let data = Buffer::from_vec(out.into_bytes());
    StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(ends)), data, values.logical_nulls())
        .map_err(|e| Error::internal("JSON texts").because(e))
}

#[cfg(test)]
mod tests;
