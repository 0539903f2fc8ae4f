//! From a join of two streams to its operator: where the keys are, when rows are over, what is left of the condition.

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType, internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use tidegate_sql::event_time::{EventTime, event_time_columns, window_size_us};
use tidegate_sql::{JoinKey, StreamJoin, TimeBound};

use super::stateful::{Planned, part};
use crate::exec::leaf::Emission;
use crate::operators::join::{Eviction, JoinKind, JoinSpec, Residual, Side, SidePlan, Within};

/// The operator of a join whose inputs are cut already.
pub(super) fn planned_join(join: Join, schema: &DFSchemaRef) -> Result<Planned> {
    let join = if join.join_type == JoinType::RightSemi { swapped(join)? } else { join };
    let kind = match join.join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        JoinType::LeftSemi => JoinKind::Semi,
        other => return plan_err!("{other} join is not possible between two streams"),
    };
    let condition = StreamJoin::of(&join);
    if condition.keys.is_empty() {
        return plan_err!("join of two streams without an equality between them: add a condition such as a.id = b.id");
    }
    let mut left = SideBuilder::new(join.left.as_ref().clone());
    let mut right = SideBuilder::new(join.right.as_ref().clone());
    for (number, key) in condition.keys.iter().enumerate() {
        let (l, r) = plain_keys(key, &left, &right)?;
        left.add_key(number, l)?;
        right.add_key(number, r)?;
    }
    if let Some(number) = condition.time_key {
        left.time_key(number)?;
        right.time_key(number)?;
    }
    left.times()?;
    right.times()?;
    left.bounds(&condition.left, &right, &condition.right)?;
    right.bounds(&condition.right, &left, &condition.left)?;
    let (only_left, rest) = over(condition.residual, &left.schema);
    let (only_right, both) = over(rest, &right.schema);
    let keeps = |side: JoinType| join.join_type == side || join.join_type == JoinType::Full;
    let residual = residual(both, &left.schema, &right.schema)?;
    let (left_port, left) = left.finish(only_left, keeps(JoinType::Left))?;
    let (right_port, right) = right.finish(only_right, keeps(JoinType::Right))?;
    let spec = JoinSpec {
        kind,
        sides: [left, right],
        null_safe: condition.keys.iter().map(|it| it.null_safe).collect(),
        residual,
        output: Arc::clone(schema.inner()),
        ports: Vec::new(),
    };
    let ports = vec![left_port, right_port];
    Ok(Planned { kind: "join", complete: false, emission: Emission::Rows, spec: Box::new(spec), ports })
}

/// The same join with its sides exchanged.
fn swapped(join: Join) -> Result<Join> {
    let on = join.on.into_iter().map(|(left, right)| (right, left)).collect();
    let kind = join.join_type.swap();
    Join::try_new(
        join.right,
        join.left,
        on,
        join.filter,
        kind,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )
}

/// The two expressions of a key; windows of one size are the same if their ends are.
fn plain_keys(key: &JoinKey, left: &SideBuilder, right: &SideBuilder) -> Result<(Expr, Expr)> {
    let (l, r) = (key.left.to_field(left.schema.as_ref())?.1, key.right.to_field(right.schema.as_ref())?.1);
    if l.data_type() != r.data_type() {
        return plan_err!("join on {} = {}: {} and {}", key.left, key.right, l.data_type(), r.data_type());
    }
    match (window_size_us(&l), window_size_us(&r)) {
        (Some(a), Some(b)) if a == b => Ok((part(key.left.clone(), "end"), part(key.right.clone(), "end"))),
        _ => Ok((key.left.clone(), key.right.clone())),
    }
}

/// Splits off the conjuncts over columns of one schema alone.
fn over(conjuncts: Vec<Expr>, schema: &DFSchema) -> (Vec<Expr>, Vec<Expr>) {
    conjuncts.into_iter().partition(|it| {
        let columns = it.column_refs();
        !columns.is_empty() && columns.into_iter().all(|it| schema.is_column_from_schema(it))
    })
}

fn physical(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    create_physical_expr(expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())
}

fn residual(conjuncts: Vec<Expr>, left: &DFSchema, right: &DFSchema) -> Result<Option<Residual>> {
    let Some(condition) = conjunction(conjuncts) else { return Ok(None) };
    let mut columns = Vec::new();
    let mut fields = Vec::new();
    let mut names: Vec<&Column> = condition.column_refs().into_iter().collect();
    names.sort();
    for column in names {
        let (side, schema) = if left.is_column_from_schema(column) { (Side::Left, left) } else { (Side::Right, right) };
        let at = schema.index_of_column(column)?;
        let (qualifier, field) = schema.qualified_field(at);
        columns.push((side, at));
        fields.push((qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(true))));
    }
    let schema = DFSchema::new_with_metadata(fields, std::collections::HashMap::new())?;
    let condition = physical(&condition, &schema)?;
    Ok(Some(Residual { condition, columns, schema: Arc::clone(schema.inner()) }))
}

/// What is found out of one side.
struct SideBuilder {
    plan: LogicalPlan,
    schema: DFSchemaRef,
    /// What is made of the query's columns, behind them.
    made: Vec<Expr>,
    keys: Vec<usize>,
    pane: Option<usize>,
    late: Option<usize>,
    /// The event time, if it is no window.
    time: Option<usize>,
    evicts: Eviction,
    looked_for: Option<Within>,
}

impl SideBuilder {
    fn new(plan: LogicalPlan) -> Self {
        let schema = plan.schema().clone();
        Self {
            plan,
            schema,
            made: Vec::new(),
            keys: Vec::new(),
            pane: None,
            late: None,
            time: None,
            evicts: Eviction::Never,
            looked_for: None,
        }
    }

    /// The column that holds `expr`: one of the query's, one that was made before, or a new one.
    fn column(&mut self, expr: &Expr, name: &str) -> Result<usize> {
        let count = self.schema.fields().len();
        if let Expr::Column(column) = expr {
            return self.schema.index_of_column(column);
        }
        let known = |it: &Expr| matches!(it, Expr::Alias(alias) if *alias.expr == *expr);
        if let Some(at) = self.made.iter().position(known) {
            return Ok(count + at);
        }
        self.made.push(expr.clone().alias(name));
        Ok(count + self.made.len() - 1)
    }

    fn add_key(&mut self, number: usize, expr: Expr) -> Result<()> {
        let at = self.column(&expr, &format!("__key_{number}"))?;
        self.keys.push(at);
        Ok(())
    }

    /// Rows are over when key `number` is.
    fn time_key(&mut self, number: usize) -> Result<()> {
        let Some(at) = self.keys.get(number).copied() else { return internal_err!("a join has no key {number}") };
        self.evicts = Eviction::ByKey;
        let expr = match at.checked_sub(self.schema.fields().len()).and_then(|it| self.made.get(it)) {
            Some(Expr::Alias(alias)) => alias.expr.as_ref().clone(),
            _ => Expr::Column(self.schema.columns().swap_remove(at)),
        };
        let is_time = matches!(expr.get_type(self.schema.as_ref())?, DataType::Timestamp(..));
        self.pane = Some(if is_time { at } else { self.column(&part(expr, "end"), "__end")? });
        Ok(())
    }

    /// Finds the event time.
    fn times(&mut self) -> Result<()> {
        let times = event_time_columns(self.schema.as_arrow());
        let (at, time) = match times.as_slice() {
            [] => return Ok(()),
            [one] => *one,
            several => {
                let columns = self.schema.columns();
                let names: Vec<_> = several.iter().filter_map(|it| columns.get(it.0)).map(Column::flat_name).collect();
                return plan_err!(
                    "join of two streams: more than one event-time column ({}) in one of them; leave out all but one in a view",
                    names.join(", ")
                );
            }
        };
        match time {
            EventTime::Instant => (self.late, self.time) = (Some(at), Some(at)),
            EventTime::Window { .. } | EventTime::Session => {
                let window = Expr::Column(self.schema.columns().swap_remove(at));
                self.late = Some(self.column(&part(window, "end"), "__late")?);
            }
        }
        Ok(())
    }

    /// `own` bounds the times of this side, `others` those of the other.
    fn bounds(&mut self, own: &[TimeBound], other: &Self, others: &[TimeBound]) -> Result<()> {
        if self.evicts == Eviction::ByKey {
            return Ok(());
        }
        let index = |column: &Column, side: &Self| side.schema.index_of_column(column);
        let mut through = Vec::new();
        for bound in own {
            let pair = (Some(index(&bound.time, self)?), Some(index(&bound.other, other)?));
            if pair == (self.time, other.time) {
                through.push((bound.shift_us, bound.strict));
            }
        }
        if !through.is_empty() {
            self.evicts = Eviction::ByTime(through);
            self.pane = self.time;
        }
        // Rows of one key are found by time too, also where they are kept for ever.
        if self.pane.is_none() {
            let first = own.first().map(|it| &it.time).or_else(|| others.first().map(|it| &it.other));
            self.pane = first.map(|it| index(it, self)).transpose()?;
        }
        let mut within: Option<Within> = None;
        let mut narrow = |time: usize, from: Option<i64>, to: Option<i64>| {
            let it = within.get_or_insert(Within { time, from_us: None, to_us: None });
            if it.time == time {
                it.from_us = it.from_us.max(from);
                it.to_us = it.to_us.into_iter().chain(to).min();
            }
        };
        for bound in own {
            if Some(index(&bound.time, self)?) == self.pane {
                let from = bound.shift_us.saturating_add(i64::from(bound.strict));
                narrow(index(&bound.other, other)?, Some(from), None);
            }
        }
        for bound in others {
            if Some(index(&bound.other, self)?) == self.pane {
                let to = bound.shift_us.saturating_neg().saturating_sub(i64::from(bound.strict));
                narrow(index(&bound.time, other)?, None, Some(to));
            }
        }
        self.looked_for = within;
        Ok(())
    }

    /// What makes its rows, and the plan of the side.
    fn finish(self, only: Vec<Expr>, keeps: bool) -> Result<(LogicalPlan, SidePlan)> {
        let columns = self.schema.fields().len();
        let needed = self.keys.iter().chain(&self.pane).max().copied().unwrap_or(0);
        let only = conjunction(only).map(|it| physical(&it, &self.schema)).transpose()?;
        let plan = if self.made.is_empty() {
            self.plan
        } else {
            let own = self.schema.columns().into_iter().map(Expr::Column);
            let exprs: Vec<Expr> = own.chain(self.made).collect();
            LogicalPlanBuilder::from(self.plan).project(exprs)?.build()?
        };
        let side = SidePlan {
            columns,
            stored: columns.max(needed + 1),
            keys: self.keys,
            pane: self.pane,
            late: self.late,
            only,
            evicts: self.evicts,
            looked_for: self.looked_for,
            has_flag: keeps,
        };
        Ok((plan, side))
    }
}
