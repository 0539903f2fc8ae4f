//! A level of which some chunks are on disk.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, BinaryArray};
use arrow_select::concat::concat;
use tidegate_api::{Error, Result};

use super::{Chunk, Level, Place};
use crate::state::spill::SpillFolder;

/// Keys of rows on disk that a call compares with its own: read before, file by file and block by block, however the
/// call goes about its rows.
#[derive(Default)]
pub(in crate::state) struct Lent {
    places: Vec<Place>,
    keys: Option<BinaryArray>,
}

impl Lent {
    /// For a level that is wholly in memory.
    pub(in crate::state) const NONE: Self = Self { places: Vec::new(), keys: None };

    fn key(&self, place: Place) -> Option<&[u8]> {
        let at = self.places.binary_search(&place).ok()?;
        self.keys.as_ref().filter(|it| at < it.len()).map(|it| it.value(at))
    }
}

impl Level {
    /// Reads the keys of all rows on disk that may be the ones of these panes and hashes.
    ///
    /// # Errors
    /// `Transient` if the disk fails, `Internal` if a file is damaged.
    pub(in crate::state) fn lend(&self, wanted: impl Iterator<Item = (Option<i64>, u64)>) -> Result<Lent> {
        if self.on_disk == 0 {
            return Ok(Lent::NONE);
        }
        let mut places = Vec::new();
        for (pane, hash) in wanted {
            let same = self.index(pane).into_iter().flat_map(|it| it.iter_hash(hash)).filter(|it| it.hash == hash);
            places.extend(same.map(|it| it.place).filter(|it| self.chunk(it.chunk).is_some_and(Chunk::is_on_disk)));
        }
        places.sort_unstable();
        places.dedup();
        let mut keys = Vec::new();
        for of_chunk in places.chunk_by(|a, b| a.chunk == b.chunk) {
            let chunk = of_chunk.first().and_then(|it| self.chunk(it.chunk));
            let chunk = chunk.ok_or_else(|| Error::internal("a chunk of state is gone"))?;
            let rows: Vec<u32> = of_chunk.iter().map(|it| it.row).collect();
            keys.push(chunk.read(&rows)?.keys.to_bytes().into_owned());
        }
        let arrays: Vec<&dyn Array> = keys.iter().map(|it| it as &dyn Array).collect();
        if arrays.is_empty() {
            return Ok(Lent::NONE);
        }
        let keys = concat(&arrays).map_err(|e| Error::internal("keys of state can't be copied").because(e))?;
        Ok(Lent { places, keys: keys.as_binary_opt::<i32>().cloned() })
    }

    /// True if this key stands at a place. If that is on disk it must have been lent.
    pub(super) fn has_key(&self, place: Place, key: &[u8], lent: &Lent) -> bool {
        let Some(chunk) = self.chunk(place.chunk) else { return false };
        if chunk.is_on_disk() {
            debug_assert!(lent.key(place).is_some(), "a key on disk was not read before it is asked for");
            return lent.key(place) == Some(key);
        }
        chunk.has_key(place.row(), key)
    }

    /// The chunks whose rows are in memory: number, age and bytes.
    pub(in crate::state) fn held(&self) -> impl Iterator<Item = (u32, u64, usize)> {
        let chunks = (0u32..).zip(&self.chunks).filter_map(|(id, it)| it.as_ref().map(|it| (id, it)));
        chunks.filter(|(_, it)| !it.is_on_disk()).map(|(id, it)| (id, it.age, it.held_bytes()))
    }

    /// Bytes of the files of its chunks.
    pub(in crate::state) fn file_bytes(&self) -> u64 {
        if self.on_disk == 0 { 0 } else { self.chunks.iter().flatten().map(Chunk::file_bytes).sum() }
    }

    /// Moves the rows of a chunk to disk. After an error all is as before.
    ///
    /// # Errors
    /// `Transient` if the disk fails.
    pub(in crate::state) fn spill(&mut self, id: u32, folder: &Arc<SpillFolder>) -> Result<()> {
        let several = self.several;
        let chunk = self.chunks.get_mut(id as usize).and_then(Option::as_mut);
        let Some(chunk) = chunk.filter(|it| !it.is_on_disk()) else { return Ok(()) };
        let before = chunk.bytes();
        chunk.spill(folder, several)?;
        self.bytes = self.bytes + chunk.bytes() - before;
        self.on_disk += 1;
        Ok(())
    }
}
