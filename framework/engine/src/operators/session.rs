//! Aggregates by session (Spark: `SessionWindowStateStoreSaveExec`): rows of one key whose sessions touch are one group.
//!
//! Below, each row is a session `[time, time + gap)` of its own, and rows of one key with one session are one partial row.
//! ```text
//! new      = partial rows − late ones (own end <= late watermark), sorted by key and start
//! found    = stored sessions of the same keys that end at or after the first new start of the key
//! sessions = sweep(found + new)                    // next start <= end so far: the same session
//! merged   = merge(rows under the start and end of their session), for sessions with a new row
//! state    = state − found in those sessions + merged
//! emit closed = finish(evicted: end <= watermark), whole = finish(state),
//!      changed = finish(merged + found that begins no session any more, as one that ends at its start and has seen no row)
//! ```
//! The state has several rows a key: `keys…, start, end, states…, row number`.

mod sweep;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StructArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::take::take_record_batch;
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use tidegate_api::{Error, Result};
use tidegate_epoch::OperatorNumbers;
use tidegate_epoch::state::{KeyedState, RowRef, StateLayout};

use super::aggregate::Physical;
use super::by_key::ByKey;
use super::shape::parted;
use super::{Emitted, Operator, OperatorEpoch, OperatorSpec, concat, merge_with};
use crate::exec::leaf::Emission;
use sweep::{Merged, Piece, sweep};

/// An aggregate by session as planned.
pub(crate) struct SessionSpec {
    /// Where the start is among the keys; the end follows.
    start: usize,
    /// It is a session of event time.
    timed: bool,
    complete: bool,
    output: SchemaRef,
    physical: Option<Physical>,
}

impl SessionSpec {
    pub(crate) fn new(start: usize, timed: bool, complete: bool, output: SchemaRef) -> Self {
        Self { start, timed, complete, output, physical: None }
    }
}

impl OperatorSpec for SessionSpec {
    fn take_input(&mut self, _: usize, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let (partial, physical) = Physical::of(&plan, false)?;
        self.physical = Some(physical);
        Ok(partial)
    }

    fn build(mut self: Box<Self>, name: Arc<str>, emissions: BTreeSet<Emission>) -> Result<Box<dyn Operator>> {
        let physical = self.physical.take().ok_or_else(|| Error::internal("sessions were not planned"))?;
        let mut fields: Vec<Field> = physical.partial.fields().iter().map(|it| it.as_ref().clone()).collect();
        fields.push(Field::new("__row", DataType::Int64, false));
        let ours = [self.start, self.start + 1];
        let keys: Vec<usize> = (0..physical.key_count).filter(|it| !ours.contains(it)).collect();
        let state = KeyedState::new(StateLayout {
            operator: name,
            layout: physical.layout("session"),
            row_column: fields.len().checked_sub(1),
            schema: Arc::new(Schema::new(fields)),
            key_columns: keys.clone(),
            pane_column: Some(self.start + 1),
        })?;
        Ok(Box::new(Sessions { spec: *self, physical, keys, state, emissions }))
    }

    fn waits_for_watermark(&self) -> bool {
        self.timed
    }

    fn details(&self) -> Option<String> {
        Some("rows whose sessions touch are one group".to_owned())
    }
}

/// An aggregate by session with its state.
struct Sessions {
    spec: SessionSpec,
    physical: Physical,
    /// The keys but start and end.
    keys: Vec<usize>,
    state: KeyedState,
    emissions: BTreeSet<Emission>,
}

/// Rows of a batch that are sorted by key, each with the number of its key.
struct Sorted {
    rows: RecordBatch,
    keys: Vec<u32>,
    /// The first row of each key.
    firsts: BooleanArray,
}

/// Rows of the state, beside the numbers of their keys among the new rows.
struct Stored {
    rows: RecordBatch,
    refs: Vec<RowRef>,
    keys: Vec<u32>,
}

/// What new rows have changed.
struct Changed {
    /// The sessions that they are in.
    merged: RecordBatch,
    /// The start of stored sessions that are now part of one that begins earlier, as empty sessions.
    superseded: RecordBatch,
}

impl Sessions {
    /// Without the late rows, which are counted as Spark does: those of one key with one session are one.
    async fn on_time(
        &self,
        partials: Vec<RecordBatch>,
        ctx: &OperatorEpoch<'_>,
        numbers: &mut OperatorNumbers,
    ) -> Result<Vec<RecordBatch>> {
        let Some(late_us) = ctx.late_us.filter(|_| self.spec.timed) else { return Ok(partials) };
        let (mut kept, mut late) = (Vec::with_capacity(partials.len()), Vec::new());
        for batch in partials {
            let (on_time, is_late) = parted(&batch, self.spec.start + 1, late_us)?;
            kept.extend((on_time.num_rows() > 0).then_some(on_time));
            late.extend((is_late.num_rows() > 0).then_some(is_late));
        }
        for one in merge_with(&self.physical.merge, ctx.runner, late).await? {
            numbers.rows_dropped_by_watermark += one.num_rows() as u64;
        }
        Ok(kept)
    }

    /// Merges new rows into the state.
    fn store(&mut self, new: Vec<RecordBatch>) -> Result<Option<Changed>> {
        if new.is_empty() {
            return Ok(None);
        }
        let new = self.sorted(&concat(&self.physical.partial, &new)?)?;
        let stored = self.touched(&new)?;
        let mut pieces = self.pieces(&stored.rows, &stored.keys, false)?;
        pieces.extend(self.pieces(&new.rows, &new.keys, true)?);
        let sessions: Vec<Merged> = sweep(&mut pieces).into_iter().filter(|it| it.has_new).collect();
        let all = concat(&self.physical.partial, &[self.without_row(&stored.rows)?, new.rows])?;
        // Stored rows stand before the new ones.
        let place = |it: &Piece| if it.is_new { it.row as usize + stored.refs.len() } else { it.row as usize };
        let (mut single, mut several) = (Vec::new(), Vec::new());
        let (mut gone, mut superseded) = (Vec::new(), Vec::new());
        for session in &sessions {
            let of_session = pieces.get(session.first..session.first + session.count).unwrap_or_default();
            let list = if session.count == 1 { &mut single } else { &mut several };
            list.extend(of_session.iter().map(|it| (place(it), session.start, session.end)));
            let old = of_session.iter().filter(|it| !it.is_new);
            superseded
                .extend(old.clone().filter(|it| it.start != session.start).map(|it| (place(it), it.start, it.start)));
            gone.extend(old.filter_map(|it| stored.refs.get(it.row as usize).copied()));
        }
        let mut merged = vec![self.under_session(&all, &single)?];
        if !several.is_empty() {
            let counts = sessions.iter().map(|it| it.count).filter(|it| *it > 1);
            merged.push(self.merged(&self.under_session(&all, &several)?, counts)?);
        }
        self.state.remove_rows(&gone);
        let merged = concat(&self.physical.partial, &merged)?;
        self.state.append(&self.with_row(&merged)?, None)?;
        let superseded = self.without_rows(&self.under_session(&all, &superseded)?)?;
        Ok(Some(Changed { merged, superseded }))
    }

    /// One row a session: `rows` are those of one session after the other, `counts` how many each has.
    fn merged(&self, rows: &RecordBatch, counts: impl Iterator<Item = usize>) -> Result<RecordBatch> {
        let (mut groups, mut firsts) = (Vec::with_capacity(rows.num_rows()), Vec::new());
        for (group, count) in counts.enumerate() {
            firsts.push(u32::try_from(groups.len()).unwrap_or(u32::MAX));
            groups.extend(std::iter::repeat_n(group, count));
        }
        let firsts = taken(rows, firsts.into_iter())?;
        let keys = firsts.columns().get(..self.physical.key_count).unwrap_or_default();
        self.physical.merged(keys, &[rows], &groups)
    }

    /// Sessions of the same keys and times that have seen no row, if somebody wants to see what changed.
    fn without_rows(&self, sessions: &RecordBatch) -> Result<RecordBatch> {
        if sessions.num_rows() == 0 || !self.emissions.contains(&Emission::Changed) {
            return Ok(RecordBatch::new_empty(self.physical.partial.clone()));
        }
        self.physical.without_rows(sessions.columns().iter().take(self.physical.key_count).cloned().collect())
    }

    /// The rows by key, and by start within a key.
    fn sorted(&self, rows: &RecordBatch) -> Result<Sorted> {
        let starts = self.times(rows, self.spec.start)?;
        let start = |row: usize| starts.values().get(row).copied().unwrap_or_default();
        let by_key = ByKey::and_by(&self.key_columns(rows), rows.num_rows(), start)?;
        let (mut keys, mut firsts) = (Vec::with_capacity(rows.num_rows()), Vec::with_capacity(rows.num_rows()));
        for (number, key) in (0..).zip(0..by_key.keys()) {
            let (_, count) = by_key.range(key);
            keys.extend(std::iter::repeat_n(number, count));
            firsts.extend((0..count).map(|at| at == 0));
        }
        let rows = taken(rows, by_key.order.values().iter().copied())?;
        Ok(Sorted { rows, keys, firsts: BooleanArray::from(firsts) })
    }

    /// The stored sessions that the new rows may touch, and perhaps some more.
    fn touched(&self, new: &Sorted) -> Result<Stored> {
        let starts = self.times(&new.rows, self.spec.start)?;
        let from = Int64Array::new(starts.values().clone(), None);
        let to = Int64Array::from_value(i64::MAX, from.len());
        let probe = self.state.probe(&self.key_columns(&new.rows), new.rows.num_rows())?;
        let probe = probe.only(new.firsts.clone()).within(from, to);
        let (mut refs, mut keys, mut next) = (Vec::new(), Vec::new(), 0);
        while next < probe.len() {
            let (matches, after) = self.state.matches(&probe, next, usize::MAX)?;
            keys.extend(matches.probe.iter().filter_map(|it| new.keys.get(*it as usize).copied()));
            refs.extend(matches.rows);
            next = after;
        }
        let schema = self.state.layout().schema.clone();
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let rows = RecordBatch::try_new(schema, self.state.take(&refs, &all)?).map_err(broken)?;
        Ok(Stored { rows, refs, keys })
    }

    fn pieces(&self, rows: &RecordBatch, keys: &[u32], is_new: bool) -> Result<Vec<Piece>> {
        let starts = self.times(rows, self.spec.start)?;
        let ends = self.times(rows, self.spec.start + 1)?;
        let spans = starts.values().iter().zip(ends.values());
        let pieces = (0u32..).zip(keys).zip(spans);
        Ok(pieces
            .map(|((row, key), (start, end))| Piece { key: *key, start: *start, is_new, row, end: *end })
            .collect())
    }

    /// The rows at these places, under the start and end of their session.
    fn under_session(&self, rows: &RecordBatch, places: &[(usize, i64, i64)]) -> Result<RecordBatch> {
        let at = places.iter().map(|it| u32::try_from(it.0).unwrap_or(u32::MAX));
        let rows = taken(rows, at)?;
        let mut columns = rows.columns().to_vec();
        let starts = TimestampMicrosecondArray::from_iter_values(places.iter().map(|it| it.1));
        let ends = TimestampMicrosecondArray::from_iter_values(places.iter().map(|it| it.2));
        for (column, times) in columns.iter_mut().skip(self.spec.start).zip([starts, ends]) {
            *column = Arc::new(times.with_data_type(column.data_type().clone()));
        }
        RecordBatch::try_new(rows.schema(), columns).map_err(broken)
    }

    fn with_row(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let first = self.state.next_row();
        let count = i64::try_from(rows.num_rows()).unwrap_or(0);
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(Int64Array::from_iter_values(first..first.saturating_add(count))));
        RecordBatch::try_new(self.state.layout().schema.clone(), columns).map_err(broken)
    }

    fn without_row(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = rows.columns().get(..self.physical.partial.fields().len()).unwrap_or_default();
        RecordBatch::try_new(self.physical.partial.clone(), columns.to_vec()).map_err(broken)
    }

    /// Rows of the state as the plan above expects them: keys, among them the session as a struct, and values.
    fn finish(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let rows = rows.iter().filter(|it| it.num_rows() > 0).map(|it| self.without_row(it));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        self.physical.functions.finished(&rows)?.into_iter().map(|it| self.output(it)).collect()
    }

    fn output(&self, mut columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        let schema = &self.spec.output;
        let parts: Vec<ArrayRef> = columns.splice(self.spec.start..self.spec.start + 2, []).collect();
        let Some(DataType::Struct(fields)) = schema.fields().get(self.spec.start).map(|it| it.data_type()) else {
            return Err(Error::internal("a session is a struct"));
        };
        let session = StructArray::try_new(fields.clone(), parts, None).map_err(broken)?;
        columns.insert(self.spec.start, Arc::new(session));
        RecordBatch::try_new(schema.clone(), columns).map_err(broken)
    }

    fn key_columns(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.keys.iter().filter_map(|it| rows.columns().get(*it).cloned()).collect()
    }

    fn times<'r>(&self, rows: &'r RecordBatch, column: usize) -> Result<&'r TimestampMicrosecondArray> {
        let column = rows.columns().get(column).and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
        column.ok_or_else(|| Error::internal("a session has no start or end"))
    }
}

#[async_trait]
impl Operator for Sessions {
    fn stores(&self) -> &[KeyedState] {
        std::slice::from_ref(&self.state)
    }

    fn stores_mut(&mut self) -> &mut [KeyedState] {
        std::slice::from_mut(&mut self.state)
    }

    fn drops_late(&self, _: usize) -> bool {
        self.spec.timed
    }

    fn wants_epoch(&self, used_us: Option<i64>, next_us: Option<i64>) -> bool {
        !self.spec.complete && next_us > used_us
    }

    async fn epoch(
        &mut self,
        inputs: Vec<Vec<RecordBatch>>,
        ctx: &OperatorEpoch<'_>,
    ) -> Result<(Emitted, OperatorNumbers)> {
        let mut at = ctx.clock.monotonic();
        let name = "sessionWindowStateStoreSaveExec".to_owned();
        let mut numbers = OperatorNumbers { name, ..OperatorNumbers::default() };
        let new = self.on_time(inputs.into_iter().flatten().collect(), ctx, &mut numbers).await?;
        let changed = self.store(new)?;
        numbers.rows_updated = changed.as_ref().map_or(0, |it| it.merged.num_rows() as u64);
        let changed = changed.map_or_else(Vec::new, |it| vec![it.merged, it.superseded]);
        numbers.updates_ms = ctx.lap_ms(&mut at);
        let mut closed = Vec::new();
        if let Some(evict_us) = ctx.evict_us.filter(|_| self.spec.timed && !self.spec.complete) {
            let evicted = self.state.evict_through(evict_us)?;
            numbers.rows_removed = evicted.num_rows() as u64;
            closed.push(evicted);
        }
        numbers.removals_ms = ctx.lap_ms(&mut at);
        let mut emitted = Emitted::new();
        for emission in &self.emissions {
            let rows = match emission {
                Emission::Whole => self.state.all()?,
                Emission::Closed => closed.clone(),
                Emission::Changed => changed.clone(),
                Emission::Changes | Emission::Rows => Vec::new(),
            };
            emitted.insert(*emission, self.finish(&rows)?);
        }
        Ok((emitted, numbers))
    }
}

fn taken(rows: &RecordBatch, at: impl Iterator<Item = u32>) -> Result<RecordBatch> {
    take_record_batch(rows, &UInt32Array::from_iter_values(at)).map_err(broken)
}

fn broken(error: arrow_schema::ArrowError) -> Error {
    Error::internal("sessions can't be merged").because(error)
}
