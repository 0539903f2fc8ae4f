//! `Layout`: which columns of a row are key, value, topic, partition and headers (Spark: `KafkaWriter`).

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StructArray, new_empty_array};
use arrow_schema::{DataType, Field, Fields, Schema};
use rdkafka::message::{Header, OwnedHeaders};
use tidegate_api::{ConfigIssue, Error, Result};
use tidegate_formats::json;

use super::bytes::Bytes;
use super::config::{KafkaSinkConfig, ValueFormat, is_topic};

const KEY: &str = "key";
const VALUE: &str = "value";
const TOPIC: &str = "topic";
const PARTITION: &str = "partition";
const HEADERS: &str = "headers";

/// Where the parts of a record lie.
pub(crate) struct Layout {
    /// The topic of all rows; none: the column `topic`.
    topic: Option<Arc<str>>,
    topics: Option<usize>,
    key: Option<usize>,
    partition: Option<usize>,
    headers: Option<usize>,
    value: Value,
}

enum Value {
    Column(usize),
    Document(Vec<usize>, Fields),
}

/// The records of a batch, in its order.
pub(crate) struct Records {
    rows: usize,
    topic: Option<Arc<str>>,
    topics: Option<Bytes>,
    keys: Option<Bytes>,
    values: Bytes,
    partitions: Option<Int32Array>,
    headers: Option<ArrayRef>,
}

/// One record.
pub(crate) struct Record<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Option<OwnedHeaders>,
}

impl Layout {
    /// Finds the columns, or says all that is wrong with them.
    pub(crate) fn new(config: &KafkaSinkConfig, schema: &Schema) -> Result<Self, Vec<ConfigIssue>> {
        let mut issues = Vec::new();
        let mut find = |name: &str, expected: &str, fits: fn(&DataType) -> bool| {
            let (at, field) = column(schema, name)?;
            if !fits(field.data_type()) {
                let message = format!("column '{name}' is {}, expected {expected}", field.data_type());
                issues.push(ConfigIssue::new("sql", message));
            }
            Some(at)
        };
        let topics = find(TOPIC, "STRING", is_text);
        let partition = find(PARTITION, "INT", |it| *it == DataType::Int32);
        let headers = find(HEADERS, "ARRAY<STRUCT<key STRING, value BINARY>>", are_headers);
        let key_name = config.key_column.as_deref().unwrap_or(KEY);
        let key = find(key_name, "STRING, BINARY, a whole number or BOOLEAN", |it| is_bytes(it) || is_plain(it));
        let value = match config.value_format {
            ValueFormat::Raw => find(VALUE, "STRING or BINARY", is_bytes).map(Value::Column),
            ValueFormat::Json => Some(document(schema)),
        };
        if key.is_none() && config.key_column.is_some() {
            issues.push(missing("key.column", schema, &format!("found no column '{key_name}'")));
        }
        if config.topic.is_none() && topics.is_none() {
            issues.push(missing("topic", schema, "found no topic here and no column 'topic'"));
        }
        if let Some(Value::Document(_, fields)) = &value {
            if fields.is_empty() {
                issues.push(missing("value.format", schema, "found no column for the document"));
            } else if let Err(error) = json::encode(&new_empty_array(&DataType::Struct(fields.clone()))) {
                issues.push(ConfigIssue::new("value.format", error.to_string()));
            }
        }
        match value {
            None => issues.push(missing("value.format", schema, "found no column 'value'")),
            Some(value) if issues.is_empty() => {
                return Ok(Self {
                    topic: config.topic.as_deref().map(Into::into),
                    topics,
                    key,
                    partition,
                    headers,
                    value,
                });
            }
            Some(_) => {}
        }
        Err(issues)
    }

    /// The records of a batch.
    pub(crate) fn records(&self, batch: &RecordBatch) -> Result<Records> {
        let bytes = |at: usize| Bytes::new(batch.column(at));
        let topics = self.topics.filter(|_| self.topic.is_none()).map(bytes).transpose()?;
        let values = match &self.value {
            Value::Column(at) => bytes(*at)?,
            Value::Document(columns, fields) => {
                let columns = columns.iter().map(|at| batch.column(*at).clone()).collect();
                let rows = StructArray::try_new(fields.clone(), columns, None)
                    .map_err(|e| Error::internal("rows for JSON documents").because(e))?;
                Bytes::new(&(Arc::new(json::encode(&rows)?) as ArrayRef))?
            }
        };
        let partitions = self.partition.map(|at| batch.column(at).as_primitive_opt().cloned());
        let partitions = partitions.map(|it| it.ok_or_else(|| Error::internal("column 'partition' is not INT")));
        Ok(Records {
            rows: batch.num_rows(),
            topic: self.topic.clone(),
            topics,
            keys: self.key.map(bytes).transpose()?,
            values,
            partitions: partitions.transpose()?,
            headers: self.headers.map(|at| batch.column(at).clone()),
        })
    }
}

impl Records {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// The record of a row, or why it can't be one.
    pub(crate) fn get(&self, row: usize) -> Result<Record<'_>> {
        let topic = match (&self.topic, &self.topics) {
            (Some(topic), _) => topic.as_ref(),
            (None, topics) => {
                let found = topics.as_ref().and_then(|it| it.get(row));
                let found = found.ok_or_else(|| wrong(row, "column 'topic' is null, expected the name of a topic"))?;
                let name = std::str::from_utf8(found).ok().filter(|it| is_topic(it));
                name.ok_or_else(|| wrong(row, &format!("'{}' is not a topic name", String::from_utf8_lossy(found))))?
            }
        };
        let partition = self.partitions.as_ref().filter(|it| it.is_valid(row)).map(|it| it.value(row));
        if let Some(number) = partition.filter(|it| *it < 0) {
            return Err(wrong(row, &format!("partition {number} is negative")));
        }
        let headers = self.headers.as_ref().map(|it| headers(it, row)).transpose()?.flatten();
        let key = self.keys.as_ref().and_then(|it| it.get(row));
        Ok(Record { topic, partition, key, value: self.values.get(row), headers })
    }
}

fn wrong(row: usize, what: &str) -> Error {
    Error::data(format!("row {row} for kafka: {what}"))
}

fn column<'a>(schema: &'a Schema, name: &str) -> Option<(usize, &'a Field)> {
    let found = schema.fields().iter().enumerate().find(|(_, it)| it.name().eq_ignore_ascii_case(name));
    found.map(|(at, field)| (at, field.as_ref()))
}

fn missing(key: &str, schema: &Schema, what: &str) -> ConfigIssue {
    let known: Vec<_> = schema.fields().iter().map(|it| it.name().as_str()).collect();
    ConfigIssue::new(key, format!("{what}; the rows have {}", known.join(", ")))
}

/// All columns that are not parts of the record themselves.
fn document(schema: &Schema) -> Value {
    let own = |name: &str| [KEY, TOPIC, PARTITION, HEADERS].iter().any(|it| it.eq_ignore_ascii_case(name));
    let kept = schema.fields().iter().enumerate().filter(|(_, it)| !own(it.name()));
    let (columns, fields): (Vec<_>, Vec<_>) = kept.map(|(at, field)| (at, field.clone())).unzip();
    Value::Document(columns, fields.into())
}

fn is_text(it: &DataType) -> bool {
    matches!(it, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_bytes(it: &DataType) -> bool {
    is_text(it) || matches!(it, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_plain(it: &DataType) -> bool {
    it.is_integer() || *it == DataType::Boolean
}

fn are_headers(it: &DataType) -> bool {
    let DataType::List(item) = it else { return false };
    let DataType::Struct(fields) = item.data_type() else { return false };
    match fields.iter().as_slice() {
        [key, value] => is_text(key.data_type()) && is_bytes(value.data_type()),
        _ => false,
    }
}

fn headers(column: &ArrayRef, row: usize) -> Result<Option<OwnedHeaders>> {
    if column.is_null(row) {
        return Ok(None);
    }
    let lost = || Error::internal("column 'headers' is no list of keys and values");
    let entries = column.as_list_opt::<i32>().ok_or_else(lost)?.value(row);
    let entries = entries.as_struct_opt().ok_or_else(lost)?;
    let [keys, values] = entries.columns() else { return Err(lost()) };
    let (keys, values) = (Bytes::new(keys)?, Bytes::new(values)?);
    let mut headers = OwnedHeaders::new_with_capacity(entries.len());
    for at in 0..entries.len() {
        let key = keys.get(at).and_then(|it| std::str::from_utf8(it).ok());
        let key = key.filter(|it| !it.contains('\0')).ok_or_else(|| wrong(row, "a header's key is null"))?;
        headers = headers.insert(Header { key, value: values.get(at) });
    }
    Ok(Some(headers))
}

#[cfg(test)]
mod tests;
