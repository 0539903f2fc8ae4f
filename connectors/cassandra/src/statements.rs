//! The statements that write and delete, and the values that are bound to them.

use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;

use crate::rows::{Cell, cells};
use crate::table::{Column, TablePlan};

/// A name as CQL takes it whatever its letters are.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn list(columns: &[Column], each: impl Fn(&str) -> String, between: &str) -> String {
    columns.iter().map(|it| each(&quoted(&it.name))).collect::<Vec<_>>().join(between)
}

/// Writes the row of a key: keys, values, write time and, if rows expire, the seconds that are left. Of a counter table:
/// values, then keys.
pub(crate) fn write(plan: &TablePlan, expires: bool) -> String {
    let table = plan.quoted();
    if plan.counter {
        let values = list(&plan.values, |it| format!("{it} = {it} + ?"), ", ");
        return format!("UPDATE {table} SET {values} WHERE {}", list(&plan.keys, |it| format!("{it} = ?"), " AND "));
    }
    let mut names = list(&plan.keys, str::to_owned, ", ");
    if !plan.values.is_empty() {
        names = format!("{names}, {}", list(&plan.values, str::to_owned, ", "));
    }
    let marks = vec!["?"; plan.keys.len() + plan.values.len()].join(", ");
    let ttl = if expires { " AND TTL ?" } else { "" };
    format!("INSERT INTO {table} ({names}) VALUES ({marks}) USING TIMESTAMP ?{ttl}")
}

/// Deletes the row of a key: write time, keys.
pub(crate) fn delete(plan: &TablePlan) -> String {
    let keys = list(&plan.keys, |it| format!("{it} = ?"), " AND ");
    format!("DELETE FROM {} USING TIMESTAMP ? WHERE {keys}", plan.quoted())
}

/// The values of a statement, in its order.
#[derive(Default)]
pub(crate) struct Bind<'a> {
    /// A write time that comes first.
    pub(crate) before: Option<i64>,
    pub(crate) first: &'a [u8],
    pub(crate) second: &'a [u8],
    /// A write time that comes after the cells.
    pub(crate) after: Option<i64>,
    /// Seconds.
    pub(crate) ttl: Option<i32>,
}

impl SerializeRow for Bind<'_> {
    fn serialize(&self, _: &RowSerializationContext<'_>, writer: &mut RowWriter) -> Result<(), SerializationError> {
        let put = |writer: &mut RowWriter, bytes: &[u8]| {
            writer.make_cell_writer().set_value(bytes).map(drop).map_err(SerializationError::new)
        };
        if let Some(time) = self.before {
            put(writer, &time.to_be_bytes())?;
        }
        for cell in cells(self.first).chain(cells(self.second)) {
            match cell {
                Cell::Null => drop(writer.make_cell_writer().set_null()),
                Cell::Unset => drop(writer.make_cell_writer().set_unset()),
                Cell::Value(bytes) => put(writer, bytes)?,
            }
        }
        if let Some(time) = self.after {
            put(writer, &time.to_be_bytes())?;
        }
        if let Some(ttl) = self.ttl {
            put(writer, &ttl.to_be_bytes())?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        false
    }
}
