//! `CassandraWriter`: turns rows into operations, one a key.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray};
use serde::{Deserialize, Serialize};
use tidegate_api::{AttemptId, Epoch, Error, MemoryBudget, RecordBatch, Rejected, Result, SinkWriter, async_trait};

use crate::cells::{Cells, NULL};
use crate::held::Held;
use crate::rows::{Op, Rows};
use crate::table::{Column, TablePlan};

/// The most that a partition key or a clustering column may take.
const KEY_BYTES: usize = 65_535;

/// Stands for the prepared rows of a task, which the sink of this process holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The epoch's number.
    pub epoch: u64,
    /// The try that prepared it.
    pub attempt: AttemptId,
    /// The task.
    pub task: u32,
    /// How many operations there are.
    pub operations: u64,
}

/// What a writer needs of its sink.
pub(crate) struct WriterParts {
    pub(crate) plan: Arc<TablePlan>,
    /// The cell of a null among the values.
    pub(crate) null: [u8; 4],
    pub(crate) memory: MemoryBudget,
    pub(crate) held: Held,
}

/// Collects the rows of one task of an epoch, reduced to one operation a key.
pub struct CassandraWriter {
    parts: WriterParts,
    epoch: u64,
    attempt: AttemptId,
    task: u32,
    rows: Rows,
}

impl CassandraWriter {
    pub(crate) fn new(parts: WriterParts, epoch: &Epoch, task: u32) -> Self {
        Self { parts, epoch: epoch.number, attempt: epoch.attempt, task, rows: Rows::default() }
    }

    /// The operation of one row, with its key in `key`; `values` is room to work in.
    fn operation(
        &self,
        row: usize,
        columns: &Columns<'_>,
        key: &mut Vec<u8>,
        values: &mut Vec<u8>,
    ) -> std::result::Result<Op, String> {
        let plan = &self.parts.plan;
        key.clear();
        let mut partition = 0;
        for (at, (column, cells)) in plan.keys.iter().zip(&columns.keys).enumerate() {
            if cells.is_null(row) {
                return Err(format!("column '{}' is null, but part of the primary key", column.name));
            }
            let start = key.len();
            cells.put(row, NULL, key).map_err(|why| format!("column '{}' {why}", column.name))?;
            let bytes = key.len() - start - NULL.len();
            partition += if at < plan.partition_keys { bytes } else { 0 };
            if bytes > KEY_BYTES {
                return Err(format!("column '{}' has {bytes} bytes, a key at most {KEY_BYTES}", column.name));
            }
            if bytes == 0 && plan.partition_keys == 1 && at == 0 {
                return Err(format!("column '{}' is empty, which a partition key can't be", column.name));
            }
        }
        // Each part of a key of several takes three bytes more.
        let partition = partition + if plan.partition_keys > 1 { 3 * plan.partition_keys } else { 0 };
        if partition > KEY_BYTES {
            return Err(format!("the partition key has {partition} bytes, at most {KEY_BYTES} are possible"));
        }
        if columns.delete.is_some_and(|it| it.is_valid(row) && it.value(row)) {
            return Ok(Op::delete());
        }
        values.clear();
        for (column, cells) in plan.values.iter().zip(&columns.values) {
            cells.put(row, self.parts.null, values).map_err(|why| format!("column '{}' {why}", column.name))?;
        }
        Ok(Op::write(values))
    }
}

/// The columns of a batch as the table takes them.
struct Columns<'a> {
    keys: Vec<Cells<'a>>,
    values: Vec<Cells<'a>>,
    delete: Option<&'a BooleanArray>,
}

/// The columns of a batch, cast to what the codecs read.
fn cast(columns: &[Column], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    let one = |it: &Column| {
        let array = batch.columns().get(it.field);
        let array = array.ok_or_else(|| Error::internal(format!("the rows have no column number {}", it.field)))?;
        if *array.data_type() == it.plain {
            return Ok(array.clone());
        }
        let wrong = |e| Error::data(format!("column '{}' can't be made {}", it.name, it.plain)).because(e);
        arrow_cast::cast(array, &it.plain).map_err(wrong)
    };
    columns.iter().map(one).collect()
}

fn cells<'a>(columns: &[Column], arrays: &'a [ArrayRef]) -> Result<Vec<Cells<'a>>> {
    columns.iter().zip(arrays).map(|(column, array)| Cells::new(&column.codec, array.as_ref())).collect()
}

#[async_trait]
impl SinkWriter for CassandraWriter {
    type Committable = Part;

    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        let plan = self.parts.plan.clone();
        let (keys, values) = (cast(&plan.keys, &batch)?, cast(&plan.values, &batch)?);
        let delete = plan.delete.and_then(|at| batch.columns().get(at)).and_then(|it| it.as_boolean_opt());
        let columns = Columns { keys: cells(&plan.keys, &keys)?, values: cells(&plan.values, &values)?, delete };
        let (mut rejected, mut key, mut room) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..batch.num_rows() {
            match self.operation(row, &columns, &mut key, &mut room) {
                Ok(op) if plan.counter => self.rows.increment(&key, op, &self.parts.memory)?,
                Ok(op) => self.rows.add(&key, op, &self.parts.memory)?,
                Err(why) => {
                    let error = Error::data(format!("table {}: {why}", plan.name()));
                    rejected.push(Rejected { row, error });
                }
            }
        }
        Ok(rejected)
    }

    async fn prepare(self) -> Result<Part> {
        let operations = self.rows.len() as u64;
        let part = Part { epoch: self.epoch, attempt: self.attempt, task: self.task, operations };
        self.parts.held.put(&part, self.rows);
        Ok(part)
    }
}
