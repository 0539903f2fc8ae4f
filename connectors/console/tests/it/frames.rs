//! The frames whose tables Spark printed, built by hand.

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, NullArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};

/// 2026-03-01 10:00:00 UTC in seconds.
pub(crate) const TEN: i64 = 1_772_359_200;

pub(crate) fn frame(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn text<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn utc(us: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(us).with_timezone("UTC"))
}

fn list(values: ArrayRef, lengths: &[usize], nulls: Option<NullBuffer>) -> ArrayRef {
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths.iter().copied()), values, nulls))
}

fn row_of(columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
    Arc::new(StructArray::from(frame(columns)))
}

pub(crate) fn longs(name: &str, values: impl IntoIterator<Item = i64>) -> RecordBatch {
    frame(vec![(name, Arc::new(Int64Array::from_iter_values(values)))])
}

pub(crate) fn empty() -> RecordBatch {
    frame(vec![("a", Arc::new(Int64Array::from(Vec::<i64>::new()))), ("word", text([]))])
}

pub(crate) fn words(rows: &[(&str, i64)]) -> RecordBatch {
    let counts = Int64Array::from_iter_values(rows.iter().map(|it| it.1));
    frame(vec![("word", text(rows.iter().map(|it| it.0))), ("count", Arc::new(counts))])
}

pub(crate) fn nulls() -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let fields = [("a", Arc::new(Int32Array::from(vec![None, None])) as ArrayRef), ("b", text(["x", ""]))];
    let inner = frame(fields.into());
    let lone = StructArray::new(
        inner.schema().fields().clone(),
        inner.columns().to_vec(),
        Some([true, false].into_iter().collect()),
    );
    let mut map = MapBuilder::new(None::<MapFieldNames>, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("k");
    map.values().append_null();
    map.append(true).unwrap();
    map.append(false).unwrap();
    frame(vec![
        ("i", Arc::new(Int32Array::from(vec![None, Some(1)]))),
        ("s", Arc::new(StringArray::from(vec![None, Some("NULL")]))),
        ("a", list(numbers, &[2, 0], Some([true, false].into_iter().collect()))),
        ("st", Arc::new(lone)),
        ("m", Arc::new(map.finish())),
        ("v", Arc::new(NullArray::new(2))),
    ])
}

pub(crate) fn long() -> RecordBatch {
    let (a, b, d) = ("a".repeat(20), "b".repeat(21), "d".repeat(40));
    let first = text([a.as_str(), "ccc", ""]);
    frame(vec![("a header that is much longer than twenty", first), ("b", text([b.as_str(), d.as_str(), "e"]))])
}

pub(crate) fn unicode() -> RecordBatch {
    let (han, emoji, late) = ("한".repeat(25), "a".repeat(16) + &"😀".repeat(4), "x".repeat(19) + "가");
    let mixed =
        "\u{1100}\u{2e80}\u{a4cf}\u{ac00}\u{d7a3}\u{f900}\u{fe30}\u{ff01}\u{ff60}\u{ff61}\u{ffe0}\u{ffe6}\u{ffe7}";
    let rows =
        ["한글 워드", "日本語テキスト", "é e\u{301}", "😀 smile", "ｆｕｌｌ", &han, &emoji, &late, "ﬁ ★ → ─", mixed];
    frame(vec![("낱말", text(rows))])
}

pub(crate) fn doubles() -> RecordBatch {
    let values = [
        1.0,
        0.0,
        -0.0,
        1e10,
        1e7,
        9_999_999.0,
        0.001,
        0.00099,
        123_456.789,
        1.5e-10,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        5e-324,
        0.1,
        100.0,
        1e21,
        12_345_678.9,
    ];
    frame(vec![("d", Arc::new(Float64Array::from_iter_values(values)))])
}

pub(crate) fn floats() -> RecordBatch {
    let values = [1.0, 0.1, 1e10, 16_777_216.0, f32::MAX, 1.4e-45, 9_999_999.0, f32::NAN, 0.3];
    frame(vec![("f", Arc::new(Float32Array::from_iter_values(values)))])
}

pub(crate) fn times() -> RecordBatch {
    let ten = TEN * 1_000_000;
    // Days and seconds of the years 12345, -1 and 1 in the Gregorian calendar.
    let (far, before, first) = (3_789_392, -719_892, -719_162);
    let clock = (3 * 3600 + 4 * 60 + 5) * 1_000_000;
    let day = |days: i64| days * 86_400_000_000;
    let ts = [ten, ten + 500_000, ten + 1, -1, day(far) + clock, day(before) + clock];
    let days = [20_513, -1, first, 2_932_896, far, before].map(|it| i32::try_from(it).unwrap());
    let local = [Some(ten), Some(ten + 120_000), Some(day(first) + 999_999), None, None, None];
    frame(vec![
        ("ts", utc(ts)),
        ("d", Arc::new(Date32Array::from_iter_values(days))),
        ("n", Arc::new(TimestampMicrosecondArray::from_iter(local))),
    ])
}

fn window() -> ArrayRef {
    row_of(vec![("start", utc([TEN * 1_000_000])), ("end", utc([(TEN + 300) * 1_000_000]))])
}

pub(crate) fn nested() -> RecordBatch {
    let mut map = MapBuilder::new(None::<MapFieldNames>, StringBuilder::new(), Int32Builder::new());
    for (key, value) in [("k", 1), ("l", 2)] {
        map.keys().append_value(key);
        map.values().append_value(value);
    }
    map.append(true).unwrap();
    let full = map.finish();
    map.append(true).unwrap();
    let flags = list(Arc::new(BooleanArray::from(vec![true, false])), &[2], None);
    let deep = row_of(vec![("x", Arc::new(Float64Array::from(vec![1.0]))), ("y", flags)]);
    let doubles = ListArray::from_iter_primitive::<Float64Type, _, _>([Some([Some(1.5), None])]);
    frame(vec![
        ("window", window()),
        ("arr", list(text(["a", "b"]), &[2], None)),
        ("m", Arc::new(full)),
        ("deep", list(deep, &[1], None)),
        ("e", Arc::new(ListArray::from_iter_primitive::<Int32Type, Vec<Option<i32>>, _>([Some(vec![])]))),
        ("em", Arc::new(map.finish())),
        ("st", row_of(vec![("t", text(["a, b"]))])),
        ("ad", Arc::new(doubles)),
        ("ab", list(Arc::new(BinaryArray::from_vec(vec![b"ab"])), &[1], None)),
    ])
}

pub(crate) fn nested_cut() -> RecordBatch {
    frame(vec![("window", window()), ("page", text(["home"])), ("views", Arc::new(Int64Array::from(vec![3])))])
}

pub(crate) fn binary() -> RecordBatch {
    let bytes = |it: &[u8]| Arc::new(BinaryArray::from_vec(vec![it])) as ArrayRef;
    frame(vec![("b", bytes(b"ab")), ("e", bytes(b"")), ("k", bytes("가".as_bytes())), ("z", bytes(&[0, 255]))])
}

pub(crate) fn decimals() -> RecordBatch {
    let decimal = |value: i128, precision, scale| {
        let array = Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale);
        Arc::new(array.unwrap()) as ArrayRef
    };
    frame(vec![
        ("a", decimal(1250, 10, 2)),
        ("b", decimal(-1, 38, 18)),
        ("c", decimal(0, 38, 18)),
        ("d", decimal(99_999_999_999_999_999_999_999_999_999_999_999_999, 38, 0)),
        ("e", decimal(7, 5, 0)),
        ("f", decimal(-5, 3, 2)),
    ])
}

pub(crate) fn whole() -> RecordBatch {
    frame(vec![
        ("b", Arc::new(BooleanArray::from(vec![true]))),
        ("f", Arc::new(BooleanArray::from(vec![false]))),
        ("t", Arc::new(Int8Array::from(vec![-128]))),
        ("s", Arc::new(Int16Array::from(vec![300]))),
        ("i", Arc::new(Int32Array::from(vec![-5]))),
        ("l", Arc::new(Int64Array::from(vec![i64::MAX]))),
    ])
}

pub(crate) fn control() -> RecordBatch {
    frame(vec![("tab\there", text(["a\nb\tc\rd\u{b}e\u{7}f\u{8}g\u{c}h\\n", "|+-", " pad "]))])
}

pub(crate) fn narrow() -> RecordBatch {
    frame(vec![("a", Arc::new(Int32Array::from(vec![1]))), ("b", text(["x"]))])
}

/// A dictionary prints its values.
pub(crate) fn dictionary() -> RecordBatch {
    let plain = text(["a", "b", "a"]);
    let to = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let keys = Int32Array::from(vec![Some(0), None, Some(0)]);
    let array = arrow_array::DictionaryArray::new(keys, plain);
    assert_eq!(arrow_array::Array::data_type(&array), &to);
    frame(vec![("k", Arc::new(array))])
}
