//! Aggregate functions over rows that are taken back: counts are sums of changes, sums those of signed values, averages
//! quotients of both; what is no sum keeps the values.

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::{Column, DFSchemaRef, Result};
use datafusion::functions::core::coalesce;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Cast};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{AggregateUDF, Expr, ExprSchemable, cast, lit, when};

use crate::functions::multiset::{Asked, of_changes};
use crate::nodes::change_of;

/// The functions that an aggregation of changes is made of. The first one counts the rows of a group.
pub(super) struct Parts {
    schema: DFSchemaRef,
    change: Expr,
    parts: Vec<Expr>,
}

/// The name of the first part.
pub(super) const ROWS: &str = "__part_0";

/// Why a function can't take rows back, and what to do instead.
type Refused = &'static str;

impl Parts {
    /// Over rows of this schema, whose last column is the change.
    pub(super) fn of(schema: DFSchemaRef) -> Self {
        let change = change_of(&schema);
        let rows = function(sum_udaf(), vec![change.clone()], None);
        Self { schema, change, parts: vec![rows] }
    }

    /// All functions, under the names by which [`value`](Self::value) knows them.
    pub(super) fn finish(self) -> Vec<Expr> {
        self.parts.into_iter().enumerate().map(|(at, it)| it.alias(name(at))).collect()
    }

    /// What an aggregate function would give, from the parts.
    pub(super) fn value(&mut self, expr: &Expr) -> Result<Result<Expr, Refused>> {
        let function = match expr {
            Expr::Alias(alias) => return self.value(&alias.expr),
            Expr::AggregateFunction(function) => function,
            _ => return Ok(Err("only aggregate functions can take rows back; use append mode")),
        };
        let params = &function.params;
        let filter = params.filter.as_deref();
        let schema = self.schema.clone();
        let kind = |it: &Expr| it.get_type(&schema);
        if !params.order_by.is_empty() {
            return Ok(Err("the order in which rows came is not known once some are taken back; use min or max"));
        }
        Ok(match (function.func.name(), params.args.as_slice()) {
            ("count", [value]) if params.distinct => Ok(self.of_values(Asked::Different, value, filter)),
            ("min", [value]) => Ok(self.of_values(Asked::Least, value, filter)),
            ("max", [value]) => Ok(self.of_values(Asked::Greatest, value, filter)),
            (_, _) if params.distinct => Err("of different values only count(DISTINCT x) can take rows back"),
            ("count", values) => Ok(self.count(values, filter)?),
            ("sum", [value]) => match kind(value)? {
                DataType::Int64 | DataType::Decimal128(..) => Ok(self.sum(value, filter)?),
                _ => Err(NOT_EXACT),
            },
            ("avg", [value]) => match whole_number(value, kind)? {
                Some(value) => Ok(self.average(value, filter)?),
                None => Err(NOT_EXACT),
            },
            _ => {
                Err("it can't take rows back; count, sum, avg, min, max and count(DISTINCT x) can, or use append mode")
            }
        })
    }

    /// The column of a part, which is there once.
    fn part(&mut self, part: Expr) -> Expr {
        let at = self.parts.iter().position(|it| *it == part).unwrap_or_else(|| {
            self.parts.push(part);
            self.parts.len() - 1
        });
        Expr::Column(Column::new_unqualified(name(at)))
    }

    /// How many rows pass the filter with none of the values null.
    fn count(&mut self, values: &[Expr], filter: Option<&Expr>) -> Result<Expr> {
        let mut passed: Vec<Expr> = Vec::new();
        for value in values {
            if value.nullable(&self.schema)? {
                passed.push(value.clone().is_not_null());
            }
        }
        passed.extend(filter.cloned());
        let count = function(sum_udaf(), vec![self.change.clone()], conjunction(passed));
        Ok(coalesce().call(vec![self.part(count), lit(0_i64)]))
    }

    fn sum(&mut self, value: &Expr, filter: Option<&Expr>) -> Result<Expr> {
        let is_back = self.change.clone().lt(lit(0_i64));
        let signed = when(is_back, Expr::Negative(Box::new(value.clone()))).otherwise(value.clone())?;
        let sum = self.part(function(sum_udaf(), vec![signed], filter.cloned()));
        let count = self.count(std::slice::from_ref(value), filter)?;
        when(count.gt(lit(0_i64)), sum).end()
    }

    /// Of whole numbers: their sum has no rounding that would have to be taken back.
    fn average(&mut self, value: &Expr, filter: Option<&Expr>) -> Result<Expr> {
        let sum = self.sum(&cast(value.clone(), DataType::Decimal128(20, 0)), filter)?;
        let count = self.count(std::slice::from_ref(value), filter)?;
        // Without rows the sum is null, and so is the quotient.
        Ok(cast(sum, DataType::Float64) / cast(count, DataType::Float64))
    }

    fn of_values(&mut self, asked: Asked, value: &Expr, filter: Option<&Expr>) -> Expr {
        let part = function(of_changes(asked), vec![value.clone(), self.change.clone()], filter.cloned());
        self.part(part)
    }
}

const NOT_EXACT: Refused = "sums of DOUBLE are rounded, and can't be taken back to the digit; cast to DECIMAL, as in sum(CAST(x AS DECIMAL(20, 6)))";

/// The whole number that is averaged, below the cast to DOUBLE that planning puts around it.
fn whole_number(value: &Expr, kind: impl Fn(&Expr) -> Result<DataType>) -> Result<Option<&Expr>> {
    let inner = match value {
        Expr::Cast(Cast { expr, .. }) => expr.as_ref(),
        other => other,
    };
    for it in [value, inner] {
        if kind(it)?.is_integer() {
            return Ok(Some(it));
        }
    }
    Ok(None)
}

fn name(at: usize) -> String {
    format!("__part_{at}")
}

fn function(of: Arc<AggregateUDF>, arguments: Vec<Expr>, filter: Option<Expr>) -> Expr {
    Expr::AggregateFunction(AggregateFunction::new_udf(of, arguments, false, filter.map(Box::new), Vec::new(), None))
}
