//! After the optimiser: `from_json` decodes only the fields that are used above it.
//!
//! Goes down the plan with what is used of each column. A column that is passed on as it is (by filters, aliases, joins,
//! watermarks) takes its use along; a node that is not known here uses all of its input. The name of a narrowed call is
//! the old one, so no column changes its name; its type has fewer fields. A permissive document is malformed or not,
//! and a struct null or not, whichever of its fields are decoded; FAILFAST looks at all of them and is left alone.

use std::collections::BTreeMap;

use arrow_schema::{DataType, FieldRef, Fields};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::{Alias, ScalarFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, Unnest};

use crate::functions::json::{is_from_json, narrowed};
use crate::nodes::WatermarkNode;

/// The plan with narrowed calls of `from_json`.
pub(crate) fn decode_used_fields(plan: LogicalPlan) -> Result<LogicalPlan> {
    let (mut found, mut has_subquery) = (false, false);
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|it| {
                found |= is_from_json(it);
                has_subquery |= matches!(
                    it,
                    Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
                );
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    // A subquery that is still there may use columns of the plan around it.
    if !found || has_subquery {
        return Ok(plan);
    }
    let all = vec![Used::Whole; plan.schema().fields().len()];
    Ok(visit(plan, &all)?.data)
}

/// What is used of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Used {
    Whole,
    /// These fields; none if it matters only whether it is null.
    Fields(BTreeMap<String, Used>),
}

impl Used {
    fn nothing() -> Self {
        Used::Fields(BTreeMap::new())
    }

    /// As a field of a value that is not used otherwise.
    fn within(self, name: &str) -> Self {
        Used::Fields(BTreeMap::from([(name.to_owned(), self)]))
    }

    fn add(&mut self, other: Self) {
        match (self, other) {
            (Used::Whole, _) => {}
            (this, Used::Whole) => *this = Used::Whole,
            (Used::Fields(fields), Used::Fields(more)) => {
                for (name, used) in more {
                    fields.entry(name).or_insert_with(Used::nothing).add(used);
                }
            }
        }
    }

    /// The part of a type that is used. A struct keeps one field at least.
    fn of(&self, data_type: &DataType) -> DataType {
        let (Used::Fields(used), DataType::Struct(fields)) = (self, data_type) else { return data_type.clone() };
        let part = |field: &FieldRef, used: &Used| {
            let narrow = field.as_ref().clone().with_data_type(used.of(field.data_type()));
            FieldRef::new(narrow)
        };
        let mut kept: Fields = fields.iter().filter_map(|it| Some(part(it, used.get(it.name())?))).collect();
        if kept.is_empty() {
            kept = fields.iter().take(1).map(|it| part(it, &Used::nothing())).collect();
        }
        DataType::Struct(kept)
    }
}

/// `used`: of each column that the node gives.
fn visit(plan: LogicalPlan, used: &[Used]) -> Result<Transformed<LogicalPlan>> {
    if plan.inputs().is_empty() {
        return Ok(Transformed::no(plan));
    }
    let mut below = Below::new(&plan, used);
    let mut changed = false;
    let mut exprs = Vec::new();
    for (index, expr) in plan.expressions().into_iter().enumerate() {
        let of_column = if matches!(plan, LogicalPlan::Projection(_)) { used.get(index).cloned() } else { None };
        let narrow = below.narrow(expr, of_column.unwrap_or(Used::Whole))?;
        changed |= narrow.transformed;
        exprs.push(narrow.data);
    }
    let mut inputs = Vec::new();
    for (input, used) in plan.inputs().into_iter().cloned().zip(&below.used) {
        let input = visit(input, used)?;
        changed |= input.transformed;
        inputs.push(input.data);
    }
    if !changed {
        return Ok(Transformed::no(plan));
    }
    plan.with_new_exprs(exprs, inputs).map(Transformed::yes)
}

/// What a node uses of its inputs.
struct Below<'p> {
    inputs: Vec<&'p LogicalPlan>,
    /// Of each column of each input.
    used: Vec<Vec<Used>>,
}

impl<'p> Below<'p> {
    /// What it only passes on.
    fn new(plan: &'p LogicalPlan, above: &[Used]) -> Self {
        let inputs = plan.inputs();
        let widths: Vec<usize> = inputs.iter().map(|it| it.schema().fields().len()).collect();
        let each = |used: &Used| widths.iter().map(|it| vec![used.clone(); *it]).collect::<Vec<_>>();
        let is_watermark = |plan: &LogicalPlan| match plan {
            LogicalPlan::Extension(it) => it.node.as_any().is::<WatermarkNode>(),
            _ => false,
        };
        let used = match plan {
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => each(&Used::nothing()),
            LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Join(_) => passed_on(above, &widths).unwrap_or_else(|| each(&Used::Whole)),
            _ if is_watermark(plan) => passed_on(above, &widths).unwrap_or_else(|| each(&Used::Whole)),
            LogicalPlan::Unnest(unnest) => vec![past_unnest(unnest, above)],
            _ => each(&Used::Whole),
        };
        Self { inputs, used }
    }

    /// Narrows the calls in an expression of which `used` is used, and notes what it uses.
    fn narrow(&mut self, expr: Expr, used: Used) -> Result<Transformed<Expr>> {
        match expr {
            Expr::Alias(Alias { expr, relation, name, metadata }) => Ok(self
                .narrow(*expr, used)?
                .update_data(|it| Expr::Alias(Alias { expr: Box::new(it), relation, name, metadata }))),
            Expr::Column(column) => {
                self.note(&column, used);
                Ok(Transformed::no(Expr::Column(column)))
            }
            Expr::IsNull(inner) => Ok(self.narrow(*inner, Used::nothing())?.update_data(|it| Expr::IsNull(it.into()))),
            Expr::IsNotNull(inner) => {
                Ok(self.narrow(*inner, Used::nothing())?.update_data(|it| Expr::IsNotNull(it.into())))
            }
            Expr::ScalarFunction(call) => self.narrow_call(call, used),
            other => other.map_children(|it| self.narrow(it, Used::Whole)),
        }
    }

    fn narrow_call(&mut self, mut call: ScalarFunction, used: Used) -> Result<Transformed<Expr>> {
        if let Some(used) = of_base(&call, &used) {
            let base = self.narrow(call.args.remove(0), used)?;
            return Ok(base.update_data(|it| {
                call.args.insert(0, it);
                Expr::ScalarFunction(call)
            }));
        }
        let narrow = narrowed(&call, |it| used.of(it))?;
        let inner = Expr::ScalarFunction(call).map_children(|it| self.narrow(it, Used::Whole))?;
        match (narrow, inner.data) {
            (Some(func), Expr::ScalarFunction(call)) => {
                Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, ..call })))
            }
            (_, same) => Ok(Transformed::new_transformed(same, inner.transformed)),
        }
    }

    fn note(&mut self, column: &Column, used: Used) {
        for (input, columns) in self.inputs.iter().zip(&mut self.used) {
            if let Some(index) = input.schema().maybe_index_of_column(column)
                && let Some(known) = columns.get_mut(index)
            {
                known.add(used.clone());
            }
        }
    }
}

/// The uses of the inputs' columns if the node's own are theirs, one after the other.
fn passed_on(above: &[Used], widths: &[usize]) -> Option<Vec<Vec<Used>>> {
    let mut above = above.iter();
    let used: Vec<Vec<Used>> = widths.iter().map(|it| above.by_ref().take(*it).cloned().collect()).collect();
    let fits = above.next().is_none() && used.iter().zip(widths).all(|(used, width)| used.len() == *width);
    fits.then_some(used)
}

fn past_unnest(unnest: &Unnest, above: &[Used]) -> Vec<Used> {
    let mut below = vec![Used::nothing(); unnest.input.schema().fields().len()];
    for (index, used) in unnest.dependency_indices.iter().zip(above) {
        if let Some(known) = below.get_mut(*index) {
            known.add(used.clone());
        }
    }
    let unnested = unnest.list_type_columns.iter().map(|it| it.0).chain(unnest.struct_type_columns.iter().copied());
    for index in unnested {
        if let Some(known) = below.get_mut(index) {
            *known = Used::Whole;
        }
    }
    below
}

/// What `get_field(base, 'a', 'b')` uses of its base if `used` is used of the result.
fn of_base(call: &ScalarFunction, used: &Used) -> Option<Used> {
    let [_, names @ ..] = call.args.as_slice() else { return None };
    if call.func.name() != "get_field" || names.is_empty() {
        return None;
    }
    names.iter().rev().try_fold(used.clone(), |used, name| match name {
        Expr::Literal(name, _) => Some(used.within(name.try_as_str()??)),
        _ => None,
    })
}
