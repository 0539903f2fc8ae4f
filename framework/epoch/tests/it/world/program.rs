//! Counts by window in append mode, and the model that says what must come out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use futures::TryStreamExt;
use tidegate_api::{Error, Result, async_trait};
use tidegate_epoch::{
    Deltas, EpochInput, EpochNumbers, EventTimes, OperatorDelta, OperatorNumbers, OperatorSnapshot, Outputs, Program,
    StateShape, StaticVersion, WatermarkNode, Watermarks,
};

use super::Events;

const WINDOW_MS: i64 = 10_000;
pub(crate) const DELAY_MS: i64 = 5_000;
const LAYOUT: &str = "end INT, count INT";

/// Window end → count.
type Counts = BTreeMap<i64, i64>;

fn window_end(time_ms: i64) -> i64 {
    (time_ms.div_euclid(WINDOW_MS) + 1) * WINDOW_MS
}

/// What a program in order shows once it has seen all of `values`: the windows that are over, and those that are not.
pub(crate) fn model(values: &[i64]) -> (Vec<(i64, i64)>, Counts) {
    let mut open = Counts::new();
    for value in values {
        *open.entry(window_end(value * 1000)).or_default() += 1;
    }
    let watermark = values.iter().max().map_or(0, |it| it * 1000 - DELAY_MS);
    let left = open.split_off(&(watermark + 1));
    (open.into_iter().collect(), left)
}

/// The version of the static source, if there is one.
pub(crate) type Version = Arc<Mutex<Option<&'static str>>>;

#[derive(Default)]
struct Overlay {
    puts: Counts,
    evict_ms: Option<i64>,
}

pub(crate) struct Windows {
    nodes: Vec<&'static str>,
    sinks: usize,
    events: Events,
    layout: &'static str,
    version: Version,
    state: Counts,
    overlay: Option<Overlay>,
}

impl Windows {
    pub(crate) fn new(nodes: Vec<&'static str>, sinks: usize, events: Events) -> Self {
        let (layout, version) = (LAYOUT, Version::default());
        Self { nodes, sinks, events, layout, version, state: Counts::new(), overlay: None }
    }

    /// With another layout, and with a static source if that has a version.
    pub(crate) fn of(mut self, layout: Option<&'static str>, version: Version) -> Self {
        self.layout = layout.unwrap_or(LAYOUT);
        self.version = version;
        self
    }
}

fn batch(counts: &Counts) -> RecordBatch {
    let field = |name| Field::new(name, DataType::Int64, false);
    let schema = Arc::new(Schema::new(vec![field("end"), field("count")]));
    let (ends, values) = (counts.keys().copied(), counts.values().copied());
    let columns: Vec<arrow_array::ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values(ends)), Arc::new(Int64Array::from_iter_values(values))];
    RecordBatch::try_new(schema, columns).unwrap()
}

/// Rows of the state: its pane is a timestamp in microseconds.
fn state_rows(counts: &Counts) -> RecordBatch {
    let ends = TimestampMicrosecondArray::from_iter_values(counts.keys().map(|it| it * 1000));
    let values = Int64Array::from_iter_values(counts.values().copied());
    RecordBatch::try_new(shape().columns, vec![Arc::new(ends), Arc::new(values)]).unwrap()
}

fn shape() -> StateShape {
    let end = Field::new("end", DataType::Timestamp(TimeUnit::Microsecond, None), false);
    let columns = Arc::new(Schema::new(vec![end, Field::new("count", DataType::Int64, false)]));
    StateShape { columns, keys: vec![0], pane: Some(0), row: None, origin: None }
}

fn counts(batch: &RecordBatch) -> Counts {
    let ends = batch.column(0).as_primitive::<TimestampMicrosecondType>().values().iter().map(|it| it / 1000);
    ends.zip(batch.column(1).as_primitive::<Int64Type>().values().iter().copied()).collect()
}

#[async_trait]
impl Program for Windows {
    fn watermarks(&self) -> Vec<WatermarkNode> {
        self.nodes.iter().map(|id| WatermarkNode { id: (*id).into(), delay_ms: DELAY_MS, idle_ms: None }).collect()
    }

    async fn statics(&mut self) -> Result<Vec<StaticVersion>> {
        let version = *self.version.lock().unwrap();
        Ok(version.iter().map(|it| StaticVersion { name: "table".into(), version: (*it).to_owned() }).collect())
    }

    async fn run(&mut self, input: EpochInput, outputs: &mut Outputs) -> Result<EpochNumbers> {
        assert!(self.overlay.is_none(), "an overlay was neither sealed nor discarded");
        for it in &input.statics {
            self.events.note(&format!("{} {}", it.name, it.version), input.epoch.number);
        }
        self.events.note("run", input.epoch.number);
        let mut numbers = EpochNumbers::default();
        let mut overlay = Overlay::default();
        let mut late = 0;
        let stateful = !self.nodes.is_empty();
        for source in input.sources {
            let mut times = EventTimes::default();
            let mut rows = 0;
            for split in source.splits {
                let mut stream = split.rows;
                while let Some(batch) = stream.try_next().await? {
                    for value in batch.column(0).as_primitive::<Int64Type>().values() {
                        let ms = value * 1000;
                        times = times.merge(EventTimes { count: 1, min_ms: ms, max_ms: ms, sum_ms: ms.into() });
                        rows += 1;
                        if !stateful {
                            let row = Counts::from([(ms, 1)]);
                            outputs.write(0, self::batch(&row)).await?;
                        } else if input.late.query_ms().is_some_and(|late| window_end(ms) <= late) {
                            late += 1;
                        } else {
                            let end = window_end(ms);
                            let stored = self.state.get(&end).copied().unwrap_or(0);
                            *overlay.puts.entry(end).or_insert(stored) += 1;
                        }
                    }
                }
            }
            numbers.source_rows.push(rows);
            numbers.event_times.push(times);
        }
        if !stateful {
            numbers.event_times.clear();
            return Ok(numbers);
        }
        let evict_ms = input.epoch.watermark_ms.unwrap_or(0);
        overlay.evict_ms = Some(evict_ms);
        let mut all = self.state.clone();
        all.extend(&overlay.puts);
        let open = all.split_off(&(evict_ms + 1));
        numbers.operators = vec![OperatorNumbers {
            name: "stateStoreSave".to_owned(),
            rows_total: open.len() as u64,
            rows_updated: overlay.puts.len() as u64,
            rows_removed: all.len() as u64,
            rows_dropped_by_watermark: late,
            ..OperatorNumbers::default()
        }];
        overlay.puts.retain(|end, _| *end > evict_ms);
        self.overlay = Some(overlay);
        for sink in 0..self.sinks {
            if !all.is_empty() {
                outputs.write(sink, batch(&all)).await?;
            }
        }
        Ok(numbers)
    }

    fn delta(&self) -> Result<Vec<OperatorDelta>> {
        let Some(overlay) = &self.overlay else { return Ok(Vec::new()) };
        Ok(vec![OperatorDelta {
            operator: "windows".into(),
            layout: self.layout.into(),
            evict_through_us: overlay.evict_ms.map(|it| it * 1000),
            tombstones: None,
            puts: (!overlay.puts.is_empty()).then(|| state_rows(&overlay.puts)),
            shape: (!overlay.puts.is_empty()).then(shape),
        }])
    }

    fn seal(&mut self) {
        if let Some(overlay) = self.overlay.take() {
            self.state = self.state.split_off(&(overlay.evict_ms.unwrap_or(i64::MIN) + 1));
            self.state.extend(overlay.puts);
        }
    }

    fn discard(&mut self) {
        self.events.note("discard", 0);
        self.overlay = None;
    }

    fn restore(&mut self, snapshot: Vec<OperatorSnapshot>, deltas: &mut Deltas<'_>) -> Result<()> {
        let deltas = deltas.collect::<Result<Vec<_>>>()?;
        let states = snapshot.iter().map(|it| &it.layout).chain(deltas.iter().flatten().map(|it| &it.layout));
        if let Some(other) = states.into_iter().find(|it| &***it != self.layout) {
            let ours = self.layout;
            return Err(Error::config(format!("operator windows: found layout {other}, expected {ours}")));
        }
        self.state = snapshot.iter().flat_map(|it| it.rows.iter().flat_map(counts)).collect();
        for delta in deltas.into_iter().flatten() {
            self.state = self.state.split_off(&(delta.evict_through_us.map_or(i64::MIN, |it| it / 1000) + 1));
            self.state.extend(delta.puts.iter().flat_map(counts));
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Vec<OperatorSnapshot>> {
        let rows = if self.state.is_empty() { Vec::new() } else { vec![state_rows(&self.state)] };
        Ok(vec![OperatorSnapshot {
            operator: "windows".into(),
            layout: self.layout.into(),
            rows,
            later: Vec::new(),
            shape: Some(shape()),
        }])
    }

    fn wants_epoch_without_data(&self, used: &Watermarks, next: &Watermarks) -> bool {
        next.query_ms() > used.query_ms() && !self.nodes.is_empty()
    }
}
