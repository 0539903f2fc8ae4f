//! `state('<checkpoint>', operator => '<name>' [, epoch => n])` and `state_metadata('<checkpoint>' [, epoch => n])` in a FROM
//! clause: tables of what operators remember. Each call is found before planning, so that its columns can be looked up, and
//! is replaced by the name of that table.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, TableAlias, TableFactor, Value, VisitMut, VisitorMut,
};
use tidegate_api::{Error, Result};
use xxhash_rust::xxh3::xxh3_64;

use crate::dialect;
use crate::error::place;

const STATE: &str = "state";
const METADATA: &str = "state_metadata";

/// A call of `state` or `state_metadata` in a FROM clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateCall {
    /// Where the checkpoint is, as written.
    pub location: String,
    /// The operator; nothing: the operators that there are (`state_metadata`).
    pub operator: Option<String>,
    /// The state after this epoch; nothing: after the newest.
    pub epoch: Option<u64>,
}

impl StateCall {
    /// The name under which its table must be added to the planner. It is the same for the same call.
    pub fn table(&self) -> String {
        let epoch = self.epoch.map_or_else(String::new, |it| it.to_string());
        let text = format!("{}\n{}\n{epoch}", self.location, self.operator.as_deref().unwrap_or_default());
        format!("{}_{:016x}", self.function(), xxh3_64(text.as_bytes()))
    }

    /// Which of the two functions it is of.
    pub fn function(&self) -> &'static str {
        if self.operator.is_some() { STATE } else { METADATA }
    }
}

/// The calls in a query, in the order of the text.
///
/// # Errors
/// `Config` if the text is no query, or a call's arguments are none that its function has.
pub fn state_calls(sql: &str) -> Result<Vec<StateCall>> {
    replace(&mut dialect::parse_query(sql)?)
}

/// Replaces each call by the name of its table.
pub(crate) fn replace(query: &mut Query) -> Result<Vec<StateCall>> {
    let mut calls = Calls(Vec::new());
    match query.visit(&mut calls) {
        ControlFlow::Continue(()) => Ok(calls.0),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Calls(Vec<StateCall>);

impl VisitorMut for Calls {
    type Break = Box<Error>;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let at = place(factor);
        let TableFactor::Table { name, alias, args, .. } = factor else { return ControlFlow::Continue(()) };
        let written = name.to_string();
        let Some(function) = [STATE, METADATA].into_iter().find(|it| written.eq_ignore_ascii_case(it)) else {
            return ControlFlow::Continue(());
        };
        let Some(arguments) = args.take() else { return ControlFlow::Continue(()) };
        match read(function, &arguments.args) {
            Ok(call) => {
                *name = ObjectName::from(vec![Ident::new(call.table())]);
                alias.get_or_insert_with(|| TableAlias {
                    explicit: true,
                    name: Ident::new(function),
                    columns: Vec::new(),
                    at: None,
                });
                self.0.push(call);
                ControlFlow::Continue(())
            }
            Err(found) => {
                let operator = if function == STATE { ", operator => '<name>'" } else { "" };
                let expected = format!("{function}('<checkpoint>'{operator} [, epoch => <number>])");
                let text = format!("sql: {function}: found {found}, expected {expected}{at}");
                ControlFlow::Break(Box::new(Error::config(text)))
            }
        }
    }
}

/// The arguments of a call, or what is wrong with them.
fn read(function: &str, arguments: &[FunctionArg]) -> std::result::Result<StateCall, String> {
    let (mut location, mut operator, mut epoch) = (None, None, None);
    for argument in arguments {
        let (name, value) = parts(argument).ok_or_else(|| argument.to_string())?;
        match (name.as_deref(), value) {
            (None, Value::SingleQuotedString(it)) if location.is_none() => location = Some(it.clone()),
            (Some("operator"), Value::SingleQuotedString(it)) if operator.is_none() && function == STATE => {
                operator = Some(it.clone());
            }
            (Some("epoch"), Value::Number(it, _)) if epoch.is_none() => {
                epoch = Some(it.to_string().parse().map_err(|_| argument.to_string())?);
            }
            _ => return Err(argument.to_string()),
        }
    }
    let location = location.ok_or("no checkpoint")?;
    if function == STATE && operator.is_none() {
        return Err("no operator".to_owned());
    }
    Ok(StateCall { location, operator, epoch })
}

/// The name of an argument, in lower case, and its value, if that is a literal.
fn parts(argument: &FunctionArg) -> Option<(Option<String>, &Value)> {
    let (name, value) = match argument {
        FunctionArg::Unnamed(value) => (None, value),
        FunctionArg::Named { name, arg, .. } => (Some(name.value.to_lowercase()), arg),
        FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => (Some(name.value.to_lowercase()), arg),
        FunctionArg::ExprNamed { .. } => return None,
    };
    match value {
        FunctionArgExpr::Expr(Expr::Value(it)) => Some((name, &it.value)),
        _ => None,
    }
}
