//! The relation that `session_window(ts, gap)` stands for: the rows of its input with a column `session_window`, each a
//! session of its own. Rows whose gap is null or not above zero are left out. The aggregate above merges what touches.

use datafusion::common::{DataFusionError, ScalarValue, plan_err};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::sql::sqlparser::ast::Function;

use arrow_schema::{DataType, IntervalUnit};

use super::time_window::instant;
use crate::functions::session::{fixed_gap, session_end, session_of};

/// The name of the column that is added.
pub(crate) const SESSION_COLUMN: &str = "session_window";

pub(crate) fn with_session(
    input: LogicalPlan,
    time: Expr,
    gap: Expr,
    call: &Function,
) -> Result<LogicalPlan, DataFusionError> {
    if input.schema().fields().iter().any(|field| field.name() == SESSION_COLUMN) {
        return plan_err!("{call}: its input has a column named {SESSION_COLUMN} already; rename it in a view");
    }
    let (time, marked) = instant(time, &input, call)?;
    let gap = match gap {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)), _) => {
            Expr::Literal(fixed_gap(&text)?, None)
        }
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(it)), _) if it.months == 0 => {
            let day_us = i64::from(it.days) * 86_400_000_000;
            lit(day_us.saturating_add(it.nanoseconds / 1000))
        }
        other => match other.get_type(input.schema())? {
            DataType::Utf8 => other,
            it if it.is_string() => cast(other, DataType::Utf8),
            DataType::Interval(_) => cast(other, DataType::Interval(IntervalUnit::MonthDayNano)),
            found => {
                return plan_err!("{call}: expected an interval or a text like '5 minutes' as its gap, found {found}");
            }
        },
    };
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let end = session_end().call(vec![time.clone(), gap]);
    let session = session_of().call(vec![time, end.clone(), lit(marked)]).alias(SESSION_COLUMN);
    LogicalPlanBuilder::from(input).filter(end.is_not_null())?.project(columns.into_iter().chain([session]))?.build()
}
