//! `TableColumns`: the columns of a table as a query reads them; what is refused once the table is known.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use scylla::cluster::metadata::{Column as CqlColumn, ColumnKind, ColumnType};
use scylla::deserialize::row::ColumnIterator;
use scylla::response::query_result::QueryRowsResult;
use tidegate_api::{Error, ErrorKind, FieldPath, Result};

use crate::codec::{Codec, cql_name, natural, plain, reading};
use crate::statements::quoted;
use crate::table::{Found, listed, named};
use crate::values::Values;

/// The table as a query reads it.
#[derive(Clone, Debug)]
pub(crate) struct TableColumns {
    /// Keyspace and table, for people and for statements.
    pub(crate) name: String,
    quoted: String,
    /// The partition key, for statements.
    key: Vec<String>,
    columns: Vec<Column>,
    pub(crate) schema: SchemaRef,
}

/// A column that is read.
#[derive(Clone, Debug)]
struct Column {
    /// Its name in the table.
    name: String,
    of: ColumnType<'static>,
    plain: DataType,
    codec: Codec,
}

/// The columns of a table, of the types that they are read as: those of the partition key, of the clustering key, static ones
/// and the others by their names, as `SELECT *` has them.
///
/// # Errors
/// `Config`, naming the columns that can't be read.
pub(crate) fn own_columns(found: &Found) -> Result<SchemaRef> {
    let table = &found.table;
    let mut columns: Vec<(&String, &CqlColumn)> = table.columns.iter().collect();
    let place = |keys: &[String], name: &String| keys.iter().position(|it| it == name);
    columns.sort_by_key(|(name, it)| match &it.kind {
        ColumnKind::PartitionKey => (0, place(&table.partition_key, name), *name),
        ColumnKind::Clustering => (1, place(&table.clustering_key, name), *name),
        ColumnKind::Static => (2, None, *name),
        _ => (3, None, *name),
    });
    let (mut fields, mut wrong) = (Vec::new(), Vec::new());
    for (name, it) in columns {
        match natural(&it.typ) {
            Some(of) => fields.push(Field::new(name, of, true)),
            None => wrong.push(format!("column '{name}' is {}", cql_name(&it.typ))),
        }
    }
    if wrong.is_empty() {
        return Ok(Arc::new(Schema::new(fields)));
    }
    let wrong = wrong.join(", ");
    let text = format!(
        "table {}.{}: {wrong}, which can't be read: declare the others with schema",
        found.keyspace, found.name
    );
    Err(Error::config(text))
}

impl TableColumns {
    /// The columns of `schema`, read from the table.
    ///
    /// # Errors
    /// `Config`, naming all that is not there or can't be read as that.
    pub(crate) fn new(found: &Found, schema: &Schema) -> Result<Self> {
        let name = format!("{}.{}", found.keyspace, found.name);
        let known = found.table.columns.keys().map(String::as_str);
        let (mut columns, mut wrong) = (Vec::new(), Vec::new());
        for field in schema.fields() {
            let target = named(field.name(), known.clone());
            let Some((target, column)) = target.and_then(|it| Some((it, found.table.columns.get(it)?))) else {
                wrong.push(format!("has no column '{}', only {}", field.name(), listed(known.clone())));
                continue;
            };
            let plain = plain(field.data_type());
            match reading(&plain, &column.typ) {
                Some(codec) => {
                    columns.push(Column { name: target.to_owned(), of: column.typ.clone(), plain, codec });
                }
                None => wrong.push(cant_be_read(target, &column.typ, field.data_type())),
            }
        }
        if !wrong.is_empty() {
            return Err(Error::config(format!("table {name}: {}", wrong.join("; "))));
        }
        let fields = schema.fields().iter().map(|it| Arc::new(it.as_ref().clone().with_nullable(true)));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let quoted_name = format!("{}.{}", quoted(&found.keyspace), quoted(&found.name));
        let key = found.table.partition_key.iter().map(|it| quoted(it)).collect();
        Ok(Self { name, quoted: quoted_name, key, columns, schema })
    }

    /// These columns alone, in this order.
    ///
    /// # Errors
    /// `Config` if one is not there.
    pub(crate) fn narrowed(&self, wanted: &[FieldPath]) -> Result<Self> {
        let (mut columns, mut fields) = (Vec::new(), Vec::new());
        for path in wanted {
            let name = path.0.first().map_or("", String::as_str);
            let found = self.schema.index_of(name).ok();
            let found = found.and_then(|at| Some((self.columns.get(at)?, self.schema.fields().get(at)?)));
            let (column, field) =
                found.ok_or_else(|| Error::config(format!("table {} is read without a column '{name}'", self.name)))?;
            columns.push(column.clone());
            fields.push(field.clone());
        }
        Ok(Self { columns, schema: Arc::new(Schema::new(fields)), ..self.clone() })
    }

    /// Reads the rows of a range of tokens, whose ends are bound. If no column is wanted rows are only counted.
    pub(crate) fn statement(&self) -> String {
        let key = self.key.join(", ");
        let mut names: Vec<_> = self.columns.iter().map(|it| quoted(&it.name)).collect();
        if names.is_empty() {
            names.extend(self.key.first().cloned());
        }
        let (names, table) = (names.join(", "), &self.quoted);
        format!("SELECT {names} FROM {table} WHERE token({key}) > ? AND token({key}) <= ?")
    }

    /// The rows of a page.
    ///
    /// # Errors
    /// `Data` if a value can't be had in its column, `Config` if a column has become another.
    pub(crate) fn batch(&self, page: &QueryRowsResult) -> Result<RecordBatch> {
        let specs = page.column_specs();
        for (column, spec) in self.columns.iter().zip(specs.iter()) {
            // What a page says of its columns leaves out what is frozen.
            if reading(&column.plain, spec.typ()).as_ref() != Some(&column.codec) {
                return Err(self.changed(column, spec.typ()));
            }
        }
        let rows = page.rows_num();
        let new = |it: &Column| Values::new(&it.codec, &it.plain, rows);
        let mut all = self.columns.iter().map(new).collect::<Result<Vec<_>>>()?;
        let malformed = |e: String| Error::internal(format!("a page of table {} can't be read: {e}", self.name));
        for row in page.rows::<ColumnIterator<'_, '_>>().map_err(|e| malformed(e.to_string()))? {
            let cells = row.map_err(|e| malformed(e.to_string()))?;
            for ((column, values), cell) in self.columns.iter().zip(&mut all).zip(cells) {
                let cell = cell.map_err(|e| malformed(e.to_string()))?;
                values.append(cell.slice.map(|it| it.as_slice())).map_err(|why| self.wrong(column, &why))?;
            }
        }
        let arrays = all.into_iter().zip(self.schema.fields()).map(|(it, field)| self.cast(&it.finish()?, field));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|e| Error::internal(format!("a page of table {}", self.name)).because(e))
    }

    /// Makes the column's type of what was collected, which may be wider.
    fn cast(&self, array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
        if array.data_type() == field.data_type() {
            return Ok(array.clone());
        }
        let options = arrow_cast::CastOptions { safe: false, ..Default::default() };
        arrow_cast::cast_with_options(array, field.data_type(), &options).map_err(|e| {
            let text = format!("column '{}' of table {} does not fit {}", field.name(), self.name, field.data_type());
            Error::new(ErrorKind::Data, text).because(e)
        })
    }

    fn wrong(&self, column: &Column, why: &str) -> Error {
        Error::new(ErrorKind::Data, format!("column '{}' of table {} {why}", column.name, self.name))
    }

    fn changed(&self, column: &Column, now: &ColumnType<'_>) -> Error {
        let (name, was, now) = (&column.name, cql_name(&column.of), cql_name(now));
        let text = format!("column '{name}' of table {} was {was} and is {now} now: start the query anew", self.name);
        Error::config(text)
    }
}

fn cant_be_read(name: &str, of: &ColumnType<'_>, declared: &DataType) -> String {
    let cql = cql_name(of);
    match natural(of) {
        Some(it) => format!("column '{name}' is {cql}, which can't be read as {declared}; it is {it}"),
        None => format!("column '{name}' is {cql}, which can't be read"),
    }
}
