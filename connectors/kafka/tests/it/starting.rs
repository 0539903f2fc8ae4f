//! Where a query starts, and what is said when it can't.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_api::{ErrorKind, ReadLimit, Source};

use crate::broker_or_skip;
use crate::setup::{Log, offset, try_source};
use crate::stand::{delete_before, produce, producer, topic};

#[tokio::test(flavor = "multi_thread")]
async fn starting_offsets_count_once() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "starts", 3).await;
    let producer = producer(broker);
    for partition in 0..3 {
        produce(&producer, &topic, partition, 0..100);
    }
    delete_before(broker, &topic, 1, 40).await;
    let json = |a: i64, b: i64, c: i64| format!(r#"{{"{topic}":{{"0":{a},"1":{b},"2":{c}}}}}"#);
    let own = json(23, -2, -1);
    for (setting, expected) in
        [("earliest", json(0, 40, 0)), ("latest", json(100, 100, 100)), (&own, json(23, 40, 100))]
    {
        let log = Arc::new(Log::default());
        let mut source = try_source(broker, &topic, &[("starting.offsets", setting)], &log).await.unwrap();
        assert_eq!(source.initial_offset().await.unwrap(), offset(&expected), "{setting}");
        let bytes = log.0.lock().unwrap()["0"].clone();
        assert_eq!(bytes, [b"\0v1\n", expected.as_bytes()].concat(), "Spark's file");
        // Started again before the first epoch was committed, with another setting.
        let other = if setting == "earliest" { "latest" } else { "earliest" };
        let mut again = try_source(broker, &topic, &[("starting.offsets", other)], &log).await.unwrap();
        assert_eq!(again.initial_offset().await.unwrap(), offset(&expected), "{setting}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_by_partition_must_fit_the_topic() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "fits", 2).await;
    produce(&producer(broker), &topic, 0, 0..10);
    for (map, part) in [
        (r#"{"0":1}"#, "but the topics have"),
        (r#"{"0":1,"1":0,"2":0}"#, "but the topics have"),
        (r#"{"0":11,"1":0}"#, "no offset 11, only 0 to 10"),
    ] {
        let json = format!(r#"{{"{topic}":{map}}}"#);
        let settings = [("starting.offsets", json.as_str())];
        let mut source = try_source(broker, &topic, &settings, &Arc::default()).await.unwrap();
        let error = source.initial_offset().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_named() {
    let broker = broker_or_skip!();
    let there = topic(broker, "there", 1).await;
    let error = try_source(broker, &format!("{there},nowhere"), &[], &Arc::default()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.to_string(), format!("topic 'nowhere' does not exist on kafka at {broker}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_broker_is_named_in_bounded_time_and_no_password() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let broker = format!("127.0.0.1:{port}");
    let settings = [
        ("kafka.socket.timeout.ms", "2000"),
        ("kafka.security.protocol", "SASL_PLAINTEXT"),
        ("kafka.sasl.mechanism", "PLAIN"),
        ("kafka.sasl.username", "me"),
        ("kafka.sasl.password", "hush-hush"),
    ];
    let begun = Instant::now();
    let error = try_source(&broker, "t", &settings, &Arc::default()).await.err().unwrap();
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1500) && took < Duration::from_secs(8), "{took:?}");
    assert_eq!(error.kind(), ErrorKind::Transient);
    let text = error.to_string();
    assert!(text.contains(&broker) && text.contains("'t'") && text.contains("refused"), "{text}");
    assert!(!text.contains("hush"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_never_planned_reads_and_closes() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "closes", 1).await;
    produce(&producer(broker), &topic, 0, 0..10);
    let mut source = try_source(broker, &topic, &[], &Arc::default()).await.unwrap();
    let end = offset(&format!(r#"{{"{topic}":{{"0":10}}}}"#));
    let start = offset(&format!(r#"{{"{topic}":{{"0":4}}}}"#));
    let rows: usize = crate::setup::batches(&source, &start, &end).await.unwrap().iter().map(|it| it.num_rows()).sum();
    assert_eq!(rows, 6);
    assert_eq!(source.plan(&end, &ReadLimit::NONE).await.unwrap().end, end);
    let begun = Instant::now();
    drop(source);
    assert!(begun.elapsed() < Duration::from_secs(2));
}
