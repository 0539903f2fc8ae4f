//! `StateLayout`: what the rows of an operator's state look like, and the checks that hold others to it.

use std::sync::Arc;

use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, Int64Array, PrimitiveArray, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef, TimeUnit};
use tidegate_api::{Error, Result};

use super::key::encode_keys;
use crate::program::StateShape;

/// Panes closer than this lie in one piece; rows in it are told apart by value.
const PIECE_US: i64 = 1_000_000;

/// How rows are cut into pieces, which are indexed, merged and dropped by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pieces {
    /// By the second of their pane: a closed window drops its piece whole.
    BySecond,
    /// All in one, which a key is looked up in once, whatever the panes of its rows.
    One,
}

impl Pieces {
    /// Which piece a pane lies in.
    pub(super) fn of(self, pane: Option<i64>) -> Option<i64> {
        match self {
            Self::BySecond => pane.map(|us| us.div_euclid(PIECE_US)),
            Self::One => Some(0),
        }
    }

    /// The pieces that may hold panes at or before `through_us`: up to this one.
    pub(super) fn last(self, through_us: i64) -> Option<i64> {
        self.of(Some(through_us))
    }
}

/// The columns of an operator's state.
#[derive(Clone, Debug)]
pub struct StateLayout {
    /// The operator's stable name in the query.
    pub operator: Arc<str>,
    /// Names the columns and the meaning of the rows; another layout is refused.
    pub layout: Arc<str>,
    /// The columns of a row.
    pub schema: SchemaRef,
    /// The columns that identify a row; none: the state has one row at most.
    pub key_columns: Vec<usize>,
    /// The column that says when a row is over: a timestamp in microseconds (a window's end, an event time). Rows whose
    /// pane is null are never over. If the column is one of the keys too, closing a window drops its index whole
    /// instead of key by key: make it one wherever the key fixes it.
    pub pane_column: Option<usize>,
    /// Tells the rows of one key apart (BIGINT), for a state of several rows a key: `key_columns` alone say then where a
    /// row lies and by what it is found, both together which row it is. Its pane never changes. None: a key has one row
    /// at most.
    pub row_column: Option<usize>,
}

impl StateLayout {
    /// Looks at the layout itself.
    pub(super) fn check(&self) -> Result<()> {
        let columns = self.schema.fields().len();
        let named = self.key_columns.iter().chain(&self.pane_column).chain(&self.row_column);
        if let Some(at) = named.into_iter().find(|it| **it >= columns) {
            return Err(self.wrong(format!("column {at} of {columns} is named")));
        }
        if let Some(row) = self.row_column.and_then(|it| self.schema.fields().get(it))
            && *row.data_type() != DataType::Int64
        {
            return Err(self.wrong(format!("row column '{}' is {}, expected Int64", row.name(), row.data_type())));
        }
        let Some(pane) = self.pane_column.and_then(|it| self.schema.fields().get(it)) else { return Ok(()) };
        match pane.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(()),
            other => {
                Err(self.wrong(format!("pane column '{}' is {other}, expected timestamp in microseconds", pane.name())))
            }
        }
    }

    /// What those need who read the rows without the query.
    pub fn shape(&self) -> StateShape {
        let (keys, columns) = (self.key_columns.clone(), self.schema.clone());
        StateShape { columns, keys, pane: self.pane_column, row: self.row_column, origin: None }
    }

    /// True if the key fixes the pane.
    pub(super) fn key_has_pane(&self) -> bool {
        self.pane_column.is_none_or(|pane| self.key_columns.contains(&pane))
    }

    /// How panes are laid out in pieces.
    pub(super) fn pieces(&self) -> Pieces {
        if self.row_column.is_some() && !self.key_has_pane() { Pieces::One } else { Pieces::BySecond }
    }

    /// The columns that say which row it is. Where a key has several, its pane too, by which it is found among them.
    pub(super) fn identity(&self) -> Vec<usize> {
        let pane = self.pane_column.filter(|_| self.row_column.is_some() && !self.key_has_pane());
        self.key_columns.iter().chain(&self.row_column).chain(&pane).copied().collect()
    }

    /// Those columns alone.
    pub(super) fn identity_schema(&self) -> SchemaRef {
        let fields = self.identity().into_iter().filter_map(|it| self.schema.fields().get(it).cloned());
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// True of rows of the whole schema. The identity may be all columns in another order: names tell it then.
    pub(super) fn is_whole(&self, rows: &Schema) -> bool {
        let is_identity = || same_names(rows, &self.identity_schema()) && !same_names(rows, &self.schema);
        same_types(rows, &self.schema) && !is_identity()
    }

    /// `rows` under the layout's own schema.
    pub(super) fn adopt(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        if Arc::ptr_eq(rows.schema_ref(), &self.schema) {
            return Ok(rows.clone());
        }
        if let Some(difference) = difference(&self.schema, rows.schema_ref()) {
            return Err(self.wrong(difference));
        }
        RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec())
            .map_err(|e| self.wrong("the rows do not fit".into()).because(e))
    }

    /// The keys of rows of the whole schema or of the identity alone.
    pub(super) fn keys(&self, rows: &RecordBatch) -> Result<arrow_array::BinaryArray> {
        let columns: Vec<ArrayRef> = if self.is_whole(rows.schema_ref()) {
            self.key_columns.iter().filter_map(|it| rows.columns().get(*it).cloned()).collect()
        } else if same_types(rows.schema_ref(), &self.identity_schema()) {
            rows.columns().iter().take(self.key_columns.len()).cloned().collect()
        } else {
            let difference = difference(&self.schema, rows.schema_ref()).unwrap_or_default();
            return Err(self.wrong(difference));
        };
        self.keys_of(&columns, rows.num_rows())
    }

    /// The keys that these columns are, in the order of `key_columns`.
    pub(super) fn keys_of(&self, columns: &[ArrayRef], rows: usize) -> Result<arrow_array::BinaryArray> {
        encode_keys(columns, rows).map_err(|e| e.within(format!("state of operator '{}'", self.operator)))
    }

    /// What tells the rows of a key apart, of rows of the whole schema or of the identity alone.
    pub(super) fn row_ids(&self, rows: &RecordBatch) -> Option<Int64Array> {
        let row = self.row_column?;
        let at = if self.is_whole(rows.schema_ref()) { row } else { self.key_columns.len() };
        rows.columns().get(at)?.as_any().downcast_ref().cloned()
    }

    /// The pane of each row of the whole schema, or of the identity if that has it.
    pub(super) fn panes(&self, rows: &RecordBatch) -> Option<PrimitiveArray<TimestampMicrosecondType>> {
        let pane = self.pane_column?;
        let at =
            if self.is_whole(rows.schema_ref()) { pane } else { self.identity().iter().position(|it| *it == pane)? };
        rows.columns().get(at)?.as_any().downcast_ref().cloned()
    }

    /// Refuses what was written by another operator or under another layout.
    pub(super) fn admit(&self, operator: &str, layout: &str) -> Result<()> {
        if operator != &*self.operator {
            let found = format!("the checkpoint's rows are of operator '{operator}'");
            return Err(self.wrong(found));
        }
        if layout != &*self.layout {
            return Err(self.wrong(format!("the checkpoint has layout '{layout}', the query '{}'", self.layout)));
        }
        Ok(())
    }

    /// A `Config` error about this operator's state.
    pub(super) fn wrong(&self, message: String) -> Error {
        Error::config(message).within(format!("state of operator '{}'", self.operator))
    }
}

fn same_names(a: &Schema, b: &Schema) -> bool {
    a.fields().iter().map(|it| it.name()).eq(b.fields().iter().map(|it| it.name()))
}

fn same_types(a: &Schema, b: &Schema) -> bool {
    a.fields().len() == b.fields().len()
        && a.fields().iter().zip(b.fields()).all(|(a, b)| a.data_type() == b.data_type())
}

/// What differs between the columns expected and those found.
fn difference(expected: &Schema, found: &Schema) -> Option<String> {
    let (many, few) = (expected.fields().len(), found.fields().len());
    if many != few {
        return Some(format!("{few} columns found, {many} expected"));
    }
    let pairs = expected.fields().iter().zip(found.fields());
    pairs
        .into_iter()
        .find(|(a, b)| a.data_type() != b.data_type())
        .map(|(a, b)| format!("column '{}' is {}, expected '{}' {}", b.name(), b.data_type(), a.name(), a.data_type()))
}
