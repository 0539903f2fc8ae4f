use super::{decimal_micros, float_micros, number};

use arrow_schema::DataType;

#[test]
fn fractions_are_cut_to_microseconds() {
    assert_eq!(float_micros(1.5), Some(1_500_000));
    assert_eq!(float_micros(-0.000_001), Some(-1));
    assert_eq!(float_micros(f64::NAN), None);
    assert_eq!(float_micros(f64::INFINITY), None);
    assert_eq!(float_micros(1e13), None);
    assert_eq!(decimal_micros(125, 2), Some(1_250_000));
    assert_eq!(decimal_micros(-3, 0), Some(-3_000_000));
    assert_eq!(decimal_micros(1_234_567_891, 9), Some(1_234_567));
    assert_eq!(decimal_micros(5, -1), Some(50_000_000));
    assert_eq!(decimal_micros(i128::MAX, 0), None);
}

#[test]
fn numbers_only() {
    assert_eq!(number(&DataType::UInt8, "f").unwrap(), DataType::Int64);
    assert_eq!(number(&DataType::Float32, "f").unwrap(), DataType::Float64);
    assert!(number(&DataType::Utf8, "f").unwrap_err().to_string().contains("f: expected a number"));
}
