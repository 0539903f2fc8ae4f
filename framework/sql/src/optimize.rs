//! Which of DataFusion's rules run, and a guard around the one that moves filters.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan};
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_join::EliminateJoin;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::ensure_coop::EnsureCooperative;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_optimizer::output_requirements::OutputRequirements;
use datafusion::physical_optimizer::projection_pushdown::ProjectionPushdown;
use datafusion::physical_optimizer::sanity_checker::SanityCheckPlan;
use datafusion::physical_optimizer::update_aggr_exprs::OptimizeAggregateOrder;

use crate::functions::json::is_from_json;
use crate::join_nulls::FilterJoinNulls;

/// DataFusion's own order. Left out: what changes the keys of an aggregate and so its state (single distinct to group
/// by, group by a constant), what makes relations empty and so loses their sources (empty relations, false filters),
/// limits, and the extraction of struct fields, whose columns nobody could name.
pub(crate) fn logical_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(EliminateJoin::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(FilterJoinNulls),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(GuardedPushDownFilter { inner: PushDownFilter::new() }),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// Left out: answers from statistics, choices by statistics, dynamic filters, limits, and the merging of partial and
/// final aggregates, between which state is taken.
pub(crate) fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    vec![
        Arc::new(OutputRequirements::new_add_mode()),
        Arc::new(FilterPushdown::new()),
        Arc::new(EnsureRequirements::new()),
        Arc::new(OptimizeAggregateOrder::new()),
        Arc::new(ProjectionPushdown::new()),
        Arc::new(OutputRequirements::new_remove_mode()),
        Arc::new(ProjectionPushdown::new()),
        Arc::new(EnsureCooperative::new()),
        Arc::new(SanityCheckPlan::new()),
    ]
}

/// Keeps volatile conjuncts (the clock, `random()`) above watermarks and aggregates, as Spark does. DataFusion moves
/// them: then a HAVING by the current time would decide when a row arrives instead of when the result is emitted.
/// Keeps conjuncts over decoded documents above the projection that decodes them: below it each document would be
/// decoded twice.
#[derive(Debug)]
struct GuardedPushDownFilter {
    inner: PushDownFilter,
}

impl OptimizerRule for GuardedPushDownFilter {
    fn name(&self) -> &str {
        "push_down_filter"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.inner.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>, DataFusionError> {
        let LogicalPlan::Filter(filter) = plan else { return self.inner.rewrite(plan, config) };
        match filter.input.as_ref() {
            // Merged here: the inner rule would go on by itself, past this guard.
            LogicalPlan::Filter(below) => {
                let mut conjuncts = split_conjunction_owned(below.predicate.clone());
                for conjunct in split_conjunction_owned(filter.predicate) {
                    if !conjuncts.contains(&conjunct) {
                        conjuncts.push(conjunct);
                    }
                }
                let Some(merged) = filtered(conjuncts, below.input.as_ref().clone()) else {
                    return Ok(Transformed::yes(below.input.as_ref().clone()));
                };
                Ok(Transformed::yes(self.rewrite(merged, config)?.data))
            }
            LogicalPlan::Extension(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => {
                self.past(filter, config, Expr::is_volatile)
            }
            LogicalPlan::Projection(below) => {
                let decoded: Vec<_> = below
                    .schema
                    .columns()
                    .into_iter()
                    .zip(&below.expr)
                    .filter(|(_, expr)| expr.exists(|it| Ok(is_from_json(it))).unwrap_or(true))
                    .map(|(column, _)| column)
                    .collect();
                self.past(filter, config, |it| it.column_refs().iter().any(|it| decoded.contains(it)))
            }
            _ => self.inner.rewrite(LogicalPlan::Filter(filter), config),
        }
    }
}

impl GuardedPushDownFilter {
    /// Moves the conjuncts that do not stay.
    fn past(
        &self,
        filter: Filter,
        config: &dyn OptimizerConfig,
        stays: impl Fn(&Expr) -> bool,
    ) -> Result<Transformed<LogicalPlan>> {
        let conjuncts = split_conjunction_owned(filter.predicate.clone());
        let (staying, moving): (Vec<Expr>, Vec<Expr>) = conjuncts.into_iter().partition(stays);
        if staying.is_empty() {
            return self.inner.rewrite(LogicalPlan::Filter(filter), config);
        }
        let Some(below) = filtered(moving, filter.input.as_ref().clone()) else {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        };
        let moved = self.inner.rewrite(below, config)?;
        if !moved.transformed {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let above = conjunction(staying).map(|it| LogicalPlan::Filter(Filter::new(it, Arc::new(moved.data.clone()))));
        Ok(Transformed::yes(above.unwrap_or(moved.data)))
    }
}

fn filtered(conjuncts: Vec<Expr>, input: LogicalPlan) -> Option<LogicalPlan> {
    Some(LogicalPlan::Filter(Filter::new(conjunction(conjuncts)?, Arc::new(input))))
}
