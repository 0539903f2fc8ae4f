//! The task that reads from the peer.

use std::sync::Arc;

use tidegate_api::{Clock, Error, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::buffer::{Buffer, Line, Peer};

/// A longer line ends the connection.
const MAX_LINE_BYTES: usize = 64 << 20;

/// A task that ends with its owner.
pub(crate) struct Owned<T>(JoinHandle<T>);

impl<T: Send + 'static> Owned<T> {
    pub(crate) fn spawn(io: &Handle, task: impl Future<Output = T> + Send + 'static) -> Self {
        Self(io.spawn(task))
    }

    pub(crate) async fn join(mut self) -> Result<T> {
        (&mut self.0).await.map_err(|e| Error::internal("a task of the socket source stopped").because(e))
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads lines of `stream` into `buffer` until the peer closes or the handle is dropped.
pub(crate) fn start(io: &Handle, stream: TcpStream, buffer: Arc<Buffer>, clock: Arc<dyn Clock>) -> Owned<()> {
    Owned::spawn(io, async move {
        let end = match run(stream, &buffer, &*clock).await {
            Ok(()) => Peer::Closed,
            Err(e) => Peer::Failed(e.to_string()),
        };
        buffer.close(end);
    })
}

async fn run(stream: TcpStream, buffer: &Buffer, clock: &dyn Clock) -> Result<()> {
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let mut line = Vec::new();
    loop {
        while buffer.is_full() {
            buffer.drained.notified().await;
        }
        let chunk = reader.fill_buf().await.map_err(|e| Error::transient("the connection broke").because(e))?;
        let ended = chunk.is_empty();
        let newline = chunk.iter().position(|byte| *byte == b'\n');
        let (text, used) = newline.map_or((chunk, chunk.len()), |at| (&chunk[..at], at + 1));
        line.extend_from_slice(text);
        reader.consume(used);
        if line.len() > MAX_LINE_BYTES {
            return Err(Error::data(format!("a line is longer than {MAX_LINE_BYTES} bytes")));
        }
        // A last line without line feed counts, an empty rest does not.
        if newline.is_some() || (ended && !line.is_empty()) {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            buffer.push(Line { text, time_us: clock.now_ms().saturating_mul(1000) });
            line.clear();
        }
        if ended {
            return Ok(());
        }
    }
}
