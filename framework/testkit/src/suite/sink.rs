//! What every sink must do.

use std::future::Future;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use serde_json::Value;
use tidegate_api::{
    AttemptId, Changes, CommitOutcome, DynSink, Epoch, Error, ErrorKind, Guarantee, OutputMode, QueryId, Result,
    SinkSpec, WriterId,
};

use super::rows::same_rows;
use super::{ensure, found};

/// A sink together with the outside system that it writes to, and a reader of that.
#[async_trait]
pub trait SinkBench: Send + Sync {
    /// A new sink over the same outside system, as a new process would build it.
    ///
    /// # Errors
    /// As the connector.
    async fn sink(&self, spec: &SinkSpec) -> Result<Box<dyn DynSink>>;

    /// All rows that a reader can see now.
    ///
    /// # Errors
    /// As the outside system.
    async fn rows(&self) -> Result<Vec<RecordBatch>>;

    /// An outside system of its own that holds what this one holds now; none if it can't be copied.
    fn fork(&self) -> Option<Box<dyn SinkBench>> {
        None
    }

    /// Tells what the outside system holds: of two with the same number a test goes on with one only. None if that can't
    /// be told.
    fn fingerprint(&self) -> Option<u64> {
        None
    }
}

/// The columns that the suite writes: `id` BIGINT, `word` STRING.
pub fn suite_schema() -> SchemaRef {
    let (id, word) = (Field::new("id", DataType::Int64, true), Field::new("word", DataType::Utf8, true));
    Arc::new(Schema::new(vec![id, word]))
}

/// Checks an append sink: `make` gives a new bench, empty and apart from the others.
///
/// Nothing is visible before the commit, all after it; a commit repeated, by the same parts or by another attempt, adds
/// nothing; what was only prepared is gone after a crash or an abort; `open` tells the last epoch; two writers do not
/// disturb each other. A sink that is at least once is spared what it does not promise; one that is idempotent must show
/// the rows once however often they are committed.
///
/// # Errors
/// `Internal`, saying what was found; or as the sink.
pub async fn sink_suite<F, B, S>(make: F) -> Result<()>
where
    F: Fn() -> B,
    B: Future<Output = Result<S>>,
    S: SinkBench,
{
    let within = |name: &'static str| move |e: Error| e.within(name);
    commit_shows(&make().await?).await.map_err(within("commit"))?;
    aborts(&make().await?).await.map_err(within("abort"))?;
    let guarantee = make().await?.sink(&spec()).await?.guarantee();
    match guarantee {
        Guarantee::AtLeastOnce => return Ok(()),
        Guarantee::Idempotent => return overwrites(&make().await?).await.map_err(within("epochs written again")),
        Guarantee::Transactional => {}
    }
    repeats(&make().await?).await.map_err(within("repeated commit"))?;
    crash_before_commit(&make().await?).await.map_err(within("crash between prepare and commit"))?;
    crash_after_commit(&make().await?).await.map_err(within("crash after commit"))?;
    zombie(&make().await?).await.map_err(within("an owner that was followed by another"))?;
    two_writers(&make().await?).await.map_err(within("two writers"))
}

fn spec() -> SinkSpec {
    SinkSpec { schema: suite_schema(), mode: OutputMode::Append, keys: Vec::new(), changes: Changes::Append, tasks: 2 }
}

fn writer_id(sink: &str) -> WriterId {
    let query_id = QueryId("5ab1e5fe-0000-4000-8000-00000000c0de".into());
    WriterId { query_id, sink: sink.into(), shard: None }
}

fn epoch(number: u64, attempt: (u64, u32)) -> Epoch {
    let (time_ms, attempt) = (1_700_000_000_000, AttemptId { generation: attempt.0, n: attempt.1 });
    Epoch { number, attempt, time_ms, write_time_us: time_ms * 1000, watermark_ms: None }
}

fn rows(from: i64, to: i64) -> Result<RecordBatch> {
    let words = StringArray::from_iter((from..to).map(|it| (it % 3 != 1).then(|| format!("word {it}"))));
    let columns: Vec<arrow_array::ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(from..to)), Arc::new(words)];
    RecordBatch::try_new(suite_schema(), columns).map_err(|e| found("rows").because(e))
}

async fn open(bench: &impl SinkBench, name: &str) -> Result<(Box<dyn DynSink>, Option<(u64, AttemptId)>)> {
    let mut sink = bench.sink(&spec()).await?;
    let last = sink.open(&writer_id(name)).await?;
    Ok((sink, last))
}

/// Writes and prepares rows, one task for each batch.
async fn prepared(sink: &dyn DynSink, epoch: &Epoch, batches: &[RecordBatch]) -> Result<Vec<Value>> {
    let mut parts = Vec::new();
    for (task, batch) in (0..).zip(batches) {
        let mut writer = sink.writer(epoch, task).await?;
        let rejected = writer.write(batch.clone()).await?;
        ensure!(rejected.is_empty(), "{} good rows were rejected", rejected.len());
        parts.push(writer.prepare().await?);
    }
    Ok(parts)
}

async fn commit(sink: &dyn DynSink, epoch: &Epoch, parts: Vec<Value>) -> Result<()> {
    let outcome = sink.commit(epoch, parts, &[]).await?;
    ensure!(outcome == CommitOutcome::Committed, "epoch {} is new, but commit says {outcome:?}", epoch.number);
    Ok(())
}

/// The commit of an epoch that is there already, by `first`.
async fn commit_again(sink: &dyn DynSink, epoch: &Epoch, parts: Vec<Value>, first: AttemptId) -> Result<()> {
    match sink.commit(epoch, parts, &[]).await? {
        CommitOutcome::AlreadyCommitted { attempt } if attempt.is_none_or(|it| it == first) => Ok(()),
        outcome => {
            let number = epoch.number;
            Err(found(format!("epoch {number} is there by attempt {first}, but commit says {outcome:?}")))
        }
    }
}

async fn sees(bench: &impl SinkBench, what: &str, expected: &[RecordBatch]) -> Result<()> {
    same_rows(what, expected, &bench.rows().await?)
}

async fn commit_shows(bench: &impl SinkBench) -> Result<()> {
    let (sink, last) = open(bench, "out").await?;
    let strong = sink.guarantee() == Guarantee::Transactional;
    ensure!(last.is_none(), "a new sink tells of epoch {last:?}");
    let (first, second, third) = (rows(0, 5)?, rows(5, 9)?, rows(9, 12)?);
    let (zero, one, two) = (epoch(0, (0, 0)), epoch(1, (0, 0)), epoch(2, (0, 0)));
    let parts = prepared(sink.as_ref(), &zero, std::slice::from_ref(&first)).await?;
    if strong {
        sees(bench, "prepared, not committed", &[]).await?;
    }
    commit(sink.as_ref(), &zero, parts).await?;
    sees(bench, "after the first commit", std::slice::from_ref(&first)).await?;
    // An epoch of two tasks, then one without rows.
    let parts = prepared(sink.as_ref(), &one, &[second.clone(), third.clone()]).await?;
    commit(sink.as_ref(), &one, parts).await?;
    sees(bench, "after an epoch of two tasks", &[first.clone(), second.clone(), third.clone()]).await?;
    let parts = prepared(sink.as_ref(), &two, &[rows(0, 0)?]).await?;
    sink.commit(&two, parts, &[]).await?;
    sees(bench, "after an epoch without rows", &[first, second, third]).await?;
    ensure!(!sink.describe().is_empty(), "describe says nothing");
    Ok(())
}

async fn aborts(bench: &impl SinkBench) -> Result<()> {
    let (sink, _) = open(bench, "out").await?;
    let (first, second) = (epoch(0, (0, 0)), epoch(0, (0, 1)));
    let parts = prepared(sink.as_ref(), &first, &[rows(0, 5)?]).await?;
    sink.abort(&first, parts).await?;
    sees(bench, "after an abort", &[]).await?;
    let kept = rows(2, 7)?;
    let parts = prepared(sink.as_ref(), &second, std::slice::from_ref(&kept)).await?;
    commit(sink.as_ref(), &second, parts).await?;
    sees(bench, "the next attempt after an abort", &[kept]).await
}

async fn repeats(bench: &impl SinkBench) -> Result<()> {
    let (sink, _) = open(bench, "out").await?;
    let zero = epoch(0, (3, 2));
    let kept = rows(0, 5)?;
    let parts = prepared(sink.as_ref(), &zero, std::slice::from_ref(&kept)).await?;
    commit(sink.as_ref(), &zero, parts.clone()).await?;
    // The outcome was lost on the way: the same parts again.
    commit_again(sink.as_ref(), &zero, parts, zero.attempt).await?;
    sees(bench, "the same parts twice", std::slice::from_ref(&kept)).await?;
    let other = epoch(0, (3, 3));
    let parts = prepared(sink.as_ref(), &other, &[rows(0, 5)?]).await?;
    commit_again(sink.as_ref(), &other, parts, zero.attempt).await?;
    sees(bench, "another attempt at an epoch that is there", &[kept]).await
}

/// By the same parts, by another attempt, by the next process, and late by the one before.
async fn overwrites(bench: &impl SinkBench) -> Result<()> {
    let (first, _) = open(bench, "out").await?;
    let (zero, again) = (epoch(0, (1, 0)), epoch(0, (1, 1)));
    let kept = rows(0, 5)?;
    let parts = prepared(first.as_ref(), &zero, std::slice::from_ref(&kept)).await?;
    commit(first.as_ref(), &zero, parts.clone()).await?;
    first.commit(&zero, parts, &[]).await?;
    sees(bench, "the same parts twice", std::slice::from_ref(&kept)).await?;
    let late = prepared(first.as_ref(), &again, std::slice::from_ref(&kept)).await?;
    let (second, _) = open(bench, "out").await?;
    let next = epoch(0, (2, 0));
    let parts = prepared(second.as_ref(), &next, std::slice::from_ref(&kept)).await?;
    second.commit(&next, parts, &[]).await?;
    sees(bench, "written again by the next process", std::slice::from_ref(&kept)).await?;
    match first.commit(&again, late, &[]).await {
        Err(e) if e.kind() != ErrorKind::Fenced => Err(e.within("a late commit of an old owner")),
        _ => sees(bench, "written late by the process before", &[kept]).await,
    }
}

async fn crash_before_commit(bench: &impl SinkBench) -> Result<()> {
    let (sink, _) = open(bench, "out").await?;
    let (zero, one) = (epoch(0, (1, 0)), epoch(1, (1, 0)));
    let first = rows(0, 3)?;
    let parts = prepared(sink.as_ref(), &zero, std::slice::from_ref(&first)).await?;
    commit(sink.as_ref(), &zero, parts).await?;
    prepared(sink.as_ref(), &one, &[rows(3, 6)?]).await?;
    drop(sink);
    let (sink, last) = open(bench, "out").await?;
    ensure!(last == Some((0, zero.attempt)), "after epoch 0 by attempt {}, open tells {last:?}", zero.attempt);
    sees(bench, "prepared before the crash", std::slice::from_ref(&first)).await?;
    let (one, second) = (epoch(1, (2, 0)), rows(3, 6)?);
    let parts = prepared(sink.as_ref(), &one, std::slice::from_ref(&second)).await?;
    commit(sink.as_ref(), &one, parts).await?;
    sees(bench, "the attempt after the crash", &[first, second]).await
}

async fn crash_after_commit(bench: &impl SinkBench) -> Result<()> {
    let first = rows(0, 3)?;
    let zero = epoch(0, (1, 4));
    let (sink, _) = open(bench, "out").await?;
    let parts = prepared(sink.as_ref(), &zero, std::slice::from_ref(&first)).await?;
    commit(sink.as_ref(), &zero, parts).await?;
    drop(sink);
    let (sink, last) = open(bench, "out").await?;
    ensure!(last == Some((0, zero.attempt)), "after epoch 0 by attempt {}, open tells {last:?}", zero.attempt);
    let again = epoch(0, (2, 0));
    let parts = prepared(sink.as_ref(), &again, std::slice::from_ref(&first)).await?;
    commit_again(sink.as_ref(), &again, parts, zero.attempt).await?;
    sees(bench, "an epoch run again after a restart", &[first]).await
}

/// An owner whose process was only slow must not add to what its successor has done.
async fn zombie(bench: &impl SinkBench) -> Result<()> {
    let (old, _) = open(bench, "out").await?;
    let (stale, fresh) = (epoch(0, (1, 0)), epoch(0, (2, 0)));
    let kept = rows(0, 3)?;
    let late = prepared(old.as_ref(), &stale, std::slice::from_ref(&kept)).await?;
    let (new, _) = open(bench, "out").await?;
    let parts = prepared(new.as_ref(), &fresh, std::slice::from_ref(&kept)).await?;
    commit(new.as_ref(), &fresh, parts).await?;
    match old.commit(&stale, late, &[]).await {
        Ok(CommitOutcome::AlreadyCommitted { .. }) => {}
        Err(e) if e.kind() == ErrorKind::Fenced => {}
        other => return Err(found(format!("its late commit gave {other:?}, expected AlreadyCommitted or Fenced"))),
    }
    sees(bench, "after the late commit of an old owner", &[kept]).await
}

async fn two_writers(bench: &impl SinkBench) -> Result<()> {
    let ((left, _), (right, last)) = (open(bench, "left").await?, open(bench, "right").await?);
    ensure!(last.is_none(), "a new writer is told of another's epoch {last:?}");
    let (a, b) = (rows(0, 4)?, rows(4, 6)?);
    let zero = epoch(0, (0, 0));
    let left_parts = prepared(left.as_ref(), &zero, std::slice::from_ref(&a)).await?;
    let right_parts = prepared(right.as_ref(), &zero, std::slice::from_ref(&b)).await?;
    commit(left.as_ref(), &zero, left_parts).await?;
    commit(right.as_ref(), &zero, right_parts).await?;
    sees(bench, "an epoch of each of two writers", &[a, b]).await
}
