//! The source as the engine holds it: with JSON offsets.

use std::sync::Arc;

use tidegate_api::{DynSource, OffsetJson, ReadLimit};
use tidegate_testkit::suite::{SourceSuite, source_suite};

use crate::broker_or_skip;
use crate::setup::{Log, try_source};
use crate::stand::{produce, producer, topic};

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_to_the_suite() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "suite", 3).await;
    let producer = producer(broker);
    for (partition, count) in [(0, 60), (1, 7), (2, 31)] {
        produce(&producer, &topic, partition, 0..count);
    }
    let make = || async {
        let settings = [("starting.offsets", "earliest"), ("include.headers", "true")];
        let source = try_source(broker, &topic, &settings, &Arc::default()).await?;
        Ok(Box::new(source) as Box<dyn DynSource>)
    };
    // Each partition with records gets one at least.
    source_suite(SourceSuite { slack_rows: 2 }, make).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_pass_through_json_and_metrics_tell_the_lag() {
    let broker = broker_or_skip!();
    let topic = topic(broker, "json", 12).await;
    let producer = producer(broker);
    for partition in 0..12 {
        produce(&producer, &topic, partition, 0..10 * (1 + partition.unsigned_abs() as u64));
    }
    let settings = [("startingOffsets", "earliest"), ("maxOffsetsPerTrigger", "78")];
    let source = try_source(broker, &topic, &settings, &Arc::new(Log::default())).await.unwrap();
    let mut source: Box<dyn DynSource> = Box::new(source);
    assert_eq!(source.describe(), format!("KafkaV2[Subscribe[{topic}]]"));
    let start = source.initial_offset().await.unwrap();
    let planned = source.plan(&start, &ReadLimit::NONE).await.unwrap();
    assert_eq!(planned.end.0[&topic]["11"], 12);
    let again = source.plan(&OffsetJson(planned.end.0.clone()), &ReadLimit::NONE).await.unwrap();
    assert_eq!(again.latest, planned.latest);
    let metrics = source.metrics();
    let got = |key: &str| metrics[&format!("{key}OffsetsBehindLatest")].clone();
    // 78 of 780 offsets lay in the first epoch, and 78 of the remaining 702 in the second.
    assert_eq!((got("min"), got("max"), got("avg")), ("8".into(), "96".into(), "52.0".into()));
}
