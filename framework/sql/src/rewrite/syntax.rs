//! Refuses what has no meaning on a stream or comes later, by its form; and hands functions to `functions`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, GroupByWithModifier, Ident, Query, Select, SelectItem, TableFactor, TableSampleKind, VisitMut,
    VisitorMut,
};
use tidegate_api::{Error, Result};

use super::functions;
use crate::error::place;

/// Rewrites the functions of a whole query.
pub(crate) fn rewrite(query: &mut Query) -> Result<()> {
    match query.visit(&mut Syntax) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

/// `GROUP BY a, b WITH ROLLUP`, `WITH CUBE` and `GROUP BY a, b GROUPING SETS (…)` as `GROUP BY ROLLUP (a, b)` and so on.
fn one_group_by(group_by: &mut GroupByExpr) -> std::result::Result<(), &'static str> {
    let GroupByExpr::Expressions(keys, modifiers) = group_by else { return Ok(()) };
    let mut sets = || std::mem::take(keys).into_iter().map(|it| vec![it]).collect();
    let sets = match modifiers.as_mut_slice() {
        [] => return Ok(()),
        [GroupByWithModifier::Rollup] => Expr::Rollup(sets()),
        [GroupByWithModifier::Cube] => Expr::Cube(sets()),
        [GroupByWithModifier::GroupingSets(sets)] => std::mem::replace(sets, Expr::Tuple(Vec::new())),
        _ => return Err("GROUP BY: expected one of WITH ROLLUP, WITH CUBE and GROUPING SETS"),
    };
    *group_by = GroupByExpr::Expressions(vec![sets], Vec::new());
    Ok(())
}

struct Syntax;

impl VisitorMut for Syntax {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        match &query.with {
            Some(with) if with.recursive => refuse("WITH RECURSIVE is not supported", String::new()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        if !select.lateral_views.is_empty() {
            return refuse("LATERAL VIEW: write explode(..) in the SELECT list", String::new());
        }
        if select.into.is_some() {
            return refuse("SELECT INTO: name a sink in the pipeline", String::new());
        }
        if let Err(what) = one_group_by(&mut select.group_by) {
            return refuse(what, String::new());
        }
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some(alias) = functions::column_name(expr)
            {
                let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::new(alias) };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let at = place(factor);
        match factor {
            TableFactor::Table { sample: Some(sample), .. } | TableFactor::Derived { sample: Some(sample), .. } => {
                let (TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) = sample;
                refuse(&format!("sampling ({}) is not supported on a stream", sample.to_string().trim()), at)
            }
            TableFactor::Table { version: Some(version), .. } => {
                refuse(&format!("a table's version ({}) is not supported", version.to_string().trim()), at)
            }
            TableFactor::Pivot { .. } => refuse("PIVOT is not supported", at),
            TableFactor::Unpivot { .. } => refuse("UNPIVOT is not supported", at),
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match functions::rewrite(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

fn refuse(what: &str, at: String) -> ControlFlow<Box<Error>> {
    ControlFlow::Break(Box::new(Error::config(format!("sql: {what}{at}"))))
}
