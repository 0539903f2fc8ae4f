//! Taking out what is over.

use arrow_array::RecordBatch;
use tidegate_api::Result;

use super::KeyedState;
use super::read::chunks_through;
use crate::state::chunk::{Chunk, Pick, Place, Sources, gather};

/// Which of the rows that are taken out are to be returned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    /// None: they are not even read.
    Count,
    /// Those in which this BOOLEAN column is false.
    Unflagged(usize),
}

impl KeyedState {
    /// Takes out the rows whose pane is at or before `through_us`, those of this epoch too, and returns them in order
    /// of pane, hash and key.
    ///
    /// # Errors
    /// `Internal` if they can't be copied; as reading rows that are on disk.
    pub fn evict_through(&mut self, through_us: i64) -> Result<RecordBatch> {
        Ok(self.evict(through_us, Wanted::All)?.0)
    }

    /// As [`Self::evict_through`], but returns only the rows in which the BOOLEAN `flag` is not true (without a column none,
    /// and what is on disk is not read); and how many were taken out.
    ///
    /// # Errors
    /// `Internal` if they can't be copied; as reading rows that are on disk.
    pub fn evict_unless(&mut self, through_us: i64, flag: Option<usize>) -> Result<(RecordBatch, u64)> {
        self.evict(through_us, flag.map_or(Wanted::Count, Wanted::Unflagged))
    }

    /// Takes them out and counts them; returns those that are wanted.
    fn evict(&mut self, through_us: i64, wanted: Wanted) -> Result<(RecordBatch, u64)> {
        let mut chunks: Vec<&Chunk> = Vec::new();
        let mut picks = Vec::new();
        let mut orphans = Vec::new();
        let is_over = |pane: Option<i64>| pane.is_some_and(|it| it <= through_us);
        let mut taken = 0;
        for (id, chunk) in chunks_through(&self.overlay.level, through_us) {
            for row in chunk.over(through_us).filter(|row| chunk.is_live(*row)) {
                taken += 1;
                if wanted != Wanted::Count {
                    picks.push(Pick::of(chunk, chunks.len(), row));
                }
                // Its key may still stand in a later pane of the sealed state, where nothing else hides it for good.
                let below = self.overlay.replaced(Place::new(id, row));
                let chunk = self.sealed.chunk(below.chunk);
                orphans.extend(chunk.filter(|it| !is_over(it.pane(below.row()))).map(|_| below));
            }
            chunks.push(chunk);
        }
        let mut evicted = 0;
        let mut evicts = false;
        for (id, chunk) in chunks_through(&self.sealed, through_us) {
            for row in chunk.over(through_us).filter(|row| chunk.is_live(*row)) {
                evicts = true;
                if !self.overlay.is_over(chunk.pane(row)) && !self.overlay.hides(Place::new(id, row)) {
                    evicted += 1;
                    if wanted != Wanted::Count {
                        picks.push(Pick::of(chunk, chunks.len(), row));
                    }
                }
            }
            chunks.push(chunk);
        }
        let rows = self.picked(chunks, picks, wanted)?;
        self.overlay.tombs.extend(orphans);
        self.overlay.level.drop_through(through_us);
        self.overlay.evicted += evicted;
        self.overlay.evicts |= evicts;
        self.overlay.through_us = self.overlay.through_us.max(Some(through_us));
        Ok((rows, (taken + evicted) as u64))
    }

    /// Copies of the picked rows that are wanted, in canonical order.
    fn picked(&self, chunks: Vec<&Chunk>, mut picks: Vec<Pick>, wanted: Wanted) -> Result<RecordBatch> {
        let sources = Sources::new(chunks, picks.iter().map(|it| (it.source, it.row)))?;
        if let Wanted::Unflagged(column) = wanted {
            picks.retain(|it| sources.is_false(it, column));
        }
        Pick::sort(&mut picks, &sources, self.layout.pieces());
        gather(&self.layout.schema, &sources, &picks)
    }
}
