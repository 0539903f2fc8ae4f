//! Plain column builders for parsers that hand out values, with just the types of the corpora.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, BooleanArray, ListArray, PrimitiveArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::{BooleanBufferBuilder, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, FieldRef, SchemaRef};

use simd_json::prelude::{TypedScalarValue, ValueAsScalar};
use sonic_rs::{JsonValueTrait, LazyValue};
use tidegate_formats::datetime::parse_timestamp;

use crate::Failure;

/// The document turned out not to be JSON.
#[derive(Debug)]
pub(crate) struct Malformed;

/// A value of some parser.
pub(crate) trait Node: Sized {
    fn is_null(&self) -> bool;
    fn bool(&self) -> Option<bool>;
    fn i64(&self) -> Option<i64>;
    fn f64(&self) -> Option<f64>;
    fn text(&self) -> Option<Cow<'_, str>>;
    /// Gives the items; false if this is no array.
    fn items(self, each: impl FnMut(Self) -> Result<(), Malformed>) -> Result<bool, Malformed>;
    /// Gives the members; false if this is no object.
    fn members(self, each: impl FnMut(&str, Self) -> Result<(), Malformed>) -> Result<bool, Malformed>;
}

impl<'tape, 'input> Node for simd_json::tape::Value<'tape, 'input> {
    fn is_null(&self) -> bool {
        TypedScalarValue::is_null(self)
    }
    fn bool(&self) -> Option<bool> {
        self.as_bool()
    }
    fn i64(&self) -> Option<i64> {
        self.as_i64()
    }
    fn f64(&self) -> Option<f64> {
        self.cast_f64()
    }
    fn text(&self) -> Option<Cow<'_, str>> {
        self.as_str().map(Cow::Borrowed)
    }
    fn items(self, mut each: impl FnMut(Self) -> Result<(), Malformed>) -> Result<bool, Malformed> {
        let Some(items) = self.as_array() else { return Ok(false) };
        items.iter().try_for_each(&mut each).map(|()| true)
    }
    fn members(self, mut each: impl FnMut(&str, Self) -> Result<(), Malformed>) -> Result<bool, Malformed> {
        let Some(members) = self.as_object() else { return Ok(false) };
        members.iter().try_for_each(|(name, it)| each(name, it)).map(|()| true)
    }
}

/// A value of sonic-rs.
pub(crate) enum Lazy<'a> {
    Document(&'a [u8]),
    Value(LazyValue<'a>),
}

impl Lazy<'_> {
    fn value(&self) -> Option<&LazyValue<'_>> {
        match self {
            Lazy::Document(_) => None,
            Lazy::Value(it) => Some(it),
        }
    }
}

impl Node for Lazy<'_> {
    fn is_null(&self) -> bool {
        self.value().is_some_and(|it| it.is_null())
    }
    fn bool(&self) -> Option<bool> {
        self.value()?.as_bool()
    }
    fn i64(&self) -> Option<i64> {
        self.value()?.as_i64()
    }
    fn f64(&self) -> Option<f64> {
        self.value()?.as_f64()
    }
    fn text(&self) -> Option<Cow<'_, str>> {
        self.value()?.as_str().map(Cow::Borrowed)
    }
    fn items(self, mut each: impl FnMut(Self) -> Result<(), Malformed>) -> Result<bool, Malformed> {
        let items = match self {
            Lazy::Document(it) => Some(sonic_rs::to_array_iter(it)),
            Lazy::Value(it) => it.into_array_iter(),
        };
        let Some(mut items) = items else { return Ok(false) };
        items.try_for_each(|it| each(Lazy::Value(it.map_err(|_| Malformed)?))).map(|()| true)
    }
    fn members(self, mut each: impl FnMut(&str, Self) -> Result<(), Malformed>) -> Result<bool, Malformed> {
        let members = match self {
            Lazy::Document(it) => Some(sonic_rs::to_object_iter(it)),
            Lazy::Value(it) => it.into_object_iter(),
        };
        let Some(mut members) = members else { return Ok(false) };
        members
            .try_for_each(|it| {
                let (name, value) = it.map_err(|_| Malformed)?;
                each(&name, Lazy::Value(value))
            })
            .map(|()| true)
    }
}

/// The columns of a schema.
pub(crate) struct Root {
    schema: SchemaRef,
    rows: usize,
    fields: Fields,
}

impl Root {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        let fields = Fields::new(schema.fields());
        Self { schema, rows: 0, fields }
    }

    /// Adds a document; nulls if there is none or it is malformed.
    pub(crate) fn push(&mut self, document: Option<impl Node>) {
        let read = document.is_some_and(|it| matches!(self.fields.read(self.rows, it), Ok(true)));
        if !read {
            self.fields.truncate(self.rows);
            self.fields.fill(self.rows);
        }
        self.rows += 1;
    }

    pub(crate) fn finish(&mut self) -> Result<RecordBatch, Failure> {
        self.rows = 0;
        Ok(RecordBatch::try_new(self.schema.clone(), self.fields.finish()?)?)
    }
}

struct Fields {
    names: Vec<String>,
    columns: Vec<Column>,
    /// The names of the last document in their order, as our decoder remembers them.
    seen: Vec<(String, Option<usize>)>,
}

impl Fields {
    fn new(fields: &arrow_schema::Fields) -> Self {
        let names = fields.iter().map(|it| it.name().clone()).collect();
        Self { names, columns: fields.iter().map(|it| Column::new(it.data_type())).collect(), seen: Vec::new() }
    }

    fn read(&mut self, row: usize, node: impl Node) -> Result<bool, Malformed> {
        let mut place = 0;
        let is_object = node.members(|name, value| {
            let found = match self.seen.get(place) {
                Some((seen, found)) if seen == name => *found,
                _ => {
                    let found = self.names.iter().position(|it| it == name);
                    self.seen.truncate(place);
                    self.seen.push((name.to_owned(), found));
                    found
                }
            };
            place += 1;
            let Some(column) = found.and_then(|it| self.columns.get_mut(it)) else { return Ok(()) };
            column.truncate(row);
            column.read(value)
        })?;
        self.fill(row);
        Ok(is_object)
    }

    /// Adds nulls where value `row` is missing.
    fn fill(&mut self, row: usize) {
        self.columns.iter_mut().filter(|it| it.len == row).for_each(Column::push_null);
    }

    fn truncate(&mut self, len: usize) {
        self.columns.iter_mut().for_each(|it| it.truncate(len));
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, Failure> {
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

struct Column {
    len: usize,
    nulls: NullBufferBuilder,
    values: Values,
}

enum Values {
    Boolean(BooleanBufferBuilder),
    Int64(Vec<i64>),
    Float64(Vec<f64>),
    Text(Vec<i32>, String),
    Time(Vec<i64>),
    List(Vec<i32>, FieldRef, Box<Column>),
    Struct(arrow_schema::Fields, Fields),
}

impl Column {
    fn new(data_type: &DataType) -> Self {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Utf8 => Values::Text(vec![0], String::new()),
            DataType::Timestamp(..) => Values::Time(Vec::new()),
            DataType::List(item) => Values::List(vec![0], item.clone(), Box::new(Column::new(item.data_type()))),
            DataType::Struct(fields) => Values::Struct(fields.clone(), Fields::new(fields)),
            other => panic!("no corpus has {other}"),
        };
        Self { len: 0, nulls: NullBufferBuilder::new(0), values }
    }

    fn read(&mut self, node: impl Node) -> Result<(), Malformed> {
        let valid = match &mut self.values {
            Values::Boolean(it) => {
                let value = node.bool();
                it.append(value.unwrap_or_default());
                value.is_some()
            }
            Values::Int64(it) => push(it, node.i64()),
            Values::Float64(it) => push(it, node.f64()),
            Values::Time(it) => push(it, node.text().and_then(|it| parse_timestamp(it.as_bytes()))),
            Values::Text(ends, data) => {
                let value = node.text();
                data.push_str(value.as_deref().unwrap_or_default());
                ends.push(data.len() as i32);
                value.is_some()
            }
            Values::List(ends, _, items) => {
                let valid = !node.is_null() && node.items(|it| items.read(it))?;
                ends.push(items.len as i32);
                valid
            }
            Values::Struct(_, fields) => {
                let valid = !node.is_null() && fields.read(self.len, node)?;
                fields.fill(self.len);
                valid
            }
        };
        self.close(valid);
        Ok(())
    }

    fn close(&mut self, valid: bool) {
        self.nulls.append(valid);
        self.len += 1;
    }

    fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(it) => it.append(false),
            Values::Int64(it) | Values::Time(it) => it.push(0),
            Values::Float64(it) => it.push(0.0),
            Values::Text(ends, data) => ends.push(data.len() as i32),
            Values::List(ends, _, items) => ends.push(items.len as i32),
            Values::Struct(_, fields) => fields.fill(self.len),
        }
        self.close(false);
    }

    fn truncate(&mut self, len: usize) {
        let last = |ends: &mut Vec<i32>| {
            ends.truncate(len + 1);
            ends.last().map_or(0, |it| *it as usize)
        };
        match &mut self.values {
            Values::Boolean(it) => it.truncate(len),
            Values::Int64(it) | Values::Time(it) => it.truncate(len),
            Values::Float64(it) => it.truncate(len),
            Values::Text(ends, data) => data.truncate(last(ends)),
            Values::List(ends, _, items) => items.truncate(last(ends)),
            Values::Struct(_, fields) => fields.truncate(len),
        }
        self.nulls.truncate(len);
        self.len = self.len.min(len);
    }

    fn finish(&mut self) -> Result<ArrayRef, Failure> {
        let len = std::mem::take(&mut self.len);
        let nulls = std::mem::replace(&mut self.nulls, NullBufferBuilder::new(0)).build();
        let offsets = |ends: &mut Vec<i32>| OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
        Ok(match &mut self.values {
            Values::Boolean(it) => Arc::new(BooleanArray::new(it.finish(), nulls)),
            Values::Int64(it) => Arc::new(PrimitiveArray::<Int64Type>::try_new(std::mem::take(it).into(), nulls)?),
            Values::Float64(it) => Arc::new(PrimitiveArray::<Float64Type>::try_new(std::mem::take(it).into(), nulls)?),
            Values::Time(it) => {
                let array = PrimitiveArray::<TimestampMicrosecondType>::try_new(std::mem::take(it).into(), nulls)?;
                Arc::new(array.with_timezone("UTC"))
            }
            Values::Text(ends, data) => {
                let data = std::mem::take(data).into_bytes();
                Arc::new(StringArray::try_new(offsets(ends), data.into(), nulls)?)
            }
            Values::List(ends, field, items) => {
                Arc::new(ListArray::try_new(field.clone(), offsets(ends), items.finish()?, nulls)?)
            }
            Values::Struct(names, fields) => {
                Arc::new(StructArray::try_new_with_length(names.clone(), fields.finish()?, nulls, len)?)
            }
        })
    }
}

fn push<T: Default>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let valid = value.is_some();
    values.push(value.unwrap_or_default());
    valid
}
