//! The small doors to a sink: `foreach_batch` takes a closure, `BatchSink` a type. Both get an epoch's rows at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::{Error, ErrorKind, Result};
use crate::sink::{
    AttemptId, CommitOutcome, Epoch, Guarantee, Rejected, Sink, SinkWriter, SourcePosition, Staging, WriterId,
};
use crate::source::BatchStream;

/// The rows of one epoch.
pub struct EpochRows {
    /// The rows, in input order.
    pub rows: BatchStream,
    /// True if an earlier try may have written some of them.
    pub replayed: bool,
}

impl EpochRows {
    /// All batches at once: as much memory as the epoch's rows take.
    ///
    /// # Errors
    /// What the stream gives.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.rows.try_collect().await
    }
}

/// A sink that takes each epoch in one call. At least once; exactly once if the receiver records the epoch's number
/// with its rows (Spark: `foreachBatch`).
///
/// ```
/// use futures::TryStreamExt;
/// use tidegate_api::prelude::*;
///
/// /// Counts the rows of each epoch.
/// struct Counter(Vec<(u64, usize)>);
///
/// #[async_trait]
/// impl BatchSink for Counter {
///     async fn add_batch(&mut self, epoch: &Epoch, rows: EpochRows) -> Result<CommitOutcome> {
///         if self.0.iter().any(|(number, _)| *number == epoch.number) {
///             return Ok(CommitOutcome::AlreadyCommitted { attempt: None });
///         }
///         let batches: Vec<_> = rows.rows.try_collect().await?;
///         self.0.push((epoch.number, batches.iter().map(RecordBatch::num_rows).sum()));
///         Ok(CommitOutcome::Committed)
///     }
/// }
/// ```
#[async_trait]
pub trait BatchSink: Send + 'static {
    /// What the sink promises when an epoch is repeated.
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    /// Writes all rows of an epoch. Called for epochs without rows too.
    ///
    /// # Errors
    /// `Transient` if the same call may work later.
    async fn add_batch(&mut self, epoch: &Epoch, rows: EpochRows) -> Result<CommitOutcome>;
}

type EpochFn = dyn FnMut(Epoch, EpochRows) -> BoxFuture<'static, Result<()>> + Send;

/// A `BatchSink` made of a closure; see [`foreach_batch`].
pub struct ForeachBatch {
    run: Box<EpochFn>,
}

/// Calls `run` with the rows of each epoch (Spark: `foreachBatch`).
///
/// ```
/// use futures::{FutureExt, TryStreamExt};
/// use tidegate_api::foreach_batch;
///
/// let sink = foreach_batch(|epoch, rows| {
///     async move {
///         let batches: Vec<_> = rows.rows.try_collect().await?;
///         let n: usize = batches.iter().map(|it| it.num_rows()).sum();
///         assert!(epoch.number == 0 || n > 0);
///         Ok(())
///     }
///     .boxed()
/// });
/// # drop(sink);
/// ```
pub fn foreach_batch(
    run: impl FnMut(Epoch, EpochRows) -> BoxFuture<'static, Result<()>> + Send + 'static,
) -> ForeachBatch {
    ForeachBatch { run: Box::new(run) }
}

#[async_trait]
impl BatchSink for ForeachBatch {
    async fn add_batch(&mut self, epoch: &Epoch, rows: EpochRows) -> Result<CommitOutcome> {
        (self.run)(epoch.clone(), rows).await?;
        Ok(CommitOutcome::Committed)
    }
}

type Pending = Arc<Mutex<BTreeMap<(u64, AttemptId, u32), Vec<RecordBatch>>>>;

/// Makes a full `Sink` of a `BatchSink`: rows wait in memory until the epoch commits.
pub struct BatchSinkAdapter<B> {
    inner: tokio::sync::Mutex<B>,
    guarantee: Guarantee,
    name: String,
    pending: Pending,
    tried: Mutex<Option<u64>>,
}

impl<B: BatchSink> BatchSinkAdapter<B> {
    /// `name` is what progress objects show.
    pub fn new(name: impl Into<String>, inner: B) -> Self {
        let guarantee = inner.guarantee();
        let inner = tokio::sync::Mutex::new(inner);
        Self { inner, guarantee, name: name.into(), pending: Pending::default(), tried: Mutex::default() }
    }
}

/// Collects the rows of one task.
pub struct CollectingWriter {
    key: (u64, AttemptId, u32),
    rows: Vec<RecordBatch>,
    pending: Pending,
}

#[async_trait]
impl SinkWriter for CollectingWriter {
    type Committable = u32;

    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        self.rows.push(batch);
        Ok(Vec::new())
    }

    async fn prepare(self) -> Result<u32> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.insert(self.key, self.rows);
        Ok(self.key.2)
    }
}

#[async_trait]
impl<B: BatchSink> Sink for BatchSinkAdapter<B> {
    type Committable = u32;
    type Writer = CollectingWriter;

    fn guarantee(&self) -> Guarantee {
        self.guarantee
    }

    /// A call may write piece by piece: its rows are staged first.
    fn staging(&self) -> Staging {
        Staging::Rows
    }

    async fn open(&mut self, _writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        Ok(None)
    }

    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<CollectingWriter> {
        let key = (epoch.number, epoch.attempt, task);
        Ok(CollectingWriter { key, rows: Vec::new(), pending: self.pending.clone() })
    }

    async fn commit(&self, epoch: &Epoch, parts: Vec<u32>, _positions: &[SourcePosition]) -> Result<CommitOutcome> {
        let mut batches = Vec::new();
        for task in &parts {
            let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            let rows = pending.get(&(epoch.number, epoch.attempt, *task)).ok_or_else(|| {
                Error::new(ErrorKind::Internal, format!("sink {}: rows of epoch {} are gone", self.name, epoch.number))
            })?;
            batches.extend(rows.iter().cloned().map(Ok));
        }
        // The first try of this process may follow one of an earlier process, unless it is the first of the whole
        // query; after it only a number above the last one says "new".
        let first = epoch.number == 0 && epoch.attempt.generation <= 1 && epoch.attempt.n == 0;
        let replayed = {
            let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
            let replayed = tried.map_or(!first, |last| epoch.number <= last);
            *tried = Some(epoch.number);
            replayed
        };
        let rows = EpochRows { rows: stream::iter(batches).boxed(), replayed };
        let outcome = self.inner.lock().await.add_batch(epoch, rows).await?;
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|(number, ..), _| *number > epoch.number);
        Ok(outcome)
    }

    async fn abort(&self, epoch: &Epoch, parts: Vec<u32>) -> Result<()> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for task in parts {
            pending.remove(&(epoch.number, epoch.attempt, task));
        }
        Ok(())
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}
