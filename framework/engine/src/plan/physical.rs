//! From a logical piece to a physical one: leaves and watermarks are ours, everything else is DataFusion's.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, TableScan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use tidegate_sql::{SourceTable, TableKind, WatermarkNode};

use super::stage_leaf::StageLeaf;
use crate::error::from_datafusion;
use crate::exec::watermark::{EventColumn, WatermarkExec};
use crate::exec::{LeafExec, LeafId};

/// Makes physical pieces; knows the sources by name.
pub(crate) struct PiecePlanner {
    planner: DefaultPhysicalPlanner,
    state: SessionState,
}

impl PiecePlanner {
    /// `sources` in the order of their indices; watermarks that are `observed` apart pass rows on and note nothing.
    pub(crate) fn new(mut state: SessionState, sources: Vec<String>, observed: BTreeSet<Arc<str>>) -> Self {
        // Logical schemas carry marks of event time that physical ones need not have.
        state.config_mut().options_mut().execution.skip_physical_aggregate_schema_check = true;
        let ours = Leaves { sources, observed };
        Self { planner: DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(ours)]), state }
    }

    pub(crate) async fn piece(&self, plan: &LogicalPlan) -> tidegate_api::Result<Arc<dyn ExecutionPlan>> {
        self.planner.create_physical_plan(plan, &self.state).await.map_err(from_datafusion)
    }
}

struct Leaves {
    sources: Vec<String>,
    observed: BTreeSet<Arc<str>>,
}

#[async_trait]
impl ExtensionPlanner for Leaves {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let Some(leaf) = node.as_any().downcast_ref::<StageLeaf>() {
            return Ok(Some(Arc::new(LeafExec::new(leaf.id(), leaf.arrow_schema()))));
        }
        let Some(node) = node.as_any().downcast_ref::<WatermarkNode>() else { return Ok(None) };
        let [input] = physical_inputs else {
            return Err(DataFusionError::Internal("a watermark has one input".to_owned()));
        };
        let at = input.schema().index_of(&node.column.name)?;
        let column = EventColumn { node: node.id.clone(), at, observed: self.observed.contains(&node.id) };
        Ok(Some(Arc::new(WatermarkExec::over(column, input.clone())?)))
    }

    async fn plan_table_scan(
        &self,
        _planner: &dyn PhysicalPlanner,
        scan: &TableScan,
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(table) = scan.source.downcast_ref::<SourceTable>() else { return Ok(None) };
        let at = self.sources.iter().position(|it| **it == *table.name);
        let at = at.ok_or_else(|| DataFusionError::Internal(format!("unknown source '{}'", table.name)))?;
        let id = match table.kind {
            TableKind::Stream => LeafId::Source(at),
            TableKind::Static => LeafId::Static(at),
        };
        let schema = Arc::clone(scan.projected_schema.inner());
        Ok(Some(Arc::new(LeafExec::new(id, schema))))
    }
}
