//! One writer per column, made once per batch.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{Array, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, TimeUnit};
use tidegate_api::{Error, Result};

use super::scalar;
use crate::base64;
use crate::ddl::type_name;

pub(super) struct Writer {
    nulls: Option<NullBuffer>,
    kind: Kind,
}

enum Kind {
    Null,
    Boolean(BooleanArray),
    Int8(PrimitiveArray<Int8Type>),
    Int16(PrimitiveArray<Int16Type>),
    Int32(PrimitiveArray<Int32Type>),
    Int64(PrimitiveArray<Int64Type>),
    Float32(PrimitiveArray<Float32Type>),
    Float64(PrimitiveArray<Float64Type>),
    Decimal(PrimitiveArray<Decimal128Type>, i8),
    Text(StringArray),
    Binary(BinaryArray),
    Date(PrimitiveArray<Date32Type>),
    Timestamp(PrimitiveArray<TimestampMicrosecondType>, bool),
    List(OffsetBuffer<i32>, Box<Writer>),
    Map(OffsetBuffer<i32>, Box<Writer>, Box<Writer>),
    /// Each field with its name, quoted and with its colon.
    Struct(Vec<(String, Writer)>),
}

impl Writer {
    pub(super) fn new(array: &dyn Array) -> Result<Self> {
        let kind = match array.data_type() {
            DataType::Null => Kind::Null,
            DataType::Boolean => Kind::Boolean(array.as_boolean().clone()),
            DataType::Int8 => Kind::Int8(array.as_primitive().clone()),
            DataType::Int16 => Kind::Int16(array.as_primitive().clone()),
            DataType::Int32 => Kind::Int32(array.as_primitive().clone()),
            DataType::Int64 => Kind::Int64(array.as_primitive().clone()),
            DataType::Float32 => Kind::Float32(array.as_primitive().clone()),
            DataType::Float64 => Kind::Float64(array.as_primitive().clone()),
            DataType::Decimal128(_, scale) => Kind::Decimal(array.as_primitive().clone(), *scale),
            DataType::Utf8 => Kind::Text(array.as_string().clone()),
            DataType::Binary => Kind::Binary(array.as_binary().clone()),
            DataType::Date32 => Kind::Date(array.as_primitive().clone()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Kind::Timestamp(array.as_primitive().clone(), zone.is_some())
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Kind::List(list.offsets().clone(), Box::new(Self::new(list.values())?))
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let (keys, values) = (map.keys(), map.values());
                if keys.data_type().is_nested() {
                    return Err(refuse("a map's key of type ", keys.data_type()));
                }
                Kind::Map(map.offsets().clone(), Box::new(Self::new(keys)?), Box::new(Self::new(values)?))
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let writers = columns.map(|(field, column)| Ok((quoted_name(field), Self::new(column)?)));
                Kind::Struct(writers.collect::<Result<_>>()?)
            }
            other => {
                let plain = plain(other).ok_or_else(|| refuse("", other))?;
                let array = cast(array, &plain).map_err(|e| refuse("", other).because(e))?;
                return Self::new(&array);
            }
        };
        Ok(Self { nulls: array.logical_nulls(), kind })
    }

    #[inline]
    pub(super) fn is_valid(&self, row: usize) -> bool {
        self.nulls.as_ref().is_none_or(|it| it.is_valid(row))
    }

    /// Appends a value that is not null.
    pub(super) fn write(&self, row: usize, out: &mut String) {
        match &self.kind {
            Kind::Null => out.push_str("null"),
            Kind::Boolean(it) => out.push_str(if it.value(row) { "true" } else { "false" }),
            Kind::Int8(it) => scalar::integer(out, i64::from(it.value(row))),
            Kind::Int16(it) => scalar::integer(out, i64::from(it.value(row))),
            Kind::Int32(it) => scalar::integer(out, i64::from(it.value(row))),
            Kind::Int64(it) => scalar::integer(out, it.value(row)),
            Kind::Float32(it) => scalar::float(out, it.value(row)),
            Kind::Float64(it) => scalar::float(out, it.value(row)),
            Kind::Decimal(it, scale) => scalar::decimal(out, it.value(row), *scale),
            Kind::Text(it) => scalar::text(out, it.value(row)),
            Kind::Binary(it) => {
                out.push('"');
                base64::encode(it.value(row), out);
                out.push('"');
            }
            Kind::Date(it) => scalar::date(out, it.value(row)),
            Kind::Timestamp(it, zoned) => scalar::timestamp(out, it.value(row), *zoned),
            Kind::List(offsets, item) => {
                out.push('[');
                members(offsets, row, out, |at, out| item.write_or_null(at, out));
                out.push(']');
            }
            Kind::Map(offsets, key, value) => {
                out.push('{');
                members(offsets, row, out, |at, out| {
                    key.write_as_name(at, out);
                    value.write_or_null(at, out);
                });
                out.push('}');
            }
            Kind::Struct(fields) => {
                out.push('{');
                let mut first = true;
                for (name, writer) in fields.iter().filter(|it| it.1.is_valid(row)) {
                    if !first {
                        out.push(',');
                    }
                    first = false;
                    out.push_str(name);
                    writer.write(row, out);
                }
                out.push('}');
            }
        }
    }

    fn write_or_null(&self, row: usize, out: &mut String) {
        if self.is_valid(row) { self.write(row, out) } else { out.push_str("null") }
    }

    /// Appends a value as a member's name: in quotes, which numbers have not got.
    fn write_as_name(&self, row: usize, out: &mut String) {
        let start = out.len();
        self.write_or_null(row, out);
        if !out.get(start..).is_some_and(|it| it.starts_with('"')) {
            out.insert(start, '"');
            out.push('"');
        }
        out.push(':');
    }
}

fn members(offsets: &OffsetBuffer<i32>, row: usize, out: &mut String, mut write: impl FnMut(usize, &mut String)) {
    let at = |index: usize| offsets.get(index).and_then(|it| usize::try_from(*it).ok()).unwrap_or(0);
    for index in at(row)..at(row + 1) {
        if index > at(row) {
            out.push(',');
        }
        write(index, out);
    }
}

fn quoted_name(field: &Field) -> String {
    let mut name = String::new();
    scalar::text(&mut name, field.name());
    name.push(':');
    name
}

/// The type that this one is written as.
fn plain(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => DataType::List(item.clone()),
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::RunEndEncoded(_, values) => values.data_type().clone(),
        _ => return None,
    })
}

fn refuse(what: &str, data_type: &DataType) -> Error {
    Error::config(format!("{what}{} can't be written as JSON", type_name(data_type)))
}
