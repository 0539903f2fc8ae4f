//! Owners that stand still at any request while others go on, and requests that arrive late.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use tidegate_api::prelude::*;
use tidegate_storage::object_store::memory::InMemory;
use tidegate_storage::object_store::path::Path;
use tidegate_storage::object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use tokio::sync::Notify;

use crate::sink_support::{KINDS, Table, already, epoch, prepare, rows, run};

type LatePut = (Path, PutPayload, PutOptions);

/// A store whose caller can be held up before a request.
#[derive(Debug)]
struct Gate {
    inner: Arc<InMemory>,
    /// Requests until the one that waits; below nothing: none does.
    left: AtomicI64,
    reached: Notify,
    opened: Notify,
    /// Whether conditional puts get lost on the way, and those that did.
    late: Mutex<Option<Vec<LatePut>>>,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gate")
    }
}

impl Gate {
    async fn pass(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.reached.notify_one();
            self.opened.notified().await;
        }
    }
}

#[async_trait]
impl ObjectStore for Gate {
    async fn put_opts(&self, at: &Path, body: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.pass().await;
        if options.mode == PutMode::Create
            && let Some(late) = self.late.lock().unwrap().as_mut()
        {
            late.push((at.clone(), body, options));
            return Err(StoreError::Generic { store: "gate", source: "timed out".into() });
        }
        self.inner.put_opts(at, body, options).await
    }
    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }
    async fn get_opts(&self, at: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.pass().await;
        self.inner.get_opts(at, options).await
    }
    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.inner.get_ranges(at, ranges).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(paths)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.pass().await;
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.pass().await;
        self.inner.copy_opts(from, to, options).await
    }
}

/// A table, and the same seen through a gate.
fn tables(format: &str, manifest: &str) -> (Table, Arc<Gate>, Table) {
    let inner = Arc::new(InMemory::new());
    let gate = Arc::new(Gate {
        inner: inner.clone(),
        left: AtomicI64::new(-1),
        reached: Notify::new(),
        opened: Notify::new(),
        late: Mutex::new(None),
    });
    let free = Table::store(inner, format, manifest).with("append.foreign", "true");
    let mut gated = Table::store(gate.clone(), format, manifest).with("append.foreign", "true");
    gated.log = free.log.clone();
    gated.clock = free.clock.clone();
    (free, gate, gated)
}

const MINUTE_MS: i64 = 60_000;

/// An owner stands still before its `at`th request of an epoch. Another takes over, commits `epochs` from that epoch on,
/// and cleans up as if a hundred years had passed. Then the first goes on. False if it has fewer requests.
async fn stands_still(kind: (&str, &str), at: i64, epochs: u64) -> bool {
    let (free, gate, gated) = tables(kind.0, kind.1);
    let what = format!("{kind:?} at {at}, {epochs} epochs by the other");
    let old = gated.open().await;
    for number in 0..8 {
        run(&old, &epoch(number, 1), &[rows([number as i64])]).await.unwrap();
    }
    gate.left.store(at, Ordering::Relaxed);
    let (late, eight) = (async { run(&old, &epoch(8, 1), &[rows(8..11), rows(11..14)]).await }, epoch(8, 2));
    let others = async {
        gate.reached.notified().await;
        let new = free.open().await;
        let found = run(&new, &eight, &[rows(8..14)]).await.unwrap() == already(1);
        for number in 9..8 + epochs {
            run(&new, &epoch(number, 2), &[rows([number as i64 + 100])]).await.unwrap();
        }
        free.clock.0.fetch_add(100 * 365 * 86_400_000 + MINUTE_MS, Ordering::Relaxed);
        let new = free.open().await;
        new.maintain(Duration::ZERO).await.unwrap();
        gate.opened.notify_one();
        found
    };
    tokio::pin!(late, others);
    let (outcome, found) = tokio::select! {
        // Too few requests to be held up.
        outcome = &mut late => {
            assert_eq!(outcome.unwrap(), CommitOutcome::Committed, "{what}");
            return false;
        }
        found = &mut others => (late.await, found),
    };
    match outcome {
        // It had put its entry before it stood still.
        Ok(outcome) if found => assert_eq!(outcome, CommitOutcome::Committed, "{what}"),
        Ok(outcome) => assert_eq!(outcome, already(2), "{what}"),
        Err(e) => assert_eq!(e.kind(), ErrorKind::Fenced, "{what}: {e}"),
    }
    let mut expected: Vec<i64> = (0..14).collect();
    expected.extend((9..8 + epochs).map(|it| it as i64 + 100));
    assert_eq!(free.ids().await, expected, "{what}");
    // The next start and its first epoch.
    let new = free.open().await;
    run(&new, &epoch(100, 3), &[rows([1000])]).await.unwrap();
    expected.push(1000);
    assert_eq!(free.ids().await, expected, "{what}");
    free.nothing_is_left(&what).await;
    true
}

#[tokio::test]
async fn an_owner_that_stands_still_at_any_request_adds_nothing() {
    let mut cases = 0;
    for kind in KINDS {
        for epochs in [1, 3, 30] {
            let mut at = 0;
            while stands_still(kind, at, epochs).await {
                at += 1;
            }
            assert!(at >= 5, "{kind:?}: {at} requests");
            cases += at;
        }
    }
    println!("file sink, owners that stand still: {cases} cases");
}

#[tokio::test]
async fn a_writer_that_stands_still_while_the_log_is_cleaned_loses_nothing() {
    for at in 0.. {
        let (free, gate, gated) = tables("json", "spark");
        let (slow, _) = gated.try_open("slow").await.unwrap();
        run(&slow, &epoch(0, 1), &[rows([1000])]).await.unwrap();
        gate.left.store(at, Ordering::Relaxed);
        let late = async { run(&slow, &epoch(1, 1), &[rows([1001])]).await };
        let others = async {
            gate.reached.notified().await;
            let (other, _) = free.try_open("other").await.unwrap();
            for number in 0..35 {
                run(&other, &epoch(number, 1), &[rows([number as i64])]).await.unwrap();
            }
            free.clock.0.fetch_add(100 * 365 * 86_400_000, Ordering::Relaxed);
            let (other, _) = free.try_open("other").await.unwrap();
            other.maintain(Duration::ZERO).await.unwrap();
            assert_eq!(free.entries().await[0], "19.compact");
            gate.opened.notify_one();
        };
        tokio::pin!(late, others);
        let held_up = tokio::select! {
            outcome = &mut late => { outcome.unwrap(); false }
            () = &mut others => { assert_eq!(late.await.unwrap(), CommitOutcome::Committed, "at {at}"); true }
        };
        if !held_up {
            assert!(at >= 4, "{at} requests");
            break;
        }
        let mut expected: Vec<i64> = (0..35).collect();
        expected.extend([1000, 1001]);
        assert_eq!(free.ids().await, expected, "at {at}");
        assert_eq!(free.try_open("slow").await.unwrap().1.map(|it| it.0), Some(1), "at {at}");
    }
}

#[tokio::test]
async fn a_commit_that_arrives_late_finds_its_files() {
    for kind in KINDS {
        for another_runs_first in [false, true] {
            let what = format!("{kind:?}, another runs first: {another_runs_first}");
            let (free, gate, gated) = tables(kind.0, kind.1);
            let sink = gated.open().await;
            run(&sink, &epoch(0, 1), &[rows([0])]).await.unwrap();
            *gate.late.lock().unwrap() = Some(Vec::new());
            let parts = prepare(&sink, &epoch(1, 1), &[rows(1..3), rows(3..5)]).await.unwrap();
            assert_eq!(sink.commit(&epoch(1, 1), parts.clone(), &[]).await.unwrap_err().kind(), ErrorKind::Transient);
            sink.abort(&epoch(1, 1), parts).await.unwrap();
            let late = gate.late.lock().unwrap().take().unwrap();
            assert_eq!(late.len(), 1, "{what}");
            let new = free.open().await;
            if another_runs_first {
                run(&new, &epoch(1, 2), &[rows(1..5)]).await.unwrap();
            }
            for (path, body, options) in late {
                assert_eq!(gate.inner.put_opts(&path, body, options).await.is_err(), another_runs_first, "{what}");
            }
            let outcome = run(&new, &epoch(1, 2), &[rows(1..5)]).await.unwrap();
            assert_eq!(outcome, already(if another_runs_first { 2 } else { 1 }), "{what}");
            run(&new, &epoch(2, 2), &[rows([5])]).await.unwrap();
            assert_eq!(free.ids().await, (0..6).collect::<Vec<_>>(), "{what}");
            free.nothing_is_left(&what).await;
        }
    }
}

#[tokio::test]
async fn an_epoch_thought_lost_and_found_later_stays() {
    for kind in KINDS {
        let (free, gate, gated) = tables(kind.0, kind.1);
        let sink = gated.open().await;
        *gate.late.lock().unwrap() = Some(Vec::new());
        let parts = prepare(&sink, &epoch(0, 1), &[rows(0..2), rows(2..4)]).await.unwrap();
        sink.commit(&epoch(0, 1), parts.clone(), &[]).await.unwrap_err();
        sink.abort(&epoch(0, 1), parts).await.unwrap();
        let late = gate.late.lock().unwrap().take().unwrap();
        for (path, body, options) in late {
            gate.inner.put_opts(&path, body, options).await.unwrap();
        }
        if kind.1 == "spark" {
            // The same process goes on with the next epoch, and finds this one on the way.
            run(&sink, &epoch(1, 1), &[rows([4])]).await.unwrap();
            assert_eq!(free.ids().await, [0, 1, 2, 3, 4], "{kind:?}");
        }
        let sink = free.open().await;
        run(&sink, &epoch(2, 1), &[rows([9])]).await.unwrap();
        assert!(free.ids().await.starts_with(&[0, 1, 2, 3]), "{kind:?}");
        free.nothing_is_left(kind.1).await;
    }
}
