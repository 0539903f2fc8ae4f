//! The relation that `window(ts, size[, slide[, offset]])` stands for: the rows of its input with a column `window`.
//!
//! The rewrite of the syntax tree leaves a table factor that carries the call (see `rewrite::windows`); here it becomes
//! ```text
//! tumbling                                    sliding
//! Projection: *, window_of(window_start(..))  Projection: *, window_of(__window_start, ..)
//!   Filter: ts IS NOT NULL                      Unnest: __window_start
//!     input                                       Projection: *, window_starts(..) AS __window_start
//!                                                   input
//! ```

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::{Column, DataFusionError, UnnestOptions, plan_err};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarUDF, cast, lit};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, TableFactor, Value,
};
use tidegate_api::{Error, Result};
use tidegate_formats::interval;

use super::session_window::{SESSION_COLUMN, with_session};
use crate::error::{external, place};
use crate::event_time::{event_time, timestamp, window_type};
use crate::functions::window::{window_of, window_start, window_starts, window_time};
use crate::rewrite::name_of;

/// The name of the column that is added.
pub(crate) const WINDOW_COLUMN: &str = "window";
const START_COLUMN: &str = "__window_start";

/// Plans the table factors that carry a call of `window` or `session_window`.
#[derive(Debug)]
pub(crate) struct TimeWindowPlanner;

impl RelationPlanner for TimeWindowPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning, DataFusionError> {
        let TableFactor::Unpivot { table, value: SqlExpr::Function(call), .. } = relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let input = context.plan(*table)?;
        if name_of(&call).as_deref() == Some(SESSION_COLUMN) {
            let (time, gap) = session_arguments(&call).map_err(|error| external(error.within("sql")))?;
            let time = context.sql_to_expr(time.clone(), input.schema())?;
            let gap = context.sql_to_expr(gap.clone(), input.schema())?;
            let plan = with_session(input, time, gap, &call)?;
            return Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, None))));
        }
        let (time, rest) = arguments(&call).map_err(|error| external(error.within("sql")))?;
        let spec =
            WindowSpec::read(&rest).map_err(|error| external(error.within(format!("sql: {call}{}", place(&call)))))?;
        let time = context.sql_to_expr(time.clone(), input.schema())?;
        let plan = with_window(input, time, spec, &call)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, None))))
    }
}

/// Sizes in microseconds, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WindowSpec {
    size: i64,
    slide: i64,
    offset: i64,
}

impl WindowSpec {
    fn read(arguments: &[&SqlExpr]) -> Result<Self> {
        let read = |index: usize, what: &str| arguments.get(index).map(|it| duration(it, what)).transpose();
        let (size, size_text) = read(0, "size")?.ok_or_else(|| Error::config("the size is missing"))?;
        let (slide, slide_text) = read(1, "slide")?.unwrap_or((size, size_text.clone()));
        let (offset, offset_text) = read(2, "offset")?.unwrap_or((0, "0 seconds".to_owned()));
        if size <= 0 {
            return Err(Error::config(format!("size '{size_text}': must be greater than zero")));
        }
        if slide <= 0 {
            return Err(Error::config(format!("slide '{slide_text}': must be greater than zero")));
        }
        if slide > size {
            return Err(Error::config(format!("slide '{slide_text}' is longer than size '{size_text}'")));
        }
        if offset.saturating_abs() >= slide {
            return Err(Error::config(format!("offset '{offset_text}': must be shorter than slide '{slide_text}'")));
        }
        Ok(Self { size, slide, offset })
    }
}

fn with_window(
    input: LogicalPlan,
    time: Expr,
    spec: WindowSpec,
    call: &Function,
) -> Result<LogicalPlan, DataFusionError> {
    if input.schema().fields().iter().any(|field| field.name() == WINDOW_COLUMN) {
        return plan_err!("{call}: its input has a column named window already; rename it in a view");
    }
    let (time, marked) = instant(time, &input, call)?;
    let nullable = time.nullable(input.schema())?;
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let window = |start: Expr| call_of(window_of(), vec![start, lit(spec.size), lit(marked)]).alias(WINDOW_COLUMN);
    if spec.slide == spec.size {
        let start = call_of(window_start(), vec![time.clone(), lit(spec.slide), lit(spec.offset)]);
        let input = LogicalPlanBuilder::from(input);
        let input = if nullable { input.filter(time.is_not_null())? } else { input };
        return input.project(columns.into_iter().chain([window(start)]))?.build();
    }
    let starts = call_of(window_starts(), vec![time, lit(spec.size), lit(spec.slide), lit(spec.offset)]);
    let start = Column::new_unqualified(START_COLUMN);
    LogicalPlanBuilder::from(input)
        .project(columns.iter().cloned().chain([starts.alias(START_COLUMN)]))?
        .unnest_column_with_options(start.clone(), UnnestOptions::new().with_preserve_nulls(false))?
        .project(columns.into_iter().chain([window(Expr::Column(start))]))?
        .build()
}

/// The time that a call takes, of a window its last microsecond; and whether it is event time.
pub(crate) fn instant(mut time: Expr, input: &LogicalPlan, call: &Function) -> Result<(Expr, bool), DataFusionError> {
    if time.get_type(input.schema())? == window_type() {
        time = call_of(window_time(), vec![time]);
    }
    let field = time.to_field(input.schema())?.1;
    match field.data_type() {
        it if *it == timestamp() => {}
        DataType::Timestamp(..) => time = cast(time, timestamp()),
        other => return plan_err!("{call}: expected a TIMESTAMP or a window as its first argument, found {other}"),
    }
    Ok((time, event_time(&field).is_some()))
}

fn call_of(function: Arc<ScalarUDF>, arguments: Vec<Expr>) -> Expr {
    function.call(arguments)
}

/// The time and the rest of a call's arguments.
fn arguments(call: &Function) -> Result<(&SqlExpr, Vec<&SqlExpr>)> {
    match plain_arguments(call).as_deref() {
        Ok([time, rest @ ..]) if (1..=3).contains(&rest.len()) => Ok((time, rest.to_vec())),
        other => Err(wrong_arguments(call, "window(time, size[, slide[, offset]])", other)),
    }
}

/// The time and the gap.
fn session_arguments(call: &Function) -> Result<(&SqlExpr, &SqlExpr)> {
    match plain_arguments(call).as_deref() {
        Ok([time, gap]) => Ok((time, gap)),
        other => Err(wrong_arguments(call, "session_window(time, gap)", other)),
    }
}

/// The arguments of a call, or what they are instead.
fn plain_arguments(call: &Function) -> Result<Vec<&SqlExpr>, &'static str> {
    let FunctionArguments::List(list) = &call.args else { return Err("no arguments") };
    let plain = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
        _ => Err("a named argument"),
    });
    plain.collect()
}

fn wrong_arguments(call: &Function, expected: &str, found: Result<&[&SqlExpr], &&'static str>) -> Error {
    let found = match found {
        Ok(all) => format!("{} arguments", all.len()),
        Err(what) => (*what).to_owned(),
    };
    Error::config(format!("{call}{}: expected {expected}, found {found}", place(call)))
}

/// Microseconds and the text of a constant such as `'5 minutes'` or `INTERVAL 5 MINUTES`.
fn duration(expr: &SqlExpr, what: &str) -> Result<(i64, String)> {
    let text = match expr {
        SqlExpr::Value(value) => value.value.clone(),
        SqlExpr::Interval(interval) => match interval.value.as_ref() {
            SqlExpr::Value(value) if interval.leading_field.is_none() => value.value.clone(),
            _ => Value::Null,
        },
        _ => Value::Null,
    };
    let Value::SingleQuotedString(text) = text else {
        return Err(Error::config(format!("expected a constant such as '5 minutes' as {what}, found {expr}")));
    };
    let interval = interval::parse(&text).map_err(|error| error.within(format!("{what} '{text}'")))?;
    if interval.months != 0 {
        return Err(Error::config(format!(
            "{what} '{text}': months and years have no fixed length, use weeks, days or less"
        )));
    }
    let micros = interval.fixed_micros().ok_or_else(|| Error::config(format!("{what} '{text}': too long")))?;
    Ok((micros, text))
}
