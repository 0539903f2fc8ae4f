//! Bulk reading from librdkafka's own mock cluster: no server is needed.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer, DefaultConsumerContext};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidegate_kafka_ffi::{BulkConsumer, Column, Limits, PartitionQueue, Polled, Rows, Wake};

const LIMITS: Limits = Limits { rows: 1000, bytes: 1 << 20 };

struct Mock {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl Mock {
    fn new(topic: &str, partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(topic, partitions, 1).unwrap();
        let servers = cluster.bootstrap_servers();
        let producer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
        Self { cluster, producer }
    }

    fn produce(&self, topic: &str, partition: i32, values: std::ops::Range<u32>) {
        for value in values {
            let text = value.to_string();
            let record = BaseRecord::<(), _>::to(topic).partition(partition).payload(&text);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.producer.flush(Duration::from_secs(20)).unwrap();
    }

    fn consumer(&self) -> BulkConsumer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "g")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error");
        BulkConsumer::new(&config, DefaultConsumerContext).unwrap()
    }
}

fn no_wake() -> Wake {
    Arc::new(|| {})
}

/// Takes until the end of the partition is told at `end`.
fn take_to_end(queue: &mut PartitionQueue, rows: &mut Rows, end: i64) {
    let begun = Instant::now();
    let mut told = None;
    while told != Some(end) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{told:?} after 20 s, waiting for {end}");
        queue.consume(512, Duration::from_millis(50), |polled| match polled {
            Polled::Record(record) => rows.push(&record).unwrap(),
            Polled::EndOfPartition(at) => told = Some(at),
            Polled::Failed { code, text, .. } => panic!("{code}: {text}"),
        });
    }
}

fn values(batch: &RecordBatch) -> Vec<u32> {
    let column = batch.column_by_name("value").unwrap().as_binary::<i32>();
    column.iter().map(|it| std::str::from_utf8(it.unwrap()).unwrap().parse().unwrap()).collect()
}

/// All rows below `end`.
fn drain(rows: &mut Rows, end: i64) -> Vec<u32> {
    let mut all = Vec::new();
    while let Some((batch, next)) = rows.take_below(end, true).unwrap() {
        let offsets = batch.column_by_name("offset").unwrap().as_primitive::<Int64Type>();
        assert_eq!(offsets.value(batch.num_rows() - 1) + 1, next);
        all.extend(values(&batch));
    }
    all
}

#[test]
fn records_come_once_in_order_and_are_cut_where_asked() {
    let mock = Mock::new("t", 2);
    mock.produce("t", 0, 0..5000);
    mock.produce("t", 1, 7000..7100);
    let consumer = mock.consumer();
    let columns = [Column::Offset, Column::Value];
    let mut queues = [consumer.open("t", 0, 0, no_wake()).unwrap(), consumer.open("t", 1, 50, no_wake()).unwrap()];
    let mut rows = [Rows::new(&columns, "t", 0, LIMITS), Rows::new(&columns, "t", 1, LIMITS)];
    take_to_end(&mut queues[0], &mut rows[0], 5000);
    take_to_end(&mut queues[1], &mut rows[1], 100);
    assert_eq!((rows[0].len(), rows[1].len()), (5000, 50));
    let (full, next) = rows[0].take_below(i64::MAX, false).unwrap().unwrap();
    assert_eq!((full.num_rows(), next), (1000, 1000));
    assert!(rows[0].take_below(1000, true).unwrap().is_none());
    assert_eq!(drain(&mut rows[0], 1001), [1000]);
    assert_eq!(drain(&mut rows[0], 2500), (1001..2500).collect::<Vec<_>>());
    assert_eq!(rows[0].len(), 2500);
    assert_eq!(drain(&mut rows[0], i64::MAX), (2500..5000).collect::<Vec<_>>());
    assert_eq!(drain(&mut rows[1], i64::MAX), (7050..7100).collect::<Vec<_>>());
    assert!(rows[0].is_empty() && rows[0].bytes() == 0);
    assert_eq!(queues[0].position(), Some(5001), "one too high at an end, as documented");
    assert_eq!(consumer.cached_watermarks("t", 0), Some((0, 5000)));
    // Nothing came by the consumer's own queue.
    assert!(consumer.client().poll(Duration::from_millis(50)).is_none());
}

#[test]
fn the_queue_survives_seeks_and_new_partitions() {
    let mock = Mock::new("t", 2);
    mock.produce("t", 0, 0..300);
    mock.produce("t", 1, 0..10);
    let consumer = mock.consumer();
    let columns = [Column::Offset, Column::Value];
    let mut queue = consumer.open("t", 0, 0, no_wake()).unwrap();
    let mut rows = Rows::new(&columns, "t", 0, LIMITS);
    take_to_end(&mut queue, &mut rows, 300);
    for round in 0..5 {
        let mut place = TopicPartitionList::new();
        place.add_partition_offset("t", 0, Offset::Offset(100 + round)).unwrap();
        let done = consumer.client().seek_partitions(place, Duration::from_secs(10)).unwrap();
        done.elements()[0].error().unwrap();
        rows.clear();
        take_to_end(&mut queue, &mut rows, 300);
        assert_eq!(rows.len(), 200 - usize::try_from(round).unwrap());
    }
    let mut second = consumer.open("t", 1, 0, no_wake()).unwrap();
    let mut others = Rows::new(&columns, "t", 1, LIMITS);
    take_to_end(&mut second, &mut others, 10);
    mock.produce("t", 0, 300..310);
    take_to_end(&mut queue, &mut rows, 310);
    assert_eq!(drain(&mut rows, i64::MAX), (104..310).collect::<Vec<_>>());
}

#[test]
fn a_queue_that_was_empty_wakes_and_outlives_its_consumer() {
    let mock = Mock::new("t", 1);
    let consumer = mock.consumer();
    let woken = Arc::new(AtomicUsize::new(0));
    let count = woken.clone();
    let wake: Wake = Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let mut queue = consumer.open("t", 0, 0, wake).unwrap();
    let mut rows = Rows::new(&[Column::Offset, Column::Value], "t", 0, LIMITS);
    take_to_end(&mut queue, &mut rows, 0);
    let before = woken.load(Ordering::SeqCst);
    drop(consumer);
    mock.produce("t", 0, 0..10);
    let begun = Instant::now();
    while woken.load(Ordering::SeqCst) == before {
        assert!(begun.elapsed() < Duration::from_secs(10), "not woken");
        std::thread::sleep(Duration::from_millis(1));
    }
    take_to_end(&mut queue, &mut rows, 10);
    assert_eq!(drain(&mut rows, i64::MAX), (0..10).collect::<Vec<_>>());
    drop(queue);
    assert_eq!(Arc::strong_count(&woken), 1, "the callback is freed");
}

#[test]
fn an_offset_out_of_range_is_told() {
    let mock = Mock::new("t", 1);
    mock.produce("t", 0, 0..3);
    let mut queue = mock.consumer().open("t", 0, 50, no_wake()).unwrap();
    let mut failure = None;
    let begun = Instant::now();
    while failure.is_none() && begun.elapsed() < Duration::from_secs(20) {
        queue.consume(10, Duration::from_millis(50), |polled| {
            if let Polled::Failed { offset, code, text } = polled {
                failure = Some((offset, format!("{code:?} {text}")));
            }
        });
    }
    let (offset, text) = failure.expect("no failure within 20 s");
    assert_eq!(offset, 50);
    assert!(text.contains("AutoOffsetReset") && text.contains("out of range"), "{text}");
}

#[test]
fn a_panic_while_taking_loses_no_memory_of_the_client() {
    let mock = Mock::new("t", 1);
    mock.produce("t", 0, 0..100);
    let mut queue = mock.consumer().open("t", 0, 0, no_wake()).unwrap();
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        loop {
            queue.consume(10, Duration::from_secs(5), |_| panic!("planted"));
        }
    }));
    assert!(broken.is_err());
    // Closing a client waits for all its messages: had some been kept, this would hang.
    drop(queue);
}

#[test]
fn rows_are_cut_by_bytes_and_hold_all_columns() {
    let mock = Mock::new("t", 1);
    let big = "x".repeat(400_000);
    for _ in 0..5 {
        mock.producer.send(BaseRecord::<str, _>::to("t").partition(0).key("k").payload(&big).timestamp(5)).unwrap();
    }
    mock.producer.send(BaseRecord::<(), ()>::to("t").partition(0).timestamp(6)).unwrap();
    mock.producer.flush(Duration::from_secs(20)).unwrap();
    let mut queue = mock.consumer().open("t", 0, 0, no_wake()).unwrap();
    let mut rows = Rows::new(&Column::ALL, "t", 0, LIMITS);
    take_to_end(&mut queue, &mut rows, 6);
    let mut sizes = Vec::new();
    let mut last = None;
    while let Some((batch, _)) = rows.take_below(i64::MAX, true).unwrap() {
        sizes.push(batch.num_rows());
        last = Some(batch);
    }
    assert_eq!(sizes, [2, 2, 2]);
    let last = last.unwrap();
    assert_eq!((last.column(0).null_count(), last.column(1).null_count(), last.column(7).null_count()), (1, 1, 2));
    assert_eq!(last.column(5).as_primitive::<TimestampMicrosecondType>().values(), &[5000, 6000]);
}
