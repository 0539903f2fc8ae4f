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
use tidegate_api::{Clock, Error, Result};
use tidegate_epoch::{
    EpochInput, EpochNumbers, OperatorDelta, OperatorSnapshot, Outputs, Program, SourceInput, SplitInput,
    StaticVersion, WatermarkNode, Watermarks,
};
use tidegate_sql::EpochClock;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::decode::{Decoding, Undecoded};
use crate::exec::{LeafId, RunInput, Runner, Statics, TimesSeen};
use crate::operators::aggregate::{Aggregate, OperatorEpoch};
use crate::plan::cut::{Piece, Target};
use crate::split_task::{CHUNKS_AHEAD, Readers, SplitResult, SplitRows, SplitRun, SplitTask, ToSink, ToStage};
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
    pub(crate) stages: Vec<Aggregate>,
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
    partials: BTreeMap<usize, Vec<RecordBatch>>,
    source_rows: Vec<u64>,
}

impl QueryProgram {
    /// Runs all splits, at most `tasks` side by side; takes their results in input order.
    async fn read_input(
        &self,
        sources: Vec<SourceInput>,
        statics: &Statics,
        times: &Arc<TimesSeen>,
        outputs: &mut Outputs,
    ) -> Result<Gathered> {
        let mut gathered = Gathered { partials: BTreeMap::new(), source_rows: vec![0; sources.len()] };
        let mut waiting: VecDeque<(usize, SplitInput)> = VecDeque::new();
        for (source, input) in sources.into_iter().enumerate() {
            waiting.extend(input.splits.into_iter().map(|split| (source, split)));
        }
        let mut running: VecDeque<Running> = VecDeque::new();
        loop {
            while running.len() < self.tasks.max(1) {
                let Some((source, split)) = waiting.pop_front() else { break };
                running.push_back(self.spawn(source, split, statics, times)?);
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
            for (stage, rows) in result.partials {
                gathered.partials.entry(stage).or_default().extend(rows);
            }
            if let Some(rows) = gathered.source_rows.get_mut(first.source) {
                *rows += result.rows;
            }
        }
    }

    fn spawn(&self, source: usize, split: SplitInput, statics: &Statics, times: &Arc<TimesSeen>) -> Result<Running> {
        let stream = self.streams.get(source).ok_or_else(|| Error::internal(format!("no source {source}")))?;
        let leaf = LeafId::Source(stream.at);
        let (to_sinks, sinks) = mpsc::channel(CHUNKS_AHEAD);
        let run = SplitRun {
            leaf,
            readers: self.readers_of(leaf),
            runner: self.runner.clone(),
            statics: statics.clone(),
            times: times.clone(),
            sinks: to_sinks,
        };
        let task = SplitTask { rows: split.rows, decoder: stream.decoding.decoder(&stream.schema)?, run };
        Ok(Running { sinks, end: AbortOnDrop(tokio::spawn(task.run())), source })
    }

    /// The pieces that read a leaf.
    fn readers_of(&self, leaf: LeafId) -> Readers {
        let mut readers = Readers::default();
        for piece in self.pieces.iter().filter(|it| it.leaves.contains(&leaf)) {
            let plan = piece.plan.clone();
            match piece.target {
                Target::Stage(stage) => {
                    let merge = self.stages.get(stage).map(Aggregate::merge_plan);
                    readers.to_stages.extend(merge.map(|merge| ToStage { stage, plan, merge }));
                }
                Target::Sink(sink) => readers.to_sinks.push(ToSink { sink, plan }),
            }
        }
        readers
    }

    /// Runs the stages, upstream first, and the pieces above them.
    async fn run_stages(
        &mut self,
        mut partials: BTreeMap<usize, Vec<RecordBatch>>,
        ctx: StageContext,
        outputs: &mut Outputs,
    ) -> Result<Vec<tidegate_epoch::OperatorNumbers>> {
        let mut numbers = Vec::new();
        for at in 0..self.stages.len() {
            let Some(stage) = self.stages.get_mut(at) else { break };
            let epoch = OperatorEpoch {
                runner: &self.runner,
                clock: self.clock.as_ref(),
                late_us: of_stage(stage, &ctx.late),
                evict_us: of_stage(stage, &ctx.evict),
                with_data: ctx.with_data,
            };
            let (emitted, its) = stage.epoch(partials.remove(&at).unwrap_or_default(), &epoch).await?;
            numbers.push(its);
            for (emission, rows) in emitted {
                if rows.is_empty() {
                    continue;
                }
                let readers = self.readers_of(LeafId::Stage(at, emission));
                let input = |rows| RunInput {
                    leaf: LeafId::Stage(at, emission),
                    rows,
                    statics: ctx.statics.clone(),
                    times: ctx.times.clone(),
                };
                for ToStage { stage, plan, .. } in &readers.to_stages {
                    let made = self.runner.run(plan, input(rows.clone())).await?;
                    partials.entry(*stage).or_default().extend(made);
                }
                for ToSink { sink, plan } in &readers.to_sinks {
                    for made in self.runner.run(plan, input(rows.clone())).await? {
                        outputs.write(*sink, made).await?;
                    }
                }
            }
        }
        // Downstream first, as Spark lists them.
        numbers.reverse();
        Ok(numbers)
    }
}

struct StageContext {
    late: Watermarks,
    evict: Watermarks,
    with_data: bool,
    statics: Statics,
    times: Arc<TimesSeen>,
}

/// The watermark that a stage goes by, microseconds: its sinks have one in common, or it waits for none.
fn of_stage(stage: &Aggregate, watermarks: &Watermarks) -> Option<i64> {
    stage.sinks().first().and_then(|sink| watermarks.of_sink(*sink)).map(to_us)
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

    async fn run(&mut self, input: EpochInput, outputs: &mut Outputs) -> Result<EpochNumbers> {
        self.epoch_clock.set_us(to_us(input.epoch.time_ms));
        let statics = read_all(&mut self.statics, &input.statics).await?;
        let times = Arc::new(TimesSeen::default());
        let with_data = input.sources.iter().any(|it| !it.splits.is_empty());
        let gathered = self.read_input(input.sources, &statics, &times, outputs).await?;
        let ctx = StageContext { late: input.late, evict: input.evict, with_data, statics, times: times.clone() };
        let operators = self.run_stages(gathered.partials, ctx, outputs).await?;
        let event_times = self.watermarks.iter().map(|node| times.of(&node.id)).collect();
        Ok(EpochNumbers { event_times, operators, source_rows: gathered.source_rows })
    }

    fn delta(&self) -> Result<Vec<OperatorDelta>> {
        let mut deltas: Vec<_> = self.stages.iter().filter_map(|it| it.delta().transpose()).collect::<Result<_>>()?;
        // From here on its state is its own, also where it has not changed.
        let parted = self.stages.iter().filter(|it| it.origin().is_some());
        let silent = parted.filter(|it| deltas.iter().all(|delta| delta.operator != *it.name()));
        let silent: Vec<_> = silent.map(Aggregate::no_delta).collect();
        if !deltas.is_empty() {
            deltas.extend(silent);
        }
        Ok(deltas)
    }

    fn seal(&mut self) {
        self.stages.iter_mut().for_each(Aggregate::seal);
    }

    fn discard(&mut self) {
        self.stages.iter_mut().for_each(Aggregate::discard);
    }

    fn restore(&mut self, snapshot: Vec<OperatorSnapshot>, deltas: Vec<Vec<OperatorDelta>>) -> Result<()> {
        self.stages.iter_mut().try_for_each(Aggregate::clear)?;
        // A stage whose group has parted from another's has that one's state, up to where the checkpoint names its own.
        let origin = |it: &Aggregate| Some((it.name().clone(), it.origin()?.clone()));
        let mut following: BTreeMap<_, _> = self.stages.iter().filter_map(origin).collect();
        following.retain(|name, _| snapshot.iter().all(|it| it.operator != *name));
        for state in &snapshot {
            self.stage_named(&state.operator)?.load(state)?;
            for (name, _) in following.iter().filter(|it| *it.1 == state.operator) {
                self.stage_named(name)?.load(&OperatorSnapshot { operator: name.clone(), ..state.clone() })?;
            }
        }
        for epoch in &deltas {
            following.retain(|name, _| epoch.iter().all(|it| it.operator != *name));
            for delta in epoch {
                self.stage_named(&delta.operator)?.apply(delta)?;
                for (name, _) in following.iter().filter(|it| *it.1 == delta.operator) {
                    self.stage_named(name)?.apply(&OperatorDelta { operator: name.clone(), ..delta.clone() })?;
                }
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Vec<OperatorSnapshot>> {
        self.stages.iter().map(Aggregate::snapshot).collect()
    }

    fn wants_epoch_without_data(&self, used: &Watermarks, next: &Watermarks) -> bool {
        let rises = |sink: &usize| next.of_sink(*sink) > used.of_sink(*sink);
        self.stages.iter().any(|it| !it.is_complete() && it.sinks().iter().any(rises))
    }
}

impl QueryProgram {
    fn stage_named(&mut self, name: &str) -> Result<&mut Aggregate> {
        let names: Vec<_> = self.stages.iter().map(|it| it.name().to_string()).collect();
        self.stages.iter_mut().find(|it| **it.name() == *name).ok_or_else(|| {
            let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Error::config(format!(
                "the checkpoint has state of operator '{name}', which this query lacks; it has {found}"
            ))
        })
    }
}
