//! What the condition of a join says: which rows can meet (keys), and what it takes to know that a row will meet none any
//! more (times).
//!
//! ```text
//! a.id = b.id                                     a key
//! a.win = b.win, a window of event time           the time key: both sides are over by it
//! a.ts >= b.ts - INTERVAL 10 SECONDS              a bound on a: with the watermark W for b.ts, rows of a before W - 10 s
//!                                                 are over
//! ```
//! Source of the rules: Spark's `StreamingJoinHelper`.

use arrow_schema::{DataType, Field, TimeUnit};
use datafusion::common::{Column, DFSchema, ExprSchema, NullEquality, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Join, Operator};

use crate::event_time::event_time;

#[cfg(test)]
mod tests;

/// An equality between the sides.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinKey {
    /// Over columns of the left side.
    pub left: Expr,
    /// Over columns of the right side.
    pub right: Expr,
    /// Null equals null (`IS NOT DISTINCT FROM`).
    pub null_safe: bool,
}

/// `time > other + shift`, or `>=` if it is not strict: a lower bound on the time of one side by one of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeBound {
    /// A TIMESTAMP of this side.
    pub time: Column,
    /// A TIMESTAMP of the other side.
    pub other: Column,
    /// What lies between them, microseconds.
    pub shift_us: i64,
    /// Equal times do not meet.
    pub strict: bool,
}

/// A join's condition, taken apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamJoin {
    /// The equalities.
    pub keys: Vec<JoinKey>,
    /// The first of them that is on event time, or a window of it, of at least one side.
    pub time_key: Option<usize>,
    /// Everything else, all of which must hold.
    pub residual: Vec<Expr>,
    /// Bounds on times of the left side.
    pub left: Vec<TimeBound>,
    /// Bounds on times of the right side.
    pub right: Vec<TimeBound>,
}

impl StreamJoin {
    /// Takes the condition of `join` apart.
    pub fn of(join: &Join) -> Self {
        Self::with(join, &[])
    }

    /// The same, with conjuncts that stand above it in a WHERE.
    pub(crate) fn with(join: &Join, above: &[Expr]) -> Self {
        let (left, right) = (join.left.schema().as_ref(), join.right.schema().as_ref());
        let mut found = Self::default();
        let null_safe = join.null_equality == NullEquality::NullEqualsNull;
        found.keys.extend(join.on.iter().map(|(l, r)| JoinKey { left: l.clone(), right: r.clone(), null_safe }));
        let filter = join.filter.iter().flat_map(split_conjunction).chain(above);
        for conjunct in filter {
            match key_of(conjunct, left, right) {
                Some(key) => found.keys.push(key),
                None => found.residual.push(conjunct.clone()),
            }
            for (greater, smaller, strict) in comparisons(conjunct) {
                found.add_bound(greater, smaller, strict, left, right);
            }
        }
        found.time_key = found.keys.iter().position(|key| is_timed(&key.left, left) || is_timed(&key.right, right));
        found
    }

    /// `greater > smaller`, or `>=`.
    fn add_bound(&mut self, greater: &Expr, smaller: &Expr, strict: bool, left: &DFSchema, right: &DFSchema) {
        // 0 < greater - smaller, as a sum of columns and constants.
        let mut sum = Sum::default();
        if sum.add(greater, 1).is_none() || sum.add(smaller, -1).is_none() {
            return;
        }
        let ([time], [other]) = (sum.plus.as_slice(), sum.minus.as_slice()) else { return };
        let of = |schema: &DFSchema, column: &Column| {
            let field = schema.is_column_from_schema(column).then(|| schema.field_from_column(column).ok()).flatten();
            field.is_some_and(|it| matches!(it.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)))
        };
        let bounds = match () {
            () if of(left, time) && of(right, other) => &mut self.left,
            () if of(right, time) && of(left, other) => &mut self.right,
            () => return,
        };
        let Some(shift_us) = sum.constant_us.checked_neg() else { return };
        bounds.push(TimeBound { time: time.clone(), other: other.clone(), shift_us, strict });
    }
}

/// The field of a column that stands alone.
pub(crate) fn field_of<'s>(expr: &Expr, schema: &'s DFSchema) -> Option<&'s Field> {
    match expr {
        Expr::Column(column) => schema.field_from_column(column).ok().map(AsRef::as_ref),
        Expr::Alias(alias) => field_of(&alias.expr, schema),
        _ => None,
    }
}

fn is_timed(expr: &Expr, schema: &DFSchema) -> bool {
    field_of(expr, schema).is_some_and(|it| event_time(it).is_some())
}

/// The equality that a conjunct is, each side of it over one side of the join.
fn key_of(conjunct: &Expr, left: &DFSchema, right: &DFSchema) -> Option<JoinKey> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op: op @ (Operator::Eq | Operator::IsNotDistinctFrom), right: b }) =
        conjunct
    else {
        return None;
    };
    let within = |expr: &Expr, schema: &DFSchema| {
        let columns = expr.column_refs();
        !columns.is_empty() && !expr.is_volatile() && columns.into_iter().all(|it| schema.is_column_from_schema(it))
    };
    let null_safe = *op == Operator::IsNotDistinctFrom;
    match () {
        () if within(a, left) && within(b, right) => {
            Some(JoinKey { left: a.as_ref().clone(), right: b.as_ref().clone(), null_safe })
        }
        () if within(b, left) && within(a, right) => {
            Some(JoinKey { left: b.as_ref().clone(), right: a.as_ref().clone(), null_safe })
        }
        () => None,
    }
}

/// What a conjunct compares: (the greater, the smaller, strictly).
fn comparisons(conjunct: &Expr) -> Vec<(&Expr, &Expr, bool)> {
    match conjunct {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Lt => vec![(right, left, true)],
            Operator::LtEq => vec![(right, left, false)],
            Operator::Gt => vec![(left, right, true)],
            Operator::GtEq => vec![(left, right, false)],
            _ => Vec::new(),
        },
        Expr::Between(Between { expr, negated: false, low, high }) => vec![(expr, low, false), (high, expr, false)],
        _ => Vec::new(),
    }
}

/// A sum of columns and constants of time.
#[derive(Default)]
struct Sum {
    plus: Vec<Column>,
    minus: Vec<Column>,
    constant_us: i64,
}

impl Sum {
    /// Adds `sign` times `expr`; nothing if it is no such sum.
    fn add(&mut self, expr: &Expr, sign: i64) -> Option<()> {
        match expr {
            Expr::Column(column) if sign == 1 => self.plus.push(column.clone()),
            Expr::Column(column) if sign == -1 => self.minus.push(column.clone()),
            Expr::Alias(alias) => self.add(&alias.expr, sign)?,
            Expr::Negative(inner) => self.add(inner, sign.checked_neg()?)?,
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
                self.add(left, sign)?;
                self.add(right, sign)?;
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
                self.add(left, sign)?;
                self.add(right, sign.checked_neg()?)?;
            }
            Expr::Literal(value, _) => self.add_constant(value, sign)?,
            Expr::Cast(cast) => self.add_cast(&cast.expr, cast.field.data_type(), sign)?,
            Expr::TryCast(cast) => self.add_cast(&cast.expr, cast.field.data_type(), sign)?,
            _ => return None,
        }
        Some(())
    }

    /// A cast between times that loses nothing, or of a constant.
    fn add_cast(&mut self, inner: &Expr, to: &DataType, sign: i64) -> Option<()> {
        if let Expr::Literal(value, _) = inner {
            return self.add_constant(&value.cast_to(to).ok()?, sign);
        }
        match to {
            DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
            | DataType::Duration(TimeUnit::Microsecond | TimeUnit::Nanosecond)
            | DataType::Interval(_) => self.add(inner, sign),
            _ => None,
        }
    }

    fn add_constant(&mut self, value: &ScalarValue, times: i64) -> Option<()> {
        let us = constant_us(value)?.checked_mul(times)?;
        self.constant_us = self.constant_us.checked_add(us)?;
        Some(())
    }
}

/// A constant of time in microseconds. A month has no fixed length.
fn constant_us(value: &ScalarValue) -> Option<i64> {
    const DAY_US: i64 = 86_400_000_000;
    Some(match value {
        ScalarValue::IntervalMonthDayNano(Some(it)) if it.months == 0 => {
            i64::from(it.days).checked_mul(DAY_US)?.checked_add(it.nanoseconds.div_euclid(1000))?
        }
        ScalarValue::IntervalDayTime(Some(it)) => {
            i64::from(it.days).checked_mul(DAY_US)?.checked_add(i64::from(it.milliseconds).checked_mul(1000)?)?
        }
        ScalarValue::IntervalYearMonth(Some(0)) => 0,
        ScalarValue::DurationSecond(Some(it)) | ScalarValue::TimestampSecond(Some(it), _) => {
            it.checked_mul(1_000_000)?
        }
        ScalarValue::DurationMillisecond(Some(it)) | ScalarValue::TimestampMillisecond(Some(it), _) => {
            it.checked_mul(1000)?
        }
        ScalarValue::DurationMicrosecond(Some(it)) | ScalarValue::TimestampMicrosecond(Some(it), _) => *it,
        ScalarValue::DurationNanosecond(Some(it)) | ScalarValue::TimestampNanosecond(Some(it), _) => {
            it.div_euclid(1000)
        }
        _ => return None,
    })
}
