//! `Changelog`: what an aggregation over a stream changed, for operators above it that can take rows back.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_schema::{DataType, Field};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

/// The last column of the rows: +1 for a row that is there now, -1 for one that no longer is. A BIGINT, so that sums of it need
/// no cast.
pub(crate) const CHANGE: &str = "__change";

/// The rows of an aggregation that an epoch changed, as they were (-1) and as they are (+1). No filter acts below it: a group
/// that fails one now may have passed it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changelog {
    /// The aggregation.
    pub input: LogicalPlan,
    /// The aggregation keeps all groups, and late rows too (complete mode).
    pub complete: bool,
    schema: DFSchemaRef,
}

impl Changelog {
    /// The changes of `input`.
    ///
    /// # Errors
    /// If `input` has a column of the name that the changes take.
    pub(crate) fn try_new(input: LogicalPlan, complete: bool) -> Result<Self> {
        Ok(Self { schema: with_change(input.schema())?, input, complete })
    }
}

/// The schema with the column of changes as its last.
///
/// # Errors
/// If it has a column of that name.
pub(crate) fn with_change(schema: &DFSchema) -> Result<DFSchemaRef> {
    let change = (None, Arc::new(Field::new(CHANGE, DataType::Int64, false)));
    let fields = schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
    Ok(Arc::new(DFSchema::new_with_metadata(fields.chain([change]).collect(), schema.metadata().clone())?))
}

/// The change of a row, the last column of these.
pub(crate) fn change_of(schema: &DFSchema) -> Expr {
    let last = schema.columns().into_iter().next_back();
    Expr::Column(last.unwrap_or_else(|| Column::new_unqualified(CHANGE)))
}

impl Hash for Changelog {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.input, self.complete).hash(state);
    }
}

impl PartialOrd for Changelog {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for Changelog {
    fn name(&self) -> &str {
        "Changelog"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.complete { "Changelog: all groups are kept" } else { "Changelog" })
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.pop() else { return plan_err!("a changelog has one input") };
        Self::try_new(input, self.complete)
    }

    /// Two rows of a group are the same if all of their columns are.
    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![(0..self.input.schema().fields().len()).collect()])
    }
}
