//! Spark's functions and numbers in words that DataFusion knows: clocks, explode, struct, aggregates.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, OrderByExpr,
    OrderByOptions, Value,
};
use tidegate_api::{Error, Result};

use crate::dialect::parse_expr;
use crate::error::place;

/// Rewrites one expression whose children are rewritten already.
pub(super) fn rewrite(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Function(function) => {
            if let Some(other) = call(function)? {
                *expr = other;
            }
        }
        Expr::Struct { values, fields } if fields.is_empty() => {
            *expr = named_struct(std::mem::take(values));
        }
        Expr::Value(value) => {
            if let Value::Number(text, _) = &value.value
                && text.contains(['e', 'E'])
            {
                *expr = as_type(
                    Expr::Value(Value::SingleQuotedString(text.clone()).into()),
                    DataType::Double(ExactNumberInfo::None),
                );
            }
        }
        _ => {}
    }
    Ok(())
}

/// The name that Spark gives to a column without an alias, where ours would show the rewrite.
pub(super) fn column_name(expr: &Expr) -> Option<String> {
    let Expr::Function(function) = expr else { return None };
    match name_of(function)?.as_str() {
        "explode" => Some("col".to_owned()),
        "count_if" | "max_by" | "min_by" => Some(function.to_string()),
        name if clock(name, arguments(function).len()).is_some() => Some(format!("{name}()")),
        _ => None,
    }
}

fn call(function: &mut Function) -> Result<Option<Expr>> {
    let Some(name) = name_of(function) else { return Ok(None) };
    let given = arguments(function).len();
    if let Some(text) = clock(&name, given) {
        return parse_expr(text).map(Some);
    }
    match name.as_str() {
        "explode" => rename(function, "unnest"),
        "approx_count_distinct" | "approx_distinct" => {
            rename(function, "approx_distinct");
            return Ok(Some(as_bigint(function.clone())));
        }
        // DataFusion counts these unsigned.
        "regr_count" => return Ok(Some(as_bigint(function.clone()))),
        "count_if" => count_if(function)?,
        "max_by" => last_by(function, true)?,
        "min_by" => last_by(function, false)?,
        "named_struct" => quoted_names(function),
        "struct" => return Ok(Some(named_struct(plain_arguments(function)))),
        "explode_outer" | "posexplode" | "posexplode_outer" | "inline" | "inline_outer" => {
            return Err(refuse(function, &format!("{name} is not supported yet, explode is")));
        }
        "rand" | "randn" | "random" | "uniform" | "randstr" | "shuffle" | "uuid" | "gen_random_uuid" => {
            let text =
                format!("{name}() is not supported on a stream: an epoch that runs again must give the same rows");
            return Err(refuse(function, &text));
        }
        "monotonically_increasing_id" => {
            return Err(refuse(function, "monotonically_increasing_id() is not supported on a stream"));
        }
        _ => {}
    }
    Ok(None)
}

/// `count_if(c)` counts the rows in which `c` is true.
fn count_if(function: &mut Function) -> Result<()> {
    let Ok([condition]) = <[Expr; 1]>::try_from(plain_arguments(function)) else {
        return Err(refuse(function, "count_if takes a condition"));
    };
    let one = Expr::Value(Value::Number("1".to_owned(), false).into());
    filter_also(function, condition);
    replace(function, "count", vec![one], Vec::new());
    Ok(())
}

/// `max_by(x, y)` is the last `x` in the order of `y`, of equal ones that which came first; a null `y` does not count.
fn last_by(function: &mut Function, ascending: bool) -> Result<()> {
    let Ok([value, by]) = <[Expr; 2]>::try_from(plain_arguments(function)) else {
        return Err(refuse(function, "max_by and min_by take a value and what it is ordered by"));
    };
    filter_also(function, Expr::IsNotNull(Box::new(by.clone())));
    let options = OrderByOptions { asc: Some(ascending), nulls_first: None };
    let order = OrderByExpr { expr: by, options, with_fill: None };
    replace(function, "last_value", vec![value], vec![FunctionArgumentClause::OrderBy(vec![order])]);
    Ok(())
}

/// Narrows the rows that an aggregate sees.
fn filter_also(function: &mut Function, condition: Expr) {
    let nested = |it| Box::new(Expr::Nested(it));
    function.filter = Some(match function.filter.take() {
        None => Box::new(condition),
        Some(given) => Box::new(Expr::BinaryOp {
            left: nested(given),
            op: BinaryOperator::And,
            right: nested(Box::new(condition)),
        }),
    });
}

fn replace(function: &mut Function, name: &str, arguments: Vec<Expr>, clauses: Vec<FunctionArgumentClause>) {
    let FunctionArguments::List(list) = function_of(name, arguments).args else { return };
    rename(function, name);
    function.args = FunctionArguments::List(FunctionArgumentList { clauses, ..list });
}

/// What a clock function reads. All see the epoch's time; none may be folded when the query is planned.
fn clock(name: &str, arguments: usize) -> Option<&'static str> {
    match (name, arguments) {
        ("now" | "current_timestamp", 0) => Some("epoch_time()"),
        ("localtimestamp", 0) => Some("CAST(epoch_time() AS TIMESTAMP_NTZ)"),
        ("current_date" | "curdate" | "today", 0) => Some("CAST(epoch_time() AS DATE)"),
        ("current_time" | "localtime", 0) => Some("CAST(epoch_time() AS TIME)"),
        ("unix_timestamp", 0) => Some("CAST(CAST(epoch_time() AS BIGINT) / 1000000 AS BIGINT)"),
        _ => None,
    }
}

/// `struct(a, t.b, c + 1)` names its fields after the columns, else by position: `a`, `b`, `col3`.
fn named_struct(values: Vec<Expr>) -> Expr {
    let mut arguments = Vec::with_capacity(values.len() * 2);
    for (index, value) in values.into_iter().enumerate() {
        let (name, value) = match value {
            Expr::Named { expr, name } => (name.value, *expr),
            Expr::Identifier(name) => (name.value.clone(), Expr::Identifier(name)),
            Expr::CompoundIdentifier(parts) => {
                let name = parts.last().map_or_else(String::new, |it| it.value.clone());
                (name, Expr::CompoundIdentifier(parts))
            }
            other => (format!("col{}", index + 1), other),
        };
        arguments.push(Expr::Value(Value::SingleQuotedString(name).into()));
        arguments.push(value);
    }
    Expr::Function(function_of("named_struct", arguments))
}

/// Spark users write `named_struct("name", x)`; with us double quotes mark an identifier, which can't be meant here.
fn quoted_names(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    for argument in list.args.iter_mut().step_by(2) {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument
            && let Expr::Identifier(Ident { value, quote_style: Some('"'), .. }) = expr
        {
            *expr = Expr::Value(Value::SingleQuotedString(std::mem::take(value)).into());
        }
    }
}

/// Spark counts in BIGINT; unsigned numbers have no place in most sinks.
fn as_bigint(function: Function) -> Expr {
    as_type(Expr::Function(function), DataType::BigInt(None))
}

fn as_type(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// The lower-case name of a function that has a plain one.
pub(crate) fn name_of(function: &Function) -> Option<String> {
    match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => Some(name.value.to_lowercase()),
        _ => None,
    }
}

fn arguments(function: &Function) -> &[FunctionArg] {
    match &function.args {
        FunctionArguments::List(list) => &list.args,
        _ => &[],
    }
}

fn plain_arguments(function: &mut Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &mut function.args else { return Vec::new() };
    let arguments = std::mem::take(&mut list.args).into_iter();
    let plain = arguments.filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    plain.collect()
}

fn rename(function: &mut Function, name: &str) {
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
}

fn function_of(name: &str, arguments: Vec<Expr>) -> Function {
    let args = arguments.into_iter().map(|it| FunctionArg::Unnamed(FunctionArgExpr::Expr(it))).collect();
    Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

fn refuse(function: &Function, what: &str) -> Error {
    Error::config(format!("sql: {what}{}", place(function)))
}
