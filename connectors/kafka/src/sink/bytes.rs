//! `Bytes`: a column of texts or bytes, whichever way Arrow keeps it.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, LargeBinaryArray, LargeStringArray, StringArray, StringViewArray,
};
use arrow_schema::DataType;
use tidegate_api::Result;
use tidegate_formats::json;

/// A column, shared and not copied.
pub(crate) enum Bytes {
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Binary(BinaryArray),
    LargeBinary(LargeBinaryArray),
    BinaryView(BinaryViewArray),
}

impl Bytes {
    /// Texts and bytes as they are; other types as JSON writes them.
    pub(crate) fn new(column: &ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 => Self::Text(column.as_string().clone()),
            DataType::LargeUtf8 => Self::LargeText(column.as_string().clone()),
            DataType::Utf8View => Self::TextView(column.as_string_view().clone()),
            DataType::Binary => Self::Binary(column.as_binary().clone()),
            DataType::LargeBinary => Self::LargeBinary(column.as_binary().clone()),
            DataType::BinaryView => Self::BinaryView(column.as_binary_view().clone()),
            _ => Self::Text(json::encode(&Arc::clone(column))?),
        })
    }

    /// The bytes of a row; none if it is null.
    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Text(it) => it.is_valid(row).then(|| it.value(row).as_bytes()),
            Self::LargeText(it) => it.is_valid(row).then(|| it.value(row).as_bytes()),
            Self::TextView(it) => it.is_valid(row).then(|| it.value(row).as_bytes()),
            Self::Binary(it) => it.is_valid(row).then(|| it.value(row)),
            Self::LargeBinary(it) => it.is_valid(row).then(|| it.value(row)),
            Self::BinaryView(it) => it.is_valid(row).then(|| it.value(row)),
        }
    }
}
