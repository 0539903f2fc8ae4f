//! Documents that fit: arrow-json is the oracle.

use std::io::Cursor;

use arrow_array::{RecordBatch, StructArray};
use arrow_json::ReaderBuilder;
use arrow_schema::SchemaRef;
use serde_json::Value;
use tidegate_formats::json::encode;

use crate::support::{check, decode, documents};

fn oracle(schema: &SchemaRef, documents: &[String]) -> RecordBatch {
    let lines = documents.join("\n");
    let mut reader = ReaderBuilder::new(schema.clone()).with_batch_size(1_000).build(Cursor::new(lines)).unwrap();
    reader.next().unwrap().unwrap()
}

/// The same document with space around all that may have it.
fn spaced(document: &str) -> String {
    let mut out = String::new();
    let (mut in_text, mut escaped) = (false, false);
    for it in document.chars() {
        let structural = !in_text && "{}[],:".contains(it);
        out.push_str(if structural { " \t" } else { "" });
        out.push(it);
        out.push_str(if structural { "\r\n " } else { "" });
        in_text = if it == '"' && !escaped { !in_text } else { in_text };
        escaped = it == '\\' && !escaped;
    }
    out
}

#[test]
fn clean_documents_decode_as_by_arrow_json() {
    check(400, &documents(12), |(schema, documents)| {
        assert_eq!(decode(&schema, &documents), oracle(&schema, &documents));
    });
}

#[test]
fn space_between_tokens_changes_nothing() {
    check(100, &documents(6), |(schema, documents)| {
        let spaced: Vec<String> = documents.iter().map(|it| spaced(it)).collect();
        assert_eq!(decode(&schema, &spaced), decode(&schema, &documents));
    });
}

#[test]
fn what_is_written_reads_back() {
    check(300, &documents(8), |(schema, documents)| {
        let batch = decode(&schema, &documents);
        let texts = encode(&StructArray::from(batch.clone())).unwrap();
        let written: Vec<&str> = texts.iter().map(|it| it.unwrap()).collect();
        for text in &written {
            serde_json::from_str::<Value>(text).unwrap();
        }
        assert_eq!(decode(&schema, &written), batch);
    });
}
