//! Rules between planning and optimising: deduplication, one type of time, casts of bytes that can't fail, honest marks on
//! unions.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast, InList};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, LogicalPlan, TryCast, Union, cast};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::function_rewrite::ApplyFunctionRewrites;
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;

use crate::arithmetic::{Arithmetic, DecimalAverages};
use crate::check::reads_stream;
use crate::event_time::{DELAY, SESSION, WATERMARK, WINDOW};
use crate::functions::text::lossy_string;
use crate::grouping_sets::GroupingSets;
use crate::nodes::of_distinct;

pub(crate) fn rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        Arc::new(Deduplications),
        Arc::new(ApplyFunctionRewrites::new(vec![
            Arc::new(TimeComparisons),
            Arc::new(BytesAsText),
            Arc::new(Arithmetic),
        ])),
        Arc::new(ResolveGroupingFunction::new()),
        Arc::new(TypeCoercion::new()),
        Arc::new(DecimalAverages),
        Arc::new(GroupingSets),
        Arc::new(UnionMarks),
    ]
}

/// `DISTINCT ON` over a stream keeps the first row that comes, which no aggregate can say. One with ORDER BY is left for
/// the checker to refuse; over static tables DataFusion's own rules do.
#[derive(Debug)]
struct Deduplications;

impl AnalyzerRule for Deduplications {
    fn name(&self) -> &str {
        "deduplications"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let changed = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Distinct(Distinct::On(it)) if it.sort_expr.is_none() && reads_stream(&it.input) => {
                Ok(Transformed::yes(of_distinct(it.on_expr, it.select_expr, it.input)?))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(changed.data)
    }
}

/// Compares a timestamp with a text or a date as a timestamp of its own kind. DataFusion would take both to
/// nanoseconds, which end in 2262.
#[derive(Debug)]
struct TimeComparisons;

impl FunctionRewrite for TimeComparisons {
    fn name(&self) -> &str {
        "time_comparisons"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
                let (left, right) = alike(*left, *right, schema);
                Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))))
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let (expr, low) = alike(*expr, *low, schema);
                let (expr, high) = alike(expr, *high, schema);
                let between = Between::new(Box::new(expr), negated, Box::new(low), Box::new(high));
                Ok(Transformed::yes(Expr::Between(between)))
            }
            Expr::InList(InList { expr, list, negated }) => {
                let mut expr = *expr;
                let mut items = Vec::with_capacity(list.len());
                for item in list {
                    let (same, item) = alike(expr, item, schema);
                    expr = same;
                    items.push(item);
                }
                Ok(Transformed::yes(Expr::InList(InList::new(Box::new(expr), items, negated))))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// Casts the side that is a text or a date to the type of the side that is a timestamp.
fn alike(left: Expr, right: Expr, schema: &DFSchema) -> (Expr, Expr) {
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else {
        return (left, right);
    };
    let looser = |it: &DataType| it.is_string() || matches!(it, DataType::Date32);
    match (&left_type, &right_type) {
        (DataType::Timestamp(..), other) if looser(other) => (left, cast(right, left_type)),
        (other, DataType::Timestamp(..)) if looser(other) => (cast(left, right_type), right),
        _ => (left, right),
    }
}

/// Casts of BINARY to STRING: DataFusion's fails the whole batch at the first byte that is no UTF-8.
#[derive(Debug)]
struct BytesAsText;

impl FunctionRewrite for BytesAsText {
    fn name(&self) -> &str {
        "bytes_as_text"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let (inner, target) = match &expr {
            Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => (expr, field),
            _ => return Ok(Transformed::no(expr)),
        };
        if *target.data_type() != DataType::Utf8 || !inner.get_type(schema)?.is_binary() {
            return Ok(Transformed::no(expr));
        }
        Ok(Transformed::yes(lossy_string().call(vec![inner.as_ref().clone()])))
    }
}

/// A column of a union is event time if it is in all inputs: one stream without a watermark would never be waited for.
/// Type coercion merges marks instead, and the optimiser may drop them again.
#[derive(Debug)]
struct UnionMarks;

impl AnalyzerRule for UnionMarks {
    fn name(&self) -> &str {
        "union_marks"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let fixed = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Union(union) => Ok(Transformed::yes(LogicalPlan::Union(shared_marks(union)?))),
            LogicalPlan::TableScan(_) => Ok(Transformed::no(plan)),
            other => Ok(Transformed::yes(other.recompute_schema()?)),
        })?;
        Ok(fixed.data)
    }
}

fn shared_marks(union: Union) -> Result<Union> {
    let fields = union.schema.iter().enumerate().map(|(index, (qualifier, field))| {
        let mut field: Field = field.as_ref().clone();
        field.metadata_mut().retain(|key, value| {
            let ours = [WATERMARK, DELAY, WINDOW, SESSION].contains(&key.as_str());
            !ours || union.inputs.iter().all(|it| it.schema().field(index).metadata().get(key) == Some(value))
        });
        (qualifier.cloned(), Arc::new(field))
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), union.schema.metadata().clone())?;
    Ok(Union { schema: Arc::new(schema), inputs: union.inputs })
}
