//! `RowKeys`: the keys of a chunk's rows. Where the key is one text, the rows tell it and nothing is kept beside them:
//! with short keys that is a third of the state.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::{Array, BinaryArray, RecordBatch, StringArray};

use crate::state::key::{encode_texts, is_key_of_text, key_hash, key_of_text, with_key_of_text};
use crate::state::layout::StateLayout;

/// The key of each row.
#[derive(Clone)]
pub(in crate::state) enum RowKeys {
    /// Its bytes.
    Bytes(BinaryArray),
    /// The only key column, which has no nulls.
    Text(StringArray),
}

impl RowKeys {
    /// The keys of rows whose only key column is text, unless there is a null.
    pub(in crate::state) fn of_text(layout: &StateLayout, rows: &RecordBatch) -> Option<Self> {
        let [column] = layout.key_columns.as_slice() else { return None };
        let texts = rows.columns().get(*column)?.as_string_opt::<i32>()?;
        (texts.null_count() == 0).then(|| Self::Text(texts.clone()))
    }

    /// The bytes, where they are kept.
    pub(in crate::state) fn bytes(&self) -> Option<&BinaryArray> {
        match self {
            Self::Bytes(keys) => Some(keys),
            Self::Text(_) => None,
        }
    }

    /// The bytes of all keys.
    pub(in crate::state) fn to_bytes(&self) -> Cow<'_, BinaryArray> {
        match self {
            Self::Bytes(keys) => Cow::Borrowed(keys),
            Self::Text(texts) => Cow::Owned(encode_texts(texts)),
        }
    }

    /// The bytes of some keys that follow each other.
    pub(in crate::state) fn slice(&self, first: usize, count: usize) -> BinaryArray {
        match self {
            Self::Bytes(keys) => keys.slice(first, count),
            Self::Text(texts) => encode_texts(&texts.slice(first, count)),
        }
    }

    /// What they take in memory beside the rows.
    pub(in crate::state) fn bytes_of_their_own(&self) -> usize {
        self.bytes().map_or(0, Array::get_array_memory_size)
    }

    /// The bytes of one key; none if there is no such row.
    pub(in crate::state) fn get(&self, row: usize) -> Cow<'_, [u8]> {
        match self {
            Self::Bytes(keys) if row < keys.len() => Cow::Borrowed(keys.value(row)),
            Self::Text(texts) if row < texts.len() => Cow::Owned(key_of_text(texts.value(row).as_bytes())),
            _ => Cow::default(),
        }
    }

    /// True if these are the bytes of a row's key.
    pub(in crate::state) fn is(&self, row: usize, key: &[u8]) -> bool {
        match self {
            Self::Bytes(keys) => row < keys.len() && keys.value(row) == key,
            Self::Text(texts) => row < texts.len() && is_key_of_text(key, texts.value(row).as_bytes()),
        }
    }

    /// True if two rows have one key.
    pub(in crate::state) fn same(&self, a: usize, b: usize) -> bool {
        match self {
            Self::Bytes(keys) => a.max(b) < keys.len() && keys.value(a) == keys.value(b),
            Self::Text(texts) => a.max(b) < texts.len() && texts.value(a) == texts.value(b),
        }
    }

    /// The hash of a key.
    pub(in crate::state) fn hash(&self, row: usize) -> u64 {
        match self {
            Self::Text(texts) if row < texts.len() => with_key_of_text(texts.value(row).as_bytes(), key_hash),
            _ => key_hash(&self.get(row)),
        }
    }
}
