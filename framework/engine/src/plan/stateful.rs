//! The nodes of a plan that keep state, and the operators that they become.

use std::sync::Arc;

use datafusion::common::{DFSchema, DFSchemaRef, ExprSchema};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, lit};
use tidegate_sql::{by_panes, reads_stream};

use super::join::planned_join;
use crate::exec::leaf::Emission;
use crate::operators::OperatorSpec;
use crate::operators::aggregate::{AggregateSpec, GroupKey};

/// What a stateful node becomes.
pub(super) struct Planned {
    /// The kind of operator, as its state is called.
    pub(super) kind: &'static str,
    /// It neither drops nor closes anything, so it can't share the state of one that does.
    pub(super) complete: bool,
    /// Which of its rows the query sees.
    pub(super) emission: Emission,
    pub(super) spec: Box<dyn OperatorSpec>,
    /// What makes its rows, by port.
    pub(super) ports: Vec<LogicalPlan>,
}

/// True if a node keeps state over a stream.
pub(super) fn is_stateful(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Aggregate(aggregate) => reads_stream(&aggregate.input),
        LogicalPlan::Join(join) => reads_stream(&join.left) && reads_stream(&join.right),
        _ => false,
    }
}

/// The operator of a stateful node whose inputs are cut already. `schema` is that of the rows that it emits, `asked` what a
/// query in its output mode sees of an aggregate.
pub(super) fn planned(
    node: LogicalPlan,
    schema: &DFSchemaRef,
    asked: Emission,
) -> Result<Option<Planned>, DataFusionError> {
    match node {
        LogicalPlan::Aggregate(aggregate) => planned_aggregate(aggregate, schema, asked).map(Some),
        LogicalPlan::Join(join) => planned_join(join, schema).map(Some),
        _ => Ok(None),
    }
}

fn planned_aggregate(aggregate: Aggregate, schema: &DFSchemaRef, asked: Emission) -> Result<Planned, DataFusionError> {
    let (aggregate, panes) = match by_panes(&aggregate)? {
        Some((aggregate, panes)) => (aggregate, Some(panes)),
        None => (aggregate, None),
    };
    let (aggregate, keys) = with_plain_keys(aggregate)?;
    let complete = asked == Emission::Whole;
    let mut spec = AggregateSpec::new(complete, keys, Arc::clone(schema.inner()));
    spec.panes = panes;
    let ports = vec![LogicalPlan::Aggregate(aggregate)];
    Ok(Planned { kind: "aggregate", complete, emission: asked, spec: Box::new(spec), ports })
}

/// The aggregate with keys that hash and store well: a window by its end alone, a constant where there is no key.
fn with_plain_keys(aggregate: Aggregate) -> Result<(Aggregate, Vec<GroupKey>), DataFusionError> {
    let schema = aggregate.input.schema().clone();
    let mut keys = Vec::new();
    let mut exprs = Vec::new();
    for expr in aggregate.group_expr {
        if matches!(expr, Expr::GroupingSet(_)) {
            // Keys are made by DataFusion then; none of them is an event time.
            return Ok((Aggregate::try_new(aggregate.input, vec![expr], aggregate.aggr_expr)?, Vec::new()));
        }
        let (key, expr) = plain_key(expr, &schema)?;
        keys.push(key);
        exprs.push(expr);
    }
    if exprs.is_empty() {
        keys.push(GroupKey::Constant);
        exprs.push(lit(0_i8).alias("__all"));
    }
    Ok((Aggregate::try_new(aggregate.input, exprs, aggregate.aggr_expr)?, keys))
}

fn plain_key(expr: Expr, schema: &DFSchema) -> Result<(GroupKey, Expr), DataFusionError> {
    let (_, field) = expr.to_field(schema as &dyn ExprSchema)?;
    let event_time = tidegate_sql::event_time::event_time(&field).is_some();
    match tidegate_sql::event_time::window_size_us(&field) {
        Some(size_us) => {
            let end = datafusion::functions::core::get_field().call(vec![expr, lit("end")]);
            Ok((GroupKey::Window { size_us, event_time }, end))
        }
        None if event_time => Ok((GroupKey::EventTime, expr)),
        None => Ok((GroupKey::Plain, expr)),
    }
}
