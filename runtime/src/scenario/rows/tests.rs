//! Tests of rows as written.

use std::sync::Arc;

use arrow_array::TimestampMicrosecondArray;
use arrow_array::cast::AsArray;
use tidegate_formats::ddl::parse_schema;

use super::*;

fn row(yaml: &str) -> Row {
    Node::parse(yaml, "yaml").unwrap().entries().unwrap().to_vec()
}

#[test]
fn a_number_for_a_timestamp_is_seconds() {
    let schema = Arc::new(parse_schema("ts TIMESTAMP, n INT").unwrap());
    let rows = [row("{ts: 10, n: 1}"), row("{ts: -0.5, n: 2}"), row("{ts: '1970-01-01 00:01:00', n: 3}")];
    let batch = decode(&rows, &schema).unwrap();
    let times: &TimestampMicrosecondArray = batch.column(0).as_primitive();
    assert_eq!(times.values(), &[10_000_000, -500_000, 60_000_000]);
}

#[test]
fn a_cell_that_does_not_fit_is_an_error_and_not_a_null() {
    let schema = Arc::new(parse_schema("n INT").unwrap());
    assert!(decode(&[row("{n: x}")], &schema).is_err());
    assert_eq!(decode(&[row("{n: null}")], &schema).unwrap().column(0).null_count(), 1);
}

#[test]
fn an_expected_row_names_exactly_the_columns() {
    let ordered = in_order(&row("{b: 2, A: 1}"), &["a", "b"]).unwrap();
    assert_eq!(ordered.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let report = in_order(&row("{a: 1, c: 3}"), &["a", "b"]).unwrap_err();
    assert!(report.contains("lacks: b") && report.contains("too many: c"), "{report}");
}

#[test]
fn an_added_row_may_leave_out_columns_but_not_invent_them() {
    assert_eq!(filled(&row("{b: 2}"), &["a", "b"]).unwrap()[0], ("a".to_owned(), Node::Null));
    assert!(filled(&row("{c: 2}"), &["a", "b"]).unwrap_err().contains("unknown column 'c'"));
}

#[test]
fn times_of_steps() {
    let ms = |yaml: &str| time_ms(&Node::parse(yaml, "yaml").unwrap());
    assert_eq!(ms("15"), Ok(15_000));
    assert_eq!(ms("-0.25"), Ok(-250));
    assert_eq!(ms("'1970-01-01 00:00:15'"), Ok(15_000));
    assert!(ms("[1]").is_err());
    assert_eq!(show_ms(15_500), "15.5 (1970-01-01 00:00:15.500)");
    assert_eq!(show_ms(0), "0 (1970-01-01 00:00:00)");
}
