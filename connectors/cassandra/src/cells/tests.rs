//! Values as CQL has them.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::{Decimal128Array, Float32Array, Int64Array, StringArray, TimestampMicrosecondArray};

use super::*;

fn written(codec: &Codec, array: &dyn Array, row: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    Cells::new(codec, array).unwrap().put(row, UNSET, &mut out)?;
    Ok(out)
}

fn cell(bytes: &[u8]) -> Vec<u8> {
    [&i32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

#[test]
fn whole_numbers_fit_or_are_refused() {
    let array = Int64Array::from(vec![Some(127), Some(-129), None, Some(i64::from(i32::MAX) + 1)]);
    assert_eq!(written(&Codec::Int(1), &array, 0), Ok(cell(&[127])));
    assert_eq!(written(&Codec::Int(2), &array, 1), Ok(cell(&(-129i16).to_be_bytes())));
    assert_eq!(written(&Codec::Int(8), &array, 1), Ok(cell(&(-129i64).to_be_bytes())));
    assert_eq!(written(&Codec::Int(4), &array, 2), Ok(UNSET.to_vec()));
    assert!(written(&Codec::Int(1), &array, 1).is_err());
    assert!(written(&Codec::Int(4), &array, 3).is_err());
}

/// What a two's complement of any length means.
fn read(bytes: &[u8]) -> i128 {
    let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
    bytes.iter().fold(sign, |value, byte| value << 8 | i128::from(*byte))
}

#[test]
fn varints_are_as_short_as_can_be() {
    let limits = [i128::from(i64::MIN), i128::MAX, i128::MIN];
    for value in [0, 1, -1, 127, 128, -128, -129, 255, 256, 65_535, 65_536].into_iter().chain(limits) {
        let mut out = Vec::new();
        varint(value, &mut out);
        assert_eq!(read(&out), value, "{out:?}");
        assert!(out.len() == 1 || read(&out[1..]) != value, "{value}: {out:?} is longer than it must be");
    }
    let array = Decimal128Array::from(vec![-12_345]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(written(&Codec::Decimal(2), &array, 0), Ok(cell(&[0, 0, 0, 2, 0xcf, 0xc7])));
}

#[test]
fn times_are_rounded_down() {
    let array = TimestampMicrosecondArray::from(vec![1_999, -1]);
    let codec = Codec::Timestamp(TimeUnit::Microsecond);
    assert_eq!(written(&codec, &array, 0), Ok(cell(&1i64.to_be_bytes())));
    assert_eq!(written(&codec, &array, 1), Ok(cell(&(-1i64).to_be_bytes())));
    let days = Date32Array::from(vec![0, -1]);
    assert_eq!(written(&Codec::Date, &days, 0), Ok(cell(&[0x80, 0, 0, 0])));
    assert_eq!(written(&Codec::Date, &days, 1), Ok(cell(&[0x7f, 0xff, 0xff, 0xff])));
}

#[test]
fn text_becomes_what_it_says() {
    let array = StringArray::from(vec!["127.0.0.1", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "hé", ""]);
    assert_eq!(written(&Codec::Inet, &array, 0), Ok(cell(&[127, 0, 0, 1])));
    assert_eq!(written(&Codec::Uuid(true), &array, 1).unwrap().len(), 20);
    assert!(written(&Codec::Ascii, &array, 2).unwrap_err().contains("ASCII"));
    assert!(written(&Codec::Uuid(false), &array, 0).unwrap_err().contains("127.0.0.1"));
    assert_eq!(written(&Codec::Text, &array, 3), Ok(cell(&[])));
    let random = StringArray::from(vec!["936da01f-9abd-4d9d-80c7-02af85c822a8"]);
    assert!(written(&Codec::Uuid(true), &random, 0).unwrap_err().contains("version 1"));
}

#[test]
fn collections_hold_no_nulls() {
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.append_value([Some(1), Some(2)]);
    lists.append_value([Some(3), None]);
    lists.append_value([]);
    let lists = lists.finish();
    let codec = Codec::List(Box::new(Codec::Int(4)));
    let two = [&2i32.to_be_bytes() as &[u8], &cell(&1i32.to_be_bytes()), &cell(&2i32.to_be_bytes())].concat();
    assert_eq!(written(&codec, &lists, 0), Ok(cell(&two)));
    assert!(written(&codec, &lists, 1).unwrap_err().contains("null"));
    assert_eq!(written(&codec, &lists, 2), Ok(cell(&0i32.to_be_bytes())));
}

#[test]
fn another_type_than_planned_is_our_fault() {
    let array: Arc<dyn Array> = Arc::new(Float32Array::from(vec![1.0]));
    let error = Cells::new(&Codec::Text, array.as_ref()).err().unwrap();
    assert_eq!(error.kind(), tidegate_api::ErrorKind::Internal);
}
