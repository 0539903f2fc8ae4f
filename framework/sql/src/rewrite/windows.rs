//! `window(ts, ..)` anywhere in a SELECT becomes a column `window` of its FROM clause (`session_window` likewise), since DataFusion plans the SELECT
//! list and GROUP BY against FROM. The call travels in a table factor that SQL users can't write (they are refused
//! UNPIVOT before) and that keeps the qualifiers of what is below; `nodes::time_window` plans it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, Ident, Join, JoinConstraint, JoinOperator, OrderBy, Query, Select, TableFactor,
    TableWithJoins, VisitMut, VisitorMut,
};
use tidegate_api::{Error, Result};

use super::functions::name_of;
use super::scope::Relation;
use crate::error::place;
use crate::event_time::window_type;
use crate::nodes::session_window::SESSION_COLUMN;
use crate::nodes::time_window::WINDOW_COLUMN;

/// The column that a call of `window` or `session_window` in the SELECT adds, for the resolution of names.
pub(super) fn relation(select: &mut Select, order_by: Option<&mut OrderBy>) -> Option<Relation> {
    let mut calls = Calls::new(false);
    calls.visit(select, order_by);
    let column = column_of(calls.found.first()?)?;
    Some(Relation { name: None, columns: vec![(column.to_owned(), window_type())] })
}

/// The column that a call adds, if it is one of a window.
fn column_of(call: &Function) -> Option<&'static str> {
    let name = name_of(call).filter(|_| call.over.is_none())?;
    [WINDOW_COLUMN, SESSION_COLUMN].into_iter().find(|it| *it == name)
}

/// Puts the column in the place of the calls, and the call into the FROM clause.
///
/// # Errors
/// `Config` for two different calls, or one in a join condition or without a FROM clause.
pub(super) fn rewrite(select: &mut Select, order_by: Option<&mut OrderBy>) -> Result<()> {
    let mut in_from = Calls::new(false);
    let _ = select.from.visit(&mut in_from);
    if let Some(call) = in_from.found.first() {
        return Err(Error::config(format!(
            "sql: {call}{}: a window can't be made in a join condition; make it in a view and join on its column",
            place(call)
        )));
    }
    let mut calls = Calls::new(true);
    calls.visit(select, order_by);
    let mut calls = calls.found.into_iter();
    let Some(call) = calls.next() else { return Ok(()) };
    let column = column_of(&call).unwrap_or(WINDOW_COLUMN);
    if let Some(other) = calls.find(|it| it.to_string() != call.to_string()) {
        return Err(Error::config(format!(
            "sql: two window expressions in one select, {call} and {other}{}: only one is possible",
            place(&other)
        )));
    }
    let mut from = std::mem::take(&mut select.from).into_iter();
    let Some(first) = from.next() else {
        return Err(Error::config(format!("sql: {call}{}: there is no FROM clause to take rows from", place(&call))));
    };
    let table = one_factor(first, from);
    let relation = TableFactor::Unpivot {
        table: Box::new(table),
        value: Expr::Function(call),
        name: Ident::new(column),
        columns: Vec::new(),
        null_inclusion: None,
        alias: None,
    };
    select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    Ok(())
}

/// Collects the calls of one SELECT, and puts the column in their place.
struct Calls {
    found: Vec<Function>,
    replace: bool,
    depth: usize,
}

impl Calls {
    fn new(replace: bool) -> Self {
        Self { found: Vec::new(), replace, depth: 0 }
    }

    fn visit(&mut self, select: &mut Select, order_by: Option<&mut OrderBy>) {
        let _ = visit_expressions(self, select, order_by);
    }
}

/// Visits the expressions of one SELECT but those in its FROM clause.
pub(super) fn visit_expressions<V: VisitorMut>(
    visitor: &mut V,
    select: &mut Select,
    order_by: Option<&mut OrderBy>,
) -> ControlFlow<V::Break> {
    select.distinct.visit(visitor)?;
    select.projection.visit(visitor)?;
    select.selection.visit(visitor)?;
    select.group_by.visit(visitor)?;
    select.having.visit(visitor)?;
    select.qualify.visit(visitor)?;
    match order_by {
        Some(order_by) => order_by.visit(visitor),
        None => ControlFlow::Continue(()),
    }
}

impl VisitorMut for Calls {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let (call, fields) = match expr {
            Expr::Function(call) => (call, Vec::new()),
            Expr::CompoundFieldAccess { root, access_chain } => match (root.as_mut(), fields(access_chain)) {
                (Expr::Function(call), Some(fields)) => (call, fields),
                _ => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        let Some(column) = column_of(call) else { return ControlFlow::Continue(()) };
        self.found.push(call.clone());
        if self.replace {
            let column = Ident::new(column);
            *expr = if fields.is_empty() {
                Expr::Identifier(column)
            } else {
                Expr::CompoundIdentifier([column].into_iter().chain(fields).collect())
            };
        }
        ControlFlow::Continue(())
    }
}

/// The names of a chain like `.start`.
fn fields(chain: &[AccessExpr]) -> Option<Vec<Ident>> {
    let names = chain.iter().map(|access| match access {
        AccessExpr::Dot(Expr::Identifier(name)) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

/// `FROM a, b JOIN c` as one factor.
fn one_factor(first: TableWithJoins, rest: impl Iterator<Item = TableWithJoins>) -> TableFactor {
    let joins: Vec<Join> = rest
        .map(|table| Join {
            relation: factor(table),
            global: false,
            join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
        })
        .collect();
    let relation = factor(first);
    if joins.is_empty() { relation } else { factor(TableWithJoins { relation, joins }) }
}

fn factor(table: TableWithJoins) -> TableFactor {
    if table.joins.is_empty() {
        return table.relation;
    }
    TableFactor::NestedJoin { table_with_joins: Box::new(table), alias: None }
}
