//! Partitions whose leaders move, in librdkafka's own mock cluster of three brokers.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tidegate_api::Source;

use crate::both_clients;
use crate::setup::{read_until, source};
use crate::stand::{produce, producer};

both_clients!(a_leader_that_moves_is_followed, errors_that_pass_are_survived);

fn mock(topic: &str) -> MockCluster<'static, DefaultProducerContext> {
    let mock = MockCluster::new(3).unwrap();
    mock.create_topic(topic, 2, 3).unwrap();
    for partition in 0..2 {
        mock.partition_leader(topic, partition, Some(1)).unwrap();
    }
    mock
}

async fn a_leader_that_moves_is_followed() {
    let mock = mock("moves");
    let broker = mock.bootstrap_servers();
    let mut source = source(&broker, "moves", &[("starting.offsets", "earliest")]).await;
    let mut start = source.initial_offset().await.unwrap();
    let (mut sent, mut seen) = (0, Vec::new());
    // To another broker; to a third one as the second goes away; back again, with the second still away.
    for (leader, away) in [(1, None), (2, None), (3, Some(2)), (1, None)] {
        mock.partition_leader("moves", 0, Some(leader)).unwrap();
        if let Some(away) = away {
            mock.broker_down(away).unwrap();
        }
        produce(&producer(&broker), "moves", 0, sent..sent + 100);
        produce(&producer(&broker), "moves", 1, sent..sent + 100);
        sent += 100;
        seen.extend(read_until(&mut source, &mut start, 2 * sent.cast_signed()).await);
    }
    for partition in 0..2 {
        let of = seen.iter().filter(|it| it.0 == partition).map(|it| it.1);
        assert_eq!(of.collect::<Vec<_>>(), (0..400).collect::<Vec<_>>(), "partition {partition}");
    }
}

async fn errors_that_pass_are_survived() {
    use RDKafkaRespErr::*;
    let mock = mock("errors");
    let broker = mock.bootstrap_servers();
    produce(&producer(&broker), "errors", 0, 0..100);
    let errors = [
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
    ];
    mock.request_errors(RDKafkaApiKey::Fetch, &errors);
    let mut source = source(&broker, "errors", &[("starting.offsets", "earliest")]).await;
    let mut start = source.initial_offset().await.unwrap();
    assert_eq!(read_until(&mut source, &mut start, 100).await.len(), 100);
}
