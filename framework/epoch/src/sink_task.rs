//! The sinks of a query: the writers of an epoch, then prepare and commit.

mod collect;
mod commit;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use serde_json::Value;
use tidegate_api::{AttemptId, DynSink, DynWriter, Epoch, Error, ErrorKind, OutputMode, QueryId, Result, WriterId};

use crate::fault::Faults;
use crate::retry::Retry;

pub use collect::Collected;

/// A sink as the engine hands it over.
pub struct SinkPart {
    /// Its name in the query: part of the writer id.
    pub name: Arc<str>,
    /// The sink.
    pub sink: Box<dyn DynSink>,
    /// Which rows it gets.
    pub mode: OutputMode,
    /// Its failure is counted and never delays the others.
    pub best_effort: bool,
}

struct SinkTask {
    name: Arc<str>,
    sink: Arc<dyn DynSink>,
    mode: OutputMode,
    best_effort: bool,
    /// Epochs that a best-effort sink did not get.
    failures: u64,
}

impl SinkTask {
    /// An error of a best-effort sink is counted, any other stays.
    fn tolerate(&mut self, epoch: &Epoch, error: Error) -> Result<()> {
        if !self.best_effort {
            return Err(error.within(about(&self.name)));
        }
        self.failures += 1;
        let (sink, failures) = (&self.name, self.failures);
        tracing::warn!(%sink, epoch = epoch.number, failures, %error, "a best-effort sink missed an epoch");
        Ok(())
    }
}

/// What a sink said when it was opened.
#[derive(Clone, Debug)]
pub(crate) struct SinkStands {
    pub(crate) name: Arc<str>,
    pub(crate) best_effort: bool,
    /// The last epoch that it shows, and of which attempt.
    pub(crate) committed: Option<(u64, AttemptId)>,
}

/// What progress shows of a sink.
pub(crate) struct SinkReport {
    pub(crate) description: String,
    pub(crate) failures: u64,
}

/// All sinks, in the order in which the query got them.
pub(crate) struct Sinks {
    tasks: Vec<SinkTask>,
    pub(crate) retry: Retry,
    faults: Faults,
}

/// The writers of an epoch, one for each sink. The program writes its rows here.
pub struct Outputs {
    outputs: Vec<Output>,
}

struct Output {
    name: Arc<str>,
    /// Nothing once a best-effort sink has failed.
    writer: Option<Box<dyn DynWriter>>,
    best_effort: bool,
    error: Option<Error>,
    rows: u64,
}

/// What all sinks have prepared, by sink; nothing for a best-effort one that failed.
#[derive(Default)]
pub(crate) struct Prepared(Vec<Option<Vec<Value>>>);

impl Outputs {
    /// Gives rows to sink number `sink`, in the order of the query's sinks.
    ///
    /// # Errors
    /// As the sink; `Data` if it rejects a row. A best-effort sink's failure is counted instead.
    pub async fn write(&mut self, sink: usize, batch: RecordBatch) -> Result<()> {
        let there = self.outputs.len();
        let missing = || Error::internal(format!("rows for sink number {sink} of {there}"));
        let output = self.outputs.get_mut(sink).ok_or_else(missing)?;
        let Some(writer) = &mut output.writer else { return Ok(()) };
        let rows = batch.num_rows() as u64;
        let written = match writer.write(batch).await {
            Ok(rejected) => match rejected.into_iter().next() {
                Some(first) => Err(Error::data(format!("row {} was rejected", first.row)).because(first.error)),
                None => Ok(()),
            },
            Err(e) => Err(e),
        };
        match written {
            Ok(()) => output.rows += rows,
            Err(e) if output.best_effort => {
                output.writer = None;
                output.error = Some(e);
            }
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

impl Sinks {
    pub(crate) fn new(parts: Vec<SinkPart>, faults: Faults) -> Result<Self> {
        let mut tasks: Vec<SinkTask> = Vec::new();
        for SinkPart { name, sink, mode, best_effort } in parts {
            if tasks.iter().any(|it| it.name == name) {
                return Err(Error::config(format!("two sinks have the name '{name}'")));
            }
            let best_effort = best_effort || sink.best_effort();
            tasks.push(SinkTask { name, sink: Arc::from(sink), mode, best_effort, failures: 0 });
        }
        Ok(Self { tasks, retry: Retry::default(), faults })
    }

    /// Fences older writers and asks what each sink has committed.
    pub(crate) async fn open(&mut self, query_id: &QueryId) -> Result<Vec<SinkStands>> {
        let mut stands = Vec::with_capacity(self.tasks.len());
        for task in &mut self.tasks {
            let writer = WriterId { query_id: query_id.clone(), sink: task.name.clone(), shard: None };
            let mut n = 0;
            let committed = loop {
                n += 1;
                let shared = || Error::internal(format!("sink {} is in use", task.name));
                match Arc::get_mut(&mut task.sink).ok_or_else(shared)?.open(&writer).await {
                    Ok(committed) => break committed,
                    Err(error) if task.best_effort => {
                        tracing::warn!(sink = %task.name, %error, "a best-effort sink can't be opened");
                        break None;
                    }
                    Err(error) if error.kind() == ErrorKind::Transient && self.retry.wait(n).await => {
                        tracing::warn!(sink = %task.name, %error, "a sink can't be opened for now");
                    }
                    Err(e) => return Err(e.within(about(&task.name))),
                }
            };
            stands.push(SinkStands { name: task.name.clone(), best_effort: task.best_effort, committed });
        }
        Ok(stands)
    }

    /// The writers of an epoch. Sinks without rows get one too: an empty epoch may be worth showing.
    pub(crate) async fn writers(&mut self, epoch: &Epoch) -> Result<Outputs> {
        let mut outputs = Vec::with_capacity(self.tasks.len());
        for task in &mut self.tasks {
            let writer = match task.sink.writer(epoch, 0).await {
                Ok(writer) => Some(writer),
                Err(e) => {
                    task.tolerate(epoch, e)?;
                    None
                }
            };
            let (name, best_effort) = (task.name.clone(), task.best_effort);
            outputs.push(Output { name, writer, best_effort, error: None, rows: 0 });
        }
        Ok(Outputs { outputs })
    }

    /// What each sink does in the background, between epochs.
    pub(crate) fn maintenance(&self, budget: Duration) -> impl Future<Output = ()> + Send + use<> {
        let sinks: Vec<_> = self.tasks.iter().map(|it| (it.name.clone(), it.sink.clone())).collect();
        async move {
            for (name, sink) in sinks {
                if let Err(error) = sink.maintain(budget).await {
                    tracing::warn!(sink = %name, %error, "a sink's maintenance failed");
                }
            }
        }
    }

    pub(crate) fn reports(&self) -> Vec<SinkReport> {
        let report = |it: &SinkTask| SinkReport {
            description: format!("{} ({})", it.sink.describe(), it.mode),
            failures: it.failures,
        };
        self.tasks.iter().map(report).collect()
    }
}

fn about(name: &str) -> String {
    format!("sink {name}")
}

#[cfg(test)]
mod tests;
