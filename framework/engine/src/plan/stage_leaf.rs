//! `StageLeaf`: stands in a plan for the rows that a stateful stage emits.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::exec::LeafId;
use crate::exec::leaf::Emission;

/// A leaf with the schema of the aggregate that it replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StageLeaf {
    stage: usize,
    emission: Emission,
    schema: DFSchemaRef,
}

impl StageLeaf {
    /// The leaf as a plan.
    pub(crate) fn plan(stage: usize, emission: Emission, schema: DFSchemaRef) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(Self { stage, emission, schema }) })
    }

    /// The leaf that a node of a plan is.
    pub(crate) fn of(node: &LogicalPlan) -> Option<&Self> {
        match node {
            LogicalPlan::Extension(it) => it.node.as_any().downcast_ref(),
            _ => None,
        }
    }

    pub(crate) fn stage(&self) -> usize {
        self.stage
    }

    /// The same leaf of another stage.
    pub(crate) fn with_stage(&self, stage: usize) -> LogicalPlan {
        Self::plan(stage, self.emission, self.schema.clone())
    }

    pub(crate) fn id(&self) -> LeafId {
        LeafId::Stage(self.stage, self.emission)
    }

    pub(crate) fn arrow_schema(&self) -> SchemaRef {
        Arc::clone(self.schema.inner())
    }
}

/// True if a plan that is cut already reads what an aggregate changed, and not just what it has closed.
pub(crate) fn reads_changes(plan: &LogicalPlan) -> bool {
    let reads = |node: &LogicalPlan| StageLeaf::of(node).is_some_and(|it| it.emission == Emission::Changes);
    // The visitor does not fail.
    plan.exists(|node| Ok(reads(node))).unwrap_or(false)
}

impl Hash for StageLeaf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.stage, self.emission).hash(state);
    }
}

impl PartialOrd for StageLeaf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for StageLeaf {
    fn name(&self) -> &'static str {
        "StageLeaf"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StageLeaf: stage {} {:?}", self.stage, self.emission)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, _: Vec<LogicalPlan>) -> Result<Self> {
        Ok(self.clone())
    }
}
