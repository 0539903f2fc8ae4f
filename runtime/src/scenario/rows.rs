//! Rows as written in a scenario, to Arrow; and times.

use arrow_array::temporal_conversions::timestamp_us_to_datetime;
use arrow_array::{RecordBatch, StringArray};
use arrow_cast::parse::string_to_timestamp_nanos;
use arrow_schema::{DataType, SchemaRef};
use serde_json::Value;
use tidegate_formats::json::{Decoder, JsonOptions, Mode};

use super::file::Row;
use crate::config::Node;

/// The row with its cells in the order of `columns`; each column must be there, and no other.
pub(super) fn in_order(row: &Row, columns: &[&str]) -> Result<Row, String> {
    let mut left: Vec<_> = row.iter().collect();
    let mut ordered = Row::new();
    let mut missing = Vec::new();
    for column in columns {
        let exact = left.iter().position(|(name, _)| name == column);
        match exact.or_else(|| left.iter().position(|(name, _)| name.eq_ignore_ascii_case(column))) {
            Some(at) => ordered.push(((*column).to_owned(), left.remove(at).1.clone())),
            None => missing.push(*column),
        }
    }
    if missing.is_empty() && left.is_empty() {
        return Ok(ordered);
    }
    let named = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let extra = left.iter().map(|(name, _)| name.as_str()).collect();
    let (all, extra, missing) = (columns.join(", "), named(extra), named(missing));
    Err(format!("the columns are {all}; the expected row lacks: {missing}; names too many: {extra}"))
}

/// The row with a null where it names no value; other columns than `columns` are refused.
pub(super) fn filled(row: &Row, columns: &[&str]) -> Result<Row, String> {
    let strange = row.iter().find(|(name, _)| !columns.iter().any(|it| it.eq_ignore_ascii_case(name)));
    if let Some((name, _)) = strange {
        return Err(format!("unknown column '{name}', the columns are {}", columns.join(", ")));
    }
    let cell = |column: &&str| {
        let cell = row.iter().find(|(name, _)| name.eq_ignore_ascii_case(column));
        ((*column).to_owned(), cell.map_or(Node::Null, |(_, value)| value.clone()))
    };
    Ok(columns.iter().map(cell).collect())
}

/// Rows in the order of the schema's columns, read as `from_json` reads them; what does not fit is an error.
pub(super) fn decode(rows: &[Row], schema: &SchemaRef) -> Result<RecordBatch, String> {
    let documents: Vec<String> = rows.iter().map(|row| document(row, schema)).collect();
    let options = JsonOptions { mode: Mode::Fail, ..JsonOptions::default() };
    let mut decoder = Decoder::new(schema.clone(), options).map_err(|e| e.to_string())?;
    decoder.decode(&StringArray::from(documents)).map_err(|e| e.to_string())
}

fn document(row: &Row, schema: &SchemaRef) -> String {
    let cells = row.iter().zip(schema.fields());
    Value::from_iter(cells.map(|((_, node), field)| (field.name().clone(), cell(node, field.data_type())))).to_string()
}

/// A number for a TIMESTAMP is seconds, with fractions; the rest is as JSON says it.
fn cell(node: &Node, data_type: &DataType) -> Value {
    match (node, data_type) {
        (Node::Number(_), DataType::Timestamp(..)) => match node_us(node) {
            Some(us) => timestamp_us_to_datetime(us).map_or(Value::Null, |it| it.to_string().into()),
            None => node.to_json(),
        },
        (Node::List(items), DataType::List(of) | DataType::LargeList(of)) => {
            items.iter().map(|it| cell(it, of.data_type())).collect()
        }
        (Node::Map(entries), DataType::Struct(fields)) => {
            let entries = entries.iter().map(|(key, value)| {
                let field = fields.iter().find(|it| it.name().eq_ignore_ascii_case(key));
                let value = field.map_or_else(|| value.to_json(), |it| cell(value, it.data_type()));
                (field.map_or_else(|| key.clone(), |it| it.name().clone()), value)
            });
            entries.collect()
        }
        _ => node.to_json(),
    }
}

/// Seconds since 1970 as microseconds.
fn node_us(node: &Node) -> Option<i64> {
    let Node::Number(number) = node else { return None };
    if let Some(seconds) = number.as_i64() {
        return seconds.checked_mul(1_000_000);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a time beyond 64 bits is cut, as all casts of floats are")]
    number.as_f64().map(|seconds| (seconds * 1e6).round() as i64)
}

/// A time of a step, in milliseconds: seconds since 1970, or text.
pub(super) fn time_ms(node: &Node) -> Result<i64, String> {
    let text = || node.scalar().and_then(|it| string_to_timestamp_nanos(&it).ok()).map(|it| it.div_euclid(1000));
    let us = node_us(node).or_else(text);
    us.map(|it| it.div_euclid(1000)).ok_or_else(|| format!("found {}, expected seconds since 1970", node.kind()))
}

/// A time in milliseconds, for people.
pub(super) fn show_ms(ms: i64) -> String {
    let seconds = format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000));
    let text = timestamp_us_to_datetime(ms.saturating_mul(1000)).map(|it| it.to_string()).unwrap_or_default();
    format!("{} ({text})", seconds.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests;
