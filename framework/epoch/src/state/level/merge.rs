//! Keeping the chunks of a level few: dead ones go, stale ones are rewritten, small ones are merged.

use tidegate_api::Result;

use super::{Chunk, Level, Pane, Place, index_of};
use crate::state::chunk::{MAX_BYTES, MAX_ROWS, Pick, RowKeys, Sources, gather, gather_keys};
use crate::state::layout::StateLayout;

/// As many chunks of about one size are merged into one.
const FAN: usize = 8;

impl Level {
    /// Drops dead chunks of a piece, rewrites those that are mostly dead, merges small ones and gives back what the
    /// index no longer needs. An error leaves the piece as good as it was. About `budget` rows are rewritten, what is left
    /// over waits for the next seal: as many as the epoch put are enough, since each of them leaves at most one dead.
    pub(in crate::state) fn tidy(
        &mut self,
        layout: &StateLayout,
        piece: Option<i64>,
        budget: &mut usize,
    ) -> Result<()> {
        self.drop_dead(piece);
        for ids in self.stale(piece) {
            if *budget == 0 {
                break;
            }
            *budget = budget.saturating_sub(ids.iter().map(|id| self.size(*id).0).sum());
            self.merge(layout, piece, &ids)?;
        }
        while let Some(ids) = self.mergeable(piece) {
            self.merge(layout, piece, &ids)?;
        }
        let index = self.shared.as_mut().or_else(|| self.panes.get_mut(&piece).map(|it| &mut it.index));
        if let Some(index) = index.filter(|it| it.capacity() > 64 && it.len() * 8 < it.capacity()) {
            index.shrink_to(index.len() * 2, |it| it.hash);
        }
        Ok(())
    }

    /// The chunks of a piece that are mostly dead: together those that follow each other and make one.
    fn stale(&self, piece: Option<i64>) -> Vec<Vec<u32>> {
        let (mut groups, mut rows, mut follows) = (Vec::<Vec<u32>>::new(), 0, false);
        for id in self.panes.get(&piece).map_or(&[][..], Pane::chunks) {
            let live = self.size(*id).0;
            let stale = self.chunk(*id).is_some_and(|it| live * 2 < it.len());
            match groups.last_mut() {
                Some(group) if stale && follows && rows + live <= MAX_ROWS => {
                    group.push(*id);
                    rows += live;
                }
                _ if stale => {
                    groups.push(vec![*id]);
                    rows = live;
                }
                _ => {}
            }
            follows = stale;
        }
        groups
    }

    /// The newest chunks of a piece that are due for one merge.
    fn mergeable(&self, piece: Option<i64>) -> Option<Vec<u32>> {
        let chunks = &self.panes.get(&piece)?.chunks;
        let tier = |id: u32| self.size(id).0.max(1).ilog2() / FAN.ilog2();
        let newest = tier(*chunks.last()?);
        let (mut rows, mut bytes) = (0, 0);
        let due = chunks.iter().rev().take_while(|id| {
            let size = self.size(**id);
            (rows, bytes) = (rows + size.0, bytes + size.1);
            tier(**id) <= newest && rows <= MAX_ROWS && bytes <= MAX_BYTES
        });
        let count = due.count();
        (count >= FAN).then(|| chunks.get(chunks.len() - count..).map(<[u32]>::to_vec))?
    }

    /// Writes the live rows of chunks that follow each other into one.
    fn merge(&mut self, layout: &StateLayout, piece: Option<i64>, ids: &[u32]) -> Result<()> {
        let chunks: Vec<&Chunk> = ids.iter().filter_map(|id| self.chunk(*id)).collect();
        let mut picks = Vec::with_capacity(chunks.iter().map(|it| it.live()).sum());
        for (source, chunk) in chunks.iter().enumerate() {
            picks.extend(chunk.live_rows().map(|row| Pick::of(chunk, source, row)));
        }
        let age = chunks.iter().map(|it| it.age).min().unwrap_or(self.seals);
        let sources = Sources::new(chunks, picks.iter().map(|it| (it.source, it.row)))?;
        Pick::sort(&mut picks, &sources, self.pieces);
        let rows = gather(&layout.schema, &sources, &picks)?;
        let keys = match RowKeys::of_text(layout, &rows) {
            Some(keys) => keys,
            None => RowKeys::Bytes(gather_keys(&sources, &picks)?),
        };
        let mut merged = Chunk::new(rows, keys, layout);
        merged.age = age;
        let live = self.live;
        let id = self.slot(merged);
        self.live = live;
        if self.several {
            ids.iter().for_each(|old| self.forget_runs(piece, *old));
            self.add_runs(piece, id);
        } else {
            let index = index_of(&mut self.shared, &mut self.panes, piece);
            for (at, pick) in picks.iter().enumerate() {
                let from = Place::new(ids.get(pick.source).copied().unwrap_or(u32::MAX), pick.row);
                if let Some(entry) = index.find_mut(pick.hash, |it| it.place == from) {
                    entry.place = Place::new(id, at);
                }
            }
        }
        if let Some(pane) = self.panes.get_mut(&piece) {
            let at = pane.chunks.iter().position(|it| ids.first() == Some(it)).unwrap_or(0);
            pane.chunks.insert(at, id);
            pane.chunks.retain(|it| !ids.contains(it));
        }
        for id in ids {
            self.take_out(*id);
        }
        Ok(())
    }

    fn drop_dead(&mut self, piece: Option<i64>) {
        let Some(pane) = self.panes.get(&piece) else { return };
        let dead: Vec<u32> = pane.chunks.iter().copied().filter(|id| self.size(*id).0 == 0).collect();
        for id in &dead {
            if self.several {
                self.forget_runs(piece, *id);
            }
            self.unslot(*id);
        }
        if let Some(pane) = self.panes.get_mut(&piece) {
            pane.chunks.retain(|it| !dead.contains(it));
            if pane.chunks.is_empty() {
                self.panes.remove(&piece);
            }
        }
    }
}
