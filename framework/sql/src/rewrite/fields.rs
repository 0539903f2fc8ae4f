//! `from_json(..).id`: DataFusion reads a field off an expression in brackets only, `from_json(..)['id']`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, OrderBy, Select, Subscript, Value, VisitorMut};

use super::windows::visit_expressions;

/// Rewrites the field accesses of one SELECT.
pub(super) fn rewrite(select: &mut Select, order_by: Option<&mut OrderBy>) {
    let _ = visit_expressions(&mut Dots, select, order_by);
}

struct Dots;

impl VisitorMut for Dots {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundFieldAccess { access_chain, .. } = expr {
            for access in access_chain {
                if let AccessExpr::Dot(Expr::Identifier(name)) = access {
                    let index = Expr::Value(Value::SingleQuotedString(name.value.clone()).into());
                    *access = AccessExpr::Subscript(Subscript::Index { index });
                }
            }
        }
        ControlFlow::Continue(())
    }
}
