//! Against an encoder that is not ours, in all versions, and against broken bytes.

use bytes::BytesMut;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{FetchResponse, ProducerId};
use kafka_protocol::protocol::Decodable;
use proptest::prelude::*;

use super::*;

fn encoded(answers: &[Answer], version: i16) -> Vec<u8> {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    for answer in answers {
        let aborted = answer.aborted.iter().map(|it| {
            let one = AbortedTransaction::default().with_producer_id(ProducerId(it.producer));
            one.with_first_offset(it.first_offset)
        });
        let mut data = PartitionData::default()
            .with_partition_index(answer.partition)
            .with_error_code(answer.error)
            .with_high_watermark(answer.high_watermark)
            .with_last_stable_offset(answer.stable_offset)
            .with_aborted_transactions(Some(aborted.collect()))
            .with_records(Some(answer.records.clone().into()));
        if let Some(end) = answer.diverging {
            data = data.with_diverging_epoch(EpochEndOffset::default().with_epoch(2).with_end_offset(end));
        }
        match topics.last_mut().filter(|it| it.topic.as_str() == answer.topic) {
            Some(topic) => topic.partitions.push(data),
            None => {
                let name = TopicName(StrBytes::from_string(answer.topic.clone()));
                topics.push(FetchableTopicResponse::default().with_topic(name).with_partitions(vec![data]));
            }
        }
    }
    let mut bytes = BytesMut::new();
    if version >= FLEXIBLE {
        bytes.put_u8(0); // no tagged fields in the header
    }
    FetchResponse::default().with_responses(topics).encode(&mut bytes, version).unwrap();
    bytes.to_vec()
}

fn decoded(mut bytes: &[u8], version: i16) -> io::Result<Vec<Answer>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut all = Vec::new();
    let left = bytes.len();
    runtime.block_on(read_answer(&mut bytes, left, version, |it| all.push(it)))?;
    Ok(all)
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let aborted = prop::collection::vec((any::<i64>(), any::<i64>()), 0..4);
    let records = prop::collection::vec(any::<u8>(), 0..300);
    let one = (0..3_u8, any::<i32>(), any::<i16>(), any::<(i64, i64)>(), aborted, records, any::<Option<i64>>());
    let answer =
        |(topic, partition, error, marks, aborted, records, diverging): (u8, _, _, (i64, i64), Vec<_>, _, _)| {
            let aborted = aborted.into_iter().map(|(producer, first_offset)| Aborted { producer, first_offset });
            Answer {
                topic: format!("topic-{topic}"),
                partition,
                error,
                high_watermark: marks.0,
                stable_offset: marks.1,
                aborted: aborted.collect(),
                records,
                diverging,
            }
        };
    prop::collection::vec(one.prop_map(answer), 0..6)
}

proptest! {
    #[test]
    fn answers_are_read_in_all_versions(mut answers in answers(), version in FETCH_VERSIONS) {
        if version < FLEXIBLE {
            answers.iter_mut().for_each(|it| it.diverging = None);
        }
        let bytes = encoded(&answers, version);
        prop_assert_eq!(decoded(&bytes, version).unwrap(), answers);
    }

    #[test]
    fn broken_answers_are_errors(
        answers in answers(), version in FETCH_VERSIONS, at in any::<prop::sample::Index>(), change in any::<u8>(),
    ) {
        let answers: Vec<_> = answers.into_iter().map(|it| Answer { diverging: None, ..it }).collect();
        let mut bytes = encoded(&answers, version);
        let at = at.index(bytes.len());
        prop_assert!(decoded(&bytes[..at], version).is_err());
        bytes[at] = change;
        let _ = decoded(&bytes, version);
    }
}

#[test]
fn a_number_of_entries_that_cannot_be_there_is_an_error() {
    let mut bytes = encoded(&[], 4);
    bytes[4..8].copy_from_slice(&i32::MAX.to_be_bytes());
    assert_eq!(decoded(&bytes, 4).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_refused_fetch_is_an_error_with_its_name() {
    let mut bytes = encoded(&[], 12);
    bytes[5..7].copy_from_slice(&58_i16.to_be_bytes());
    assert_eq!(decoded(&bytes, 12).unwrap_err().to_string(), "the fetch is refused: SaslAuthenticationFailed");
}

#[test]
fn a_request_is_what_was_asked() {
    for version in FETCH_VERSIONS {
        let place = |topic, partition| Place { topic, partition, offset: 40 + i64::from(partition), epoch: -1 };
        let question = Question {
            places: vec![place("a", 0), place("a", 1), place("b", 0)],
            wait_ms: 100,
            min_bytes: 1,
            max_bytes: 1000,
            partition_bytes: 100,
            read_committed: true,
        };
        let bytes = request(ApiKey::Fetch, version, 7, "me", &fetch(&question)).unwrap();
        assert_eq!(bytes.len(), 4 + usize::try_from(i32::from_be_bytes(*bytes.first_chunk().unwrap())).unwrap());
        let mut rest = bytes.freeze().split_off(4);
        let header = RequestHeader::decode(&mut rest, FetchRequest::header_version(version)).unwrap();
        assert_eq!((header.request_api_key, header.request_api_version, header.correlation_id), (1, version, 7));
        let read = FetchRequest::decode(&mut rest, version).unwrap();
        assert_eq!((read.max_wait_ms, read.isolation_level, read.topics.len()), (100, 1, 2));
        assert_eq!(read.topics[0].partitions[1].fetch_offset, 41);
        assert!(rest.is_empty());
    }
}
