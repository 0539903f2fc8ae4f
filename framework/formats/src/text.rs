//! Bytes to text that never fails: what is not UTF-8 becomes U+FFFD.

use arrow_array::{BinaryArray, StringArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use tidegate_api::{Error, Result};

/// The bytes as text (Spark: `CAST(value AS STRING)`). Invalid sequences become U+FFFD; values that are valid
/// UTF-8 throughout are not copied.
///
/// # Errors
/// `Data` if the replacement characters take the text past 2 GiB.
pub fn binary_to_string(values: &BinaryArray) -> Result<StringArray> {
    let (offsets, data, nulls) = values.clone().into_parts();
    // Validation looks at the whole buffer, so a slice must not drag its neighbours along.
    let (first, last) = (at(&offsets, 0), at(&offsets, offsets.len() - 1));
    if first == 0 && last == data.len() {
        return string_array(offsets, data, nulls);
    }
    let moved: Vec<i32> = offsets.iter().map(|it| it - offset(first)).collect();
    let data = data.slice_with_length(first, last - first);
    string_array(OffsetBuffer::new(ScalarBuffer::from(moved)), data, nulls)
}

/// A text column of these parts, lossy where a value is not UTF-8.
pub(crate) fn string_array(offsets: OffsetBuffer<i32>, data: Buffer, nulls: Option<NullBuffer>) -> Result<StringArray> {
    match StringArray::try_new(offsets.clone(), data.clone(), nulls.clone()) {
        Ok(array) => Ok(array),
        Err(_) => lossy(&offsets, &data, nulls),
    }
}

#[cold]
fn lossy(offsets: &OffsetBuffer<i32>, data: &Buffer, nulls: Option<NullBuffer>) -> Result<StringArray> {
    let mut text = String::with_capacity(data.len());
    let mut ends = Vec::with_capacity(offsets.len());
    ends.push(0);
    for row in 0..offsets.len() - 1 {
        let bytes = data.get(at(offsets, row)..at(offsets, row + 1)).unwrap_or_default();
        if nulls.as_ref().is_none_or(|it| it.is_valid(row)) {
            text.push_str(&String::from_utf8_lossy(bytes));
        }
        ends.push(i32::try_from(text.len()).map_err(|_| Error::data("text column holds more than 2 GiB"))?);
    }
    StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(ends)), Buffer::from_vec(text.into_bytes()), nulls)
        .map_err(|e| Error::internal("text column").because(e))
}

fn at(offsets: &OffsetBuffer<i32>, index: usize) -> usize {
    offsets.get(index).and_then(|it| usize::try_from(*it).ok()).unwrap_or(0)
}

fn offset(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
