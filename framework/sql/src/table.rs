//! What a table name stands for in a logical plan.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::logical_expr::{LogicalPlan, TableSource};

/// Whether a table grows from epoch to epoch or is read whole in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableKind {
    /// Each row enters one epoch.
    Stream,
    /// All rows are there in every epoch.
    Static,
}

/// A source as the leaf of a logical plan; the engine puts its own leaf in its place.
#[derive(Debug)]
pub struct SourceTable {
    /// The source's name in the query.
    pub name: Arc<str>,
    /// Its columns.
    pub schema: SchemaRef,
    /// How it is read.
    pub kind: TableKind,
}

impl TableSource for SourceTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// A name that stands for a plan: a view, or a source with its watermark.
pub(crate) struct PlanTable {
    plan: LogicalPlan,
    schema: SchemaRef,
}

impl PlanTable {
    pub(crate) fn new(plan: LogicalPlan) -> Self {
        let schema = Arc::clone(plan.schema().inner());
        Self { plan, schema }
    }
}

impl TableSource for PlanTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}
