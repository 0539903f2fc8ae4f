//! `Overlay`: what an undecided epoch has changed. The sealed state below it stays as it is.

use std::collections::BTreeMap;

use hashbrown::HashTable;

use super::chunk::Place;
use super::layout::StateLayout;
use super::level::Level;

/// New rows, and what they and the tombstones hide of the sealed state.
pub(super) struct Overlay {
    /// Rows put and still there.
    pub(super) level: Level,
    /// Sealed rows whose keys are gone, if they are not put again.
    pub(super) tombs: Vec<Place>,
    /// Panes at or before this are gone from the sealed state.
    pub(super) through_us: Option<i64>,
    /// True if that took anything away.
    pub(super) evicts: bool,
    /// How many visible rows it took.
    pub(super) evicted: usize,
    /// For each overlay chunk the sealed rows that its rows replaced.
    replaced: BTreeMap<u32, Vec<Place>>,
    hidden: HashTable<Place>,
    hidden_in: BTreeMap<u32, usize>,
}

impl Overlay {
    pub(super) fn new(layout: &StateLayout) -> Self {
        Self {
            level: Level::new(layout),
            tombs: Vec::new(),
            through_us: None,
            evicts: false,
            evicted: 0,
            replaced: BTreeMap::new(),
            hidden: HashTable::new(),
            hidden_in: BTreeMap::new(),
        }
    }

    /// Hides a sealed row; each once.
    pub(super) fn hide(&mut self, place: Place) {
        self.hidden.insert_unique(spread(place), place, |it| spread(*it));
        *self.hidden_in.entry(place.chunk).or_default() += 1;
    }

    pub(super) fn hides(&self, place: Place) -> bool {
        self.hidden_in.contains_key(&place.chunk) && self.hidden.find(spread(place), |it| *it == place).is_some()
    }

    /// Number of sealed rows hidden.
    pub(super) fn hidden(&self) -> usize {
        self.hidden.len()
    }

    pub(super) fn is_over(&self, pane: Option<i64>) -> bool {
        matches!((pane, self.through_us), (Some(pane), Some(through)) if pane <= through)
    }

    /// Notes which sealed rows a chunk's rows replaced, row by row.
    pub(super) fn set_replaced(&mut self, chunk: u32, places: Vec<Place>) {
        self.replaced.insert(chunk, places);
    }

    /// The sealed row that an overlay row replaced, or no place.
    pub(super) fn replaced(&self, place: Place) -> Place {
        let places = self.replaced.get(&place.chunk);
        places.and_then(|it| it.get(place.row()).copied()).unwrap_or(Place::NONE)
    }

    /// The rows put, and for each of their chunks the sealed rows that it replaced.
    pub(super) fn into_parts(self) -> (Level, BTreeMap<u32, Vec<Place>>) {
        (self.level, self.replaced)
    }

    pub(super) fn bytes(&self) -> usize {
        let replaced: usize = self.replaced.values().map(|it| it.len() * size_of::<Place>()).sum();
        self.level.bytes() + replaced + self.hidden.allocation_size() + self.tombs.len() * size_of::<Place>()
    }
}

/// A hash of a place.
fn spread(place: Place) -> u64 {
    let packed = u64::from(place.chunk) << 32 | u64::from(place.row);
    let mixed = packed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}
