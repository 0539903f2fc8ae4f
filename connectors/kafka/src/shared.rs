//! `Shared`: what planning, reading and the tracker thread know together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::topic_partition_list::Offset;
use tidegate_api::{ErrorKind, PartitionId, Result};
use tidegate_kafka_ffi::{Column, Limits};
use tokio::sync::Notify;

use crate::cluster::{Cluster, Mark, number};
use crate::fetch::Fetcher;
use crate::reader::Reader;

/// The state of one source.
pub(crate) struct Shared {
    pub(crate) cluster: Arc<Cluster>,
    /// None where librdkafka fetches.
    fetcher: Option<Arc<Fetcher>>,
    /// Told when a queue has got something or a mark has moved.
    pub(crate) news: Arc<Notify>,
    /// Planning has asked since the tracker last looked.
    pub(crate) asked: AtomicBool,
    marks: Mutex<BTreeMap<PartitionId, Mark>>,
    readers: Mutex<BTreeMap<PartitionId, Arc<Reader>>>,
}

impl Shared {
    pub(crate) fn new(cluster: Arc<Cluster>, fetcher: Option<Arc<Fetcher>>) -> Self {
        Self {
            cluster,
            fetcher,
            news: Arc::default(),
            asked: AtomicBool::new(false),
            marks: Mutex::default(),
            readers: Mutex::default(),
        }
    }

    /// What is known of all partitions. Asks nobody.
    pub(crate) fn known(&self) -> BTreeMap<PartitionId, Mark> {
        lock(&self.marks).clone()
    }

    /// Asks the brokers for all partitions and marks. Blocks.
    pub(crate) fn ask_all(&self) -> Result<BTreeMap<PartitionId, Mark>> {
        let marks = self.cluster.marks(&self.cluster.partitions()?)?;
        lock(&self.marks).clone_from(&marks);
        Ok(marks)
    }

    /// Looks for new and vanished partitions. Blocks. What can't be asked now stays as it is; `missing` holds what was
    /// not there the last time, and only what is missing twice is taken for gone.
    pub(crate) fn find_partitions(&self, missing: &mut BTreeSet<PartitionId>) {
        let mut known = self.known();
        let mut new = Vec::new();
        for topic in &self.cluster.topics {
            let count = match self.cluster.partition_count(topic) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Config => 0,
                Err(error) => {
                    tracing::warn!("{error}");
                    known.retain(|place, _| place.name != *topic);
                    continue;
                }
            };
            let found = (0..count).map(|number| PartitionId { name: topic.clone(), number });
            new.extend(found.filter(|place| known.remove(place).is_none()));
        }
        let (gone, absent): (BTreeSet<_>, BTreeSet<_>) = known.into_keys().partition(|it| missing.contains(it));
        *missing = absent;
        let new = self.cluster.marks(&new).unwrap_or_else(|error| {
            tracing::warn!("{error}");
            BTreeMap::new()
        });
        if !new.is_empty() || !gone.is_empty() {
            let mut marks = lock(&self.marks);
            marks.retain(|place, _| !gone.contains(place));
            marks.extend(new);
            self.news.notify_one();
        }
    }

    /// Asks for the ends of all partitions. Blocks.
    pub(crate) fn ask_ends(&self) {
        let places: Vec<_> = self.known().into_keys().collect();
        match self.cluster.offsets(&places, Offset::End) {
            Ok(ends) => {
                let mut marks = lock(&self.marks);
                for (place, end) in ends {
                    if let Some(mark) = marks.get_mut(&place) {
                        mark.high = mark.high.max(end);
                    }
                }
            }
            Err(error) => tracing::warn!("{error}"),
        }
        self.news.notify_one();
    }

    /// True if a broker has told, beside a fetch, of offsets that nobody knows yet.
    pub(crate) fn is_behind(&self) -> bool {
        // Without a level of isolation the watermark of the fetch is the end itself, and our own fetch tells the end.
        let tells_less = self.fetcher.is_none() && !self.cluster.reads_uncommitted;
        let fetched = |place| self.fetched_end(place).filter(|_| tells_less);
        lock(&self.marks).iter().any(|(place, mark)| fetched(place).is_some_and(|end| end > mark.high))
    }

    /// The high watermark as the last fetch told it.
    fn fetched_end(&self, place: &PartitionId) -> Option<i64> {
        Some(self.cluster.consumer.cached_watermarks(&place.name, number(place))?.1)
    }

    /// Looks ahead in all open partitions and moves the marks to what was seen. Returns those whose log was cut, and
    /// where they go on.
    pub(crate) fn look_ahead(&self) -> Result<Vec<(PartitionId, i64)>> {
        let readers: Vec<_> = lock(&self.readers).values().cloned().collect();
        let mut moved = Vec::new();
        for reader in readers {
            if !lock(&self.marks).contains_key(&reader.place) {
                continue;
            }
            let Some(seen) = reader.look_ahead()? else { continue };
            let fetched = match self.fetcher {
                Some(_) => seen.end,
                None => self.cluster.reads_uncommitted.then(|| self.fetched_end(&reader.place)).flatten(),
            };
            if let Some(mark) = lock(&self.marks).get_mut(&reader.place) {
                mark.high = mark.high.max(seen.covered).max(fetched.unwrap_or(0));
                if let Some(to) = seen.moved_to {
                    *mark = Mark { low: mark.low.min(to), high: to };
                    moved.push((reader.place.clone(), to));
                }
            }
        }
        Ok(moved)
    }

    /// True if the partition exists, as far as is known.
    pub(crate) fn is_known(&self, place: &PartitionId) -> bool {
        lock(&self.marks).contains_key(place)
    }

    /// True if the partition is being fetched.
    pub(crate) fn is_open(&self, place: &PartitionId) -> bool {
        lock(&self.readers).contains_key(place)
    }

    /// The reader of a partition, if it is open.
    pub(crate) fn reader(&self, place: &PartitionId) -> Option<Arc<Reader>> {
        lock(&self.readers).get(place).cloned()
    }

    /// Opens partitions that are not open. Blocks for a moment.
    pub(crate) fn open(&self, starts: &[(PartitionId, i64)], columns: &[Column], batch: Limits) -> Result<()> {
        let mut readers = lock(&self.readers);
        for (place, start) in starts {
            if !readers.contains_key(place) {
                let reader =
                    Reader::open(&self.cluster, self.fetcher.as_ref(), place, *start, columns, batch, &self.news)?;
                readers.insert(place.clone(), Arc::new(reader));
            }
        }
        Ok(())
    }

    /// Marks that planning wants to know more.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
