//! `StateHandle`: what user code is called with, beside a key and its rows.

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use tidegate_api::{Error, Result};

use super::session::Session;
use super::variables::{Kind, Variable};
use super::{TimeMode, micros};

/// What is the same for all calls of an epoch.
pub(crate) struct Times<'e> {
    pub(crate) mode: TimeMode,
    /// The clock of the epoch, milliseconds.
    pub(crate) processing_ms: i64,
    /// What it evicts with, milliseconds.
    pub(crate) watermark_ms: Option<i64>,
    /// The columns of the rows.
    pub(crate) rows: &'e SchemaRef,
    pub(crate) variables: &'e [Variable],
}

/// State and timers of the key that a call is about (Spark: `StatefulProcessorHandle`, `TimerValues`).
pub struct StateHandle<'e> {
    times: &'e Times<'e>,
    session: &'e mut Session,
    /// Timers that were registered, and deleted.
    pub(crate) changed: (u64, u64),
}

impl<'e> StateHandle<'e> {
    pub(crate) fn new(times: &'e Times<'e>, session: &'e mut Session) -> Self {
        Self { times, session, changed: (0, 0) }
    }

    /// The time of the epoch, milliseconds since 1970: it stands still within it, and is the same if it runs again.
    pub fn processing_time_ms(&self) -> i64 {
        self.times.processing_ms
    }

    /// The watermark that the epoch closes groups with, milliseconds since 1970; at first 0, nothing if no column of the query
    /// has one.
    pub fn watermark_ms(&self) -> Option<i64> {
        self.times.watermark_ms
    }

    /// Calls `handle_expired_timer` for the key when the time has come: when it is at or before the epoch's time, or its
    /// watermark. Nothing happens if the key has that timer already.
    ///
    /// # Errors
    /// `Config` if the time mode has no timers, or this is no time.
    pub fn register_timer(&mut self, at_ms: i64) -> Result<()> {
        self.must_have_timers("register_timer")?;
        if micros(at_ms).checked_div(1000) != Some(at_ms) {
            return Err(Error::config(format!("register_timer: {at_ms} ms is no time")));
        }
        if self.session.register(at_ms) {
            self.changed.0 += 1;
        }
        Ok(())
    }

    /// Forgets a timer of the key, if there is one.
    ///
    /// # Errors
    /// `Config` if the time mode has no timers.
    pub fn delete_timer(&mut self, at_ms: i64) -> Result<()> {
        self.must_have_timers("delete_timer")?;
        if self.session.delete(at_ms) {
            self.changed.1 += 1;
        }
        Ok(())
    }

    /// The timers of the key, by time; in `handle_expired_timer` that one among them.
    ///
    /// # Errors
    /// `Config` if the time mode has no timers.
    pub fn list_timers(&self) -> Result<Vec<i64>> {
        self.must_have_timers("list_timers")?;
        Ok(self.session.timers())
    }

    /// No rows, with the columns that `handle_input_rows` gets.
    pub fn no_rows(&self) -> RecordBatch {
        RecordBatch::new_empty(self.times.rows.clone())
    }

    pub(super) fn time_mode(&self) -> TimeMode {
        self.times.mode
    }

    /// Forgets all timers of the key.
    pub(super) fn delete_timers(&mut self) {
        for time in self.session.timers() {
            self.changed.1 += u64::from(self.session.delete(time));
        }
    }

    pub(super) fn variable(&self, at: usize) -> Result<&Variable> {
        let found = self.times.variables.get(at);
        found.ok_or_else(|| Error::config("a state variable is used that init has not declared"))
    }

    pub(super) fn state(&self, at: usize) -> Result<&Session> {
        self.variable(at)?;
        Ok(&*self.session)
    }

    pub(super) fn state_mut(&mut self, at: usize) -> Result<&mut Session> {
        self.variable(at)?;
        Ok(&mut *self.session)
    }

    /// Values as they may be written to a variable.
    pub(super) fn checked(&self, at: usize, values: ArrayRef) -> Result<ArrayRef> {
        let variable = self.variable(at)?;
        fits(variable, "a value", &variable.data_type, values)
    }

    /// A key as it may be looked for in a map.
    pub(super) fn checked_key(&self, at: usize, key: ArrayRef) -> Result<ArrayRef> {
        let variable = self.variable(at)?;
        match &variable.kind {
            Kind::Map(data_type) => fits(variable, "a key", data_type, key),
            _ => Err(Error::config(format!("state variable '{}' is no map", variable.name))),
        }
    }

    /// When what is written to a variable now is over, microseconds.
    pub(super) fn until(&self, at: usize) -> Option<i64> {
        let ttl = self.times.variables.get(at)?.ttl?;
        let ttl_us = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
        Some(micros(self.times.processing_ms).saturating_add(ttl_us))
    }

    fn must_have_timers(&self, call: &str) -> Result<()> {
        if self.times.mode == TimeMode::None {
            return Err(Error::config(format!(
                "{call}: the time mode has no timers; use processing time or event time"
            )));
        }
        Ok(())
    }
}

fn fits(variable: &Variable, what: &str, expected: &DataType, found: ArrayRef) -> Result<ArrayRef> {
    if found.data_type() == expected {
        return Ok(found);
    }
    let (name, found) = (&variable.name, found.data_type());
    Err(Error::config(format!("state variable '{name}': {what} is {found}, expected {expected}")))
}
