//! `WatermarkExec`: passes rows through and notes their event times.

use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, RecordBatch, TimestampMicrosecondArray};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;
use tidegate_epoch::EventTimes;

use super::RunInput;

/// Passes its input through and adds the event times of one column to [`super::TimesSeen`].
#[derive(Debug)]
pub(crate) struct WatermarkExec {
    node: Arc<str>,
    column: usize,
    input: Arc<dyn ExecutionPlan>,
}

impl WatermarkExec {
    pub(crate) fn new(node: Arc<str>, column: usize, input: Arc<dyn ExecutionPlan>) -> Self {
        Self { node, column, input }
    }
}

/// Count, extremes and sum of a batch's event times, microseconds cut to milliseconds as Spark does.
fn times_of(batch: &RecordBatch, column: usize) -> Result<EventTimes> {
    let times: &TimestampMicrosecondArray = batch
        .columns()
        .get(column)
        .and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| DataFusionError::Internal("the event time is no TIMESTAMP".to_owned()))?;
    let mut seen = EventTimes::default();
    let mut add = |us: i64| {
        let ms = us.div_euclid(1000);
        let one = EventTimes { count: 1, min_ms: ms, max_ms: ms, sum_ms: i128::from(ms) };
        seen = seen.merge(one);
    };
    if times.null_count() == 0 {
        times.values().iter().for_each(|us| add(*us));
    } else {
        times.iter().flatten().for_each(&mut add);
    }
    Ok(seen)
}

impl DisplayAs for WatermarkExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WatermarkExec: {}", self.node)
    }
}

impl ExecutionPlan for WatermarkExec {
    fn name(&self) -> &'static str {
        "WatermarkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("a watermark without input".to_owned()))?;
        Ok(Arc::new(Self::new(self.node.clone(), self.column, input)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = context.session_config().get_extension::<RunInput>();
        let run = run.ok_or_else(|| DataFusionError::Internal("a watermark ran without input".to_owned()))?;
        let (node, column) = (self.node.clone(), self.column);
        let stream = self.input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            run.times.add(&node, times_of(&batch, column)?);
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}
