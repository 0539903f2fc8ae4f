//! A growing column of byte strings.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use tidegate_api::{Error, Result};

use crate::text::string_array;

/// Byte strings one behind the other. The caller sees to it that they stay below 2 GiB.
pub(super) struct Bytes {
    offsets: Vec<i32>,
    data: Vec<u8>,
    /// Bytes of the last array: what the next one will need.
    expected: usize,
}

impl Default for Bytes {
    fn default() -> Self {
        Self { offsets: vec![0], data: Vec::new(), expected: 0 }
    }
}

impl Bytes {
    pub(super) fn reserve(&mut self, rows: usize) {
        self.offsets.reserve(rows);
        self.data.reserve(self.expected);
    }

    #[inline]
    pub(super) fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        self.close();
    }

    /// Appends what `write` adds to the data.
    #[inline]
    pub(super) fn push_with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let result = write(&mut self.data);
        self.close();
        result
    }

    /// Forgets all values from `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        let end = self.offsets.last().and_then(|it| usize::try_from(*it).ok()).unwrap_or(0);
        self.data.truncate(end);
    }

    pub(super) fn finish_text(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let (offsets, data) = self.take();
        Ok(Arc::new(string_array(offsets, data, nulls)?))
    }

    pub(super) fn finish_binary(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let (offsets, data) = self.take();
        let array = BinaryArray::try_new(offsets, data, nulls);
        Ok(Arc::new(array.map_err(|e| Error::internal("binary column").because(e))?))
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        self.expected = self.data.len();
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let data = std::mem::take(&mut self.data);
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(data))
    }

    #[inline]
    fn close(&mut self) {
        self.offsets.push(i32::try_from(self.data.len()).unwrap_or(i32::MAX));
    }
}
