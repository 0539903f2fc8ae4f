use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::limit::LocalLimitExec;

use super::*;
use crate::exec::LeafExec;

const CHUNK: usize = 1 << 15;

fn chunk() -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..CHUNK as i64));
    RecordBatch::try_from_iter([("k", column)]).unwrap()
}

/// How often so many chunks were shrunk, by a plan that leaves at most `left` rows, and the most rows that there were.
async fn shrunk(chunks: usize, left: usize) -> (usize, usize) {
    let leaf = Arc::new(LeafExec::new(LeafId::Partials, chunk().schema()));
    let plan: Arc<dyn ExecutionPlan> = Arc::new(LocalLimitExec::new(leaf, left));
    let (runner, mut kept) = (Runner::new(Arc::new(TaskContext::default())), Kept::default());
    let (mut times, mut most) = (0, 0);
    for _ in 0..chunks {
        let before = kept.count();
        kept.add(vec![chunk()], Some(&plan), &runner).await.unwrap();
        times += usize::from(kept.shrunk == kept.count());
        most = most.max(before + CHUNK);
    }
    (times, most)
}

#[tokio::test]
async fn rows_that_become_fewer_are_kept_few() {
    let (times, most) = shrunk(200, CHUNK).await;
    assert!(times > 40, "{times}");
    assert!(most <= SHRINK_ABOVE_ROWS + CHUNK, "{most}");
}

#[tokio::test]
async fn rows_that_do_not_become_fewer_are_shrunk_seldom() {
    let (times, most) = shrunk(200, usize::MAX).await;
    assert_eq!(most, 200 * CHUNK);
    assert_eq!(times, 3, "at 5, 21 and 85 chunks");
}
