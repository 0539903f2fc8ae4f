//! Documents that are broken: serde_json says which, and what stands around them must not suffer.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, StructArray};
use arrow_schema::{DataType, Schema, SchemaRef};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;
use tidegate_formats::ddl::parse_schema;
use tidegate_formats::json::{Decoder, JsonOptions};

use crate::support::{check, decode, documents, malformed, text};

/// Bytes that matter to the grammar. No single quote, N or I: there we take more than serde_json.
const ALPHABET: &[u8] = b"{}[],:\"\\/0123456789.eE+-truefalsn ub\n\t\x01\x7f\xc3";

fn typed() -> SchemaRef {
    let ddl = "a STRING, b BIGINT, c ARRAY<DOUBLE>, d MAP<STRING,BOOLEAN>, e STRUCT<a: TIMESTAMP, b: DECIMAL(10,2)>, f BINARY";
    Arc::new(parse_schema(ddl).unwrap())
}

/// Any value, with the names that `typed` knows.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(|it| Value::from(it.replace('\'', "")))
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-g]", inner, 0..5).prop_map(|it| it.into_iter().collect()),
        ]
    })
}

/// Takes, replaces or puts in a few bytes.
pub(crate) fn mutate(mut bytes: Vec<u8>, changes: &[(u8, usize, usize)]) -> Vec<u8> {
    for (what, at, byte) in changes {
        let at = at % (bytes.len() + 1);
        let byte = ALPHABET[byte % ALPHABET.len()];
        match what % 4 {
            0 if at < bytes.len() => drop(bytes.remove(at)),
            1 if at < bytes.len() => bytes[at] = byte,
            2 => bytes.truncate(at),
            _ => bytes.insert(at, byte),
        }
    }
    bytes
}

pub(crate) fn changes(most: usize) -> impl Strategy<Value = Vec<(u8, usize, usize)>> {
    prop::collection::vec((any::<u8>(), any::<usize>(), any::<usize>()), 0..=most)
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-g]", value(), 0..5).prop_map(|it| it.into_iter().collect())
}

fn agrees(documents: &[Vec<u8>]) {
    let expected: Vec<usize> = (0..documents.len())
        .filter(|it| {
            let document = &documents[*it];
            let blank = document.iter().all(|it| b" \n\t\r".contains(it));
            // A top-level array is another matter: we take it for one object, or not at all.
            let array = document.iter().find(|it| !b" \n\t\r".contains(it)) == Some(&b'[');
            !blank && (array || serde_json::from_slice::<IgnoredAny>(document).is_err())
        })
        .collect();
    for schema in [typed(), Arc::new(Schema::empty())] {
        let found = malformed(&schema, documents);
        let differing = (0..documents.len()).find(|it| found.contains(it) != expected.contains(it));
        assert_eq!(differing.map(|it| String::from_utf8_lossy(&documents[it]).into_owned()), None, "{found:?}");
    }
}

#[test]
fn serde_json_agrees_on_what_is_malformed() {
    check(3_000, &(object(), changes(3)), |(value, changes)| {
        agrees(&[mutate(serde_json::to_vec(&value).unwrap(), &changes)]);
    });
    check(3_000, &prop::collection::vec(prop::sample::select(ALPHABET), 0..12), |bytes| {
        let wrapped = [b"{\"b\":".as_slice(), &bytes, b"}"].concat();
        let in_array = [b"{\"c\":[".as_slice(), &bytes, b"]}"].concat();
        let in_text = [b"{\"a\":\"".as_slice(), &bytes, b"\"}"].concat();
        let behind = [b"{}".as_slice(), &bytes].concat();
        agrees(&[bytes, wrapped, in_array, in_text, behind]);
    });
}

#[test]
fn random_bytes_never_panic_and_never_spread() {
    let good = br#"{"a":"x","b":1,"c":[1.5],"d":{"k":true},"e":{"a":"2026-03-01","b":"1.25"},"f":"Zg=="}"#.to_vec();
    let expected = decode(&typed(), std::slice::from_ref(&good));
    check(2_000, &(prop::collection::vec(any::<u8>(), 0..40), changes(6)), |(noise, changes)| {
        let dirty = mutate(good.clone(), &changes);
        let spliced = [dirty.as_slice(), &noise].concat();
        let batch = decode(&typed(), &[noise, good.clone(), dirty, good.clone(), spliced, good.clone()]);
        assert_eq!(batch.num_rows(), 6);
        for row in [1, 3, 5] {
            assert_eq!(batch.slice(row, 1), expected);
        }
    });
}

#[test]
fn a_document_cut_anywhere_is_null_and_the_next_row_is_right() {
    check(60, &documents(3), |(schema, documents)| {
        for whole in documents {
            let expected = decode(&schema, std::slice::from_ref(&whole));
            let nulls = decode(&schema, &[b"{}".to_vec()]);
            let whole = whole.as_bytes();
            let cuts: Vec<&[u8]> = (0..whole.len()).flat_map(|it| [&whole[..it], whole]).collect();
            let batch = decode(&schema, &cuts);
            for row in 0..batch.num_rows() {
                assert_eq!(&batch.slice(row, 1), if row % 2 == 0 { &nulls } else { &expected }, "row {row}");
            }
        }
    });
}

/// The fields of a struct, and of those in it, by their paths; what they hold where the struct is null does not count.
fn leaves(array: &StructArray, path: &str) -> Vec<(String, ArrayRef)> {
    let valid: BooleanArray = (0..array.len()).map(|it| Some(array.is_valid(it))).collect();
    let mut found = vec![(format!("{path}?"), Arc::new(valid) as ArrayRef)];
    for (field, column) in array.fields().iter().zip(array.columns()) {
        let path = format!("{path}.{}", field.name());
        match column.as_struct_opt() {
            Some(inner) => found.extend(leaves(inner, &path)),
            None => found.push((path, column.clone())),
        }
    }
    found
}

#[test]
fn fewer_fields_change_no_value_of_the_others() {
    let whole = DataType::Struct(typed().fields().clone());
    let parts = ["b BIGINT", "a STRING, e STRUCT<b: DECIMAL(10,2)>", "d MAP<STRING,BOOLEAN>, f BINARY"];
    let read = |wanted: &DataType, documents: &[Vec<u8>]| {
        let mut decoder = Decoder::for_type(wanted, JsonOptions::default()).unwrap();
        let rows = decoder.decode_array(&BinaryArray::from_iter_values(documents)).unwrap();
        leaves(rows.as_struct(), "")
    };
    check(2_000, &prop::collection::vec((object(), changes(3)), 1..4), |documents| {
        let bytes = |(value, changes): (Value, Vec<_>)| mutate(serde_json::to_vec(&value).unwrap(), &changes);
        let documents: Vec<Vec<u8>> = documents.into_iter().map(bytes).collect();
        let all = read(&whole, &documents);
        for part in parts {
            let part = DataType::Struct(parse_schema(part).unwrap().fields().clone());
            for found in read(&part, &documents) {
                assert!(all.contains(&found), "{found:?} is not among {all:?}");
            }
        }
    });
}

#[test]
fn brackets_are_counted_from_the_outermost_whatever_is_decoded() {
    let nested = |depth: usize| {
        [b"{\"e\":{\"s\":[".as_slice(), &b"[".repeat(depth - 3), b"1", &b"]".repeat(depth - 2), b"}}"].concat()
    };
    let documents = [nested(1_000), nested(1_001)];
    for ddl in ["x INT", "e INT", "e STRING", "e STRUCT<x: INT>", "e STRUCT<s: STRING>", "e STRUCT<s: ARRAY<STRING>>"] {
        assert_eq!(malformed(&Arc::new(parse_schema(ddl).unwrap()), &documents), [1], "{ddl}");
    }
}
