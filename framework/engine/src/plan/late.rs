//! What makes the rows that stateful operators drop, for the sinks that ask for them: the rows that an operator reads, with all
//! columns of what it reads, and the time that decides whether they are late.

use std::collections::BTreeMap;
use std::mem::discriminant;

use arrow_schema::FieldRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, Extension, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection,
};
use tidegate_sql::event_time::{event_time, event_time_columns, window_size_us};
use tidegate_sql::{Deduplicate, KeepColumns, UserState};

use super::stateful::{end_of, end_or_null, is_stateful, session_key};
use crate::exec::leaf::Emission;

/// What DataFusion calls an expression that is computed once for several.
const COMMON: &str = "__common_expr_";

/// A port of a stateful operator that may drop rows.
pub(super) struct LatePort {
    /// Its number.
    pub(super) port: usize,
    /// What tells it from the other ports of its operator.
    pub(super) suffix: &'static str,
    /// What makes the rows: those of the document, then the time.
    pub(super) plan: LogicalPlan,
    /// The columns of the document.
    pub(super) names: Vec<String>,
    /// Rows are late by a time; without one nothing is, but may be too far ahead.
    pub(super) timed: bool,
}

/// A port as it stands in a plan.
struct Port<'p> {
    suffix: &'static str,
    input: &'p LogicalPlan,
    /// So many of its columns are shown, the first ones.
    columns: usize,
    time: Option<Expr>,
}

impl<'p> Port<'p> {
    fn new(suffix: &'static str, input: &'p LogicalPlan, time: Option<Expr>) -> Self {
        Self { suffix, input, columns: input.schema().fields().len(), time }
    }
}

/// The stateful nodes of a sink's plan, each beside itself in the plan that leaves out no column; none if they are not the
/// same nodes.
pub(super) fn beside(plan: &LogicalPlan, wide: &LogicalPlan) -> Vec<(LogicalPlan, LogicalPlan)> {
    let (nodes, wide) = (stateful_nodes(plan), stateful_nodes(wide));
    let same = nodes.len() == wide.len() && nodes.iter().zip(&wide).all(|(node, wide)| is_same(node, wide));
    if same { nodes.into_iter().zip(wide).collect() } else { Vec::new() }
}

fn stateful_nodes(plan: &LogicalPlan) -> Vec<LogicalPlan> {
    let mut found = Vec::new();
    // The visitor does not fail.
    let _ = plan.apply(|node| {
        found.extend(is_stateful(node, Emission::Closed).then(|| node.clone()));
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// True if two nodes do the same with rows that differ by their columns alone.
fn is_same(node: &LogicalPlan, wide: &LogicalPlan) -> bool {
    let joins = |it: &LogicalPlan| if let LogicalPlan::Join(join) = it { Some(join.join_type) } else { None };
    let tables = |it: &LogicalPlan| it.inputs().into_iter().map(tables_of).collect::<Vec<_>>();
    let texts = |it: &LogicalPlan| it.expressions().iter().map(text_of).collect::<Vec<_>>();
    discriminant(node) == discriminant(wide)
        && texts(node) == texts(wide)
        && joins(node) == joins(wide)
        && tables(node) == tables(wide)
}

/// An expression without the numbers that the optimiser gives to what it computes once, which differ from plan to plan.
fn text_of(expr: &Expr) -> String {
    let text = expr.to_string();
    let parts = text.split(COMMON).map(|it| it.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    parts.collect::<Vec<_>>().join(COMMON)
}

fn tables_of(plan: &LogicalPlan) -> Vec<String> {
    let mut found = Vec::new();
    // The visitor does not fail.
    let _ = plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found.push(scan.table_name.to_string());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// The ports of a node whose inputs are cut already, but those whose rows have no columns; `wide` is the same node in the plan
/// that leaves out no column.
pub(super) fn late_ports(node: &LogicalPlan, wide: Option<&LogicalPlan>, complete: bool) -> Result<Vec<LatePort>> {
    let mut wide = wide.map(|it| ports(it, complete)).transpose()?.unwrap_or_default().into_iter();
    let mut found = Vec::new();
    for (number, port) in ports(node, complete)?.into_iter().enumerate() {
        let timed = port.time.is_some();
        let wide = wide.next().filter(|it| it.time.is_some() == timed);
        let (rows, time) = match wide.as_ref().map(|it| with_all(it.input)).transpose()?.flatten() {
            Some(rows) => (Some(rows), wide.and_then(|it| it.time)),
            None => (kept(port.input, port.columns)?, port.time),
        };
        let Some((plan, names)) = rows else { continue };
        let shown = (0..names.len()).map(shown_column).chain(time.map(|it| it.alias("__time")));
        let plan = LogicalPlanBuilder::from(plan).project(shown)?.build()?;
        found.push(LatePort { port: number, suffix: port.suffix, plan, names, timed });
    }
    Ok(found)
}

fn ports(node: &LogicalPlan, complete: bool) -> Result<Vec<Port<'_>>> {
    let one = |input, time| Ok(vec![Port::new("", input, time)]);
    match node {
        LogicalPlan::Aggregate(aggregate) => one(aggregate.input.as_ref(), time_of_groups(aggregate, complete)?),
        LogicalPlan::Limit(limit) => one(limit.input.as_ref(), None),
        LogicalPlan::Join(join) => ports_of_join(join),
        LogicalPlan::Extension(Extension { node }) => {
            let end = |time: Option<(Expr, FieldRef)>| time.map(|(time, field)| end_of(time, &field));
            let node = node.as_any();
            if let Some(node) = node.downcast_ref::<Deduplicate>() {
                one(&node.input, end(node.event_time()?))
            } else if let Some(node) = node.downcast_ref::<UserState>() {
                let columns = node.columns().len();
                Ok(vec![Port { columns, ..Port::new("", &node.input, end(node.event_time()?)) }])
            } else {
                Ok(Vec::new())
            }
        }
        _ => Ok(Vec::new()),
    }
}

/// As the operators do: sessions drop in each mode, others not in complete mode; a window goes before a plain time.
fn time_of_groups(aggregate: &Aggregate, complete: bool) -> Result<Option<Expr>> {
    let schema = aggregate.input.schema();
    let session = session_key(aggregate)?;
    if complete && session.is_none() {
        return Ok(None);
    }
    let mut plain = None;
    for (at, key) in aggregate.group_expr.iter().enumerate() {
        let (_, field) = key.to_field(schema)?;
        if event_time(&field).is_none() || session.is_some_and(|it| it != at) {
            continue;
        }
        if session.is_some() || window_size_us(&field).is_some() {
            return end_or_null(key.clone(), &field).map(Some);
        }
        plain = plain.or_else(|| Some(key.clone()));
    }
    Ok(plain)
}

fn ports_of_join(join: &Join) -> Result<Vec<Port<'_>>> {
    let sides = match join.join_type {
        JoinType::RightSemi => [&join.right, &join.left],
        _ => [&join.left, &join.right],
    };
    let ports = sides.into_iter().zip(["-left", "-right"]).map(|(input, suffix)| {
        let schema = input.schema();
        let time = event_time_columns(schema.as_arrow()).first().map(|it| it.0);
        let time = time.map(|at| end_of(Expr::Column(Column::from(schema.qualified_field(at))), schema.field(at)));
        Ok(Port::new(suffix, input.as_ref(), time))
    });
    ports.collect()
}

/// The rows of a plan with all columns that stand at [`KeepColumns`] below it, under the names of [`shown_column`]; nothing if
/// there is none, or more between than what the optimiser puts there.
fn with_all(plan: &LogicalPlan) -> Result<Option<(LogicalPlan, Vec<String>)>> {
    match plan {
        LogicalPlan::Extension(Extension { node }) => match node.as_any().downcast_ref::<KeepColumns>() {
            Some(node) => kept(&node.input, node.input.schema().fields().len()),
            None => Ok(None),
        },
        LogicalPlan::Filter(filter) => with_all(&filter.input)?
            .map(|(plan, names)| {
                let filter = Filter::try_new(filter.predicate.clone(), plan.into())?;
                Ok((LogicalPlan::Filter(filter), names))
            })
            .transpose(),
        LogicalPlan::Projection(projection) => with_all(&projection.input)?
            .map(|(plan, names)| {
                let exprs = projection.expr.iter().cloned().chain((0..names.len()).map(shown_column));
                let projection = Projection::try_new(exprs.collect(), plan.into())?;
                Ok((LogicalPlan::Projection(projection), names))
            })
            .transpose(),
        _ => Ok(None),
    }
}

/// The rows of a plan with its first columns a second time, under the names of [`shown_column`], and the names to show; nothing if
/// it has none.
fn kept(plan: &LogicalPlan, columns: usize) -> Result<Option<(LogicalPlan, Vec<String>)>> {
    let schema = plan.schema();
    let own: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
    if own.is_empty() {
        return Ok(None);
    }
    let again = own.iter().take(columns).enumerate().map(|(at, it)| it.clone().alias(shown_name(at)));
    let exprs: Vec<Expr> = own.iter().cloned().chain(again).collect();
    let plan = LogicalPlanBuilder::from(plan.clone()).project(exprs)?.build()?;
    let names = names_of(schema).into_iter().take(columns).collect();
    Ok(Some((plan, names)))
}

fn shown_name(at: usize) -> String {
    format!("__late_{at}")
}

fn shown_column(at: usize) -> Expr {
    Expr::Column(Column::new_unqualified(shown_name(at)))
}

/// The names of columns; those of one name say which table they are of.
fn names_of(schema: &DFSchema) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    schema.fields().iter().for_each(|it| *counts.entry(it.name()).or_default() += 1);
    let names = schema.iter().map(|(qualifier, field)| match qualifier {
        Some(table) if counts.get(field.name().as_str()).is_some_and(|it| *it > 1) => {
            format!("{table}.{}", field.name())
        }
        _ => field.name().clone(),
    });
    names.collect()
}
