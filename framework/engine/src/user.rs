//! Code of the user's that keeps state by key (Spark: `StatefulProcessor` of `transformWithState`).
//!
//! ```text
//! each epoch, on a copy of the processor as it was given:
//!   init(variables)                                   // the same ones each time
//!   for each key with rows     handle_input_rows(key, its rows, handle)
//!   for each timer that is over, by time   handle_expired_timer(key, time, handle)
//!   close()
//! ```
//! What the copy remembers by itself is gone with the epoch; so an epoch that runs again gives the same rows.

mod group_state;
mod handle;
mod session;
mod value;
mod variables;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Fields, SchemaRef};
use tidegate_api::{Error, OutputMode, Result};

pub(crate) use group_state::GroupFunction;
pub use group_state::{GroupState, GroupStateTimeout};
pub use handle::StateHandle;
pub(crate) use handle::Times;
pub(crate) use session::{Cell, Loaded, Session, Timer};
pub use value::{StateType, StateValue};
pub(crate) use variables::{Kind, Variable, column_of};
pub use variables::{ListState, MapState, StateVariables, ValueState};

/// What timers and lifetimes go by (Spark: `TimeMode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimeMode {
    /// There are none.
    #[default]
    None,
    /// The clock of the epoch.
    ProcessingTime,
    /// The watermark; then late rows are dropped before the code sees them.
    EventTime,
}

/// Code that is called with the rows of each key, and keeps state for it (Spark: `StatefulProcessor`).
///
/// It must depend on nothing but what it is called with, else an epoch that runs again gives other rows.
pub trait StatefulProcessor: Send + 'static {
    /// Declares what is kept for each key.
    ///
    /// # Errors
    /// Whatever stands in the way: the query fails with it.
    fn init(&mut self, variables: &mut StateVariables) -> Result<()>;

    /// All rows of a key in an epoch, in input order; called for no key without rows.
    ///
    /// # Errors
    /// Whatever stands in the way: the query fails with it.
    fn handle_input_rows(
        &mut self,
        key: &GroupKey<'_>,
        rows: &RecordBatch,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>>;

    /// A timer of a key is over; all rows of the epoch have been handled. The timer is still among those of the key, and
    /// is deleted after this.
    ///
    /// # Errors
    /// Whatever stands in the way: the query fails with it.
    fn handle_expired_timer(
        &mut self,
        key: &GroupKey<'_>,
        timer_ms: i64,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        let _ = (key, timer_ms, handle);
        Ok(Vec::new())
    }

    /// The epoch's last call.
    ///
    /// # Errors
    /// Whatever stands in the way: the query fails with it.
    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The key that a call is about.
#[derive(Clone, Copy, Debug)]
pub struct GroupKey<'k> {
    pub(crate) keys: &'k RecordBatch,
    pub(crate) row: usize,
}

impl GroupKey<'_> {
    /// One of its columns, by position.
    ///
    /// # Errors
    /// `Config` if there is no such column, it is of another type, or it is null: ask for an `Option` then.
    pub fn get<T: StateValue>(&self, column: usize) -> Result<T> {
        let found = self.keys.columns().get(column);
        let array = found.ok_or_else(|| Error::config(format!("the key has no column {column}")))?;
        T::read(array, self.row).map_err(|e| e.within(format!("column {column} of the key")))
    }

    /// All of it, as one row.
    pub fn row(&self) -> RecordBatch {
        self.keys.slice(self.row, 1)
    }
}

/// A processor as it was given, of which each epoch runs a copy.
pub(crate) trait Prototype: Send + Sync + 'static {
    fn fresh(&self) -> Box<dyn StatefulProcessor>;
}

impl<P: StatefulProcessor + Clone + Sync> Prototype for P {
    fn fresh(&self) -> Box<dyn StatefulProcessor> {
        Box::new(self.clone())
    }
}

/// What a plan carries as [`tidegate_sql::UserCode`].
pub(crate) struct Code {
    pub(crate) prototype: Box<dyn Prototype>,
    pub(crate) time_mode: TimeMode,
    /// It is a function on groups: what Spark has beside processors.
    pub(crate) is_group_function: bool,
}

/// User code over the rows of a view, whose last columns are the keys.
#[derive(Clone)]
pub struct ProcessSpec {
    keys: Vec<String>,
    output: Fields,
    mode: Option<OutputMode>,
    code: Arc<Code>,
}

impl ProcessSpec {
    /// A processor (Spark: `transformWithState`). `keys` are the names of the view's last columns.
    pub fn processor<P>(keys: Vec<String>, processor: P, output: &SchemaRef, time_mode: TimeMode) -> Self
    where
        P: StatefulProcessor + Clone + Sync,
    {
        let code = Code { prototype: Box::new(processor), time_mode, is_group_function: false };
        Self { keys, output: output.fields().clone(), mode: None, code: Arc::new(code) }
    }

    /// A function on groups, whose rows are those of one output mode (Spark: `flatMapGroupsWithState`).
    pub fn group_function<S, F>(
        keys: Vec<String>,
        function: F,
        output: &SchemaRef,
        timeout: GroupStateTimeout,
        mode: OutputMode,
    ) -> Self
    where
        S: StateType + Clone,
        F: Fn(&GroupKey<'_>, &RecordBatch, &mut GroupState<S>) -> Result<Vec<RecordBatch>> + Send + Sync + 'static,
    {
        let prototype = Box::new(GroupFunction::<S, F>::new(function, timeout));
        let code = Code { prototype, time_mode: timeout.time_mode(), is_group_function: true };
        Self { keys, output: output.fields().clone(), mode: Some(mode), code: Arc::new(code) }
    }

    /// What the planner makes a node of.
    pub(crate) fn step(&self) -> tidegate_sql::UserStep {
        tidegate_sql::UserStep {
            operation: if self.code.is_group_function { "flat_map_groups_with_state" } else { "transform_with_state" },
            keys: self.keys.clone(),
            event_time: self.code.time_mode == TimeMode::EventTime,
            mode: self.mode,
            output: self.output.clone(),
            code: tidegate_sql::UserCode(self.code.clone()),
        }
    }
}

/// Microseconds of a time that a user gives in milliseconds.
pub(crate) fn micros(ms: i64) -> i64 {
    ms.saturating_mul(1000)
}

impl std::fmt::Debug for ProcessSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessSpec").field("keys", &self.keys).field("mode", &self.mode).finish_non_exhaustive()
    }
}
