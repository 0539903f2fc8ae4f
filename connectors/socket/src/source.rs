//! The `socket` source: numbers the lines of one connection and hands them out by ranges.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, TimeUnit};
use futures::{StreamExt, stream};
use tidegate_api::prelude::*;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::warn;

use crate::buffer::{Buffer, Line, Peer};
use crate::config::SocketConfig;
use crate::reader::{self, Owned};

const BATCH_ROWS: usize = 32 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of lines that may wait to be planned before the peer is held back.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// The `socket` connector.
pub struct Socket;

#[async_trait]
impl SourceConnector for Socket {
    const NAME: &'static str = "socket";
    type Config = SocketConfig;
    type Source = SocketSource;

    fn validate(config: &SocketConfig) -> Vec<ConfigIssue> {
        let mut issues = Vec::new();
        if config.host.trim().is_empty() {
            issues.push(ConfigIssue::new("host", "is empty; expected a name or an address"));
        }
        if config.port == 0 {
            issues.push(ConfigIssue::new("port", "'0' is not a port"));
        }
        issues
    }

    fn payload(config: &SocketConfig, _declared: Option<&SchemaRef>) -> Option<Payload> {
        Some(Payload::Rows(schema(config)))
    }

    fn replay(_config: &SocketConfig) -> Replay {
        Replay::None
    }

    async fn build(config: SocketConfig, ctx: &ConnectorContext) -> Result<SocketSource> {
        let address: Arc<str> = format!("{}:{}", config.host.trim(), config.port).into();
        let (host, port) = (config.host.trim().to_owned(), config.port);
        let connect = async move { timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await };
        let stream = Owned::spawn(&ctx.io, connect).join().await?.map_err(io::Error::from).flatten();
        let stream = stream.map_err(|e| Error::transient(format!("socket {address}: can't connect")).because(e))?;
        Ok(SocketSource {
            address,
            stream: Some(stream),
            reader: None,
            buffer: Arc::new(Buffer::new(MAX_WAITING_BYTES)),
            first: None,
            frozen: None,
            warned: false,
            schema: schema(&config),
            ctx: ctx.clone(),
        })
    }
}

fn schema(config: &SocketConfig) -> SchemaRef {
    let mut fields = vec![Field::new("value", DataType::Utf8, true)];
    if config.include_timestamp {
        fields.push(Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true));
    }
    Arc::new(Schema::new(fields))
}

/// Reads lines of one connection.
pub struct SocketSource {
    address: Arc<str>,
    /// The connection, until the reader takes it.
    stream: Option<TcpStream>,
    reader: Option<Owned<()>>,
    buffer: Arc<Buffer>,
    /// The number of the connection's first line: a restarted query goes on counting. None: not known yet.
    first: Option<i64>,
    frozen: Option<i64>,
    warned: bool,
    schema: SchemaRef,
    ctx: ConnectorContext,
}

impl SocketSource {
    /// Starts the reader; the connection's first line comes after `start` unless that was settled before.
    fn settle(&mut self, start: i64) -> i64 {
        if let Some(stream) = self.stream.take() {
            let (buffer, clock) = (self.buffer.clone(), self.ctx.clock.clone());
            self.reader = Some(reader::start(&self.ctx.io, stream, buffer, clock));
        }
        *self.first.get_or_insert(start + 1)
    }

    /// The place in the buffer after line `number`.
    fn place(first: i64, number: i64) -> usize {
        usize::try_from(number + 1 - first).unwrap_or(0)
    }

    /// The last line that may be planned now.
    fn latest(&self, first: i64, start: i64) -> i64 {
        let came = first + i64::try_from(self.buffer.count()).unwrap_or(0) - 1;
        self.frozen.map_or(came, |frozen| came.min(frozen)).max(start)
    }

    fn warn_if_over(&mut self) {
        let reason = match self.buffer.peer() {
            Peer::Open => return,
            Peer::Closed => "the peer closed the connection".to_owned(),
            Peer::Failed(reason) => reason,
        };
        if !std::mem::replace(&mut self.warned, true) {
            warn!(
                query = &*self.ctx.query,
                connector = &*self.ctx.name,
                "socket {}: {reason}: no more rows",
                self.address
            );
        }
    }

    fn batch(schema: &SchemaRef, lines: &[Line]) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(lines.iter().map(|it| &it.text)))];
        if schema.fields().len() > 1 {
            let times = TimestampMicrosecondArray::from_iter_values(lines.iter().map(|it| it.time_us));
            columns.push(Arc::new(times.with_timezone("UTC")));
        }
        RecordBatch::try_new(schema.clone(), columns).map_err(|e| Error::internal("socket").because(e))
    }
}

#[async_trait]
impl Source for SocketSource {
    /// The number of the last line read; -1: none.
    type Offset = i64;

    fn payload(&self) -> Payload {
        Payload::Rows(self.schema.clone())
    }

    fn replay(&self) -> Replay {
        Replay::None
    }

    async fn initial_offset(&mut self) -> Result<i64> {
        self.settle(-1);
        Ok(-1)
    }

    async fn plan(&mut self, start: &i64, limit: &ReadLimit) -> Result<Planned<i64>> {
        let first = self.settle(*start);
        let latest = self.latest(first, *start);
        let most = |limit: Option<u64>| limit.and_then(|it| usize::try_from(it).ok()).unwrap_or(usize::MAX);
        let rows = most(limit.max_rows).min(usize::try_from(latest - start).unwrap_or(0));
        if rows == 0 {
            self.warn_if_over();
            return Ok(Planned { end: *start, latest, rows: Some(0), bytes: Some(0), schema: None });
        }
        let from = Self::place(first, *start);
        let (end, bytes) = self.buffer.plan(from, rows, most(limit.max_bytes));
        let rows = end - from;
        let end = start + i64::try_from(rows).unwrap_or(0);
        Ok(Planned { end, latest, rows: Some(rows as u64), bytes: Some(bytes as u64), schema: None })
    }

    async fn freeze(&mut self, start: &i64) -> Result<i64> {
        let first = self.settle(*start);
        let latest = self.latest(first, *start);
        self.frozen = Some(latest);
        Ok(latest)
    }

    async fn ready(&mut self, after: &i64) -> Result<()> {
        let first = self.settle(*after);
        let from = Self::place(first, *after);
        loop {
            let buffer = self.buffer.clone();
            let mut arrived = std::pin::pin!(buffer.arrived.notified());
            // Registered before looking, so that a line in between is not missed.
            arrived.as_mut().enable();
            if buffer.count() > from {
                return Ok(());
            }
            self.warn_if_over();
            tokio::select! {
                () = arrived => {}
                () = self.ctx.cancel.cancelled() => return Ok(()),
            }
        }
    }

    async fn read(&self, split: Split<i64>) -> Result<BatchStream> {
        let OffsetRange { start, end } = split.range;
        // What came over an earlier connection is gone: a restarted query loses the epoch that it had not finished.
        let first = self.first.unwrap_or(i64::MAX).min(end + 1);
        if start + 1 < first {
            let lost = first.min(end + 1) - start - 1;
            warn!(
                query = &*self.ctx.query,
                connector = &*self.ctx.name,
                "socket {}: {lost} lines from number {} on came before the restart and are lost",
                self.address,
                start + 1
            );
        }
        let range = Self::place(first, start)..Self::place(first, end);
        let lines = if range.is_empty() { Some(Vec::new()) } else { self.buffer.get(range) };
        let lines = lines.ok_or_else(|| {
            Error::internal(format!("socket {}: lines {} to {end} are not in memory", self.address, start + 1))
        })?;
        let schema = self.schema.clone();
        let batches: Vec<_> = lines.chunks(BATCH_ROWS).map(|chunk| Self::batch(&schema, chunk)).collect();
        Ok(stream::iter(batches).boxed())
    }

    async fn commit(&mut self, through: &i64) -> Result<()> {
        if let Some(first) = self.first {
            self.buffer.forget(Self::place(first, *through));
        }
        Ok(())
    }

    fn describe(&self) -> String {
        format!("socket[{}]", self.address)
    }
}
