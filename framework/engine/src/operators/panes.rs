//! From panes to the sliding windows over them, by doubling: blocks of 1, 2, 4, … panes are merged from two of half the
//! length, and a window is the sum of one block for each bit of its length. So a window of 60 panes costs each pane about
//! eleven merges instead of sixty.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use datafusion::physical_plan::ExecutionPlan;
use tidegate_api::{Error, Result};
use tidegate_sql::Panes;

use super::merge_with;
use super::shape::filtered;
use crate::exec::Runner;

/// Partial rows of panes, one a key, become partial rows of windows, one a key.
pub(crate) struct Spread<'a> {
    pub(crate) panes: Panes,
    /// The key that is the end of a window: on the way in, of the last one over the pane.
    pub(crate) key: usize,
    pub(crate) merge: &'a Arc<dyn ExecutionPlan>,
    pub(crate) runner: &'a Runner,
}

impl Spread<'_> {
    pub(crate) async fn windows(&self, panes: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let in_window = self.panes.size_us / self.panes.pane_us;
        let (mut windows, mut blocks) = (Vec::new(), panes);
        let (mut length, mut covered) = (1, 0);
        loop {
            if in_window & length != 0 {
                for block in &blocks {
                    windows.push(self.whole_windows(&self.earlier(block, covered)?)?);
                }
                covered += length;
            }
            if length > in_window / 2 {
                break;
            }
            let shifted = blocks.iter().map(|it| self.earlier(it, length)).collect::<Result<Vec<_>>>()?;
            blocks.extend(shifted);
            blocks = merge_with(self.merge, self.runner, blocks).await?;
            length *= 2;
        }
        windows.retain(|it| it.num_rows() > 0);
        merge_with(self.merge, self.runner, windows).await
    }

    /// The rows as those of the window that ends so many panes earlier. Windows before the first time there is are left out.
    fn earlier(&self, rows: &RecordBatch, panes: i64) -> Result<RecordBatch> {
        let by = panes.saturating_mul(self.panes.pane_us);
        let ends = self.ends(rows)?;
        let there = BooleanArray::from_unary(ends, |end| end.checked_sub(by).is_some());
        let moved: TimestampMicrosecondArray = ends.unary(|end| end.saturating_sub(by));
        let mut columns = rows.columns().to_vec();
        if let Some(column) = columns.get_mut(self.key) {
            *column = Arc::new(moved.with_data_type(column.data_type().clone())) as ArrayRef;
        }
        let moved = RecordBatch::try_new(rows.schema(), columns).map_err(broken)?;
        filtered(&moved, &there)
    }

    /// Without the rows that end where no window does: there are some if a slide is several panes long.
    fn whole_windows(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let Panes { size_us, slide_us, offset_us, .. } = self.panes;
        let from_start = |end: i64| end.wrapping_sub(size_us).wrapping_sub(offset_us);
        let whole = BooleanArray::from_unary(self.ends(rows)?, |end| from_start(end).rem_euclid(slide_us) == 0);
        filtered(rows, &whole)
    }

    fn ends<'r>(&self, rows: &'r RecordBatch) -> Result<&'r TimestampMicrosecondArray> {
        let column = rows.columns().get(self.key).and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
        column.ok_or_else(|| Error::internal("a pane has no end"))
    }
}

fn broken(error: arrow_schema::ArrowError) -> Error {
    Error::internal("panes can't be spread over windows").because(error)
}
