//! The `headers` column: a list of (key, value) per row.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::{ArrayRef, ListArray, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, Fields};

use crate::record::Header;

/// Builds the column. A record without headers is null, as in Spark.
pub(crate) struct HeadersBuilder {
    keys: StringBuilder,
    values: BinaryBuilder,
    lengths: Vec<usize>,
    present: NullBufferBuilder,
}

impl HeadersBuilder {
    pub(crate) fn new() -> Self {
        Self {
            keys: StringBuilder::new(),
            values: BinaryBuilder::new(),
            lengths: Vec::new(),
            present: NullBufferBuilder::new(0),
        }
    }

    pub(crate) fn push<'a>(&mut self, headers: impl Iterator<Item = Header<'a>>) {
        let mut count = 0;
        for header in headers {
            self.keys.append_value(String::from_utf8_lossy(header.key));
            self.values.append_option(header.value);
            count += 1;
        }
        self.lengths.push(count);
        self.present.append(count > 0);
    }

    pub(crate) fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        let columns: Vec<ArrayRef> = vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let entries = StructArray::try_new(entry_fields(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(self.lengths);
        Ok(Arc::new(ListArray::try_new(item(), offsets, Arc::new(entries), self.present.finish())?))
    }
}

/// `ARRAY<STRUCT<key STRING, value BINARY>>`
pub(crate) fn data_type() -> DataType {
    DataType::List(item())
}

fn item() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(entry_fields()), true))
}

fn entry_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Binary, true)])
}
