//! What may be kept as state: Rust values that are cells of a column, and Arrow as it is.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    StructArray,
};
use arrow_schema::{DataType, Field, Fields};
use arrow_select::concat::concat;
use tidegate_api::{Error, Result};

/// A value that can be a cell of an Arrow column.
///
/// An `ArrayRef` or a `RecordBatch` of one row is one too: for it the type is said where the variable is declared.
pub trait StateValue: Sized + Send + Sync + 'static {
    /// The cell of a row.
    ///
    /// # Errors
    /// `Config` if the column is of another type, or the cell is null and this can't be.
    fn read(column: &ArrayRef, row: usize) -> Result<Self>;

    /// A column of these values; there is one at least.
    ///
    /// # Errors
    /// `Config` if they are no cells of one column.
    fn column(values: &[Self]) -> Result<ArrayRef>;
}

/// A value whose type says what the column is.
pub trait StateType: StateValue {
    /// The column's type.
    fn data_type() -> DataType;
}

/// One value as a column.
pub(super) fn one<T: StateValue>(value: &T) -> Result<ArrayRef> {
    T::column(std::slice::from_ref(value))
}

fn other_type<T: StateType>(column: &ArrayRef) -> Error {
    Error::config(format!("a value is {}, not {}", column.data_type(), T::data_type()))
}

fn is_null() -> Error {
    Error::config("a value is null, which its type in the program can't be: use an Option")
}

macro_rules! cells {
    ($($rust:ty, $arrow:expr, $array:ty, $read:expr, $write:expr;)*) => {$(
        impl StateValue for $rust {
            fn read(column: &ArrayRef, row: usize) -> Result<Self> {
                let cells: Option<&$array> = column.as_any().downcast_ref();
                let cells = cells.ok_or_else(|| other_type::<Self>(column))?;
                if row >= cells.len() || cells.is_null(row) {
                    return Err(is_null());
                }
                let read: fn(&$array, usize) -> Self = $read;
                Ok(read(cells, row))
            }

            fn column(values: &[Self]) -> Result<ArrayRef> {
                let write: fn(&[Self]) -> $array = $write;
                Ok(Arc::new(write(values)))
            }
        }

        impl StateType for $rust {
            fn data_type() -> DataType {
                $arrow
            }
        }
    )*};
}

cells! {
    i32, DataType::Int32, Int32Array, |it, row| it.value(row), |it| it.iter().copied().collect();
    i64, DataType::Int64, Int64Array, |it, row| it.value(row), |it| it.iter().copied().collect();
    f64, DataType::Float64, Float64Array, |it, row| it.value(row), |it| it.iter().copied().collect();
    bool, DataType::Boolean, BooleanArray, |it, row| it.value(row), |it| BooleanArray::from(it.to_vec());
    String, DataType::Utf8, StringArray, |it, row| it.value(row).to_owned(), |it| StringArray::from_iter_values(it);
    Vec<u8>, DataType::Binary, BinaryArray, |it, row| it.value(row).to_owned(), |it| BinaryArray::from_iter_values(it);
}

macro_rules! nullable {
    ($($rust:ty, $array:ty, $values:expr;)*) => {$(
        impl StateValue for Option<$rust> {
            fn read(column: &ArrayRef, row: usize) -> Result<Self> {
                if row < column.len() && column.is_null(row) { Ok(None) } else { <$rust>::read(column, row).map(Some) }
            }

            fn column(values: &[Self]) -> Result<ArrayRef> {
                let column: fn(&[Self]) -> $array = $values;
                Ok(Arc::new(column(values)))
            }
        }

        impl StateType for Option<$rust> {
            fn data_type() -> DataType {
                <$rust>::data_type()
            }
        }
    )*};
}

nullable! {
    i32, Int32Array, |it| it.iter().copied().collect();
    i64, Int64Array, |it| it.iter().copied().collect();
    f64, Float64Array, |it| it.iter().copied().collect();
    bool, BooleanArray, |it| it.iter().copied().collect();
    String, StringArray, |it| it.iter().map(Option::as_deref).collect();
    Vec<u8>, BinaryArray, |it| it.iter().map(Option::as_deref).collect();
}

macro_rules! tuples {
    ($(($($part:ident $at:tt),*);)*) => {$(
        impl<$($part: StateType),*> StateValue for ($($part,)*) {
            fn read(column: &ArrayRef, row: usize) -> Result<Self> {
                let fields = column.as_struct_opt().ok_or_else(|| other_type::<Self>(column))?;
                if row >= fields.len() || fields.is_null(row) {
                    return Err(is_null());
                }
                let field = |at: usize| fields.columns().get(at).ok_or_else(|| other_type::<Self>(column));
                Ok(($($part::read(field($at)?, row)?,)*))
            }

            fn column(values: &[Self]) -> Result<ArrayRef> {
                // Cell by cell: a tuple lends none of its parts as a slice.
                let columns = vec![$(
                    {
                        let cells = values.iter().map(|it| one(&it.$at)).collect::<Result<Vec<_>>>()?;
                        joined(&cells)?
                    }
                ),*];
                let DataType::Struct(fields) = Self::data_type() else { return Err(Error::internal("a tuple is a struct")) };
                let made = StructArray::try_new(fields, columns, None);
                Ok(Arc::new(made.map_err(|e| Error::config("values of state").because(e))?))
            }
        }

        impl<$($part: StateType),*> StateType for ($($part,)*) {
            /// Fields `_1`, `_2` …, as Spark names them.
            fn data_type() -> DataType {
                DataType::Struct(Fields::from(vec![$(
                    Field::new(format!("_{}", $at + 1), $part::data_type(), true)
                ),*]))
            }
        }
    )*};
}

tuples! {
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
}

/// A column of one cell, or several.
impl StateValue for ArrayRef {
    fn read(column: &ArrayRef, row: usize) -> Result<Self> {
        Ok(column.slice(row, 1))
    }

    fn column(values: &[Self]) -> Result<ArrayRef> {
        joined(values)
    }
}

/// Rows whose columns are the fields of a struct.
impl StateValue for RecordBatch {
    fn read(column: &ArrayRef, row: usize) -> Result<Self> {
        let rows = column
            .as_struct_opt()
            .ok_or_else(|| Error::config(format!("a value is {}, not a struct, which rows are", column.data_type())))?;
        let rows = rows.slice(row, 1);
        if rows.null_count() > 0 {
            return Err(is_null());
        }
        Ok(Self::from(rows))
    }

    fn column(values: &[Self]) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> =
            values.iter().map(|it| Arc::new(StructArray::from(it.clone())) as ArrayRef).collect();
        joined(&columns)
    }
}

/// Columns one below the other.
pub(super) fn joined(columns: &[ArrayRef]) -> Result<ArrayRef> {
    if let [one] = columns {
        return Ok(one.clone());
    }
    let parts: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    concat(&parts).map_err(|e| Error::config("values of state are not of one type").because(e))
}
