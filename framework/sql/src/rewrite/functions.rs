//! Spark's functions in words that DataFusion knows: clocks, explode, struct.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, ObjectNamePart, Value,
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
        _ => {}
    }
    Ok(())
}

/// The name that Spark gives to a column without an alias, where ours would show the rewrite.
pub(super) fn column_name(expr: &Expr) -> Option<String> {
    let Expr::Function(function) = expr else { return None };
    match name_of(function)?.as_str() {
        "explode" => Some("col".to_owned()),
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

/// What a clock function reads. All see the epoch's time; none may be folded when the query is planned.
fn clock(name: &str, arguments: usize) -> Option<&'static str> {
    match (name, arguments) {
        ("now" | "current_timestamp", 0) => Some("epoch_time()"),
        ("localtimestamp", 0) => Some("CAST(epoch_time() AS TIMESTAMP_NTZ)"),
        ("current_date" | "curdate" | "today", 0) => Some("CAST(epoch_time() AS DATE)"),
        ("current_time" | "localtime", 0) => Some("CAST(epoch_time() AS TIME)"),
        ("unix_timestamp", 0) => Some("CAST(epoch_time() AS BIGINT) / 1000000"),
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
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Function(function)),
        data_type: DataType::BigInt(None),
        array: false,
        format: None,
    }
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
