//! The canonical key: columns of any type become one column of key bytes, the same on every machine for ever.
//!
//! A cell is a type tag and a little-endian value; text and bytes carry their length; a null is its own tag; -0.0 is
//! 0.0 and there is one NaN. A struct is its fields in order, a list its length and elements. The names of fields, the
//! zone of a timestamp, the precision of a decimal, a dictionary and the width of offsets leave no trace.

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{ByteArrayType, ByteViewType, Float16Type, Float32Type, Float64Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, GenericByteArray, GenericByteViewArray,
    OffsetSizeTrait, PrimitiveArray, StringArray, downcast_primitive_array,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use tidegate_api::{Error, Result};
use xxhash_rust::xxh3::xxh3_64;

#[cfg(test)]
mod tests;

/// The version of the encoding. It names what `golden.txt` pins; another version would be another set of vectors.
pub const KEY_VERSION: u8 = 1;

/// Tag and length.
const TEXT_HEAD: usize = 5;

const NULL: u8 = 0;
const TEXT: u8 = 13;
const BYTES: u8 = 14;
const STRUCT: u8 = 48;
const LIST: u8 = 49;

// Fixed-width values are copied as they lie in memory.
const _: () = assert!(cfg!(target_endian = "little"), "key bytes are little-endian");

/// The key bytes of each row. `rows` counts them, since a key may have no columns (a global aggregate).
///
/// # Errors
/// `Config` if a column's type can't be a key, `Internal` if the keys pass 2 GiB.
pub fn encode_keys(columns: &[ArrayRef], rows: usize) -> Result<BinaryArray> {
    let cells = columns.iter().map(|it| Cells::of(it.as_ref())).collect::<Result<Vec<_>>>()?;
    let mut keys = BinaryBuilder::with_capacity(rows, rows.saturating_mul(16));
    let mut key = Vec::with_capacity(64);
    let mut total = 0usize;
    for row in 0..rows {
        key.clear();
        for column in &cells {
            column.append(row, &mut key);
        }
        total += key.len();
        if i32::try_from(total).is_err() {
            return Err(Error::internal(format!("the keys of one batch of {rows} rows take more than 2 GiB")));
        }
        keys.append_value(&key);
    }
    Ok(keys.finish())
}

/// The 64-bit hash of key bytes (XXH3). Its top 8 bits are the key's virtual node.
pub fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The key that is one text.
pub(super) fn key_of_text(text: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len() + TEXT_HEAD);
    sized(TEXT, text, &mut key);
    key
}

/// What `then` says of the key that is one text; short ones need no memory.
pub(super) fn with_key_of_text<T>(text: &[u8], then: impl FnOnce(&[u8]) -> T) -> T {
    let mut short = [0; 64];
    let Some((key, _)) = short.split_at_mut_checked(TEXT_HEAD + text.len()) else { return then(&key_of_text(text)) };
    let (head, bytes) = key.split_at_mut(TEXT_HEAD);
    head.copy_from_slice(&text_head(text));
    bytes.copy_from_slice(text);
    then(key)
}

/// True if a key is that of one text.
pub(super) fn is_key_of_text(key: &[u8], text: &[u8]) -> bool {
    key.split_at_checked(TEXT_HEAD).is_some_and(|(head, rest)| rest == text && head == text_head(text))
}

/// The keys that are one text each.
pub(super) fn encode_texts(texts: &StringArray) -> BinaryArray {
    let mut keys = BinaryBuilder::with_capacity(texts.len(), texts.value_data().len() + texts.len() * TEXT_HEAD);
    for row in 0..texts.len() {
        with_key_of_text(texts.value(row).as_bytes(), |key| keys.append_value(key));
    }
    keys.finish()
}

/// What stands before the bytes of a text.
fn text_head(text: &[u8]) -> [u8; TEXT_HEAD] {
    let [a, b, c, d] = length(text.len());
    [TEXT, a, b, c, d]
}

/// Which of the 256 hash ranges a key is in; never changes.
pub fn virtual_node(key: &[u8]) -> u8 {
    key_hash(key).to_be_bytes()[0]
}

/// The cells of one column, ready to be read by row.
enum Cells<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Fixed { tag: u8, scale: Option<i8>, width: usize, values: &'a [u8], nulls: Option<&'a NullBuffer> },
    Half(&'a PrimitiveArray<Float16Type>),
    Float(&'a PrimitiveArray<Float32Type>),
    Double(&'a PrimitiveArray<Float64Type>),
    Text(&'a dyn Bytes),
    Binary(&'a dyn Bytes),
    Dictionary { rows: Vec<usize>, values: Box<Cells<'a>>, nulls: Option<&'a NullBuffer> },
    Struct { fields: Vec<Cells<'a>>, nulls: Option<&'a NullBuffer> },
    List { ends: Vec<usize>, values: Box<Cells<'a>>, nulls: Option<&'a NullBuffer> },
}

impl<'a> Cells<'a> {
    fn of(array: &'a dyn Array) -> Result<Self> {
        let nulls = array.nulls().filter(|it| it.null_count() > 0);
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean()),
            DataType::Float16 => Self::Half(array.as_primitive()),
            DataType::Float32 => Self::Float(array.as_primitive()),
            DataType::Float64 => Self::Double(array.as_primitive()),
            DataType::Utf8 => Self::Text(array.as_string::<i32>()),
            DataType::LargeUtf8 => Self::Text(array.as_string::<i64>()),
            DataType::Utf8View => Self::Text(array.as_string_view()),
            DataType::Binary => Self::Binary(array.as_binary::<i32>()),
            DataType::LargeBinary => Self::Binary(array.as_binary::<i64>()),
            DataType::BinaryView => Self::Binary(array.as_binary_view()),
            DataType::FixedSizeBinary(_) => Self::Binary(array.as_fixed_size_binary()),
            DataType::Dictionary(..) => {
                let array = array.as_any_dictionary();
                let rows = array.normalized_keys();
                Self::Dictionary { rows, values: Box::new(Self::of(array.values().as_ref())?), nulls }
            }
            DataType::Struct(_) => {
                let fields =
                    array.as_struct().columns().iter().map(|it| Self::of(it.as_ref())).collect::<Result<_>>()?;
                Self::Struct { fields, nulls }
            }
            DataType::List(_) => list(array.as_list::<i32>().value_offsets(), array.as_list::<i32>().values(), nulls)?,
            DataType::LargeList(_) => {
                list(array.as_list::<i64>().value_offsets(), array.as_list::<i64>().values(), nulls)?
            }
            DataType::FixedSizeList(_, size) => {
                let size = usize::try_from(*size).unwrap_or(0);
                let ends = (0..=array.len()).map(|row| row * size).collect();
                Self::List { ends, values: Box::new(Self::of(array.as_fixed_size_list().values().as_ref())?), nulls }
            }
            other => fixed(array, other, nulls)?,
        })
    }

    /// Writes the cell of `row` behind what `key` holds.
    fn append(&self, row: usize, key: &mut Vec<u8>) {
        if self.is_null(row) {
            key.push(NULL);
            return;
        }
        match self {
            Self::Null => {}
            Self::Boolean(array) => key.extend([1, u8::from(array.value(row))]),
            Self::Fixed { tag, scale, width, values, .. } => {
                key.push(*tag);
                if let Some(scale) = scale {
                    key.extend(scale.to_le_bytes());
                }
                match width {
                    8 => fixed_cell::<8>(values, row, key),
                    4 => fixed_cell::<4>(values, row, key),
                    16 => fixed_cell::<16>(values, row, key),
                    1 => fixed_cell::<1>(values, row, key),
                    2 => fixed_cell::<2>(values, row, key),
                    _ => fixed_cell::<32>(values, row, key),
                }
            }
            Self::Half(array) => number(10, half_bits(array.value(row).to_bits()).to_le_bytes(), key),
            Self::Float(array) => {
                let value = array.value(row);
                let bits = if value.is_nan() { 0x7fc0_0000 } else { (value + 0.0).to_bits() };
                number(11, bits.to_le_bytes(), key);
            }
            Self::Double(array) => {
                let value = array.value(row);
                let bits = if value.is_nan() { 0x7ff8_0000_0000_0000 } else { (value + 0.0).to_bits() };
                number(12, bits.to_le_bytes(), key);
            }
            Self::Text(array) => sized(TEXT, array.bytes(row), key),
            Self::Binary(array) => sized(BYTES, array.bytes(row), key),
            Self::Dictionary { rows, values, .. } => {
                values.append(rows.get(row).copied().unwrap_or_default(), key);
            }
            Self::Struct { fields, .. } => {
                number(STRUCT, length(fields.len()), key);
                fields.iter().for_each(|it| it.append(row, key));
            }
            Self::List { ends, values, .. } => {
                let (from, to) = (ends.get(row).copied().unwrap_or(0), ends.get(row + 1).copied().unwrap_or(0));
                number(LIST, length(to.saturating_sub(from)), key);
                (from..to).for_each(|it| values.append(it, key));
            }
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Boolean(array) => array.is_null(row),
            Self::Half(array) => array.is_null(row),
            Self::Float(array) => array.is_null(row),
            Self::Double(array) => array.is_null(row),
            Self::Text(array) | Self::Binary(array) => array.null_at(row),
            Self::Fixed { nulls, .. }
            | Self::Dictionary { nulls, .. }
            | Self::Struct { nulls, .. }
            | Self::List { nulls, .. } => nulls.is_some_and(|it| it.is_null(row)),
        }
    }
}

/// Arrays of text or bytes, whatever their layout.
trait Bytes {
    fn bytes(&self, row: usize) -> &[u8];
    fn null_at(&self, row: usize) -> bool;
}

impl<T: ByteArrayType> Bytes for GenericByteArray<T> {
    fn bytes(&self, row: usize) -> &[u8] {
        self.value(row).as_ref()
    }
    fn null_at(&self, row: usize) -> bool {
        self.is_null(row)
    }
}

impl<T: ByteViewType> Bytes for GenericByteViewArray<T> {
    fn bytes(&self, row: usize) -> &[u8] {
        self.value(row).as_ref()
    }
    fn null_at(&self, row: usize) -> bool {
        self.is_null(row)
    }
}

impl Bytes for FixedSizeBinaryArray {
    fn bytes(&self, row: usize) -> &[u8] {
        self.value(row)
    }
    fn null_at(&self, row: usize) -> bool {
        self.is_null(row)
    }
}

/// Cells of one width, as they lie in memory.
fn fixed<'a>(array: &'a dyn Array, data_type: &DataType, nulls: Option<&'a NullBuffer>) -> Result<Cells<'a>> {
    let unfit = || Error::config(format!("a column of type {data_type} can't be a key"));
    let tag = fixed_tag(data_type).ok_or_else(unfit)?;
    let scale = match data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => Some(*scale),
        _ => None,
    };
    let width = data_type.primitive_width().ok_or_else(unfit)?;
    let values = downcast_primitive_array!(
        array => array.values().inner().as_slice(),
        _ => return Err(unfit()),
    );
    Ok(Cells::Fixed { tag, scale, width, values, nulls })
}

/// The tags of fixed-width types. Part of the format: a number is never given again.
fn fixed_tag(data_type: &DataType) -> Option<u8> {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    Some(match data_type {
        DataType::Int8 => 2,
        DataType::Int16 => 3,
        DataType::Int32 => 4,
        DataType::Int64 => 5,
        DataType::UInt8 => 6,
        DataType::UInt16 => 7,
        DataType::UInt32 => 8,
        DataType::UInt64 => 9,
        DataType::Date32 => 15,
        DataType::Date64 => 16,
        DataType::Time32(it) | DataType::Time64(it) => 20 + unit(it),
        DataType::Timestamp(it, _) => 24 + unit(it),
        DataType::Duration(it) => 28 + unit(it),
        DataType::Decimal32(..) => 32,
        DataType::Decimal64(..) => 33,
        DataType::Decimal128(..) => 34,
        DataType::Decimal256(..) => 35,
        DataType::Interval(IntervalUnit::YearMonth) => 36,
        DataType::Interval(IntervalUnit::DayTime) => 37,
        DataType::Interval(IntervalUnit::MonthDayNano) => 38,
        _ => return None,
    })
}

fn list<'a, O: OffsetSizeTrait>(ends: &[O], values: &'a ArrayRef, nulls: Option<&'a NullBuffer>) -> Result<Cells<'a>> {
    let ends = ends.iter().map(|it| it.as_usize()).collect();
    Ok(Cells::List { ends, values: Box::new(Cells::of(values.as_ref())?), nulls })
}

fn number<const N: usize>(tag: u8, value: [u8; N], key: &mut Vec<u8>) {
    key.push(tag);
    key.extend_from_slice(&value);
}

fn sized(tag: u8, bytes: &[u8], key: &mut Vec<u8>) {
    number(tag, length(bytes.len()), key);
    key.extend_from_slice(bytes);
}

/// A length that does not fit would pass the 2 GiB of a batch first.
fn length(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes()
}

#[inline]
fn fixed_cell<const N: usize>(values: &[u8], row: usize, key: &mut Vec<u8>) {
    if let Some(value) = values.get(row * N..row * N + N) {
        key.extend_from_slice(value);
    }
}

/// Half floats by their bits: the type has no arithmetic here.
fn half_bits(bits: u16) -> u16 {
    match bits {
        0x8000 => 0,
        it if it & 0x7fff > 0x7c00 => 0x7e00,
        it => it,
    }
}
