//! Types as Spark names them, for errors and for the schema text of a table.

use arrow_schema::{DataType, Field, TimeUnit};

/// Spark's name of a type, such as `MAP<STRING, INT>`; a type that Spark does not have keeps arrow's name.
/// [`parse_type`](super::parse_type) reads it back.
pub fn type_name(data_type: &DataType) -> String {
    let mut out = String::new();
    push(data_type, &mut out);
    out
}

fn push(data_type: &DataType, out: &mut String) {
    let simple = match data_type {
        DataType::Null => "VOID",
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BINARY",
        DataType::Date32 => "DATE",
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "TIMESTAMP",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP_NTZ",
        DataType::Decimal128(precision, scale) => return out.push_str(&format!("DECIMAL({precision},{scale})")),
        DataType::List(item) | DataType::LargeList(item) => {
            out.push_str("ARRAY<");
            push(item.data_type(), out);
            ">"
        }
        DataType::Map(entries, _) => return push_map(entries, out),
        DataType::Struct(fields) => {
            out.push_str("STRUCT<");
            for (index, field) in fields.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                push_field(field, out);
            }
            ">"
        }
        other => return out.push_str(&other.to_string()),
    };
    out.push_str(simple);
}

fn push_map(entries: &Field, out: &mut String) {
    out.push_str("MAP<");
    if let DataType::Struct(fields) = entries.data_type() {
        for (index, field) in fields.iter().enumerate() {
            out.push_str(if index > 0 { ", " } else { "" });
            push(field.data_type(), out);
        }
    }
    out.push('>');
}

fn push_field(field: &Field, out: &mut String) {
    let plain = !field.name().is_empty() && field.name().chars().all(|it| it.is_alphanumeric() || it == '_');
    if plain {
        out.push_str(field.name());
    } else {
        out.push('`');
        out.push_str(&field.name().replace('`', "``"));
        out.push('`');
    }
    out.push_str(": ");
    push(field.data_type(), out);
    if !field.is_nullable() {
        out.push_str(" NOT NULL");
    }
}
