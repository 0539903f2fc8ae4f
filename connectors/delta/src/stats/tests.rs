use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field};
use deltalake::parquet::arrow::ArrowWriter;
use deltalake::parquet::file::properties::WriterProperties;

use super::*;

fn stats(columns: Vec<(&str, ArrayRef)>, rule: &StatsRule) -> Value {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    // Two row groups, so that bounds have to be merged.
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    let metadata = writer.finish().unwrap();
    assert!(metadata.row_groups().len() > 1 || batch.num_rows() <= 2);
    serde_json::from_str(&of_file(&metadata, rule)).unwrap()
}

#[test]
fn bounds_and_nulls_by_type() {
    let ts = TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1_700_000_000_123_456), Some(5)]);
    let found = stats(
        vec![
            ("n", Arc::new(Int64Array::from(vec![Some(4), Some(-2), None, Some(9)]))),
            ("only_null", Arc::new(Int32Array::from(vec![None, None, None, None]))),
            ("half_null", Arc::new(Int32Array::from(vec![None, None, Some(1), Some(2)]))),
            ("s", Arc::new(StringArray::from(vec!["b", "a", "zz", "ü"]))),
            ("ts", Arc::new(ts.with_timezone("UTC"))),
            ("d", Arc::new(Date32Array::from(vec![0, -1, 19_782, 1]))),
            ("f", Arc::new(Float64Array::from(vec![1.0, f64::NAN, 2.0, 3.0]))),
            ("b", Arc::new(BooleanArray::from(vec![true, false, true, true]))),
            ("x", Arc::new(BinaryArray::from_vec(vec![b"a", b"b", b"c", b"d"]))),
        ],
        &StatsRule::First(32),
    );
    let expected = json!({
        "numRecords": 4,
        "minValues": { "n": -2, "half_null": 1, "s": "a", "ts": "1969-12-31T23:59:59.999Z", "d": "1969-12-31" },
        "maxValues": { "n": 9, "half_null": 2, "s": "ü", "ts": "2023-11-14T22:13:20.124Z", "d": "2024-02-29" },
        "nullCount": {
            "n": 1, "only_null": 4, "half_null": 2, "s": 0, "ts": 1, "d": 0, "f": 0, "b": 0, "x": 0
        },
    });
    assert_eq!(found, expected);
}

#[test]
fn long_text_keeps_bounds_true() {
    let low = "a".repeat(100);
    let high = "y".repeat(100);
    let found = stats(vec![("s", Arc::new(StringArray::from(vec![low.clone(), high.clone()])))], &StatsRule::First(1));
    let (min, max) = (found["minValues"]["s"].as_str().unwrap(), found["maxValues"]["s"].as_str().unwrap());
    assert!(min.len() < 100 && min <= low.as_str());
    assert!(max.len() < 100 && max >= high.as_str(), "{max}");
}

#[test]
fn decimals_are_exact_or_left_out() {
    let money = |values: Vec<i128>, precision| {
        let array = Decimal128Array::from(values).with_precision_and_scale(precision, 2).unwrap();
        stats(vec![("m", Arc::new(array) as ArrayRef)], &StatsRule::First(1))
    };
    let found = money(vec![1_205, -30], 9);
    assert_eq!((&found["minValues"]["m"], &found["maxValues"]["m"]), (&json!(-0.3), &json!(12.05)));
    assert_eq!(money(vec![1, 123_456_789_012_345_678], 18)["minValues"], json!({}));
    assert_eq!(money(vec![1, 2], 38)["maxValues"], json!({}));
}

#[test]
fn nested_columns_and_rules() {
    let inner: ArrayRef = Arc::new(Int32Array::from(vec![Some(3), None]));
    let nested = StructArray::from(vec![(Arc::new(Field::new("i", DataType::Int32, true)), inner)]);
    let list = ListArray::from_iter_primitive::<arrow_array::types::Int32Type, _, _>(vec![Some(vec![Some(1)]), None]);
    let columns = || -> Vec<(&str, ArrayRef)> {
        vec![
            ("l", Arc::new(list.clone())),
            ("s", Arc::new(nested.clone())),
            ("n", Arc::new(Int32Array::from(vec![1, 2]))),
        ]
    };
    let found = stats(columns(), &StatsRule::First(2));
    assert_eq!(found["minValues"], json!({ "s": { "i": 3 } }));
    assert_eq!(found["nullCount"], json!({ "s": { "i": 1 } }));
    let found = stats(columns(), &StatsRule::Only(vec!["n".to_owned()]));
    assert_eq!(found["maxValues"], json!({ "n": 2 }));

    let rule = |name: &str, value: &str| StatsRule::of(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
    assert_eq!(rule("delta.dataSkippingNumIndexedCols", "-1"), StatsRule::First(usize::MAX));
    assert_eq!(rule("delta.dataSkippingNumIndexedCols", "3"), StatsRule::First(3));
    assert_eq!(rule("delta.dataSkippingStatsColumns", "a, `b`.c"), StatsRule::Only(vec!["a".into(), "b.c".into()]));
    assert_eq!(rule("delta.appendOnly", "true"), StatsRule::First(32));
}

#[test]
fn dates_far_away() {
    let cases = [(0, "1970-01-01"), (-719_528, "0000-01-01"), (-719_529, "-0001-12-31"), (2_932_897, "+10000-01-01")];
    for (days, text) in cases {
        assert_eq!(date(days), text);
    }
}
