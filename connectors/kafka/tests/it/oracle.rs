//! Our own client and librdkafka read the same rows.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidegate_api::RecordBatch;

use crate::broker_or_skip;
use crate::setup::{batches, bind, offset, try_source};
use crate::stand::{config, create_with, stand_with, topic, transactional};

const PATIENCE: Duration = Duration::from_secs(20);
const COLUMNS: [&str; 8] = ["key", "value", "topic", "partition", "offset", "timestamp", "timestampType", "headers"];

/// Records with everything that a record can have or lack.
fn send_all_kinds(producer: &BaseProducer, topic: &str, partition: i32, seed: u32) {
    for at in 0..400_u32 {
        let text = format!("{seed} {at} {}", "ab".repeat((at % 37) as usize));
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
        record = record.timestamp(1_600_000_000_000 + i64::from(at * 7919 % 10_007));
        if at % 3 != 0 {
            record = record.key(&text.as_bytes()[..text.len().min((at % 9) as usize)]);
        }
        if at % 5 != 0 {
            record = record.payload(text.as_bytes());
        }
        if at % 7 == 0 {
            let headers = OwnedHeaders::new()
                .insert(Header { key: "trace", value: Some(&text) })
                .insert(Header { key: "trace", value: None::<&str> })
                .insert(Header { key: "ä", value: Some("") });
            record = record.headers(headers);
        }
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// What a client reads of `topic`, as one batch a partition.
async fn read_by(client: &str, broker: &str, topic: &str, ends: &[i64], more: &[(&str, &str)]) -> Vec<RecordBatch> {
    let mut settings = vec![("include.headers", "true"), ("fetch.client", client)];
    settings.extend(more);
    let mut source = try_source(broker, topic, &settings, &Arc::default()).await.unwrap();
    bind(&mut source, &COLUMNS).unwrap();
    let at = |it: &dyn Fn(i64) -> i64| {
        let each: Vec<_> = ends.iter().enumerate().map(|(number, end)| format!(r#""{number}":{}"#, it(*end))).collect();
        offset(&format!(r#"{{"{topic}":{{{}}}}}"#, each.join(",")))
    };
    // In two steps, so that the second begins inside a batch.
    let mut all = batches(&source, &at(&|_| 0), &at(&|end| end / 3)).await.unwrap();
    all.extend(batches(&source, &at(&|end| end / 3), &at(&|end| end)).await.unwrap());
    all
}

/// The rows as text: batches may be cut elsewhere.
fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let mut all = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            all.push(format!("{:?}", batch.slice(row, 1).columns()));
        }
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn both_clients_read_the_same_rows() {
    let broker = broker_or_skip!();
    let topic = format!("oracle-{}", std::process::id());
    // The records say that they are old: they would be deleted.
    create_with(broker, &topic, 2, &[("retention.ms", "-1")]).await;
    for (seed, codec) in (0..).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        let producer = config(broker).set("compression.codec", codec).set("linger.ms", "20").create().unwrap();
        for partition in 0..2 {
            send_all_kinds(&producer, &topic, partition, seed);
        }
    }
    let producer = transactional(broker, &topic);
    for seed in 10..14 {
        producer.begin_transaction().unwrap();
        send_all_kinds(&producer, &topic, 1, seed);
        if seed % 2 == 0 { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) }
            .unwrap();
    }
    let ends = [2000, 2000 + 4 * 401];
    for (level, count) in [("read_committed", 2000 + 2800), ("read_uncommitted", 2000 + 3600)] {
        let more = [("kafka.isolation.level", level)];
        let own = rows(&read_by("own", broker, &topic, &ends, &more).await);
        assert_eq!(own.len(), count, "{level}");
        assert_eq!(own, rows(&read_by("librdkafka", broker, &topic, &ends, &more).await), "{level}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_clients_read_the_time_of_appending() {
    let broker = broker_or_skip!();
    let topic = format!("appended-{}", std::process::id());
    create_with(broker, &topic, 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let producer = config(broker).create().unwrap();
    send_all_kinds(&producer, &topic, 0, 1);
    let own = rows(&read_by("own", broker, &topic, &[400], &[]).await);
    assert_eq!(own.len(), 400);
    assert_eq!(own, rows(&read_by("librdkafka", broker, &topic, &[400], &[]).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_larger_than_a_fetch_are_read() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "large", 1).await;
    let producer: BaseProducer = config(broker).create().unwrap();
    let large = vec![7_u8; 900_000];
    for _ in 0..5 {
        producer.send(BaseRecord::<[u8], [u8]>::to(&topic).partition(0).payload(&large)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let small = [
        ("kafka.max.partition.fetch.bytes", "1000"),
        ("kafka.fetch.max.bytes", "2000"),
        ("kafka.message.max.bytes", "2000"),
        ("kafka.queued.max.messages.kbytes", "1"),
    ];
    let own = rows(&read_by("own", broker, &topic, &[5], &small).await);
    assert_eq!(own.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_clients_read_around_what_was_compacted_away() {
    broker_or_skip!();
    let dir = tempfile::tempdir().unwrap();
    let broker = &stand_with("up", "0", dir.path(), "log.cleaner.backoff.ms=100").unwrap();
    let settings = [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.001")];
    create_with(broker, "compacted", 1, &settings).await;
    let keyed: BaseProducer = config(broker).set("linger.ms", "1").create().unwrap();
    for at in 0..500_u32 {
        let (key, value) = ([(at % 7) as u8], at.to_string());
        keyed.send(BaseRecord::<[u8], str>::to("compacted").partition(0).key(&key).payload(&value)).unwrap();
        if at % 50 == 0 {
            keyed.flush(PATIENCE).unwrap();
        }
    }
    keyed.flush(PATIENCE).unwrap();
    // A record in a new segment: the one before is cleaned then.
    tokio::time::sleep(Duration::from_millis(300)).await;
    keyed.send(BaseRecord::<[u8], str>::to("compacted").partition(0).key(b"last").payload("last")).unwrap();
    keyed.flush(PATIENCE).unwrap();
    let mut own = Vec::new();
    for _ in 0..100 {
        own = rows(&read_by("own", broker, "compacted", &[501], &[]).await);
        if own.len() < 100 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(own.len(), 8, "the newest of each key");
    assert_eq!(own, rows(&read_by("librdkafka", broker, "compacted", &[501], &[]).await));
    stand_with("down", "0", dir.path(), "");
}
