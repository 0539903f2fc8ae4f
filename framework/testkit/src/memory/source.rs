//! `MemorySource`: a source whose rows a test adds.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use tidegate_api::{
    BatchStream, Bound, Error, OffsetRange, PartitionId, Payload, Planned, ReadLimit, Replay, Result, ScanRequest,
    Source, Split,
};
use tokio::sync::watch;

/// Where a test puts the rows of a memory source. Clones share them, and they outlive the query.
///
/// The source's offset is the number of adds, so an add without rows makes an epoch too.
#[derive(Clone)]
pub struct MemoryInput {
    schema: SchemaRef,
    shared: Arc<Shared>,
}

struct Shared {
    adds: Mutex<Vec<Vec<RecordBatch>>>,
    count: watch::Sender<u64>,
    committed: Mutex<Option<u64>>,
}

impl fmt::Debug for MemoryInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryInput").field("adds", &self.adds()).finish_non_exhaustive()
    }
}

impl MemoryInput {
    /// An input of these columns, without rows.
    pub fn new(schema: SchemaRef) -> Self {
        let shared = Shared { adds: Mutex::default(), count: watch::Sender::new(0), committed: Mutex::default() };
        Self { schema, shared: Arc::new(shared) }
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds rows in one step, which no epoch cuts in two, and returns the number of adds. No rows: an epoch without
    /// rows.
    ///
    /// # Errors
    /// `Data` if a batch has other columns.
    pub fn add(&self, batches: Vec<RecordBatch>) -> Result<u64> {
        let adopt = |batch: RecordBatch| RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec());
        let batches = batches.into_iter().map(adopt).collect::<Result<Vec<_>, _>>();
        let batches = batches.map_err(|e| Error::data("memory input: rows of other columns").because(e))?;
        let mut adds = self.lock();
        adds.push(batches);
        let count = adds.len() as u64;
        drop(adds);
        self.shared.count.send_replace(count);
        Ok(count)
    }

    /// The number of adds.
    pub fn adds(&self) -> u64 {
        self.lock().len() as u64
    }

    /// True if nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The last offset up to which the query said that it will not read again.
    pub fn committed(&self) -> Option<u64> {
        *self.shared.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An input of its own that holds what this one holds now.
    pub(crate) fn fork(&self) -> Self {
        let adds = self.lock().clone();
        let count = watch::Sender::new(adds.len() as u64);
        let shared = Shared { adds: Mutex::new(adds), count, committed: Mutex::new(self.committed()) };
        Self { schema: self.schema.clone(), shared: Arc::new(shared) }
    }

    /// A source over these rows.
    pub fn source(&self) -> MemorySource {
        MemorySource { input: self.clone(), columns: None, frozen: None }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<RecordBatch>>> {
        self.shared.adds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a [`MemoryInput`].
#[derive(Clone, Debug)]
pub struct MemorySource {
    input: MemoryInput,
    columns: Option<Vec<usize>>,
    frozen: Option<u64>,
}

fn rows(add: &[RecordBatch]) -> u64 {
    add.iter().map(|it| it.num_rows() as u64).sum()
}

fn bytes(add: &[RecordBatch]) -> u64 {
    add.iter().map(|it| it.get_array_memory_size() as u64).sum()
}

impl MemorySource {
    /// The last add that may be planned.
    fn latest(&self) -> u64 {
        self.input.adds().min(self.frozen.unwrap_or(u64::MAX))
    }
}

#[async_trait]
impl Source for MemorySource {
    type Offset = u64;

    fn payload(&self) -> Payload {
        Payload::Rows(self.input.schema.clone())
    }

    fn replay(&self) -> Replay {
        Replay::Deterministic
    }

    fn bind(&mut self, scan: &ScanRequest) -> Result<Bound> {
        let schema = &self.input.schema;
        let mut columns = Vec::new();
        for path in &scan.projection {
            let name = path.0.first().map_or("", String::as_str);
            let at = schema.index_of(name).map_err(|e| Error::config("memory source: unknown column").because(e))?;
            if !columns.contains(&at) {
                columns.push(at);
            }
        }
        let bound = schema.project(&columns).map_err(|e| Error::internal("memory source").because(e))?;
        self.columns = Some(columns);
        Ok(Bound { schema: Arc::new(bound), filters_taken: vec![false; scan.filters.len()] })
    }

    async fn initial_offset(&mut self) -> Result<u64> {
        Ok(0)
    }

    async fn plan(&mut self, start: &u64, limit: &ReadLimit) -> Result<Planned<u64>> {
        let latest = self.latest();
        if *start > self.input.adds() {
            return Err(lost(*start, self.input.adds()));
        }
        let adds = self.input.lock();
        let (mut end, mut all_rows, mut all_bytes) = (*start, 0u64, 0u64);
        for add in adds.get(index(*start)..index(latest.max(*start))).unwrap_or_default() {
            let (rows, bytes) = (all_rows + rows(add), all_bytes + bytes(add));
            let fits = limit.max_rows.is_none_or(|it| rows <= it) && limit.max_bytes.is_none_or(|it| bytes <= it);
            if !fits && end > *start {
                break;
            }
            (end, all_rows, all_bytes) = (end + 1, rows, bytes);
        }
        Ok(Planned { end, latest, rows: Some(all_rows), bytes: Some(all_bytes), schema: None })
    }

    async fn freeze(&mut self, start: &u64) -> Result<u64> {
        let latest = self.latest().max(*start);
        self.frozen = Some(latest);
        Ok(latest)
    }

    async fn ready(&mut self, after: &u64) -> Result<()> {
        if self.frozen.is_some_and(|it| it <= *after) {
            std::future::pending::<()>().await;
        }
        // The sender lives as long as `self`.
        let _ = self.input.shared.count.subscribe().wait_for(|count| count > after).await;
        Ok(())
    }

    fn splits(&self, range: OffsetRange<u64>, max: usize) -> Vec<Split<u64>> {
        let adds = range.end.saturating_sub(range.start);
        let pieces = adds.clamp(1, max.max(1) as u64);
        let cut = |piece: u64| range.start + adds * piece / pieces;
        let split = |piece: u64| Split {
            range: OffsetRange { start: cut(piece), end: cut(piece + 1) },
            partition: PartitionId::only(),
            bytes: None,
        };
        (0..pieces).map(split).collect()
    }

    async fn read(&self, split: Split<u64>) -> Result<BatchStream> {
        let OffsetRange { start, end } = split.range;
        let adds = self.input.lock();
        let range = adds.get(index(start)..index(end)).ok_or_else(|| lost(end, adds.len() as u64))?;
        let project = |batch: &RecordBatch| match &self.columns {
            Some(columns) => batch.project(columns).map_err(|e| Error::internal("memory source").because(e)),
            None => Ok(batch.clone()),
        };
        let batches: Vec<_> = range.iter().flatten().map(project).collect();
        Ok(stream::iter(batches).boxed())
    }

    async fn commit(&mut self, through: &u64) -> Result<()> {
        *self.input.shared.committed.lock().unwrap_or_else(PoisonError::into_inner) = Some(*through);
        Ok(())
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn lost(offset: u64, adds: u64) -> Error {
    Error::config(format!("memory source: offset {offset} is lost, there are {adds} adds"))
}
