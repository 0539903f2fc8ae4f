//! `WatermarkNode`: declares a column as event time and says how late its rows may be.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::event_time;

/// Passes its input on; the engine reads the largest event time of each epoch off it.
///
/// Filters that don't use the event-time column act below it, as in Spark, so rows that they remove don't move the
/// watermark. Columns that nobody needs are not asked for, but the event time always is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatermarkNode {
    /// Where the rows come from.
    pub input: LogicalPlan,
    /// The event-time column.
    pub column: Column,
    /// How far the watermark stays behind the largest event time, milliseconds.
    pub delay_ms: i64,
    /// The source or view that declares it.
    pub id: Arc<str>,
    schema: DFSchemaRef,
}

impl WatermarkNode {
    /// A watermark on `column` of `input`.
    ///
    /// # Errors
    /// If there is no such column.
    pub fn try_new(input: LogicalPlan, column: Column, delay_ms: i64, id: Arc<str>) -> Result<Self> {
        let marked = input.schema().index_of_column(&column)?;
        let fields = input.schema().iter().enumerate().map(|(index, (qualifier, field))| {
            let mut field = field.as_ref().clone();
            if index == marked {
                field.metadata_mut().extend(event_time::marks(delay_ms));
            }
            (qualifier.cloned(), Arc::new(field))
        });
        let schema = DFSchema::new_with_metadata(fields.collect(), input.schema().metadata().clone())?
            .with_functional_dependencies(input.schema().functional_dependencies().clone())?;
        Ok(Self { input, column, delay_ms, id, schema: Arc::new(schema) })
    }

    /// The event-time column's place in the input and in the output.
    ///
    /// # Errors
    /// If a rewrite has removed it, which it may not.
    pub fn column_index(&self) -> Result<usize> {
        self.schema.index_of_column(&self.column)
    }
}

impl PartialOrd for WatermarkNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let key = |it: &Self| (it.id.clone(), it.delay_ms, it.column.clone());
        key(self).partial_cmp(&key(other)).filter(|order| *order != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for WatermarkNode {
    fn name(&self) -> &str {
        "Watermark"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![Expr::Column(self.column.clone())]
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::from([self.column.name.clone()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watermark: {} delay={}ms of {}", self.column, self.delay_ms, self.id)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let column = match exprs.pop() {
            Some(Expr::Column(column)) => column,
            _ => self.column.clone(),
        };
        let input = inputs.pop().unwrap_or_else(|| self.input.clone());
        Self::try_new(input, column, self.delay_ms, self.id.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let mut needed = output_columns.to_vec();
        needed.push(self.column_index().ok()?);
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
