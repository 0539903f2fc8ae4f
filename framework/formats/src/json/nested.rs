//! Arrays, maps and structs of columns.

use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, FieldRef, Fields};
use tidegate_api::{Error, Result};

use super::bytes::Bytes;
use super::column::{Column, Fit, unsupported};
use super::names::Names;
use super::scanner::{Malformed, Scan, Scanner};

/// The ends of lists in the column of their items.
struct Ends(Vec<i32>);

impl Ends {
    fn close(&mut self, end: usize) {
        self.0.push(i32::try_from(end).unwrap_or(i32::MAX));
    }

    fn truncate(&mut self, len: usize) -> usize {
        self.0.truncate(len + 1);
        self.0.last().and_then(|it| usize::try_from(*it).ok()).unwrap_or(0)
    }

    fn take(&mut self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.0, vec![0])))
    }
}

pub(super) struct ListValues {
    field: FieldRef,
    ends: Ends,
    item: Column,
}

impl ListValues {
    pub(super) fn new(field: &FieldRef, path: &str) -> Result<Self> {
        let item = Column::new(field.data_type(), &join(path, "element"))?;
        Ok(Self { field: field.clone(), ends: Ends(vec![0]), item })
    }

    pub(super) fn item(&self) -> &Column {
        &self.item
    }

    /// Reads an array; one item that does not fit makes all of it null, as in Spark.
    pub(super) fn read(&mut self, scanner: &mut Scanner<'_>, first: u8) -> Scan<Fit> {
        let start = self.item.len();
        let mut fit = Fit::Wrong;
        if first != b'[' {
            scanner.skip_value()?;
        } else if !scanner.open(b']') {
            fit = Fit::Whole;
        } else {
            fit = Fit::Whole;
            scanner.enter()?;
            loop {
                fit = fit.max(self.item.read(scanner)?);
                if !scanner.more(b']')? {
                    break;
                }
            }
            scanner.leave();
        }
        if fit == Fit::Wrong {
            self.item.truncate(start);
        }
        self.close();
        Ok(fit)
    }

    /// Reads what stands there as the only item.
    pub(super) fn read_single(&mut self, scanner: &mut Scanner<'_>) -> Scan<Fit> {
        let fit = self.item.read(scanner)?;
        self.close();
        Ok(fit)
    }

    /// Ends a list.
    pub(super) fn close(&mut self) {
        self.ends.close(self.item.len());
    }

    pub(super) fn truncate(&mut self, len: usize) {
        let items = self.ends.truncate(len);
        self.item.truncate(items);
    }

    pub(super) fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let array = ListArray::try_new(self.field.clone(), self.ends.take(), self.item.finish()?, nulls);
        Ok(Arc::new(array.map_err(|e| Error::internal("array column").because(e))?))
    }
}

pub(super) struct MapValues {
    entries: FieldRef,
    fields: Fields,
    ordered: bool,
    ends: Ends,
    keys: Bytes,
    value: Column,
}

impl MapValues {
    pub(super) fn new(entries: &FieldRef, ordered: bool, path: &str) -> Result<Self> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(unsupported(path, entries.data_type()));
        };
        let [key, value] = fields.as_ref() else { return Err(unsupported(path, entries.data_type())) };
        if key.data_type() != &DataType::Utf8 {
            return Err(unsupported(&join(path, "key"), key.data_type()));
        }
        let value = Column::new(value.data_type(), &join(path, "value"))?;
        let (entries, fields) = (entries.clone(), fields.clone());
        Ok(Self { entries, fields, ordered, ends: Ends(vec![0]), keys: Bytes::default(), value })
    }

    /// Reads an object, all members of it in their order; a value that does not fit makes all of it null, as in Spark.
    pub(super) fn read(&mut self, scanner: &mut Scanner<'_>, first: u8) -> Scan<Fit> {
        let start = self.value.len();
        let mut fit = Fit::Wrong;
        if first != b'{' {
            scanner.skip_value()?;
        } else if !scanner.open(b'}') {
            fit = Fit::Whole;
        } else {
            fit = Fit::Whole;
            scanner.enter()?;
            loop {
                let name = scanner.name()?;
                self.keys.push_with(|out| name.append_to(out));
                fit = fit.max(self.value.read(scanner)?);
                if !scanner.more(b'}')? {
                    break;
                }
            }
            scanner.leave();
        }
        if fit == Fit::Wrong {
            self.keys.truncate(start);
            self.value.truncate(start);
        }
        self.close();
        Ok(fit)
    }

    /// Ends a map.
    pub(super) fn close(&mut self) {
        self.ends.close(self.value.len());
    }

    pub(super) fn truncate(&mut self, len: usize) {
        let entries = self.ends.truncate(len);
        self.keys.truncate(entries);
        self.value.truncate(entries);
    }

    pub(super) fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let internal = |e| Error::internal("map column").because(e);
        let columns = vec![self.keys.finish_text(None)?, self.value.finish()?];
        let entries = StructArray::try_new(self.fields.clone(), columns, None).map_err(internal)?;
        let array = MapArray::try_new(self.entries.clone(), self.ends.take(), entries, nulls, self.ordered);
        Ok(Arc::new(array.map_err(internal)?))
    }
}

pub(super) struct StructValues {
    fields: Fields,
    columns: Vec<Column>,
    names: Names,
    /// The last field whose value did not fit, and how far.
    misfit: (usize, Fit),
}

impl StructValues {
    pub(super) fn new(fields: &Fields, path: &str) -> Result<Self> {
        let columns = fields.iter().map(|it| Column::new(it.data_type(), &join(path, it.name())));
        let names = Names::new(fields.iter().map(|it| it.name().as_str()));
        Ok(Self { fields: fields.clone(), columns: columns.collect::<Result<_>>()?, names, misfit: (0, Fit::Wrong) })
    }

    pub(super) fn reserve(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|it| it.reserve(rows));
    }

    /// Reads an object as value `row`: names that are not fields are skipped, the last of equal names counts if it fits.
    pub(super) fn read(&mut self, row: usize, scanner: &mut Scanner<'_>, first: u8) -> Scan<Fit> {
        if first != b'{' {
            scanner.skip_value()?;
            self.push_nulls();
            return Ok(Fit::Wrong);
        }
        let mut fit = Fit::Whole;
        let mut place = 0;
        if scanner.open(b'}') {
            scanner.enter()?;
            loop {
                let found = self.names.read(scanner, &mut place)?;
                fit = fit.max(self.read_member(found, row, scanner)?);
                if !scanner.more(b'}')? {
                    break;
                }
            }
            scanner.leave();
        }
        for column in &mut self.columns {
            if column.len() == row {
                column.push_null();
            }
        }
        Ok(fit)
    }

    #[inline]
    fn read_member(&mut self, found: Option<usize>, row: usize, scanner: &mut Scanner<'_>) -> Scan<Fit> {
        let Some(index) = found else {
            scanner.skip_value()?;
            return Ok(Fit::Whole);
        };
        let column = self.columns.get_mut(index).ok_or(Malformed)?;
        let fit = if column.len() > row { read_again(column, row, scanner)? } else { column.read(scanner)? };
        if fit != Fit::Whole {
            self.misfit = (index, fit);
        }
        Ok(fit.min(Fit::Partly))
    }

    /// The name and type of the last value that did not fit.
    pub(super) fn misfit(&self) -> Option<(String, &DataType)> {
        let (index, fit) = self.misfit;
        let (name, column) = (self.fields.get(index)?.name(), self.columns.get(index)?);
        match column.as_struct() {
            Some(inner) if fit == Fit::Partly => {
                let (inner, data_type) = inner.misfit()?;
                Some((join(name, &inner), data_type))
            }
            _ => Some((name.clone(), column.data_type())),
        }
    }

    pub(super) fn push_nulls(&mut self) {
        self.columns.iter_mut().for_each(Column::push_null);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.columns.iter_mut().for_each(|it| it.truncate(len));
    }

    pub(super) fn finish(&mut self, len: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let array = StructArray::try_new_with_length(self.fields.clone(), self.finish_columns()?, nulls, len);
        Ok(Arc::new(array.map_err(|e| Error::internal("struct column").because(e))?))
    }

    /// The columns, one by one.
    pub(super) fn finish_columns(&mut self) -> Result<Vec<ArrayRef>> {
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

/// Reads one more value for `row`: it takes the place of the one that is there, unless it does not fit at all.
#[cold]
fn read_again(column: &mut Column, row: usize, scanner: &mut Scanner<'_>) -> Scan<Fit> {
    let start = scanner.clone();
    let fit = column.read(scanner)?;
    column.truncate(row + 1);
    if fit != Fit::Wrong {
        // A column gives back its last value only: the new one is read once more, into the place of the old one.
        column.truncate(row);
        *scanner = start;
        column.read(scanner)?;
    }
    Ok(fit)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
