//! A level whose keys may have several rows: its index holds the runs of each chunk. A run stays in it as long as its
//! chunk, whatever of it is dead.

use super::{Entry, Identity, Lent, Level, Place, forget, index_of};

impl Level {
    /// Where the runs of a key begin, in no order.
    pub(in crate::state) fn runs(&self, wanted: Identity<'_>, lent: &Lent) -> impl Iterator<Item = Place> {
        let Identity { pane, hash, key, .. } = wanted;
        let entries = self.index(pane).into_iter().flat_map(move |it| it.iter_hash(hash));
        let same = move |it: &&Entry| it.hash == hash && self.has_key(it.place, key, lent);
        entries.filter(same).map(|it| it.place)
    }

    /// Makes the rows of a chunk findable.
    pub(in crate::state) fn add_runs(&mut self, piece: Option<i64>, id: u32) {
        let Some(chunk) = self.chunks.get(id as usize).and_then(Option::as_ref) else { return };
        let index = index_of(&mut self.shared, &mut self.panes, piece);
        for (row, hash) in chunk.runs() {
            index.insert_unique(hash, Entry { hash, place: Place::new(id, row) }, |it| it.hash);
        }
    }

    /// Takes the runs of a chunk out of the index.
    pub(super) fn forget_runs(&mut self, piece: Option<i64>, id: u32) {
        let Some(chunk) = self.chunks.get(id as usize).and_then(Option::as_ref) else { return };
        let index = index_of(&mut self.shared, &mut self.panes, piece);
        for (row, hash) in chunk.runs() {
            forget(index, hash, Place::new(id, row));
        }
    }

    /// The live row that is `wanted`.
    pub(super) fn find_in_runs(&self, wanted: Identity<'_>, lent: &Lent) -> Option<Place> {
        let Identity { pane, id, .. } = wanted;
        self.runs(wanted, lent).find_map(|run| {
            let chunk = self.chunk(run.chunk)?;
            let row = chunk.in_run(run.row(), pane, id)?;
            chunk.is_live(row).then(|| Place::new(run.chunk, row))
        })
    }

    /// Marks all rows of a chunk dead that are over.
    pub(super) fn thin_chunk(&mut self, id: u32, through_us: i64) {
        let Some(chunk) = self.chunks.get_mut(id as usize).and_then(Option::as_mut) else { return };
        let before = chunk.bytes();
        let killed = chunk.thin(through_us);
        self.bytes = self.bytes + chunk.bytes() - before;
        self.live -= killed;
    }
}
