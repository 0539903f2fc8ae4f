//! A broker that goes away and comes back.

use std::time::{Duration, Instant};

use tidegate_api::{ErrorKind, ReadLimit, Source};

use crate::setup::{offset, read, read_until, source};
use crate::stand::{produce, producer, stand, topic};
use crate::{both_clients, broker_or_skip};

both_clients!(a_broker_that_comes_back_is_read_on, records_that_do_not_come_are_waited_for_in_vain_for_a_while,);

async fn a_broker_that_comes_back_is_read_on() {
    broker_or_skip!();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let broker = stand("up", "0", dir).unwrap();
    let topic = topic(&broker, "away", 2).await;
    produce(&producer(&broker), &topic, 0, 0..10);
    let mut source = source(&broker, &topic, &[("starting.offsets", "earliest")]).await;
    let mut start = source.initial_offset().await.unwrap();
    assert_eq!(read_until(&mut source, &mut start, 10).await.len(), 10);
    stand("down", "0", dir);
    // Planning asks nobody, so it goes on and says that there is nothing new.
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(source.plan(&start, &ReadLimit::NONE).await.unwrap().end, start);
        assert!(begun.elapsed() < Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let port = broker.rsplit(':').next().unwrap();
    assert_eq!(stand("up", port, dir).unwrap(), broker);
    let producer = producer(&broker);
    produce(&producer, &topic, 0, 10..20);
    produce(&producer, &topic, 1, 0..5);
    let rows = read_until(&mut source, &mut start, 25).await;
    assert_eq!(rows.len(), 15);
    assert_eq!(read(&source, &offset(&format!(r#"{{"{topic}":{{"0":0,"1":5}}}}"#)), &start).await.unwrap().len(), 20);
    stand("down", "0", dir);
}

async fn records_that_do_not_come_are_waited_for_in_vain_for_a_while() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "vain", 1).await;
    produce(&producer(broker), &topic, 0, 0..10);
    let source = source(broker, &topic, &[("kafkaConsumer.pollTimeoutMs", "1500")]).await;
    let at = |it: i64| offset(&format!(r#"{{"{topic}":{{"0":{it}}}}}"#));
    let begun = Instant::now();
    let error = read(&source, &at(0), &at(11)).await.unwrap_err();
    assert!(begun.elapsed() > Duration::from_millis(1400) && begun.elapsed() < Duration::from_secs(5));
    assert_eq!(error.kind(), ErrorKind::Transient);
    let text = error.to_string();
    assert!(text.contains(&format!("{topic} [0] up to offset 11: nothing came for 1500 ms")), "{text}");
    produce(&producer(broker), &topic, 0, 10..11);
    assert_eq!(read(&source, &at(0), &at(11)).await.unwrap().len(), 11);
}
