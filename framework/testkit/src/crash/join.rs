//! A join of two streams by word, within ten seconds of event time: both sides are kept until the watermark has passed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use async_trait::async_trait;
use tidegate_api::{Epoch, Result};
use tidegate_epoch::state::{KeyedState, StateLayout};
use tidegate_epoch::{
    Deltas, EpochInput, EpochNumbers, OperatorDelta, OperatorSnapshot, Outputs, Program, WatermarkNode, Watermarks,
};

use super::program::{DELAY_MS, Probe, SIZE_MS, Seen, restore, show};
use super::script::{OutputRow, batch, output};

/// The operators, by side.
const SIDES: [&str; 2] = ["left", "right"];

/// Rows of a side: how many of this time (milliseconds) and word.
type Rows = BTreeMap<(i64, String), i64>;

pub(super) struct JoinProgram {
    sinks: usize,
    sides: Vec<KeyedState>,
    probe: Probe,
}

impl JoinProgram {
    pub(super) fn new(sinks: usize, probe: Probe) -> Result<Self> {
        let sides = SIDES.iter().map(|it| KeyedState::new(layout(it))).collect::<Result<_>>()?;
        Ok(Self { sinks, sides, probe })
    }

    fn join(&mut self, came: &[Rows], epoch: &Epoch, late_ms: i64, evict_ms: i64) -> Result<Vec<OutputRow>> {
        let mut out = Vec::new();
        let row = |kind: &str, start: i64, word: &str, n: i64, before: i64| OutputRow {
            epoch: epoch.number as i64,
            kind: kind.to_owned(),
            start,
            word: word.to_owned(),
            n,
            mark: epoch.time_ms,
            before,
        };
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for (side, came) in self.sides.iter_mut().zip(came) {
            let (late, fresh): (Rows, Rows) = came.clone().into_iter().partition(|((at, _), _)| *at <= late_ms);
            out.extend(late.iter().map(|((at, word), n)| row("late", *at, word, *n, -1)));
            let kept: Rows = side.all()?.iter().flat_map(rows_of).collect();
            let mut merged = fresh.clone();
            merged.iter_mut().for_each(|(key, n)| *n += kept.get(key).copied().unwrap_or(0));
            side.put(batch_of(&merged)?)?;
            side.evict_through(evict_ms.saturating_mul(1000))?;
            old.push(kept);
            new.push(fresh);
        }
        let [left, right] = &new[..] else { return Ok(out) };
        let [kept_left, kept_right] = &old[..] else { return Ok(out) };
        for (left, right) in [(left, right), (left, kept_right), (kept_left, right)] {
            for ((at, word), n) in left {
                let near = right.iter().filter(|((it, other), _)| other == word && (it - at).abs() <= SIZE_MS);
                out.extend(near.map(|((it, _), m)| row("pair", *at, word, *it, n * m)));
            }
        }
        Ok(out)
    }

    fn show(&self) {
        let mut lines = Vec::new();
        for (name, side) in SIDES.iter().zip(&self.sides) {
            for ((at, word), n) in side.all().unwrap_or_default().iter().flat_map(rows_of) {
                lines.push(format!("{name} {at} {word} {n}"));
            }
        }
        show(&self.probe, lines);
    }
}

#[async_trait]
impl Program for JoinProgram {
    fn watermarks(&self) -> Vec<WatermarkNode> {
        SIDES.iter().map(|it| WatermarkNode { id: (*it).into(), delay_ms: DELAY_MS, idle_ms: None }).collect()
    }

    async fn run(&mut self, input: EpochInput, outputs: &mut Outputs) -> Result<EpochNumbers> {
        let (mut came, mut event_times) = (Vec::new(), Vec::new());
        for source in input.sources {
            let mut seen = Seen::default();
            seen.read(source).await?;
            event_times.push(seen.times);
            let mut rows = Rows::new();
            seen.all.into_iter().for_each(|key| *rows.entry(key).or_default() += 1);
            came.push(rows);
        }
        let (late_ms, evict_ms) = (input.late.query_ms().unwrap_or(0), input.evict.query_ms().unwrap_or(0));
        let rows = self.join(&came, &input.epoch, late_ms, evict_ms)?;
        for sink in (0..self.sinks).filter(|_| !rows.is_empty()) {
            outputs.write(sink, output(&rows, sink)?).await?;
        }
        let source_rows = event_times.iter().map(|it| it.count).collect();
        Ok(EpochNumbers { source_rows, event_times, ..EpochNumbers::default() })
    }

    fn delta(&self) -> Result<Vec<OperatorDelta>> {
        self.sides.iter().filter_map(|it| it.delta().transpose()).collect()
    }

    fn seal(&mut self) {
        self.sides.iter_mut().for_each(KeyedState::seal);
        self.show();
    }

    fn discard(&mut self) {
        self.sides.iter_mut().for_each(KeyedState::discard);
    }

    fn restore(&mut self, snapshot: Vec<OperatorSnapshot>, deltas: &mut Deltas<'_>) -> Result<()> {
        self.sides = SIDES.iter().map(|it| KeyedState::new(layout(it))).collect::<Result<_>>()?;
        restore(&mut self.sides, &snapshot, deltas)?;
        self.show();
        Ok(())
    }

    fn snapshot(&self) -> Result<Vec<OperatorSnapshot>> {
        Ok(self.sides.iter().map(KeyedState::snapshot).collect())
    }

    fn wants_epoch_without_data(&self, used: &Watermarks, next: &Watermarks) -> bool {
        next.query_ms() > used.query_ms()
    }
}

fn layout(operator: &str) -> StateLayout {
    let at = Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), false);
    let (text, number) = (Field::new("word", DataType::Utf8, false), Field::new("n", DataType::Int64, false));
    StateLayout {
        operator: operator.into(),
        layout: "at,word,n".into(),
        schema: Arc::new(Schema::new(vec![at, text, number])),
        key_columns: vec![0, 1],
        pane_column: Some(0),
        row_column: None,
    }
}

fn batch_of(rows: &Rows) -> Result<RecordBatch> {
    let at = TimestampMicrosecondArray::from_iter_values(rows.keys().map(|it| it.0 * 1000));
    let words = StringArray::from_iter_values(rows.keys().map(|it| &it.1));
    let counts = Int64Array::from_iter_values(rows.values().copied());
    batch(layout("").schema, vec![Arc::new(at), Arc::new(words), Arc::new(counts)])
}

fn rows_of(rows: &RecordBatch) -> Rows {
    let [at, words, counts] = rows.columns() else { return Rows::new() };
    let at = at.as_primitive::<TimestampMicrosecondType>().values().iter();
    let counts = counts.as_primitive::<Int64Type>().values().iter();
    let rows = at.zip(words.as_string::<i32>()).zip(counts);
    rows.map(|((at, word), n)| ((at / 1000, word.unwrap_or_default().to_owned()), *n)).collect()
}
