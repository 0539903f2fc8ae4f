//! `Backwards`: the rows of an operator from its files, the newest first. Each row comes once, as it was written last, and
//! what was removed since does not come. Only what newer files name is held in memory, 16 bytes a row.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Int32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use tidegate_api::{Error, Result};
use xxhash_rust::xxh3::xxh3_128;

use super::key::{encode_keys, virtual_node};
use super::layout::StateLayout;
use crate::program::StateShape;

/// The last column: which of 256 ranges of hashes a row's key is in.
const NODE_COLUMN: &str = "virtual_node";

/// A walk from the newest file back.
pub(crate) struct Backwards {
    layout: StateLayout,
    /// Columns by their place in the operator's rows: keys, then the others.
    order: Vec<usize>,
    schema: SchemaRef,
    /// The rows that newer files wrote or removed, by a hash of what tells rows apart.
    seen: HashSet<u128>,
    /// Rows whose pane is at or before this are gone.
    evicted_us: Option<i64>,
}

impl Backwards {
    /// # Errors
    /// `Config` if the shape names columns that are not there.
    pub(crate) fn new(operator: &str, layout: Arc<str>, shape: &StateShape) -> Result<Self> {
        let layout = StateLayout {
            operator: operator.into(),
            layout,
            schema: shape.columns.clone(),
            key_columns: shape.keys.clone(),
            pane_column: shape.pane,
            row_column: shape.row,
        };
        layout.check()?;
        let rest = (0..layout.schema.fields().len()).filter(|it| !layout.key_columns.contains(it));
        let order: Vec<usize> = layout.key_columns.iter().copied().chain(rest).collect();
        let schema = table_schema(&layout, &order);
        Ok(Self { layout, order, schema, seen: HashSet::new(), evicted_us: None })
    }

    /// The columns of the rows that it gives: those of the key, the others, then `virtual_node` INT.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Refuses what was written under another layout.
    pub(crate) fn admit(&self, layout: &str) -> Result<()> {
        self.layout.admit(&self.layout.operator, layout)
    }

    /// The rows of a file that are still there. `is_oldest`: nothing older is to be asked for.
    pub(crate) fn rows(&mut self, rows: &RecordBatch, is_oldest: bool) -> Result<RecordBatch> {
        let rows = self.layout.adopt(rows)?;
        let panes = self.layout.panes(&rows);
        let is_over = |at: usize| match (&panes, self.evicted_us) {
            (Some(panes), Some(through)) => panes.is_valid(at) && panes.value(at) <= through,
            _ => false,
        };
        let identities = self.identities(&rows)?;
        let there: Vec<bool> =
            identities.iter().enumerate().map(|(at, it)| !self.seen.contains(it) && !is_over(at)).collect();
        if !is_oldest {
            self.seen.extend(identities);
        }
        let kept = filter_record_batch(&rows, &BooleanArray::from(there));
        self.as_table(&kept.map_err(|e| Error::internal("rows of state").because(e))?)
    }

    /// Rows that the file removed, before it wrote its own.
    pub(crate) fn remove(&mut self, keys: &RecordBatch) -> Result<()> {
        let identities = self.identities(keys)?;
        self.seen.extend(identities);
        Ok(())
    }

    /// Rows that the file let go, before it removed and wrote others.
    pub(crate) fn evict(&mut self, through_us: i64) {
        self.evicted_us = self.evicted_us.max(Some(through_us));
    }

    /// What tells rows apart, hashed; of rows of the whole schema, or of those columns alone.
    fn identities(&self, rows: &RecordBatch) -> Result<Vec<u128>> {
        let identity = self.layout.identity();
        let columns: Vec<ArrayRef> = if self.layout.is_whole(rows.schema_ref()) {
            identity.iter().filter_map(|it| rows.columns().get(*it).cloned()).collect()
        } else {
            // Checks the types too.
            self.layout.keys(rows)?;
            rows.columns().to_vec()
        };
        let keys = self.layout.keys_of(&columns, rows.num_rows())?;
        Ok(keys.iter().map(|it| xxh3_128(it.unwrap_or_default())).collect())
    }

    fn as_table(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let of = |places: &[usize]| -> Vec<ArrayRef> {
            places.iter().filter_map(|it| rows.columns().get(*it).cloned()).collect()
        };
        let keys = encode_keys(&of(&self.layout.key_columns), rows.num_rows())?;
        let nodes = keys.iter().map(|it| i32::from(virtual_node(it.unwrap_or_default())));
        let nodes = Int32Array::from_iter_values(nodes);
        let mut columns = of(&self.order);
        columns.push(Arc::new(nodes));
        RecordBatch::try_new(self.schema.clone(), columns).map_err(|e| Error::internal("rows of state").because(e))
    }
}

/// What an operator marks its columns with means nothing to others; names must differ in more than case.
fn table_schema(layout: &StateLayout, order: &[usize]) -> SchemaRef {
    let mut taken = BTreeSet::new();
    let mut named = |name: &str, data_type: DataType| {
        let mut unique = name.to_owned();
        let mut again = 2;
        while !taken.insert(unique.to_lowercase()) {
            unique = format!("{name}_{again}");
            again += 1;
        }
        Field::new(unique, data_type, true)
    };
    let mut fields: Vec<Field> = order
        .iter()
        .filter_map(|it| layout.schema.fields().get(*it))
        .map(|it| named(it.name(), it.data_type().clone()))
        .collect();
    fields.push(named(NODE_COLUMN, DataType::Int32));
    Arc::new(Schema::new(fields))
}
