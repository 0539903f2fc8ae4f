//! Each record once, at any cut, and again if asked.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::producer::Producer;
use tidegate_api::{ReadLimit, Source};
use tidegate_kafka::KafkaOffset;

use crate::setup::{batches, bind, offset, plan_some, read, read_some, read_until, source};
use crate::stand::{grow, produce, producer, send, topic};
use crate::{both_clients, broker_or_skip};

both_clients!(
    four_partitions_are_read_once_across_epochs_with_a_limit,
    a_range_gives_the_same_rows_again,
    the_next_epoch_may_be_planned_while_one_is_read,
    new_records_are_known_at_once,
    new_partitions_are_read_from_their_start,
    a_frozen_end_is_not_passed,
    few_rows_wait_for_more_or_for_the_delay,
);

async fn four_partitions_are_read_once_across_epochs_with_a_limit() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "once", 4).await;
    let producer = producer(broker);
    for partition in 0..4 {
        send(&producer, &topic, partition, 0..100_000);
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    let limits = [("starting.offsets", "earliest"), ("max.offsets.per.trigger", "37000")];
    let mut source = source(broker, &topic, &limits).await;
    let mut start = source.initial_offset().await.unwrap();
    let (mut seen, mut epochs) = (BTreeSet::new(), 0);
    while seen.len() < 400_000 {
        let end = plan_some(&mut source, &start).await;
        let rows = read(&source, &start, &end).await.unwrap();
        assert!(rows.len() <= 37_000 + 3, "{} rows in an epoch", rows.len());
        for (partition, offset, value) in rows {
            assert_eq!(value, offset.to_string());
            assert!(seen.insert((partition, offset)), "partition {partition} offset {offset} twice");
        }
        (start, epochs) = (end, epochs + 1);
    }
    assert!(epochs >= 11, "{epochs}");
    assert_eq!(start.iter().map(|(_, offset)| offset).collect::<Vec<_>>(), [100_000; 4]);
    assert_eq!(source.plan(&start, &ReadLimit::NONE).await.unwrap().end, start);
}

async fn a_range_gives_the_same_rows_again() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "replay", 2).await;
    let producer = producer(broker);
    for partition in 0..2 {
        produce(&producer, &topic, partition, 0..50_000);
    }
    let name = |a, b| offset(&format!(r#"{{"{topic}":{{"0":{a},"1":{b}}}}}"#));
    let one = source(broker, &topic, &[]).await;
    let first = read(&one, &name(100, 200), &name(30_000, 40_000)).await.unwrap();
    assert_eq!(first.len(), 29_900 + 39_800);
    // Back, forward over a gap, back into the middle, on from there; another client; and a read that was dropped.
    assert_eq!(read(&one, &name(100, 200), &name(30_000, 40_000)).await.unwrap(), first);
    assert_eq!(read(&one, &name(45_000, 45_000), &name(50_000, 50_000)).await.unwrap().len(), 10_000);
    assert_eq!(read(&one, &name(100, 200), &name(101, 200)).await.unwrap(), first[..1]);
    assert_eq!(read_some(&one, &name(100, 200), &name(30_000, 40_000), 2).await, first[..2 * 8192]);
    assert_eq!(read(&one, &name(100, 200), &name(30_000, 40_000)).await.unwrap(), first);
    drop(read_some(&one, &name(30_000, 40_000), &name(50_000, 40_000), 1).await);
    assert_eq!(read(&one, &name(100, 200), &name(30_000, 40_000)).await.unwrap(), first);
    let two = source(broker, &topic, &[]).await;
    assert_eq!(read(&two, &name(100, 200), &name(30_000, 40_000)).await.unwrap(), first);
    // Any cuts give the same rows.
    let mut cut = Vec::new();
    let mut at = 100;
    for next in [101, 102, 5000, 5000, 17_123, 30_000] {
        cut.extend(read(&two, &name(at, 0), &name(next, 0)).await.unwrap());
        at = next;
    }
    assert_eq!(cut, first[..29_900]);
}

async fn the_next_epoch_may_be_planned_while_one_is_read() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "beside", 1).await;
    let producer = producer(broker);
    let limits = [("starting.offsets", "earliest"), ("max.offsets.per.trigger", "5000")];
    let mut source = source(broker, &topic, &limits).await;
    produce(&producer, &topic, 0, 0..40_000);
    let mut start = source.initial_offset().await.unwrap();
    let mut all = Vec::new();
    for epoch in 0..8 {
        let end = plan_some(&mut source, &start).await;
        // A read that is half done when the next plan looks ahead in the same partition.
        assert_eq!(read_some(&source, &start, &end, 1).await.len(), 5000);
        let next = source.plan(&end, &ReadLimit::NONE).await.unwrap();
        assert_eq!(next.end == end, epoch == 7);
        all.extend(read(&source, &start, &end).await.unwrap());
        start = end;
    }
    let offsets: Vec<_> = all.iter().map(|(_, offset, _)| *offset).collect();
    assert_eq!(offsets, (0..40_000).collect::<Vec<_>>());
}

async fn new_records_are_known_at_once() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "wake", 1).await;
    let producer = producer(broker);
    let mut source = source(broker, &topic, &[]).await;
    let mut start = source.initial_offset().await.unwrap();
    assert_eq!(source.plan(&start, &ReadLimit::NONE).await.unwrap().end, start);
    let mut waits = Vec::new();
    for round in 0..20 {
        let idle = tokio::time::timeout(Duration::from_millis(30), source.ready(&start)).await;
        assert!(idle.is_err() || round == 0, "ready without anything new");
        produce(&producer, &topic, 0, round..round + 1);
        let acknowledged = Instant::now();
        let end = plan_some(&mut source, &start).await;
        waits.push(acknowledged.elapsed());
        assert_eq!(read(&source, &start, &end).await.unwrap(), [(0, round.cast_signed(), round.to_string())]);
        start = end;
    }
    waits.sort();
    println!("from acknowledged to planned: median {:?}, longest {:?}", waits[10], waits[19]);
    assert!(waits[10] < Duration::from_millis(100), "{waits:?}");
}

async fn new_partitions_are_read_from_their_start() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "grows", 1).await;
    let first = producer(broker);
    produce(&first, &topic, 0, 0..10);
    let mut source = source(broker, &topic, &[]).await;
    let mut start = source.initial_offset().await.unwrap();
    assert_eq!(source.plan(&start, &ReadLimit::NONE).await.unwrap().end, start);
    grow(broker, &topic, 3).await;
    // A producer of its own: the first one does not know the new partitions yet.
    let second = producer(broker);
    produce(&second, &topic, 2, 0..25);
    let rows = read_until(&mut source, &mut start, 10 + 25).await;
    assert_eq!(rows, (0..25).map(|it| (2, it, it.to_string())).collect::<Vec<_>>());
    assert_eq!(start, offset(&format!(r#"{{"{topic}":{{"0":10,"1":0,"2":25}}}}"#)));
}

async fn a_frozen_end_is_not_passed() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "frozen", 2).await;
    let producer = producer(broker);
    produce(&producer, &topic, 0, 0..100);
    let mut source = source(broker, &topic, &[("starting.offsets", "earliest")]).await;
    let start = source.initial_offset().await.unwrap();
    let frozen = source.freeze(&start).await.unwrap();
    assert_eq!(frozen, offset(&format!(r#"{{"{topic}":{{"0":100,"1":0}}}}"#)));
    produce(&producer, &topic, 0, 100..200);
    produce(&producer, &topic, 1, 0..50);
    let planned = source.plan(&start, &ReadLimit::NONE).await.unwrap();
    assert_eq!((&planned.end, &planned.latest), (&frozen, &frozen));
    assert_eq!(read(&source, &start, &frozen).await.unwrap().len(), 100);
    assert_eq!(source.plan(&frozen, &ReadLimit::NONE).await.unwrap().end, frozen);
}

async fn few_rows_wait_for_more_or_for_the_delay() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "few", 1).await;
    let producer = producer(broker);
    let mut source = source(broker, &topic, &[("starting.offsets", "earliest")]).await;
    let start = source.initial_offset().await.unwrap();
    produce(&producer, &topic, 0, 0..10);
    // The first epoch always runs.
    let first = plan_some(&mut source, &start).await;
    assert_eq!(read(&source, &start, &first).await.unwrap().len(), 10);
    produce(&producer, &topic, 0, 10..20);
    let limit = |min_rows, ms| ReadLimit { min_rows, max_delay: Duration::from_millis(ms), ..ReadLimit::NONE };
    source.ready(&first).await.unwrap();
    let planned = source.plan(&first, &limit(50, 60_000)).await.unwrap();
    assert_eq!((&planned.end, planned.latest.to_string()), (&first, format!(r#"{{"{topic}":{{"0":20}}}}"#)));
    assert_eq!(source.plan(&first, &limit(5, 60_000)).await.unwrap().end, planned.latest);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(source.plan(&first, &limit(50, 20)).await.unwrap().end, planned.latest);
}

/// Not a check but a number: what this machine reads, with this build.
#[tokio::test(flavor = "multi_thread")]
async fn speed_is_printed() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "speed", 4).await;
    let producer = producer(broker);
    let payload = "x".repeat(100);
    for at in 0..1_000_000 {
        let record = || rdkafka::producer::BaseRecord::<(), _>::to(&topic).partition(at % 4).payload(&payload);
        while producer.send(record()).is_err() {
            producer.poll(Duration::from_millis(5));
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    for client in ["own", "librdkafka"] {
        print_speed(broker, &topic, client).await;
    }
}

async fn print_speed(broker: &str, topic: &str, client: &str) {
    let mut source = source(broker, topic, &[("fetch.client", client)]).await;
    bind(&mut source, &["value"]).unwrap();
    let name = |each| offset(&format!(r#"{{"{topic}":{{"0":{each},"1":{each},"2":{each},"3":{each}}}}}"#));
    for round in ["first", "again, by seeking"] {
        let (begun, used) = (Instant::now(), cpu_seconds());
        let read = batches(&source, &name(0), &name(250_000)).await.unwrap();
        let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - used);
        assert_eq!(read.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>(), 1_000_000);
        println!(
            "{client}: 1,000,000 records of 100 B, {round}: {wall:.2} s, {cpu:.2} CPU-s (this process, all tests)"
        );
    }
    let end = name(250_000);
    source.plan(&end, &ReadLimit::NONE).await.unwrap();
    let used = cpu_seconds();
    let idle = tokio::time::timeout(Duration::from_secs(2), source.ready(&end)).await;
    assert!(idle.is_err(), "ready without anything new");
    println!("2 s without records: {:.2} CPU-s", cpu_seconds() - used);
    let (begun, used) = (Instant::now(), cpu_seconds());
    for _ in 0..10_000 {
        source.plan(&end, &ReadLimit::NONE).await.unwrap();
    }
    println!("10,000 plans without records: {:?}, {:.2} CPU-s", begun.elapsed(), cpu_seconds() - used);
    let closing = Instant::now();
    drop(source);
    println!("closed in {:?}", closing.elapsed());
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

#[test]
fn an_offset_without_partitions_is_an_empty_object() {
    assert_eq!(KafkaOffset::default().to_string(), "{}");
}
