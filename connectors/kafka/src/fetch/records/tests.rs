//! Against an encoder that is not ours, and against broken bytes.

use std::io::Write;

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression as Packing, Record as Written, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use proptest::prelude::*;
use tidegate_kafka_ffi::RecordView;

use super::*;

const LIMIT: usize = 1 << 20;
/// No compression, each of Kafka's, and Snappy as librdkafka packs it, in one block.
const PACKINGS: [(u8, Packing); 6] = [
    (0, Packing::None),
    (1, Packing::Gzip),
    (2, Packing::Snappy),
    (3, Packing::Lz4),
    (4, Packing::Zstd),
    (5, Packing::Snappy),
];

/// What a record shows.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    offset: i64,
    time: (i64, i32),
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn written(offset: i64) -> Written {
    Written {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 3,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: offset as i32,
        timestamp: 1_700_000_000_000 + offset,
        key: None,
        value: Some(Bytes::from(offset.to_string())),
        headers: IndexMap::new(),
    }
}

fn batch(records: &[Written], kind: u8) -> Vec<u8> {
    let (_, compression) = PACKINGS[usize::from(kind)];
    let options = RecordEncodeOptions { version: 2, compression };
    let mut bytes = BytesMut::new();
    // The encoder's own lz4 wants a C library of its own, and its Snappy is framed.
    let own = |plain: &mut BytesMut, out: &mut BytesMut, _| {
        if kind == 3 {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).unwrap();
            out.extend_from_slice(&encoder.finish().unwrap());
        } else {
            out.extend_from_slice(&snap::raw::Encoder::new().compress_vec(plain).unwrap());
        }
        Ok(())
    };
    let own = (kind == 3 || kind == 5).then_some(own);
    RecordBatchEncoder::encode_with_custom_compression(&mut bytes, records, &options, own).unwrap();
    bytes.to_vec()
}

fn shown(it: &Written) -> Shown {
    let headers = it.headers.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_ref().map(|it| it.to_vec())));
    Shown {
        offset: it.offset,
        time: (it.timestamp, 0),
        key: it.key.as_ref().map(|it| it.to_vec()),
        value: it.value.as_ref().map(|it| it.to_vec()),
        headers: headers.collect(),
    }
}

fn view<'a>(record: &impl RecordView<'a>) -> Shown {
    let owned = |it: Option<&[u8]>| it.map(<[u8]>::to_vec);
    Shown {
        offset: record.offset(),
        time: record.timestamp(),
        key: owned(record.key()),
        value: owned(record.value()),
        headers: record.headers().map(|it| (it.key.to_vec(), owned(it.value))).collect(),
    }
}

/// All records of a set, `step` at a time, and the position behind them.
fn read(set: RecordSet, step: usize) -> (Vec<Shown>, i64, Result<(), Bad>) {
    let mut position = set.from;
    let mut records = Records::new(set, Vec::new(), LIMIT);
    let mut all = Vec::new();
    loop {
        let before = all.len();
        match records.read(step, &mut position, |it| all.push(view(&it))) {
            Ok((count, progress)) => {
                assert_eq!(all.len() - before, count);
                assert!(count <= step);
                if progress == Progress::Empty {
                    return (all, position, Ok(()));
                }
            }
            Err(bad) => return (all, position, Err(bad)),
        }
    }
}

fn set(from: i64, bytes: Vec<u8>) -> RecordSet {
    RecordSet { from, bytes, aborted: Vec::new() }
}

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..200))
}

/// Records of one batch whose offsets have gaps, behind the offset zero.
fn records() -> impl Strategy<Value = Vec<Written>> {
    let headers = prop::collection::vec(("[a-z]{1,9}", bytes()), 0..4);
    let one = (1..5_i64, bytes(), bytes(), headers, -5000..5000_i64);
    prop::collection::vec(one, 1..40).prop_map(|all| {
        let mut offset = 0;
        let record = |(gap, key, value, headers, time): (_, Option<Vec<u8>>, Option<Vec<u8>>, Vec<_>, i64)| {
            offset += gap;
            let headers = headers
                .into_iter()
                .map(|(key, value): (String, Option<Vec<u8>>)| (StrBytes::from_string(key), value.map(Bytes::from)));
            Written {
                key: key.map(Bytes::from),
                value: value.map(Bytes::from),
                timestamp: 1_700_000_000_000 + time,
                headers: headers.collect(),
                ..written(offset)
            }
        };
        all.into_iter().map(record).collect()
    })
}

/// A few batches with what they hold.
fn batches() -> impl Strategy<Value = (Vec<Written>, Vec<u8>)> {
    prop::collection::vec((records(), 0..6_u8), 1..4).prop_map(|batches| {
        let (mut all, mut bytes) = (Vec::new(), Vec::new());
        for (mut records, kind) in batches {
            let base = all.last().map_or(0, |it: &Written| it.offset);
            for record in &mut records {
                record.offset += base;
                record.sequence = record.offset as i32;
            }
            bytes.extend(batch(&records, kind));
            all.extend(records);
        }
        (all, bytes)
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read((all, bytes) in batches(), skip in 0..60_i64, step in 1..50_usize) {
        let last = all.last().unwrap().offset;
        let from = skip.min(last);
        prop_assert_eq!(end_of(&bytes).unwrap(), Some((last + 1, 3)));
        let (read, position, done) = read(set(from, bytes), step);
        prop_assert_eq!(done, Ok(()));
        prop_assert_eq!(position, last + 1);
        let expected: Vec<_> = all.iter().filter(|it| it.offset >= from).map(shown).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn a_cut_answer_gives_whole_batches((all, bytes) in batches(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(bytes.len());
        let end = end_of(&bytes[..cut]).unwrap();
        let (read, position, done) = read(set(0, bytes[..cut].to_vec()), 100);
        prop_assert_eq!(done, Ok(()));
        prop_assert_eq!(position, end.map_or(0, |it| it.0));
        let expected: Vec<_> = all.iter().filter(|it| it.offset < position).map(shown).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn changed_bytes_never_give_other_rows(
        (all, mut bytes) in batches(), at in any::<prop::sample::Index>(), change in 1..=255_u8,
    ) {
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        let (read, _, _) = read(set(0, bytes), 7);
        // The base offset lies outside of the checksum, since brokers set it: only the rest can be compared then.
        for (read, expected) in read.into_iter().zip(all.iter().map(shown)) {
            prop_assert_eq!(Shown { offset: expected.offset, ..read }, expected);
        }
    }

    #[test]
    fn noise_is_never_read(noise in prop::collection::vec(any::<u8>(), 0..400), (_, bytes) in batches()) {
        let _ = end_of(&noise);
        let (rows, ..) = read(set(0, noise.clone()), 3);
        prop_assert_eq!(rows, []);
        // Behind a good header with a good checksum: the lengths inside lie.
        let mut forged = bytes[..61].to_vec();
        forged.extend(&noise);
        let size = i32::try_from(forged.len() - 12).unwrap();
        forged[8..12].copy_from_slice(&size.to_be_bytes());
        let sum = crc32c::crc32c(&forged[21..]);
        forged[17..21].copy_from_slice(&sum.to_be_bytes());
        let (_, position, _) = read(set(0, forged), 3);
        prop_assert!(position >= 0);
    }
}

/// Records of a producer from `first` on, in a transaction.
fn transaction(producer_id: i64, first: i64, count: i64) -> Vec<u8> {
    let one = |offset| Written { transactional: true, producer_id, producer_epoch: 0, ..written(offset) };
    batch(&(first..first + count).map(one).collect::<Vec<_>>(), 0)
}

fn marker(producer_id: i64, offset: i64, commit: bool) -> Vec<u8> {
    let key = Some(Bytes::from(vec![0, 0, 0, u8::from(commit)]));
    let record = Written { transactional: true, control: true, producer_id, key, ..written(offset) };
    batch(&[record], 0)
}

#[test]
fn aborted_transactions_are_left_out() {
    // Two producers side by side: 7 aborts its first transaction and commits its second, 8 the other way round.
    let bytes = [
        transaction(7, 0, 2),
        transaction(8, 2, 2),
        marker(7, 4, false),
        marker(8, 5, true),
        transaction(7, 6, 2),
        transaction(8, 8, 2),
        marker(8, 10, false),
        marker(7, 11, true),
        batch(&[written(12)], 0),
    ]
    .concat();
    let aborted = vec![Aborted { producer: 8, first_offset: 8 }, Aborted { producer: 7, first_offset: 0 }];
    let (rows, position, _) = read(RecordSet { from: 0, bytes: bytes.clone(), aborted }, 100);
    assert_eq!(rows.iter().map(|it| it.offset).collect::<Vec<_>>(), [2, 3, 6, 7, 12]);
    assert_eq!(position, 13);
    // Uncommitted records are shown, markers never.
    let (rows, position, _) = read(set(0, bytes), 100);
    assert_eq!(rows.iter().map(|it| it.offset).collect::<Vec<_>>(), [0, 1, 2, 3, 6, 7, 8, 9, 12]);
    assert_eq!(position, 13);
}

#[test]
fn a_set_that_ends_in_what_is_not_shown_moves_the_position() {
    let bytes = [transaction(7, 0, 5), marker(7, 5, false)].concat();
    let aborted = vec![Aborted { producer: 7, first_offset: 0 }];
    assert_eq!(read(RecordSet { from: 3, bytes, aborted }, 1), (Vec::new(), 6, Ok(())));
}

#[test]
fn the_time_of_appending_is_that_of_the_batch() {
    let mut bytes = batch(&[written(0), written(1)], 0);
    bytes[22] |= 0x08;
    let sum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&sum.to_be_bytes());
    let (rows, ..) = read(set(0, bytes), 10);
    assert_eq!(rows.iter().map(|it| it.time).collect::<Vec<_>>(), [(1_700_000_000_001, 1); 2]);
}

#[test]
fn formats_that_are_not_read_are_named() {
    let mut bytes = batch(&[written(0)], 0);
    bytes[16] = 1;
    assert_eq!(end_of(&bytes), Err(Bad::Old));
    bytes[16] = 3;
    assert_eq!(end_of(&bytes), Err(Bad::Damaged("format 3 of record batches is unknown".into())));
}

#[test]
fn a_damaged_batch_fails_behind_the_rows_before_it() {
    let mut bytes = [batch(&[written(0)], 0), batch(&[written(1)], 0)].concat();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let (rows, position, done) = read(set(0, bytes), 10);
    assert_eq!((rows.len(), position), (1, 1));
    assert_eq!(done, Err(Bad::Damaged("the checksum of the record batch at offset 1 is wrong".into())));
}

#[test]
fn what_unpacks_to_more_than_is_allowed_is_refused() {
    for kind in 1..6 {
        let large = Written { value: Some(Bytes::from(vec![0; LIMIT + 1])), ..written(0) };
        let (rows, _, done) = read(set(0, batch(&[large], kind)), 10);
        assert_eq!(rows, []);
        let Err(Bad::Damaged(text)) = done else { panic!("{kind}: {done:?}") };
        assert!(text.contains("more than 1048576 bytes unpacked"), "{text}");
    }
}
