//! `MemorySink`: a sink whose rows a test reads; exactly once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidegate_api::{
    AttemptId, CommitOutcome, DynSink, Epoch, Error, Guarantee, OutputMode, Rejected, Result, Sink, SinkSpec,
    SinkWriter, SourcePosition, WriterId,
};

use crate::suite::SinkBench;

/// What a memory sink has written. Clones share it, and it outlives the query.
#[derive(Clone, Debug, Default)]
pub struct MemoryTable {
    inner: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    complete: bool,
    schema: Option<SchemaRef>,
    epochs: Vec<Written>,
    /// The last epoch of each writer.
    last: BTreeMap<String, (u64, AttemptId)>,
    /// Prepared, not visible.
    staged: BTreeMap<Part, Vec<RecordBatch>>,
    /// The newest owner of each writer id; older ones are fenced.
    owners: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Written {
    number: u64,
    rows: Vec<RecordBatch>,
}

/// Names the rows that one task has prepared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[doc(hidden)]
pub struct Part {
    writer: String,
    epoch: u64,
    attempt: AttemptId,
    task: u32,
}

impl MemoryTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// A sink that writes here.
    pub fn sink(&self, spec: &SinkSpec) -> MemorySink {
        let mut table = self.lock();
        table.complete = spec.mode == OutputMode::Complete;
        table.schema = Some(spec.schema.clone());
        MemorySink { table: self.clone(), schema: spec.schema.clone(), writer: None, owner: 0 }
    }

    /// The result: in complete mode the rows of the last epoch, else those of all epochs, in order.
    pub fn rows(&self) -> Vec<RecordBatch> {
        self.rows_since(0)
    }

    /// The rows of one epoch, if it has committed.
    pub fn epoch_rows(&self, number: u64) -> Option<Vec<RecordBatch>> {
        let table = self.lock();
        let of = table.epochs.iter().filter(|it| it.number == number);
        of.map(|it| it.rows.clone()).reduce(|a, b| [a, b].concat())
    }

    /// The numbers of all committed epochs, in order of commit.
    pub fn epochs(&self) -> Vec<u64> {
        self.lock().epochs.iter().map(|it| it.number).collect()
    }

    /// The number of the last committed epoch.
    pub fn last_epoch(&self) -> Option<u64> {
        self.lock().epochs.last().map(|it| it.number)
    }

    /// The columns of the newest sink.
    pub fn schema(&self) -> Option<SchemaRef> {
        self.lock().schema.clone()
    }

    /// A mark for [`rows_since`](Self::rows_since): how many epochs have committed.
    pub fn mark(&self) -> usize {
        self.lock().epochs.len()
    }

    /// The rows of the epochs committed after `mark`; in complete mode those of the last of them.
    pub fn rows_since(&self, mark: usize) -> Vec<RecordBatch> {
        let table = self.lock();
        let since = table.epochs.get(mark..).unwrap_or_default();
        let since = if table.complete { since.last().map_or(&[][..], std::slice::from_ref) } else { since };
        since.iter().flat_map(|it| it.rows.iter().cloned()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SinkBench for MemoryTable {
    async fn sink(&self, spec: &SinkSpec) -> Result<Box<dyn DynSink>> {
        Ok(Box::new(Self::sink(self, spec)))
    }

    async fn rows(&self) -> Result<Vec<RecordBatch>> {
        Ok(Self::rows(self))
    }
}

/// Writes to a [`MemoryTable`].
#[derive(Debug)]
pub struct MemorySink {
    table: MemoryTable,
    schema: SchemaRef,
    writer: Option<String>,
    owner: u64,
}

impl MemorySink {
    fn writer_id(&self) -> Result<&str> {
        self.writer.as_deref().ok_or_else(|| Error::internal("memory sink: it was not opened"))
    }

    /// Gives nothing to whom a newer owner has followed.
    fn owned<'a>(&self, table: &'a mut Table, writer: &str) -> Result<&'a mut Table> {
        match table.owners.get(writer) {
            Some(owner) if *owner != self.owner => {
                Err(Error::fenced(format!("memory sink {writer}: a newer owner has opened it")))
            }
            _ => Ok(table),
        }
    }
}

/// Collects the rows of one task.
#[derive(Debug)]
pub struct MemoryWriter {
    table: MemoryTable,
    schema: SchemaRef,
    part: Part,
    rows: Vec<RecordBatch>,
}

#[async_trait]
impl SinkWriter for MemoryWriter {
    type Committable = Part;

    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        let batch = RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec());
        self.rows.push(batch.map_err(|e| Error::internal("memory sink: rows of other columns").because(e))?);
        Ok(Vec::new())
    }

    async fn prepare(self) -> Result<Part> {
        self.table.lock().staged.insert(self.part.clone(), self.rows);
        Ok(self.part)
    }
}

#[async_trait]
impl Sink for MemorySink {
    type Committable = Part;
    type Writer = MemoryWriter;

    fn guarantee(&self) -> Guarantee {
        Guarantee::Transactional
    }

    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        let writer = writer.to_string();
        let mut table = self.table.lock();
        let owner = table.owners.entry(writer.clone()).or_default();
        *owner += 1;
        self.owner = *owner;
        let last = table.last.get(&writer).copied();
        drop(table);
        self.writer = Some(writer);
        Ok(last)
    }

    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<MemoryWriter> {
        let writer = self.writer_id()?.to_owned();
        let part = Part { writer, epoch: epoch.number, attempt: epoch.attempt, task };
        Ok(MemoryWriter { table: self.table.clone(), schema: self.schema.clone(), part, rows: Vec::new() })
    }

    async fn commit(&self, epoch: &Epoch, parts: Vec<Part>, _at: &[SourcePosition]) -> Result<CommitOutcome> {
        let writer = self.writer_id()?;
        let mut table = self.table.lock();
        let table = self.owned(&mut table, writer)?;
        if let Some((last, attempt)) = table.last.get(writer).filter(|it| epoch.number <= it.0) {
            let attempt = (*last == epoch.number).then_some(*attempt);
            return Ok(CommitOutcome::AlreadyCommitted { attempt });
        }
        let mut rows = Vec::new();
        for part in &parts {
            let gone = || Error::internal(format!("memory sink: the rows of epoch {} are gone", epoch.number));
            rows.extend(table.staged.get(part).ok_or_else(gone)?.iter().cloned());
        }
        table.epochs.push(Written { number: epoch.number, rows });
        table.last.insert(writer.to_owned(), (epoch.number, epoch.attempt));
        table.staged.retain(|part, _| part.writer != writer || part.epoch > epoch.number);
        Ok(CommitOutcome::Committed)
    }

    async fn abort(&self, _epoch: &Epoch, parts: Vec<Part>) -> Result<()> {
        let mut table = self.table.lock();
        for part in &parts {
            table.staged.remove(part);
        }
        Ok(())
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}
