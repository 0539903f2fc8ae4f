//! `Cells`: the values of one column of a batch, written as CQL has them.
//!
//! A cell is four bytes of length (big endian; −1: null, −2: unset) and the value, as in a CQL request.

use std::net::IpAddr;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{
    Array, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array, ListArray,
    MapArray, PrimitiveArray, StringArray, StructArray, Time64NanosecondArray,
};
use arrow_schema::TimeUnit;
use tidegate_api::{Error, Result};

use crate::codec::Codec;

/// The cell of a null.
pub(crate) const NULL: [u8; 4] = (-1i32).to_be_bytes();
/// The cell that leaves the table as it is.
pub(crate) const UNSET: [u8; 4] = (-2i32).to_be_bytes();

/// The values of one column, ready to be written row by row.
pub(crate) enum Cells<'a> {
    Null,
    Bool(&'a BooleanArray),
    Int(&'a Int64Array, usize),
    VarInt(&'a Int64Array),
    IntDecimal(&'a Int64Array),
    Float(&'a Float32Array),
    Widened(&'a Float32Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array, i32),
    Whole(&'a Decimal128Array),
    Text(&'a StringArray),
    Ascii(&'a StringArray),
    Blob(&'a BinaryArray),
    Seconds(&'a PrimitiveArray<TimestampSecondType>),
    Millis(&'a PrimitiveArray<TimestampMillisecondType>),
    Micros(&'a PrimitiveArray<TimestampMicrosecondType>),
    Nanos(&'a PrimitiveArray<TimestampNanosecondType>),
    Date(&'a Date32Array),
    Time(&'a Time64NanosecondArray),
    TimeOfDay(&'a Int64Array),
    Uuid(&'a StringArray, bool),
    Inet(&'a StringArray),
    List(&'a ListArray, Box<Cells<'a>>),
    Map(&'a MapArray, Box<Cells<'a>>, Box<Cells<'a>>),
    Udt(&'a StructArray, Vec<Option<Cells<'a>>>),
}

impl<'a> Cells<'a> {
    /// The values of `array`, whose type is the one that `codec` was chosen for.
    ///
    /// # Errors
    /// `Internal` if it is another.
    pub(crate) fn new(codec: &Codec, array: &'a dyn Array) -> Result<Self> {
        let found = match codec {
            Codec::Null => Some(Self::Null),
            Codec::Bool => array.as_boolean_opt().map(Self::Bool),
            Codec::Int(bytes) => array.as_primitive_opt::<Int64Type>().map(|it| Self::Int(it, *bytes)),
            Codec::VarInt => array.as_primitive_opt::<Int64Type>().map(Self::VarInt),
            Codec::IntDecimal => array.as_primitive_opt::<Int64Type>().map(Self::IntDecimal),
            Codec::Float => array.as_primitive_opt::<Float32Type>().map(Self::Float),
            Codec::Widened => array.as_primitive_opt::<Float32Type>().map(Self::Widened),
            Codec::Double => array.as_primitive_opt::<Float64Type>().map(Self::Double),
            Codec::Decimal(scale) => array.as_primitive_opt::<Decimal128Type>().map(|it| Self::Decimal(it, *scale)),
            Codec::Whole => array.as_primitive_opt::<Decimal128Type>().map(Self::Whole),
            Codec::Text => array.as_string_opt().map(Self::Text),
            Codec::Ascii => array.as_string_opt().map(Self::Ascii),
            Codec::Blob => array.as_binary_opt().map(Self::Blob),
            Codec::Timestamp(TimeUnit::Second) => array.as_primitive_opt().map(Self::Seconds),
            Codec::Timestamp(TimeUnit::Millisecond) => array.as_primitive_opt().map(Self::Millis),
            Codec::Timestamp(TimeUnit::Microsecond) => array.as_primitive_opt().map(Self::Micros),
            Codec::Timestamp(TimeUnit::Nanosecond) => array.as_primitive_opt().map(Self::Nanos),
            Codec::Date => array.as_primitive_opt::<Date32Type>().map(Self::Date),
            Codec::Time => array.as_primitive_opt::<Time64NanosecondType>().map(Self::Time),
            Codec::TimeOfDay => array.as_primitive_opt::<Int64Type>().map(Self::TimeOfDay),
            Codec::Uuid(time) => array.as_string_opt().map(|it| Self::Uuid(it, *time)),
            Codec::Inet => array.as_string_opt().map(Self::Inet),
            Codec::List(_) | Codec::Map(..) | Codec::Udt(_) => Some(Self::nested(codec, array)?),
        };
        found.ok_or_else(|| mismatch(codec, array))
    }

    fn nested(codec: &Codec, array: &'a dyn Array) -> Result<Self> {
        let wrong = || mismatch(codec, array);
        match codec {
            Codec::List(of) => {
                let list = array.as_list_opt::<i32>().ok_or_else(wrong)?;
                Ok(Self::List(list, Box::new(Self::new(of, list.values().as_ref())?)))
            }
            Codec::Map(key, value) => {
                let map = array.as_map_opt().ok_or_else(wrong)?;
                let key = Self::new(key, map.keys().as_ref())?;
                Ok(Self::Map(map, Box::new(key), Box::new(Self::new(value, map.values().as_ref())?)))
            }
            Codec::Udt(fields) => {
                let all = array.as_struct_opt().ok_or_else(wrong)?;
                let field = |it: &Option<(usize, Codec)>| match it {
                    None => Ok(None),
                    Some((at, codec)) => Self::new(codec, all.columns().get(*at).ok_or_else(wrong)?).map(Some),
                };
                Ok(Self::Udt(all, fields.iter().map(field).collect::<Result<_>>()?))
            }
            _ => Err(wrong()),
        }
    }

    /// Whether row `row` holds nothing.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        let array: &dyn Array = match self {
            Self::Null => return true,
            Self::Bool(it) => it,
            Self::Int(it, _) | Self::VarInt(it) | Self::IntDecimal(it) | Self::TimeOfDay(it) => it,
            Self::Float(it) | Self::Widened(it) => it,
            Self::Double(it) => it,
            Self::Decimal(it, _) | Self::Whole(it) => it,
            Self::Text(it) | Self::Ascii(it) | Self::Uuid(it, _) | Self::Inet(it) => it,
            Self::Blob(it) => it,
            Self::Seconds(it) => it,
            Self::Millis(it) => it,
            Self::Micros(it) => it,
            Self::Nanos(it) => it,
            Self::Date(it) => it,
            Self::Time(it) => it,
            Self::List(it, _) => it,
            Self::Map(it, ..) => it,
            Self::Udt(it, _) => it,
        };
        array.is_null(row)
    }

    /// Writes row `row` as a cell; a null as `null`.
    ///
    /// # Errors
    /// Why the value can't be had in this column.
    pub(crate) fn put(&self, row: usize, null: [u8; 4], out: &mut Vec<u8>) -> Result<(), String> {
        if self.is_null(row) {
            out.extend_from_slice(&null);
            return Ok(());
        }
        let start = out.len();
        out.extend_from_slice(&NULL);
        self.value(row, out)?;
        let length = i32::try_from(out.len() - start - NULL.len()).map_err(|_| "is over 2 GiB".to_owned())?;
        if let Some(place) = out.get_mut(start..start + NULL.len()) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    /// Writes the bytes of a value that is not null.
    fn value(&self, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Null => {}
            Self::Bool(it) => out.push(u8::from(it.value(row))),
            Self::Int(it, bytes) => whole(it.value(row), *bytes, out)?,
            Self::VarInt(it) => varint(i128::from(it.value(row)), out),
            Self::IntDecimal(it) => decimal(i128::from(it.value(row)), 0, out),
            Self::Float(it) => out.extend_from_slice(&it.value(row).to_be_bytes()),
            Self::Widened(it) => out.extend_from_slice(&f64::from(it.value(row)).to_be_bytes()),
            Self::Double(it) => out.extend_from_slice(&it.value(row).to_be_bytes()),
            Self::Decimal(it, scale) => decimal(it.value(row), *scale, out),
            Self::Whole(it) => varint(it.value(row), out),
            Self::Text(it) => out.extend_from_slice(it.value(row).as_bytes()),
            Self::Ascii(it) => ascii(it.value(row), out)?,
            Self::Blob(it) => out.extend_from_slice(it.value(row)),
            Self::Seconds(it) => {
                let ms = it.value(row).checked_mul(1000).ok_or("is a time out of range")?;
                out.extend_from_slice(&ms.to_be_bytes());
            }
            Self::Millis(it) => out.extend_from_slice(&it.value(row).to_be_bytes()),
            Self::Micros(it) => out.extend_from_slice(&it.value(row).div_euclid(1000).to_be_bytes()),
            Self::Nanos(it) => out.extend_from_slice(&it.value(row).div_euclid(1_000_000).to_be_bytes()),
            // Days since 1970, moved to the middle of the unsigned numbers.
            Self::Date(it) => out.extend_from_slice(&(it.value(row).cast_unsigned() ^ 0x8000_0000).to_be_bytes()),
            Self::Time(it) => out.extend_from_slice(&it.value(row).to_be_bytes()),
            Self::TimeOfDay(it) => time_of_day(it.value(row), out)?,
            Self::Uuid(it, time) => uuid(it.value(row), *time, out)?,
            Self::Inet(it) => inet(it.value(row), out)?,
            Self::List(it, of) => {
                let range = entries(it.value_offsets(), row)?;
                count(range.len(), out)?;
                range.into_iter().try_for_each(|at| of.element(at, out))?;
            }
            Self::Map(it, key, value) => {
                let range = entries(it.value_offsets(), row)?;
                count(range.len(), out)?;
                range.into_iter().try_for_each(|at| key.element(at, out).and_then(|()| value.element(at, out)))?;
            }
            Self::Udt(_, fields) => {
                for field in fields {
                    match field {
                        Some(it) => it.put(row, NULL, out)?,
                        None => out.extend_from_slice(&NULL),
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes an element of a collection.
    fn element(&self, at: usize, out: &mut Vec<u8>) -> Result<(), String> {
        if self.is_null(at) {
            return Err("holds a null, which a collection can't".to_owned());
        }
        self.put(at, NULL, out)
    }
}

fn mismatch(codec: &Codec, array: &dyn Array) -> Error {
    Error::internal(format!("a column of {} came where {codec:?} was planned", array.data_type()))
}

fn whole(value: i64, bytes: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || format!("{value} does not fit {bytes} bytes");
    match bytes {
        1 => out.extend_from_slice(&i8::try_from(value).map_err(|_| wrong())?.to_be_bytes()),
        2 => out.extend_from_slice(&i16::try_from(value).map_err(|_| wrong())?.to_be_bytes()),
        4 => out.extend_from_slice(&i32::try_from(value).map_err(|_| wrong())?.to_be_bytes()),
        _ => out.extend_from_slice(&value.to_be_bytes()),
    }
    Ok(())
}

fn time_of_day(nanos: i64, out: &mut Vec<u8>) -> Result<(), String> {
    if !(0..86_400_000_000_000).contains(&nanos) {
        return Err(format!("{nanos} are no nanoseconds of a day"));
    }
    out.extend_from_slice(&nanos.to_be_bytes());
    Ok(())
}

/// The shortest two's complement, big endian, at least a byte.
fn varint(value: i128, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let mut start = bytes.iter().take_while(|it| **it == sign).count().min(bytes.len() - 1);
    // The first byte that is kept must show the sign.
    let shows = |at: usize| bytes.get(at).is_some_and(|it| (it & 0x80 != 0) == (value < 0));
    if start > 0 && !shows(start) {
        start -= 1;
    }
    out.extend_from_slice(bytes.get(start..).unwrap_or(&bytes));
}

fn decimal(unscaled: i128, scale: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(&scale.to_be_bytes());
    varint(unscaled, out);
}

fn ascii(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    if !text.is_ascii() {
        return Err(format!("'{}' is not ASCII", shortened(text)));
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn uuid(text: &str, time: bool, out: &mut Vec<u8>) -> Result<(), String> {
    let uuid = uuid::Uuid::parse_str(text).map_err(|_| format!("'{}' is not a UUID", shortened(text)))?;
    if time && uuid.get_version_num() != 1 {
        return Err(format!("'{text}' is not a UUID of version 1"));
    }
    out.extend_from_slice(uuid.as_bytes());
    Ok(())
}

fn inet(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    match text.parse().map_err(|_| format!("'{}' is not an IP address", shortened(text)))? {
        IpAddr::V4(it) => out.extend_from_slice(&it.octets()),
        IpAddr::V6(it) => out.extend_from_slice(&it.octets()),
    }
    Ok(())
}

/// Enough of a text to know it by.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The elements of row `row`.
fn entries(offsets: &[i32], row: usize) -> Result<std::ops::Range<usize>, String> {
    let at = |row: usize| offsets.get(row).and_then(|it| usize::try_from(*it).ok());
    at(row).zip(at(row + 1)).map(|(start, end)| start..end).ok_or_else(|| "has broken offsets".to_owned())
}

fn count(elements: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let elements = i32::try_from(elements).map_err(|_| "holds too many elements".to_owned())?;
    out.extend_from_slice(&elements.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;
