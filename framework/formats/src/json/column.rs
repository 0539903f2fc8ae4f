//! Columns that grow by one JSON value at a time and can take the last ones back.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, BooleanArray, NullArray, PrimitiveArray};
use arrow_buffer::{ArrowNativeType, BooleanBufferBuilder, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use tidegate_api::{Error, Result};

use super::bytes::Bytes;
use super::nested::{ListValues, MapValues, StructValues};
use super::number::{Number, special_text};
use super::scanner::{Scan, Scanner};
use crate::base64;
use crate::datetime::{parse_date, parse_local_timestamp, parse_timestamp};
use crate::ddl::type_name;

/// How well a value fitted its column. Ordered: the worst of several counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// All of it.
    Whole,
    /// Something inside did not and is null.
    Partly,
    /// Not at all: the value is null.
    Wrong,
}

pub(super) struct Column {
    data_type: DataType,
    len: usize,
    /// Which values there are; none as long as all of them are.
    valid: Option<BooleanBufferBuilder>,
    values: Values,
}

enum Values {
    Null,
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    /// With the scale and the first number that has too many digits.
    Decimal(Vec<i128>, i32, i128),
    Text(Bytes),
    Binary(Bytes),
    Date(Vec<i32>),
    Timestamp(Vec<i64>, fn(&[u8]) -> Option<i64>),
    List(Box<ListValues>),
    Map(Box<MapValues>),
    Struct(Box<StructValues>),
}

impl Column {
    /// A column of a type. All fields in it must be nullable: any of them may be missing.
    pub(super) fn new(data_type: &DataType, path: &str) -> Result<Self> {
        let values = match data_type {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int8 => Values::Int8(Vec::new()),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Decimal128(precision, scale) => {
                let limit = 10_i128.checked_pow(u32::from(*precision)).unwrap_or(i128::MAX);
                Values::Decimal(Vec::new(), i32::from(*scale), limit)
            }
            DataType::Utf8 => Values::Text(Bytes::default()),
            DataType::Binary => Values::Binary(Bytes::default()),
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Values::Timestamp(Vec::new(), if zone.is_some() { parse_timestamp } else { parse_local_timestamp })
            }
            DataType::List(item) => Values::List(Box::new(ListValues::new(item, path)?)),
            DataType::Map(entries, ordered) => Values::Map(Box::new(MapValues::new(entries, *ordered, path)?)),
            DataType::Struct(fields) => Values::Struct(Box::new(StructValues::new(fields, path)?)),
            other => return Err(unsupported(path, other)),
        };
        Ok(Self { data_type: data_type.clone(), len: 0, valid: None, values })
    }

    pub(super) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Makes room for `rows` more values.
    pub(super) fn reserve(&mut self, rows: usize) {
        match &mut self.values {
            Values::Null | Values::List(_) | Values::Map(_) => {}
            Values::Boolean(it) => it.reserve(rows),
            Values::Int8(it) => it.reserve(rows),
            Values::Int16(it) => it.reserve(rows),
            Values::Int32(it) | Values::Date(it) => it.reserve(rows),
            Values::Int64(it) | Values::Timestamp(it, _) => it.reserve(rows),
            Values::Float32(it) => it.reserve(rows),
            Values::Float64(it) => it.reserve(rows),
            Values::Decimal(it, ..) => it.reserve(rows),
            Values::Text(it) | Values::Binary(it) => it.reserve(rows),
            Values::Struct(it) => it.reserve(rows),
        }
    }

    /// Reads one value, which the scanner stands before. Adds exactly one, unless the document is malformed.
    pub(super) fn read(&mut self, scanner: &mut Scanner<'_>) -> Scan<Fit> {
        let first = scanner.peek();
        if first == b'n' {
            scanner.word(b"null")?;
            self.push_null();
            return Ok(Fit::Whole);
        }
        let fits = match &mut self.values {
            Values::Null => {
                scanner.skip_value()?;
                false
            }
            Values::Boolean(it) => push_boolean(it, scanner, first)?,
            Values::Int8(it) => push(it, integer(scanner, first)?.and_then(|it| it.try_into().ok())),
            Values::Int16(it) => push(it, integer(scanner, first)?.and_then(|it| it.try_into().ok())),
            Values::Int32(it) => push(it, integer(scanner, first)?.and_then(|it| it.try_into().ok())),
            Values::Int64(it) => push(it, integer(scanner, first)?),
            Values::Float32(it) => push(it, either(scanner, first, |it| it.to_f32(), special_f32)?),
            Values::Float64(it) => push(it, either(scanner, first, |it| it.to_f64(), special_text)?),
            Values::Decimal(it, scale, limit) => {
                let fit = |it: Number<'_>| it.scaled(*scale, true).filter(|it| it.abs() < *limit);
                push(it, either(scanner, first, fit, |text| fit(Number::of_text(text)?))?)
            }
            Values::Text(it) => push_text(it, scanner, first)?,
            Values::Binary(it) => push_binary(it, scanner, first)?,
            Values::Date(it) => push(it, text(scanner, first, parse_date)?),
            Values::Timestamp(it, parse) => push(it, either(scanner, first, seconds, *parse)?),
            Values::List(it) => return it.read(scanner, first).map(|fit| self.close(fit)),
            Values::Map(it) => return it.read(scanner, first).map(|fit| self.close(fit)),
            Values::Struct(it) => return it.read(self.len, scanner, first).map(|fit| self.close(fit)),
        };
        Ok(self.close(if fits { Fit::Whole } else { Fit::Wrong }))
    }

    /// Counts a value that is there by now.
    #[inline]
    fn close(&mut self, fit: Fit) -> Fit {
        if fit == Fit::Wrong || self.valid.is_some() {
            let valid = self.valid.get_or_insert_with(|| {
                let mut all = BooleanBufferBuilder::new(self.len.next_multiple_of(1_024));
                all.append_n(self.len, true);
                all
            });
            valid.append(fit != Fit::Wrong);
        }
        self.len += 1;
        fit
    }

    /// Adds a null.
    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            Values::Null => {}
            Values::Boolean(it) => it.append(false),
            Values::Int8(it) => it.push(0),
            Values::Int16(it) => it.push(0),
            Values::Int32(it) | Values::Date(it) => it.push(0),
            Values::Int64(it) | Values::Timestamp(it, _) => it.push(0),
            Values::Float32(it) => it.push(0.0),
            Values::Float64(it) => it.push(0.0),
            Values::Decimal(it, ..) => it.push(0),
            Values::Text(it) | Values::Binary(it) => it.push(&[]),
            Values::List(it) => it.close(),
            Values::Map(it) => it.close(),
            Values::Struct(it) => it.push_nulls(),
        }
        self.close(Fit::Wrong);
    }

    /// Adds a struct whose fields are null; a null if this is no struct.
    pub(super) fn push_empty(&mut self) {
        match &mut self.values {
            Values::Struct(it) => {
                it.push_nulls();
                self.close(Fit::Whole);
            }
            _ => self.push_null(),
        }
    }

    /// Forgets all values from `len` on, and what a malformed document has left behind.
    pub(super) fn truncate(&mut self, len: usize) {
        if let Some(valid) = &mut self.valid {
            valid.truncate(len);
        }
        self.len = self.len.min(len);
        match &mut self.values {
            Values::Null => {}
            Values::Boolean(it) => it.truncate(len),
            Values::Int8(it) => it.truncate(len),
            Values::Int16(it) => it.truncate(len),
            Values::Int32(it) | Values::Date(it) => it.truncate(len),
            Values::Int64(it) | Values::Timestamp(it, _) => it.truncate(len),
            Values::Float32(it) => it.truncate(len),
            Values::Float64(it) => it.truncate(len),
            Values::Decimal(it, ..) => it.truncate(len),
            Values::Text(it) | Values::Binary(it) => it.truncate(len),
            Values::List(it) => it.truncate(len),
            Values::Map(it) => it.truncate(len),
            Values::Struct(it) => it.truncate(len),
        }
    }

    /// The values so far as an array; the column is empty again.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        let len = std::mem::take(&mut self.len);
        let nulls = self.valid.take().map(|mut it| NullBuffer::new(it.finish()));
        match &mut self.values {
            Values::Null => Ok(Arc::new(NullArray::new(len))),
            Values::Boolean(it) => Ok(Arc::new(BooleanArray::new(it.finish(), nulls))),
            Values::Int8(it) => primitive::<Int8Type>(it, nulls, &self.data_type),
            Values::Int16(it) => primitive::<Int16Type>(it, nulls, &self.data_type),
            Values::Int32(it) => primitive::<Int32Type>(it, nulls, &self.data_type),
            Values::Int64(it) => primitive::<Int64Type>(it, nulls, &self.data_type),
            Values::Float32(it) => primitive::<Float32Type>(it, nulls, &self.data_type),
            Values::Float64(it) => primitive::<Float64Type>(it, nulls, &self.data_type),
            Values::Decimal(it, ..) => primitive::<Decimal128Type>(it, nulls, &self.data_type),
            Values::Date(it) => primitive::<Date32Type>(it, nulls, &self.data_type),
            Values::Timestamp(it, _) => primitive::<TimestampMicrosecondType>(it, nulls, &self.data_type),
            Values::Text(it) => it.finish_text(nulls),
            Values::Binary(it) => it.finish_binary(nulls),
            Values::List(it) => it.finish(nulls),
            Values::Map(it) => it.finish(nulls),
            Values::Struct(it) => it.finish(len, nulls),
        }
    }

    /// The parts of a struct column.
    pub(super) fn as_struct(&self) -> Option<&StructValues> {
        match &self.values {
            Values::Struct(it) => Some(it),
            _ => None,
        }
    }

    /// As `finish` for a struct column, without the struct around its columns.
    pub(super) fn finish_columns(&mut self) -> Result<Vec<ArrayRef>> {
        self.valid = None;
        self.len = 0;
        match &mut self.values {
            Values::Struct(it) => it.finish_columns(),
            _ => Err(Error::internal(format!("{} has no columns to decode", type_name(&self.data_type)))),
        }
    }

    /// Reads one object as a list of one struct; none if this is no list of structs.
    pub(super) fn read_single(&mut self, scanner: &mut Scanner<'_>) -> Option<Scan<Fit>> {
        match &mut self.values {
            Values::List(it) if matches!(it.item().data_type(), DataType::Struct(_)) => {
                Some(it.read_single(scanner).map(|fit| self.close(fit)))
            }
            _ => None,
        }
    }
}

pub(super) fn unsupported(path: &str, data_type: &DataType) -> Error {
    let place = if path.is_empty() { "the value".to_owned() } else { format!("column '{path}'") };
    Error::config(format!("{place} has the type {}, which JSON can't be read into", type_name(data_type)))
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef>
where
    T::Native: ArrowNativeType,
{
    let values = ScalarBuffer::from(std::mem::take(values));
    let array = PrimitiveArray::<T>::try_new(values, nulls).map_err(|e| Error::internal("column").because(e))?;
    Ok(Arc::new(array.with_data_type(data_type.clone())))
}

#[inline]
fn push<T: Default>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let fits = value.is_some();
    values.push(value.unwrap_or_default());
    fits
}

#[inline]
fn number<T>(scanner: &mut Scanner<'_>, first: u8, of: impl FnOnce(Number<'_>) -> Option<T>) -> Scan<Option<T>> {
    if matches!(first, b'-' | b'0'..=b'9' | b'+' | b'I' | b'N') {
        return Ok(of(scanner.number()?));
    }
    scanner.skip_value()?;
    Ok(None)
}

#[inline]
fn integer(scanner: &mut Scanner<'_>, first: u8) -> Scan<Option<i64>> {
    match scanner.small_integer() {
        Some(value) => Ok(Some(value)),
        None => number(scanner, first, |it| it.to_i64()),
    }
}

#[inline]
fn text<T>(scanner: &mut Scanner<'_>, first: u8, of: impl FnOnce(&[u8]) -> Option<T>) -> Scan<Option<T>> {
    if matches!(first, b'"' | b'\'') {
        return Ok(of(&scanner.text()?.bytes()));
    }
    scanner.skip_value()?;
    Ok(None)
}

/// A number, or a text that stands for one.
#[inline]
fn either<T>(
    scanner: &mut Scanner<'_>,
    first: u8,
    of_number: impl FnOnce(Number<'_>) -> Option<T>,
    of_text: impl FnOnce(&[u8]) -> Option<T>,
) -> Scan<Option<T>> {
    if matches!(first, b'"' | b'\'') { text(scanner, first, of_text) } else { number(scanner, first, of_number) }
}

/// A number as a timestamp: seconds since 1970, cut to microseconds.
fn seconds(number: Number<'_>) -> Option<i64> {
    number.scaled(6, false)?.try_into().ok()
}

fn special_f32(text: &[u8]) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "NaN and the infinities stay what they are")]
    special_text(text).map(|it| it as f32)
}

fn push_boolean(values: &mut BooleanBufferBuilder, scanner: &mut Scanner<'_>, first: u8) -> Scan<bool> {
    match first {
        b't' => scanner.word(b"true")?,
        b'f' => scanner.word(b"false")?,
        _ => scanner.skip_value()?,
    }
    values.append(first == b't');
    Ok(matches!(first, b't' | b'f'))
}

/// A text, or whatever else stands there as it is written.
#[inline]
fn push_text(values: &mut Bytes, scanner: &mut Scanner<'_>, first: u8) -> Scan<bool> {
    if matches!(first, b'"' | b'\'') {
        let text = scanner.text()?;
        values.push_with(|out| text.append_to(out));
    } else {
        let start = scanner.position();
        scanner.skip_value()?;
        values.push(scanner.since(start));
    }
    Ok(true)
}

fn push_binary(values: &mut Bytes, scanner: &mut Scanner<'_>, first: u8) -> Scan<bool> {
    if !matches!(first, b'"' | b'\'') {
        scanner.skip_value()?;
        values.push(&[]);
        return Ok(false);
    }
    let text = scanner.text()?.bytes();
    Ok(values.push_with(|out| base64::decode(&text, out)))
}
