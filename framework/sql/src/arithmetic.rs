//! Arithmetic by Spark's rules where DataFusion has others: a quotient of whole numbers is a DOUBLE; how many digits a
//! quotient of decimals has, that quotients and averages are rounded and not cut, and how wide a whole number beside a
//! decimal is (Spark: `Divide`, `DecimalPrecision`, `Average`).

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, Decimal128Array, PrimitiveArray};
use arrow_buffer::i256;
use arrow_schema::{ArrowError, DataType};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result, ScalarValue, internal_err};
use datafusion::functions_aggregate::{count::count_udaf, sum::sum_udaf};
use datafusion::logical_expr::expr::{AggregateFunction, BinaryExpr};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};
use datafusion::optimizer::AnalyzerRule;

/// Digits that a DECIMAL may have.
const MOST: u8 = 38;
/// Digits after the point that are kept when there would be too many digits.
const KEPT: u8 = 6;

/// Division, and whole numbers beside decimals.
#[derive(Debug)]
pub(crate) struct Arithmetic;

impl FunctionRewrite for Arithmetic {
    fn name(&self) -> &str {
        "arithmetic"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return Ok(Transformed::no(expr)) };
        let arithmetic = op.is_numerical_operators();
        let types = (left.get_type(schema), right.get_type(schema));
        let (true, (Ok(left_type), Ok(right_type))) = (arithmetic, types) else {
            return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
        };
        let (mut left, mut right) = (*left, *right);
        match (&left_type, &right_type) {
            (DataType::Decimal128(..), it) if it.is_integer() => right = as_decimal(right, it),
            (it, DataType::Decimal128(..)) if it.is_integer() => left = as_decimal(left, it),
            (DataType::Decimal128(..), DataType::Decimal128(..)) => {}
            (from, by) if from.is_integer() && by.is_integer() && op == Operator::Divide => {
                (left, right) = (cast(left, DataType::Float64), cast(right, DataType::Float64));
            }
            _ => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr::new(left.into(), op, right.into())))),
        }
        let (from, by) = (left.get_type(schema)?, right.get_type(schema)?);
        Ok(Transformed::yes(match (op, quotient(&from, &by)) {
            (Operator::Divide, Some(to)) => divide(to).call(vec![left, right]),
            (op, _) => Expr::BinaryExpr(BinaryExpr::new(left.into(), op, right.into())),
        }))
    }
}

/// A whole number as the narrowest DECIMAL: of a constant the digits that it has, else those of its type.
fn as_decimal(expr: Expr, data_type: &DataType) -> Expr {
    let digits = match &expr {
        Expr::Literal(value, _) => value.to_string().trim_start_matches('-').len().try_into().unwrap_or(MOST),
        _ => match data_type.primitive_width() {
            Some(1) => 3,
            Some(2) => 5,
            Some(4) => 10,
            _ => 20,
        },
    };
    cast(expr, DataType::Decimal128(digits, 0))
}

/// The type of a quotient.
fn quotient(from: &DataType, by: &DataType) -> Option<DataType> {
    let (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) = (from, by) else { return None };
    let (p1, s1, p2, s2) = (i32::from(*p1), i32::from(*s1), i32::from(*p2), i32::from(*s2));
    let scale = i32::from(KEPT).max(s1 + p2 + 1);
    let whole = p1 - s1 + s2;
    let most = i32::from(MOST);
    let (precision, scale) = match whole + scale {
        fits if fits <= most => (fits, scale),
        _ => (most, (most - whole).max(scale.min(i32::from(KEPT)))),
    };
    Some(DataType::Decimal128(precision.try_into().ok()?, scale.try_into().ok()?))
}

/// `decimal_divide(a, b)` as a DECIMAL of this type, rounded half up. Division by zero and what does not fit are errors.
fn divide(to: DataType) -> ScalarUDF {
    ScalarUDF::new_from_impl(Divide { to, signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Divide {
    to: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Divide {
    fn name(&self) -> &str {
        "decimal_divide"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_constant = args.args.iter().all(|it| matches!(it, ColumnarValue::Scalar(_)));
        let rows = if all_constant { 1 } else { args.number_rows };
        let [left, right] = args.args.as_slice() else { return internal_err!("decimal_divide takes two numbers") };
        let quotients = quotients(&left.to_array(rows)?, &right.to_array(rows)?, &self.to)?;
        let quotients: ArrayRef = Arc::new(quotients);
        if all_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&quotients, 0)?));
        }
        Ok(ColumnarValue::Array(quotients))
    }
}

fn quotients(left: &ArrayRef, right: &ArrayRef, to: &DataType) -> Result<Decimal128Array> {
    let (DataType::Decimal128(_, s1), DataType::Decimal128(_, s2), DataType::Decimal128(precision, scale)) =
        (left.data_type(), right.data_type(), to)
    else {
        return internal_err!("decimal_divide: {} by {}", left.data_type(), right.data_type());
    };
    // left / 10^s1 / (right / 10^s2) = quotient / 10^scale
    let up = i32::from(*scale) - i32::from(*s1) + i32::from(*s2);
    let power = i256::from_i128(10).checked_pow(up.unsigned_abs());
    let Some(power) = power else { return internal_err!("decimal_divide: 10 to the power of {up}") };
    let (up, down) = if up < 0 { (i256::ONE, power) } else { (power, i256::ONE) };
    let (left, right) = (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
    let found: PrimitiveArray<Decimal128Type> =
        datafusion::arrow::compute::try_binary(left, right, |left, right| rounded(left, right, up, down))?;
    let found = found.with_precision_and_scale(*precision, *scale)?;
    found.validate_decimal_precision(*precision)?;
    Ok(found)
}

fn rounded(left: i128, right: i128, up: i256, down: i256) -> Result<i128, ArrowError> {
    if right == 0 {
        return Err(ArrowError::DivideByZero);
    }
    let too_big = || ArrowError::ArithmeticOverflow(format!("the quotient of {left} and {right} has too many digits"));
    let left_up = i256::from_i128(left).checked_mul(up).ok_or_else(too_big)?;
    let right_up = i256::from_i128(right).checked_mul(down).ok_or_else(too_big)?;
    let (whole, rest) = (left_up.wrapping_div(right_up), left_up.wrapping_rem(right_up));
    let double = rest.wrapping_abs().checked_mul(i256::from_i128(2)).ok_or_else(too_big)?;
    let away = if (left < 0) == (right < 0) { i256::ONE } else { i256::MINUS_ONE };
    let whole = if double >= right_up.wrapping_abs() { whole.wrapping_add(away) } else { whole };
    whole.to_i128().ok_or_else(too_big)
}

/// `avg` of a DECIMAL is its sum by its count.
#[derive(Debug)]
pub(crate) struct DecimalAverages;

impl AnalyzerRule for DecimalAverages {
    fn name(&self) -> &str {
        "decimal_averages"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let changed = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Aggregate(it) if it.aggr_expr.iter().any(|expr| average(expr, &it).is_some()) => {
                without_averages(it).map(Transformed::yes)
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(changed.data)
    }
}

/// The same rows from sums and counts, with a projection that divides.
fn without_averages(aggregate: Aggregate) -> Result<LogicalPlan> {
    let keys = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let mut parts: Vec<Expr> = Vec::new();
    let mut columns: Vec<Expr> = aggregate.schema.columns().into_iter().take(keys).map(Expr::Column).collect();
    for (expr, column) in aggregate.aggr_expr.iter().zip(aggregate.schema.columns().into_iter().skip(keys)) {
        let mut part = |expr: Expr| {
            let name = expr.schema_name().to_string();
            if !parts.contains(&expr) {
                parts.push(expr);
            }
            Expr::Column(Column::new_unqualified(name))
        };
        columns.push(match average(expr, &aggregate) {
            None => {
                part(expr.clone());
                Expr::Column(column)
            }
            Some((function, to)) => {
                let of = |func| Expr::AggregateFunction(AggregateFunction { func, params: function.params.clone() });
                let (sum, count) = (part(of(sum_udaf())), part(of(count_udaf())));
                let count = cast(count, DataType::Decimal128(20, 0));
                divide(to).call(vec![sum, count]).alias(column.name)
            }
        });
    }
    let input = Aggregate::try_new(aggregate.input, aggregate.group_expr, parts)?;
    LogicalPlanBuilder::from(LogicalPlan::Aggregate(input)).project(columns)?.build()
}

/// An average of a DECIMAL, with its type.
fn average<'a>(expr: &'a Expr, aggregate: &Aggregate) -> Option<(&'a AggregateFunction, DataType)> {
    let Expr::AggregateFunction(function) = expr else { return None };
    let argument = function.params.args.first().filter(|_| function.func.name() == "avg")?;
    match argument.get_type(aggregate.input.schema()) {
        Ok(DataType::Decimal128(p, s)) => {
            let most = |it: u8| it.saturating_add(4).min(MOST);
            let scale = s.saturating_add(4).min(MOST.cast_signed());
            Some((function, DataType::Decimal128(most(p), scale)))
        }
        _ => None,
    }
}
