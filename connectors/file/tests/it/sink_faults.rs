//! A store that fails at each request, before or after its effect: once, or from then on as in a crash.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tidegate_api::prelude::*;
use tidegate_file::Prepared;
use tidegate_storage::object_store::memory::InMemory;
use tidegate_storage::object_store::path::Path;
use tidegate_storage::object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};

use crate::sink_support::{KINDS, Table, epoch, prepare, rows};

/// When a store fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fails {
    /// One request, without effect.
    Once,
    /// One request, whose reply is lost.
    ReplyLost,
    /// That request and all after it.
    FromThen,
    /// The reply of that request is lost, and all after it fail.
    ReplyLostAndFromThen,
}

#[derive(Debug)]
struct Flaky {
    inner: Arc<InMemory>,
    fails: Fails,
    /// Requests that still work; below nothing: never armed.
    left: AtomicI64,
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flaky")
    }
}

fn away() -> StoreError {
    StoreError::Generic { store: "flaky", source: "no reply".into() }
}

impl Flaky {
    /// Whether this request has no effect, and whether its reply is lost.
    fn count(&self) -> (bool, bool) {
        let left = self.left.fetch_sub(1, Ordering::Relaxed);
        let lost = matches!(self.fails, Fails::ReplyLost | Fails::ReplyLostAndFromThen);
        let for_good = matches!(self.fails, Fails::FromThen | Fails::ReplyLostAndFromThen);
        match left {
            0 => (!lost, lost),
            ..0 => (for_good, false),
            _ => (false, false),
        }
    }

    async fn run<T>(&self, work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        let (fails, lost) = self.count();
        if fails {
            return Err(away());
        }
        let done = work.await;
        if lost { Err(away()) } else { done }
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, at: &Path, body: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.run(self.inner.put_opts(at, body, options)).await
    }
    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.run(self.inner.put_multipart_opts(at, options)).await
    }
    async fn get_opts(&self, at: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.run(self.inner.get_opts(at, options)).await
    }
    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.run(self.inner.get_ranges(at, ranges)).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        let (fails, lost) = self.count();
        if fails {
            return stream::once(async { Err(away()) }).boxed();
        }
        let deleted = self.inner.delete_stream(paths);
        if lost { deleted.map(|_| Err(away())).boxed() } else { deleted }
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.run(self.inner.list_with_delimiter(prefix)).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.run(self.inner.copy_opts(from, to, options)).await
    }
}

/// A healthy table and the same through a store that fails.
fn tables(format: &str, manifest: &str, fails: Fails) -> (Table, Arc<Flaky>, Table) {
    let inner = Arc::new(InMemory::new());
    let flaky = Arc::new(Flaky { inner: inner.clone(), fails, left: AtomicI64::new(i64::MAX) });
    let healthy = Table::store(inner, format, manifest);
    let mut sick = Table::store(flaky.clone(), format, manifest);
    sick.log = healthy.log.clone();
    (healthy, flaky, sick)
}

/// As the loop does: a commit with unknown outcome is repeated.
async fn commit(sink: &impl Sink<Committable = Prepared>, epoch: &Epoch, parts: &[Prepared]) -> Result<CommitOutcome> {
    let mut tries = 0;
    loop {
        match sink.commit(epoch, parts.to_vec(), &[]).await {
            Err(e) if e.kind() == ErrorKind::Transient && tries < 3 => tries += 1,
            outcome => return outcome,
        }
    }
}

/// Epoch 9 (whose entry is a compact one) over a store that fails at its `at`th request; false if it has fewer.
async fn case(kind: (&str, &str), fails: Fails, at: i64, staged: bool) -> bool {
    let (healthy, flaky, sick) = tables(kind.0, kind.1, fails);
    let what = format!("{kind:?} {fails:?} at {at}, staged: {staged}");
    let sink = healthy.open().await;
    for number in 0..9 {
        let parts = prepare(&sink, &epoch(number, 1), &[rows([number as i64])]).await.unwrap();
        commit(&sink, &epoch(number, 1), &parts).await.unwrap();
    }
    drop(sink);
    let batches = [rows(9..12), rows(12..15)];
    flaky.left.store(at, Ordering::Relaxed);
    let mut committed = None;
    let mut parts = Vec::new();
    if let Ok((sink, last)) = sick.try_open("out").await {
        assert_eq!(last.map(|it| it.0), Some(8), "{what}");
        parts = prepare(&sink, &epoch(9, 1), &batches).await.unwrap_or_default();
        if !parts.is_empty() {
            committed = commit(&sink, &epoch(9, 1), &parts).await.ok();
        }
    }
    let hit = flaky.left.load(Ordering::Relaxed) < 0;
    // The next life, on a store that works.
    let (sink, last) = healthy.try_open("out").await.unwrap();
    if committed.is_some() {
        assert_eq!(last.map(|it| (it.0, it.1.n)), Some((9, 1)), "{what}");
    }
    let outcome = if staged && !parts.is_empty() {
        commit(&sink, &epoch(9, 1), &parts).await.unwrap()
    } else {
        let parts = prepare(&sink, &epoch(9, 2), &batches).await.unwrap();
        commit(&sink, &epoch(9, 2), &parts).await.unwrap()
    };
    let found = last.is_some_and(|it| it.0 == 9);
    assert_eq!(matches!(outcome, CommitOutcome::AlreadyCommitted { .. }), found, "{what}: {outcome:?}");
    assert_eq!(healthy.ids().await, (0..15).collect::<Vec<_>>(), "{what}");
    let parts = prepare(&sink, &epoch(10, 2), &[rows(15..18)]).await.unwrap();
    commit(&sink, &epoch(10, 2), &parts).await.unwrap();
    assert_eq!(healthy.ids().await, (0..18).collect::<Vec<_>>(), "{what}");
    healthy.nothing_is_left(&what).await;
    hit
}

#[tokio::test]
async fn no_request_that_fails_loses_or_doubles_a_row() {
    let mut cases = 0;
    for kind in KINDS {
        for fails in [Fails::Once, Fails::ReplyLost, Fails::FromThen, Fails::ReplyLostAndFromThen] {
            for staged in [false, true] {
                let mut at = 0;
                while case(kind, fails, at, staged).await {
                    at += 1;
                }
                assert!(at >= 8, "{at} requests");
                cases += at;
            }
        }
    }
    println!("file sink over a failing store: {cases} cases");
    assert!(cases > 400, "{cases}");
}

#[tokio::test]
async fn epochs_are_taken_back_whatever_request_fails() {
    for kind in KINDS {
        for fails in [Fails::Once, Fails::ReplyLost, Fails::FromThen, Fails::ReplyLostAndFromThen] {
            for at in 0.. {
                let (healthy, flaky, sick) = tables(kind.0, kind.1, fails);
                let what = format!("{kind:?} {fails:?} at {at}");
                let (mut sink, _) = sick.try_open("out").await.unwrap();
                for number in 0..7 {
                    let parts = prepare(&sink, &epoch(number, 1), &[rows([number as i64])]).await.unwrap();
                    commit(&sink, &epoch(number, 1), &parts).await.unwrap();
                }
                flaky.left.store(at, Ordering::Relaxed);
                let first = sink.restore(Some(3)).await;
                if flaky.left.load(Ordering::Relaxed) >= 0 {
                    assert!(first.unwrap() && at >= 4, "{what}");
                    break;
                }
                let (mut sink, _) = healthy.try_open("out").await.unwrap();
                assert!(sink.restore(Some(3)).await.unwrap(), "{what}");
                assert_eq!(healthy.ids().await, [0, 1, 2, 3], "{what}");
                let parts = prepare(&sink, &epoch(7, 2), &[rows([7])]).await.unwrap();
                commit(&sink, &epoch(7, 2), &parts).await.unwrap();
                assert_eq!(healthy.ids().await, [0, 1, 2, 3, 7], "{what}");
                let sink = healthy.open().await;
                let parts = prepare(&sink, &epoch(8, 2), &[rows([8])]).await.unwrap();
                commit(&sink, &epoch(8, 2), &parts).await.unwrap();
                healthy.nothing_is_left(&what).await;
            }
        }
    }
}

#[tokio::test]
async fn large_files_are_uploaded_in_parts_and_broken_off_ones_are_given_up() {
    let table = Table::memory("json", "spark");
    let sink = table.open().await;
    let parts = prepare(&sink, &epoch(0, 1), &[rows(0..400_000)]).await.unwrap();
    sink.commit(&epoch(0, 1), parts, &[]).await.unwrap();
    let name = table.counted().await.remove(0);
    assert!(table.get(&name).await.len() > 9 << 20, "more than is sent in one request");
    assert_eq!(table.ids().await, (0..400_000).collect::<Vec<_>>());
    let mut writer = sink.writer(&epoch(1, 1), 0).await.unwrap();
    writer.write(rows(0..400_000)).await.unwrap();
    drop(writer);
    let parts = prepare(&sink, &epoch(1, 2), &[rows([1])]).await.unwrap();
    sink.commit(&epoch(1, 2), parts, &[]).await.unwrap();
    table.nothing_is_left("broken off").await;
    let listed: Vec<_> = table.view.list(None).try_collect().await.unwrap();
    assert!(listed.iter().filter(|it: &&ObjectMeta| it.location.as_ref().starts_with("part-")).count() == 2);
}
