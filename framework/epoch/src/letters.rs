//! Dead letters: rows that a sink can't take or that can't be decoded, and what becomes of them.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::take::take_record_batch;
use tidegate_api::{Epoch, Error, ErrorKind, Rejected, Result};

use crate::sink_task::SinkPart;

/// The name of the sink that gets dead letters: part of its writer id. No sink of a pipeline file can have it.
pub const DEAD_LETTERS: &str = "dead.letters";

/// More of a row's text is left out, so that a letter is not refused for the same reason as its row.
const MOST_TEXT: usize = 256 << 10;
/// More of an error's text is left out.
const MOST_ERROR: usize = 8 << 10;

/// What becomes of a row that can't be used (`errors.tolerance`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tolerance {
    /// The query fails.
    #[default]
    None,
    /// It becomes a dead letter: it goes to the dead letter sink, or if there is none it is counted and dropped.
    All,
}

/// The rows of a batch as JSON documents, one a row.
pub type RowsToText = Arc<dyn Fn(&RecordBatch) -> Result<StringArray> + Send + Sync>;

/// What becomes of rows that can't be used.
#[derive(Default)]
pub struct Errors {
    /// Whether the query goes on without them.
    pub tolerance: Tolerance,
    /// Each one is logged (`errors.log.enable`).
    pub log: bool,
    /// Where they go, named [`DEAD_LETTERS`]. It gets append rows of [`dead_letter_schema`].
    pub sink: Option<SinkPart>,
    /// How a letter shows its row; without it, it does not.
    pub to_text: Option<RowsToText>,
}

/// Where a row was found to be of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A source's record could not be decoded.
    Decode,
    /// A sink did not take it.
    Write,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Write => "write",
        }
    }
}

/// The columns of a dead letter.
///
/// | column | |
/// |---|---|
/// | `stage` STRING | where it happened: `decode` (a source's record) or `write` (a sink) |
/// | `name` STRING | the source or the sink |
/// | `epoch` BIGINT | the epoch's number |
/// | `timestamp` TIMESTAMP | the epoch's clock: the same when the epoch is repeated |
/// | `error_kind` STRING | `data`, or another kind of [`ErrorKind`] |
/// | `error` STRING | what was found and what was expected; at most 8 KiB |
/// | `row` STRING | the row as a JSON object; of one longer than 256 KiB a JSON string of its beginning |
pub fn dead_letter_schema() -> SchemaRef {
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        field("stage", DataType::Utf8),
        field("name", DataType::Utf8),
        field("epoch", DataType::Int64),
        field("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        field("error_kind", DataType::Utf8),
        field("error", DataType::Utf8),
        field("row", DataType::Utf8),
    ]))
}

/// What the sinks go by.
#[derive(Clone, Default)]
pub(crate) struct Rules {
    pub(crate) tolerance: Tolerance,
    log: bool,
    /// Somebody wants to have the letters.
    wanted: bool,
    to_text: Option<RowsToText>,
}

impl Rules {
    pub(crate) fn new(errors: &Errors) -> Self {
        let Errors { tolerance, log, sink, to_text } = errors;
        Self { tolerance: *tolerance, log: *log, wanted: sink.is_some(), to_text: to_text.clone() }
    }

    pub(crate) fn tolerates(&self) -> bool {
        self.tolerance == Tolerance::All
    }

    /// The letters of rows of a batch; nothing if nobody wants them.
    pub(crate) fn letters(
        &self,
        step: Step,
        name: &str,
        epoch: &Epoch,
        batch: &RecordBatch,
        rejected: &[Rejected],
    ) -> Result<Option<RecordBatch>> {
        for Rejected { row, error } in rejected.iter().filter(|_| self.log) {
            let (stage, epoch) = (step.name(), epoch.number);
            tracing::warn!(stage, name, epoch, row, %error, "a row can't be used");
        }
        if !self.wanted || rejected.is_empty() {
            return Ok(None);
        }
        let rows = rejected.len();
        let texts: ArrayRef = Arc::new(self.texts(batch, rejected)?);
        let errors = rejected.iter().map(|it| cut(&it.error.to_string(), MOST_ERROR).to_owned());
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(step.name(), rows))),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(name, rows))),
            Arc::new(Int64Array::from_value(i64::try_from(epoch.number).unwrap_or(i64::MAX), rows)),
            Arc::new(
                TimestampMicrosecondArray::from_value(epoch.time_ms.saturating_mul(1000), rows).with_timezone("UTC"),
            ),
            Arc::new(StringArray::from_iter_values(rejected.iter().map(|it| kind_name(it.error.kind())))),
            Arc::new(StringArray::from_iter_values(errors)),
            texts,
        ];
        let letters = RecordBatch::try_new(dead_letter_schema(), columns);
        letters.map(Some).map_err(|e| Error::internal("dead letters can't be made").because(e))
    }

    /// The rows as text. Those that have none are still letters.
    fn texts(&self, batch: &RecordBatch, rejected: &[Rejected]) -> Result<StringArray> {
        let none = || StringArray::new_null(rejected.len());
        let Some(to_text) = &self.to_text else { return Ok(none()) };
        let rows = UInt64Array::from_iter_values(rejected.iter().map(|it| it.row as u64));
        if let Some(Rejected { row, .. }) = rejected.iter().find(|it| it.row >= batch.num_rows()) {
            return Err(Error::internal(format!("row {row} was rejected of {}", batch.num_rows())));
        }
        let taken = take_record_batch(batch, &rows).map_err(|e| Error::internal("rejected rows").because(e))?;
        let texts = match to_text(&taken) {
            Ok(texts) => texts,
            Err(error) => {
                tracing::warn!(%error, "dead letters without their rows: these can't be shown as JSON");
                return Ok(none());
            }
        };
        if texts.iter().flatten().all(|it| it.len() <= MOST_TEXT) {
            return Ok(texts);
        }
        Ok(texts.iter().map(|it| it.map(shortened)).collect())
    }
}

/// The text, or if it is too long a JSON string of its beginning.
fn shortened(text: &str) -> String {
    if text.len() <= MOST_TEXT { text.to_owned() } else { serde_json::Value::from(cut(text, MOST_TEXT)).to_string() }
}

fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Config => "config",
        ErrorKind::Transient => "transient",
        ErrorKind::Fenced => "fenced",
        ErrorKind::Internal => "internal",
        _ => "data",
    }
}

#[cfg(test)]
mod tests;
