//! User code by key (Spark: `TransformWithStateExec`, `FlatMapGroupsWithStateExec`).
//!
//! ```text
//! rows   = rows that are not late, by key                      // one sort, then slices
//! for keys with rows, some thousand at once:
//!     state = stored rows and timers of the keys                // one look, one copy
//!     emit handle_input_rows(key, rows, state of the key)
//!     write what changed
//! over   = timers at or before the epoch's time or watermark    // as they are now: one added later waits
//! for keys of those timers: emit handle_expired_timer(…), by time
//! forget values whose time is over
//! ```
//! A port's rows are `columns that the code sees…, keys…[, event time]`.

mod layout;
mod store;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_schema::{Schema, SchemaRef};
use arrow_select::take::take_record_batch;
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use tidegate_api::{Error, Result};
use tidegate_epoch::OperatorNumbers;
use tidegate_epoch::state::KeyedState;

use super::by_key::ByKey;
use super::shape::on_time;
use super::{Emitted, Operator, OperatorEpoch, OperatorSpec, concat};
use crate::exec::leaf::Emission;
use crate::user::{
    Code, GroupKey, Session, StateHandle, StateVariables, StatefulProcessor, TimeMode, Timer, Times, Variable, micros,
};
use layout::Columns;
use store::Store;

/// Keys whose state is in hand at once.
const KEYS: usize = 1 << 13;

/// User code as planned.
pub(crate) struct UserStateSpec {
    /// What the user calls it.
    pub(crate) operation: &'static str,
    /// What the user calls the keys.
    pub(crate) keys: Vec<String>,
    /// How many columns the code sees.
    pub(crate) columns: usize,
    /// The columns that it makes.
    pub(crate) output: SchemaRef,
    /// The event time follows the keys.
    pub(crate) timed: bool,
    pub(crate) code: Arc<Code>,
    input: Option<SchemaRef>,
}

impl UserStateSpec {
    pub(crate) fn new(
        operation: &'static str,
        keys: Vec<String>,
        columns: usize,
        output: SchemaRef,
        timed: bool,
        code: Arc<Code>,
    ) -> Self {
        Self { operation, keys, columns, output, timed, code, input: None }
    }

    /// A copy of the processor that has been initialised, and what it has declared.
    fn initialised(&self) -> Result<(Box<dyn StatefulProcessor>, Vec<Variable>)> {
        let mut variables = StateVariables::new(self.code.time_mode);
        let mut processor = self.code.prototype.fresh();
        processor.init(&mut variables).map_err(|e| self.failed("init", e))?;
        Ok((processor, variables.into_declared()))
    }

    fn failed(&self, call: &str, error: Error) -> Error {
        error.within(format!("{}: {call}", self.operation))
    }

    /// Columns of a port under the names by which the user knows them.
    fn part(&self, input: &SchemaRef, columns: Range<usize>) -> SchemaRef {
        let names = self.keys.iter().map(|it| Some(it.as_str()));
        let names: Vec<_> = std::iter::repeat_n(None, self.columns).chain(names).collect();
        let fields = input.fields().iter().zip(names).skip(columns.start).take(columns.len());
        let fields = fields.map(|(field, name)| {
            let field = field.as_ref().clone().with_metadata(std::collections::HashMap::new());
            match name {
                Some(name) => field.with_name(name).with_nullable(true),
                None => field,
            }
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

impl OperatorSpec for UserStateSpec {
    fn take_input(&mut self, _: usize, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        self.input = Some(plan.schema());
        Ok(plan)
    }

    fn build(self: Box<Self>, name: Arc<str>, _: BTreeSet<Emission>) -> Result<Box<dyn Operator>> {
        let input = self.input.clone().ok_or_else(|| Error::internal("user code was not planned"))?;
        let (mut processor, variables) = self.initialised()?;
        processor.close().map_err(|e| self.failed("close", e))?;
        let end = self.columns + self.keys.len();
        let (rows, keys) = (self.part(&input, 0..self.columns), self.part(&input, self.columns..end));
        let mut stores = vec![KeyedState::new(layout::values(name.clone(), &keys, &variables, self.operation))?];
        match self.code.time_mode {
            TimeMode::None => {}
            TimeMode::ProcessingTime => stores.push(KeyedState::new(layout::timers(&name, &keys, "processing time"))?),
            TimeMode::EventTime => stores.push(KeyedState::new(layout::timers(&name, &keys, "event time"))?),
        }
        // A type that can't be a key is found now, not with the first row.
        ByKey::of(RecordBatch::new_empty(keys.clone()).columns(), 0)?;
        let columns = Columns::new(self.keys.len(), &variables);
        let store = Store { stores, columns };
        Ok(Box::new(UserState { spec: *self, input, rows, keys, variables, store }))
    }

    fn details(&self) -> Option<String> {
        let timers = match self.code.time_mode {
            TimeMode::None => "without timers",
            TimeMode::ProcessingTime => "with timers by processing time",
            TimeMode::EventTime => "with timers by event time",
        };
        Some(format!("{} by {}, {timers}", self.operation, self.keys.join(", ")))
    }
}

/// User code with its state.
struct UserState {
    spec: UserStateSpec,
    /// The columns of the port.
    input: SchemaRef,
    /// Those that the code sees.
    rows: SchemaRef,
    keys: SchemaRef,
    variables: Vec<Variable>,
    store: Store,
}

/// What an epoch of user code has in hand.
struct Run<'e> {
    processor: Box<dyn StatefulProcessor>,
    times: Times<'e>,
    made: Vec<RecordBatch>,
    numbers: OperatorNumbers,
}

/// What the code is called with.
enum Call<'r> {
    Rows(&'r RecordBatch),
    Timer(i64),
}

impl Run<'_> {
    /// One call for a key.
    fn call(&mut self, spec: &UserStateSpec, key: &GroupKey<'_>, session: &mut Session, call: &Call<'_>) -> Result<()> {
        let mut handle = StateHandle::new(&self.times, session);
        let (name, made) = match call {
            Call::Rows(rows) => ("handle_input_rows", self.processor.handle_input_rows(key, rows, &mut handle)),
            Call::Timer(at_ms) => {
                ("handle_expired_timer", self.processor.handle_expired_timer(key, *at_ms, &mut handle))
            }
        };
        let (registered, deleted) = handle.changed;
        for batch in made.map_err(|e| spec.failed(name, e))? {
            let batch = adopted(&spec.output, &batch).map_err(|e| spec.failed(name, e))?;
            self.made.extend((batch.num_rows() > 0).then_some(batch));
        }
        *self.numbers.custom.entry("numRegisteredTimers").or_default() += registered;
        *self.numbers.custom.entry("numDeletedTimers").or_default() += deleted;
        Ok(())
    }
}

impl UserState {
    /// The rows of all keys.
    fn handle_rows(&mut self, rows: &RecordBatch, run: &mut Run<'_>) -> Result<()> {
        let end = self.spec.columns + self.spec.keys.len();
        let by_key = ByKey::of(rows.columns().get(self.spec.columns..end).unwrap_or_default(), rows.num_rows())?;
        let seen = under(&self.rows, rows, 0..self.spec.columns)?;
        let seen = take_record_batch(&seen, &by_key.order).map_err(broken)?;
        let keys = under(&self.keys, rows, self.spec.columns..end)?;
        let keys = take_record_batch(&keys, &by_key.firsts()).map_err(broken)?;
        self.in_hand(&keys, run, |sessions, first, spec, run| {
            for (at, session) in sessions.iter_mut().enumerate() {
                let (from, count) = by_key.range(first + at);
                let (key, rows) = (GroupKey { keys: &keys, row: first + at }, seen.slice(from, count));
                run.call(spec, &key, session, &Call::Rows(&rows))?;
            }
            Ok(())
        })
    }

    /// The timers that are over.
    fn handle_timers(&mut self, run: &mut Run<'_>) -> Result<()> {
        let through_ms = match run.times.mode {
            TimeMode::None => None,
            TimeMode::ProcessingTime => Some(run.times.processing_ms),
            TimeMode::EventTime => run.times.watermark_ms,
        };
        let (Some(through_ms), Some(timers)) = (through_ms, self.store.stores.get_mut(1)) else { return Ok(()) };
        let over = timers.evict_through(micros(through_ms))?;
        run.numbers.custom.insert("numExpiredTimers", over.num_rows() as u64);
        if over.num_rows() == 0 {
            return Ok(());
        }
        let count = self.keys.fields().len();
        let by_key = ByKey::of(over.columns().get(..count).unwrap_or_default(), over.num_rows())?;
        let times = over.columns().get(count).and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
        let times = times.ok_or_else(|| Error::internal("a timer has no time"))?.clone();
        let keys = take_record_batch(&under(&self.keys, &over, 0..count)?, &by_key.firsts()).map_err(broken)?;
        self.in_hand(&keys, run, |sessions, first, spec, run| {
            let mut calls = Vec::new();
            for (at, session) in sessions.iter_mut().enumerate() {
                let (from, count) = by_key.range(first + at);
                for row in from..from + count {
                    let time_ms = times.value(by_key.order.value(row) as usize).div_euclid(1000);
                    session.timers.push(Timer { time_ms, stored: None, is_new: false, is_gone: false });
                    calls.push((time_ms, at));
                }
            }
            calls.sort_unstable();
            for (time_ms, at) in calls {
                let Some(session) = sessions.get_mut(at) else { continue };
                let key = GroupKey { keys: &keys, row: first + at };
                run.call(spec, &key, session, &Call::Timer(time_ms))?;
                session.delete(time_ms);
            }
            Ok(())
        })
    }

    /// Loads the state of keys, some at once, lets `work` run on their sessions (with the number of the first one's key), and
    /// writes what they have come to.
    fn in_hand(
        &mut self,
        keys: &RecordBatch,
        run: &mut Run<'_>,
        mut work: impl FnMut(&mut [Session], usize, &UserStateSpec, &mut Run<'_>) -> Result<()>,
    ) -> Result<()> {
        for start in (0..keys.num_rows()).step_by(KEYS) {
            let part = keys.slice(start, KEYS.min(keys.num_rows() - start));
            let probe = self.store.probe(&part)?;
            let mut from = 0;
            while from < part.num_rows() {
                let (loaded, range) = self.store.load(&part, &probe, from)?;
                let now_us = micros(run.times.processing_ms);
                let mut sessions: Vec<_> = (0..range.len()).map(|it| Session::new(&loaded, it, now_us)).collect();
                work(&mut sessions, start + range.start, &self.spec, run)?;
                let written = self.store.store(&part, range.start, &loaded, sessions)?;
                run.numbers.rows_updated += written.rows;
                run.numbers.rows_removed += written.removed;
                from = range.end;
            }
        }
        Ok(())
    }

    /// The rows of an epoch that are not late, as one batch.
    fn on_time(
        &self,
        inputs: Vec<Vec<RecordBatch>>,
        ctx: &OperatorEpoch<'_>,
        numbers: &mut OperatorNumbers,
    ) -> Result<RecordBatch> {
        let time = self.spec.timed.then(|| self.spec.columns + self.spec.keys.len());
        let rows = inputs.into_iter().flatten().map(|batch| on_time(batch, time, ctx.late_us, numbers));
        concat(&self.input, &rows.collect::<Result<Vec<_>>>()?)
    }

    /// Forgets values that were not to last longer.
    fn forget(&mut self, numbers: &mut OperatorNumbers, processing_ms: i64) -> Result<()> {
        if self.variables.iter().all(|it| it.ttl.is_none()) {
            return Ok(());
        }
        let Some(values) = self.store.stores.first_mut() else { return Ok(()) };
        let (_, removed) = values.evict_unless(micros(processing_ms), None)?;
        numbers.rows_removed += removed;
        numbers.custom.insert("numValuesRemovedDueToTTLExpiry", removed);
        Ok(())
    }
}

#[async_trait]
impl Operator for UserState {
    fn stores(&self) -> &[KeyedState] {
        &self.store.stores
    }

    fn stores_mut(&mut self) -> &mut [KeyedState] {
        &mut self.store.stores
    }

    fn drops_late(&self, _: usize) -> bool {
        self.spec.timed
    }

    fn wants_epoch(&self, used_us: Option<i64>, next_us: Option<i64>) -> bool {
        match self.spec.code.time_mode {
            TimeMode::ProcessingTime => false,
            TimeMode::None if self.spec.code.is_group_function => false,
            TimeMode::None | TimeMode::EventTime => next_us > used_us,
        }
    }

    fn next_time_us(&self) -> Option<i64> {
        let timers = self.store.stores.get(1).filter(|_| self.spec.code.time_mode == TimeMode::ProcessingTime);
        timers.and_then(KeyedState::first_pane)
    }

    fn output_watermark(&self, input_us: Option<i64>) -> Option<i64> {
        let passed = self.spec.code.time_mode != TimeMode::ProcessingTime && !self.spec.code.is_group_function;
        input_us.filter(|_| passed)
    }

    async fn epoch(
        &mut self,
        inputs: Vec<Vec<RecordBatch>>,
        ctx: &OperatorEpoch<'_>,
    ) -> Result<(Emitted, OperatorNumbers)> {
        let mut at = ctx.clock.monotonic();
        let name = if self.spec.code.is_group_function { "flatMapGroupsWithState" } else { "transformWithStateExec" };
        let mut numbers = OperatorNumbers { name: name.to_owned(), ..OperatorNumbers::default() };
        let rows = self.on_time(inputs, ctx, &mut numbers)?;
        let (processor, variables) = self.spec.initialised()?;
        if variables != self.variables {
            return Err(self.spec.failed("init", Error::config("declared other variables than before")));
        }
        let (schema, declared) = (self.rows.clone(), self.variables.clone());
        let times = Times {
            mode: self.spec.code.time_mode,
            processing_ms: ctx.time_ms,
            watermark_ms: ctx.evict_us.map(|it| it.div_euclid(1000)),
            rows: &schema,
            variables: &declared,
        };
        let mut run = Run { processor, times, made: Vec::new(), numbers };
        self.handle_rows(&rows, &mut run)?;
        run.numbers.updates_ms = ctx.lap_ms(&mut at);
        self.handle_timers(&mut run)?;
        run.numbers.custom.insert("timerProcessingTimeMs", ctx.lap_ms(&mut at));
        self.forget(&mut run.numbers, ctx.time_ms)?;
        run.numbers.removals_ms = ctx.lap_ms(&mut at);
        run.processor.close().map_err(|e| self.spec.failed("close", e))?;
        let made = if run.made.is_empty() { Vec::new() } else { vec![concat(&self.spec.output, &run.made)?] };
        Ok((Emitted::from([(Emission::Rows, made)]), run.numbers))
    }
}

/// Some columns of rows under the names of a schema.
fn under(schema: &SchemaRef, rows: &RecordBatch, columns: Range<usize>) -> Result<RecordBatch> {
    let columns = rows.columns().get(columns).unwrap_or_default().to_vec();
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(broken)
}

/// Rows that the code has made, as they were declared.
fn adopted(declared: &SchemaRef, made: &RecordBatch) -> Result<RecordBatch> {
    let described = |schema: &Schema| {
        let columns = schema.fields().iter().map(|it| format!("{} {}", it.name(), it.data_type()));
        columns.collect::<Vec<_>>().join(", ")
    };
    let found = made.schema();
    let (ours, its) = (declared.fields().iter(), found.fields().iter());
    let same = |(a, b): (&Arc<arrow_schema::Field>, &Arc<arrow_schema::Field>)| {
        a.name() == b.name() && a.data_type() == b.data_type()
    };
    if ours.len() != its.len() || !ours.zip(its).all(same) {
        return Err(Error::config(format!(
            "the rows that it returned have the columns ({}), declared are ({})",
            described(&found),
            described(declared)
        )));
    }
    RecordBatch::try_new(declared.clone(), made.columns().to_vec())
        .map_err(|e| Error::config("the rows that it returned are not as declared").because(e))
}

fn broken(error: arrow_schema::ArrowError) -> Error {
    Error::internal("rows can't be handed to user code").because(error)
}
