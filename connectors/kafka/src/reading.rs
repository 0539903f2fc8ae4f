//! The stream of one split.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use tidegate_api::{BatchStream, Error, RecordBatch, Result};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::reader::{Reader, Step};

/// Looks into the queue again after this long, should a wake-up be lost.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One read under way; dropping it leaves the reader ready for the next.
struct Reading {
    reader: Arc<Reader>,
    ticket: u64,
    end: i64,
    patience: Duration,
    cancel: CancellationToken,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.reader.end(self.ticket);
    }
}

/// The rows of `range`, as they come.
pub(crate) async fn start(
    reader: Arc<Reader>,
    range: Range<i64>,
    patience: Duration,
    cancel: CancellationToken,
    io: &Handle,
) -> Result<BatchStream> {
    let ticket = reader.ticket();
    let reading = Reading { reader, ticket, end: range.end, patience, cancel };
    if !reading.reader.begin_here(ticket, range.start) {
        let reader = reading.reader.clone();
        let begun = io.spawn_blocking(move || reader.begin(ticket, range.start)).await;
        begun.map_err(|e| Error::internal("a seek was not finished").because(e))??;
    }
    let batches = stream::try_unfold(reading, |mut reading| async move {
        let batch = reading.next().await?;
        Ok(batch.map(|batch| (batch, reading)))
    });
    Ok(batches.boxed())
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let mut moved_at = Instant::now();
        loop {
            match self.reader.step(self.ticket, self.end)? {
                Step::Batch(batch) => return Ok(Some(batch)),
                Step::Done => return Ok(None),
                Step::Progress => {
                    moved_at = Instant::now();
                    tokio::task::yield_now().await;
                }
                Step::Wait if moved_at.elapsed() >= self.patience => {
                    let waited = self.patience.as_millis();
                    return Err(self.stuck(&format!("nothing came for {waited} ms (poll.timeout.ms)")));
                }
                Step::Wait => tokio::select! {
                    () = self.reader.filled.notified() => {}
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                    () = self.cancel.cancelled() => return Err(self.stuck("the query stops")),
                },
            }
        }
    }

    fn stuck(&self, why: &str) -> Error {
        let place = &self.reader.place;
        Error::transient(format!("{} [{}] up to offset {}: {why}", place.name, place.number, self.end))
    }
}
