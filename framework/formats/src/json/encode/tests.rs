use std::sync::Arc;

use arrow_array::builder::{Int32Builder, MapBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
    Int8Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, LargeStringArray, ListArray, StringViewArray,
    StructArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, Fields};

use super::*;

fn one(array: impl Array + 'static) -> Vec<Option<String>> {
    encode(&array).unwrap().iter().map(|it| it.map(str::to_owned)).collect()
}

fn single(array: impl Array + 'static) -> String {
    one(array)[0].clone().unwrap()
}

#[test]
fn numbers_as_java_writes_them() {
    assert_eq!(single(Int8Array::from(vec![-128])), "-128");
    assert_eq!(single(Int64Array::from(vec![i64::MIN])), "-9223372036854775808");
    assert_eq!(single(Int64Array::from(vec![0])), "0");
    assert_eq!(single(UInt64Array::from(vec![u64::MAX])), "18446744073709551615");
    for (value, expected) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-2.5, "-2.5"),
        (100.0, "100.0"),
        (123_456.789, "123456.789"),
        (9_999_999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (1.25e10, "1.25E10"),
        (0.001, "0.001"),
        (0.012_5, "0.0125"),
        (0.000_1, "1.0E-4"),
        (f64::MAX, "1.7976931348623157E308"),
        (5e-324, "5.0E-324"),
        (f64::NAN, "\"NaN\""),
        (f64::INFINITY, "\"Infinity\""),
        (f64::NEG_INFINITY, "\"-Infinity\""),
    ] {
        assert_eq!(single(Float64Array::from(vec![value])), expected);
    }
    assert_eq!(single(Float32Array::from(vec![0.1])), "0.1");
    assert_eq!(single(Float32Array::from(vec![1.6e7])), "1.6E7");
}

#[test]
fn decimals_in_full() {
    for (value, scale, expected) in [(1234, 2, "12.34"), (-5, 2, "-0.05"), (0, 3, "0.000"), (7, 0, "7"), (7, -2, "700")]
    {
        let array = Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale).unwrap();
        assert_eq!(single(array), expected);
    }
}

#[test]
fn texts_are_escaped_where_they_must() {
    let text = "a\"b\\c/d\u{8}\u{c}\n\r\t\u{1}\u{1f}ü😀\u{7f}";
    let encoded = single(StringArray::from(vec![text]));
    assert_eq!(encoded, "\"a\\\"b\\\\c/d\\b\\f\\n\\r\\t\\u0001\\u001Fü😀\u{7f}\"");
    assert_eq!(serde_json::from_str::<String>(&encoded).unwrap(), text);
    assert_eq!(single(LargeStringArray::from(vec!["x"])), "\"x\"");
    assert_eq!(single(StringViewArray::from(vec!["longer than twelve bytes"])), "\"longer than twelve bytes\"");
    let dictionary: DictionaryArray<Int32Type> = vec!["d"].into_iter().collect();
    assert_eq!(single(dictionary), "\"d\"");
}

#[test]
fn times_bytes_and_truth() {
    let micros = 1_772_359_200_123_456;
    assert_eq!(
        single(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")),
        "\"2026-03-01T10:00:00.123Z\""
    );
    assert_eq!(single(TimestampMicrosecondArray::from(vec![micros])), "\"2026-03-01T10:00:00.123\"");
    assert_eq!(single(TimestampNanosecondArray::from(vec![0]).with_timezone("UTC")), "\"1970-01-01T00:00:00.000Z\"");
    assert_eq!(single(TimestampMicrosecondArray::from(vec![-1])), "\"1969-12-31T23:59:59.999\"");
    assert_eq!(single(Date32Array::from(vec![-1])), "\"1969-12-31\"");
    assert_eq!(single(Date32Array::from(vec![2_932_897])), "\"+10000-01-01\"");
    assert_eq!(single(BinaryArray::from_vec(vec![b"foob"])), "\"Zm9vYg==\"");
    assert_eq!(single(BooleanArray::from(vec![true])), "true");
}

#[test]
fn null_fields_are_left_out_and_null_elements_are_not() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None, Some(vec![])]);
    let inner = StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Int32, true)),
        Arc::new(Int32Array::from(vec![None, Some(2), None])) as ArrayRef,
    )]);
    let fields = Fields::from(vec![
        Field::new("a\"b", DataType::Int32, true),
        Field::new("l", list.data_type().clone(), true),
        Field::new("s", inner.data_type().clone(), true),
    ]);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![Some(1), None, None])), Arc::new(list), Arc::new(inner)];
    let rows = StructArray::new(fields, columns, Some(vec![true, true, false].into()));
    let expected = [Some(r#"{"a\"b":1,"l":[1,null],"s":{}}"#.to_owned()), Some(r#"{"s":{"x":2}}"#.to_owned()), None];
    assert_eq!(one(rows.clone()), expected);
    assert_eq!(one(rows.slice(1, 1)), [expected[1].clone()]);
}

#[test]
fn maps_have_names_and_nulls() {
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("a");
    map.values().append_value(1);
    map.keys().append_value("b\n");
    map.values().append_null();
    map.append(true).unwrap();
    map.append(false).unwrap();
    assert_eq!(one(map.finish()), [Some(r#"{"a":1,"b\n":null}"#.to_owned()), None]);
    let mut map = MapBuilder::new(None, Int32Builder::new(), Int32Builder::new());
    map.keys().append_value(7);
    map.values().append_value(1);
    map.append(true).unwrap();
    assert_eq!(single(map.finish()), r#"{"7":1}"#);
}

#[test]
fn what_json_has_no_words_for_is_refused() {
    let error = encode(&IntervalMonthDayNanoArray::from(vec![None])).unwrap_err();
    assert_eq!(error.kind(), tidegate_api::ErrorKind::Config);
    assert!(error.to_string().contains("can't be written as JSON"), "{error}");
}
