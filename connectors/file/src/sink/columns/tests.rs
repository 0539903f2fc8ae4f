use arrow_array::types::Int32Type;
use arrow_array::{Array as _, DictionaryArray, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow_schema::IntervalUnit;

use super::*;

fn schema(columns: &[(&str, DataType)]) -> Schema {
    Schema::new(columns.iter().map(|(name, it)| Field::new(*name, it.clone(), false)).collect::<Vec<_>>())
}

#[test]
fn types_become_those_that_spark_reads() {
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()));
    let pages = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let list = DataType::new_list(DataType::UInt8, true);
    let given = schema(&[("t", nanos), ("p", pages), ("n", DataType::UInt64), ("l", list)]);
    let stored = of_files(&given, SinkFormat::Parquet).unwrap();
    let types: Vec<_> = stored.fields().iter().map(|it| it.data_type().clone()).collect();
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let expected = [utc, DataType::Utf8, DataType::Decimal128(20, 0), DataType::new_list(DataType::Int16, true)];
    assert_eq!(types, expected);
    assert!(stored.fields().iter().all(|it| it.is_nullable()));

    let pages: DictionaryArray<Int32Type> = vec![Some("x"), None].into_iter().collect();
    let times = TimestampNanosecondArray::from(vec![1_999, 2_000]).with_timezone("+00:00");
    let numbers = UInt64Array::from(vec![u64::MAX, 1]);
    let given = Arc::new(schema(&[
        ("t", times.data_type().clone()),
        ("p", pages.data_type().clone()),
        ("n", DataType::UInt64),
    ]));
    let stored = of_files(&given, SinkFormat::Parquet).unwrap();
    let columns: Vec<arrow_array::ArrayRef> = vec![Arc::new(times), Arc::new(pages), Arc::new(numbers)];
    let nullable =
        Schema::new(given.fields().iter().map(|it| it.as_ref().clone().with_nullable(true)).collect::<Vec<_>>());
    let fitted = fit(&stored, &RecordBatch::try_new(Arc::new(nullable), columns).unwrap()).unwrap();
    let pages: &StringArray = fitted.column(1).as_any().downcast_ref().unwrap();
    assert_eq!(pages, &StringArray::from(vec![Some("x"), None]));
    assert_eq!(format!("{:?}", fitted.column(2).slice(0, 1)).matches("18446744073709551615").count(), 1);
}

#[test]
fn what_files_can_not_hold_is_named() {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    for format in [SinkFormat::Parquet, SinkFormat::Json] {
        let problems =
            of_files(&schema(&[("a", interval.clone()), ("A", DataType::Int8), ("", DataType::Int8)]), format);
        let problems = problems.unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("column 'a' has "), "{problems:?}");
        assert!(problems[1].contains("'a' and 'A'") && problems[2].contains("column 3"), "{problems:?}");
        assert_eq!(of_files(&Schema::empty(), format).unwrap_err(), ["the query has no columns"]);
    }
    assert!(of_files(&schema(&[("n", DataType::Null)]), SinkFormat::Parquet).unwrap_err()[0].contains("cast it"));
}
