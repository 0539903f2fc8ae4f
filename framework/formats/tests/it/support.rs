//! Random tests that say how to repeat them, and random types with values that fit.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow_array::{BinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use tidegate_formats::json::{Decoder, JsonOptions, Mode};

/// Runs a test on random values. The seed is printed; set `TIDEGATE_SEED` to it to run the same values again.
pub(crate) fn check<S: Strategy<Value: Debug>>(cases: u32, values: &S, test: impl Fn(S::Value)) {
    let seed = match std::env::var("TIDEGATE_SEED") {
        Ok(text) => text.parse().expect("TIDEGATE_SEED is a number"),
        Err(_) => RandomState::new().hash_one("seed"),
    };
    println!("TIDEGATE_SEED={seed}");
    let bytes: Vec<u8> = (0..4_u64).flat_map(|it| seed.wrapping_add(it).to_le_bytes()).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(values, |value| {
        test(value);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// A type, and JSON values of it.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) data_type: DataType,
    pub(crate) values: Vec<Value>,
}

pub(crate) fn decode(schema: &SchemaRef, documents: &[impl AsRef<[u8]>]) -> RecordBatch {
    let mut decoder = Decoder::new(schema.clone(), JsonOptions::default()).unwrap();
    decoder.decode(&BinaryArray::from_iter_values(documents)).unwrap()
}

/// The places of the documents that are malformed, by the words of their rejection.
pub(crate) fn malformed(schema: &SchemaRef, documents: &[Vec<u8>]) -> Vec<usize> {
    let options = JsonOptions { mode: Mode::Drop, corrupt_column: None };
    let mut decoder = Decoder::new(schema.clone(), options).unwrap();
    let decoded = decoder.decode_rows(&BinaryArray::from_iter_values(documents)).unwrap();
    assert_eq!(decoded.batch.num_rows() + decoded.rejected.len(), documents.len());
    let malformed = decoded.rejected.iter().filter(|it| it.error.to_string().contains("malformed"));
    malformed.map(|it| it.row).collect()
}

/// A schema and documents of it: all values fit, some are null or missing, fields come in any order, some are unknown.
pub(crate) fn documents(rows: usize) -> impl Strategy<Value = (SchemaRef, Vec<String>)> {
    let columns = prop::collection::vec((kind(2, rows), prop::collection::vec(0..10_u8, rows)), 1..7);
    (columns, any::<u64>(), prop::collection::vec(text(), 1..4)).prop_map(move |(columns, order, unknown)| {
        let fields = columns.iter().enumerate();
        let fields: Vec<Field> =
            fields.map(|(index, it)| Field::new(format!("f{index}"), it.0.data_type.clone(), true)).collect();
        let documents = (0..rows).map(|row| {
            let mut members: Vec<(String, Value)> = Vec::new();
            for (index, (kind, luck)) in columns.iter().enumerate() {
                match luck[row] {
                    0 => {}
                    1 => members.push((format!("f{index}"), Value::Null)),
                    _ => members.push((format!("f{index}"), kind.values[row].clone())),
                }
            }
            for (index, name) in unknown.iter().enumerate().take(row % 3) {
                members.push((format!("?{name}"), json!({"f0": [index, name, null, {"x": -1.5e-7}]})));
            }
            let turn = usize::try_from(order % 7).unwrap() % members.len().max(1);
            members.rotate_left(turn);
            // By hand: serde_json sorts the members of an object.
            let members: Vec<String> = members.iter().map(|(name, it)| format!("{}:{it}", json!(name))).collect();
            format!("{{{}}}", members.join(","))
        });
        let documents = documents.collect();
        (Arc::new(Schema::new(fields)), documents)
    })
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,20}",
        any::<String>(),
        Just("quote \" backslash \\ slash / tab \t nul \0".to_owned()),
        Just("käse 😀 \u{fffd}\u{7f}\u{2028}".to_owned()),
    ]
}

fn of<S>(data_type: DataType, rows: usize, values: S) -> BoxedStrategy<Kind>
where
    S: Strategy<Value: Into<Value> + Clone> + 'static,
{
    let values = prop::collection::vec(values, rows);
    let kind = move |values: Vec<S::Value>| Kind {
        data_type: data_type.clone(),
        values: values.into_iter().map(Into::into).collect(),
    };
    values.prop_map(kind).boxed()
}

/// A random type with as many values as there are rows.
fn kind(depth: u32, rows: usize) -> BoxedStrategy<Kind> {
    let time = (-62_135_596_800_000_i64..253_402_300_800_000).prop_map(|ms| {
        chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    });
    let date = (-700_000..2_900_000_i64).prop_map(|days| {
        let date = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::Duration::days(days);
        date.format("%Y-%m-%d").to_string()
    });
    let cents = (-99_999_999_i64..99_999_999).prop_map(|it| {
        let text = format!("{}{}.{:02}", if it < 0 { "-" } else { "" }, it.abs() / 100, it.abs() % 100);
        serde_json::from_str::<Value>(&text).unwrap()
    });
    let flat = prop_oneof![
        of(DataType::Boolean, rows, any::<bool>()),
        of(DataType::Int8, rows, any::<i8>()),
        of(DataType::Int16, rows, any::<i16>()),
        of(DataType::Int32, rows, any::<i32>()),
        of(DataType::Int64, rows, prop_oneof![any::<i64>(), -1000..1000_i64, Just(i64::MIN), Just(i64::MAX)]),
        of(DataType::Float64, rows, prop_oneof![any::<f64>(), -1e6..1e6_f64]),
        of(DataType::Float32, rows, any::<f32>()),
        of(DataType::Utf8, rows, text()),
        of(DataType::Decimal128(10, 2), rows, cents),
        of(DataType::Date32, rows, date),
        of(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), rows, time),
    ];
    if depth == 0 {
        return flat.boxed();
    }
    let list = kind(depth - 1, rows * 2).prop_map(move |item| Kind {
        data_type: DataType::List(Arc::new(Field::new_list_field(item.data_type, true))),
        values: (0..rows).map(|row| Value::from(item.values[row..row + row % 3].to_vec())).collect(),
    });
    let map = (kind(depth - 1, rows), text()).prop_map(move |(value, name)| {
        let parts = vec![Field::new("keys", DataType::Utf8, false), Field::new("values", value.data_type, true)];
        let entries = Field::new("entries", DataType::Struct(parts.into()), false);
        let values = value.values.into_iter().enumerate();
        let values = values.map(|(row, it)| if row % 3 == 0 { json!({}) } else { json!({"k": null, &name: it}) });
        Kind { data_type: DataType::Map(Arc::new(entries), false), values: values.collect() }
    });
    let record = (kind(depth - 1, rows), kind(depth - 1, rows)).prop_map(move |(x, y)| {
        let fields = vec![Field::new("x", x.data_type, true), Field::new("y \"q\"", y.data_type, true)];
        let values = x.values.into_iter().zip(y.values).enumerate();
        let values = values.map(|(row, (x, y))| match row % 4 {
            0 => json!({}),
            1 => json!({"x": x}),
            _ => json!({"y \"q\"": y, "x": x}),
        });
        Kind { data_type: DataType::Struct(fields.into()), values: values.collect() }
    });
    prop_oneof![4 => flat, 1 => list, 1 => map, 1 => record].boxed()
}
