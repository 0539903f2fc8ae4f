//! Rows as typed cells, compared without order.

use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;

/// Two floats this near, in relation to the larger, are one: sums may be taken in another order.
const FLOAT_TOLERANCE: f64 = 1e-9;

/// One value of a row.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Null,
    Float(f64),
    /// Any other plain value, in the one form that its type has.
    Plain(String),
    List(Vec<Cell>),
    Struct(Vec<(String, Cell)>),
    Map(Vec<(Cell, Cell)>),
}

/// A row of cells, with the names of its columns.
#[derive(Clone, Debug)]
pub(super) struct CellRow(Vec<(String, Cell)>);

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Float(a), Self::Float(b)) => same_float(*a, *b),
            (Self::Plain(a), Self::Plain(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Struct(a), Self::Struct(b)) => a.iter().map(|it| &it.1).eq(b.iter().map(|it| &it.1)),
            (Self::Map(a), Self::Map(b)) => a.len() == b.len() && a.iter().all(|it| b.contains(it)),
            _ => false,
        }
    }
}

fn same_float(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= FLOAT_TOLERANCE * a.abs().max(b.abs())
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Float(it) => write!(f, "{it:?}"),
            Self::Plain(it) => f.write_str(it),
            Self::List(items) => write!(f, "[{}]", joined(items.iter())),
            Self::Struct(fields) => {
                write!(f, "{{{}}}", joined(fields.iter().map(|(name, cell)| format!("{name}: {cell}"))))
            }
            Self::Map(entries) => write!(f, "{{{}}}", joined(entries.iter().map(|(key, it)| format!("{key}: {it}")))),
        }
    }
}

impl fmt::Display for CellRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", joined(self.0.iter().map(|(name, cell)| format!("{name}: {cell}"))))
    }
}

fn joined<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|it| it.to_string()).collect::<Vec<_>>().join(", ")
}

/// The rows of batches as cells.
pub(super) fn cells<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Vec<CellRow>, String> {
    let mut rows = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            let cells = schema
                .fields()
                .iter()
                .zip(batch.columns())
                .map(|(field, column)| Ok((field.name().clone(), cell(column, row)?)));
            rows.push(CellRow(cells.collect::<Result<_, String>>()?));
        }
    }
    Ok(rows)
}

fn cell(array: &ArrayRef, row: usize) -> Result<Cell, String> {
    if array.is_null(row) {
        return Ok(Cell::Null);
    }
    let items = |array: &ArrayRef| (0..array.len()).map(|i| cell(array, i)).collect::<Result<Vec<_>, _>>();
    Ok(match array.data_type() {
        DataType::Null => Cell::Null,
        DataType::Float32 => Cell::Float(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => Cell::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::List(_) => Cell::List(items(&array.as_list::<i32>().value(row))?),
        DataType::LargeList(_) => Cell::List(items(&array.as_list::<i64>().value(row))?),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let fields = fields.iter().zip(columns).map(|(field, it)| Ok((field.name().clone(), cell(it, row)?)));
            Cell::Struct(fields.collect::<Result<_, String>>()?)
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = match entries.columns() {
                [keys, values] => (items(keys)?, items(values)?),
                other => return Err(format!("a map of {} columns", other.len())),
            };
            Cell::Map(keys.into_iter().zip(values).collect())
        }
        _ => {
            let format = FormatOptions::new();
            let shown = ArrayFormatter::try_new(array, &format).map_err(|e| e.to_string())?;
            Cell::Plain(shown.value(row).try_to_string().map_err(|e| e.to_string())?)
        }
    })
}

/// Compares two sets of rows of the same columns.
///
/// # Errors
/// What was expected, what came, and which rows are missing or too many.
pub(super) fn same_rows(expected: &[CellRow], came: &[CellRow]) -> Result<(), String> {
    let mut left: Vec<&CellRow> = came.iter().collect();
    let mut missing = Vec::new();
    for row in expected {
        match left.iter().position(|it| same_row(row, it)) {
            Some(at) => _ = left.swap_remove(at),
            None => missing.push(row),
        }
    }
    if missing.is_empty() && left.is_empty() {
        return Ok(());
    }
    let list = |rows: &mut dyn Iterator<Item = &CellRow>| joined(rows);
    Err(format!(
        "expected: [{}]\ncame:     [{}]\nmissing:  [{}]\ntoo many: [{}]",
        list(&mut expected.iter()),
        list(&mut came.iter()),
        list(&mut missing.into_iter()),
        list(&mut left.into_iter()),
    ))
}

fn same_row(a: &CellRow, b: &CellRow) -> bool {
    a.0.len() == b.0.len() && a.0.iter().zip(&b.0).all(|((_, x), (_, y))| x == y)
}

#[cfg(test)]
mod tests;
