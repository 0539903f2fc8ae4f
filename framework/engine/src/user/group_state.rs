//! `GroupState`: one value and one time-out a key, for functions on groups (Spark: `GroupState` of
//! `mapGroupsWithState`). A thin form of a processor with one value and at most one timer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use tidegate_api::{Error, Result};

use super::handle::StateHandle;
use super::value::StateType;
use super::variables::{StateVariables, ValueState};
use super::{GroupKey, StatefulProcessor, TimeMode};

/// What time-outs of groups go by (Spark: `GroupStateTimeout`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupStateTimeout {
    /// There is none.
    #[default]
    NoTimeout,
    /// The clock of the epoch.
    ProcessingTimeTimeout,
    /// The watermark; then late rows are dropped before the function sees them.
    EventTimeTimeout,
}

impl GroupStateTimeout {
    pub(crate) fn time_mode(self) -> TimeMode {
        match self {
            Self::NoTimeout => TimeMode::None,
            Self::ProcessingTimeTimeout => TimeMode::ProcessingTime,
            Self::EventTimeTimeout => TimeMode::EventTime,
        }
    }
}

/// What a group keeps, for one call of its function. A time-out that the call does not set is gone.
#[derive(Debug)]
pub struct GroupState<S> {
    value: Option<S>,
    change: Change,
    timeout: TimeMode,
    timeout_ms: Option<i64>,
    processing_ms: i64,
    watermark_ms: Option<i64>,
    has_timed_out: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Updated,
    Removed,
}

impl<S: Clone> GroupState<S> {
    /// True if the group has a state.
    pub fn exists(&self) -> bool {
        self.value.is_some()
    }

    /// The state.
    pub fn get(&self) -> Option<&S> {
        self.value.as_ref()
    }

    /// Replaces the state.
    pub fn update(&mut self, value: S) {
        (self.value, self.change) = (Some(value), Change::Updated);
    }

    /// Removes the state.
    pub fn remove(&mut self) {
        (self.value, self.change) = (None, Change::Removed);
    }

    /// True if the call is there since the time-out has come: then it has no rows.
    pub fn has_timed_out(&self) -> bool {
        self.has_timed_out
    }

    /// The function is called again in the first epoch whose time is later than this epoch's by more than that, unless the
    /// group has rows before.
    ///
    /// # Errors
    /// `Config` if time-outs are not by processing time, or this is less than a millisecond.
    pub fn set_timeout_duration(&mut self, duration: Duration) -> Result<()> {
        if self.timeout != TimeMode::ProcessingTime {
            return Err(Error::config("set_timeout_duration: time-outs of these groups are not by processing time"));
        }
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        if ms <= 0 {
            return Err(Error::config("set_timeout_duration: expected a millisecond at least"));
        }
        self.timeout_ms = Some(self.processing_ms.saturating_add(ms));
        Ok(())
    }

    /// The function is called again in the first epoch whose watermark is later than this, unless the group has rows
    /// before. Milliseconds since 1970.
    ///
    /// # Errors
    /// `Config` if time-outs are not by event time, or this is not positive or before the watermark.
    pub fn set_timeout_timestamp(&mut self, at_ms: i64) -> Result<()> {
        if self.timeout != TimeMode::EventTime {
            return Err(Error::config("set_timeout_timestamp: time-outs of these groups are not by event time"));
        }
        if at_ms <= 0 {
            return Err(Error::config(format!("set_timeout_timestamp: {at_ms} ms is not positive")));
        }
        if let Some(watermark_ms) = self.watermark_ms.filter(|it| at_ms < *it) {
            return Err(Error::config(format!(
                "set_timeout_timestamp: {at_ms} ms is before the watermark, {watermark_ms} ms"
            )));
        }
        self.timeout_ms = Some(at_ms);
        Ok(())
    }

    /// The time of the epoch, milliseconds since 1970.
    pub fn processing_time_ms(&self) -> i64 {
        self.processing_ms
    }

    /// The watermark, milliseconds since 1970; at first 0, nothing if no column of the query has one.
    pub fn watermark_ms(&self) -> Option<i64> {
        self.watermark_ms
    }
}

/// A function on groups as a processor.
pub(crate) struct GroupFunction<S, F> {
    function: Arc<F>,
    timeout: GroupStateTimeout,
    state: ValueState<S>,
}

impl<S, F> GroupFunction<S, F> {
    pub(crate) fn new(function: F, timeout: GroupStateTimeout) -> Self {
        Self { function: Arc::new(function), timeout, state: ValueState::default() }
    }
}

impl<S, F> Clone for GroupFunction<S, F> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), timeout: self.timeout, state: self.state }
    }
}

impl<S, F> fmt::Debug for GroupFunction<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupFunction").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl<S, F> GroupFunction<S, F>
where
    S: StateType + Clone,
    F: Fn(&GroupKey<'_>, &RecordBatch, &mut GroupState<S>) -> Result<Vec<RecordBatch>> + Send + Sync + 'static,
{
    fn call(
        &self,
        key: &GroupKey<'_>,
        rows: &RecordBatch,
        handle: &mut StateHandle<'_>,
        has_timed_out: bool,
    ) -> Result<Vec<RecordBatch>> {
        let state = self.state;
        let mut group = GroupState {
            value: state.get(handle)?,
            change: Change::None,
            timeout: handle.time_mode(),
            timeout_ms: None,
            processing_ms: handle.processing_time_ms(),
            watermark_ms: handle.watermark_ms(),
            has_timed_out,
        };
        let made = (self.function)(key, rows, &mut group)?;
        match (group.change, &group.value) {
            (Change::Updated, Some(value)) => state.update(handle, value)?,
            (Change::Removed, _) => state.clear(handle)?,
            _ => {}
        }
        handle.delete_timers();
        if let Some(at_ms) = group.timeout_ms {
            // A timer is over at its time, a time-out after it.
            handle.register_timer(at_ms.saturating_add(1))?;
        }
        Ok(made)
    }
}

impl<S, F> StatefulProcessor for GroupFunction<S, F>
where
    S: StateType + Clone,
    F: Fn(&GroupKey<'_>, &RecordBatch, &mut GroupState<S>) -> Result<Vec<RecordBatch>> + Send + Sync + 'static,
{
    fn init(&mut self, variables: &mut StateVariables) -> Result<()> {
        self.state = variables.get_value_state("state", None)?;
        Ok(())
    }

    fn handle_input_rows(
        &mut self,
        key: &GroupKey<'_>,
        rows: &RecordBatch,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        self.call(key, rows, handle, false)
    }

    fn handle_expired_timer(
        &mut self,
        key: &GroupKey<'_>,
        _: i64,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        let rows = handle.no_rows();
        self.call(key, &rows, handle, true)
    }
}
