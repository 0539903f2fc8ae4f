//! Sinks made of functions of the program: `foreach`, `foreach_batch`, and a [`BatchSink`](tidegate_api::BatchSink) as it is.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt;
use tidegate_api::batch_sink::BatchSinkAdapter;
use tidegate_api::config::{ConfigKey, KeyReader};
use tidegate_api::registry::DynSinkConnector;
use tidegate_api::{
    BatchSink, CommitOutcome, ConfigIssue, ConnectorContext, DynSink, Epoch, EpochRows, Error, Guarantee, Result,
    Settings, SinkSpec,
};

/// What `connector.class` is of such a sink.
pub(crate) const CLASS: &str = "foreach";

/// Takes the rows of each epoch (Spark: `ForeachWriter`). At least once: an epoch may come again after a failure, with the
/// same number and the same rows.
///
/// A function `|rows: &RecordBatch, row: usize| -> Result<()>` is one, called for each row.
#[async_trait]
pub trait ForeachWriter: Send + 'static {
    /// An epoch begins. False: its rows are not wanted, for example since this writer has them already.
    ///
    /// # Errors
    /// `Transient` if the epoch may be tried again.
    async fn open(&mut self, epoch: &Epoch) -> Result<bool> {
        let _ = epoch;
        Ok(true)
    }

    /// Some rows of the epoch.
    ///
    /// # Errors
    /// As `open`.
    async fn process(&mut self, rows: &RecordBatch) -> Result<()>;

    /// The epoch ends, well or not; called whenever `open` has given an answer.
    ///
    /// # Errors
    /// As `open`.
    async fn close(&mut self, error: Option<&Error>) -> Result<()> {
        let _ = error;
        Ok(())
    }
}

#[async_trait]
impl<F: FnMut(&RecordBatch, usize) -> Result<()> + Send + 'static> ForeachWriter for F {
    async fn process(&mut self, rows: &RecordBatch) -> Result<()> {
        (0..rows.num_rows()).try_for_each(|row| self(rows, row))
    }
}

/// A writer as a sink.
pub(crate) struct Foreach<W>(pub(crate) W);

#[async_trait]
impl<W: ForeachWriter> BatchSink for Foreach<W> {
    async fn add_batch(&mut self, epoch: &Epoch, rows: EpochRows) -> Result<CommitOutcome> {
        let wanted = self.0.open(epoch).await?;
        let done = if wanted { self.process(rows).await } else { Ok(()) };
        let closed = self.0.close(done.as_ref().err()).await;
        done.and(closed).map(|()| CommitOutcome::Committed)
    }
}

impl<W: ForeachWriter> Foreach<W> {
    async fn process(&mut self, mut rows: EpochRows) -> Result<()> {
        while let Some(batch) = rows.rows.next().await {
            self.0.process(&batch?).await?;
        }
        Ok(())
    }
}

/// A sink of a query that is no connector's.
pub(crate) fn function(name: &str, sink: impl BatchSink) -> Box<dyn DynSink> {
    Box::new(BatchSinkAdapter::new(name, sink))
}

/// The connector of such sinks: one query's, by the sink's name. Each is built once, since a query starts once.
pub(crate) struct Functions {
    guarantee: Option<Guarantee>,
    sinks: Mutex<BTreeMap<String, Box<dyn DynSink>>>,
}

impl Functions {
    pub(crate) fn new(sinks: BTreeMap<String, Box<dyn DynSink>>) -> Self {
        Self { guarantee: sinks.values().map(|it| it.guarantee()).min(), sinks: Mutex::new(sinks) }
    }
}

#[async_trait]
impl DynSinkConnector for Functions {
    fn name(&self) -> &'static str {
        CLASS
    }

    fn keys(&self) -> &'static [ConfigKey] {
        &[]
    }

    fn validate(&self, settings: &Settings, _spec: Option<&SinkSpec>) -> Vec<ConfigIssue> {
        KeyReader::new(settings, &[]).finish()
    }

    fn guarantee(&self, _settings: &Settings) -> Option<Guarantee> {
        self.guarantee
    }

    async fn build(&self, _settings: &Settings, _spec: &SinkSpec, ctx: &ConnectorContext) -> Result<Box<dyn DynSink>> {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let sink = sinks.remove(ctx.name.as_ref());
        sink.ok_or_else(|| Error::internal(format!("sink {}: its function is gone", ctx.name)))
    }
}
