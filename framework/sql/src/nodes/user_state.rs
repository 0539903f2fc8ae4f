//! `UserState`: hands the rows of each key to code of the user's, which keeps state for it.

use std::any::Any;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_schema::{FieldRef, Fields, Schema};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, plan_err};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, UserDefinedLogicalNodeCore};
use tidegate_api::OutputMode;

use crate::event_time::{event_time, event_time_columns};

/// What the engine runs: nothing that a plan looks into. Two are the same if they are one object.
#[derive(Clone)]
pub struct UserCode(pub Arc<dyn Any + Send + Sync>);

impl PartialEq for UserCode {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for UserCode {}

impl Hash for UserCode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode")
    }
}

/// What a query says of its user code, beside the code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserStep {
    /// What the user calls the operation.
    pub operation: &'static str,
    /// What the user calls the keys: the last columns of the input.
    pub keys: Vec<String>,
    /// Timers are of event time: then late rows are dropped before the code sees them.
    pub event_time: bool,
    /// The only output mode in which its rows mean what they say.
    pub mode: Option<OutputMode>,
    /// The columns that the code makes.
    pub output: Fields,
    /// The code.
    pub code: UserCode,
}

/// Emits what user code makes of the rows of each key. No filter acts below it: what the code has seen does not depend on who
/// reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserState {
    /// Where the rows come from; the keys are its last columns.
    pub input: LogicalPlan,
    /// What is done.
    pub step: UserStep,
    schema: DFSchemaRef,
}

impl UserState {
    /// User code over `input`.
    ///
    /// # Errors
    /// If two columns of the output have one name, or the input has fewer columns than keys.
    pub fn try_new(input: LogicalPlan, step: UserStep) -> Result<Self> {
        if input.schema().fields().len() < step.keys.len() {
            return plan_err!("{}: its input lacks its keys", step.operation);
        }
        let schema = Arc::new(DFSchema::try_from(Schema::new(step.output.clone()))?);
        Ok(Self { input, step, schema })
    }

    /// The columns of the rows that the code sees; the keys follow.
    pub fn columns(&self) -> Vec<Expr> {
        let all = self.input.schema().columns().into_iter();
        all.take(self.key_start()).map(Expr::Column).collect()
    }

    /// The keys.
    pub fn keys(&self) -> Vec<Expr> {
        self.input.schema().columns().into_iter().skip(self.key_start()).map(Expr::Column).collect()
    }

    /// What rows are late by, with what it is: an event time among the keys, else that of the rows; nothing if timers are not of
    /// event time.
    ///
    /// # Errors
    /// If a key does not fit the input.
    pub fn event_time(&self) -> Result<Option<(Expr, FieldRef)>> {
        let schema = self.input.schema();
        if !self.step.event_time {
            return Ok(None);
        }
        for key in self.keys() {
            let (_, field) = key.to_field(schema)?;
            if event_time(&field).is_some() {
                return Ok(Some((key, field)));
            }
        }
        let at = self.event_times().first().copied();
        Ok(at.map(|at| (Expr::Column(Column::from(schema.qualified_field(at))), schema.field(at).clone())))
    }

    /// The event-time columns of the rows, the keys not counted.
    pub(crate) fn event_times(&self) -> Vec<usize> {
        let times = event_time_columns(self.input.schema().as_arrow()).into_iter().map(|it| it.0);
        times.filter(|it| *it < self.key_start()).collect()
    }

    fn key_start(&self) -> usize {
        self.input.schema().fields().len().saturating_sub(self.step.keys.len())
    }
}

impl Hash for UserState {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.input, &self.step).hash(state);
    }
}

impl PartialOrd for UserState {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for UserState {
    fn name(&self) -> &str {
        "UserState"
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
        write!(f, "UserState: {} by {}", self.step.operation, self.step.keys.join(", "))
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.pop() else { return plan_err!("user state has one input") };
        Self::try_new(input, self.step.clone())
    }

    /// The code may look at all of its rows.
    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![(0..self.input.schema().fields().len()).collect()])
    }
}
