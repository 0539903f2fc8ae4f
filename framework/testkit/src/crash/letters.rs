//! The program `Letters`: each sink rejects the rows of one word, which become dead letters; each of them must come once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, StringArray, UInt64Array};
use arrow_select::take::take_record_batch;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use tidegate_api::{
    AttemptId, Changes, CommitOutcome, DynSink, DynWriter, Epoch, Error, Guarantee, OutputMode, Rejected, Result,
    SinkSpec, SourcePosition, Staging, WriterId,
};
use tidegate_epoch::{Errors, SinkPart, Tolerance, dead_letter_schema};

use super::log::Files;
use super::mistake::Mistake;
use super::script::OutputRow;
use super::{CrashSetup, ProgramKind, SinkUnder};
use crate::memory::{MemoryKind, MemoryTable};
use crate::suite::sorted_lines;

/// The word that no sink takes.
const ODD: &str = "b";
/// The column of words.
const WORD: usize = 3;

/// A dead letter as a reader finds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Letter {
    /// The sink that rejected the row.
    pub(crate) name: String,
    pub(crate) epoch: i64,
    pub(crate) timestamp: String,
    pub(crate) row: OutputRow,
}

/// The table for letters: of a kind that goes with the first sink's, so that both kinds come.
pub(super) fn table(setup: &CrashSetup) -> MemoryTable {
    MemoryTable::of(match setup.sinks.first() {
        Some(SinkUnder::Memory(MemoryKind::Transactional)) => MemoryKind::Transactional,
        _ => MemoryKind::Committable,
    })
}

/// What becomes of rejected rows.
pub(super) fn errors(setup: &CrashSetup, letters: &MemoryTable) -> Errors {
    if setup.program != ProgramKind::Letters {
        return Errors::default();
    }
    let spec = SinkSpec {
        schema: dead_letter_schema(),
        mode: OutputMode::Append,
        keys: Vec::new(),
        changes: Changes::Append,
        tasks: 1,
    };
    let sink: Box<dyn DynSink> = Box::new(letters.sink(&spec));
    let part = SinkPart { name: "letters".into(), sink, mode: OutputMode::Append, best_effort: false };
    Errors { tolerance: Tolerance::All, log: false, sink: Some(part), to_text: Some(Arc::new(texts)) }
}

fn texts(rows: &RecordBatch) -> Result<StringArray> {
    let one = |row| Ok(sorted_lines(&[rows.slice(row, 1)])?.concat());
    let texts = (0..rows.num_rows()).map(one).collect::<Result<Vec<String>>>()?;
    Ok(StringArray::from(texts))
}

/// All letters, sorted.
pub(super) fn read(table: &MemoryTable) -> Result<Vec<Letter>> {
    #[derive(Deserialize)]
    struct Line {
        stage: String,
        name: String,
        epoch: i64,
        timestamp: String,
        row: String,
    }
    let wrong = |e| Error::internal("a dead letter").because(e);
    let mut letters = Vec::new();
    for line in sorted_lines(&MemoryTable::rows(table))? {
        let Line { stage, name, epoch, timestamp, row } = serde_json::from_str(&line).map_err(wrong)?;
        if stage != "write" {
            return Err(Error::internal(format!("a dead letter of stage '{stage}'")));
        }
        letters.push(Letter { name, epoch, timestamp, row: serde_json::from_str(&row).map_err(wrong)? });
    }
    letters.sort();
    Ok(letters)
}

/// How letters differ from those of a run without faults.
pub(super) fn differ(expected: &[Letter], came: &[Letter]) -> Option<String> {
    if expected == came {
        return None;
    }
    let count = |all: &[Letter], it: &Letter| all.iter().filter(|other| *other == it).count();
    let wrong = expected.iter().chain(came).find(|it| count(expected, it) != count(came, it))?;
    let (should, is) = (count(expected, wrong), count(came, wrong));
    Some(format!("dead letter {wrong:?} came {is} times, without faults {should}"))
}

/// Loses what sinks have said of rejected rows.
pub(super) async fn forget(files: &Files) -> Result<()> {
    for name in files.list("state/staged").await?.iter().filter(|it| it.contains(".rejects.")) {
        files.remove(&format!("state/staged/{name}")).await?;
    }
    Ok(())
}

/// The sink, which rejects rows if the program wants it to.
pub(super) fn rejecting(setup: &CrashSetup, sink: Box<dyn DynSink>) -> Box<dyn DynSink> {
    if setup.program != ProgramKind::Letters {
        return sink;
    }
    let tells = setup.mistake != Some(Mistake::ShownNotTold);
    Box::new(Rejecting { sink, tells, last: Mutex::default() })
}

/// Rejects the rows of one word; one that shows an epoch drops all of its rows, as a transactional one does.
struct Rejecting {
    sink: Box<dyn DynSink>,
    /// It says that it drops rows.
    tells: bool,
    last: Mutex<Option<u64>>,
}

impl Rejecting {
    fn last(&self) -> MutexGuard<'_, Option<u64>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct RejectingWriter {
    writer: Box<dyn DynWriter>,
    shown: bool,
    tells: bool,
}

#[async_trait]
impl DynWriter for RejectingWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        if self.shown {
            return Ok(Vec::new());
        }
        let words = batch.column(WORD).as_string::<i32>();
        let odd = |row: &usize| words.is_valid(*row) && words.value(*row) == ODD;
        let (odd, taken): (Vec<usize>, Vec<usize>) = (0..batch.num_rows()).partition(odd);
        let rows = UInt64Array::from_iter_values(taken.into_iter().map(|it| it as u64));
        let taken = take_record_batch(&batch, &rows).map_err(|e| Error::internal("rows").because(e))?;
        let mut rejected = self.writer.write(taken).await?;
        rejected.extend(odd.into_iter().map(|row| Rejected { row, error: Error::data("the word is odd") }));
        Ok(rejected)
    }
    fn is_shown(&self) -> bool {
        self.shown && self.tells
    }
    async fn prepare(self: Box<Self>) -> Result<Value> {
        self.writer.prepare().await
    }
}

#[async_trait]
impl DynSink for Rejecting {
    fn guarantee(&self) -> Guarantee {
        self.sink.guarantee()
    }
    fn staging(&self) -> Staging {
        self.sink.staging()
    }
    fn best_effort(&self) -> bool {
        self.sink.best_effort()
    }
    fn commit_group(&self) -> Option<String> {
        self.sink.commit_group()
    }
    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        let last = self.sink.open(writer).await?;
        *self.last() = last.map(|it| it.0);
        Ok(last)
    }
    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<Box<dyn DynWriter>> {
        let shown = self.last().is_some_and(|last| last >= epoch.number);
        Ok(Box::new(RejectingWriter { writer: self.sink.writer(epoch, task).await?, shown, tells: self.tells }))
    }
    async fn commit(&self, epoch: &Epoch, parts: Vec<Value>, positions: &[SourcePosition]) -> Result<CommitOutcome> {
        self.sink.commit(epoch, parts, positions).await
    }
    async fn abort(&self, epoch: &Epoch, parts: Vec<Value>) -> Result<()> {
        self.sink.abort(epoch, parts).await
    }
    async fn check_restore(&self, through: Option<u64>) -> Result<()> {
        self.sink.check_restore(through).await
    }
    async fn restore(&mut self, through: Option<u64>) -> Result<bool> {
        self.sink.restore(through).await
    }
    async fn maintain(&self, budget: Duration) -> Result<()> {
        self.sink.maintain(budget).await
    }
    fn describe(&self) -> String {
        self.sink.describe()
    }
}
