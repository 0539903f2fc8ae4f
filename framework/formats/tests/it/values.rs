//! Documents of any kind, broken ones among them: serde_json reads them, and a few lines say what fits a column.

use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Fields, SchemaRef};
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use tidegate_formats::ddl::parse_schema;

use crate::dirty::{changes, mutate};
use crate::support::{check, decode, text};

const DDL: &str =
    "a STRING, b BIGINT, c DOUBLE, d BOOLEAN, e ARRAY<BIGINT>, f STRUCT<a: BIGINT, b: STRING, f: STRUCT<c: DOUBLE>>";

/// A value that keeps all members of its objects.
#[derive(Clone, Debug, PartialEq)]
enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Items(Vec<Json>),
    Members(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("not finite"))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element()? {
            found.push(item);
        }
        Ok(Json::Items(found))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut found = Vec::new();
        while let Some(member) = members.next_entry()? {
            found.push(member);
        }
        Ok(Json::Members(found))
    }
}

impl Json {
    fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(it) => out.push_str(&it.to_string()),
            Json::Number(it) => out.push_str(&it.to_string()),
            Json::Text(it) => out.push_str(&serde_json::to_string(it).unwrap()),
            Json::Items(items) => {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    out.push_str(if place > 0 { ", " } else { "" });
                    item.write(out);
                }
                out.push(']');
            }
            Json::Members(members) => {
                out.push('{');
                for (place, (name, value)) in members.iter().enumerate() {
                    out.push_str(if place > 0 { "," } else { " " });
                    out.push_str(&serde_json::to_string(name).unwrap());
                    out.push_str(" :");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// What a column of this type makes of the value: none if it does not fit.
    fn fitted(&self, data_type: &DataType) -> Option<Json> {
        match (data_type, self) {
            (_, Json::Null) | (DataType::Utf8, Json::Text(_)) | (DataType::Boolean, Json::Bool(_)) => {
                Some(self.clone())
            }
            // Any other value as it is written, which `same` reads again.
            (DataType::Utf8, _) => Some(self.clone()),
            (DataType::Int64, Json::Number(it)) => it.as_i64().map(|it| Json::Number(it.into())),
            (DataType::Float64, Json::Number(it)) => Some(Json::Number(Number::from_f64(it.as_f64()?)?)),
            (DataType::List(item), Json::Items(items)) => {
                items.iter().map(|it| it.fitted(item.data_type())).collect::<Option<_>>().map(Json::Items)
            }
            (DataType::Struct(fields), Json::Members(members)) => Some(Json::Members(fitted_members(fields, members))),
            _ => None,
        }
    }
}

fn fitted_members(fields: &Fields, members: &[(String, Json)]) -> Vec<(String, Json)> {
    let value = |name: &str, data_type: &DataType| {
        let mut equal = members.iter().rev().filter(|it| it.0 == name);
        equal.find_map(|it| it.1.fitted(data_type)).unwrap_or(Json::Null)
    };
    fields.iter().map(|it| (it.name().clone(), value(it.name(), it.data_type()))).collect()
}

/// Whether a column holds this value at `row`.
fn same(column: &ArrayRef, row: usize, expected: &Json) -> bool {
    if column.is_null(row) {
        return *expected == Json::Null;
    }
    match (column.data_type(), expected) {
        (DataType::Boolean, Json::Bool(it)) => column.as_boolean().value(row) == *it,
        (DataType::Int64, Json::Number(it)) => Some(column.as_primitive::<Int64Type>().value(row)) == it.as_i64(),
        (DataType::Float64, Json::Number(it)) => close(column.as_primitive::<Float64Type>().value(row), it),
        (DataType::Utf8, Json::Text(it)) => column.as_string::<i32>().value(row) == it,
        (DataType::Utf8, it) => {
            let written: Json = serde_json::from_str(column.as_string::<i32>().value(row)).unwrap();
            written == *it
        }
        (DataType::List(_), Json::Items(items)) => {
            let found = column.as_list::<i32>().value(row);
            found.len() == items.len() && items.iter().enumerate().all(|(at, it)| same(&found, at, it))
        }
        (DataType::Struct(_), Json::Members(members)) => {
            let found = column.as_struct();
            found.columns().iter().zip(members).all(|(column, it)| same(column, row, &it.1))
        }
        _ => false,
    }
}

/// serde_json may miss the nearest double by the last bits.
fn close(found: f64, expected: &Number) -> bool {
    let expected = expected.as_f64().unwrap();
    found == expected || (found - expected).abs() <= expected.abs() * 1e-15
}

/// No single quote: with those we take more texts than serde_json.
fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(|it| Json::Number(it.into())),
        (-1_000_000..1_000_000_i64).prop_map(|it| Json::Number(it.into())),
        (-1e9..1e9_f64).prop_map(|it| Json::Number(Number::from_f64(it).unwrap())),
        text().prop_map(|it| Json::Text(it.replace('\'', ""))),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Items), members(inner)]
    })
}

/// Few names, so that some are equal.
fn members(value: impl Strategy<Value = Json>) -> impl Strategy<Value = Json> {
    prop::collection::vec(("[a-g]", value), 0..7).prop_map(Json::Members)
}

fn agrees(schema: &SchemaRef, document: &[u8]) {
    let batch = decode(schema, &[document]);
    let expected = match serde_json::from_slice::<Json>(document) {
        Ok(Json::Members(members)) => fitted_members(schema.fields(), &members),
        // An array of one object is that object; what is out of range for serde_json is not malformed.
        Ok(Json::Items(_)) => return,
        Err(_) if serde_json::from_slice::<IgnoredAny>(document).is_ok() => return,
        _ => fitted_members(schema.fields(), &[]),
    };
    for (column, (name, expected)) in batch.columns().iter().zip(&expected) {
        let shown = String::from_utf8_lossy(document);
        assert!(same(column, 0, expected), "{shown}\n{name}: {column:?}, expected {expected:?}");
    }
}

#[test]
fn what_fits_is_there_and_nothing_else() {
    let schema = Arc::new(parse_schema(DDL).unwrap());
    check(4_000, &(members(json()), changes(2)), |(document, changes)| {
        let mut text = String::new();
        document.write(&mut text);
        agrees(&schema, text.as_bytes());
        // `-0` is a whole number for us and a fraction for serde_json.
        let dirty = mutate(text.into_bytes(), &changes);
        if !dirty.windows(2).any(|it| it == b"-0") {
            agrees(&schema, &dirty);
        }
    });
}
