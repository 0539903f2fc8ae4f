//! Rows that stateful operators drop, as the sinks get them that ask for late rows (`late.rows.sink`).
//!
//! Operators drop late rows when they are partial aggregates already, so these are found a second time: a piece of their own
//! makes the rows that an operator reads, with the time that decides, and those that it drops are shown as documents.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use tidegate_api::{Error, Result};
use tidegate_formats::json;
use tidegate_sql::event_time::timestamp;

use crate::exec::Wanted;
use crate::operators::shape::parted;

/// The columns of a late row.
///
/// | column | |
/// |---|---|
/// | `operator` STRING | the operator that dropped it, as `explain` and the checkpoint name its state |
/// | `reason` STRING | `late`, or `ahead`: too far ahead of the clock (`watermark.max.ahead`) |
/// | `event_time` TIMESTAMP | what the watermark was compared with: the event time, or the end of a window or session |
/// | `watermark` TIMESTAMP | the watermark in effect; what is at or before it is late |
/// | `row` STRING | the row that the operator read, as a JSON object |
pub fn late_rows_schema() -> SchemaRef {
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        field("operator", DataType::Utf8),
        field("reason", DataType::Utf8),
        field("event_time", timestamp()),
        field("watermark", timestamp()),
        field("row", DataType::Utf8),
    ]))
}

/// What a port of a stage drops.
#[derive(Debug)]
pub(crate) struct LateRows {
    pub(crate) stage: usize,
    pub(crate) port: usize,
    /// The name of the state that they would have gone into.
    pub(crate) operator: String,
    /// The columns of the document.
    pub(crate) document: Fields,
    /// The time that decides follows them.
    pub(crate) timed: bool,
}

impl LateRows {
    /// The columns of the document that rows of this schema make under these names.
    ///
    /// # Errors
    /// `Config` if a column can't be shown as JSON.
    pub(crate) fn document(names: &[String], schema: &SchemaRef) -> Result<Fields> {
        let fields = names.iter().zip(schema.fields());
        let fields: Fields = fields.map(|(name, it)| Field::new(name, it.data_type().clone(), true)).collect();
        let empty = RecordBatch::new_empty(Arc::new(Schema::new(fields.clone())));
        json::encode(&StructArray::from(empty)).map_err(|e| e.within("late rows"))?;
        Ok(fields)
    }

    /// Of rows that the piece made, those that are dropped.
    pub(crate) fn shown(&self, rows: &RecordBatch, wanted: Wanted) -> Result<Option<RecordBatch>> {
        let (reason, watermark_us, rows) = match wanted {
            Wanted::Late(through_us) => ("late", Some(through_us), parted(rows, self.document.len(), through_us)?.1),
            Wanted::Ahead(watermark_us) => ("ahead", watermark_us, rows.clone()),
            Wanted::All | Wanted::NotAhead(_) => return Ok(None),
        };
        let count = rows.num_rows();
        if count == 0 {
            return Ok(None);
        }
        let text = |of: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(of, count))) as ArrayRef;
        let watermark = TimestampMicrosecondArray::from_iter(std::iter::repeat_n(watermark_us, count));
        let columns = vec![
            text(&self.operator),
            text(reason),
            self.times(&rows)?,
            Arc::new(watermark.with_data_type(timestamp())),
            Arc::new(self.documents(&rows)?),
        ];
        RecordBatch::try_new(late_rows_schema(), columns).map(Some).map_err(broken)
    }

    fn times(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let none = || TimestampMicrosecondArray::new_null(rows.num_rows());
        let times = match rows.columns().get(self.document.len()).filter(|_| self.timed) {
            Some(column) => column.as_primitive_opt::<TimestampMicrosecondType>().cloned(),
            None => Some(none()),
        };
        let times = times.ok_or_else(|| Error::internal("the time of late rows is no TIMESTAMP"))?;
        Ok(Arc::new(times.with_data_type(timestamp())))
    }

    fn documents(&self, rows: &RecordBatch) -> Result<StringArray> {
        let columns = rows.columns().iter().take(self.document.len()).cloned().collect();
        let rows = StructArray::try_new_with_length(self.document.clone(), columns, None, rows.num_rows());
        json::encode(&rows.map_err(broken)? as &dyn Array)
    }
}

fn broken(error: arrow_schema::ArrowError) -> Error {
    Error::internal("late rows can't be shown").because(error)
}
