//! Rows by key: an order in which those of one key stand together, in the order in which they came.

use arrow_array::{ArrayRef, UInt32Array};
use tidegate_api::Result;
use tidegate_epoch::state::{encode_keys, key_hash};

/// The order, and where each key begins in it.
pub(crate) struct ByKey {
    /// The rows.
    pub(crate) order: UInt32Array,
    /// Where each key begins, and where the last one ends.
    pub(crate) starts: Vec<usize>,
}

impl ByKey {
    /// Puts rows in order by these key columns: by hash and bytes of the key, so that it is the same on every machine.
    ///
    /// # Errors
    /// `Config` if a type can't be a key.
    pub(crate) fn of(columns: &[ArrayRef], rows: usize) -> Result<Self> {
        Self::and_by(columns, rows, |_| 0)
    }

    /// As `of`; the rows of one key by `then`, and only then as they came.
    ///
    /// # Errors
    /// As `of`.
    pub(crate) fn and_by(columns: &[ArrayRef], rows: usize, then: impl Fn(usize) -> i64) -> Result<Self> {
        let keys = encode_keys(columns, rows)?;
        let hashed = (0u32..).zip(keys.iter()).map(|(row, key)| (key_hash(key.unwrap_or_default()), row));
        let mut order: Vec<(u64, i64, u32)> = hashed.map(|(hash, row)| (hash, then(row as usize), row)).collect();
        let key = |row: u32| keys.value(row as usize);
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| key(a.2).cmp(key(b.2))).then((a.1, a.2).cmp(&(b.1, b.2)))
        });
        let same = |a: &(u64, i64, u32), b: &(u64, i64, u32)| a.0 == b.0 && key(a.2) == key(b.2);
        let mut starts = vec![0];
        for group in order.chunk_by(same) {
            starts.push(starts.last().copied().unwrap_or_default() + group.len());
        }
        Ok(Self { order: order.iter().map(|it| it.2).collect::<Vec<_>>().into(), starts })
    }

    /// The number of keys.
    pub(crate) fn keys(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Where the rows of a key stand in the order: the first, and how many.
    pub(crate) fn range(&self, key: usize) -> (usize, usize) {
        let from = self.starts.get(key).copied().unwrap_or_default();
        (from, self.starts.get(key + 1).map_or(0, |to| to - from))
    }

    /// The first row of each key.
    pub(crate) fn firsts(&self) -> UInt32Array {
        let firsts = self.starts.iter().take(self.keys()).map(|at| self.order.value(*at));
        UInt32Array::from_iter_values(firsts)
    }
}
