use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{DictionaryArray, Int32Array, Int64Array, TimestampMicrosecondArray, UInt64Array};
use arrow_schema::{Field, Schema, TimeUnit};

use super::*;
use crate::stats::StatsRule;

fn layout(columns: Vec<(&str, DataType, bool)>, partitions: Vec<usize>) -> Layout {
    let in_file: Vec<_> = (0..columns.len()).filter(|it| !partitions.contains(it)).collect();
    let fields: Vec<_> = columns.iter().map(|(name, arrow, _)| Field::new(*name, arrow.clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let file_schema = Arc::new(schema.project(&in_file).unwrap());
    let columns = columns.into_iter().map(|(name, arrow, required)| Column { name: name.to_owned(), arrow, required });
    Layout { columns: columns.collect(), in_file, partitions, schema, file_schema, stats: StatsRule::First(0) }
}

fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    let names = ["a", "b", "c", "d"];
    RecordBatch::try_from_iter_with_nullable(names.iter().zip(columns).map(|(n, a)| (n, a, true))).unwrap()
}

#[test]
fn rows_that_do_not_fit_are_given_back() {
    let layout = layout(vec![("a", DataType::Int64, false), ("b", DataType::Utf8, true)], vec![]);
    let pages: DictionaryArray<Int32Type> = vec![Some("x"), Some("y"), None, Some("z")].into_iter().collect();
    let given = batch(vec![Arc::new(UInt64Array::from(vec![Some(1), Some(u64::MAX), Some(3), None])), Arc::new(pages)]);
    let (fitted, rejected) = fit(&layout, &given).unwrap();
    let told: Vec<_> = rejected.iter().map(|it| (it.row, it.error.to_string())).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].0 == 1 && told[0].1.contains("column 'a': the value does not fit Int64"), "{told:?}");
    assert!(told[1].0 == 2 && told[1].1.contains("column 'b': null, the table takes none"), "{told:?}");
    let a: &Int64Array = fitted.column(0).as_any().downcast_ref().unwrap();
    assert_eq!(a, &Int64Array::from(vec![Some(1), None]));
    let b: &StringArray = fitted.column(1).as_any().downcast_ref().unwrap();
    assert_eq!(b, &StringArray::from(vec!["x", "z"]));
}

#[test]
fn a_batch_of_other_columns_is_an_internal_error() {
    let layout = layout(vec![("a", DataType::Int64, false)], vec![]);
    let given = batch(vec![Arc::new(Int64Array::from(vec![1])), Arc::new(Int64Array::from(vec![1]))]);
    assert!(fit(&layout, &given).unwrap_err().to_string().contains("2 columns, the query has 1"));
}

#[test]
fn nested_values_that_do_not_fit_fail_the_batch() {
    let list = DataType::new_list(DataType::Int32, true);
    let layout = layout(vec![("a", list, false)], vec![]);
    let given =
        arrow_array::ListArray::from_iter_primitive::<arrow_array::types::Int64Type, _, _>(vec![Some(vec![Some(
            i64::MAX,
        )])]);
    let error = fit(&layout, &batch(vec![Arc::new(given)])).unwrap_err();
    assert_eq!(error.kind(), tidegate_api::ErrorKind::Data);
    assert!(error.to_string().contains("column 'a'"));
}

#[test]
fn rows_go_to_their_partition() {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = vec![("a", DataType::Int32, false), ("b", DataType::Utf8, false), ("c", utc, false)];
    let layout = layout(columns, vec![2, 1]);
    let ts = TimestampMicrosecondArray::from(vec![1_500_000, 0, 1_500_000, 1_500_000]).with_timezone("UTC");
    let given = batch(vec![
        Arc::new(Int32Array::from(vec![1, 2, 3, 4])),
        Arc::new(StringArray::from(vec![Some("x"), Some(""), None, Some("x")])),
        Arc::new(ts),
    ]);
    let parts = by_partition(&layout, &given).unwrap();
    let told: Vec<_> = parts
        .iter()
        .map(|(values, rows)| {
            assert_eq!(rows.schema(), layout.file_schema);
            let numbers: &Int32Array = rows.column(0).as_any().downcast_ref().unwrap();
            let texts: Vec<_> = values.iter().map(|it| it.as_deref().unwrap_or("null")).collect();
            (texts.join(" "), numbers.values().to_vec())
        })
        .collect();
    let expected = [
        ("1970-01-01T00:00:00Z null".to_owned(), vec![2]),
        ("1970-01-01T00:00:01.500Z null".to_owned(), vec![3]),
        ("1970-01-01T00:00:01.500Z x".to_owned(), vec![1, 4]),
    ];
    assert_eq!(told, expected);
}
