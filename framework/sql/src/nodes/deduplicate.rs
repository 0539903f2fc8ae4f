//! `Deduplicate`: lets the first row of each key through.

use std::fmt;
use std::sync::Arc;

use arrow_schema::FieldRef;
use datafusion::common::{Column, DFSchemaRef, DataFusionError, Result, plan_err};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore};

use crate::event_time::{delay_ms, event_time, event_time_columns};

/// Passes rows on whose key has not been there before. No filter acts below it: as in Spark, what it has seen does not
/// depend on who reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub struct Deduplicate {
    /// Where the rows come from.
    pub input: LogicalPlan,
    /// What makes two rows the same; at least one.
    pub keys: Vec<Expr>,
    /// A key is forgotten when the watermark has passed its first event time plus the delay.
    pub within_watermark: bool,
}

impl Deduplicate {
    /// For each key whether it is event time: then a key is forgotten behind the watermark.
    ///
    /// # Errors
    /// If a key does not fit the input.
    pub fn timed_keys(&self) -> Result<Vec<bool>> {
        let schema = self.input.schema();
        self.keys.iter().map(|key| Ok(event_time(&key.to_field(schema)?.1).is_some())).collect()
    }

    /// What rows are late by, with what it is: an event time among the keys, else that of the input.
    ///
    /// # Errors
    /// If a key does not fit the input.
    pub fn event_time(&self) -> Result<Option<(Expr, FieldRef)>> {
        let schema = self.input.schema();
        for key in &self.keys {
            let (_, field) = key.to_field(schema)?;
            if event_time(&field).is_some() {
                return Ok(Some((key.clone(), field)));
            }
        }
        let at = event_time_columns(schema.as_arrow()).first().map(|it| it.0);
        Ok(at.map(|at| (Expr::Column(Column::from(schema.qualified_field(at))), schema.field(at).clone())))
    }

    /// How long a key is remembered within the watermark, milliseconds; none where streams with different delays are united.
    ///
    /// # Errors
    /// If a key does not fit the input.
    pub fn delay_ms(&self) -> Result<Option<i64>> {
        Ok(self.event_time()?.and_then(|(_, field)| delay_ms(&field)))
    }
}

impl UserDefinedLogicalNodeCore for Deduplicate {
    fn name(&self) -> &str {
        "Deduplicate"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.keys.iter().map(ToString::to_string).collect();
        let within = if self.within_watermark { " within the watermark" } else { "" };
        write!(f, "Deduplicate: {}{within}", keys.join(", "))
    }

    fn with_exprs_and_inputs(&self, keys: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.pop() else { return plan_err!("a deduplication has one input") };
        Ok(Self { input, keys, within_watermark: self.within_watermark })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let mut needed = output_columns.to_vec();
        for key in &self.keys {
            for column in key.column_refs() {
                needed.push(schema.index_of_column(column).ok()?);
            }
        }
        needed.extend(event_time_columns(schema.as_arrow()).into_iter().map(|it| it.0));
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// `SELECT DISTINCT ON (keys) columns FROM input` over a stream: the columns of the rows that get through.
pub(crate) fn of_distinct(
    keys: Vec<Expr>,
    columns: Vec<Expr>,
    input: Arc<LogicalPlan>,
) -> Result<LogicalPlan, DataFusionError> {
    let node = Deduplicate { input: Arc::unwrap_or_clone(input), keys, within_watermark: false };
    LogicalPlanBuilder::from(super::extension(node)).project(columns)?.build()
}
