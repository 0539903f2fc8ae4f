//! `Values`: collects cells of one column into an Arrow array; `cells` turned round.
//!
//! What it gives is as wide as a cell may be (whole numbers are BIGINT, times the number that they are); `cast` makes the
//! column's type of it, without loss.

mod number;

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Decimal128Builder, Float32Builder, Float64Builder, Int32Builder, Int64Builder,
    NullBufferBuilder, StringBuilder,
};
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Fields};
use tidegate_api::{Error, Result};

use self::number::{Digits, Long};
use crate::codec::Codec;

/// The values of one column so far.
pub(crate) enum Values {
    Bool(BooleanBuilder),
    Long(Int64Builder, Long),
    Days(Int32Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder, Digits),
    Text(StringBuilder, Text),
    Blob(BinaryBuilder),
    List(Entries, Box<Values>),
    Map(Entries, Box<Values>, Box<Values>),
    Udt(Udt),
}

/// How bytes become text.
#[derive(Clone, Copy)]
pub(crate) enum Text {
    Plain,
    Uuid,
    Inet,
}

/// Where the elements of each row of a list or map end.
pub(crate) struct Entries {
    lengths: Vec<usize>,
    nulls: NullBufferBuilder,
}

/// The fields of a user-defined type.
pub(crate) struct Udt {
    /// For each field of the type its place among the columns.
    places: Vec<Option<usize>>,
    names: Vec<String>,
    columns: Vec<Values>,
    nulls: NullBufferBuilder,
    rows: usize,
}

impl Values {
    /// Values that `codec` reads as `plain`, of which there will be about `rows`.
    ///
    /// # Errors
    /// `Internal` if the codec does not give that type.
    pub(crate) fn new(codec: &Codec, plain: &DataType, rows: usize) -> Result<Self> {
        let wrong = || Error::internal(format!("{codec:?} can't be read as {plain}"));
        let long = |kind| Ok(Self::Long(Int64Builder::with_capacity(rows), kind));
        let text = |kind| Ok(Self::Text(StringBuilder::with_capacity(rows, rows * 16), kind));
        match (codec, plain) {
            (Codec::Bool, _) => Ok(Self::Bool(BooleanBuilder::with_capacity(rows))),
            (Codec::Int(bytes), _) => long(Long::Fixed(*bytes)),
            (Codec::Time | Codec::TimeOfDay, _) => long(Long::Fixed(8)),
            (Codec::VarInt, _) => long(Long::VarInt),
            (Codec::IntDecimal, _) => long(Long::Decimal),
            (Codec::Timestamp(unit), _) => long(Long::Timestamp(*unit)),
            (Codec::Date, _) => Ok(Self::Days(Int32Builder::with_capacity(rows))),
            (Codec::Float, _) => Ok(Self::Float(Float32Builder::with_capacity(rows))),
            (Codec::Double, _) => Ok(Self::Double(Float64Builder::with_capacity(rows))),
            (Codec::Decimal(_) | Codec::Whole, DataType::Decimal128(precision, scale)) => {
                let builder = Decimal128Builder::with_capacity(rows).with_data_type(plain.clone());
                Ok(Self::Decimal(builder, Digits::new(*precision, *scale, *codec == Codec::Whole)))
            }
            (Codec::Text | Codec::Ascii, _) => text(Text::Plain),
            (Codec::Uuid(_), _) => text(Text::Uuid),
            (Codec::Inet, _) => text(Text::Inet),
            (Codec::Blob, _) => Ok(Self::Blob(BinaryBuilder::with_capacity(rows, rows * 16))),
            (Codec::List(of), DataType::List(field)) => {
                Ok(Self::List(Entries::new(rows), Box::new(Self::new(of, field.data_type(), rows)?)))
            }
            (Codec::Map(key, value), DataType::Map(entries, _)) => {
                let DataType::Struct(fields) = entries.data_type() else { return Err(wrong()) };
                let of = |at: usize, codec: &Codec| {
                    Self::new(codec, fields.get(at).ok_or_else(wrong)?.data_type(), rows).map(Box::new)
                };
                Ok(Self::Map(Entries::new(rows), of(0, key)?, of(1, value)?))
            }
            (Codec::Udt(codecs), DataType::Struct(fields)) => Udt::new(codecs, fields, rows).map(Self::Udt),
            _ => Err(wrong()),
        }
    }

    /// Adds a cell; none is a null. So is one without bytes, which old writers left where no value has none.
    ///
    /// # Errors
    /// Why the value can't be had in this column.
    pub(crate) fn append(&mut self, cell: Option<&[u8]>) -> Result<(), String> {
        let may_be_empty = matches!(self, Self::Text(_, Text::Plain) | Self::Blob(_));
        let cell = cell.filter(|it| may_be_empty || !it.is_empty());
        match self {
            Self::Bool(to) => to.append_option(cell.map(|it| it.iter().any(|byte| *byte != 0))),
            Self::Long(to, kind) => to.append_option(cell.map(|it| kind.read(it)).transpose()?),
            Self::Days(to) => to.append_option(cell.map(number::days).transpose()?),
            Self::Float(to) => to.append_option(cell.map(|it| number::fixed(it).map(f32::from_be_bytes)).transpose()?),
            Self::Double(to) => to.append_option(cell.map(|it| number::fixed(it).map(f64::from_be_bytes)).transpose()?),
            Self::Decimal(to, digits) => to.append_option(cell.map(|it| digits.read(it)).transpose()?),
            Self::Text(to, Text::Plain) => {
                let text = cell.map(std::str::from_utf8).transpose();
                to.append_option(text.map_err(|_| "is not UTF-8".to_owned())?);
            }
            Self::Text(to, kind) => to.append_option(cell.map(|it| kind.read(it)).transpose()?),
            Self::Blob(to) => to.append_option(cell),
            Self::List(entries, items) => {
                entries.append(cell, |rest| items.append(next_cell(rest)?))?;
            }
            Self::Map(entries, keys, values) => {
                entries.append(cell, |rest| {
                    keys.append(next_cell(rest)?)?;
                    values.append(next_cell(rest)?)
                })?;
            }
            Self::Udt(it) => it.append(cell)?,
        }
        Ok(())
    }

    /// The array of all cells that were added.
    ///
    /// # Errors
    /// `Internal` if its parts do not fit.
    pub(crate) fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Bool(mut it) => Arc::new(it.finish()),
            Self::Long(mut it, _) => Arc::new(it.finish()),
            Self::Days(mut it) => Arc::new(it.finish()),
            Self::Float(mut it) => Arc::new(it.finish()),
            Self::Double(mut it) => Arc::new(it.finish()),
            Self::Decimal(mut it, _) => Arc::new(it.finish()),
            Self::Text(mut it, _) => Arc::new(it.finish()),
            Self::Blob(mut it) => Arc::new(it.finish()),
            Self::List(mut entries, items) => {
                let items = items.finish()?;
                let field = Arc::new(Field::new("item", items.data_type().clone(), true));
                let list = ListArray::try_new(field, entries.offsets(), items, entries.nulls.finish());
                Arc::new(list.map_err(broken)?)
            }
            Self::Map(mut entries, keys, values) => {
                let (keys, values) = (keys.finish()?, values.finish()?);
                let fields = Fields::from(vec![
                    Field::new("key", keys.data_type().clone(), false),
                    Field::new("value", values.data_type().clone(), true),
                ]);
                let pairs = StructArray::try_new(fields, vec![keys, values], None).map_err(broken)?;
                let field = Arc::new(Field::new("entries", pairs.data_type().clone(), false));
                let map = MapArray::try_new(field, entries.offsets(), pairs, entries.nulls.finish(), false);
                Arc::new(map.map_err(broken)?)
            }
            Self::Udt(it) => it.finish()?,
        })
    }
}

impl Text {
    fn read(self, bytes: &[u8]) -> Result<String, String> {
        match self {
            Self::Plain => String::from_utf8(bytes.to_vec()).map_err(|_| "is not UTF-8".to_owned()),
            Self::Uuid => Ok(uuid::Uuid::from_bytes(number::fixed(bytes)?).hyphenated().to_string()),
            Self::Inet => number::address(bytes),
        }
    }
}

impl Entries {
    fn new(rows: usize) -> Self {
        Self { lengths: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows) }
    }

    /// Adds a row: a count, and so many elements, each taken off the bytes by `element`.
    fn append(
        &mut self,
        cell: Option<&[u8]>,
        mut element: impl FnMut(&mut &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut count = 0;
        if let Some(mut rest) = cell {
            count = usize::try_from(next_i32(&mut rest)?).map_err(|_| cut_short())?;
            (0..count).try_for_each(|_| element(&mut rest))?;
        }
        self.lengths.push(count);
        self.nulls.append(cell.is_some());
        Ok(())
    }

    fn offsets(&self) -> OffsetBuffer<i32> {
        OffsetBuffer::from_lengths(self.lengths.iter().copied())
    }
}

impl Udt {
    fn new(codecs: &[Option<(usize, Codec)>], fields: &Fields, rows: usize) -> Result<Self> {
        let column = |(at, field): (usize, &Arc<Field>)| {
            let codec = codecs.iter().flatten().find(|(place, _)| *place == at).map(|(_, codec)| codec);
            let codec = codec.ok_or_else(|| Error::internal(format!("the type has no field '{}'", field.name())))?;
            Values::new(codec, field.data_type(), rows)
        };
        let columns = fields.iter().enumerate().map(column).collect::<Result<_>>()?;
        let places = codecs.iter().map(|it| it.as_ref().map(|(at, _)| *at)).collect();
        let names = fields.iter().map(|it| it.name().clone()).collect();
        Ok(Self { places, names, columns, nulls: NullBufferBuilder::new(rows), rows: 0 })
    }

    /// Adds a row. Fields that the type got after the cell was written are not in it.
    fn append(&mut self, cell: Option<&[u8]>) -> Result<(), String> {
        let mut rest = cell.unwrap_or_default();
        for place in &self.places {
            let field = if rest.is_empty() { None } else { next_cell(&mut rest)? };
            if let Some(column) = place.and_then(|at| self.columns.get_mut(at)) {
                column.append(field)?;
            }
        }
        self.nulls.append(cell.is_some());
        self.rows += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let columns = self.columns.into_iter().map(Values::finish).collect::<Result<Vec<_>>>()?;
        let named = self.names.into_iter().zip(&columns);
        let fields: Fields = named.map(|(name, it)| Field::new(name, it.data_type().clone(), true)).collect();
        let of = StructArray::try_new_with_length(fields, columns, self.nulls.finish(), self.rows);
        Ok(Arc::new(of.map_err(broken)?))
    }
}

/// Takes a cell off the front.
fn next_cell<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, String> {
    // −1: null.
    let Ok(length) = usize::try_from(next_i32(rest)?) else { return Ok(None) };
    let (cell, after) = rest.split_at_checked(length).ok_or_else(cut_short)?;
    *rest = after;
    Ok(Some(cell))
}

fn next_i32(rest: &mut &[u8]) -> Result<i32, String> {
    let (number, after) = rest.split_first_chunk::<4>().ok_or_else(cut_short)?;
    *rest = after;
    Ok(i32::from_be_bytes(*number))
}

fn cut_short() -> String {
    "has a value that is cut short".to_owned()
}

fn broken(e: arrow_schema::ArrowError) -> Error {
    Error::internal("values of a table do not make an array").because(e)
}

#[cfg(test)]
mod tests;
