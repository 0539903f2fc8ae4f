use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use tidegate_storage::object_store::memory::InMemory;
use tidegate_storage::object_store::path::Path;
use tidegate_storage::object_store::{Error, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, Result};

use super::{FlakyPlan, FlakyStore, StoreFault, StoreOp};

fn store(seed: u64) -> FlakyStore {
    FlakyStore::new(Arc::new(InMemory::new()), seed)
}

async fn create(store: &FlakyStore, path: &str, body: &'static str) -> Result<()> {
    store.put_opts(&path.into(), body.into(), PutOptions::from(PutMode::Create)).await.map(|_| ())
}

async fn body(store: &FlakyStore, path: &str) -> Option<String> {
    let got = store.inner().get(&path.into()).await.ok()?.bytes().await.unwrap();
    Some(String::from_utf8(got.to_vec()).unwrap())
}

#[tokio::test]
async fn nothing_goes_wrong_unasked() {
    let store = store(1);
    create(&store, "a/1", "one").await.unwrap();
    assert!(matches!(create(&store, "a/1", "two").await, Err(Error::AlreadyExists { .. })));
    assert_eq!(store.get(&"a/1".into()).await.unwrap().bytes().await.unwrap(), "one");
    assert_eq!(store.head(&"a/1".into()).await.unwrap().size, 3);
    assert_eq!(store.list(None).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    store.rename(&"a/1".into(), &"a/2".into()).await.unwrap();
    assert_eq!(store.list_with_delimiter(Some(&"a".into())).await.unwrap().objects.len(), 1);
    assert_eq!(store.faulted(), 0);
    let counts: Vec<_> = store.counts().into_iter().collect();
    let expected = [
        (StoreOp::Get, 1),
        (StoreOp::Head, 1),
        (StoreOp::Put, 2),
        (StoreOp::List, 2),
        (StoreOp::Delete, 1),
        (StoreOp::Copy, 1),
    ];
    assert_eq!(counts, expected);
    assert_eq!(store.trace()[0], "1 put a/1 ok");
}

#[tokio::test]
async fn rules_meet_their_calls_and_no_others() {
    let store = store(1);
    store.fail_next(StoreOp::Put, "log/", StoreFault::Unavailable, 2);
    create(&store, "data/1", "one").await.unwrap();
    let error = create(&store, "log/1", "one").await.unwrap_err().to_string();
    assert!(error.contains("503"), "{error}");
    assert!(create(&store, "log/1", "one").await.is_err());
    assert_eq!(body(&store, "log/1").await, None);
    create(&store, "log/1", "one").await.unwrap();
    assert_eq!(store.faulted(), 2);
    store.fail_next(StoreOp::Delete, "", StoreFault::Fail, 1);
    store.forget_rules();
    store.delete(&"log/1".into()).await.unwrap();
}

#[tokio::test]
async fn a_lost_reply_has_done_its_work() {
    let store = store(1);
    store.fail_next(StoreOp::Put, "", StoreFault::LoseReply, 1);
    assert!(matches!(create(&store, "a", "one").await, Err(Error::Generic { .. })));
    assert_eq!(body(&store, "a").await.as_deref(), Some("one"));
    store.fail_next(StoreOp::Get, "", StoreFault::LoseReply, 1);
    assert!(store.get(&"a".into()).await.is_err());
    store.fail_next(StoreOp::Delete, "", StoreFault::LoseReply, 1);
    assert!(store.delete(&"a".into()).await.is_err());
    assert_eq!(body(&store, "a").await, None);
}

#[tokio::test]
async fn a_repeated_put_meets_itself() {
    let store = store(1);
    store.fail_next(StoreOp::Put, "", StoreFault::Repeat, 1);
    assert!(matches!(create(&store, "a", "one").await, Err(Error::AlreadyExists { .. })));
    assert_eq!(body(&store, "a").await.as_deref(), Some("one"));
}

#[tokio::test]
async fn a_late_put_lands_between_later_calls() {
    let store = store(1);
    store.fail_next(StoreOp::Put, "a", StoreFault::LandLate(1), 1);
    assert!(create(&store, "a", "late").await.is_err());
    assert!(matches!(store.get(&"a".into()).await, Err(Error::NotFound { .. })));
    assert!(matches!(create(&store, "a", "retry").await, Err(Error::AlreadyExists { .. })));
    assert_eq!(body(&store, "a").await.as_deref(), Some("late"));

    store.fail_next(StoreOp::Put, "b", StoreFault::LandLate(9), 1);
    assert!(create(&store, "b", "late").await.is_err());
    create(&store, "b", "retry").await.unwrap();
    store.settle().await;
    assert_eq!(body(&store, "b").await.as_deref(), Some("retry"));
    let last = store.trace().pop().unwrap();
    assert!(last.contains("late put b too late"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_put_is_overtaken() {
    let store = store(1);
    store.fail_next(StoreOp::Put, "a", StoreFault::Overtake, 1);
    let first = tokio::spawn({
        let store = store.clone();
        async move { create(&store, "a", "first").await }
    });
    tokio::task::yield_now().await;
    create(&store, "a", "second").await.unwrap();
    assert!(matches!(first.await.unwrap(), Err(Error::AlreadyExists { .. })));
    assert_eq!(body(&store, "a").await.as_deref(), Some("second"));

    store.fail_next(StoreOp::Put, "b", StoreFault::Overtake, 1);
    create(&store, "b", "alone").await.unwrap();
}

#[tokio::test]
async fn a_held_put_goes_on_when_it_is_released() {
    let store = store(1);
    store.fail_next(StoreOp::Put, "a", StoreFault::Hold, 1);
    let paused = tokio::spawn({
        let store = store.clone();
        async move { create(&store, "a", "zombie").await }
    });
    store.held(1).await;
    create(&store, "a", "owner").await.unwrap();
    store.release();
    assert!(matches!(paused.await.unwrap(), Err(Error::AlreadyExists { .. })));
    assert_eq!(body(&store, "a").await.as_deref(), Some("owner"));
}

#[tokio::test]
async fn uploads_go_wrong_too() {
    let store = store(1);
    let path = Path::from("big");
    store.fail_next(StoreOp::PutPart, "big", StoreFault::Fail, 1);
    let mut upload = store.put_multipart(&path).await.unwrap();
    assert!(upload.put_part("a".into()).await.is_err());
    upload.abort().await.unwrap();
    assert_eq!(body(&store, "big").await, None);

    store.fail_next(StoreOp::Complete, "big", StoreFault::LoseReply, 1);
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("a".into()).await.unwrap();
    assert!(upload.complete().await.is_err());
    assert_eq!(body(&store, "big").await.as_deref(), Some("a"));
}

/// A fixed order of calls under a plan; what comes of it.
async fn run(seed: u64, plan: &FlakyPlan) -> (FlakyStore, Vec<bool>) {
    let store = store(seed);
    store.set(plan.clone());
    let mut went = Vec::new();
    for n in 0..200 {
        let path = format!("log/{}", n / 4);
        went.push(create(&store, &path, "x").await.is_ok());
        went.push(store.get(&path.as_str().into()).await.is_ok());
    }
    (store, went)
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_faults() {
    let plan = FlakyPlan {
        fail: 0.1,
        unavailable: 0.1,
        lose_reply: 0.1,
        repeat: 0.05,
        overtake: 0.05,
        land_late: 0.1,
        delay: Some((0.2, Duration::from_millis(40))),
        ..FlakyPlan::default()
    };
    let ((one, went), (two, same), (three, other)) = (run(7, &plan).await, run(7, &plan).await, run(8, &plan).await);
    assert_eq!((one.trace(), &went), (two.trace(), &same));
    assert_ne!((one.trace(), &went), (three.trace(), &other));
    let trace = one.trace().join("\n");
    for what in ["fails", "503", "loses", "twice", "overtaken", "calls late", "delayed", "late put"] {
        assert!(trace.contains(what), "no '{what}' in\n{trace}");
    }
    let faulted = one.faulted();
    assert!((120..=220).contains(&faulted), "{faulted} of 400 calls went wrong, expected about 165");
}

#[tokio::test]
async fn a_plan_keeps_to_its_calls() {
    let plan = FlakyPlan { fail: 1.0, only: vec![StoreOp::Put], matching: "log/1".into(), ..FlakyPlan::default() };
    let (store, _) = run(3, &plan).await;
    let wrong = store.trace().into_iter().filter(|it| it.ends_with("fails")).collect::<Vec<_>>();
    // log/1 and log/10 to log/19, four calls each.
    assert_eq!(wrong.len(), 44);
    assert!(wrong.iter().all(|it| it.contains("put log/1")), "{wrong:?}");

    let plan = FlakyPlan { unavailable: 1.0, most_in_a_row: Some(3), ..FlakyPlan::default() };
    let (_, went) = run(3, &plan).await;
    assert!(went.chunks(4).all(|it| it[..3] == [false; 3]), "{went:?}");
    let plan = FlakyPlan { only: vec![StoreOp::Put], ..plan };
    let (_, went) = run(3, &plan).await;
    let puts: Vec<_> = went.iter().step_by(2).copied().collect();
    assert!(puts.chunks(4).all(|it| it[..3] == [false; 3]), "gets between don't count: {puts:?}");
    let (store, _) = run(3, &FlakyPlan::default()).await;
    assert_eq!(store.faulted(), 0);
}
