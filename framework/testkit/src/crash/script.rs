//! What the query of the matrix reads and writes.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::Deserialize;
use tidegate_api::{Error, Result};

/// The adds, one an epoch if nothing goes wrong: event time in seconds, and a word. Windows close, rows come late, one
/// add is empty, and the last two show what became of those before.
const ADDS: [&[(i64, &str)]; 8] = [
    &[(1, "a"), (2, "b"), (8, "a")],
    &[(12, "a"), (14, "b"), (3, "a")],
    &[(26, "a"), (13, "b"), (4, "b")],
    &[(27, "c"), (5, "a"), (19, "b"), (25, "a")],
    &[],
    &[(46, "b"), (30, "c"), (41, "a")],
    &[(60, "c"), (61, "a"), (43, "b")],
    &[(80, "b"), (62, "a")],
];

/// Number of adds.
pub(super) fn adds() -> u64 {
    ADDS.len() as u64
}

/// The columns read: `ts` TIMESTAMP, `word` STRING.
pub(super) fn input_schema() -> SchemaRef {
    let ts = Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true);
    Arc::new(Schema::new(vec![ts, Field::new("word", DataType::Utf8, true)]))
}

/// The rows of an add.
pub(super) fn add(number: u64) -> Result<Vec<RecordBatch>> {
    let rows = usize::try_from(number).ok().and_then(|it| ADDS.get(it)).copied().unwrap_or_default();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ts = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|it| it.0 * 1_000_000));
    let words = StringArray::from_iter_values(rows.iter().map(|it| it.1));
    batch(input_schema(), vec![Arc::new(ts), Arc::new(words)]).map(|it| vec![it])
}

/// The columns written: `epoch` BIGINT, `kind` STRING, `start` BIGINT, `word` STRING, `n` BIGINT, `mark` BIGINT, `before`
/// BIGINT.
pub fn output_schema() -> SchemaRef {
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let fields = vec![
        number("epoch"),
        text("kind"),
        number("start"),
        text("word"),
        number("n"),
        number("mark"),
        number("before"),
    ];
    Arc::new(Schema::new(fields))
}

/// A row written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct OutputRow {
    pub(super) epoch: i64,
    /// `row`, `changed`, `closed` or `late`.
    pub(super) kind: String,
    /// The window's start, or the row's time, milliseconds.
    pub(super) start: i64,
    pub(super) word: String,
    pub(super) n: i64,
    /// Who wrote the group last: the epoch's time, or the attempt if the program is volatile.
    pub(super) mark: i64,
    /// Who had written it before; -1: nobody.
    pub(super) before: i64,
}

/// Rows as a batch.
pub(super) fn output(rows: &[OutputRow]) -> Result<RecordBatch> {
    let number = |of: fn(&OutputRow) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let text = |of: fn(&OutputRow) -> &str| Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let columns = vec![
        number(|it| it.epoch),
        text(|it| &it.kind),
        number(|it| it.start),
        text(|it| &it.word),
        number(|it| it.n),
        number(|it| it.mark),
        number(|it| it.before),
    ];
    batch(output_schema(), columns)
}

pub(super) fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema, columns).map_err(|e| Error::internal("rows of the crash matrix").because(e))
}
