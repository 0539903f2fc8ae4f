//! Which of many keys are new: the one question of a deduplication.

use arrow_array::{BooleanArray, RecordBatch};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tidegate_api::Result;

use super::KeyedState;
use super::read::Keys;
use crate::state::level::Lent;

impl KeyedState {
    /// Which rows (of the whole schema, or the key columns alone) have a key that neither the state holds, with this epoch's
    /// changes, nor an earlier one of the rows.
    ///
    /// # Errors
    /// `Config` if the columns are not those of the layout; as reading rows that are on disk.
    pub fn absent(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let keys = Keys::of(&self.layout, rows)?;
        let lent = self.lend(&keys)?;
        let mut seen: HashTable<(u64, usize)> = HashTable::with_capacity(keys.len());
        let mut absent = Vec::with_capacity(keys.len());
        for (row, guess) in self.guesses(&keys).into_iter().enumerate() {
            let wanted = keys.get(row);
            let same = |it: &(u64, usize)| it.0 == wanted.hash && keys.get(it.1).key == wanted.key;
            let is_new = match seen.entry(wanted.hash, same, |it| it.0) {
                Entry::Occupied(_) => false,
                Entry::Vacant(vacant) => {
                    vacant.insert((wanted.hash, row));
                    self.overlay.level.find(wanted, &Lent::NONE).is_none()
                        && self.guessed_row(guess, wanted, &lent).is_none()
                }
            };
            absent.push(is_new);
        }
        Ok(BooleanArray::from(absent))
    }
}
