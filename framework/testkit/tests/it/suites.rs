//! The suites pass on what is right and find what is wrong.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use tidegate_api::{
    AttemptId, BatchStream, Bound, CommitOutcome, DynSink, DynSource, DynWriter, Epoch, Guarantee, OffsetRange,
    PartitionId, Payload, Planned, ReadLimit, Replay, Result, ScanRequest, SinkSpec, Source, SourcePosition, Split,
    Staging, WriterId,
};
use tidegate_testkit::suite::{SinkBench, SourceSuite, sink_suite, source_suite};
use tidegate_testkit::{MemoryInput, MemoryTable, sink_suite, source_suite};

fn schema() -> SchemaRef {
    let column = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![column("n"), column("square")]))
}

fn rows(from: i64, to: i64) -> RecordBatch {
    let (n, square) = (from..to, (from..to).map(|it| it * it));
    let columns: [Arc<dyn arrow_array::Array>; 2] =
        [Arc::new(Int64Array::from_iter_values(n)), Arc::new(Int64Array::from_iter_values(square))];
    RecordBatch::try_new(schema(), columns.to_vec()).unwrap()
}

async fn memory_source() -> Result<Box<dyn DynSource>> {
    let input = MemoryInput::new(schema());
    for (from, to) in [(0, 1), (1, 4), (4, 4), (4, 10)] {
        input.add(vec![rows(from, to)])?;
    }
    Ok(Box::new(input.source()))
}

async fn memory_table() -> Result<MemoryTable> {
    Ok(MemoryTable::new())
}

// An add is not cut, and the largest has six rows.
source_suite!(memory_source_conforms, SourceSuite { slack_rows: 5 }, memory_source);
sink_suite!(memory_sink_conforms, memory_table);

/// What is wrong with a source.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    None,
    PassesTheLimit,
    ForgetsALimit,
    SplitsLoseRows,
    SplitsOutOfOrder,
    RowsOfTheMoment,
    BindLies,
    PlanMovesAlone,
    FreezesNothing,
}

/// The numbers up to 20, or more with each plan.
struct Numbers {
    flaw: Flaw,
    end: i64,
    reads: std::sync::atomic::AtomicI64,
}

#[async_trait]
impl Source for Numbers {
    type Offset = i64;
    fn payload(&self) -> Payload {
        Payload::Rows(schema())
    }
    fn replay(&self) -> Replay {
        Replay::Deterministic
    }
    fn describe(&self) -> String {
        "numbers".into()
    }
    fn bind(&mut self, scan: &ScanRequest) -> Result<Bound> {
        let lies = self.flaw == Flaw::BindLies;
        let schema = if lies { Arc::new(schema().project(&[1]).unwrap()) } else { schema() };
        Ok(Bound { schema, filters_taken: vec![false; scan.filters.len()] })
    }
    async fn initial_offset(&mut self) -> Result<i64> {
        Ok(0)
    }
    async fn plan(&mut self, start: &i64, limit: &ReadLimit) -> Result<Planned<i64>> {
        if self.flaw == Flaw::PlanMovesAlone {
            self.end += 1;
        }
        let mut most = limit.max_rows.map_or(i64::MAX, |it| it as i64);
        match self.flaw {
            Flaw::PassesTheLimit => most = most.saturating_add(1),
            Flaw::ForgetsALimit => most = i64::MAX,
            _ => {}
        }
        let end = start.saturating_add(most).min(self.end);
        Ok(Planned { end, latest: self.end, rows: None, bytes: None, schema: None })
    }
    async fn freeze(&mut self, _start: &i64) -> Result<i64> {
        Ok(if self.flaw == Flaw::FreezesNothing { 3 } else { self.end })
    }
    fn splits(&self, range: OffsetRange<i64>, max: usize) -> Vec<Split<i64>> {
        let OffsetRange { start, end } = range;
        let split =
            |start, end| Split { range: OffsetRange { start, end }, partition: PartitionId::only(), bytes: None };
        let middle = (start + end) / 2;
        match self.flaw {
            _ if max < 2 => vec![split(start, end)],
            Flaw::SplitsLoseRows => vec![split(start, middle), split(middle + 1, end.max(middle + 1))],
            Flaw::SplitsOutOfOrder => vec![split(middle, end), split(start, middle)],
            _ => vec![split(start, middle), split(middle, end)],
        }
    }
    async fn read(&self, split: Split<i64>) -> Result<BatchStream> {
        let mut from = split.range.start;
        if self.flaw == Flaw::RowsOfTheMoment {
            from += self.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed).min(1);
        }
        Ok(stream::iter([Ok(rows(from, split.range.end.max(from)))]).boxed())
    }
}

async fn judged(flaw: Flaw) -> Result<()> {
    let make = || async move { Ok(Box::new(Numbers { flaw, end: 20, reads: 0.into() }) as Box<dyn DynSource>) };
    source_suite(SourceSuite::default(), make).await
}

#[tokio::test]
async fn the_source_suite_finds_each_flaw() {
    judged(Flaw::None).await.unwrap();
    for (flaw, text) in [
        (Flaw::PassesTheLimit, "a limit of 1 rows gives an epoch of 2"),
        (Flaw::ForgetsALimit, "a limit of 1 rows gives an epoch of 20"),
        (Flaw::SplitsLoseRows, "splits do not give the rows of the range in order"),
        (Flaw::SplitsOutOfOrder, "splits do not give the rows of the range in order"),
        (Flaw::RowsOfTheMoment, "gives other rows to another instance"),
        (Flaw::BindLies, "other columns than bind told"),
        (Flaw::PlanMovesAlone, "without new data"),
        (Flaw::FreezesNothing, "frozen at 3, plan without a limit gives 20"),
    ] {
        let error = judged(flaw).await.unwrap_err().to_string();
        assert!(error.contains(text), "{text}: {error}");
    }
}

/// What is wrong with a sink.
#[derive(Clone, Copy, Debug, PartialEq)]
enum SinkFlaw {
    CommitsTwice,
    ForgetsOnOpen,
    AbortShows,
    NamesTheWrongAttempt,
}

struct WrongBench {
    table: MemoryTable,
    flaw: SinkFlaw,
}

struct WrongSink {
    sink: Box<dyn DynSink>,
    flaw: SinkFlaw,
    lives: u64,
}

static LIVES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

#[async_trait]
impl SinkBench for WrongBench {
    async fn sink(&self, spec: &SinkSpec) -> Result<Box<dyn DynSink>> {
        let sink = Box::new(self.table.sink(spec));
        let lives = LIVES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(Box::new(WrongSink { sink, flaw: self.flaw, lives }))
    }
    async fn rows(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.table.rows())
    }
}

struct EagerWriter {
    writer: Box<dyn DynWriter>,
    table: Arc<dyn DynSink>,
    epoch: Epoch,
}

#[async_trait]
impl DynWriter for EagerWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<tidegate_api::Rejected>> {
        self.writer.write(batch).await
    }
    fn is_shown(&self) -> bool {
        self.writer.is_shown()
    }
    async fn prepare(self: Box<Self>) -> Result<serde_json::Value> {
        let part = self.writer.prepare().await?;
        self.table.commit(&self.epoch, vec![part.clone()], &[]).await?;
        Ok(part)
    }
}

#[async_trait]
impl DynSink for WrongSink {
    fn guarantee(&self) -> Guarantee {
        self.sink.guarantee()
    }
    fn staging(&self) -> Staging {
        self.sink.staging()
    }
    fn best_effort(&self) -> bool {
        false
    }
    fn commit_group(&self) -> Option<String> {
        None
    }
    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        let mut writer = writer.clone();
        if self.flaw == SinkFlaw::ForgetsOnOpen {
            writer.sink = format!("{}-{}", writer.sink, self.lives).into();
        }
        self.sink.open(&writer).await
    }
    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<Box<dyn DynWriter>> {
        self.sink.writer(epoch, task).await
    }
    async fn commit(
        &self,
        epoch: &Epoch,
        parts: Vec<serde_json::Value>,
        positions: &[SourcePosition],
    ) -> Result<CommitOutcome> {
        let mut epoch = epoch.clone();
        let outcome = self.sink.commit(&epoch, parts.clone(), positions).await?;
        match (self.flaw, outcome) {
            (SinkFlaw::CommitsTwice, CommitOutcome::AlreadyCommitted { .. }) => {
                // Written again under a number that is free.
                epoch.number += 1000;
                let mut writer = self.sink.writer(&epoch, 0).await?;
                writer.write(RecordBatch::new_empty(tidegate_testkit::suite::suite_schema())).await?;
                let part = writer.prepare().await?;
                self.sink.commit(&epoch, vec![part], positions).await
            }
            (SinkFlaw::NamesTheWrongAttempt, CommitOutcome::AlreadyCommitted { .. }) => {
                let attempt = Some(AttemptId { generation: 99, n: 0 });
                Ok(CommitOutcome::AlreadyCommitted { attempt })
            }
            _ => Ok(outcome),
        }
    }
    async fn abort(&self, epoch: &Epoch, parts: Vec<serde_json::Value>) -> Result<()> {
        match self.flaw {
            SinkFlaw::AbortShows => self.sink.commit(epoch, parts, &[]).await.map(|_| ()),
            _ => self.sink.abort(epoch, parts).await,
        }
    }
    async fn check_restore(&self, through: Option<u64>) -> Result<()> {
        self.sink.check_restore(through).await
    }
    async fn restore(&mut self, through: Option<u64>) -> Result<bool> {
        self.sink.restore(through).await
    }
    async fn maintain(&self, budget: std::time::Duration) -> Result<()> {
        self.sink.maintain(budget).await
    }
    fn describe(&self) -> String {
        self.sink.describe()
    }
}

/// A bench whose writers commit as they prepare.
struct EagerBench(MemoryTable);

struct EagerSink(Arc<dyn DynSink>, MemoryTable, SinkSpec);

#[async_trait]
impl SinkBench for EagerBench {
    async fn sink(&self, spec: &SinkSpec) -> Result<Box<dyn DynSink>> {
        let sink: Arc<dyn DynSink> = Arc::new(self.0.sink(spec));
        Ok(Box::new(EagerSink(sink, self.0.clone(), spec.clone())))
    }
    async fn rows(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.0.rows())
    }
}

#[async_trait]
impl DynSink for EagerSink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::Transactional
    }
    fn staging(&self) -> Staging {
        Staging::None
    }
    fn best_effort(&self) -> bool {
        false
    }
    fn commit_group(&self) -> Option<String> {
        None
    }
    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        let mut sink = self.1.sink(&self.2);
        let last = DynSink::open(&mut sink, writer).await?;
        self.0 = Arc::new(sink);
        Ok(last)
    }
    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<Box<dyn DynWriter>> {
        let writer = self.0.writer(epoch, task).await?;
        Ok(Box::new(EagerWriter { writer, table: self.0.clone(), epoch: epoch.clone() }))
    }
    async fn commit(
        &self,
        epoch: &Epoch,
        parts: Vec<serde_json::Value>,
        positions: &[SourcePosition],
    ) -> Result<CommitOutcome> {
        self.0.commit(epoch, parts, positions).await
    }
    async fn abort(&self, epoch: &Epoch, parts: Vec<serde_json::Value>) -> Result<()> {
        self.0.abort(epoch, parts).await
    }
    async fn check_restore(&self, through: Option<u64>) -> Result<()> {
        self.0.check_restore(through).await
    }
    async fn restore(&mut self, through: Option<u64>) -> Result<bool> {
        let _ = through;
        Ok(false)
    }
    async fn maintain(&self, _budget: std::time::Duration) -> Result<()> {
        Ok(())
    }
    fn describe(&self) -> String {
        "eager".into()
    }
}

#[tokio::test]
async fn the_sink_suite_finds_each_flaw() {
    for (flaw, text) in [
        (SinkFlaw::CommitsTwice, "repeated commit: epoch 0 is there by attempt 3.2, but commit says Committed"),
        (SinkFlaw::ForgetsOnOpen, "crash between prepare and commit: after epoch 0 by attempt 1.0, open tells None"),
        (SinkFlaw::AbortShows, "abort: after an abort: 0 rows expected, 5 came"),
        (SinkFlaw::NamesTheWrongAttempt, "repeated commit: epoch 0 is there by attempt 3.2"),
    ] {
        let make = || async move { Ok(WrongBench { table: MemoryTable::new(), flaw }) };
        let error = sink_suite(make).await.unwrap_err().to_string();
        assert!(error.contains(text), "{text}: {error}");
    }
    let error = sink_suite(|| async { Ok(EagerBench(MemoryTable::new())) }).await.unwrap_err().to_string();
    assert!(error.contains("commit: prepared, not committed: 0 rows expected, 5 came"), "{error}");
}
