//! Rows that a join's condition can't be true for, because a column that it needs is null, are left out below it.
//!
//! DataFusion does so for the keys. Spark does it for every column that the condition can't do without, and moves that below
//! watermarks, where such rows no longer move them; so it must be the same columns (Spark: `InferFiltersFromConstraints`).

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, NullEquality, Result};
use datafusion::logical_expr::expr::{Cast, Like};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, Join, JoinType, LogicalPlan, Operator};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rule.
#[derive(Debug)]
pub(crate) struct FilterJoinNulls;

impl OptimizerRule for FilterJoinNulls {
    fn name(&self) -> &str {
        "filter_join_nulls"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
        let (left, right) = sides_without_nulls(join.join_type);
        let needed = needed(&join);
        let mut changed = false;
        for (input, of_side) in [(&mut join.left, left), (&mut join.right, right)] {
            let conjuncts = if of_side { not_null(&needed, input.schema()) } else { Vec::new() };
            if let Some(predicate) = conjunction(conjuncts) {
                *input = Arc::new(LogicalPlan::Filter(Filter::try_new(predicate, input.clone())?));
                changed = true;
            }
        }
        Ok(if changed { Transformed::yes(LogicalPlan::Join(join)) } else { Transformed::no(LogicalPlan::Join(join)) })
    }
}

/// A side whose rows come out without a match as well keeps those with nulls.
fn sides_without_nulls(kind: JoinType) -> (bool, bool) {
    match kind {
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => (true, true),
        JoinType::Left | JoinType::LeftAnti => (false, true),
        JoinType::Right | JoinType::RightAnti => (true, false),
        JoinType::Full | JoinType::LeftMark | JoinType::RightMark => (false, false),
    }
}

/// The columns without which the condition is not true.
fn needed(join: &Join) -> BTreeSet<Column> {
    let mut columns = BTreeSet::new();
    if join.null_equality == NullEquality::NullEqualsNothing {
        join.on.iter().flat_map(|(left, right)| [left, right]).for_each(|it| collect(it, &mut columns));
    }
    for conjunct in join.filter.iter().flat_map(split_conjunction) {
        match conjunct {
            Expr::IsNotNull(inner) => collect(inner, &mut columns),
            Expr::Between(it) if !it.negated => {
                [&it.expr, &it.low, &it.high].into_iter().for_each(|it| collect(it, &mut columns));
            }
            other => collect(other, &mut columns),
        }
    }
    columns
}

/// Columns whose null makes the expression null: through operators that have no answer for a null.
fn collect(expr: &Expr, columns: &mut BTreeSet<Column>) {
    match expr {
        Expr::Column(column) => drop(columns.insert(column.clone())),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if gives_null(*op) => {
            collect(left, columns);
            collect(right, columns);
        }
        Expr::Not(inner) | Expr::Negative(inner) | Expr::Cast(Cast { expr: inner, .. }) => collect(inner, columns),
        Expr::Like(Like { expr, pattern, .. }) => {
            collect(expr, columns);
            collect(pattern, columns);
        }
        _ => {}
    }
}

fn gives_null(op: Operator) -> bool {
    use Operator::{Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Plus};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | Plus | Minus | Multiply | Divide | Modulo)
}

fn not_null(needed: &BTreeSet<Column>, schema: &DFSchema) -> Vec<Expr> {
    let of_side = needed.iter().filter(|it| schema.index_of_column(it).is_ok_and(|at| schema.field(at).is_nullable()));
    of_side.map(|it| Expr::Column(it.clone()).is_not_null()).collect()
}
