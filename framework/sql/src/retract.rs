//! Aggregations over aggregations in update and complete mode: the lower ones pass on what they changed, rows as they were (-1)
//! and as they are (+1), and the upper ones take back and add (`chained.aggregates: retract`).
//!
//! ```text
//! upper:  Projection (what was asked for, from counts and sums)
//!           Changelog                            // not at the top in complete mode
//!             Aggregate (counts and sums of changes; the first one counts the rows)
//! between:      Filter, Projection …             // pass the column of changes on, which is their last
//! lower:          Changelog
//!                   Aggregate
//! ```

mod functions;

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias, Union, cast, ident,
    lit,
};
use tidegate_api::OutputMode;

use crate::check::{Refusal, reads_stream};
use crate::event_time::is_session;
use crate::nodes::{CHANGE, Changelog, change_of, extension, with_change};
use functions::{Parts, ROWS};

/// The last column of a sink's rows, TINYINT: +1 for a row that is there now, -1 for one that no longer is.
pub const CHANGE_COLUMN: &str = "_change";

/// True if more than one aggregation of a plan reads a stream.
pub fn several_aggregates(plan: &LogicalPlan) -> bool {
    let mut count = 0;
    // The visitor does not fail.
    let _ = plan.apply(|node| {
        count += usize::from(is_aggregate(node));
        Ok(TreeNodeRecursion::Continue)
    });
    count > 1
}

/// The analysed plan with upper aggregations that take back what lower ones changed. In update mode its rows have
/// [`CHANGE_COLUMN`] as their last column, in complete mode they are the whole result.
///
/// # Errors
/// Everything by which the result would not be exact.
pub fn retracted(plan: &LogicalPlan, mode: OutputMode) -> Result<LogicalPlan, Vec<Refusal>> {
    let mut retraction = Retraction { mode, refusals: Vec::new() };
    let made = if mode == OutputMode::Complete { retraction.whole(plan) } else { retraction.updates(plan) };
    match made {
        Ok(plan) if retraction.refusals.is_empty() => Ok(plan),
        Err(error) if retraction.refusals.is_empty() => Err(vec![Refusal { message: error.strip_backtrace() }]),
        _ => Err(retraction.refusals),
    }
}

fn is_aggregate(node: &LogicalPlan) -> bool {
    matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(Distinct::All(_))) && reads_stream(node)
}

fn aggregates(plan: &LogicalPlan) -> bool {
    // The visitor does not fail.
    plan.exists(|node| Ok(is_aggregate(node))).unwrap_or(false)
}

/// An aggregation as such: DISTINCT is one by all columns.
fn as_aggregate(plan: &LogicalPlan) -> Result<Option<Aggregate>> {
    match plan {
        _ if !is_aggregate(plan) => Ok(None),
        LogicalPlan::Aggregate(aggregate) => Ok(Some(aggregate.clone())),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
            Aggregate::try_new(input.clone(), columns, Vec::new()).map(Some)
        }
        _ => Ok(None),
    }
}

/// For people.
fn described(aggregate: &Aggregate) -> String {
    let keys: Vec<_> = aggregate.group_expr.iter().map(ToString::to_string).collect();
    if keys.is_empty() {
        "the aggregation without GROUP BY".to_owned()
    } else {
        format!("the aggregation GROUP BY {}", keys.join(", "))
    }
}

struct Retraction {
    mode: OutputMode,
    refusals: Vec<Refusal>,
}

impl Retraction {
    fn refuse(&mut self, message: String) {
        let refusal = Refusal { message: format!("{} mode: {message}", self.mode) };
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }

    /// The changes of the result, as a sink gets them.
    fn updates(&mut self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        let taken = plan.schema().fields().iter().any(|it| it.name().eq_ignore_ascii_case(CHANGE_COLUMN));
        if taken {
            self.refuse(format!(
                "the result has a column {CHANGE_COLUMN}, by which the sink is told what is taken back: give it another name"
            ));
        }
        let plan = self.changes(plan)?;
        let change = cast(change_of(plan.schema()), DataType::Int8).alias(CHANGE_COLUMN);
        let columns = rows_of(plan.schema()).chain([change]).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
    }

    /// The same plan over upper aggregations whose whole result is kept.
    fn whole(&mut self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        let made = plan.clone().transform_down(|node| match as_aggregate(&node)? {
            Some(aggregate) => {
                let (mut plan, columns) = self.aggregate(&aggregate)?;
                // Asking for the number of rows keeps the optimiser from leaving it out.
                if plan.schema().has_column_with_unqualified_name(ROWS) && !aggregate.group_expr.is_empty() {
                    let there = ident(ROWS).not_eq(lit(0_i64));
                    plan = LogicalPlan::Filter(Filter::try_new(there, Arc::new(plan))?);
                }
                let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
                Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump))
            }
            None => Ok(Transformed::no(node)),
        })?;
        Ok(made.data)
    }

    /// The changes of a plan: its columns, and [`CHANGE`] as the last.
    fn changes(&mut self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        if let Some(aggregate) = as_aggregate(plan)? {
            return self.changes_of_groups(&aggregate);
        }
        match plan {
            LogicalPlan::Projection(it) => {
                self.constant(&it.expr, "a SELECT");
                let input = self.changes(&it.input)?;
                let columns = it.expr.iter().cloned().chain([change_of(input.schema())]).collect();
                Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?))
            }
            LogicalPlan::Filter(it) => {
                self.constant(std::slice::from_ref(&it.predicate), "a WHERE or HAVING");
                let input = self.changes(&it.input)?;
                Ok(LogicalPlan::Filter(Filter::try_new(it.predicate.clone(), Arc::new(input))?))
            }
            LogicalPlan::SubqueryAlias(it) => {
                let input = self.changes(&it.input)?;
                Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), it.alias.clone())?))
            }
            LogicalPlan::Union(it) => self.union(it),
            // What is read once stays as it is.
            _ if !aggregates(plan) => added(plan),
            other => {
                let what = other.display().to_string();
                let what = what.split(':').next().unwrap_or_default().to_owned();
                self.refuse(format!(
                    "{what} stands above an aggregation whose rows are taken back when they change; only SELECT, WHERE, \
                     HAVING, UNION ALL and further aggregations can; use append mode, where each group is final once it is \
                     emitted"
                ));
                added(plan)
            }
        }
    }

    fn union(&mut self, union: &Union) -> Result<LogicalPlan> {
        let inputs = union.inputs.iter().map(|it| self.changes(it).map(Arc::new)).collect::<Result<Vec<_>>>()?;
        Ok(LogicalPlan::Union(Union { inputs, schema: with_change(&union.schema)? }))
    }

    fn changes_of_groups(&mut self, aggregate: &Aggregate) -> Result<LogicalPlan> {
        let (plan, columns) = self.aggregate(aggregate)?;
        let changes = extension(Changelog::try_new(plan, self.mode == OutputMode::Complete)?);
        let change = change_of(changes.schema());
        LogicalPlanBuilder::from(changes).project(columns.into_iter().chain([change]))?.build()
    }

    /// An aggregation, of changes if it stands over another one, and the columns that were asked for.
    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<(LogicalPlan, Vec<Expr>)> {
        let what = described(aggregate);
        let columns = aggregate.schema.columns();
        if aggregate.schema.fields().iter().take(aggregate.group_expr.len()).any(|it| is_session(it)) {
            self.refuse(format!(
                "{what} is one of several aggregations, and sessions take no rows back: use append mode, or window(time, size)"
            ));
        }
        if !aggregates(&aggregate.input) {
            return Ok((LogicalPlan::Aggregate(aggregate.clone()), columns.into_iter().map(Expr::Column).collect()));
        }
        self.constant(&aggregate.group_expr, &what);
        self.constant(&aggregate.aggr_expr, &what);
        let input = self.changes(&aggregate.input)?;
        let mut parts = Parts::of(input.schema().clone());
        let key_count = columns.len() - aggregate.aggr_expr.len();
        let mut asked: Vec<Expr> = columns.iter().take(key_count).cloned().map(Expr::Column).collect();
        for (expr, column) in aggregate.aggr_expr.iter().zip(columns.into_iter().skip(key_count)) {
            let value = match parts.value(expr)? {
                Ok(value) => value,
                Err(why) => {
                    self.refuse(format!("{expr} of {what}, which stands over another one: {why}"));
                    lit(0)
                }
            };
            asked.push(value.alias_qualified(column.relation, column.name));
        }
        let plan = Aggregate::try_new(Arc::new(input), aggregate.group_expr.clone(), parts.finish())?;
        Ok((LogicalPlan::Aggregate(plan), asked))
    }

    /// What is taken back must be what was added: an epoch later an expression must have the value that it had.
    fn constant(&mut self, exprs: &[Expr], place: &str) {
        for expr in exprs {
            let subquery = |it: &Expr| {
                matches!(it, Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_))
            };
            let reads_table = expr.exists(|it| Ok(subquery(it))).unwrap_or(true);
            if expr.is_volatile() || reads_table {
                let why = if reads_table { "reads a table" } else { "goes by the clock or by chance" };
                self.refuse(format!(
                    "{expr} in {place} above an aggregation {why}: it may give another value when a row is taken back than \
                     when the row came; move it below the aggregation, or use append mode"
                ));
            }
        }
    }
}

/// Rows that are never taken back.
fn added(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let columns = plan.schema().columns().into_iter().map(Expr::Column).chain([lit(1_i64).alias(CHANGE)]);
    LogicalPlanBuilder::from(plan.clone()).project(columns)?.build()
}

/// The columns without the change.
fn rows_of(schema: &DFSchema) -> impl Iterator<Item = Expr> {
    let count = schema.fields().len().saturating_sub(1);
    schema.columns().into_iter().take(count).map(Expr::Column)
}
