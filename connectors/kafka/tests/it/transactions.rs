//! Records of transactions: aborted ones are never seen and never stop a range; open ones are not waited for.

use std::time::{Duration, Instant};

use rdkafka::producer::Producer;
use tidegate_api::{ReadLimit, Source};

use crate::setup::{Row, offset, plan_some, read, read_until, source};
use crate::stand::{produce, send, topic, transactional};
use crate::{both_clients, broker_or_skip};

both_clients!(
    aborted_records_are_not_seen_and_ranges_end_all_the_same,
    an_open_transaction_is_not_waited_for,
    small_transactions_do_not_wait_for_the_fetch_to_time_out,
);

const PATIENCE: Duration = Duration::from_secs(20);

fn values(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|(_, _, value)| value.parse().unwrap()).collect()
}

async fn aborted_records_are_not_seen_and_ranges_end_all_the_same() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "aborted", 1).await;
    let producer = transactional(broker, &topic);
    // Offsets: 0..1000 and a marker, 1001..1501 aborted and a marker, 1502..1802 and a marker, 1803..2003 aborted, marker.
    for (range, keep) in [(0..1000, true), (5000..5500, false), (1000..1300, true), (6000..6200, false)] {
        producer.begin_transaction().unwrap();
        produce(&producer, &topic, 0, range);
        let done = if keep { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) };
        done.unwrap();
    }
    let at = |it: i64| offset(&format!(r#"{{"{topic}":{{"0":{it}}}}}"#));
    let mut one = source(broker, &topic, &[("starting.offsets", "earliest")]).await;
    let start = one.initial_offset().await.unwrap();
    let end = plan_some(&mut one, &start).await;
    assert_eq!(end, at(2004));
    let begun = Instant::now();
    assert_eq!(values(&read(&one, &start, &end).await.unwrap()), (0..1300).collect::<Vec<_>>());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // Ends at a marker, inside and after aborted records; ranges of nothing else.
    let cuts =
        [(0, 1000), (1000, 1001), (1001, 1200), (1200, 1502), (1502, 1802), (1802, 1803), (1803, 2003), (2003, 2004)];
    let mut all = Vec::new();
    for (from, to) in cuts {
        let begun = Instant::now();
        all.extend(values(&read(&one, &at(from), &at(to)).await.unwrap()));
        assert!(begun.elapsed() < Duration::from_secs(2), "{from} to {to}: {:?}", begun.elapsed());
    }
    assert_eq!(all, (0..1300).collect::<Vec<_>>());
    let other = source(broker, &topic, &[]).await;
    assert_eq!(read(&other, &at(1803), &at(2004)).await.unwrap(), []);
    let every = source(broker, &topic, &[("kafka.isolation.level", "read_uncommitted")]).await;
    assert_eq!(read(&every, &at(0), &at(2004)).await.unwrap().len(), 2000);
}

async fn an_open_transaction_is_not_waited_for() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "open", 2).await;
    let producer = transactional(broker, &topic);
    let mut source = source(broker, &topic, &[("starting.offsets", "earliest")]).await;
    let mut start = source.initial_offset().await.unwrap();
    producer.begin_transaction().unwrap();
    produce(&producer, &topic, 0, 0..10);
    producer.commit_transaction(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    produce(&producer, &topic, 0, 10..20);
    let rows = read_until(&mut source, &mut start, 11).await;
    assert_eq!(values(&rows), (0..10).collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let planned = source.plan(&start, &ReadLimit::NONE).await.unwrap();
    assert_eq!((&planned.end, &planned.latest), (&start, &start), "the last stable offset is the end");
    assert_eq!(start.to_string(), format!(r#"{{"{topic}":{{"0":11,"1":0}}}}"#));
    producer.commit_transaction(PATIENCE).unwrap();
    let rows = read_until(&mut source, &mut start, 22).await;
    assert_eq!(values(&rows), (10..20).collect::<Vec<_>>());
}

async fn small_transactions_do_not_wait_for_the_fetch_to_time_out() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "small", 1).await;
    let producer = transactional(broker, &topic);
    let mut source = source(broker, &topic, &[]).await;
    let mut start = source.initial_offset().await.unwrap();
    source.plan(&start, &ReadLimit::NONE).await.unwrap();
    let mut waits = Vec::new();
    for round in 0..20 {
        producer.begin_transaction().unwrap();
        send(&producer, &topic, 0, round..round + 1);
        producer.commit_transaction(PATIENCE).unwrap();
        let committed = Instant::now();
        // The record and the marker after it.
        let rows = read_until(&mut source, &mut start, 2 * round.cast_signed() + 2).await;
        waits.push(committed.elapsed());
        assert_eq!(values(&rows), [round]);
    }
    waits.sort();
    println!("from committed to read: median {:?}, longest {:?}", waits[10], waits[19]);
    // A fetch at the end waits for 100 ms.
    assert!(waits[10] < Duration::from_millis(60), "{waits:?}");
}
