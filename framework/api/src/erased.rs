//! Sources and sinks with their types erased, as the engine holds them. Authors write the typed traits; blanket
//! implementations do the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::offset::{OffsetJson, OffsetRange, Split};
use crate::sink::{
    AttemptId, CommitOutcome, Epoch, Guarantee, Rejected, Sink, SinkWriter, SourcePosition, Staging, WriterId,
};
use crate::source::{BatchStream, Bound, Payload, Planned, ReadLimit, Replay, ScanRequest, Source};

/// A [`Source`] whose offsets are JSON.
#[async_trait]
#[expect(missing_docs, reason = "each method is the one of the same name in Source")]
pub trait DynSource: Send + Sync + 'static {
    fn payload(&self) -> Payload;
    fn replay(&self) -> Replay;
    fn bind(&mut self, scan: &ScanRequest) -> Result<Bound>;
    async fn initial_offset(&mut self) -> Result<OffsetJson>;
    async fn plan(&mut self, start: &OffsetJson, limit: &ReadLimit) -> Result<Planned<OffsetJson>>;
    async fn freeze(&mut self, start: &OffsetJson) -> Result<OffsetJson>;
    async fn ready(&mut self, after: &OffsetJson) -> Result<()>;
    fn splits(&self, range: OffsetRange<OffsetJson>, max: usize) -> Result<Vec<Split<OffsetJson>>>;
    async fn read(&self, split: Split<OffsetJson>) -> Result<BatchStream>;
    async fn commit(&mut self, through: &OffsetJson) -> Result<()>;
    fn metrics(&self) -> BTreeMap<String, String>;
    fn describe(&self) -> String;
}

fn typed<T: DeserializeOwned>(json: &Value) -> Result<T> {
    T::deserialize(json).map_err(|e| Error::config(format!("{json} does not fit this connector")).because(e))
}

fn erased<T: Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::internal("a value can't be written as JSON").because(e))
}

fn typed_range<O: DeserializeOwned>(range: &OffsetRange<OffsetJson>) -> Result<OffsetRange<O>> {
    Ok(OffsetRange { start: typed(&range.start.0)?, end: typed(&range.end.0)? })
}

#[async_trait]
impl<S: Source> DynSource for S {
    fn payload(&self) -> Payload {
        Source::payload(self)
    }
    fn replay(&self) -> Replay {
        Source::replay(self)
    }
    fn bind(&mut self, scan: &ScanRequest) -> Result<Bound> {
        Source::bind(self, scan)
    }
    async fn initial_offset(&mut self) -> Result<OffsetJson> {
        Ok(OffsetJson(erased(&Source::initial_offset(self).await?)?))
    }
    async fn plan(&mut self, start: &OffsetJson, limit: &ReadLimit) -> Result<Planned<OffsetJson>> {
        let it = Source::plan(self, &typed(&start.0)?, limit).await?;
        let (end, latest) = (OffsetJson(erased(&it.end)?), OffsetJson(erased(&it.latest)?));
        Ok(Planned { end, latest, rows: it.rows, bytes: it.bytes, schema: it.schema })
    }
    async fn freeze(&mut self, start: &OffsetJson) -> Result<OffsetJson> {
        Ok(OffsetJson(erased(&Source::freeze(self, &typed(&start.0)?).await?)?))
    }
    async fn ready(&mut self, after: &OffsetJson) -> Result<()> {
        Source::ready(self, &typed(&after.0)?).await
    }
    fn splits(&self, range: OffsetRange<OffsetJson>, max: usize) -> Result<Vec<Split<OffsetJson>>> {
        let splits = Source::splits(self, typed_range(&range)?, max).into_iter().map(|it| {
            let (start, end) = (OffsetJson(erased(&it.range.start)?), OffsetJson(erased(&it.range.end)?));
            Ok(Split { range: OffsetRange { start, end }, partition: it.partition, bytes: it.bytes })
        });
        splits.collect()
    }
    async fn read(&self, split: Split<OffsetJson>) -> Result<BatchStream> {
        let range = typed_range(&split.range)?;
        Source::read(self, Split { range, partition: split.partition, bytes: split.bytes }).await
    }
    async fn commit(&mut self, through: &OffsetJson) -> Result<()> {
        Source::commit(self, &typed(&through.0)?).await
    }
    fn metrics(&self) -> BTreeMap<String, String> {
        Source::metrics(self)
    }
    fn describe(&self) -> String {
        Source::describe(self)
    }
}

/// A [`Sink`] whose committables are JSON.
#[async_trait]
#[expect(missing_docs, reason = "each method is the one of the same name in Sink")]
pub trait DynSink: Send + Sync + 'static {
    fn guarantee(&self) -> Guarantee;
    fn staging(&self) -> Staging;
    fn best_effort(&self) -> bool;
    fn commit_group(&self) -> Option<String>;
    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>>;
    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<Box<dyn DynWriter>>;
    async fn commit(&self, epoch: &Epoch, parts: Vec<Value>, positions: &[SourcePosition]) -> Result<CommitOutcome>;
    async fn abort(&self, epoch: &Epoch, parts: Vec<Value>) -> Result<()>;
    async fn check_restore(&self, through: Option<u64>) -> Result<()>;
    async fn restore(&mut self, through: Option<u64>) -> Result<bool>;
    async fn maintain(&self, budget: Duration) -> Result<()>;
    fn describe(&self) -> String;
}

/// A [`SinkWriter`] whose committable is JSON.
#[async_trait]
#[expect(missing_docs, reason = "each method is the one of the same name in SinkWriter")]
pub trait DynWriter: Send + 'static {
    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>>;
    fn is_shown(&self) -> bool;
    async fn prepare(self: Box<Self>) -> Result<Value>;
}

#[async_trait]
impl<W: SinkWriter> DynWriter for W
where
    W::Committable: Serialize + Send,
{
    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        SinkWriter::write(self, batch).await
    }
    fn is_shown(&self) -> bool {
        SinkWriter::is_shown(self)
    }
    async fn prepare(self: Box<Self>) -> Result<Value> {
        erased(&SinkWriter::prepare(*self).await?)
    }
}

#[async_trait]
impl<S: Sink> DynSink for S {
    fn guarantee(&self) -> Guarantee {
        Sink::guarantee(self)
    }
    fn staging(&self) -> Staging {
        Sink::staging(self)
    }
    fn best_effort(&self) -> bool {
        Sink::best_effort(self)
    }
    fn commit_group(&self) -> Option<String> {
        Sink::commit_group(self)
    }
    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        Sink::open(self, writer).await
    }
    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<Box<dyn DynWriter>> {
        Ok(Box::new(Sink::writer(self, epoch, task).await?))
    }
    async fn commit(&self, epoch: &Epoch, parts: Vec<Value>, positions: &[SourcePosition]) -> Result<CommitOutcome> {
        let parts = parts.iter().map(typed).collect::<Result<_>>()?;
        Sink::commit(self, epoch, parts, positions).await
    }
    async fn abort(&self, epoch: &Epoch, parts: Vec<Value>) -> Result<()> {
        let parts = parts.iter().map(typed).collect::<Result<_>>()?;
        Sink::abort(self, epoch, parts).await
    }
    async fn check_restore(&self, through: Option<u64>) -> Result<()> {
        Sink::check_restore(self, through).await
    }
    async fn restore(&mut self, through: Option<u64>) -> Result<bool> {
        Sink::restore(self, through).await
    }
    async fn maintain(&self, budget: Duration) -> Result<()> {
        Sink::maintain(self, budget).await
    }
    fn describe(&self) -> String {
        Sink::describe(self)
    }
}
