use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::*;
use arrow_buffer::{IntervalDayTime, IntervalMonthDayNano};
use arrow_schema::{DataType, Field, Fields};

use super::*;

fn key_of(columns: &[ArrayRef], row: usize) -> Vec<u8> {
    encode_keys(columns, columns.first().map_or(1, |it| it.len())).unwrap().value(row).to_vec()
}

fn window(start: i64, end: i64) -> ArrayRef {
    let fields = Fields::from(vec![
        Field::new("start", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("end", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]);
    let of = |it| Arc::new(TimestampMicrosecondArray::from(vec![it, it])) as ArrayRef;
    let nulls = NullBuffer::from(vec![true, false]);
    Arc::new(StructArray::new(fields, vec![of(start), of(end)], Some(nulls)))
}

fn words() -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value([Some("a"), None]);
    list.append_value([None::<&str>; 0]);
    list.append_null();
    Arc::new(list.finish())
}

/// One row of each type, in the order of `golden.txt`.
fn samples() -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("null", Arc::new(NullArray::new(1))),
        ("boolean true", Arc::new(BooleanArray::from(vec![true]))),
        ("int8 -2", Arc::new(Int8Array::from(vec![-2]))),
        ("int16 -2", Arc::new(Int16Array::from(vec![-2]))),
        ("int32 -2", Arc::new(Int32Array::from(vec![-2]))),
        ("int64 null", Arc::new(Int64Array::from(vec![None]))),
        ("int64 258", Arc::new(Int64Array::from(vec![258]))),
        ("uint8 2", Arc::new(UInt8Array::from(vec![2]))),
        ("uint16 2", Arc::new(UInt16Array::from(vec![2]))),
        ("uint32 2", Arc::new(UInt32Array::from(vec![2]))),
        ("uint64 max", Arc::new(UInt64Array::from(vec![u64::MAX]))),
        ("float32 -0.0", Arc::new(Float32Array::from(vec![-0.0]))),
        ("float32 nan", Arc::new(Float32Array::from(vec![-f32::NAN]))),
        ("float64 1.5", Arc::new(Float64Array::from(vec![1.5]))),
        ("float64 nan", Arc::new(Float64Array::from(vec![f64::from_bits(0xfff8_0000_0000_0001)]))),
        ("text empty", Arc::new(StringArray::from(vec![""]))),
        ("text häuser", Arc::new(StringArray::from(vec!["häuser"]))),
        ("binary 00 ff", Arc::new(BinaryArray::from(vec![&[0u8, 255][..]]))),
        ("date32 1", Arc::new(Date32Array::from(vec![1]))),
        ("date64 1", Arc::new(Date64Array::from(vec![1]))),
        ("time64 us 1", Arc::new(Time64MicrosecondArray::from(vec![1]))),
        ("timestamp s 1", Arc::new(TimestampSecondArray::from(vec![1]))),
        ("timestamp ms 1", Arc::new(TimestampMillisecondArray::from(vec![1]))),
        ("timestamp us -1", Arc::new(TimestampMicrosecondArray::from(vec![-1]))),
        ("timestamp ns 1", Arc::new(TimestampNanosecondArray::from(vec![1]))),
        ("duration us 1", Arc::new(DurationMicrosecondArray::from(vec![1]))),
        ("decimal128 1.50", Arc::new(Decimal128Array::from(vec![150]).with_precision_and_scale(10, 2).unwrap())),
        ("interval year-month 14", Arc::new(IntervalYearMonthArray::from(vec![14]))),
        ("interval day-time 1 2", Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTime::new(1, 2)]))),
        (
            "interval month-day-nano 1 2 3",
            Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 3)])),
        ),
        ("struct window 0 300s", window(0, 300_000_000).slice(0, 1)),
        ("struct null", window(0, 1).slice(1, 1)),
        ("list a null", words().slice(0, 1)),
        ("list empty", words().slice(1, 1)),
        ("list null", words().slice(2, 1)),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

/// The file must never change: checkpoints hold these bytes' virtual nodes.
#[test]
fn key_bytes_are_the_golden_ones() {
    let now: Vec<_> = samples()
        .iter()
        .map(|(name, column)| {
            let key = key_of(std::slice::from_ref(column), 0);
            format!("{name} | {} | {}", hex(&key), virtual_node(&key))
        })
        .collect();
    let golden = include_str!("golden.txt");
    let lines: Vec<_> = golden.lines().filter(|it| !it.starts_with('#')).collect();
    assert_eq!(now, lines, "\n{}\n", now.join("\n"));
}

/// The hash is the published one: XXH3-64 without a seed.
#[test]
fn the_hash_is_xxh3() {
    assert_eq!(key_hash(b""), 0x2d06_8005_38d3_94c2);
    assert_eq!(virtual_node(b""), 0x2d);
}

#[test]
fn width_of_offsets_views_and_dictionaries_leave_no_trace() {
    let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("a long enough text"), None, Some("")]));
    let others: [ArrayRef; 3] = [
        Arc::new(LargeStringArray::from(vec![Some("a long enough text"), None, Some("")])),
        Arc::new(StringViewArray::from(vec![Some("a long enough text"), None, Some("")])),
        Arc::new(DictionaryArray::<Int32Type>::from_iter([Some("a long enough text"), None, Some("")])),
    ];
    for other in others {
        for row in 0..3 {
            assert_eq!(key_of(std::slice::from_ref(&plain), row), key_of(std::slice::from_ref(&other), row));
        }
    }
    let fixed: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([[1u8, 2]].iter()).unwrap());
    let plain: ArrayRef = Arc::new(BinaryArray::from(vec![&[1u8, 2][..]]));
    assert_eq!(key_of(&[fixed], 0), key_of(&[plain], 0));
}

#[test]
fn a_slice_gives_the_keys_of_its_rows() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)])),
        Arc::new(StringArray::from(vec![Some("x"), Some("yy"), None, Some("")])),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), None])),
        Arc::new(FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(
            vec![Some([Some(1), None]), None, Some([Some(3), Some(4)]), Some([None, None])],
            2,
        )),
    ];
    let sliced: Vec<ArrayRef> = columns.iter().map(|it| it.slice(1, 3)).collect();
    for row in 0..3 {
        assert_eq!(key_of(&sliced, row), key_of(&columns, row + 1), "row {row}");
    }
}

#[test]
fn columns_do_not_run_into_each_other() {
    let of = |a: &str, b: &str| -> Vec<u8> {
        key_of(&[Arc::new(StringArray::from(vec![a])), Arc::new(StringArray::from(vec![b]))], 0)
    };
    assert_ne!(of("ab", "c"), of("a", "bc"));
    assert_ne!(of("", "a"), of("a", ""));
}

#[test]
fn floats_that_are_equal_have_one_key() {
    let halves = Float16Array::from_iter_values([0x8000u16, 0, 0x7e01, 0xfe00].map(half));
    let column: ArrayRef = Arc::new(halves);
    let keys: Vec<_> = (0..4).map(|row| key_of(std::slice::from_ref(&column), row)).collect();
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[2], keys[3]);
    assert_ne!(keys[0], keys[2]);
}

fn half(bits: u16) -> <Float16Type as ArrowPrimitiveType>::Native {
    <Float16Type as ArrowPrimitiveType>::Native::from_bits(bits)
}

#[test]
fn a_key_of_no_columns_is_empty_and_a_map_is_refused() {
    assert_eq!(encode_keys(&[], 2).unwrap(), BinaryArray::from(vec![&[][..], &[][..]]));
    let field = Field::new(
        "entries",
        DataType::Struct(Fields::from(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, true),
        ])),
        false,
    );
    let map = new_empty_array(&DataType::Map(Arc::new(field), false));
    let error = encode_keys(&[map], 0).unwrap_err();
    assert!(error.to_string().contains("can't be a key"), "{error}");
}

#[test]
fn the_key_of_one_text_is_told_without_a_column_of_keys() {
    let texts = ["", "a", "ä", "sixteen letters.", &"long ".repeat(100)];
    let array = StringArray::from_iter_values(texts);
    let keys = encode_keys(&[Arc::new(array.clone()) as ArrayRef], texts.len()).unwrap();
    assert_eq!(encode_texts(&array), keys);
    for (row, text) in texts.iter().enumerate() {
        let (text, key) = (text.as_bytes(), keys.value(row));
        assert_eq!(key_of_text(text), key);
        assert!(with_key_of_text(text, |it| it == key));
        assert!(is_key_of_text(key, text));
        for other in texts.iter().filter(|it| it.as_bytes() != text) {
            assert!(!is_key_of_text(key, other.as_bytes()));
        }
        assert!(!is_key_of_text(&key[..key.len() / 2], text));
    }
}
