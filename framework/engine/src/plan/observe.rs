//! Watermark nodes that several sinks read. A node has one value, so a filter acts below it only if every sink that reads it
//! has that filter; the optimiser, which sees one sink at a time, has moved each sink's own filters below.
//!
//! Such a node is observed apart: by a piece of its own, below which only the common filters act. In the sinks' pieces it then
//! passes rows on and notes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Extension, Filter, LogicalPlan};
use tidegate_sql::WatermarkNode;

/// The watermark nodes of a sink's plan, in the order in which they are met; one that is read twice comes twice.
pub(crate) fn watermarks_in(plan: &LogicalPlan) -> Vec<WatermarkNode> {
    let mut found = Vec::new();
    // The visitor does not fail.
    let _ = plan.apply_with_subqueries(|it| {
        if let LogicalPlan::Extension(Extension { node }) = it
            && let Some(node) = node.as_any().downcast_ref::<WatermarkNode>()
        {
            found.push(node.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// What observes the nodes that need it, by the node's name; from the nodes of each sink.
pub(crate) fn observers(of_sinks: &[Vec<WatermarkNode>]) -> Result<BTreeMap<Arc<str>, LogicalPlan>> {
    let mut found: BTreeMap<Arc<str>, BTreeMap<usize, Vec<WatermarkNode>>> = BTreeMap::new();
    for (sink, nodes) in of_sinks.iter().enumerate() {
        for node in nodes {
            found.entry(node.id.clone()).or_default().entry(sink).or_default().push(node.clone());
        }
    }
    let observers = found.into_iter().map(|(id, readers)| Ok(observer(&readers)?.map(|it| (id, it))));
    observers.filter_map(Result::transpose).collect()
}

/// Nothing if all sinks agree, or if more than filters and projections lies below the node: a join or an aggregate there is
/// part of what the node is declared on.
fn observer(readers: &BTreeMap<usize, Vec<WatermarkNode>>) -> Result<Option<LogicalPlan>> {
    let filters = |nodes: &Vec<WatermarkNode>| nodes.iter().map(|it| conjuncts(&it.input)).collect::<Result<Vec<_>>>();
    let filters = readers.values().map(filters).collect::<Result<Vec<_>>>()?;
    let mut nodes = readers.values().flatten();
    let (Some(of_first), Some(first)) = (filters.first(), nodes.next()) else { return Ok(None) };
    if filters.iter().all(|it| it == of_first) || readers.values().flatten().any(|it| !is_plain(&it.input)) {
        return Ok(None);
    }
    let own = of_first.first().into_iter().flatten();
    let common: Vec<_> = own.filter(|it| filters.iter().flatten().all(|all| all.contains(it))).cloned().collect();
    let input = first.input.clone().transform_down(|node| match node {
        LogicalPlan::Filter(filter) => {
            let kept = split_conjunction(&filter.predicate).into_iter().filter(|it| common.contains(it));
            Ok(Transformed::yes(match conjunction(kept.cloned().collect::<Vec<_>>()) {
                Some(kept) => LogicalPlan::Filter(Filter::try_new(kept, filter.input)?),
                None => Arc::unwrap_or_clone(filter.input),
            }))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let node = WatermarkNode::try_new(input.data, first.column.clone(), first.delay_ms, first.id.clone())?;
    Ok(Some(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
}

/// All filters of a plan, each once.
fn conjuncts(plan: &LogicalPlan) -> Result<Vec<Expr>> {
    let mut found = Vec::new();
    plan.apply(|node| {
        if let LogicalPlan::Filter(filter) = node {
            for conjunct in split_conjunction(&filter.predicate) {
                if !found.contains(conjunct) {
                    found.push(conjunct.clone());
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn is_plain(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().into_iter().all(is_plain)
        }
        _ => false,
    }
}
