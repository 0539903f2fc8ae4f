//! What can't run as a stream is refused when the query starts, with what is wrong and what to do instead.
//!
//! Looks at the analysed plan, not the optimised one: there is still what the user wrote.

use std::fmt;

use arrow_schema::{DataType, Field, TimeUnit};
use datafusion::common::JoinType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Limit, LogicalPlan, TableScan, Union};
use tidegate_api::OutputMode;

use crate::event_time::{event_time, event_time_columns, is_session};
use crate::nodes::{Deduplicate, UserState, WatermarkNode, node_of};
use crate::retract::retracted;
use crate::table::{SourceTable, TableKind};

mod join;
mod user_state;

/// Why a query can't run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong and what to do instead.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What is asked for beyond Spark's rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Sessions and outer joins of streams may be in update mode (`update.mode: extended`).
    pub update_mode: bool,
    /// `count(DISTINCT x)` of groups that the watermark closes (`count.distinct: exact`).
    pub count_distinct: bool,
    /// Aggregations over aggregations may be in update and complete mode (`chained.aggregates: retract`).
    pub chained_aggregates: bool,
}

/// Checks an analysed plan against an output mode, by Spark's rules.
///
/// # Errors
/// Everything that stands in the way.
pub fn check(plan: &LogicalPlan, mode: OutputMode) -> Result<(), Vec<Refusal>> {
    check_with(plan, mode, Extensions::default())
}

/// As [`check`], with what is asked for beyond Spark's rules.
///
/// # Errors
/// Everything that stands in the way.
pub fn check_with(plan: &LogicalPlan, mode: OutputMode, extensions: Extensions) -> Result<(), Vec<Refusal>> {
    let mut checker = Checker { mode, extensions, refusals: Vec::new(), aggregates: 0, above: Vec::new() };
    let seen = checker.node(plan);
    if !seen.streaming {
        checker.refusals.clear();
        checker.refuse("the query reads no streaming source: name one in FROM, or leave out its key 'static'");
    } else if mode == OutputMode::Complete && !seen.aggregated {
        checker.refuse("complete mode: there is no aggregation in the query (or not in all of its parts) whose whole result could be kept; use append or update");
    }
    if checker.aggregates > 1 && mode != OutputMode::Append {
        checker.several_aggregates(plan);
    }
    checker.timestamps(plan.schema().fields().iter().map(AsRef::as_ref), "the result");
    if checker.refusals.is_empty() { Ok(()) } else { Err(checker.refusals) }
}

/// True if rows of a stream reach this plan.
pub fn reads_stream(plan: &LogicalPlan) -> bool {
    plan.exists(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(false) };
        Ok(kind(scan) == Some(TableKind::Stream))
    })
    .unwrap_or(false)
}

fn kind(scan: &TableScan) -> Option<TableKind> {
    scan.source.downcast_ref::<SourceTable>().map(|it| it.kind)
}

/// What is known of the rows that leave a node.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    streaming: bool,
    /// All streams below have gone through an aggregate.
    aggregated: bool,
    /// A stream below has gone through user code.
    processed: bool,
}

struct Checker {
    mode: OutputMode,
    extensions: Extensions,
    refusals: Vec<Refusal>,
    aggregates: usize,
    /// What a WHERE says above the node that is looked at, with nothing but joins between.
    above: Vec<Expr>,
}

impl Checker {
    fn refuse(&mut self, message: impl Into<String>) {
        let refusal = Refusal { message: message.into() };
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }

    fn node(&mut self, plan: &LogicalPlan) -> Seen {
        let above = match plan {
            LogicalPlan::Filter(filter) => split_conjunction(&filter.predicate).into_iter().cloned().collect(),
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => self.above.clone(),
            _ => Vec::new(),
        };
        let above = std::mem::replace(&mut self.above, above);
        let inputs: Vec<Seen> = plan.inputs().into_iter().map(|it| self.node(it)).collect();
        self.above = above;
        let mut streams = inputs.iter().filter(|it| it.streaming).peekable();
        let streaming = streams.peek().is_some();
        let processed = inputs.iter().any(|it| it.processed);
        let seen = Seen { streaming, aggregated: streaming && streams.all(|it| it.aggregated), processed };
        self.subqueries(plan);
        match plan {
            LogicalPlan::TableScan(scan) => {
                return Seen { streaming: kind(scan) == Some(TableKind::Stream), ..Seen::default() };
            }
            LogicalPlan::Join(join) => {
                if let [left, right] = inputs.as_slice() {
                    if left.streaming && right.streaming {
                        user_state::check_above(self, "a join of streams", seen);
                    }
                    join::check(self, join, *left, *right);
                }
            }
            LogicalPlan::Union(union) => self.union(union, &inputs),
            LogicalPlan::Aggregate(aggregate) if !streaming => self.static_sessions(aggregate),
            _ if !streaming => {}
            LogicalPlan::Aggregate(aggregate) => {
                user_state::check_above(self, "an aggregation", seen);
                self.aggregate(aggregate);
                return Seen { aggregated: true, ..seen };
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                user_state::check_above(self, "SELECT DISTINCT", seen);
                self.aggregates += 1;
                let columns = input.schema().fields();
                self.keys(&columns.iter().map(AsRef::as_ref).collect::<Vec<_>>(), "SELECT DISTINCT");
                return Seen { aggregated: true, ..seen };
            }
            LogicalPlan::Distinct(Distinct::On(_)) => {
                self.refuse(
                    "sort (ORDER BY) with SELECT DISTINCT ON is not supported on a stream: the row that comes first gets \
                     through; leave ORDER BY out",
                );
            }
            LogicalPlan::Sort(_) => self.sort(seen),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Window(_) => self.refuse(
                "row window functions (OVER) are not supported on a stream: use window(time, size) in GROUP BY",
            ),
            LogicalPlan::RecursiveQuery(_) => self.refuse("WITH RECURSIVE is not supported on a stream"),
            LogicalPlan::Unnest(unnest) if !unnest.struct_type_columns.is_empty() => {
                self.refuse("explode takes an ARRAY, found a STRUCT");
            }
            LogicalPlan::Extension(_) => return self.node_of_ours(plan, seen),
            _ => {}
        }
        seen
    }

    fn node_of_ours(&mut self, plan: &LogicalPlan, seen: Seen) -> Seen {
        if let Some(node) = node_of::<WatermarkNode>(plan) {
            self.watermark(node);
        }
        if let Some(node) = node_of::<Deduplicate>(plan) {
            user_state::check_above(self, "a deduplication", seen);
            self.deduplication(node, seen);
        }
        if let Some(node) = node_of::<UserState>(plan) {
            user_state::check(self, node, seen);
            return Seen { processed: true, ..seen };
        }
        seen
    }

    fn aggregate(&mut self, aggregate: &Aggregate) {
        self.aggregates += 1;
        self.distinct(aggregate);
        let fields = aggregate.schema.fields();
        self.timestamps(fields.iter().map(AsRef::as_ref), "an aggregation");
        let in_sets = fields.iter().any(|it| it.name() == Aggregate::INTERNAL_GROUPING_ID);
        let what = match aggregate.group_expr.as_slice() {
            [] => "the aggregation without GROUP BY".to_owned(),
            _ if in_sets => "the aggregation GROUP BY several grouping sets".to_owned(),
            keys => {
                let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
                format!("the aggregation GROUP BY {}", keys.join(", "))
            }
        };
        let keys: Vec<&Field> = fields.iter().take(aggregate.group_expr.len()).map(AsRef::as_ref).collect();
        if in_sets && keys.iter().any(|it| is_session(it)) {
            self.refuse(format!("session windows in several grouping sets are not supported: {what}"));
        }
        self.keys(&keys, &what);
        self.sessions(&keys, &what);
    }

    /// Values that are told apart are all kept, so their groups must close.
    fn distinct(&mut self, aggregate: &Aggregate) {
        let keys = aggregate.schema.fields().iter().take(aggregate.group_expr.len());
        let closes = keys.into_iter().any(|it| event_time(it).is_some()) && self.mode != OutputMode::Complete;
        for expr in aggregate.aggr_expr.iter().filter(|it| is_distinct(it)) {
            match (self.extensions.count_distinct, is_count_of_one(expr)) {
                (true, true) if closes => {}
                (true, true) => self.refuse(format!(
                    "{expr} keeps all values of a group, and no group ever closes: declare a watermark and group by \
                     window(time, size) or by the time, in append or update mode; or use approx_distinct"
                )),
                (true, false) => self.refuse(format!(
                    "distinct aggregates are not supported on a stream, but count(DISTINCT x) of one value: {expr}"
                )),
                (false, _) => self.refuse(format!(
                    "distinct aggregates are not supported on a stream: {expr}; use approx_distinct, or count without \
                     DISTINCT, or set count.distinct: exact"
                )),
            }
        }
    }

    /// The keys of an aggregation against the output mode.
    fn keys(&mut self, keys: &[&Field], what: &str) {
        let timed: Vec<&str> = keys.iter().filter(|it| event_time(it).is_some()).map(|it| it.name().as_str()).collect();
        if timed.len() > 1 {
            self.refuse(format!(
                "{what}: more than one event-time column among the keys ({}); leave one, so that the watermark is of one time",
                timed.join(", ")
            ));
        }
        if timed.is_empty() && self.mode == OutputMode::Append {
            self.refuse(format!(
                "append mode: {what} has no event time with a watermark among its keys, so no row is ever final; \
                 declare a watermark and group by window(time, size) or by the time, or use update or complete mode"
            ));
        }
    }

    /// Sessions among the keys of an aggregation over a stream.
    fn sessions(&mut self, keys: &[&Field], what: &str) {
        if !keys.iter().any(|it| is_session(it)) {
            return;
        }
        if self.mode == OutputMode::Update && !self.extensions.update_mode {
            self.refuse(format!(
                "session window aggregation in update mode: {what}; use append mode, complete mode for all sessions, or set \
                 update.mode: extended"
            ));
        }
        if keys.len() == 1 {
            self.refuse(format!("session window aggregation without another key: {what}; group by a column too"));
        }
    }

    fn static_sessions(&mut self, aggregate: &Aggregate) {
        let keys = aggregate.schema.fields().iter().take(aggregate.group_expr.len());
        if keys.into_iter().any(|it| is_session(it)) {
            self.refuse(
                "session window aggregation of a static table is not supported yet: read the table as a stream",
            );
        }
    }

    fn deduplication(&mut self, node: &Deduplicate, seen: Seen) {
        let keys: Vec<_> = node.keys.iter().map(ToString::to_string).collect();
        let what = format!("the deduplication by {}", keys.join(", "));
        let timed = event_time_columns(node.input.schema().as_arrow());
        // A key that does not fit its input has been refused before.
        let keys = node.timed_keys().unwrap_or_default().into_iter().filter(|it| *it).count();
        if keys > 1 || keys == 0 && timed.len() > 1 {
            self.refuse(format!(
                "{what}: more than one event-time column in its input; leave one out of the SELECT below"
            ));
        }
        if node.within_watermark && timed.is_empty() {
            self.refuse(format!("{what} within the watermark: its input has no watermark; declare one"));
        } else if node.within_watermark && node.delay_ms().ok().flatten().is_none() {
            self.refuse(format!(
                "{what} within the watermark: the watermarks of its streams have different delays; give them one delay"
            ));
        }
        if seen.aggregated && self.mode != OutputMode::Append {
            let mode = self.mode;
            self.refuse(format!(
                "{mode} mode: {what} stands over an aggregation, which is possible in append mode only, where each \
                 group is final once it is emitted"
            ));
        }
    }

    fn several_aggregates(&mut self, plan: &LogicalPlan) {
        let mode = self.mode;
        if self.extensions.chained_aggregates {
            // What stands in the way of one aggregation does so for several.
            let refusals = if self.refusals.is_empty() { retracted(plan, mode).err() } else { None };
            self.refusals.extend(refusals.into_iter().flatten());
            return;
        }
        self.refuse(format!(
            "{mode} mode: more than one aggregation on a stream is possible in append mode only, where each group is \
             final once it is emitted; or set chained.aggregates: retract, so that rows are taken back when they change"
        ));
    }

    fn union(&mut self, union: &Union, inputs: &[Seen]) {
        let streams = inputs.iter().filter(|it| it.streaming).count();
        if streams > 0 && streams < union.inputs.len() {
            self.refuse(
                "union of a stream and a static table is not supported: its static rows would enter every epoch; \
                 read the table as a stream, or join it",
            );
        }
    }

    fn sort(&mut self, seen: Seen) {
        if self.mode != OutputMode::Complete || !seen.aggregated {
            self.refuse(
                "sort (ORDER BY) is not supported on a stream but for an aggregation in complete mode: leave it out, \
                 rows have no end to be ordered against",
            );
        }
    }

    fn limit(&mut self, limit: &Limit) {
        let literal_zero = |it: &Expr| matches!(it, Expr::Literal(value, _) if value.to_string() == "0");
        if limit.skip.as_deref().is_some_and(|it| !literal_zero(it)) {
            self.refuse("OFFSET is not supported on a stream");
        }
        if limit.fetch.is_some() && self.mode == OutputMode::Update {
            self.refuse("limit is not supported in update mode; use append mode");
        }
    }

    fn watermark(&mut self, node: &WatermarkNode) {
        let _ = node.input.apply(|below| {
            if let Some(first) = node_of::<WatermarkNode>(below) {
                self.refuse(format!(
                    "watermark redefined: {} declares one on {} above that of {} on {}; declare one of them only",
                    node.id, node.column.name, first.id, first.column.name
                ));
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }

    fn subqueries(&mut self, plan: &LogicalPlan) {
        let mut found = false;
        let _ = plan.apply_subqueries(|subquery| {
            found |= reads_stream(subquery);
            Ok(TreeNodeRecursion::Continue)
        });
        if found {
            self.refuse("a subquery in an expression reads a stream: only static tables can be read there; use a join");
        }
    }

    /// One type of time everywhere: state and tables outside are made of it.
    fn timestamps<'f>(&mut self, fields: impl Iterator<Item = &'f Field>, place: &str) {
        for field in fields {
            if let DataType::Timestamp(unit, _) = field.data_type()
                && *unit != TimeUnit::Microsecond
            {
                self.refuse(format!(
                    "column {} of {place} is a timestamp in {unit:?}s, expected microseconds: CAST({} AS TIMESTAMP)",
                    field.name(),
                    field.name()
                ));
            }
        }
    }
}

fn is_distinct(expr: &Expr) -> bool {
    expr.exists(|it| Ok(matches!(it, Expr::AggregateFunction(function) if function.params.distinct))).unwrap_or(false)
}

/// `count(DISTINCT x)`, under any name.
fn is_count_of_one(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_count_of_one(&alias.expr),
        Expr::AggregateFunction(it) => it.func.name() == "count" && it.params.args.len() == 1,
        _ => false,
    }
}
