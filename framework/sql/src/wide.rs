//! The same query with all columns: what its stateful operators would read, if nothing that nobody needs were left out.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;

use crate::check::reads_stream;
use crate::nodes::{Deduplicate, KeepColumns, extension, node_of};

/// Puts a [`KeepColumns`] below each stateful operator that reads no other one. What lies above another shows what that one
/// makes, which is no more than the query needs.
pub(crate) fn keeping_columns(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let kept = plan.transform_up(|node| {
        if !is_stateful(&node) {
            return Ok(Transformed::no(node));
        }
        node.map_children(|input| {
            let above_another = input.exists(|it| Ok(is_stateful(it)))?;
            if above_another || !reads_stream(&input) {
                return Ok(Transformed::no(input));
            }
            Ok(Transformed::yes(extension(KeepColumns { input })))
        })
    })?;
    Ok(kept.data)
}

fn is_stateful(node: &LogicalPlan) -> bool {
    let may_be = match node {
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) | LogicalPlan::Limit(_) => true,
        LogicalPlan::Join(join) => return reads_stream(&join.left) && reads_stream(&join.right),
        other => node_of::<Deduplicate>(other).is_some(),
    };
    may_be && reads_stream(node)
}
