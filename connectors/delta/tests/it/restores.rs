//! Taking epochs back.

use deltalake::writer::{DeltaWriter as _, RecordBatchWriter};
use serde_json::json;
use tidegate_api::{AttemptId, CommitOutcome, ErrorKind, Sink};
use tidegate_testkit::store::{FlakyPlan, StoreFault, StoreOp};

use crate::harness::{Bench, already, epoch, prepare, rows, run};
use crate::objects::Bucket;

async fn epochs(sink: &tidegate_delta::DeltaSink, numbers: std::ops::Range<u64>) {
    for number in numbers {
        run(sink, &epoch(number, 1), rows([number as i64])).await.unwrap();
    }
}

#[tokio::test]
async fn epochs_are_taken_back_and_numbers_go_on() {
    let bench = Bench::new(&[]);
    let mut sink = bench.open().await;
    epochs(&sink, 0..6).await;
    assert!(sink.restore(Some(2)).await.unwrap());
    assert_eq!(bench.views().await, [0, 1, 2]);
    let commit = bench.commits().pop().unwrap();
    assert_eq!(commit[0]["commitInfo"]["operation"], "RESTORE");
    assert_eq!(commit[0]["commitInfo"]["operationParameters"]["version"], "3");
    // Called again, as after a crash, it does nothing more; also in a new process.
    let versions = bench.commits().len();
    assert!(sink.restore(Some(2)).await.unwrap());
    let (mut sink, last) = bench.try_open().await.unwrap();
    assert_eq!(last, Some((5, AttemptId { generation: 1, n: 1 })), "numbers that were used stay used");
    assert!(sink.restore(Some(2)).await.unwrap());
    assert_eq!(bench.commits().len(), versions);
    // The next number is a new one.
    assert_eq!(run(&sink, &epoch(5, 9), rows([100])).await.unwrap(), already(1));
    epochs(&sink, 6..8).await;
    assert_eq!(bench.views().await, [0, 1, 2, 6, 7]);
    // Once more, further back, over what was taken back before.
    assert!(sink.restore(Some(0)).await.unwrap());
    assert_eq!(bench.views().await, [0]);
    assert!(sink.restore(None).await.unwrap());
    assert!(bench.views().await.is_empty());
    epochs(&sink, 8..9).await;
    assert_eq!(bench.views().await, [8]);
    // Older versions can still be read: the files stay until VACUUM.
    bench.open().await.maintain(std::time::Duration::ZERO).await.unwrap();
    assert_eq!(bench.files().len(), 9);
}

#[tokio::test]
async fn epochs_without_rows_and_nothing_to_take_back() {
    let bench = Bench::new(&[]);
    let mut sink = bench.open().await;
    assert!(sink.restore(None).await.unwrap());
    run(&sink, &epoch(0, 1), rows([0])).await.unwrap();
    run(&sink, &epoch(3, 1), rows([3])).await.unwrap();
    assert!(sink.restore(Some(2)).await.unwrap());
    assert_eq!(bench.views().await, [0]);
    assert!(sink.restore(Some(9)).await.unwrap());
    assert_eq!(bench.views().await, [0]);
}

#[tokio::test]
async fn rows_of_others_stay_and_rows_that_others_changed_are_refused() {
    let bench = Bench::new(&[]);
    let mut sink = bench.open().await;
    epochs(&sink, 0..2).await;
    let url = url::Url::from_directory_path(bench.path()).unwrap();
    let mut table = deltalake::open_table(url).await.unwrap();
    let mut writer = RecordBatchWriter::for_table(&table).unwrap();
    writer.write(rows([100])).await.unwrap();
    writer.flush_and_commit(&mut table).await.unwrap();
    epochs(&sink, 2..3).await;
    sink.check_restore(Some(0)).await.unwrap();
    let commits = bench.commits().len();
    assert!(sink.restore(Some(0)).await.unwrap());
    assert_eq!((bench.views().await, bench.commits().len()), (vec![0, 100], commits + 1), "a look changes nothing");

    epochs(&sink, 3..4).await;
    let added = bench.commits().pop().unwrap();
    let path = added.iter().find_map(|it| it["add"]["path"].as_str()).unwrap().to_owned();
    bench.foreign_commit(&[json!({ "remove": { "path": path, "dataChange": true, "deletionTimestamp": 1 } })]);
    let seen = sink.check_restore(Some(0)).await.unwrap_err();
    let error = sink.restore(Some(0)).await.unwrap_err();
    assert_eq!((error.kind(), seen.to_string()), (ErrorKind::Config, error.to_string()));
    assert!(error.to_string().contains("of another writer changed rows that were written after epoch 0"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_is_undone_with_the_epochs_it_took_in() {
    let bench = Bench::new(&[]);
    let mut sink = bench.open().await;
    epochs(&sink, 0..4).await;
    let url = url::Url::from_directory_path(bench.path()).unwrap();
    // As OPTIMIZE does: one file of the rows of all.
    let mut removes: Vec<_> = bench
        .commits()
        .iter()
        .flatten()
        .filter_map(|it| it["add"]["path"].as_str().map(str::to_owned))
        .map(|it| json!({ "remove": { "path": it, "dataChange": false, "deletionTimestamp": 1 } }))
        .collect();
    let table = deltalake::open_table(url).await.unwrap();
    let mut writer = RecordBatchWriter::for_table(&table).unwrap();
    writer.write(rows(0..4)).await.unwrap();
    let mut add = serde_json::to_value(writer.flush().await.unwrap().pop().unwrap()).unwrap();
    add["dataChange"] = json!(false);
    removes.push(json!({ "add": add }));
    bench.foreign_commit(&removes);
    assert_eq!(bench.views().await, [0, 1, 2, 3]);
    assert!(sink.restore(Some(1)).await.unwrap());
    assert_eq!(bench.views().await, [0, 1]);
    // Files that VACUUM took are missed.
    epochs(&sink, 4..5).await;
    let gone = bench.files().into_iter().find(|it| it.to_string_lossy().contains("-4-0-0.")).unwrap();
    bench.foreign_commit(&[json!({ "remove": {
        "path": gone.file_name().unwrap().to_string_lossy(), "dataChange": false, "deletionTimestamp": 1,
    } })]);
    assert!(sink.restore(Some(1)).await.unwrap(), "only files that are to come back must be there");
    assert_eq!(bench.views().await, [0, 1]);
}

#[tokio::test]
async fn an_append_only_table_can_not_take_back() {
    let bench = Bench::new(&[]);
    let mut sink = bench.open().await;
    epochs(&sink, 0..2).await;
    let mut metadata = bench.metadata();
    metadata["configuration"] = json!({ "delta.appendOnly": "true" });
    bench.foreign_commit(&[json!({ "metaData": metadata })]);
    assert!(!sink.restore(Some(0)).await.unwrap());
    assert_eq!(bench.views().await, [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_on_a_store_survives_lost_replies() {
    for how in [
        StoreFault::Fail,
        StoreFault::LoseReply,
        StoreFault::Repeat,
        StoreFault::LandLate(1),
        StoreFault::LandLate(3),
        StoreFault::LandLate(20),
    ] {
        let bucket = Bucket::new(0);
        let mut sink = bucket.open().await;
        epochs(&sink, 0..4).await;
        bucket.store.fail_next(StoreOp::Put, "_delta_log/0000", how, 2);
        assert!(sink.restore(Some(1)).await.unwrap());
        assert_eq!(bucket.views().await, [0, 1], "{how}");
        assert_eq!(run(&sink, &epoch(4, 1), rows([4])).await.unwrap(), CommitOutcome::Committed);
        bucket.store.settle().await;
        assert_eq!((bucket.views().await, bucket.version().await), (vec![0, 1, 4], 6), "{how}");
    }
    let bucket = Bucket::new(0);
    let mut sink = bucket.open().await;
    epochs(&sink, 0..2).await;
    bucket.store.set(FlakyPlan { unavailable: 1.0, ..FlakyPlan::default() });
    assert_eq!(sink.restore(Some(0)).await.unwrap_err().kind(), ErrorKind::Transient);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_of_the_time_before_is_fenced() {
    // The paused owner has an epoch under way that the branch does not hold; nothing else was taken back.
    let bucket = Bucket::new(0);
    let old = bucket.open().await;
    epochs(&old, 0..2).await;
    let parts = prepare(&old, &epoch(2, 1), rows([2])).await;
    bucket.store.fail_next(StoreOp::Put, "_delta_log/0000", StoreFault::Hold, 1);
    let stale = epoch(2, 1);
    let zombie = old.commit(&stale, parts.clone(), &[]);
    let owner = async {
        bucket.store.held(1).await;
        let mut new = bucket.open().await;
        assert!(new.restore(Some(1)).await.unwrap());
        bucket.store.release();
        new
    };
    let (zombie, new) = tokio::join!(zombie, owner);
    let error = zombie.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("took back epochs"), "{error}");
    assert_eq!(old.commit(&stale, parts, &[]).await.unwrap_err().kind(), ErrorKind::Fenced);
    epochs(&new, 3..4).await;
    assert_eq!(bucket.views().await, [0, 1, 3]);
    bucket.check_clean().await;
}
