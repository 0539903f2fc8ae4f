//! `foreach_batch` as a full sink: order of rows, retries, and what counts as a replay.

use std::sync::{Arc, Mutex};

use futures::{FutureExt, TryStreamExt};
use tidegate_api::batch_sink::BatchSinkAdapter;
use tidegate_api::prelude::*;

use crate::support::{epoch, numbers};

type Calls = Arc<Mutex<Vec<(u64, bool, usize)>>>;

/// A sink that notes each call and fails as many times as `failures` says.
fn noting(calls: &Calls, failures: usize) -> impl Sink<Committable = u32> {
    let calls = calls.clone();
    let left = Arc::new(Mutex::new(failures));
    let sink = foreach_batch(move |epoch, rows| {
        let (calls, left) = (calls.clone(), left.clone());
        async move {
            let batches: Vec<_> = rows.rows.try_collect().await?;
            let n = batches.iter().map(RecordBatch::num_rows).sum();
            calls.lock().unwrap().push((epoch.number, rows.replayed, n));
            let mut left = left.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                return Err(Error::transient("away"));
            }
            Ok(())
        }
        .boxed()
    });
    BatchSinkAdapter::new("noting", sink)
}

async fn write<S: Sink<Committable = u32>>(sink: &S, epoch: &Epoch, rows: &[&[i64]]) -> Vec<u32> {
    let mut parts = Vec::new();
    for (task, values) in rows.iter().enumerate() {
        let mut writer = sink.writer(epoch, u32::try_from(task).unwrap()).await.unwrap();
        assert!(writer.write(numbers(values)).await.unwrap().is_empty());
        parts.push(writer.prepare().await.unwrap());
    }
    parts
}

#[tokio::test]
async fn an_epoch_comes_whole_and_a_retry_is_called_replayed() {
    let calls = Calls::default();
    let sink = noting(&calls, 1);
    let first = epoch(0, 1, 0);
    let parts = write(&sink, &first, &[&[1, 2], &[3]]).await;
    assert_eq!(sink.commit(&first, parts.clone(), &[]).await.unwrap_err().kind(), ErrorKind::Transient);
    assert_eq!(sink.commit(&first, parts, &[]).await.unwrap(), CommitOutcome::Committed);
    let second = epoch(1, 1, 0);
    let parts = write(&sink, &second, &[]).await;
    sink.commit(&second, parts, &[]).await.unwrap();
    assert_eq!(*calls.lock().unwrap(), [(0, false, 3), (0, true, 3), (1, false, 0)]);
}

#[tokio::test]
async fn the_first_epoch_after_a_restart_may_be_a_replay() {
    for (first, replayed) in [
        (epoch(0, 0, 0), false),
        (epoch(0, 1, 0), false),
        (epoch(0, 1, 1), true),
        (epoch(0, 2, 0), true),
        (epoch(7, 2, 0), true),
    ] {
        let calls = Calls::default();
        let sink = noting(&calls, 0);
        let parts = write(&sink, &first, &[&[1]]).await;
        sink.commit(&first, parts, &[]).await.unwrap();
        assert_eq!(*calls.lock().unwrap(), [(first.number, replayed, 1)], "{first:?}");
    }
}

#[tokio::test]
async fn rows_of_an_aborted_attempt_are_gone() {
    let calls = Calls::default();
    let sink = noting(&calls, 0);
    let lost = epoch(0, 1, 0);
    let parts = write(&sink, &lost, &[&[1, 2]]).await;
    sink.abort(&lost, parts.clone()).await.unwrap();
    assert_eq!(sink.commit(&lost, parts, &[]).await.unwrap_err().kind(), ErrorKind::Internal);
    let again = epoch(0, 1, 1);
    let parts = write(&sink, &again, &[&[3]]).await;
    sink.commit(&again, parts, &[]).await.unwrap();
    assert_eq!(*calls.lock().unwrap(), [(0, true, 1)]);
}
