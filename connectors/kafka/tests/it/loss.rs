//! Records that are gone: found, and told or passed over as the setting says.

use std::time::Duration;

use tidegate_api::{Error, ErrorKind, ReadLimit, Source};
use tidegate_kafka::{KafkaOffset, KafkaSource};

use crate::setup::{offset, plan_some, read, read_until, source};
use crate::stand::{create, delete_before, delete_topic, produce, producer, topic};
use crate::{both_clients, broker_or_skip};

both_clients!(
    deleted_records_are_a_loss,
    a_start_beyond_the_end_is_a_loss,
    a_deleted_topic_is_a_loss,
    a_recreated_topic_is_read_on_if_losses_are_allowed,
);

/// Plans until that fails, at most 20 seconds.
async fn plan_error(source: &mut KafkaSource, start: &KafkaOffset) -> Error {
    for _ in 0..200 {
        if let Err(error) = source.plan(start, &ReadLimit::NONE).await {
            return error;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no error within 20 s");
}

fn assert_loss(error: &Error, part: &str) {
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let text = error.to_string();
    assert!(text.contains(part) && text.contains("fail.on.data.loss"), "{text}");
}

async fn deleted_records_are_a_loss() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "deleted", 1).await;
    produce(&producer(broker), &topic, 0, 0..100);
    let at = |it: i64| offset(&format!(r#"{{"{topic}":{{"0":{it}}}}}"#));
    delete_before(broker, &topic, 0, 50).await;
    // At planning, and where a pending epoch is read without a plan.
    let mut planning = source(broker, &topic, &[]).await;
    assert_loss(&plan_error(&mut planning, &at(10)).await, "begins at offset 50 now, the query is at 10");
    let reading = source(broker, &topic, &[]).await;
    assert_loss(&read(&reading, &at(10), &at(60)).await.unwrap_err(), "lost records after offset 10");
    // Those that are there can be read.
    assert_eq!(read(&planning, &at(50), &at(60)).await.unwrap().len(), 10);
    let mut lenient = source(broker, &topic, &[("fail.on.data.loss", "false")]).await;
    let end = plan_some(&mut lenient, &at(10)).await;
    assert_eq!(end, at(100));
    let rows = read(&lenient, &at(10), &end).await.unwrap();
    assert_eq!(rows.iter().map(|it| it.1).collect::<Vec<_>>(), (50..100).collect::<Vec<_>>());
    assert_eq!(read(&lenient, &at(10), &at(40)).await.unwrap(), []);
}

async fn a_start_beyond_the_end_is_a_loss() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "beyond", 1).await;
    let producer = producer(broker);
    produce(&producer, &topic, 0, 0..5);
    let at = |it: i64| offset(&format!(r#"{{"{topic}":{{"0":{it}}}}}"#));
    let mut strict = source(broker, &topic, &[]).await;
    assert_loss(&plan_error(&mut strict, &at(10)).await, "ends at offset 5 now, the query is at 10");
    let mut lenient = source(broker, &topic, &[("fail.on.data.loss", "false")]).await;
    // The query goes on where the topic stands now.
    let mut start = plan_some(&mut lenient, &at(10)).await;
    assert_eq!(read(&lenient, &at(10), &start).await.unwrap(), []);
    assert!(start.get(&start.iter().next().unwrap().0).unwrap() <= 5, "{start}");
    produce(&producer, &topic, 0, 5..8);
    let rows = read_until(&mut lenient, &mut start, 8).await;
    assert_eq!(rows.iter().map(|it| it.1).filter(|it| *it >= 5).collect::<Vec<_>>(), [5, 6, 7]);
}

async fn a_deleted_topic_is_a_loss() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "vanishes", 1).await;
    produce(&producer(broker), &topic, 0, 0..5);
    let mut strict = source(broker, &topic, &[("starting.offsets", "earliest")]).await;
    let mut start = strict.initial_offset().await.unwrap();
    assert_eq!(read_until(&mut strict, &mut start, 5).await.len(), 5);
    delete_topic(broker, &topic).await;
    assert_loss(&plan_error(&mut strict, &start).await, &topic);
}

async fn a_recreated_topic_is_read_on_if_losses_are_allowed() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "again", 1).await;
    produce(&producer(broker), &topic, 0, 0..100);
    let settings = [("starting.offsets", "earliest"), ("fail.on.data.loss", "false")];
    let mut lenient = source(broker, &topic, &settings).await;
    let mut start = lenient.initial_offset().await.unwrap();
    assert_eq!(read_until(&mut lenient, &mut start, 100).await.len(), 100);
    delete_topic(broker, &topic).await;
    for _ in 0..50 {
        if create(broker, &topic, 1).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    produce(&producer(broker), &topic, 0, 1000..1010);
    // The offsets go back, and from there on nothing is lost. Some records of the new topic may be, as in Spark.
    let mut seen = Vec::new();
    for round in 0..200 {
        let end = lenient.plan(&start, &ReadLimit::NONE).await.unwrap().end;
        seen.extend(read(&lenient, &start, &end).await.unwrap());
        start = end;
        produce(&producer(broker), &topic, 0, 2000 + round..2001 + round);
        if seen.len() >= 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let values: Vec<u64> = seen.iter().map(|it| it.2.parse().unwrap()).collect();
    assert!(values.len() >= 20, "{start}: {values:?}");
    assert!(values.iter().all(|it| *it >= 1000) && values.is_sorted(), "{values:?}");
    let new: Vec<_> = values.iter().filter(|it| **it >= 2000).collect();
    assert!(new.windows(2).all(|it| *it[1] == *it[0] + 1), "{values:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_deleted_ahead_of_our_own_client_are_a_loss() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "ahead", 1).await;
    let producer = producer(broker);
    // A batch each, so that fetches can be small.
    for value in 0..100 {
        produce(&producer, &topic, 0, value..value + 1);
    }
    let at = |it: i64| offset(&format!(r#"{{"{topic}":{{"0":{it}}}}}"#));
    let small = [
        ("fetch.client", "own"),
        ("kafka.queued.max.messages.kbytes", "1"),
        ("kafka.message.max.bytes", "1000"),
        ("kafka.max.partition.fetch.bytes", "500"),
        ("kafka.fetch.max.bytes", "1000"),
    ];
    let strict = source(broker, &topic, &small).await;
    let lenient = source(broker, &topic, &[&small[..], &[("fail.on.data.loss", "false")]].concat()).await;
    assert_eq!(read(&strict, &at(0), &at(5)).await.unwrap().len(), 5);
    assert_eq!(read(&lenient, &at(0), &at(5)).await.unwrap().len(), 5);
    delete_before(broker, &topic, 0, 80).await;
    assert_loss(&read(&strict, &at(5), &at(100)).await.unwrap_err(), "lost records after offset");
    let rows = read(&lenient, &at(5), &at(100)).await.unwrap();
    let offsets: Vec<_> = rows.iter().map(|it| it.1).collect();
    assert!(offsets.is_sorted() && offsets.ends_with(&(80..100).collect::<Vec<_>>()), "{offsets:?}");
    assert!(offsets.len() < 80, "{offsets:?}");
}
