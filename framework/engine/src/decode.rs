//! From records to rows: applies `value.format` to what a source delivers.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tidegate_api::{Error, Payload, Rejected, Result};
use tidegate_formats::json::{Decoded, Decoder, JsonOptions, Mode};

use crate::spec::{SourceSpec, ValueFormat, ValueMode};

/// How one source's batches become rows, settled when the query is planned.
#[derive(Clone, Debug)]
pub(crate) struct Decoding {
    format: ValueFormat,
    mode: ValueMode,
}

/// The name of Spark's column for documents that can't be read.
const CORRUPT_COLUMN: &str = "_corrupt_record";

impl Decoding {
    /// The decoding of a source and the columns that SQL sees.
    ///
    /// # Errors
    /// What does not fit: a format without declared columns, declared columns without a format.
    pub(crate) fn plan(
        spec: &SourceSpec,
        payload: &Payload,
        default: Option<&str>,
    ) -> Result<(Self, SchemaRef), String> {
        let default = match (payload, default) {
            (Payload::Records(_), Some("json")) => ValueFormat::Json,
            _ => ValueFormat::Raw,
        };
        let format = spec.format.unwrap_or(default);
        let decoding = Self { format, mode: spec.mode };
        let own = payload.schema();
        let schema = match (format, &spec.schema) {
            (ValueFormat::Raw, Some(declared)) if declared != own => {
                return Err(format!(
                    "schema: {} has columns of its own; declared ones need value.format: json",
                    spec.connector
                ));
            }
            (ValueFormat::Raw, _) => own.clone(),
            (ValueFormat::Json, Some(declared)) => declared.clone(),
            (ValueFormat::Json, None) => return Err("schema: value.format json needs declared columns".to_owned()),
            (ValueFormat::Text, _) => Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)])),
        };
        if format != ValueFormat::Raw && own.index_of("value").is_err() {
            return Err(format!("value.format: {} delivers no column 'value'", spec.connector));
        }
        Ok((decoding, nullable(&schema)))
    }

    /// The columns to ask of the source, given those that the query uses.
    pub(crate) fn wanted(&self, used: &SchemaRef) -> Vec<String> {
        match self.format {
            ValueFormat::Raw => used.fields().iter().map(|it| it.name().clone()).collect(),
            ValueFormat::Json | ValueFormat::Text => vec!["value".to_owned()],
        }
    }

    /// A decoder for one split that gives the columns `used`.
    pub(crate) fn decoder(&self, used: &SchemaRef) -> Result<RowDecoder> {
        let json = match self.format {
            ValueFormat::Json => Some(Decoder::new(used.clone(), self.json_options(used))?),
            ValueFormat::Raw | ValueFormat::Text => None,
        };
        Ok(RowDecoder { json, lists: self.mode == ValueMode::Fail, schema: used.clone() })
    }

    fn json_options(&self, used: &SchemaRef) -> JsonOptions {
        let mode = match self.mode {
            ValueMode::Permissive => Mode::Permissive,
            ValueMode::Fail => Mode::Fail,
            ValueMode::Drop => Mode::Drop,
        };
        let corrupt = used.index_of(CORRUPT_COLUMN).is_ok().then(|| CORRUPT_COLUMN.to_owned());
        JsonOptions { mode, corrupt_column: corrupt }
    }
}

/// All columns nullable, as every streaming source's are (Spark: `asNullable`).
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|it| Arc::new(it.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Decodes the batches of one split.
pub(crate) struct RowDecoder {
    json: Option<Decoder>,
    /// Records that do not fit are errors.
    lists: bool,
    schema: SchemaRef,
}

/// What could not be decoded of a batch.
pub(crate) struct Undecoded {
    /// The records, in a column `value`.
    pub(crate) records: RecordBatch,
    /// Which of them, and why.
    pub(crate) rejected: Vec<Rejected>,
}

impl RowDecoder {
    /// The rows of a batch; and what could not be decoded of it, where that is an error.
    pub(crate) fn decode_rows(&mut self, batch: &RecordBatch) -> Result<(RecordBatch, Option<Undecoded>)> {
        let Some(json) = self.json.as_mut().filter(|_| self.lists) else { return Ok((self.decode(batch)?, None)) };
        let value = value_of(batch)?;
        let Decoded { batch: rows, rejected } = json.decode_rows(value.as_ref())?;
        if rejected.is_empty() {
            return Ok((rows, None));
        }
        let rejected: Vec<_> = rejected.into_iter().map(|it| Rejected { row: it.row, error: it.error }).collect();
        let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)]));
        let records = RecordBatch::try_new(schema, vec![as_type(value, &DataType::Utf8)?]);
        let records = records.map_err(|e| Error::internal("records that can't be decoded").because(e))?;
        Ok((rows, Some(Undecoded { records, rejected })))
    }

    pub(crate) fn decode(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let Some(json) = &mut self.json else { return self.plain(batch) };
        json.decode(value_of(batch)?.as_ref())
    }

    /// The used columns as they are; `value` as text where it is asked for as text.
    fn plain(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.schema.fields().iter().map(|field| {
            let column = batch.column_by_name(field.name());
            let column = column.ok_or_else(|| Error::internal(format!("the source left out '{}'", field.name())))?;
            as_type(column, field.data_type())
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|e| Error::internal("a source's rows do not fit its schema").because(e))
    }
}

fn as_type(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    match (column.data_type(), kind) {
        (found, wanted) if found == wanted => Ok(column.clone()),
        (DataType::Binary, DataType::Utf8) => {
            Ok(Arc::new(tidegate_formats::binary_to_string(column.as_binary::<i32>())?))
        }
        _ => cast(column, kind).map_err(|e| Error::data(format!("a column can't become {kind}")).because(e)),
    }
}

fn value_of(batch: &RecordBatch) -> Result<&ArrayRef> {
    batch.column_by_name("value").ok_or_else(|| Error::internal("the source left out 'value'"))
}
