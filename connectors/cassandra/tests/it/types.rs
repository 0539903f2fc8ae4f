//! Every type there and back.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, NullArray, RecordBatch, StringArray,
    StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow_schema::{DataType, Field};
use serde_json::{Value, json};
use tidegate_api::Schema;

use crate::bench::{Bench, batch, epoch, now_us, put, schema};

const TYPES: &str = "k tinyint PRIMARY KEY, a boolean, b smallint, c int, d bigint, e varint, f float, g double, \
     h decimal, i text, j ascii, k2 blob, l timestamp, m date, n time, o uuid, p timeuuid, q inet, r decimal, s double, \
     t varint, u text, v text, w bigint, x text";

#[tokio::test]
async fn plain_types() {
    let bench = Bench::new(crate::node_or_skip!(), TYPES).await;
    let times = vec![Some(1_700_000_000_123_456), Some(-1), None];
    let decimals = |values: Vec<Option<i128>>, scale| {
        Decimal128Array::from(values).with_precision_and_scale(38, scale).map(Arc::new).unwrap() as ArrayRef
    };
    let uuids = vec![Some("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), Some("6BA7B8119DAD11D180B400C04FD430C8"), None];
    let dictionary: DictionaryArray<Int32Type> = vec![Some("x"), Some("y"), None].into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("k", Arc::new(Int8Array::from(vec![1, 2, 3]))),
        ("a", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("b", Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(7), None]))),
        ("c", Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(7), None]))),
        ("d", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(7), None]))),
        ("e", Arc::new(Int64Array::from(vec![Some(-129), Some(128), None]))),
        ("f", Arc::new(Float32Array::from(vec![Some(0.5), Some(-2.25), None]))),
        ("g", Arc::new(Float64Array::from(vec![Some(0.1), Some(-1e300), None]))),
        ("h", decimals(vec![Some(-12_345), Some(100), None], 2)),
        ("i", Arc::new(StringArray::from(vec![Some("hé"), Some(""), None]))),
        ("j", Arc::new(LargeStringArray::from(vec![Some("he"), Some(""), None]))),
        ("k2", Arc::new(BinaryArray::from(vec![Some(b"\x00\xff" as &[u8]), Some(b""), None]))),
        ("l", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("m", Arc::new(Date32Array::from(vec![Some(19_676), Some(-1), None]))),
        ("n", Arc::new(Time64MicrosecondArray::from(vec![Some(3_600_000_001), Some(0), None]))),
        ("o", Arc::new(StringViewArray::from(uuids.clone()))),
        ("p", Arc::new(StringArray::from(uuids))),
        ("q", Arc::new(StringArray::from(vec![Some("127.0.0.1"), Some("::1"), None]))),
        ("r", Arc::new(Int64Array::from(vec![Some(5), Some(-5), None]))),
        ("s", Arc::new(Float32Array::from(vec![Some(0.5), Some(1.5), None]))),
        ("t", decimals(vec![Some(i128::from(i64::MAX) + 1), Some(0), None], 0)),
        ("u", Arc::new(StringViewArray::from(vec![Some("a long text, longer than twelve"), Some("b"), None]))),
        ("v", Arc::new(dictionary)),
        ("w", Arc::new(UInt32Array::from(vec![Some(u32::MAX), Some(0), None]))),
        ("x", Arc::new(NullArray::new(3))),
    ];
    let fields: Vec<_> = columns.iter().map(|(name, it)| Field::new(*name, it.data_type().clone(), true)).collect();
    let columns_of = Arc::new(Schema::new(fields));
    let rows = RecordBatch::try_new(columns_of.clone(), columns.into_iter().map(|it| it.1).collect()).unwrap();
    let sink = bench.sink(&columns_of, &[]).await;
    put(&sink, &epoch(0, now_us()), rows).await;
    let rows = bench.rows().await;
    assert_eq!(rows.len(), 3);
    let row = |k: i64| rows.iter().find(|it| it["k"] == json!(k)).unwrap().clone();
    let expected = json!({"k": 1, "a": true, "b": -32768, "c": i32::MIN, "d": i64::MIN, "e": -129, "f": 0.5, "g": 0.1,
        "h": -123.45, "i": "hé", "j": "he", "k2": "0x00ff", "l": "2023-11-14 22:13:20.123Z", "m": "2023-11-15",
        "n": "01:00:00.000001000", "o": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "p": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "q": "127.0.0.1", "r": 5, "s": 0.5, "t": 9_223_372_036_854_775_808u64,
        "u": "a long text, longer than twelve", "v": "x", "w": u32::MAX, "x": null});
    assert_eq!(row(1), expected);
    let two = row(2);
    assert_eq!([&two["l"], &two["m"], &two["q"]], ["1969-12-31 23:59:59.999Z", "1969-12-31", "0:0:0:0:0:0:0:1"]);
    assert_eq!(
        [&two["e"], &two["h"], &two["o"]],
        [&json!(128), &json!(1.0), &json!("6ba7b811-9dad-11d1-80b4-00c04fd430c8")]
    );
    let null: serde_json::Map<String, Value> = expected
        .as_object()
        .unwrap()
        .keys()
        .map(|it| (it.clone(), if it == "k" { json!(3) } else { Value::Null }))
        .collect();
    assert_eq!(row(3), Value::Object(null));
}

fn list(of: DataType) -> DataType {
    DataType::List(Field::new("item", of, true).into())
}

#[tokio::test]
async fn nested_types() {
    let bench = Bench::new(crate::node_or_skip!(), "k bigint PRIMARY KEY").await;
    bench.cql("CREATE TYPE IF NOT EXISTS it.place (x int, name text, extra int)").await;
    for column in [
        "l frozen<list<int>>",
        "s set<text>",
        "m map<text, int>",
        "u place",
        "fu frozen<place>",
        "n frozen<map<text, frozen<list<int>>>>",
    ] {
        bench.cql(&format!("ALTER TABLE it.{} ADD {column}", bench.table)).await;
    }
    let map = |of: DataType| {
        let fields = vec![Field::new("key", DataType::Utf8, false), Field::new("value", of, true)];
        DataType::Map(Field::new("entries", DataType::Struct(fields.into()), false).into(), false)
    };
    let place =
        DataType::Struct(vec![Field::new("NAME", DataType::Utf8, true), Field::new("x", DataType::Int64, true)].into());
    let columns = schema(&[
        ("k", DataType::Int64),
        ("l", list(DataType::Int64)),
        ("s", list(DataType::Utf8)),
        ("m", map(DataType::Int64)),
        ("u", place.clone()),
        ("fu", place),
        ("n", map(list(DataType::Int64))),
    ]);
    let sink = bench.sink(&columns, &[]).await;
    let start = now_us();
    let first = json!({"k": 1, "l": [3, 1, 2], "s": ["b", "a", "b"], "m": {"x": 1, "y": 2}, "u": {"NAME": "a", "x": 1},
        "fu": {"NAME": null, "x": 5}, "n": {"p": [1, 2], "q": []}});
    let second = json!({"k": 1, "l": [4], "s": ["c"], "m": {"y": 3}, "u": {"NAME": "b"}, "fu": null, "n": null});
    let shown = json!({"k": 1, "l": [3, 1, 2], "s": ["a", "b"], "m": {"x": 1, "y": 2},
        "u": {"x": 1, "name": "a", "extra": null}, "fu": {"x": 5, "name": null, "extra": null}, "n": {"p": [1, 2], "q": []}});
    // Twice: sets, maps and frozen lists are what they were.
    for _ in 0..2 {
        put(&sink, &epoch(0, start), batch(&columns, std::slice::from_ref(&first))).await;
        assert_eq!(bench.rows().await, std::slice::from_ref(&shown));
    }
    // In the next epoch they are replaced whole, and stay so when the first is written once more.
    put(&sink, &epoch(1, start), batch(&columns, &[second])).await;
    put(&sink, &epoch(0, start), batch(&columns, &[first])).await;
    let shown = json!({"k": 1, "l": [4], "s": ["c"], "m": {"y": 3}, "u": {"x": null, "name": "b", "extra": null},
        "fu": null, "n": null});
    assert_eq!(bench.rows().await, [shown]);
}
