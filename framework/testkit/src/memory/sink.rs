//! `MemorySink`: a sink whose rows a test reads, of each kind that there is.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidegate_api::{
    AttemptId, CommitOutcome, DynSink, Epoch, Error, Guarantee, OutputMode, Rejected, Result, Sink, SinkSpec,
    SinkWriter, SourcePosition, Staging, WriterId,
};

use super::cells::Cells;
use crate::suite::SinkBench;

/// How a memory sink takes the rows of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MemoryKind {
    /// What is prepared outlives the process, and an epoch becomes visible whole (Delta, files).
    #[default]
    Committable,
    /// Writes in one step, in a transaction that dies with its process; each third reply to a commit is lost (Kafka).
    Transactional,
    /// Writes in one step, row by row, by key and by the epoch's write time, and does not know what it has written; each
    /// third commit breaks off half-way (Cassandra). The columns are those of the key.
    Piecemeal(Vec<usize>),
    /// At least once, and best effort: each third epoch fails (console).
    BestEffort,
}

/// What a memory sink has written. Clones share it, and it outlives the query.
#[derive(Clone, Debug, Default)]
pub struct MemoryTable {
    kind: MemoryKind,
    /// An old owner may go on writing.
    unfenced: bool,
    inner: Arc<Mutex<Table>>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    /// Of a piecemeal sink.
    cells: Cells,
    /// Calls of commit, for the kinds that answer some of them with an error.
    commits: u64,
    complete: bool,
    schema: Option<SchemaRef>,
    epochs: Vec<Written>,
    /// The last epoch of each writer.
    last: BTreeMap<String, (u64, AttemptId)>,
    /// Prepared, not visible, and durable.
    staged: Parts,
    /// The newest owner of each writer id; older ones are fenced.
    owners: BTreeMap<String, u64>,
}

/// What is prepared; clones share it.
#[derive(Clone, Debug, Default)]
struct Parts(Arc<Mutex<BTreeMap<Part, Vec<RecordBatch>>>>);

impl Parts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, Vec<RecordBatch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows of the parts of an epoch, in order.
    fn rows(&self, epoch: &Epoch, parts: &[Part]) -> Result<Vec<RecordBatch>> {
        let gone = || Error::internal(format!("memory sink: the rows of epoch {} are gone", epoch.number));
        let there = self.lock();
        let rows = parts.iter().map(|it| there.get(it).cloned().ok_or_else(gone));
        Ok(rows.collect::<Result<Vec<_>>>()?.concat())
    }
}

#[derive(Clone, Debug)]
struct Written {
    number: u64,
    rows: Vec<RecordBatch>,
}

/// Names the rows that one task has prepared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
        Self::of(MemoryKind::default())
    }

    /// An empty table of a kind.
    pub fn of(kind: MemoryKind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// A table that lets an old owner write: a mistake, for tests that must find it.
    pub fn unfenced(kind: MemoryKind) -> Self {
        Self { unfenced: true, ..Self::of(kind) }
    }

    /// How it takes rows.
    pub fn kind(&self) -> &MemoryKind {
        &self.kind
    }

    /// How many parts are prepared and not visible.
    pub fn staged(&self) -> usize {
        self.lock().staged.lock().len()
    }

    /// A sink that writes here.
    pub fn sink(&self, spec: &SinkSpec) -> MemorySink {
        let mut table = self.lock();
        table.complete = spec.mode == OutputMode::Complete;
        table.schema = Some(spec.schema.clone());
        let own = (self.kind != MemoryKind::Committable).then(Parts::default);
        let parts = own.unwrap_or_else(|| table.staged.clone());
        MemorySink { table: self.clone(), schema: spec.schema.clone(), writer: None, owner: 0, parts }
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

impl MemoryTable {
    /// A table of its own that holds what this one holds now.
    pub(crate) fn copied(&self) -> Self {
        let mut table = self.lock().clone();
        let staged = table.staged.lock().clone();
        table.staged = Parts(Arc::new(Mutex::new(staged)));
        let Self { kind, unfenced, .. } = self.clone();
        Self { kind, unfenced, inner: Arc::new(Mutex::new(table)) }
    }

    /// A number for all that it holds.
    pub(crate) fn print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let table = self.lock();
        (&table.cells, table.commits, table.complete, &table.last, &table.owners).hash(&mut hasher);
        for Written { number, rows } in &table.epochs {
            number.hash(&mut hasher);
            rows.iter().for_each(|it| hash_rows(it, &mut hasher));
        }
        for (part, rows) in table.staged.lock().iter() {
            part.hash(&mut hasher);
            rows.iter().for_each(|it| hash_rows(it, &mut hasher));
        }
        hasher.finish()
    }
}

#[async_trait]
impl SinkBench for MemoryTable {
    async fn sink(&self, spec: &SinkSpec) -> Result<Box<dyn DynSink>> {
        Ok(Box::new(Self::sink(self, spec)))
    }

    async fn rows(&self) -> Result<Vec<RecordBatch>> {
        match (&self.kind, self.schema()) {
            (MemoryKind::Piecemeal(_), Some(schema)) => self.lock().cells.rows(&schema),
            _ => Ok(Self::rows(self)),
        }
    }

    fn fork(&self) -> Option<Box<dyn SinkBench>> {
        Some(Box::new(self.copied()))
    }

    fn fingerprint(&self) -> Option<u64> {
        Some(self.print())
    }
}

/// Two batches of the same hash hold the same rows; the reverse need not be true.
fn hash_rows(rows: &RecordBatch, hasher: &mut DefaultHasher) {
    rows.num_rows().hash(hasher);
    for column in rows.columns() {
        let data = column.to_data();
        data.offset().hash(hasher);
        data.buffers().iter().for_each(|it| it.as_slice().hash(hasher));
        if let Some(nulls) = data.nulls() {
            nulls.validity().hash(hasher);
        }
    }
}

/// Writes to a [`MemoryTable`].
#[derive(Debug)]
pub struct MemorySink {
    table: MemoryTable,
    schema: SchemaRef,
    writer: Option<String>,
    owner: u64,
    /// Those of the table if they are durable, else of this process.
    parts: Parts,
}

impl MemorySink {
    fn writer_id(&self) -> Result<&str> {
        self.writer.as_deref().ok_or_else(|| Error::internal("memory sink: it was not opened"))
    }

    /// Gives nothing to whom a newer owner has followed.
    fn owned<'a>(&self, table: &'a mut Table, writer: &str) -> Result<&'a mut Table> {
        match table.owners.get(writer) {
            Some(owner) if *owner != self.owner && !self.table.unfenced => {
                Err(Error::fenced(format!("memory sink {writer}: a newer owner has opened it")))
            }
            _ => Ok(table),
        }
    }
}

/// Collects the rows of one task.
#[derive(Debug)]
pub struct MemoryWriter {
    parts: Parts,
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
        self.parts.lock().insert(self.part.clone(), self.rows);
        Ok(self.part)
    }
}

#[async_trait]
impl Sink for MemorySink {
    type Committable = Part;
    type Writer = MemoryWriter;

    fn guarantee(&self) -> Guarantee {
        match self.table.kind {
            MemoryKind::Committable | MemoryKind::Transactional => Guarantee::Transactional,
            MemoryKind::Piecemeal(_) => Guarantee::Idempotent,
            MemoryKind::BestEffort => Guarantee::AtLeastOnce,
        }
    }

    fn staging(&self) -> Staging {
        match self.table.kind {
            MemoryKind::Committable => Staging::Committable,
            MemoryKind::Transactional | MemoryKind::Piecemeal(_) => Staging::Rows,
            MemoryKind::BestEffort => Staging::None,
        }
    }

    fn best_effort(&self) -> bool {
        self.table.kind == MemoryKind::BestEffort
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
        Ok(MemoryWriter { parts: self.parts.clone(), schema: self.schema.clone(), part, rows: Vec::new() })
    }

    async fn commit(&self, epoch: &Epoch, parts: Vec<Part>, _at: &[SourcePosition]) -> Result<CommitOutcome> {
        let writer = self.writer_id()?;
        let mut table = self.table.lock();
        table.commits += 1;
        let third = table.commits.is_multiple_of(3);
        match &self.table.kind {
            MemoryKind::Piecemeal(keys) => {
                let rows = self.parts.rows(epoch, &parts)?;
                return upsert(&mut table, epoch, &rows, keys, third);
            }
            MemoryKind::BestEffort if third => return Err(Error::transient("memory sink: not this time")),
            MemoryKind::BestEffort => {
                table.last.clear();
            }
            _ => {}
        }
        let table = self.owned(&mut table, writer)?;
        if let Some((last, attempt)) = table.last.get(writer).filter(|it| epoch.number <= it.0) {
            let attempt = (*last == epoch.number).then_some(*attempt);
            return Ok(CommitOutcome::AlreadyCommitted { attempt });
        }
        let rows = self.parts.rows(epoch, &parts)?;
        table.epochs.push(Written { number: epoch.number, rows });
        table.last.insert(writer.to_owned(), (epoch.number, epoch.attempt));
        self.parts.lock().retain(|part, _| part.writer != writer || part.epoch > epoch.number);
        if third && self.table.kind == MemoryKind::Transactional {
            return Err(Error::transient("memory sink: the reply to a commit is lost"));
        }
        Ok(CommitOutcome::Committed)
    }

    async fn abort(&self, _epoch: &Epoch, parts: Vec<Part>) -> Result<()> {
        let mut there = self.parts.lock();
        parts.iter().for_each(|it| drop(there.remove(it)));
        Ok(())
    }

    async fn restore(&mut self, through: Option<u64>) -> Result<bool> {
        if self.table.kind != MemoryKind::Committable {
            return Ok(false);
        }
        let writer = self.writer_id()?;
        let mut table = self.table.lock();
        let table = self.owned(&mut table, writer)?;
        table.epochs.retain(|it| through.is_some_and(|through| it.number <= through));
        Ok(true)
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

/// Writes rows one by one; of those that come twice in an epoch the last. Half of them, if it breaks off.
fn upsert(
    table: &mut Table,
    epoch: &Epoch,
    rows: &[RecordBatch],
    keys: &[usize],
    breaks_off: bool,
) -> Result<CommitOutcome> {
    for batch in rows {
        let most = if breaks_off { batch.num_rows() / 2 } else { batch.num_rows() };
        table.cells.write(batch, keys, epoch.write_time_us, most)?;
    }
    if breaks_off { Err(Error::transient("memory sink: it broke off half-way")) } else { Ok(CommitOutcome::Committed) }
}
