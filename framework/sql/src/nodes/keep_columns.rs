//! `KeepColumns`: below a stateful operator, so that the optimiser leaves it all columns of what it reads.

use std::collections::HashSet;
use std::fmt;

use datafusion::common::{DFSchemaRef, Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

/// Passes its input on with all columns, whoever needs them. Filters act below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub struct KeepColumns {
    /// Where the rows come from.
    pub input: LogicalPlan,
}

impl UserDefinedLogicalNodeCore for KeepColumns {
    fn name(&self) -> &str {
        "KeepColumns"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeepColumns")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.pop() else { return plan_err!("KeepColumns has one input") };
        Ok(Self { input })
    }
}
