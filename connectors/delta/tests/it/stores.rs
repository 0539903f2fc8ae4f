//! Tables on object stores: conditional puts, lost replies, rivals, stores that can't be used.

use std::sync::Arc;
use std::time::Duration;

use deltalake::parquet::data_type::AsBytes as _;
use futures::stream::BoxStream;
use serde_json::Value;
use tidegate_api::{AttemptId, CommitOutcome, ErrorKind, Result, Sink, SinkWriter, async_trait};
use tidegate_storage::object_store::memory::InMemory;
use tidegate_storage::object_store::{
    self as os, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, path::Path,
};
use tidegate_testkit::FlakyStore;
use tidegate_testkit::crash::{BenchFactory, CrashSetup, Fault, ProgramKind, matrix};
use tidegate_testkit::store::{FlakyPlan, StoreFault, StoreOp};

use crate::conformance::every_pair;
use crate::harness::{already, epoch, prepare, rows, run};
use crate::objects::Bucket;

/// All that can happen to the put of a commit, never more often in a row than the sink tries.
fn commits_go_wrong() -> FlakyPlan {
    FlakyPlan {
        fail: 0.1,
        unavailable: 0.1,
        lose_reply: 0.15,
        repeat: 0.15,
        land_late: 0.1,
        overtake: 0.02,
        only: vec![StoreOp::Put],
        matching: "_delta_log/0000".to_owned(),
        most_in_a_row: Some(2),
        ..FlakyPlan::default()
    }
}

async fn bucket() -> Result<Bucket> {
    Ok(Bucket::new(0))
}

async fn flaky_bucket() -> Result<Bucket> {
    let bucket = Bucket::new(fastrand_seed());
    bucket.store.set(commits_go_wrong());
    Ok(bucket)
}

fn fastrand_seed() -> u64 {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    seed
}

tidegate_testkit::sink_suite!(suite_in_memory, bucket);
tidegate_testkit::sink_suite!(suite_on_a_flaky_store, flaky_bucket);

fn factory(plan: FlakyPlan) -> BenchFactory {
    Arc::new(move |_| {
        let bucket = Bucket::new(11);
        bucket.store.set(plan.clone());
        Ok(Box::new(bucket))
    })
}

async fn crashes(name: &str, program: ProgramKind, plan: FlakyPlan, faults: Vec<Fault>) {
    let setup = CrashSetup { faults, ..CrashSetup::new(program, vec![factory(plan)]) };
    let report = matrix(&setup).await.unwrap();
    println!("crash matrix, {name}: {} cases, {} wrong", report.cases, report.wrong.len());
    assert!(report.cases >= 50 && report.wrong.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crash_matrix_on_a_store_finds_nothing() {
    crashes("store", ProgramKind::Aggregate, FlakyPlan::default(), vec![Fault::Crash, Fault::ErrorOnce]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crash_matrix_on_a_flaky_store_finds_nothing() {
    crashes("flaky store", ProgramKind::Stateless, commits_go_wrong(), vec![Fault::Crash]).await;
}

#[test]
fn every_pair_of_faults_is_survived_on_a_store_that_fails() {
    every_pair("delta, a store that fails", factory(commits_go_wrong()), 0..1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_is_two_puts_and_nothing_else() {
    let bucket = Bucket::new(0);
    let sink = bucket.open().await;
    for number in 0..5 {
        bucket.store.reset_counts();
        run(&sink, &epoch(number, 1), rows([number as i64])).await.unwrap();
        // One data file, one commit.
        assert_eq!(bucket.store.counts().into_iter().collect::<Vec<_>>(), [(StoreOp::Put, 2)]);
    }
    assert_eq!((bucket.version().await, bucket.views().await), (5, vec![0, 1, 2, 3, 4]));
    sink.maintain(Duration::from_secs(1)).await.unwrap();
    let (_, last) = bucket.try_open().await.unwrap();
    assert_eq!(last, Some((4, AttemptId { generation: 1, n: 1 })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_outcome_is_unknown_is_read_back() {
    for how in [
        StoreFault::Fail,
        StoreFault::Unavailable,
        StoreFault::LoseReply,
        StoreFault::Repeat,
        StoreFault::LandLate(1),
        StoreFault::LandLate(2),
        StoreFault::LandLate(9),
        StoreFault::Delay(Duration::from_millis(20)),
    ] {
        for times in [1, 2] {
            let bucket = Bucket::new(0);
            let sink = bucket.open().await;
            bucket.store.fail_next(StoreOp::Put, "_delta_log/0000", how, times);
            let parts = prepare(&sink, &epoch(0, 1), rows([7])).await;
            let outcome = sink.commit(&epoch(0, 1), parts.clone(), &[]).await.unwrap();
            assert_eq!(outcome, CommitOutcome::Committed, "{how}");
            assert_eq!(sink.commit(&epoch(0, 1), parts, &[]).await.unwrap(), already(1), "{how}");
            run(&sink, &epoch(1, 1), rows([8])).await.unwrap();
            bucket.store.settle().await;
            assert_eq!((bucket.version().await, bucket.views().await), (2, vec![7, 8]), "{how}");
            bucket.check_clean().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stays_away_is_transient_and_leaves_the_epoch_to_be_committed() {
    let bucket = Bucket::new(0);
    let sink = bucket.open().await;
    let parts = prepare(&sink, &epoch(0, 1), rows([7])).await;
    bucket.store.set(FlakyPlan { unavailable: 1.0, ..FlakyPlan::default() });
    for _ in 0..3 {
        let error = sink.commit(&epoch(0, 1), parts.clone(), &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
        assert!(error.to_string().starts_with("delta table s3://bucket/some/table: "), "{error}");
    }
    let error = bucket.try_open().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    let mut writer = sink.writer(&epoch(0, 2), 0).await.unwrap();
    writer.write(rows([7])).await.unwrap();
    assert_eq!(writer.prepare().await.unwrap_err().kind(), ErrorKind::Transient);
    bucket.store.set(FlakyPlan::default());
    assert_eq!(sink.commit(&epoch(0, 1), parts, &[]).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(bucket.views().await, [7]);
    bucket.check_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_opening_may_fail_and_is_tried_again() {
    // The n-th call of an opening fails, for every n.
    for how in [StoreFault::Unavailable, StoreFault::LoseReply, StoreFault::Repeat] {
        let bucket = Bucket::new(0);
        let sink = bucket.open().await;
        for number in 0..3 {
            run(&sink, &epoch(number, 1), rows([number as i64])).await.unwrap();
        }
        sink.maintain(Duration::from_secs(1)).await.unwrap();
        let mut failures = 0;
        for op in [StoreOp::Get, StoreOp::Head, StoreOp::Put, StoreOp::List, StoreOp::Delete] {
            bucket.store.reset_counts();
            bucket.open().await;
            let calls = bucket.store.counts().get(&op).copied().unwrap_or_default();
            for nth in 0..calls {
                bucket.store.fail_next(op, "", StoreFault::Delay(Duration::ZERO), u32::try_from(nth).unwrap());
                bucket.store.fail_next(op, "", how, 1);
                match bucket.try_open().await {
                    Ok((_, last)) => assert_eq!(last.map(|it| it.0), Some(2), "{op} {nth}"),
                    Err(error) => {
                        failures += 1;
                        assert_eq!(error.kind(), ErrorKind::Transient, "{op} {nth} {how}: {error}");
                    }
                }
                bucket.store.forget_rules();
            }
        }
        assert_eq!(failures > 0, how != StoreFault::Repeat, "{failures}");
        assert_eq!(bucket.views().await, [0, 1, 2]);
        bucket.check_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_race_for_one_version() {
    for how in [None, Some(StoreFault::Hold), Some(StoreFault::LoseReply), Some(StoreFault::Overtake)] {
        let bucket = Bucket::new(0);
        let (old, new) = (bucket.open().await, bucket.open().await);
        let (a, b) = (prepare(&old, &epoch(0, 1), rows([1])).await, prepare(&new, &epoch(0, 2), rows([1])).await);
        if let Some(how) = how {
            bucket.store.fail_next(StoreOp::Put, "_delta_log/0000", how, 1);
        }
        let (first, second) = (epoch(0, 1), epoch(0, 2));
        let late = old.commit(&first, a, &[]);
        let fresh = async {
            if how == Some(StoreFault::Hold) {
                bucket.store.held(1).await;
            }
            let outcome = new.commit(&second, b, &[]).await;
            bucket.store.release();
            outcome
        };
        let (late, fresh) = tokio::join!(late, fresh);
        let outcomes = [late.unwrap(), fresh.unwrap()];
        let committed = outcomes.iter().filter(|it| **it == CommitOutcome::Committed).count();
        assert_eq!(committed, 1, "{how:?}: {outcomes:?}");
        assert_eq!(bucket.views().await, [1], "{how:?}");
        bucket.check_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_was_paused_in_its_commit_finds_a_later_epoch() {
    let bucket = Bucket::new(0);
    let (old, new) = (bucket.open().await, bucket.open().await);
    let parts = prepare(&old, &epoch(0, 1), rows([1])).await;
    bucket.store.fail_next(StoreOp::Put, "_delta_log/0000", StoreFault::Hold, 1);
    let stale = epoch(0, 1);
    let zombie = old.commit(&stale, parts, &[]);
    let owner = async {
        bucket.store.held(1).await;
        for number in 0..3 {
            run(&new, &epoch(number, 2), rows([number as i64])).await.unwrap();
        }
        bucket.store.release();
    };
    let (zombie, ()) = tokio::join!(zombie, owner);
    assert_eq!(zombie.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(bucket.views().await, [0, 1, 2]);
    bucket.check_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_files_are_uploads_and_a_dropped_writer_leaves_nothing() {
    let bucket = Bucket::new(0);
    let sink = bucket.open().await;
    // Numbers that don't compress: more than one part.
    let noise = |it: i64| it.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17) >> 24;
    let many = |from: i64| rows((from..from + 900_000).map(noise));
    bucket.store.reset_counts();
    run(&sink, &epoch(0, 1), many(1)).await.unwrap();
    let counts = bucket.store.counts();
    assert_eq!(counts.get(&StoreOp::Complete), Some(&1), "{counts:?}");
    assert!(counts.get(&StoreOp::PutPart) >= Some(&2), "{counts:?}");
    assert_eq!(bucket.views().await.len(), 900_000);

    let mut writer = sink.writer(&epoch(1, 1), 0).await.unwrap();
    writer.write(many(2)).await.unwrap();
    writer.write(many(3)).await.unwrap();
    drop(writer);
    bucket.store.reset_counts();
    sink.maintain(Duration::ZERO).await.unwrap();
    assert!(bucket.store.counts().get(&StoreOp::Abort) >= Some(&1), "{:?}", bucket.store.counts());
    bucket.store.fail_next(StoreOp::PutPart, "", StoreFault::Unavailable, 1);
    let mut writer = sink.writer(&epoch(1, 2), 0).await.unwrap();
    let written = writer.write(many(2)).await;
    let error = match written {
        Ok(_) => writer.prepare().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    sink.maintain(Duration::ZERO).await.unwrap();
    assert_eq!(bucket.objects().await, bucket.live().await);
}

/// A store that takes every put, conditional or not, or that refuses the condition.
#[derive(Debug)]
struct Careless {
    inner: InMemory,
    refuses: bool,
}

impl std::fmt::Display for Careless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("careless")
    }
}

#[async_trait]
impl ObjectStore for Careless {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> os::Result<PutResult> {
        if self.refuses && opts.mode == PutMode::Create {
            return Err(os::Error::NotImplemented { operation: "create".into(), implementer: "careless".into() });
        }
        self.inner.put_opts(location, payload, PutOptions::default()).await
    }
    async fn put_multipart_opts(&self, to: &Path, opts: PutMultipartOptions) -> os::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, opts).await
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> os::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }
    fn delete_stream(&self, locations: BoxStream<'static, os::Result<Path>>) -> BoxStream<'static, os::Result<Path>> {
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, os::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> os::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> os::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_conditional_puts_is_refused() {
    for (refuses, text) in [(false, "overwrites objects"), (true, "has no conditional puts")] {
        let mut bucket = Bucket::new(0);
        bucket.store = FlakyStore::new(Arc::new(Careless { inner: InMemory::new(), refuses }), 0);
        let error = bucket.try_open().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(text), "{error}");
        assert!(bucket.objects().await.is_empty(), "the probe is gone and there is no table");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_that_stayed_behind_goes_at_the_next_start() {
    let bucket = Bucket::new(0);
    bucket.store.fail_next(StoreOp::Delete, "_tidegate-probe-", StoreFault::Fail, 1);
    drop(bucket.open().await);
    let first = bucket.objects().await;
    assert!(first.is_empty(), "the probe goes with the clean-up of the same start: {first:?}");
    bucket.store.fail_next(StoreOp::Put, "_tidegate-probe-", StoreFault::LandLate(30), 1);
    assert_eq!(bucket.try_open().await.err().unwrap().kind(), ErrorKind::Transient);
    bucket.store.settle().await;
    assert_eq!(bucket.objects().await.len(), 1);
    bucket.check_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_transactions_are_in_the_log() {
    let bucket = Bucket::new(0);
    let sink = bucket.open().await;
    run(&sink, &epoch(3, 5), rows([1])).await.unwrap();
    let path = Path::from("some/table/_delta_log/00000000000000000001.json");
    let body = bucket.store.inner().get(&path).await.unwrap().bytes().await.unwrap();
    let lines = body.as_bytes().split(|it| *it == b'\n').filter(|it| !it.is_empty());
    let txns: Vec<_> = lines
        .map(|it| serde_json::from_slice::<Value>(it).unwrap())
        .filter_map(|it| Some((it["txn"]["appId"].as_str()?.to_owned(), it["txn"]["version"].as_i64()?)))
        .collect();
    assert_eq!(txns, [("q1/out".to_owned(), 3), ("q1/out#attempt".to_owned(), (1 << 24) + 5)]);
}
