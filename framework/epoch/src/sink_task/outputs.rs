//! `Outputs`: the writers of an epoch, one for each sink; the program writes its rows here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use tidegate_api::{DynWriter, Epoch, Error, ErrorKind, Rejected, Result};

use super::{SinkTask, Sinks, about};
use crate::letters::{Rules, Step};
use crate::manifest::Written;
use crate::stage::{self, StageWriter};

/// The writers of an epoch, one for each sink. The program writes its rows here.
pub struct Outputs {
    pub(super) outputs: Vec<Output>,
    /// Where dead letters go, behind the program's sinks.
    pub(super) letters: Option<Output>,
    pub(super) rules: Arc<Rules>,
    /// The epoch that letters tell; nothing where nobody runs one.
    pub(super) epoch: Option<Epoch>,
    pub(super) undecoded: BTreeMap<Arc<str>, u64>,
}

pub(super) struct Output {
    pub(super) name: Arc<str>,
    pub(super) target: Target,
    pub(super) best_effort: bool,
    pub(super) rows: u64,
    /// Rows that became dead letters.
    pub(super) dead: u64,
}

/// Where the rows of one sink go.
pub(super) enum Target {
    /// To the sink.
    Writer(Box<dyn DynWriter>),
    /// To where they wait for it.
    Stage(Box<StageWriter>),
    /// Nowhere: a best-effort sink has failed, or all sinks have these rows.
    Nowhere(Option<Error>),
}

impl Output {
    fn new(task: &SinkTask, target: Target) -> Self {
        Self { name: task.name.clone(), target, best_effort: task.best_effort, rows: 0, dead: 0 }
    }
}

impl Outputs {
    /// Gives rows to sink number `sink`, in the order of the query's sinks.
    ///
    /// # Errors
    /// As the sink; `Data` if it rejects a row and that is not tolerated. A best-effort sink's failure is counted instead.
    pub async fn write(&mut self, sink: usize, batch: RecordBatch) -> Result<()> {
        let there = self.outputs.len();
        let missing = || Error::internal(format!("rows for sink number {sink} of {there}"));
        let output = self.outputs.get_mut(sink).ok_or_else(missing)?;
        let written = match &mut output.target {
            Target::Writer(writer) => write(writer.as_mut(), &batch, self.rules.tolerates()).await,
            Target::Stage(stage) => stage.write(&batch).map(|()| Vec::new()),
            Target::Nowhere(_) => return Ok(()),
        };
        let rejected = match written {
            Ok(rejected) => rejected,
            Err(e) if output.best_effort => {
                output.target = Target::Nowhere(Some(e));
                return Ok(());
            }
            Err(e) => return Err(e.within(about(&output.name))),
        };
        output.rows += (batch.num_rows().saturating_sub(rejected.len())) as u64;
        output.dead += rejected.len() as u64;
        let name = output.name.clone();
        self.letters(Step::Write, &name, &batch, &rejected)
    }

    /// Records of a source that can't be decoded: `rows` shows them, `rejected` says which and why. They become dead
    /// letters.
    ///
    /// # Errors
    /// The first reason, if that is not tolerated; else as the place where letters wait.
    pub fn undecoded(&mut self, source: &Arc<str>, rows: &RecordBatch, rejected: Vec<Rejected>) -> Result<()> {
        if !self.rules.tolerates() {
            return rejected.into_iter().next().map_or(Ok(()), |it| Err(it.error));
        }
        if !rejected.is_empty() {
            *self.undecoded.entry(source.clone()).or_default() += rejected.len() as u64;
        }
        self.letters(Step::Decode, source, rows, &rejected)
    }

    fn letters(&mut self, step: Step, name: &str, batch: &RecordBatch, rejected: &[Rejected]) -> Result<()> {
        let (false, Some(epoch)) = (rejected.is_empty(), &self.epoch) else { return Ok(()) };
        let letters = self.rules.letters(step, name, epoch, batch, rejected)?;
        let (Some(letters), Some(output)) = (letters, &mut self.letters) else { return Ok(()) };
        let Target::Stage(stage) = &mut output.target else { return Ok(()) };
        output.rows += letters.num_rows() as u64;
        stage.write(&letters)
    }

    /// How many sinks the program has.
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    /// True if there are no sinks.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// What was written so far, with that for the dead letter sink last.
    pub(crate) fn written(&self) -> Written {
        let all = || self.outputs.iter().chain(&self.letters);
        Written {
            rows: all().map(|it| it.rows).collect(),
            dead: all().map(|it| it.dead).collect(),
            undecoded: self.undecoded.clone(),
        }
    }
}

/// Gives rows to a sink that may reject some of them. If that is tolerated, returns those that it rejects: of a batch that
/// it can't use at all, those that it can't use by themselves.
pub(super) async fn write(writer: &mut dyn DynWriter, batch: &RecordBatch, tolerated: bool) -> Result<Vec<Rejected>> {
    if !tolerated {
        return match writer.write(batch.clone()).await?.into_iter().next() {
            None => Ok(Vec::new()),
            Some(Rejected { row, error }) => Err(Error::data(format!("row {row} was rejected")).because(error)),
        };
    }
    let mut rejected = Vec::new();
    // In halves, the first one on top.
    let mut waiting = vec![(0, batch.num_rows())];
    while let Some((from, rows)) = waiting.pop() {
        match writer.write(batch.slice(from, rows)).await {
            Ok(own) => rejected.extend(own.into_iter().map(|it| Rejected { row: from + it.row, error: it.error })),
            Err(error) if error.kind() != ErrorKind::Data || rows == 0 => return Err(error),
            Err(error) if rows == 1 => rejected.push(Rejected { row: from, error }),
            Err(_) => {
                let half = rows / 2;
                waiting.push((from + half, rows - half));
                waiting.push((from, half));
            }
        }
    }
    Ok(rejected)
}

impl Sinks {
    /// Outputs that take rows and write none.
    pub(crate) fn no_outputs(&self) -> Outputs {
        let mut outputs: Vec<_> = self.tasks.iter().map(|it| Output::new(it, Target::Nowhere(None))).collect();
        let letters = self.letters.and_then(|at| outputs.drain(at..).next());
        Outputs { outputs, letters, rules: self.rules.clone(), epoch: None, undecoded: BTreeMap::new() }
    }

    /// The outputs of an epoch. Sinks without rows get one too: an empty epoch may be worth showing.
    pub(crate) async fn outputs(&mut self, epoch: &Epoch) -> Result<Outputs> {
        let mut outputs = Vec::with_capacity(self.tasks.len());
        for (at, task) in self.tasks.iter_mut().enumerate() {
            let target = if task.way.collect {
                let name = stage::file_name(epoch, at);
                Target::Stage(Box::new(StageWriter::new(self.store.clone(), epoch.number, &name, self.stage_memory)))
            } else {
                match task.sink.writer(epoch, 0).await {
                    Ok(writer) => Target::Writer(writer),
                    Err(e) => {
                        task.tolerate(epoch, e)?;
                        Target::Nowhere(None)
                    }
                }
            };
            outputs.push(Output::new(task, target));
        }
        let letters = self.letters.and_then(|at| outputs.drain(at..).next());
        let (rules, undecoded) = (self.rules.clone(), BTreeMap::new());
        Ok(Outputs { outputs, letters, rules, epoch: Some(epoch.clone()), undecoded })
    }
}
