//! Gives each identifier the one spelling known in its scope: DataFusion compares names exactly, we without regard to
//! case. Subqueries in FROM are planned as they are left, to learn their columns.

use std::ops::ControlFlow;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    Cte, Distinct, Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectNamePart, OrderBy, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, TableFactor, TableWithJoins, VisitMut,
    VisitorMut, With,
};
use tidegate_api::{Error, Result};

use super::scope::{Relation, Scope, spelling};
use super::{fields, windows};
use crate::check::reads_stream;
use crate::error::{place, place_at};
use crate::planner::Planner;

/// Resolves the names of one query.
pub(crate) struct Resolver<'p> {
    planner: &'p Planner,
    ctes: Vec<(Cte, Relation)>,
}

impl<'p> Resolver<'p> {
    pub(crate) fn new(planner: &'p Planner) -> Self {
        Self { planner, ctes: Vec::new() }
    }

    /// Resolves all names of `query` in place.
    ///
    /// # Errors
    /// `Config` for an unknown table, an ambiguous name, or a subquery that can't be planned.
    pub(crate) fn resolve(&mut self, query: &mut Query) -> Result<()> {
        self.query(query, None)
    }

    fn query(&mut self, query: &mut Query, outer: Option<&Scope<'_>>) -> Result<()> {
        let visible = self.ctes.len();
        for cte in query.with.iter_mut().flat_map(|it| &mut it.cte_tables) {
            self.query(&mut cte.query, outer)?;
            let plan = self.plan(&cte.query)?;
            let relation = Relation::new(None, plan.schema()).aliased(Some(&cte.alias));
            self.ctes.push((cte.clone(), relation));
        }
        self.body(&mut query.body, query.order_by.as_mut(), outer)?;
        self.ctes.truncate(visible);
        Ok(())
    }

    fn body(&mut self, body: &mut SetExpr, order_by: Option<&mut OrderBy>, outer: Option<&Scope<'_>>) -> Result<()> {
        match body {
            SetExpr::Select(select) => self.select(select, order_by, outer),
            SetExpr::Query(query) => self.query(query, outer),
            SetExpr::SetOperation { op, left, right, .. } => {
                self.body(left, None, outer)?;
                self.body(right, None, outer)?;
                self.set_operation(*op, left, right)
            }
            _ => Ok(()),
        }
    }

    /// INTERSECT and EXCEPT become joins, which could not be told from the user's own later on.
    fn set_operation(&self, op: SetOperator, left: &SetExpr, right: &SetExpr) -> Result<()> {
        if !matches!(op, SetOperator::Intersect | SetOperator::Except | SetOperator::Minus) {
            return Ok(());
        }
        for side in [left, right] {
            if reads_stream(&self.plan(&as_query(side.clone()))?) {
                return Err(Error::config(format!("sql: {op} is not supported on a stream{}", place(side))));
            }
        }
        Ok(())
    }

    fn select(&mut self, select: &mut Select, order_by: Option<&mut OrderBy>, outer: Option<&Scope<'_>>) -> Result<()> {
        let mut order_by = order_by;
        let mut scope = Scope { relations: Vec::new(), aliases: Vec::new(), outer };
        for table in &mut select.from {
            let relations = self.table(table, outer)?;
            scope.relations.extend(relations);
        }
        scope.relations.extend(windows::relation(select, order_by.as_deref_mut()));
        self.visit(&mut select.selection, &scope)?;
        for item in std::mem::take(&mut select.projection) {
            let items = self.item(item, &scope)?;
            select.projection.extend(items);
        }
        scope.aliases = aliases(&select.projection);
        if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            self.visit(keys, &scope)?;
        }
        self.visit(&mut select.having, &scope)?;
        self.visit(&mut select.qualify, &scope)?;
        self.visit(&mut select.named_window, &scope)?;
        if let Some(Distinct::On(on)) = &mut select.distinct {
            self.visit(on, &scope)?;
        }
        if let Some(order_by) = order_by.as_deref_mut() {
            self.visit(order_by, &scope)?;
        }
        windows::rewrite(select, order_by.as_deref_mut())?;
        name_fields(&mut select.projection);
        fields::rewrite(select, order_by);
        Ok(())
    }

    /// An item of the SELECT list; `j.*` of a struct column becomes its fields.
    fn item(&mut self, mut item: SelectItem, scope: &Scope<'_>) -> Result<Vec<SelectItem>> {
        let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = &mut item else {
            self.visit(&mut item, scope)?;
            return Ok(vec![item]);
        };
        let parts: Option<Vec<Ident>> = name.0.iter().map(|it| it.as_ident().cloned()).collect();
        let mut parts = parts.unwrap_or_default();
        if let [ObjectNamePart::Identifier(name)] = name.0.as_mut_slice()
            && scope.relation(name)?
        {
            return Ok(vec![item]);
        }
        let Some(fields) = scope.struct_fields(&mut parts)? else { return Ok(vec![item]) };
        let fields = fields.iter().map(|field| {
            let quoted = Ident::with_quote('"', field.name());
            let path = parts.iter().cloned().chain([quoted.clone()]).collect();
            SelectItem::ExprWithAlias { expr: Expr::CompoundIdentifier(path), alias: quoted }
        });
        Ok(fields.collect())
    }

    /// The relations of one item of a FROM clause.
    fn table(&mut self, table: &mut TableWithJoins, outer: Option<&Scope<'_>>) -> Result<Vec<Relation>> {
        let mut scope = Scope { relations: self.factor(&mut table.relation, outer)?, aliases: Vec::new(), outer };
        for join in &mut table.joins {
            let right = self.factor(&mut join.relation, outer)?;
            scope.relations.extend(right);
            match constraint(&mut join.join_operator) {
                Some(JoinConstraint::On(condition)) => self.visit(condition, &scope)?,
                Some(JoinConstraint::Using(columns)) => {
                    for column in columns {
                        if let [ObjectNamePart::Identifier(name)] = column.0.as_mut_slice() {
                            scope.column(name)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(scope.relations)
    }

    fn factor(&mut self, factor: &mut TableFactor, outer: Option<&Scope<'_>>) -> Result<Vec<Relation>> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let at = place(name);
                let [ObjectNamePart::Identifier(name)] = name.0.as_mut_slice() else {
                    return Err(Error::config(format!("sql: table {name}{at}: expected a name without dots")));
                };
                Ok(vec![self.named(name)?.aliased(alias.as_ref())])
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                self.query(subquery, outer)?;
                if *lateral {
                    return Ok(Vec::new());
                }
                let plan = self.plan(subquery)?;
                Ok(vec![Relation::new(None, plan.schema()).aliased(alias.as_ref())])
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let relations = self.table(table_with_joins, outer)?;
                if alias.is_none() {
                    return Ok(relations);
                }
                let columns = relations.into_iter().flat_map(|it| it.columns).collect();
                Ok(vec![Relation { name: None, columns }.aliased(alias.as_ref())])
            }
            _ => Ok(Vec::new()),
        }
    }

    /// A CTE, or else a source or view; its name gets its spelling.
    fn named(&self, name: &mut Ident) -> Result<Relation> {
        let ctes = self.ctes.iter().rev().filter_map(|(_, relation)| relation.name.as_deref());
        let found = match spelling(name, ctes)? {
            Some(found) => {
                let relation = self.ctes.iter().rev().map(|(_, it)| it).find(|it| it.name.as_deref() == Some(found));
                relation.cloned().map(|it| (found.to_owned(), it))
            }
            None => match spelling(name, self.planner.table_names())? {
                Some(found) => {
                    let schema = self.planner.schema_of(found)?;
                    Some((found.to_owned(), Relation::new(Some(found), &schema)))
                }
                None => None,
            },
        };
        let Some((found, relation)) = found else {
            let known = self.planner.table_names().collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            return Err(Error::config(format!(
                "sql: table {name} is not known{}; known are: {known}",
                place_at(name.span)
            )));
        };
        if name.value != found {
            *name = Ident { value: found, quote_style: name.quote_style, span: name.span };
        }
        Ok(relation)
    }

    fn visit(&mut self, part: &mut impl VisitMut, scope: &Scope<'_>) -> Result<()> {
        match part.visit(&mut Names { resolver: self, scope, depth: 0 }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(*error),
        }
    }

    /// Plans a query that is resolved, with the CTEs that it can see.
    fn plan(&self, query: &Query) -> Result<LogicalPlan> {
        let mut query = query.clone();
        let visible = self.ctes.iter().map(|(cte, _)| cte.clone());
        let own = query.with.take().into_iter().flat_map(|it| it.cte_tables);
        let cte_tables: Vec<Cte> = visible.chain(own).collect();
        if !cte_tables.is_empty() {
            query.with = Some(With { with_token: AttachedToken::empty(), recursive: false, cte_tables });
        }
        self.planner.plan_resolved(query)
    }
}

/// Visits expressions of one SELECT; what lies in a subquery has a scope of its own.
struct Names<'a, 'p> {
    resolver: &'a mut Resolver<'p>,
    scope: &'a Scope<'a>,
    depth: usize,
}

impl VisitorMut for Names<'_, '_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        if self.depth == 1 { flow(self.resolver.query(query, Some(self.scope))) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Identifier(name) if self.depth == 0 => flow(self.scope.column(name)),
            Expr::CompoundIdentifier(parts) if self.depth == 0 => flow(self.scope.compound(parts)),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn flow(result: Result<()>) -> ControlFlow<Box<Error>> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(Box::new(error)),
    }
}

fn aliases(projection: &[SelectItem]) -> Vec<String> {
    let named = projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    });
    named.collect()
}

/// `SELECT j.id` makes a column `id`, as in Spark, not one named after the expression.
fn name_fields(projection: &mut [SelectItem]) {
    for item in projection {
        let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) = item else { continue };
        let Some(alias) = parts.last().cloned() else { continue };
        let expr = Expr::CompoundIdentifier(std::mem::take(parts));
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
}

fn constraint(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(it)
        | JoinOperator::Inner(it)
        | JoinOperator::Left(it)
        | JoinOperator::LeftOuter(it)
        | JoinOperator::Right(it)
        | JoinOperator::RightOuter(it)
        | JoinOperator::FullOuter(it)
        | JoinOperator::CrossJoin(it)
        | JoinOperator::Semi(it)
        | JoinOperator::LeftSemi(it)
        | JoinOperator::RightSemi(it)
        | JoinOperator::Anti(it)
        | JoinOperator::LeftAnti(it)
        | JoinOperator::RightAnti(it) => Some(it),
        _ => None,
    }
}

fn as_query(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}
