//! Tests of comparing rows.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

use super::{cells, same_rows};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, it)| (name, it, true))).unwrap()
}

fn numbers(values: &[Option<i64>]) -> RecordBatch {
    batch(vec![("n", Arc::new(Int64Array::from(values.to_vec())))])
}

fn check(expected: &RecordBatch, came: &RecordBatch) -> Result<(), String> {
    same_rows(&cells([expected]).unwrap(), &cells([came]).unwrap())
}

#[test]
fn order_does_not_count_but_number_does() {
    assert_eq!(check(&numbers(&[Some(1), None, Some(2)]), &numbers(&[Some(2), Some(1), None])), Ok(()));
    let report = check(&numbers(&[Some(1), Some(1)]), &numbers(&[Some(1)])).unwrap_err();
    assert!(report.contains("missing:  [{n: 1}]"), "{report}");
    let report = check(&numbers(&[Some(1)]), &numbers(&[Some(1), None])).unwrap_err();
    assert!(report.contains("too many: [{n: null}]"), "{report}");
}

#[test]
fn floats_are_compared_with_a_tiny_tolerance() {
    let floats = |values: &[f64]| batch(vec![("x", Arc::new(Float64Array::from(values.to_vec())))]);
    assert_eq!(check(&floats(&[0.1 + 0.2, f64::NAN]), &floats(&[0.3, f64::NAN])), Ok(()));
    assert!(check(&floats(&[0.3]), &floats(&[0.300_001])).is_err());
}

#[test]
fn text_and_number_are_not_the_same() {
    let text = batch(vec![("n", Arc::new(StringArray::from(vec![Some(""), None])))]);
    assert!(check(&text, &batch(vec![("n", Arc::new(StringArray::from(vec![None::<&str>, None])))])).is_err());
}

#[test]
fn rows_are_shown_with_their_columns() {
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![10_500_000]).with_timezone("UTC"));
    let rows = cells([&batch(vec![("start", times), ("word", Arc::new(StringArray::from(vec!["a"])))])]).unwrap();
    assert_eq!(rows[0].to_string(), "{start: 1970-01-01T00:00:10.500Z, word: a}");
}
