use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};

use super::*;

fn rows(from: i64, to: i64) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("word", DataType::Utf8, true)]);
    let words = StringArray::from_iter((from..to).map(|it| (it % 3 != 0).then(|| format!("word {it}"))));
    let numbers = Int64Array::from_iter_values(from..to);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers), Arc::new(words)]).unwrap()
}

fn shape(keys: Vec<usize>, origin: Option<&str>) -> StateShape {
    StateShape { columns: rows(0, 0).schema(), keys, pane: None, row: Some(0), origin: origin.map(Into::into) }
}

fn deltas() -> Vec<OperatorDelta> {
    let one = OperatorDelta {
        operator: "a".into(),
        layout: "v1".into(),
        evict_through_us: Some(-5),
        tombstones: Some(rows(0, 3).project(&[0]).unwrap()),
        puts: Some(rows(0, 40)),
        shape: Some(shape(vec![1, 0], Some("z"))),
    };
    let evict_only = OperatorDelta {
        operator: "b".into(),
        layout: "v2".into(),
        evict_through_us: Some(7),
        tombstones: None,
        puts: None,
        shape: None,
    };
    vec![one, evict_only]
}

fn snapshot() -> Vec<OperatorSnapshot> {
    let of = |operator: &str, rows| OperatorSnapshot {
        operator: operator.into(),
        layout: "v1".into(),
        rows,
        later: Vec::new(),
        shape: Some(shape(vec![0], None)),
    };
    vec![of("a", vec![rows(0, 9), rows(9, 20)]), of("b", Vec::new())]
}

#[test]
fn deltas_and_snapshots_read_back() {
    assert_eq!(decode_deltas(&encode_deltas(&deltas()).unwrap()).unwrap(), deltas());
    assert_eq!(decode_deltas(&encode_deltas(&[]).unwrap()).unwrap(), []);
    assert_eq!(decode_snapshot(&encode_snapshot(&snapshot()).unwrap()).unwrap(), snapshot());
}

#[test]
fn one_kind_is_not_read_as_the_other() {
    let error = decode_snapshot(&encode_deltas(&deltas()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("of another kind"), "{error}");
}

#[test]
fn a_newer_version_is_refused_as_such() {
    let mut bytes = encode_deltas(&deltas()).unwrap();
    bytes[4] = 2;
    let error = decode_deltas(&bytes).unwrap_err();
    assert!(error.to_string().contains("format version 2, expected 1 or lower"), "{error}");
}

#[test]
fn every_flipped_byte_is_an_error() {
    let bytes = encode_deltas(&deltas()).unwrap();
    for at in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            assert!(decode_deltas(&damaged).is_err(), "byte {at} of {} flipped by {flip:#x}", bytes.len());
        }
    }
    let bytes = encode_snapshot(&snapshot()).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(decode_snapshot(&damaged).is_err(), "byte {at} of {}", bytes.len());
    }
}

#[test]
fn every_cut_and_every_tail_is_an_error() {
    let bytes = encode_deltas(&deltas()).unwrap();
    for end in 0..bytes.len() {
        assert!(decode_deltas(&bytes[..end]).is_err(), "cut at {end} of {}", bytes.len());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(decode_deltas(&longer).is_err());
    let doubled = [bytes.clone(), bytes].concat();
    assert!(decode_deltas(&doubled).is_err());
}

/// An index that lies about places, under a checksum that holds.
#[test]
fn an_index_that_lies_is_an_error() {
    let bytes = encode_deltas(&deltas()).unwrap();
    let trailer = bytes.len() - TRAILER;
    let length = u32::from_le_bytes(bytes[trailer..trailer + 4].try_into().unwrap()) as usize;
    let index = String::from_utf8(bytes[trailer - length..trailer].to_vec()).unwrap();
    let lies = [
        index.replacen("\"offset\":8", "\"offset\":9", 1),
        index.replacen("\"length\":", "\"length\":1", 1),
        index.replacen("\"length\":", "\"length\":999999999999", 1),
        index.replacen("\"rows\":3", "\"rows\":4", 1),
        "[]".to_owned(),
        "nonsense".to_owned(),
    ];
    for lie in lies {
        assert_ne!(lie, index);
        let mut file = bytes[..trailer - length].to_vec();
        file.extend(lie.as_bytes());
        file.extend(u32::try_from(lie.len()).unwrap().to_le_bytes());
        file.extend(framed_crc(&bytes[..HEADER], lie.as_bytes()).to_le_bytes());
        file.extend(MAGIC);
        assert!(decode_deltas(&file).is_err(), "{lie}");
    }
}
