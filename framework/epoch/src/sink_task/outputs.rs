//! `Outputs`: the writers of an epoch, one for each sink; the program writes its rows here.

use std::sync::Arc;

use arrow_array::RecordBatch;
use tidegate_api::{DynWriter, Epoch, Error, Rejected, Result};

use super::{SinkTask, Sinks, about};
use crate::stage::{self, StageWriter};

/// The writers of an epoch, one for each sink. The program writes its rows here.
pub struct Outputs {
    pub(super) outputs: Vec<Output>,
}

pub(super) struct Output {
    pub(super) name: Arc<str>,
    pub(super) target: Target,
    pub(super) best_effort: bool,
    pub(super) rows: u64,
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

impl Outputs {
    /// Gives rows to sink number `sink`, in the order of the query's sinks.
    ///
    /// # Errors
    /// As the sink; `Data` if it rejects a row. A best-effort sink's failure is counted instead.
    pub async fn write(&mut self, sink: usize, batch: RecordBatch) -> Result<()> {
        let there = self.outputs.len();
        let missing = || Error::internal(format!("rows for sink number {sink} of {there}"));
        let output = self.outputs.get_mut(sink).ok_or_else(missing)?;
        let rows = batch.num_rows() as u64;
        let written = match &mut output.target {
            Target::Writer(writer) => write(writer.as_mut(), batch).await,
            Target::Stage(stage) => stage.write(&batch),
            Target::Nowhere(_) => return Ok(()),
        };
        match written {
            Ok(()) => output.rows += rows,
            Err(e) if output.best_effort => output.target = Target::Nowhere(Some(e)),
            Err(e) => return Err(e.within(about(&output.name))),
        }
        Ok(())
    }

    /// How many sinks there are.
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    /// True if there are no sinks.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Rows written, by sink.
    pub(crate) fn rows(&self) -> Vec<u64> {
        self.outputs.iter().map(|it| it.rows).collect()
    }
}

/// Gives rows to a sink that may reject some of them.
pub(super) async fn write(writer: &mut dyn DynWriter, batch: RecordBatch) -> Result<()> {
    match writer.write(batch).await?.into_iter().next() {
        None => Ok(()),
        Some(Rejected { row, error }) => Err(Error::data(format!("row {row} was rejected")).because(error)),
    }
}

impl Sinks {
    /// Outputs that take rows and write none.
    pub(crate) fn no_outputs(&self) -> Outputs {
        let output = |it: &SinkTask| Output {
            name: it.name.clone(),
            target: Target::Nowhere(None),
            best_effort: it.best_effort,
            rows: 0,
        };
        Outputs { outputs: self.tasks.iter().map(output).collect() }
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
            outputs.push(Output { name: task.name.clone(), target, best_effort: task.best_effort, rows: 0 });
        }
        Ok(Outputs { outputs })
    }
}
