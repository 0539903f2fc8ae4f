use std::sync::Arc;

use arrow_schema::{Fields, TimeUnit};

use super::*;

fn shown(arrow: &ArrowType) -> String {
    delta_type(arrow).map_or_else(|e| e, |it| it.to_string())
}

#[test]
fn types() {
    let utc = ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let cases = [
        (ArrowType::Int64, "long"),
        (ArrowType::UInt8, "short"),
        (ArrowType::UInt64, "long"),
        (ArrowType::Utf8View, "string"),
        (ArrowType::Date32, "date"),
        (utc.clone(), "timestamp"),
        (ArrowType::Timestamp(TimeUnit::Nanosecond, None), "timestamp"),
        (ArrowType::Decimal128(10, 2), "decimal(10,2)"),
        (ArrowType::Dictionary(Box::new(ArrowType::Int32), Box::new(ArrowType::Utf8)), "string"),
        (ArrowType::new_list(ArrowType::Int32, true), "array<integer>"),
    ];
    for (arrow, delta) in cases {
        assert_eq!(shown(&arrow), delta, "{arrow}");
    }
    assert!(shown(&ArrowType::Null).contains("cast it"));
    assert!(shown(&ArrowType::Decimal128(10, -2)).contains("DECIMAL(10, -2)"));
    assert_eq!(arrow_type(&DataType::TIMESTAMP), Ok(utc));
}

#[test]
fn nested_types_are_nullable_inside_and_name_what_is_wrong() {
    let inner = Fields::from(vec![
        Field::new("a", ArrowType::Int32, false),
        Field::new("t", ArrowType::Duration(TimeUnit::Second), true),
    ]);
    let schema = Schema::new(vec![Field::new("s", ArrowType::Struct(inner), true)]);
    let problems = problems(&schema);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("column 's' holds 't', which has type"), "{problems:?}");

    let inner = Fields::from(vec![Field::new("a", ArrowType::Int32, false)]);
    let list = ArrowType::List(Arc::new(Field::new("item", ArrowType::Struct(inner), false)));
    let columns = columns(&Schema::new(vec![Field::new("l", list, false)])).unwrap();
    assert!(columns[0].is_nullable());
    let ArrowType::List(item) = arrow_type(columns[0].data_type()).unwrap() else { panic!("a list") };
    assert!(item.is_nullable());
    let ArrowType::Struct(fields) = item.data_type() else { panic!("a struct") };
    assert!(fields[0].is_nullable());
}

#[test]
fn sameness_ignores_nullability_and_nothing_else() {
    let strict = DataType::from(ArrayType::new(DataType::LONG, false));
    let loose = DataType::from(ArrayType::new(DataType::LONG, true));
    let other = DataType::from(ArrayType::new(DataType::INTEGER, true));
    assert!(same_type(&strict, &loose));
    assert!(!same_type(&loose, &other));
    assert!(!same_type(&DataType::TIMESTAMP, &DataType::TIMESTAMP_NTZ));
}
