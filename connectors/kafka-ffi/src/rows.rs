//! `Rows`: records of one partition as Arrow columns, handed out in batches that end where the caller says.

use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::headers::{self, HeadersBuilder};
use crate::record::RecordView;

/// A column that a record can fill. Names and types are Spark's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// BINARY
    Key,
    /// BINARY
    Value,
    /// STRING
    Topic,
    /// INT
    Partition,
    /// BIGINT
    Offset,
    /// TIMESTAMP
    Timestamp,
    /// INT
    TimestampType,
    /// ARRAY of STRUCT of key STRING and value BINARY
    Headers,
}

impl Column {
    /// All columns, in Spark's order.
    pub const ALL: [Self; 8] = [
        Self::Key,
        Self::Value,
        Self::Topic,
        Self::Partition,
        Self::Offset,
        Self::Timestamp,
        Self::TimestampType,
        Self::Headers,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::Offset => "offset",
            Self::Timestamp => "timestamp",
            Self::TimestampType => "timestampType",
            Self::Headers => "headers",
        }
    }

    /// Its field in a schema; nullable, as Spark says of all of them.
    pub fn field(self) -> Field {
        let data_type = match self {
            Self::Key | Self::Value => DataType::Binary,
            Self::Topic => DataType::Utf8,
            Self::Partition | Self::TimestampType => DataType::Int32,
            Self::Offset => DataType::Int64,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Headers => headers::data_type(),
        };
        Field::new(self.name(), data_type, true)
    }
}

/// Where a batch is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows in a batch.
    pub rows: usize,
    /// Bytes of keys and values in a batch; one record may be larger.
    pub bytes: usize,
}

/// Records of one partition, in the order of their offsets.
pub struct Rows {
    columns: Arc<[Column]>,
    schema: SchemaRef,
    topic: Arc<str>,
    partition: i32,
    limits: Limits,
    full: VecDeque<Chunk>,
    open: Open,
    rows: usize,
}

struct Chunk {
    offsets: ScalarBuffer<i64>,
    batch: RecordBatch,
    bytes: usize,
}

impl Rows {
    /// No rows yet, of these columns.
    pub fn new(columns: &[Column], topic: &str, partition: i32, limits: Limits) -> Self {
        let fields: Vec<_> = columns.iter().map(|it| it.field()).collect();
        Self {
            columns: columns.into(),
            schema: Arc::new(Schema::new(fields)),
            topic: topic.into(),
            partition,
            limits,
            full: VecDeque::new(),
            open: Open::new(columns, 0, 0),
            rows: 0,
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// If Arrow refuses the columns, which would be a mistake here.
    pub fn push<'a>(&mut self, record: &impl RecordView<'a>) -> Result<(), ArrowError> {
        let bytes = record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len);
        let open = &self.open;
        if open.rows() > 0 && (open.rows() >= self.limits.rows || open.bytes + bytes > self.limits.bytes) {
            self.close_open()?;
        }
        self.open.push(record, bytes);
        self.rows += 1;
        Ok(())
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of keys and values held, about.
    pub fn bytes(&self) -> usize {
        self.open.bytes + self.full.iter().map(|it| it.bytes).sum::<usize>()
    }

    /// The next batch of rows whose offsets are below `end`, and the offset after its last row. Without `all`, only one
    /// that has reached its limits.
    ///
    /// # Errors
    /// If Arrow refuses the columns, which would be a mistake here.
    pub fn take_below(&mut self, end: i64, all: bool) -> Result<Option<(RecordBatch, i64)>, ArrowError> {
        if self.full.is_empty() && all && self.open.rows() > 0 {
            self.close_open()?;
        }
        let Some(mut chunk) = self.full.pop_front() else { return Ok(None) };
        let total = chunk.offsets.len();
        let below = chunk.offsets.partition_point(|it| *it < end);
        let next = below.checked_sub(1).and_then(|at| chunk.offsets.get(at)).map(|it| it + 1);
        if below < total {
            let (offsets, batch) = (&chunk.offsets, &chunk.batch);
            let (offsets, rest) = (offsets.slice(below, total - below), batch.slice(below, total - below));
            let bytes = chunk.bytes / total * (total - below);
            self.full.push_front(Chunk { offsets, batch: rest, bytes });
            chunk.batch = chunk.batch.slice(0, below);
        }
        self.rows -= below;
        Ok(next.map(|next| (chunk.batch, next)))
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.full.clear();
        self.open = Open::new(&self.columns, 0, 0);
        self.rows = 0;
    }

    fn close_open(&mut self) -> Result<(), ArrowError> {
        // The next chunk will be about as large as this one, so its buffers need not grow by doubling.
        let next = Open::new(&self.columns, self.open.rows(), self.open.bytes.min(self.limits.bytes));
        let open = std::mem::replace(&mut self.open, next);
        let (offsets, bytes) = (ScalarBuffer::from(open.offsets.clone()), open.bytes);
        let batch = open.finish(&self.columns, &self.schema, &self.topic, self.partition)?;
        self.full.push_back(Chunk { offsets, batch, bytes });
        Ok(())
    }
}

/// The chunk under construction. Columns that nobody asked for are not built; offsets always are.
struct Open {
    offsets: Vec<i64>,
    key: Option<BinaryBuilder>,
    value: Option<BinaryBuilder>,
    times: Option<(Vec<i64>, Vec<i32>)>,
    headers: Option<HeadersBuilder>,
    bytes: usize,
}

impl Open {
    fn new(columns: &[Column], rows: usize, bytes: usize) -> Self {
        let has = |column| columns.contains(&column);
        let binary = |bytes| BinaryBuilder::with_capacity(rows, bytes);
        let times = has(Column::Timestamp) || has(Column::TimestampType);
        Self {
            offsets: Vec::with_capacity(rows),
            key: has(Column::Key).then(|| binary(0)),
            value: has(Column::Value).then(|| binary(bytes)),
            times: times.then(|| (Vec::with_capacity(rows), Vec::with_capacity(rows))),
            headers: has(Column::Headers).then(HeadersBuilder::new),
            bytes: 0,
        }
    }

    fn rows(&self) -> usize {
        self.offsets.len()
    }

    fn push<'a>(&mut self, record: &impl RecordView<'a>, bytes: usize) {
        self.offsets.push(record.offset());
        self.bytes += bytes;
        if let Some(builder) = &mut self.key {
            builder.append_option(record.key());
        }
        if let Some(builder) = &mut self.value {
            builder.append_option(record.value());
        }
        if let Some((times, kinds)) = &mut self.times {
            let (ms, kind) = record.timestamp();
            times.push(ms.saturating_mul(1000));
            kinds.push(kind);
        }
        if let Some(builder) = &mut self.headers {
            builder.push(record.headers());
        }
    }

    fn finish(
        mut self,
        columns: &[Column],
        schema: &SchemaRef,
        topic: &str,
        partition: i32,
    ) -> Result<RecordBatch, ArrowError> {
        let rows = self.rows();
        let (times, kinds) = self.times.take().unwrap_or_default();
        let (times, kinds) = (ScalarBuffer::from(times), ScalarBuffer::from(kinds));
        let binary = |it: &mut Option<BinaryBuilder>| -> Option<ArrayRef> { Some(Arc::new(it.as_mut()?.finish())) };
        let (key, value) = (binary(&mut self.key), binary(&mut self.value));
        let headers = self.headers.take().map(HeadersBuilder::finish).transpose()?;
        let offsets: ArrayRef = Arc::new(Int64Array::from(self.offsets));
        let missing = || ArrowError::InvalidArgumentError("a column was not built".to_owned());
        let arrays = columns.iter().map(|column| {
            Ok(match column {
                Column::Key => key.clone().ok_or_else(missing)?,
                Column::Value => value.clone().ok_or_else(missing)?,
                Column::Topic => Arc::new(StringArray::from_iter_values(iter::repeat_n(topic, rows))),
                Column::Partition => Arc::new(Int32Array::from_value(partition, rows)),
                Column::Offset => offsets.clone(),
                Column::Timestamp => Arc::new(TimestampMicrosecondArray::new(times.clone(), None).with_timezone("UTC")),
                Column::TimestampType => Arc::new(Int32Array::new(kinds.clone(), None)),
                Column::Headers => headers.clone().ok_or_else(missing)?,
            })
        });
        let arrays = arrays.collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
    }
}
