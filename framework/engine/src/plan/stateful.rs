//! The nodes of a plan that keep state, and the operators that they become.

use std::sync::Arc;

use arrow_schema::{Field, Schema};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, DFSchemaRef, ExprSchema, internal_err, plan_datafusion_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::functions::core::get_field;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, FetchType, Limit, LogicalPlan, LogicalPlanBuilder, lit, when,
};
use tidegate_sql::event_time::{EventTime, event_time, is_session, window_size_us};
use tidegate_sql::{Changelog, Deduplicate, UserState, by_panes, reads_stream};

use super::join::planned_join;
use super::stage_leaf::reads_changes;
use crate::exec::leaf::Emission;
use crate::operators::OperatorSpec;
use crate::operators::aggregate::{AggregateSpec, GroupKey};
use crate::operators::deduplicate::DeduplicateSpec;
use crate::operators::limit::LimitSpec;
use crate::operators::session::SessionSpec;
use crate::operators::user_state::UserStateSpec;
use crate::user::Code;

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

/// True if a node keeps state over a stream. `asked` is what a query in its output mode sees of an aggregate.
pub(super) fn is_stateful(node: &LogicalPlan, asked: Emission) -> bool {
    let stateful = match node {
        LogicalPlan::Aggregate(_) => true,
        LogicalPlan::Join(join) => return reads_stream(&join.left) && reads_stream(&join.right),
        LogicalPlan::Extension(it) => {
            let any = it.node.as_any();
            any.is::<Deduplicate>() || any.is::<UserState>() || any.is::<Changelog>()
        }
        // Over the whole result of an aggregation a limit is one of each epoch.
        LogicalPlan::Limit(limit) => limit.fetch.is_some() && (asked != Emission::Whole || !aggregates(&limit.input)),
        _ => false,
    };
    stateful && reads_stream(node)
}

fn aggregates(plan: &LogicalPlan) -> bool {
    // The visitor does not fail.
    let found = |node: &LogicalPlan| matches!(node, LogicalPlan::Aggregate(_)) && reads_stream(node);
    plan.exists(|node| Ok(found(node))).unwrap_or(false)
}

/// What a query sees of an aggregate.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) emission: Emission,
    /// It keeps all groups, and late rows too.
    pub(super) complete: bool,
}

impl Asked {
    /// What a stateful node is asked for where its reader wants `emission`, with the node that answers: changes are those of the
    /// aggregate below.
    pub(super) fn of(node: LogicalPlan, emission: Emission) -> (LogicalPlan, Self) {
        if let LogicalPlan::Extension(it) = &node
            && let Some(changes) = it.node.as_any().downcast_ref::<Changelog>()
        {
            return (changes.input.clone(), Self { emission: Emission::Changes, complete: changes.complete });
        }
        (node, Self { emission, complete: emission == Emission::Whole })
    }
}

/// The operator of a stateful node whose inputs are cut already. `schema` is that of the rows that it emits.
pub(super) fn planned(node: &LogicalPlan, schema: &DFSchemaRef, asked: Asked) -> Result<Planned, DataFusionError> {
    match node {
        LogicalPlan::Aggregate(aggregate) => match session_key(aggregate)? {
            Some(at) => planned_sessions(aggregate, at, schema, asked),
            None => planned_aggregate(aggregate.clone(), schema, asked),
        },
        LogicalPlan::Join(join) => planned_join(join.clone(), schema),
        LogicalPlan::Limit(limit) => planned_limit(limit),
        LogicalPlan::Extension(it) => {
            let any = it.node.as_any();
            match (any.downcast_ref::<Deduplicate>(), any.downcast_ref::<UserState>()) {
                (Some(node), _) => planned_deduplication(node),
                (_, Some(node)) => planned_user_state(node),
                _ => internal_err!("no operator for {}", node.display()),
            }
        }
        other => internal_err!("no operator for {}", other.display()),
    }
}

fn planned_limit(limit: &Limit) -> Result<Planned, DataFusionError> {
    let FetchType::Literal(Some(most)) = limit.get_fetch_type()? else {
        return plan_err!("limit: expected a constant number of rows");
    };
    let (spec, ports) = (Box::new(LimitSpec::new(most)), vec![limit.input.as_ref().clone()]);
    Ok(Planned { kind: "limit", complete: false, emission: Emission::Rows, spec, ports })
}

fn planned_deduplication(node: &Deduplicate) -> Result<Planned, DataFusionError> {
    let schema = node.input.schema();
    let mut columns: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
    let mut spec = DeduplicateSpec::new(Arc::clone(schema.inner()), Vec::new());
    for key in &node.keys {
        let name = match key {
            Expr::Column(column) => column.name.clone(),
            other => other.schema_name().to_string(),
        };
        for (part, is_time, key) in state_keys(key, schema)? {
            if is_time {
                spec.pane = Some(spec.keys.len());
            }
            columns.push(key.alias(format!("__key_{}", spec.keys.len())));
            spec.keys.push(format!("{name}{part}"));
        }
    }
    if let Some((time, field)) = node.event_time()? {
        columns.push(end_of(time, &field).alias("__time"));
        spec.timed = true;
    }
    if node.within_watermark {
        let delay_ms =
            node.delay_ms()?.ok_or_else(|| plan_datafusion_err!("deduplication within an unknown watermark"))?;
        spec.within_us = Some(delay_ms.saturating_mul(1000));
    }
    let plan = LogicalPlanBuilder::from(node.input.clone()).project(columns)?.build()?;
    Ok(Planned {
        kind: "deduplicate",
        complete: false,
        emission: Emission::Rows,
        spec: Box::new(spec),
        ports: vec![plan],
    })
}

fn planned_user_state(node: &UserState) -> Result<Planned, DataFusionError> {
    let Ok(code) = node.step.code.0.clone().downcast::<Code>() else { return internal_err!("user code is not ours") };
    let mut columns = node.columns();
    let count = columns.len();
    columns.extend(node.keys());
    let timed = node.event_time()?;
    let is_timed = timed.is_some();
    columns.extend(timed.map(|(time, field)| end_of(time, &field).alias("__time")));
    let step = &node.step;
    let output = Arc::new(Schema::new(step.output.clone()));
    let spec = UserStateSpec::new(step.operation, step.keys.clone(), count, output, is_timed, code);
    let plan = LogicalPlanBuilder::from(node.input.clone()).project(columns)?.build()?;
    let (kind, emission) = ("user-state", Emission::Rows);
    Ok(Planned { kind, complete: false, emission, spec: Box::new(spec), ports: vec![plan] })
}

/// A key as it is kept, with what to add to its name and whether the watermark passes it: windows by their end alone, sessions
/// by start and end.
fn state_keys(key: &Expr, schema: &DFSchema) -> Result<Vec<(&'static str, bool, Expr)>, DataFusionError> {
    let (_, field) = key.to_field(schema as &dyn ExprSchema)?;
    let part = |name: &str| part(key.clone(), name);
    let is_time = event_time(&field).is_some();
    Ok(if is_session(&field) {
        vec![(".start", false, part("start")), (".end", is_time, part("end"))]
    } else if window_size_us(&field).is_some() {
        vec![(".end", is_time, part("end"))]
    } else {
        vec![("", is_time, key.clone())]
    })
}

/// The `start` or `end` of a window or session.
pub(super) fn part(of: Expr, name: &str) -> Expr {
    get_field().call(vec![of, lit(name)])
}

/// The end of a window that may be null: a part of a struct may have a value where the struct is null.
pub(super) fn end_or_null(window: Expr, field: &Field) -> Result<Expr, DataFusionError> {
    let end = part(window.clone(), "end");
    if field.is_nullable() { when(window.is_not_null(), end).end() } else { Ok(end) }
}

/// What of an event time is compared with the watermark.
pub(super) fn end_of(time: Expr, field: &Field) -> Expr {
    match event_time(field) {
        Some(EventTime::Window { .. } | EventTime::Session) => part(time, "end"),
        Some(EventTime::Instant) | None => time,
    }
}

fn planned_aggregate(aggregate: Aggregate, schema: &DFSchemaRef, asked: Asked) -> Result<Planned, DataFusionError> {
    let retracts = reads_changes(&aggregate.input);
    let (aggregate, panes) = match by_panes(&aggregate)? {
        Some((aggregate, panes)) => (aggregate, Some(panes)),
        None => (aggregate, None),
    };
    let (aggregate, keys) = with_plain_keys(aggregate)?;
    let Asked { emission, complete } = asked;
    let mut spec = AggregateSpec::new(complete, keys, Arc::clone(schema.inner()));
    (spec.panes, spec.retracts) = (panes, retracts);
    let ports = vec![LogicalPlan::Aggregate(aggregate)];
    Ok(Planned { kind: "aggregate", complete, emission, spec: Box::new(spec), ports })
}

/// The key that is a session.
pub(super) fn session_key(aggregate: &Aggregate) -> Result<Option<usize>, DataFusionError> {
    let schema = aggregate.input.schema();
    for (at, key) in aggregate.group_expr.iter().enumerate() {
        if is_session(&key.to_field(schema)?.1) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Sessions are grouped by start and end below, and merged by the operator.
fn planned_sessions(
    aggregate: &Aggregate,
    at: usize,
    schema: &DFSchemaRef,
    asked: Asked,
) -> Result<Planned, DataFusionError> {
    let mut keys = Vec::new();
    let mut timed = false;
    for (index, key) in aggregate.group_expr.iter().enumerate() {
        if index == at {
            timed = event_time(&key.to_field(aggregate.input.schema())?.1).is_some();
            keys.extend([part(key.clone(), "start"), part(key.clone(), "end")]);
        } else {
            keys.push(key.clone());
        }
    }
    let Asked { emission, complete } = asked;
    let below = Aggregate::try_new(aggregate.input.clone(), keys, aggregate.aggr_expr.clone())?;
    let spec = SessionSpec::new(at, timed, complete, Arc::clone(schema.inner()));
    let ports = vec![LogicalPlan::Aggregate(below)];
    Ok(Planned { kind: "session", complete, emission, spec: Box::new(spec), ports })
}

/// The aggregate with keys that hash and store well: a window by its end alone, a constant where there is no key.
fn with_plain_keys(aggregate: Aggregate) -> Result<(Aggregate, Vec<GroupKey>), DataFusionError> {
    let schema = aggregate.input.schema().clone();
    let mut keys = Vec::new();
    let mut exprs = Vec::new();
    for expr in aggregate.group_expr {
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
    let event_time = event_time(&field).is_some();
    match window_size_us(&field) {
        Some(size_us) => Ok((GroupKey::Window { size_us, event_time }, end_or_null(expr, &field)?)),
        None if event_time => Ok((GroupKey::EventTime, expr)),
        None => Ok((GroupKey::Plain, expr)),
    }
}
