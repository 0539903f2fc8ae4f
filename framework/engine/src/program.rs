//! `QueryProgram`: what an epoch computes, as the epoch loop's `Program`.
//!
//! An epoch runs in two steps. While input comes, each split runs side by side through the pieces that read it; rows of
//! stateless sinks leave in split order. When the input is complete, the stages run upstream first, each feeding the
//! pieces above it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use tidegate_api::{Clock, Error, Result};
use tidegate_epoch::state::{KeyedState, StateMemory};
use tidegate_epoch::{
    Closing, Deltas, EpochInput, EpochNumbers, EventTimes, OperatorDelta, OperatorSnapshot, Outputs, Program,
    SourceInput, SplitInput, StaticVersion, WatermarkNode, Watermarks,
};
use tidegate_sql::EpochClock;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::decode::{Decoding, Undecoded};
use crate::exec::{LeafId, RunInput, Runner, Statics, TimesSeen, Wanted};
use crate::late::LateRows;
use crate::operators::OperatorEpoch;
use crate::operators::changes::net;
use crate::operators::stage::{RunningStage, input_watermark};
use crate::plan::cut::{Piece, Target};
use crate::split_task::{
    CHUNKS_AHEAD, Readers, SplitResult, SplitRows, SplitRun, SplitTask, StagePort, ToLate, ToSink, ToStage,
};
use crate::statics::{StaticInput, read_all, versions};

/// A streaming source as the program sees it.
pub(crate) struct StreamInput {
    /// Its index among all sources of the query.
    pub(crate) at: usize,
    pub(crate) name: Arc<str>,
    pub(crate) decoding: Decoding,
    /// The columns that the query uses.
    pub(crate) schema: SchemaRef,
}

/// The query, ready to run epochs.
pub(crate) struct QueryProgram {
    pub(crate) streams: Vec<StreamInput>,
    pub(crate) statics: Vec<StaticInput>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) stages: Vec<RunningStage>,
    /// What they drop, and the sinks that want it.
    pub(crate) late: Vec<Arc<LateRows>>,
    pub(crate) late_sinks: Vec<usize>,
    /// The sinks whose rows say what is taken back.
    pub(crate) retracting: BTreeSet<usize>,
    /// What their state may hold in memory; nothing: all of it.
    pub(crate) memory: Option<StateMemory>,
    pub(crate) watermarks: Vec<WatermarkNode>,
    /// The names of the watermarks that feed each sink.
    pub(crate) groups: Vec<BTreeSet<Arc<str>>>,
    pub(crate) runner: Runner,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) epoch_clock: Arc<EpochClock>,
    /// Splits that run side by side.
    pub(crate) tasks: usize,
}

/// A split that runs: its rows for sinks, and its end.
struct Running {
    sinks: mpsc::Receiver<SplitRows>,
    end: AbortOnDrop,
    source: usize,
}

/// A task that ends with its owner.
struct AbortOnDrop(JoinHandle<Result<SplitResult>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the splits of an epoch came to.
struct Gathered {
    partials: BTreeMap<StagePort, Vec<RecordBatch>>,
    source_rows: Vec<u64>,
}

impl QueryProgram {
    /// Runs all splits, at most `tasks` side by side; takes their results in input order.
    async fn read_input(&self, sources: Vec<SourceInput>, shared: &Shared, outputs: &mut Outputs) -> Result<Gathered> {
        let mut gathered = Gathered { partials: BTreeMap::new(), source_rows: vec![0; sources.len()] };
        let mut waiting: VecDeque<(usize, SplitInput)> = VecDeque::new();
        for (source, input) in sources.into_iter().enumerate() {
            waiting.extend(input.splits.into_iter().map(|split| (source, split)));
        }
        let mut running: VecDeque<Running> = VecDeque::new();
        loop {
            while running.len() < self.tasks.max(1) {
                let Some((source, split)) = waiting.pop_front() else { break };
                running.push_back(self.spawn(source, split, shared)?);
            }
            let Some(mut first) = running.pop_front() else { return Ok(gathered) };
            while let Some(rows) = first.sinks.recv().await {
                match rows {
                    SplitRows::Sink(sink, rows) => outputs.write(sink, rows).await?,
                    SplitRows::Undecoded(Undecoded { records, rejected }) => {
                        let source = self.streams.get(first.source).map(|it| it.name.clone()).unwrap_or_default();
                        outputs.undecoded(&source, &records, rejected)?;
                    }
                }
            }
            let ended = (&mut first.end.0).await;
            let result = ended.map_err(|e| Error::internal("a split's task broke off").because(e))??;
            for (port, kept) in result.partials {
                gathered.partials.entry(port).or_default().extend(kept.rows);
            }
            if let Some(rows) = gathered.source_rows.get_mut(first.source) {
                *rows += result.rows;
            }
        }
    }

    fn spawn(&self, source: usize, split: SplitInput, shared: &Shared) -> Result<Running> {
        let stream = self.streams.get(source).ok_or_else(|| Error::internal(format!("no source {source}")))?;
        let leaf = LeafId::Source(stream.at);
        let (to_sinks, sinks) = mpsc::channel(CHUNKS_AHEAD);
        let run = SplitRun {
            leaf,
            readers: self.readers_of(leaf, shared),
            runner: self.runner.clone(),
            statics: shared.statics.clone(),
            times: shared.times.clone(),
            sinks: to_sinks,
        };
        let task = SplitTask { rows: split.rows, decoder: stream.decoding.decoder(&stream.schema)?, run };
        Ok(Running { sinks, end: AbortOnDrop(tokio::spawn(task.run())), source })
    }

    /// The pieces that read a leaf.
    fn readers_of(&self, leaf: LeafId, shared: &Shared) -> Readers {
        let mut readers = Readers::default();
        for piece in self.pieces.iter().filter(|it| it.leaves.contains(&leaf)) {
            let plan = piece.plan.clone();
            match piece.target {
                Target::Stage { stage, port } => {
                    let shrink = self.stages.get(stage).and_then(|it| it.operator.shrink(port));
                    let drops = drops_late(&self.stages, stage, port);
                    let wanted = if drops { Wanted::NotAhead(stage) } else { Wanted::All };
                    readers.to_stages.push(ToStage { port: (stage, port), plan, shrink, wanted });
                }
                Target::Sink(sink) => readers.to_sinks.push(ToSink { sink, plan }),
                Target::Late(at) => readers.to_late.extend(self.dropped(at, plan, shared)),
                Target::Nowhere => readers.observers.push(plan),
            }
        }
        readers
    }

    /// What finds the rows that a port drops in this epoch; nothing if it drops none.
    fn dropped(&self, at: usize, plan: Arc<dyn ExecutionPlan>, shared: &Shared) -> Option<ToLate> {
        let rows = self.late.get(at)?.clone();
        let late_us = of_stage(&self.stages, rows.stage, &shared.late);
        let late = late_us.filter(|_| rows.timed).map(Wanted::Late);
        let drops_ahead = shared.times.ceiling_us().is_some() && drops_late(&self.stages, rows.stage, rows.port);
        let wanted: Vec<_> = late.into_iter().chain(drops_ahead.then_some(Wanted::Ahead(late_us))).collect();
        (!wanted.is_empty()).then(|| ToLate { sinks: self.late_sinks.clone(), plan, rows, wanted })
    }

    /// Runs the stages, upstream first, and the pieces above them.
    async fn run_stages(
        &mut self,
        mut partials: BTreeMap<StagePort, Vec<RecordBatch>>,
        ctx: StageContext,
        outputs: &mut Outputs,
    ) -> Result<Vec<tidegate_epoch::OperatorNumbers>> {
        let mut numbers = Vec::new();
        for at in 0..self.stages.len() {
            let epoch = OperatorEpoch {
                runner: &self.runner,
                clock: self.clock.as_ref(),
                time_ms: ctx.time_ms,
                late_us: of_stage(&self.stages, at, &ctx.shared.late),
                evict_us: of_stage(&self.stages, at, &ctx.evict),
                with_data: ctx.with_data,
            };
            let Some(stage) = self.stages.get_mut(at) else { break };
            let (emitted, mut its) = stage.epoch(inputs_of(at, &mut partials), &epoch).await?;
            its.rows_dropped_by_watermark += ctx.shared.times.left_out(at);
            numbers.push(its);
            for (emission, rows) in emitted {
                if rows.is_empty() {
                    continue;
                }
                let leaf = LeafId::Stage(at, emission);
                let readers = self.readers_of(leaf, &ctx.shared);
                let input = |rows, wanted| ctx.shared.input(leaf, rows, wanted);
                for ToStage { port, plan, wanted, .. } in &readers.to_stages {
                    let made = self.runner.run(plan, input(rows.clone(), *wanted)).await?;
                    partials.entry(*port).or_default().extend(made);
                }
                for ToSink { sink, plan } in &readers.to_sinks {
                    let mut made = self.runner.run(plan, input(rows.clone(), Wanted::All)).await?;
                    if self.retracting.contains(sink) {
                        made = net(made)?;
                    }
                    for made in made {
                        outputs.write(*sink, made).await?;
                    }
                }
                for late in &readers.to_late {
                    for wanted in &late.wanted {
                        for (sink, made) in late.made(&self.runner, input(rows.clone(), *wanted)).await? {
                            outputs.write(sink, made).await?;
                        }
                    }
                }
            }
        }
        // Downstream first, as Spark lists them.
        numbers.reverse();
        Ok(numbers)
    }
}

/// What all pieces of an epoch run with.
struct Shared {
    /// What late rows are late by.
    late: Watermarks,
    statics: Statics,
    times: Arc<TimesSeen>,
}

impl Shared {
    fn input(&self, leaf: LeafId, rows: Vec<RecordBatch>, wanted: Wanted) -> RunInput {
        RunInput { leaf, rows, statics: self.statics.clone(), times: self.times.clone(), wanted }
    }
}

struct StageContext {
    shared: Shared,
    time_ms: i64,
    evict: Watermarks,
    with_data: bool,
}

/// Takes out the rows of a stage, by port.
fn inputs_of(stage: usize, partials: &mut BTreeMap<StagePort, Vec<RecordBatch>>) -> Vec<Vec<RecordBatch>> {
    let mut inputs = Vec::new();
    let mut later = partials.split_off(&(stage, 0));
    let mut rest = later.split_off(&(stage + 1, 0));
    for ((_, port), rows) in later {
        inputs.resize(port, Vec::new());
        inputs.push(rows);
    }
    partials.append(&mut rest);
    inputs
}

/// The watermark of a stage's input, microseconds: its sinks have one in common, or it waits for none.
fn of_stage(stages: &[RunningStage], at: usize, watermarks: &Watermarks) -> Option<i64> {
    let sink = stages.get(at)?.sinks.first()?;
    input_watermark(stages, at, watermarks.of_sink(*sink).map(to_us))
}

/// True if late rows of a port are dropped, by the stage or, where it passes all of them on, above it.
fn drops_late(stages: &[RunningStage], at: usize, port: usize) -> bool {
    let Some(stage) = stages.get(at) else { return false };
    stage.operator.drops_late(port)
        || stages
            .iter()
            .enumerate()
            .filter(|(_, it)| it.below.contains(&at))
            .any(|(above, it)| (0..it.operator.stores().len()).any(|port| drops_late(stages, above, port)))
}

/// Names the watermarks that would have been moved by rows too far ahead of the clock.
fn warn_of_ahead(times: &TimesSeen, epoch: u64) {
    for (watermark, ahead) in times.ahead() {
        let furthest_ms = ahead.max_ms;
        tracing::warn!(%watermark, epoch, furthest_ms, "event times too far ahead of the clock move no watermark");
    }
}

fn to_us(ms: i64) -> i64 {
    ms.saturating_mul(1000)
}

#[async_trait]
impl Program for QueryProgram {
    fn watermarks(&self) -> Vec<WatermarkNode> {
        self.watermarks.clone()
    }

    fn watermark_groups(&self) -> Vec<BTreeSet<Arc<str>>> {
        self.groups.clone()
    }

    async fn statics(&mut self) -> Result<Vec<StaticVersion>> {
        versions(&mut self.statics).await
    }

    fn statics_are_replayable(&self) -> bool {
        self.statics.iter().all(StaticInput::is_replayable)
    }

    async fn run(&mut self, input: EpochInput, outputs: &mut Outputs) -> Result<EpochNumbers> {
        // If state can't go to disk the epoch fails for now: memory must not grow without a bound.
        self.keep_within_memory()?;
        self.epoch_clock.set_us(to_us(input.epoch.time_ms));
        let statics = read_all(&mut self.statics, &input.statics).await?;
        let times = Arc::new(TimesSeen::new(input.ceiling_ms.map(to_us)));
        let with_data = input.sources.iter().any(|it| !it.splits.is_empty());
        let shared = Shared { late: input.late, statics, times: times.clone() };
        let gathered = self.read_input(input.sources, &shared, outputs).await?;
        let (evict, closed_by) = self.closing(input.evict, input.closing.as_ref(), &times);
        let ctx = StageContext { shared, time_ms: input.epoch.time_ms, evict, with_data };
        let operators = self.run_stages(gathered.partials, ctx, outputs).await?;
        warn_of_ahead(&times, input.epoch.number);
        let (event_times, source_rows) = (self.event_times(&times), gathered.source_rows);
        Ok(EpochNumbers { event_times, operators, source_rows, closed_by })
    }

    fn delta(&self) -> Result<Vec<OperatorDelta>> {
        let mut deltas = self.stages.iter().flat_map(RunningStage::deltas).collect::<Result<Vec<_>>>()?;
        if !deltas.is_empty() {
            // From here on its state is its own, also where it has not changed.
            let silent: Vec<_> = self.stages.iter().flat_map(|it| it.silent(&deltas)).collect();
            deltas.extend(silent);
        }
        Ok(deltas)
    }

    fn seal(&mut self) {
        self.stages.iter_mut().for_each(RunningStage::seal);
        // What fails here is tried again, and told, when the next epoch runs; till then the rows stay in memory.
        let _ = self.keep_within_memory();
    }

    fn discard(&mut self) {
        self.stages.iter_mut().for_each(RunningStage::discard);
    }

    fn restore(&mut self, snapshot: Vec<OperatorSnapshot>, deltas: &mut Deltas<'_>) -> Result<()> {
        self.stages.iter_mut().try_for_each(RunningStage::clear)?;
        // A stage whose group has parted from another's has that one's state, up to where the checkpoint names its own.
        let mut following: BTreeMap<_, _> = self.stages.iter().flat_map(RunningStage::origins).collect();
        following.retain(|name, _| snapshot.iter().all(|it| it.operator != *name));
        for state in &snapshot {
            self.store_named(&state.operator)?.load(state)?;
            for (name, _) in following.iter().filter(|it| *it.1 == state.operator) {
                self.store_named(name)?.load(&OperatorSnapshot { operator: name.clone(), ..state.clone() })?;
            }
            self.keep_within_memory()?;
        }
        for epoch in deltas {
            let epoch = epoch?;
            following.retain(|name, _| epoch.iter().all(|it| it.operator != *name));
            for delta in &epoch {
                self.store_named(&delta.operator)?.apply(delta)?;
                for (name, _) in following.iter().filter(|it| *it.1 == delta.operator) {
                    self.store_named(name)?.apply(&OperatorDelta { operator: name.clone(), ..delta.clone() })?;
                }
            }
            self.keep_within_memory()?;
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Vec<OperatorSnapshot>> {
        Ok(self.stages.iter().flat_map(RunningStage::snapshots).collect())
    }

    fn next_time_ms(&self) -> Option<i64> {
        self.stages.iter().filter_map(|it| it.operator.next_time_us()).min().map(|it| it.div_euclid(1000))
    }

    fn wants_epoch_without_data(&self, used: &Watermarks, next: &Watermarks) -> bool {
        self.stages.iter().enumerate().any(|(at, stage)| {
            stage.sinks.iter().any(|sink| {
                let its = |of: &Watermarks| input_watermark(&self.stages, at, of.of_sink(*sink).map(to_us));
                stage.operator.wants_epoch(its(used), its(next))
            })
        })
    }
}

impl QueryProgram {
    /// What the watermark nodes have seen.
    fn event_times(&self, times: &TimesSeen) -> Vec<EventTimes> {
        self.watermarks.iter().map(|node| times.of(&node.id)).collect()
    }

    /// What to evict with once the sources' rows are read: where an epoch without data would follow for what they close, it is
    /// closed at once. With the event times that this goes by.
    fn closing(
        &self,
        evict: Watermarks,
        closing: Option<&Closing>,
        times: &TimesSeen,
    ) -> (Watermarks, Option<Vec<EventTimes>>) {
        let Some(closing) = closing else { return (evict, None) };
        let seen = self.event_times(times);
        let reached = closing.after(&seen);
        if self.wants_epoch_without_data(&evict, &reached) { (reached, Some(seen)) } else { (evict, None) }
    }

    /// Moves sealed state to disk as far as it has to be.
    fn keep_within_memory(&mut self) -> Result<()> {
        let Some(memory) = &self.memory else { return Ok(()) };
        memory.keep_within(self.stages.iter_mut().flat_map(|it| it.operator.stores_mut()))
    }

    fn store_named(&mut self, name: &str) -> Result<&mut KeyedState> {
        let names: Vec<_> = self.stages.iter().flat_map(RunningStage::store_names).map(ToString::to_string).collect();
        self.stages.iter_mut().find_map(|it| it.store(name)).ok_or_else(|| {
            let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Error::config(format!(
                "the checkpoint has state of operator '{name}', which this query lacks; it has {found}"
            ))
        })
    }
}
