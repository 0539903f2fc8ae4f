//! Epochs as transactions: seen whole and once; other owners, other writers, other topics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseRecord, Producer};
use tidegate_api::{AttemptId, CommitOutcome, Error, ErrorKind, Ownership, Result, Sink, SinkWriter, async_trait};

use crate::broker_or_skip;
use crate::sink_setup::{Bench, epoch, numbers, open_transactions, pairs, prepared, read, step, texts};
use crate::stand::{create_with, transactional};

const PATIENCE: Duration = Duration::from_secs(20);

fn attempt(generation: u64, n: u32) -> AttemptId {
    AttemptId { generation, n }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_seen_once_in_order_per_key() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "order", 4).await;
    let (sink, last) = bench.open().await.unwrap();
    assert_eq!(last, None);
    let keys = ["a", "b", "c", "d", "e", "f", "g"];
    for number in 0..10_u64 {
        let rows: Vec<_> = (0..700).map(|row| (keys[row % 7], format!("{number}-{row:03}"))).collect();
        let rows: Vec<_> = rows.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(step(&sink, &epoch(number, 1, 0), &pairs(&rows)).await.unwrap(), CommitOutcome::Committed);
    }
    let seen = bench.seen();
    assert_eq!(seen.values().map(Vec::len).sum::<usize>(), 7000);
    for key in keys {
        let holders: Vec<_> = seen.values().filter(|it| it.iter().any(|(k, _)| k.as_deref() == Some(key))).collect();
        assert_eq!(holders.len(), 1, "key {key} lies in one partition");
        let values: Vec<_> = holders[0].iter().filter(|(k, _)| k.as_deref() == Some(key)).map(|(_, v)| v).collect();
        assert!(values.is_sorted() && values.len() == 1000, "key {key}");
    }
    assert!(seen.len() > 1, "{:?}", seen.keys());
    let markers = read(broker, &bench.markers);
    assert_eq!(markers.len(), 1, "all markers of a writer lie in one partition");
    let last = markers.into_values().flatten().next_back().unwrap();
    assert_eq!(last.0, Some(bench.writer("out").to_string()));
    assert_eq!(last.1.as_deref(), Some(r#"{"epoch":9,"attempt":"1.0","rows":700}"#));
    assert_eq!(bench.open().await.unwrap().1, Some((9, attempt(1, 0))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_without_rows_leaves_no_trace() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "empty", 1).await;
    let (sink, _) = bench.open().await.unwrap();
    step(&sink, &epoch(0, 1, 0), &numbers(0..3)).await.unwrap();
    step(&sink, &epoch(1, 1, 0), &numbers(0..0)).await.unwrap();
    let again = step(&sink, &epoch(1, 1, 1), &numbers(0..0)).await.unwrap();
    assert_eq!(again, CommitOutcome::AlreadyCommitted { attempt: Some(attempt(1, 0)) });
    assert_eq!(read(broker, &bench.markers).into_values().flatten().count(), 1);
    assert_eq!(bench.open().await.unwrap().1, Some((0, attempt(1, 0))));
    assert_eq!(bench.values(), texts(0..3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_followed_by_another_is_fenced_for_ever() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "zombie", 1).await;
    let (old, _) = bench.open().await.unwrap();
    step(&old, &epoch(0, 1, 0), &numbers(0..5)).await.unwrap();
    let stale = prepared(&old, &epoch(1, 1, 0), &numbers(5..10)).await.unwrap();
    let (new, last) = bench.open().await.unwrap();
    assert_eq!(last, Some((0, attempt(1, 0))), "its open transaction is no commit");
    let error = old.commit(&epoch(1, 1, 0), stale.clone(), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    for _ in 0..2 {
        let error = prepared(&old, &epoch(1, 1, 1), &numbers(5..10)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "it never comes back: {error}");
        let error = old.commit(&epoch(1, 1, 0), stale.clone(), &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    }
    for number in 1..4_u64 {
        let first = u32::try_from(number).unwrap() * 5;
        step(&new, &epoch(number, 2, 0), &numbers(first..first + 5)).await.unwrap();
    }
    assert_eq!(bench.values(), texts(0..20));
    assert_eq!(open_transactions(broker, &bench.markers), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_owner_can_not_write_either() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "late-zombie", 1).await;
    let (old, _) = bench.open().await.unwrap();
    let mut writer = old.writer(&epoch(0, 1, 0), 0).await.unwrap();
    writer.write(numbers(0..5)).await.unwrap();
    let (new, _) = bench.open().await.unwrap();
    step(&new, &epoch(0, 2, 0), &numbers(0..5)).await.unwrap();
    // More than the client keeps to itself.
    let outcome = async {
        writer.write(numbers(5..10_000)).await?;
        writer.prepare().await
    };
    let error = outcome.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    step(&new, &epoch(1, 2, 0), &numbers(5..10)).await.unwrap();
    assert_eq!(bench.values(), texts(0..10));
}

struct Lost;

#[async_trait]
impl Ownership for Lost {
    async fn check(&self) -> Result<()> {
        Err(Error::fenced("somebody else is the owner"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_owner_fences_nobody() {
    let broker = broker_or_skip!();
    let mut bench = Bench::new(broker, "owner", 1).await;
    let (owner, _) = bench.open().await.unwrap();
    let parts = prepared(&owner, &epoch(0, 2, 0), &numbers(0..5)).await.unwrap();
    bench.owner = Some(Arc::new(Lost));
    assert_eq!(bench.open().await.err().unwrap().kind(), ErrorKind::Fenced);
    assert_eq!(owner.commit(&epoch(0, 2, 0), parts, &[]).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(bench.values(), texts(0..5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_open_transaction_is_waited_for_and_never_taken_for_absence() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "foreign", 1).await.with("markers.timeout", "2 seconds");
    create_with(broker, &bench.markers, 1, &[("cleanup.policy", "compact")]).await;
    let (sink, _) = bench.open().await.unwrap();
    step(&sink, &epoch(0, 1, 0), &numbers(0..5)).await.unwrap();
    let foreign = transactional(broker, &format!("{}-foreign", bench.topic));
    foreign.begin_transaction().unwrap();
    foreign.send(BaseRecord::to(&bench.markers).key("other").payload("{}")).map_err(|(e, _)| e).unwrap();
    foreign.flush(PATIENCE).unwrap();
    // Committed behind it: a reader of committed records does not see this marker yet.
    step(&sink, &epoch(1, 1, 0), &numbers(5..10)).await.unwrap();
    drop(sink);
    let naive = read(broker, &bench.markers).into_values().flatten().next_back().unwrap().1.unwrap();
    assert!(naive.contains("\"epoch\":0,"), "who reads to the end of what is stable finds an older one: {naive}");
    let begun = Instant::now();
    let error = bench.open().await.err().expect("nobody can tell yet");
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("a transaction of another writer is open there"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    // It ends while we wait.
    let waiting = tokio::spawn(async move {
        let bench = bench.with("markers.timeout", "20 seconds");
        let (sink, last) = bench.open().await.unwrap();
        (bench, sink, last)
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    foreign.abort_transaction(PATIENCE).unwrap();
    let (bench, sink, last) = waiting.await.unwrap();
    assert_eq!(last, Some((1, attempt(1, 0))));
    let again = step(&sink, &epoch(1, 2, 0), &numbers(5..10)).await.unwrap();
    assert_eq!(again, CommitOutcome::AlreadyCommitted { attempt: Some(attempt(1, 0)) });
    assert_eq!(bench.values(), texts(0..10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_topic_that_loses_markers_is_refused() {
    let broker = broker_or_skip!();
    for policy in ["delete", "compact,delete"] {
        let bench = Bench::new(broker, "policy", 1).await;
        create_with(broker, &bench.markers, 1, &[("cleanup.policy", policy)]).await;
        let error = bench.open().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(
            text.contains(&bench.markers) && text.contains(&format!("found cleanup.policy={policy}, exp")),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_others_and_tombstones_are_no_markers() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "tombstone", 1).await;
    create_with(broker, &bench.markers, 1, &[("cleanup.policy", "compact")]).await;
    let (sink, _) = bench.open().await.unwrap();
    step(&sink, &epoch(4, 1, 0), &numbers(0..5)).await.unwrap();
    let (other, last) = bench.open_as("out2").await.unwrap();
    assert_eq!(last, None);
    step(&other, &epoch(7, 1, 0), &numbers(5..10)).await.unwrap();
    let foreign = transactional(broker, &format!("{}-foreign", bench.topic));
    let put = |key: &str, value: Option<&str>| {
        foreign.begin_transaction().unwrap();
        let mut record = BaseRecord::<str, str>::to(&bench.markers).key(key);
        record.payload = value;
        foreign.send(record).map_err(|(e, _)| e).unwrap();
        foreign.commit_transaction(PATIENCE).unwrap();
    };
    put(&format!("{}x", bench.writer("out")), Some("nonsense"));
    put("", None);
    assert_eq!(bench.open().await.unwrap().1, Some((4, attempt(1, 0))));
    put(&bench.writer("out").to_string(), None);
    assert_eq!(bench.open().await.unwrap().1, None, "somebody has deleted it");
    put(&bench.writer("out2").to_string(), Some("nonsense"));
    let error = bench.open_as("out2").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn markers_stay_where_they_were() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "moved", 1).await;
    let (sink, _) = bench.open().await.unwrap();
    step(&sink, &epoch(0, 1, 0), &numbers(0..5)).await.unwrap();
    crate::stand::grow(broker, &bench.markers, 40).await;
    assert_eq!(bench.open().await.unwrap().1, Some((0, attempt(1, 0))), "more partitions move nothing");
    let other = format!("{}-other", bench.markers);
    let bench = bench.with("markers.topic", &other);
    let error = bench.open().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("markers.topic was"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sinks_of_a_query_do_not_disturb_each_other() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "two", 2).await;
    let ((left, _), (right, _)) = (bench.open_as("left").await.unwrap(), bench.open_as("right").await.unwrap());
    let run = |sink: tidegate_kafka::TopicSink, from: u32| async move {
        for number in 0..8_u32 {
            let first = from + number * 50;
            step(&sink, &epoch(number.into(), 1, 0), &numbers(first..first + 50)).await.unwrap();
        }
    };
    tokio::join!(run(left, 0), run(right, 1000));
    let all: Vec<_> = texts(0..400).into_iter().chain(texts(1000..1400)).collect();
    assert_eq!(bench.values(), all);
    assert_eq!(bench.open_as("left").await.unwrap().1, Some((7, attempt(1, 0))));
    assert_eq!(bench.open_as("right").await.unwrap().1, Some((7, attempt(1, 0))));
}
