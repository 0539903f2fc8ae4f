//! Cells as CQL has them, read.

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type};
use arrow_array::{Decimal128Array, Int64Array, StringArray};
use arrow_schema::TimeUnit;

use super::*;
use crate::cells::{Cells, NULL};

fn read(codec: &Codec, plain: &DataType, cells: &[Option<&[u8]>]) -> Result<ArrayRef, String> {
    let mut values = Values::new(codec, plain, cells.len()).unwrap();
    cells.iter().try_for_each(|it| values.append(*it))?;
    Ok(values.finish().unwrap())
}

fn one(codec: &Codec, plain: &DataType, cell: &[u8]) -> Result<ArrayRef, String> {
    read(codec, plain, &[Some(cell)])
}

fn decimal(scale: i32, unscaled: &[u8]) -> Vec<u8> {
    [&scale.to_be_bytes(), unscaled].concat()
}

#[test]
fn what_is_written_is_read() {
    let list = |of: DataType| DataType::List(Field::new("item", of, true).into());
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(3), Some(-1)]),
        None,
        Some(vec![]),
        Some(vec![Some(i64::MIN)]),
    ]);
    let decimals = Decimal128Array::from(vec![Some(-12_345), None, Some(0), Some(99_999)]);
    let texts = StringArray::from(vec![Some("hé"), None, Some(""), Some("x")]);
    let uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    let arrays: Vec<(Codec, DataType, ArrayRef)> = vec![
        (Codec::Int(8), DataType::Int64, Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(7), Some(0)]))),
        (Codec::Int(1), DataType::Int64, Arc::new(Int64Array::from(vec![Some(-128), None, Some(127), Some(0)]))),
        (Codec::VarInt, DataType::Int64, Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(-129), Some(0)]))),
        (Codec::IntDecimal, DataType::Int64, Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(7), Some(0)]))),
        (Codec::Decimal(2), DataType::Decimal128(5, 2), Arc::new(decimals.with_precision_and_scale(5, 2).unwrap())),
        (Codec::Text, DataType::Utf8, Arc::new(texts)),
        (Codec::Uuid(false), DataType::Utf8, Arc::new(StringArray::from(vec![Some(uuid), None, Some(uuid), None]))),
        (Codec::Inet, DataType::Utf8, Arc::new(StringArray::from(vec![Some("::1"), None, Some("10.0.0.1"), None]))),
        (Codec::List(Box::new(Codec::Int(8))), list(DataType::Int64), Arc::new(lists)),
    ];
    for (codec, plain, array) in arrays {
        let written = Cells::new(&codec, array.as_ref()).unwrap();
        let mut bytes = Vec::new();
        for row in 0..array.len() {
            written.put(row, NULL, &mut bytes).unwrap();
        }
        let (mut rest, mut cells) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            cells.push(next_cell(&mut rest).unwrap());
        }
        let found = read(&codec, &plain, &cells).unwrap();
        if codec == Codec::Inet {
            assert_eq!(found.as_string::<i32>().value(0), "0:0:0:0:0:0:0:1");
            assert_eq!(found.as_string::<i32>().value(2), "10.0.0.1");
        } else {
            assert_eq!(&found, &array, "{codec:?}");
        }
    }
}

#[test]
fn decimals_take_the_scale_of_their_column() {
    let codec = Codec::Decimal(2);
    let plain = DataType::Decimal128(4, 2);
    let value = |scale, unscaled: i128| {
        let found = one(&codec, &plain, &decimal(scale, &unscaled.to_be_bytes()))?;
        Ok::<_, String>(found.as_primitive::<Decimal128Type>().value(0))
    };
    assert_eq!(value(0, 12), Ok(1200));
    assert_eq!(value(-1, 1), Ok(1000));
    // Half up, away from zero.
    assert_eq!((value(3, 1_005), value(3, -1_005), value(3, 1_004)), (Ok(101), Ok(-101), Ok(100)));
    assert_eq!(value(50, i128::MAX), Ok(0));
    assert_eq!(value(i32::MAX, i128::MIN), Ok(0));
    assert_eq!(value(i32::MIN, 0), Ok(0));
    for (scale, unscaled) in [(0, 100), (3, 99_995), (-2, 1), (i32::MIN, 1), (0, i128::MIN)] {
        let said = value(scale, unscaled).unwrap_err();
        assert!(said.contains("DECIMAL(4, 2)"), "{scale} {unscaled}: {said}");
    }
    // Fifty digits after the point are more than 16 bytes.
    let third = [vec![0x02], vec![0x49; 20]].concat();
    let found = one(&codec, &plain, &decimal(49, &third)).unwrap();
    assert_eq!(found.as_primitive::<Decimal128Type>().value(0), 33);
    let longest = [0x7f; 32];
    assert!(one(&codec, &plain, &decimal(76, &longest)).is_err());
}

#[test]
fn numbers_that_would_lose_digits_are_refused() {
    let as_bigint = |codec: &Codec, cell: &[u8]| one(codec, &DataType::Int64, cell);
    assert!(as_bigint(&Codec::IntDecimal, &decimal(1, &[5])).is_err());
    assert_eq!(as_bigint(&Codec::IntDecimal, &decimal(1, &[50])).unwrap().as_primitive::<Int64Type>().value(0), 5);
    assert!(as_bigint(&Codec::VarInt, &[0, 0x80, 0, 0, 0, 0, 0, 0, 0]).is_err());
    assert!(as_bigint(&Codec::VarInt, &[1; 17]).is_err());
    let far = as_bigint(&Codec::Timestamp(TimeUnit::Microsecond), &i64::MAX.to_be_bytes()).unwrap_err();
    assert!(far.contains("out of range"), "{far}");
}

#[test]
fn a_value_without_bytes_is_null_where_no_value_is_so_short() {
    for (codec, plain) in
        [(Codec::Int(4), DataType::Int64), (Codec::Date, DataType::Date32), (Codec::Inet, DataType::Utf8)]
    {
        assert_eq!(one(&codec, &plain, &[]).unwrap().null_count(), 1, "{codec:?}");
    }
    assert_eq!(one(&Codec::Blob, &DataType::Binary, &[]).unwrap().null_count(), 0);
}

#[test]
fn a_type_that_got_a_field_later_is_read() {
    let fields = Fields::from(vec![Field::new("b", DataType::Int64, true), Field::new("a", DataType::Utf8, true)]);
    let codec = Codec::Udt(vec![Some((1, Codec::Text)), None, Some((0, Codec::Int(1)))]);
    let old = [0, 0, 0, 1, b'x', 0, 0, 0, 2, 9, 9];
    let new = [&old[..], &[0, 0, 0, 1, 7]].concat();
    let found = read(&codec, &DataType::Struct(fields), &[Some(&old), Some(&new), None]).unwrap();
    let found = found.as_struct();
    assert_eq!((found.is_null(1), found.is_null(2)), (false, true));
    let (b, a) = (found.column(0).as_primitive::<Int64Type>(), found.column(1).as_string::<i32>());
    assert_eq!((b.is_null(0), b.value(1), a.value(0), a.value(1)), (true, 7, "x", "x"));
}

#[test]
fn bytes_that_are_none_of_the_type_are_errors_and_no_panics() {
    let list = DataType::List(Field::new("item", DataType::Int64, true).into());
    let pairs = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", list.clone(), true)]);
    let map = DataType::Map(Field::new("entries", DataType::Struct(pairs), false).into(), false);
    let ints = Codec::List(Box::new(Codec::Int(4)));
    let all = [
        (Codec::Decimal(2), DataType::Decimal128(9, 2)),
        (Codec::Whole, DataType::Decimal128(38, 0)),
        (Codec::Inet, DataType::Utf8),
        (Codec::Text, DataType::Utf8),
        (Codec::Uuid(true), DataType::Utf8),
        (ints.clone(), list),
        (Codec::Map(Box::new(Codec::Text), Box::new(ints)), map),
    ];
    assert!(all.iter().skip(2).all(|(codec, plain)| one(codec, plain, &[0xff; 3]).is_err()));
    let mut random = fastrand::Rng::with_seed(20_261_122);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..random.usize(0..40)).map(|_| random.u8(0..3)).collect();
        if let Some(at) = bytes.len().checked_sub(1) {
            bytes[random.usize(0..=at)] = random.u8(..);
        }
        for (codec, plain) in &all {
            let _ = one(codec, plain, &bytes);
        }
    }
}
