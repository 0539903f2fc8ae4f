use arrow_array::{BinaryArray, Int64Array, StringArray};
use rdkafka::message::Headers;
use tidegate_api::{ConfigDef, Settings};

use super::*;

fn config(more: &[(&str, &str)]) -> KafkaSinkConfig {
    let mut settings = Settings::from_iter([("kafka.bootstrap.servers", "x:1")]);
    for (key, value) in more {
        settings.push(*key, *value);
    }
    KafkaSinkConfig::parse(&settings).unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn problems(more: &[(&str, &str)], rows: &RecordBatch) -> String {
    let issues = Layout::new(&config(more), &rows.schema()).err().unwrap_or_default();
    issues.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn words(all: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(all.to_vec()))
}

#[test]
fn columns_are_records_as_in_spark() {
    let values: ArrayRef = Arc::new(BinaryArray::from(vec![Some(b"v0".as_slice()), None]));
    let partitions: ArrayRef = Arc::new(Int32Array::from(vec![Some(3), None]));
    let (keys, topics) = (words(&[Some("k0"), None]), words(&[Some("a"), Some("b")]));
    let rows = batch(vec![("Value", values), ("key", keys), ("topic", topics), ("partition", partitions)]);
    let records = Layout::new(&config(&[]), &rows.schema()).unwrap().records(&rows).unwrap();
    let (first, second) = (records.get(0).unwrap(), records.get(1).unwrap());
    let seen = (first.topic, first.partition, first.key, first.value);
    assert_eq!(seen, ("a", Some(3), Some(b"k0".as_slice()), Some(b"v0".as_slice())));
    assert_eq!((second.topic, second.partition, second.key, second.value), ("b", None, None, None));
    // The key wins over the column, as in Spark.
    let records = Layout::new(&config(&[("topic", "t")]), &rows.schema()).unwrap().records(&rows).unwrap();
    assert_eq!(records.get(1).unwrap().topic, "t");
}

#[test]
fn a_row_is_a_json_document_without_the_parts_of_the_record() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
    let rows = batch(vec![("id", ids), ("word", words(&[Some("x"), Some("y")])), ("topic", words(&[Some("t"), None]))]);
    let json = [("value.format", "json"), ("key.column", "id")];
    let records = Layout::new(&config(&json), &rows.schema()).unwrap().records(&rows).unwrap();
    let first = records.get(0).unwrap();
    assert_eq!((first.key, first.value), (Some(b"7".as_slice()), Some(br#"{"id":7,"word":"x"}"#.as_slice())));
    let error = records.get(1).err().unwrap();
    assert_eq!(error.to_string(), "row 1 for kafka: column 'topic' is null, expected the name of a topic");
}

#[test]
fn headers_are_kept_in_order() {
    let mut builder = arrow_array::builder::ListBuilder::new(arrow_array::builder::StructBuilder::from_fields(
        vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Binary, true)],
        2,
    ));
    for (key, value) in [("a", Some(b"1".as_slice())), ("a", None)] {
        let entry = builder.values();
        entry.field_builder::<arrow_array::builder::StringBuilder>(0).unwrap().append_value(key);
        entry.field_builder::<arrow_array::builder::BinaryBuilder>(1).unwrap().append_option(value);
        entry.append(true);
    }
    builder.append(true);
    let rows = batch(vec![("value", words(&[Some("v")])), ("headers", Arc::new(builder.finish()))]);
    let records = Layout::new(&config(&[("topic", "t")]), &rows.schema()).unwrap().records(&rows).unwrap();
    let headers = records.get(0).unwrap().headers.unwrap();
    let all: Vec<_> = headers.iter().map(|it| (it.key.to_owned(), it.value.map(<[u8]>::to_vec))).collect();
    assert_eq!(all, [("a".to_owned(), Some(b"1".to_vec())), ("a".to_owned(), None)]);
}

#[test]
fn what_can_not_be_a_record_is_told() {
    let rows = batch(vec![("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let text = problems(&[], &rows);
    assert!(text.contains("topic: found no topic here and no column 'topic'; the rows have id"), "{text}");
    assert!(text.contains("value.format: found no column 'value'"), "{text}");
    let text = problems(&[("topic", "t"), ("value.format", "json"), ("key.column", "uid")], &rows);
    assert_eq!(text, "key.column: found no column 'uid'; the rows have id");
    let rows = batch(vec![("value", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    assert_eq!(problems(&[("topic", "t")], &rows), "sql: column 'value' is Int64, expected STRING or BINARY");
    let rows = batch(vec![("topic", words(&[Some("t")]))]);
    assert!(problems(&[("value.format", "json")], &rows).contains("no column for the document"));
}
