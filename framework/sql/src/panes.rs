//! Sliding windows by panes: an aggregate that merges its partial rows takes each row once, into the pane that it shares
//! with its neighbours, instead of once for each window over it.

use std::sync::Arc;

use datafusion::common::{Column, DataFusionError, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::{Aggregate, Expr, Filter, LogicalPlan, Projection, lit};

use crate::functions::window::{window_of, window_start, window_starts};

/// Functions whose partial results may be merged in any order, and as often as there are windows over a pane.
const MERGEABLE: [&str; 19] = [
    "approx_distinct",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "max",
    "min",
    "regr_slope",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];
/// More panes than this in a slide cost more than they save.
const MAX_PANES_IN_SLIDE: i64 = 4;

/// Sliding windows and the panes that they are made of. In microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panes {
    /// Length of a window; a multiple of `pane_us`.
    pub size_us: i64,
    /// From the start of a window to that of the next; a multiple of `pane_us`.
    pub slide_us: i64,
    /// What the starts of windows are shifted by.
    pub offset_us: i64,
    /// Length of a pane.
    pub pane_us: i64,
}

impl Panes {
    fn new(size_us: i64, slide_us: i64, offset_us: i64) -> Option<Self> {
        let pane_us = greatest_common_divisor(size_us, slide_us);
        let worth = pane_us > 0 && slide_us / pane_us <= MAX_PANES_IN_SLIDE;
        worth.then_some(Self { size_us, slide_us, offset_us, pane_us })
    }
}

/// The aggregate with its rows in panes: where it had the window that holds a row, it has the last pane-aligned window that
/// does. None if its plan is another one, or a function of it needs the rows of a window in their order.
///
/// # Errors
/// If DataFusion refuses the plan that comes out.
pub fn by_panes(aggregate: &Aggregate) -> Result<Option<(Aggregate, Panes)>, DataFusionError> {
    let LogicalPlan::Projection(outer) = aggregate.input.as_ref() else { return Ok(None) };
    let LogicalPlan::Unnest(unnest) = outer.input.as_ref() else { return Ok(None) };
    let LogicalPlan::Projection(inner) = unnest.input.as_ref() else { return Ok(None) };
    let Some((start, time, panes)) = sliding(inner) else { return Ok(None) };
    let Some(window) = window_column(outer, &start) else { return Ok(None) };
    if !merges(aggregate, &window) {
        return Ok(None);
    }
    let pane = window_start().call(vec![time.clone(), lit(panes.pane_us), lit(panes.offset_us)]);
    let exprs = inner.expr.iter().map(|it| match named(it) {
        (name, Some(_)) if name == start.name => pane.clone().alias(name),
        _ => it.clone(),
    });
    let exprs = exprs.collect();
    let rows = LogicalPlan::Filter(Filter::try_new(time.is_not_null(), inner.input.clone())?);
    let inner = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(rows))?);
    let outer = LogicalPlan::Projection(Projection::try_new(outer.expr.clone(), Arc::new(inner))?);
    let (groups, functions) = (aggregate.group_expr.clone(), aggregate.aggr_expr.clone());
    Ok(Some((Aggregate::try_new(Arc::new(outer), groups, functions)?, panes)))
}

/// The column of window starts, the time that they are of, and the windows.
fn sliding(inner: &Projection) -> Option<(Column, Expr, Panes)> {
    inner.expr.iter().find_map(|it| {
        let (name, call) = named(it);
        let call = call.filter(|it| it.func == window_starts())?;
        let [time, size, slide, offset] = call.args.as_slice() else { return None };
        let panes = Panes::new(micros(size)?, micros(slide)?, micros(offset)?)?;
        Some((Column::new_unqualified(name), time.clone(), panes))
    })
}

/// The column that `window_of` makes of the starts, if nothing else is made of them.
fn window_column(outer: &Projection, start: &Column) -> Option<Column> {
    let mut users = outer.expr.iter().enumerate().filter(|(_, it)| it.column_refs().contains(start));
    let (at, user) = users.next()?;
    let (_, call) = named(user);
    if users.next().is_some() || call?.func != window_of() {
        return None;
    }
    let (qualifier, field) = outer.schema.qualified_field(at);
    Some(Column::new(qualifier.cloned(), field.name()))
}

/// Whether the window is one of the keys, nothing else is made of it, and the functions merge.
fn merges(aggregate: &Aggregate, window: &Column) -> bool {
    let is_key = |it: &Expr| matches!(it, Expr::Column(it) if it == window);
    let uses = |it: &&Expr| it.column_refs().contains(window);
    let keys = aggregate.group_expr.iter().filter(uses).collect::<Vec<_>>();
    matches!(keys.as_slice(), [key] if is_key(key))
        && aggregate.aggr_expr.iter().all(|it| !uses(&it) && is_mergeable(it))
}

fn is_mergeable(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_mergeable(&alias.expr),
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            MERGEABLE.contains(&func.name()) && !params.distinct && params.order_by.is_empty()
        }
        _ => false,
    }
}

fn named(expr: &Expr) -> (String, Option<&ScalarFunction>) {
    let call = match expr {
        Expr::Alias(alias) => alias.expr.as_ref(),
        other => other,
    };
    let call = match call {
        Expr::ScalarFunction(call) => Some(call),
        _ => None,
    };
    (expr.schema_name().to_string(), call)
}

fn micros(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(value), _) => *value,
        _ => None,
    }
}

fn greatest_common_divisor(one: i64, other: i64) -> i64 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}
