//! What the query of the matrix reads and writes.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::Deserialize;
use tidegate_api::{Error, Result};

use super::ProgramKind;

/// Event time in seconds, and a word.
pub(crate) type Row = (i64, String);

/// For each source an add, which may be without rows, or nothing.
pub(crate) type Feed = Vec<Option<Vec<Row>>>;

/// What comes, feed by feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) feeds: Vec<Feed>,
    /// How many feeds come at once from each on; one, where nothing is said.
    pub(crate) at_once: Vec<usize>,
}

impl Script {
    /// The script of the matrix, one epoch a feed if nothing goes wrong. Windows close, rows come late, one add is empty,
    /// and the last two show what became of those before.
    pub(crate) fn of(kind: ProgramKind) -> Self {
        Self { feeds: feeds(kind, &LEFT, &RIGHT), at_once: Vec::new() }
    }

    /// The script of the pairs: the first four epochs are the first of all, one with state, one that only closes windows,
    /// and one with late rows.
    pub(crate) fn dense(kind: ProgramKind) -> Self {
        Self { feeds: feeds(kind, &DENSE_LEFT, &DENSE_RIGHT), at_once: Vec::new() }
    }

    pub(crate) fn sources(&self) -> usize {
        self.feeds.first().map_or(0, Vec::len)
    }

    /// Add number `number` of a source.
    pub(crate) fn add(&self, source: usize, number: u64) -> Result<Vec<RecordBatch>> {
        let rows = usize::try_from(number).ok().and_then(|it| self.of_source(source).nth(it));
        batches(rows.ok_or_else(|| Error::internal(format!("the script has no add {number} of source {source}")))?)
    }

    fn of_source(&self, source: usize) -> impl Iterator<Item = &Vec<Row>> {
        self.feeds.iter().filter_map(move |it| it.get(source)?.as_ref())
    }
}

/// Rows that come at once: a time in seconds, and a word each. None: nothing is added, not even an empty add.
type Rows = Option<&'static [(i64, &'static str)]>;

fn feeds(kind: ProgramKind, left: &[Rows], right: &[Rows]) -> Vec<Feed> {
    match kind.sources() {
        2 => left.iter().zip(right).map(|(left, right)| vec![rows(*left), rows(*right)]).collect(),
        _ => left.iter().map(|it| vec![Some(rows(*it).unwrap_or_default())]).collect(),
    }
}

const DENSE_LEFT: [Rows; 9] = [
    // The watermark stays at 1970.
    Some(&[(1, "a"), (4, "a"), (2, "b")]),
    Some(&[(26, "a"), (13, "b"), (3, "b"), (5, "a")]),
    // Two rows are late; the watermark stays.
    Some(&[(25, "c"), (5, "a"), (8, "b"), (26, "a")]),
    Some(&[(46, "b"), (30, "c"), (41, "a")]),
    None,
    Some(&[(47, "c"), (43, "b"), (25, "a")]),
    Some(&[(63, "b"), (62, "a")]),
    Some(&[(64, "a"), (30, "c")]),
    Some(&[(80, "b"), (71, "a")]),
];

/// The right side is ahead, then silent: a new life does not know that it is ahead.
const DENSE_RIGHT: [Rows; 9] = [
    Some(&[(3, "a"), (4, "b")]),
    Some(&[(15, "b"), (40, "a")]),
    Some(&[(20, "a"), (22, "b"), (6, "a")]),
    None,
    Some(&[]),
    Some(&[(44, "a"), (61, "c"), (41, "b")]),
    None,
    Some(&[(70, "a"), (66, "b")]),
    Some(&[(79, "b")]),
];

const LEFT: [Rows; 8] = [
    Some(&[(1, "a"), (2, "b"), (8, "a")]),
    Some(&[(12, "a"), (14, "b"), (3, "a")]),
    Some(&[(26, "a"), (13, "b"), (4, "b")]),
    Some(&[(27, "c"), (5, "a"), (19, "b"), (25, "a")]),
    None,
    Some(&[(46, "b"), (30, "c"), (41, "a")]),
    Some(&[(60, "c"), (61, "a"), (43, "b")]),
    Some(&[(80, "b"), (62, "a")]),
];

/// What the second source gets meanwhile, if there is one.
const RIGHT: [Rows; 8] = [
    Some(&[(3, "a"), (5, "b")]),
    Some(&[(15, "b"), (9, "a")]),
    None,
    Some(&[(20, "a"), (22, "b"), (6, "a")]),
    Some(&[(33, "c")]),
    Some(&[]),
    Some(&[(58, "a"), (61, "c"), (41, "b")]),
    Some(&[(70, "a"), (79, "b")]),
];

fn rows(of: Rows) -> Option<Vec<Row>> {
    Some(of?.iter().map(|(at, word)| (*at, (*word).to_owned())).collect())
}

/// The columns read: `ts` TIMESTAMP, `word` STRING.
pub(crate) fn input_schema() -> SchemaRef {
    let ts = Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true);
    Arc::new(Schema::new(vec![ts, Field::new("word", DataType::Utf8, true)]))
}

fn batches(rows: &[Row]) -> Result<Vec<RecordBatch>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ts = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|it| it.0 * 1_000_000));
    let words = StringArray::from_iter_values(rows.iter().map(|it| &it.1));
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

/// The columns that tell rows apart, for a sink that writes by key: kind, start, word.
pub(crate) const KEYS: [usize; 3] = [1, 2, 3];

/// A row written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct OutputRow {
    pub(crate) epoch: i64,
    /// `row`, `changed`, `closed`, `late` or `pair`.
    pub(crate) kind: String,
    /// The window's start, or the row's time, milliseconds.
    pub(crate) start: i64,
    pub(crate) word: String,
    /// How many, and which sink of the query this is: `SINK` more for each before it.
    pub(crate) n: i64,
    /// Who wrote the group last: the epoch's time, or the attempt if the program is volatile.
    pub(crate) mark: i64,
    /// Who had written it before; -1: nobody.
    pub(crate) before: i64,
}

/// What is added to `n` for each sink before the row's own: no two sinks get the same rows.
pub(crate) const SINK: i64 = 1_000_000_000;

/// Rows for a sink as a batch.
pub(crate) fn output(rows: &[OutputRow], sink: usize) -> Result<RecordBatch> {
    let own = SINK * sink as i64;
    let number = |of: fn(&OutputRow) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let text = |of: fn(&OutputRow) -> &str| Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let columns = vec![
        number(|it| it.epoch),
        text(|it| &it.kind),
        number(|it| it.start),
        text(|it| &it.word),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|it| it.n + own))),
        number(|it| it.mark),
        number(|it| it.before),
    ];
    batch(output_schema(), columns)
}

pub(crate) fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema, columns).map_err(|e| Error::internal("rows of the crash matrix").because(e))
}
