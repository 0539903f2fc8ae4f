//! The program of the matrix: words counted in windows, on `KeyedState`, in plain Arrow.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use async_trait::async_trait;
use futures::TryStreamExt;
use tempfile::TempDir;
use tidegate_api::{Epoch, Result};
use tidegate_epoch::state::{KeyedState, StateLayout, StateMemory};
use tidegate_epoch::{
    Deltas, EpochInput, EpochNumbers, EventTimes, OperatorDelta, OperatorNumbers, OperatorSnapshot, Outputs, Program,
    SourceInput, WatermarkNode, Watermarks,
};

use super::ProgramKind;
use super::groups::GroupsProgram;
use super::join::JoinProgram;
use super::mistake::{Mistake, Planted};
use super::place::folder;
use super::script::{OutputRow, batch, output};

pub(super) const SIZE_MS: i64 = 10_000;
pub(super) const DELAY_MS: i64 = 5_000;

/// The sealed state of a running program, as a test sees it: a line a group.
pub(super) type Probe = Arc<Mutex<Vec<String>>>;

/// Counts, or passes on.
struct CountProgram {
    kind: ProgramKind,
    sinks: usize,
    /// Which start of the query this is.
    life: usize,
    state: KeyedState,
    disk: Option<Disk>,
    probe: Probe,
    planted: Planted,
}

/// Where a state lies that has no memory: in a folder of one life.
struct Disk {
    memory: StateMemory,
    _folder: TempDir,
}

impl Disk {
    fn new() -> Result<Self> {
        let folder = folder()?;
        Ok(Self { memory: StateMemory::open(0, &folder.path().join("spill"))?, _folder: folder })
    }
}

/// The program of one life.
pub(super) fn program(
    kind: ProgramKind,
    sinks: usize,
    life: usize,
    probe: Probe,
    planted: Planted,
) -> Result<Box<dyn Program>> {
    Ok(match kind {
        ProgramKind::Join => Box::new(JoinProgram::new(sinks, probe)?),
        ProgramKind::Groups => Box::new(GroupsProgram::new(sinks, probe)?),
        _ => {
            let disk = (kind == ProgramKind::Spilling).then(Disk::new).transpose()?;
            let state = KeyedState::new(layout("count"))?;
            Box::new(CountProgram { kind, sinks, life, state, disk, probe, planted })
        }
    })
}

/// Sets empty states to what a checkpoint has of them.
pub(super) fn restore(states: &mut [KeyedState], snapshot: &[OperatorSnapshot], deltas: &mut Deltas<'_>) -> Result<()> {
    let place = |name: &str, states: &[KeyedState]| states.iter().position(|it| *it.layout().operator == *name);
    for it in snapshot {
        let at = place(&it.operator, states);
        at.and_then(|at| states.get_mut(at)).map_or(Ok(()), |state| state.load(it))?;
    }
    for epoch in deltas {
        for it in &epoch? {
            let at = place(&it.operator, states);
            at.and_then(|at| states.get_mut(at)).map_or(Ok(()), |state| state.apply(it))?;
        }
    }
    Ok(())
}

/// A group: window start in milliseconds, word.
pub(super) type Group = (i64, String);

impl CountProgram {
    fn aggregates(&self) -> bool {
        !matches!(self.kind, ProgramKind::Stateless | ProgramKind::Letters)
    }

    /// Tells an epoch, or an attempt, from the others.
    fn mark(&self, epoch: &Epoch) -> i64 {
        match self.kind {
            ProgramKind::Changed => self.life as i64,
            ProgramKind::Volatile => (epoch.attempt.generation as i64) * 1000 + i64::from(epoch.attempt.n),
            _ => epoch.time_ms,
        }
    }

    fn show(&self) {
        show(&self.probe, lines(&self.state));
    }

    /// Moves what is sealed to disk, if that is its place.
    fn keep_within_memory(&mut self) -> Result<()> {
        self.disk.as_ref().map_or(Ok(()), |it| it.memory.keep_within(std::iter::once(&mut self.state)))
    }
}

/// Groups as they came, or are in the state.
pub(super) type Groups = BTreeMap<Group, i64>;

/// An epoch's part in a state: what drops late rows and what evicts, and who writes.
pub(super) struct Counting<'a> {
    pub(super) epoch: &'a Epoch,
    pub(super) late_ms: i64,
    pub(super) evict_ms: i64,
    pub(super) mark: i64,
}

impl Counting<'_> {
    /// Merges what came into the state, and takes out what is over.
    pub(super) fn count(self, state: &mut KeyedState, came: Groups) -> Result<Vec<OutputRow>> {
        let Self { epoch, late_ms, evict_ms, mark } = self;
        let row = |kind: &str, group: &Group, n: i64, mark: i64, before: i64| OutputRow {
            epoch: epoch.number as i64,
            kind: kind.to_owned(),
            start: group.0,
            word: group.1.clone(),
            n,
            mark,
            before,
        };
        let (late, mut groups): (Groups, Groups) =
            came.into_iter().partition(|((start, _), _)| start + SIZE_MS <= late_ms);
        let partial: Vec<_> = groups.iter().map(|(group, n)| (group.clone(), *n, 0)).collect();
        let mut before = BTreeMap::new();
        for (group, n, mark) in groups_of(&state.matching(&state_rows(&partial)?)?.rows) {
            before.insert(group.clone(), mark);
            *groups.entry(group).or_default() += n;
        }
        let merged: Vec<_> = groups.iter().map(|(group, n)| (group.clone(), *n, mark)).collect();
        state.put(state_rows(&merged)?)?;
        let closed = groups_of(&state.evict_through(evict_ms.saturating_mul(1000))?);
        let changed =
            merged.iter().map(|(group, n, mark)| row("changed", group, *n, *mark, *before.get(group).unwrap_or(&-1)));
        let closed = closed.iter().map(|(group, n, mark)| row("closed", group, *n, *mark, -1));
        let late = late.iter().map(|(group, n)| row("late", group, *n, 0, -1));
        Ok(changed.chain(closed).chain(late).collect())
    }
}

/// A line a group.
pub(super) fn lines(state: &KeyedState) -> Vec<String> {
    let all = state.all().unwrap_or_default();
    let line = |((start, word), n, mark): (Group, i64, i64)| format!("{start} {word} {n} {mark}");
    all.iter().flat_map(groups_of).map(line).collect()
}

#[async_trait]
impl Program for CountProgram {
    fn watermarks(&self) -> Vec<WatermarkNode> {
        vec![WatermarkNode { id: "input".into(), delay_ms: DELAY_MS, idle_ms: None }]
    }

    async fn run(&mut self, input: EpochInput, outputs: &mut Outputs) -> Result<EpochNumbers> {
        self.keep_within_memory()?;
        let epoch = input.epoch;
        let mut seen = Seen::default();
        for source in input.sources {
            seen.read(source).await?;
        }
        let given = (input.late.query_ms().unwrap_or(0), input.evict.query_ms().unwrap_or(0));
        let (late_ms, evict_ms) = self.planted.watermarks(given, &seen.times, DELAY_MS);
        let rows = match self.kind {
            ProgramKind::Stateless | ProgramKind::Letters => seen.rows(&epoch),
            _ => {
                let counting = Counting { epoch: &epoch, late_ms, evict_ms, mark: self.mark(&epoch) };
                counting.count(&mut self.state, seen.groups.clone())?
            }
        };
        if !rows.is_empty() {
            for sink in 0..self.sinks {
                outputs.write(sink, output(&rows, sink)?).await?;
            }
        }
        let deltas = self.state.delta()?.into_iter().collect();
        self.planted.ran(epoch.number, deltas);
        if self.planted.is(Mistake::StateInPlace) {
            self.state.seal();
        }
        let operators = self.aggregates().then(|| OperatorNumbers {
            name: "stateStoreSave".to_owned(),
            rows_total: self.state.len() as u64,
            ..OperatorNumbers::default()
        });
        Ok(EpochNumbers {
            source_rows: vec![seen.times.count],
            event_times: vec![seen.times],
            operators: operators.into_iter().collect(),
            closed_by: None,
        })
    }

    fn delta(&self) -> Result<Vec<OperatorDelta>> {
        match self.planted.delta() {
            Some(delta) => Ok(delta),
            None => Ok(self.state.delta()?.into_iter().collect()),
        }
    }

    fn seal(&mut self) {
        self.state.seal();
        // What fails here is told when the next epoch runs.
        let _ = self.keep_within_memory();
        self.show();
    }

    fn discard(&mut self) {
        if !self.planted.is(Mistake::OverlayNotDiscarded) {
            self.state.discard();
        }
    }

    fn restore(&mut self, snapshot: Vec<OperatorSnapshot>, deltas: &mut Deltas<'_>) -> Result<()> {
        self.state = KeyedState::new(layout("count"))?;
        snapshot.iter().try_for_each(|it| self.state.load(it))?;
        for epoch in deltas {
            for delta in &epoch? {
                self.keep_within_memory()?;
                self.state.apply(delta)?;
            }
        }
        self.keep_within_memory()?;
        self.show();
        Ok(())
    }

    fn snapshot(&self) -> Result<Vec<OperatorSnapshot>> {
        if self.aggregates() { Ok(vec![self.state.snapshot()]) } else { Ok(Vec::new()) }
    }

    fn wants_epoch_without_data(&self, used: &Watermarks, next: &Watermarks) -> bool {
        self.aggregates() && next.query_ms() > used.query_ms()
    }
}

/// What an epoch brought.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) times: EventTimes,
    /// Rows a group; of a stateless program each row is one.
    pub(super) groups: Groups,
    /// Each row: its time in milliseconds, and its word.
    pub(super) all: Vec<(i64, String)>,
}

impl Seen {
    /// Takes all rows of a source.
    pub(super) async fn read(&mut self, source: SourceInput) -> Result<()> {
        for split in source.splits {
            let mut rows = split.rows;
            while let Some(batch) = rows.try_next().await? {
                self.take(&batch);
            }
        }
        Ok(())
    }

    fn take(&mut self, rows: &RecordBatch) {
        let (Some(times), Some(words)) = (rows.columns().first(), rows.columns().get(1)) else { return };
        let times = times.as_primitive::<TimestampMicrosecondType>();
        for (us, word) in times.values().iter().zip(words.as_string::<i32>()) {
            let (ms, word) = (us / 1000, word.unwrap_or_default().to_owned());
            let one = EventTimes { count: 1, min_ms: ms, max_ms: ms, sum_ms: i128::from(ms) };
            self.times = self.times.merge(one);
            *self.groups.entry((ms.div_euclid(SIZE_MS) * SIZE_MS, word.clone())).or_default() += 1;
            self.all.push((ms, word));
        }
    }

    fn rows(&self, epoch: &Epoch) -> Vec<OutputRow> {
        let row = |(start, word): &Group| OutputRow {
            epoch: epoch.number as i64,
            kind: "row".to_owned(),
            start: *start,
            word: word.clone(),
            n: 1,
            mark: epoch.time_ms,
            before: -1,
        };
        self.all.iter().map(row).collect()
    }
}

/// Shows the state to the test.
pub(super) fn show(probe: &Probe, mut lines: Vec<String>) {
    lines.sort();
    *probe.lock().unwrap_or_else(PoisonError::into_inner) = lines;
}

pub(super) fn layout(operator: &str) -> StateLayout {
    let end = Field::new("end", DataType::Timestamp(TimeUnit::Microsecond, None), false);
    let (number, text) = (|it: &str| Field::new(it, DataType::Int64, false), Field::new("word", DataType::Utf8, false));
    StateLayout {
        operator: operator.into(),
        layout: "end,word,n,mark".into(),
        schema: Arc::new(Schema::new(vec![end, text, number("n"), number("mark")])),
        key_columns: vec![0, 1],
        pane_column: Some(0),
        row_column: None,
    }
}

fn state_rows(groups: &[(Group, i64, i64)]) -> Result<RecordBatch> {
    let ends = groups.iter().map(|it| (it.0.0 + SIZE_MS) * 1000);
    let columns: Vec<arrow_array::ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(ends)),
        Arc::new(StringArray::from_iter_values(groups.iter().map(|it| &it.0.1))),
        Arc::new(Int64Array::from_iter_values(groups.iter().map(|it| it.1))),
        Arc::new(Int64Array::from_iter_values(groups.iter().map(|it| it.2))),
    ];
    batch(layout("count").schema, columns)
}

fn groups_of(rows: &RecordBatch) -> Vec<(Group, i64, i64)> {
    let [ends, words, counts, marks] = rows.columns() else { return Vec::new() };
    let ends = ends.as_primitive::<TimestampMicrosecondType>().values().iter();
    let (counts, marks) = (counts.as_primitive::<Int64Type>().values(), marks.as_primitive::<Int64Type>().values());
    let groups = ends.zip(words.as_string::<i32>()).zip(counts.iter().zip(marks));
    let group = |((end, word), (n, mark)): ((&i64, Option<&str>), (&i64, &i64))| {
        ((end / 1000 - SIZE_MS, word.unwrap_or_default().to_owned()), *n, *mark)
    };
    groups.map(group).collect()
}
