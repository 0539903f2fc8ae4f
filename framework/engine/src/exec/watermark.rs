//! `WatermarkExec`: passes rows through and notes their event times; keeps those that are too far ahead of the clock from
//! operators that drop late rows.

use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow_select::filter::filter_record_batch;
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

use super::leaf::below_watermark;
use super::{RunInput, Wanted};

/// Passes its input through and adds the event times of one column to [`super::TimesSeen`].
#[derive(Debug)]
pub(crate) struct WatermarkExec {
    column: EventColumn,
    input: Arc<dyn ExecutionPlan>,
}

/// Where a node's event times are.
#[derive(Clone, Debug)]
pub(crate) struct EventColumn {
    /// The watermark node.
    pub(crate) node: Arc<str>,
    /// The column's index.
    pub(crate) at: usize,
    /// The node's times are noted elsewhere.
    pub(crate) observed: bool,
}

impl WatermarkExec {
    pub(crate) fn new(column: EventColumn, input: Arc<dyn ExecutionPlan>) -> Self {
        Self { column, input }
    }

    /// The node over `input`, whose leaves know then that it is there.
    pub(crate) fn over(column: EventColumn, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        Ok(Self::new(column, below_watermark(input)?))
    }
}

impl EventColumn {
    /// Notes a batch's times; the rows that go on.
    fn pass(&self, batch: RecordBatch, run: &RunInput) -> Result<RecordBatch> {
        let times = self.times(&batch)?;
        let ahead = run.times.ceiling_us().map(|ceiling| (ceiling, ahead_of(times, ceiling)));
        let notes = !self.observed && run.wanted.counts();
        let Some((ceiling, ahead)) = ahead.filter(|it| it.1 > 0) else {
            if notes {
                run.times.add(&self.node, times_of(times));
            }
            let only_ahead = matches!(run.wanted, Wanted::Ahead(_));
            return Ok(if only_ahead { batch.slice(0, 0) } else { batch });
        };
        let is_ahead = |time: Option<i64>| time.is_some_and(|it| it > ceiling);
        if notes {
            let part = |wanted: bool| times.iter().filter(|it| is_ahead(*it) == wanted).collect();
            run.times.add(&self.node, times_of(&part(false)));
            run.times.add_ahead(&self.node, times_of(&part(true)));
        }
        let wanted = match run.wanted {
            Wanted::All => return Ok(batch),
            Wanted::NotAhead(stage) => {
                run.times.leave_out(stage, ahead);
                false
            }
            Wanted::Late(_) => false,
            Wanted::Ahead(_) => true,
        };
        let kept: BooleanArray = times.iter().map(|it| Some(is_ahead(it) == wanted)).collect();
        Ok(filter_record_batch(&batch, &kept)?)
    }

    fn times<'b>(&self, batch: &'b RecordBatch) -> Result<&'b TimestampMicrosecondArray> {
        let column = batch.columns().get(self.at).and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
        column.ok_or_else(|| DataFusionError::Internal("the event time is no TIMESTAMP".to_owned()))
    }
}

/// How many times are after the ceiling.
fn ahead_of(times: &TimestampMicrosecondArray, ceiling_us: i64) -> u64 {
    times.iter().flatten().filter(|it| *it > ceiling_us).count() as u64
}

/// Count, extremes and sum of event times, microseconds cut to milliseconds as Spark does.
fn times_of(times: &TimestampMicrosecondArray) -> EventTimes {
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
    seen
}

impl DisplayAs for WatermarkExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let apart = if self.column.observed { ", observed apart" } else { "" };
        write!(f, "WatermarkExec: {}{apart}", self.column.node)
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
        Ok(Arc::new(Self::new(self.column.clone(), input)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = context.session_config().get_extension::<RunInput>();
        let run = run.ok_or_else(|| DataFusionError::Internal("a watermark ran without input".to_owned()))?;
        let column = self.column.clone();
        let stream = self.input.execute(partition, context)?.map(move |batch| column.pass(batch?, &run));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}
