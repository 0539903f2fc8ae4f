//! `LeafExec`: the leaf of a piece. Its rows come with the task context, so that the plan is made once.

use std::fmt;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};

use super::{RunInput, Wanted};

/// Which rows a leaf delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum LeafId {
    /// A chunk of a stream, by index of the source.
    Source(usize),
    /// A static table, by index of the source.
    Static(usize),
    /// What a stateful operator emits, by index of the stage.
    Stage(usize, Emission),
    /// Rows of a stage's own, inside it.
    Partials,
}

/// Which rows of a stateful operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Emission {
    /// Groups that the watermark closed.
    Closed,
    /// Groups that changed.
    Changed,
    /// Groups that changed, as they were and as they are; the last column says which.
    Changes,
    /// All groups.
    Whole,
    /// Rows that an operator lets through or makes once: the same in each output mode.
    Rows,
}

/// A leaf whose rows come from the [`RunInput`] of the task context.
#[derive(Debug)]
pub(crate) struct LeafExec {
    id: LeafId,
    /// Its rows pass a watermark, which knows those that are too far ahead of the clock.
    below_watermark: bool,
    cache: Arc<PlanProperties>,
}

impl LeafExec {
    pub(crate) fn new(id: LeafId, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let cache = Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative));
        Self { id, below_watermark: false, cache }
    }

    pub(crate) fn id(&self) -> LeafId {
        self.id
    }

    fn rows(&self, input: &RunInput) -> Result<Vec<RecordBatch>> {
        let found = match self.id {
            LeafId::Static(at) => input.statics.get(&at).map(Vec::as_slice).unwrap_or_default(),
            // What passes no watermark is not too far ahead.
            _ if matches!(input.wanted, Wanted::Ahead(_)) && !self.below_watermark => &[],
            id if id == input.leaf => &input.rows,
            _ => &[],
        };
        let schema = self.cache.eq_properties.schema();
        match self.id {
            LeafId::Source(_) | LeafId::Static(_) => found.iter().map(|batch| pick(batch, schema)).collect(),
            // All columns are there, and names may stand twice.
            LeafId::Stage(..) | LeafId::Partials => found.iter().map(|batch| adopt(batch, schema)).collect(),
        }
    }
}

/// The plan with leaves that know that a watermark stands above them.
pub(crate) fn below_watermark(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let marked = plan.transform_up(|node| match node.downcast_ref::<LeafExec>() {
        Some(LeafExec { id, cache, .. }) => {
            Ok(Transformed::yes(Arc::new(LeafExec { id: *id, below_watermark: true, cache: cache.clone() }) as _))
        }
        None => Ok(Transformed::no(node)),
    })?;
    Ok(marked.data)
}

/// The columns under the names of `schema`.
fn adopt(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)?)
}

/// The columns of `schema`, found by name.
fn pick(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name());
        column.cloned().ok_or_else(|| DataFusionError::Internal(format!("the input has no column '{}'", field.name())))
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options)?)
}

impl DisplayAs for LeafExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeafExec: {:?}", self.id)
    }
}

impl ExecutionPlan for LeafExec {
    fn name(&self) -> &'static str {
        "LeafExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.cache
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = context.session_config().get_extension::<RunInput>();
        let input = input.ok_or_else(|| DataFusionError::Internal("a leaf ran without input".to_owned()))?;
        let schema = self.cache.eq_properties.schema().clone();
        Ok(Box::pin(MemoryStream::try_new(self.rows(&input)?, schema, None)?))
    }
}
