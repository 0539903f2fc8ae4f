//! `QueryPlan::start`: takes the checkpoint, builds the connectors and hands all to the epoch loop.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray, StructArray};
use tidegate_api::{
    Changes, Clock, ConnectorContext, FieldPath, MemoryBudget, MetadataLog, OutputMode, ReadLimit, Result, ScanRequest,
};
use tidegate_epoch::state::{SPILL_FOLDER, StateMemory};
use tidegate_epoch::{
    Checkpoint, CheckpointOptions, DEAD_LETTERS, Errors, Faults, Query, QueryListener, QueryParts, QuerySettings,
    SinkPart, SourcePart,
};
use tokio_util::sync::CancellationToken;

use crate::operators::stage::RunningStage;
use crate::plan::{PlannedLetters, PlannedSink, PlannedSource, QueryPlan, letter_spec};
use crate::program::{QueryProgram, StreamInput};
use crate::spec::{ErrorOptions, QueryOptions};
use crate::statics::StaticInput;

/// Rows a batch that sources aim at.
const BATCH_ROWS: usize = 32 * 1024;

/// What a query may hold in memory, if nothing else is said.
pub const MEMORY_BYTES: u64 = 4 << 30;

/// What a query runs in.
pub struct Environment {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The runtime for network and disk.
    pub io: tokio::runtime::Handle,
    /// The memory of the query.
    pub memory: MemoryBudget,
    /// Cancelled when the query stops.
    pub cancel: CancellationToken,
    /// Called with the progress of each epoch.
    pub listeners: Vec<QueryListener>,
    /// Fault points, for tests.
    pub faults: Faults,
}

impl QueryPlan {
    /// The query's name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Takes ownership of the checkpoint, builds the connectors, and finishes an epoch that was pending.
    ///
    /// # Errors
    /// `Config` if the checkpoint is owned, damaged or of another query; else as the connectors.
    pub async fn start(self, environment: Environment) -> Result<Query> {
        let mut query = self.build(environment).await?;
        query.start().await?;
        Ok(query)
    }

    /// As `start`, but nothing runs yet: for a query that is to go back.
    ///
    /// # Errors
    /// As `start`.
    pub async fn build(self, environment: Environment) -> Result<Query> {
        let checkpoint = self.open_checkpoint(&environment).await?;
        self.build_on(checkpoint, environment).await
    }

    /// True if what it computes depends on rows of earlier epochs.
    pub fn is_stateful(&self) -> bool {
        !self.graph.stages.is_empty()
    }

    /// Takes ownership of the checkpoint.
    ///
    /// # Errors
    /// `Config` if it is owned, damaged, a copy, or newer than this program; `Transient` if the store fails.
    pub async fn open_checkpoint(&self, environment: &Environment) -> Result<Checkpoint> {
        let options = &self.spec.options;
        let how = CheckpointOptions {
            faults: environment.faults.clone(),
            lease_timeout: options.lease_timeout,
            take_over: options.take_over,
            adopt: options.adopt,
            io: Some(environment.io.clone()),
            ..CheckpointOptions::new(environment.clock.clone())
        };
        Checkpoint::open(&options.checkpoint, how).await
    }

    /// As `build`, on the query's checkpoint that is open already.
    ///
    /// # Errors
    /// As the connectors.
    pub async fn build_on(self, checkpoint: Checkpoint, environment: Environment) -> Result<Query> {
        let options = self.spec.options.clone();
        let digest = digest(&self);
        let settings = settings_of(&options);
        let name = self.spec.name;
        let builder = Builder { query: &name, checkpoint: &checkpoint, environment: &environment, options: &options };
        let inputs = builder.inputs(self.sources).await?;
        let sinks = builder.sinks(&self.sinks).await?;
        let errors = builder.errors(self.letters.as_ref()).await?;
        let retracts = |it: &(usize, &PlannedSink)| it.1.spec.changes == Changes::Retract;
        let retracting = self.sinks.iter().enumerate().filter(retracts).map(|it| it.0).collect();
        let stages = self.graph.stages.into_iter().map(|it| {
            let operator = it.spec.build(it.name.clone(), it.emissions)?;
            Ok(RunningStage { name: it.name, operator, below: it.below, sinks: it.sinks, origin: it.origin })
        });
        let program = QueryProgram {
            streams: inputs.streams,
            statics: inputs.statics,
            pieces: self.graph.pieces,
            stages: stages.collect::<Result<_>>()?,
            late: self.graph.late.into_iter().map(Arc::new).collect(),
            late_sinks: self.late_sinks,
            retracting,
            memory: state_memory(&options, &checkpoint)?,
            watermarks: self.watermarks,
            groups: self.groups,
            runner: self.runner,
            clock: environment.clock.clone(),
            epoch_clock: self.epoch_clock,
            tasks: settings.tasks,
        };
        let parts = QueryParts {
            name: name.as_str().into(),
            sources: inputs.sources,
            sinks,
            errors,
            program: Box::new(program),
            settings,
            clock: environment.clock,
            digest,
            listeners: environment.listeners,
        };
        Query::new(checkpoint, parts)
    }
}

/// Builds the connectors of a query.
struct Builder<'a> {
    query: &'a str,
    checkpoint: &'a Checkpoint,
    environment: &'a Environment,
    options: &'a QueryOptions,
}

/// The sources of a query, as the loop and the program see them.
#[derive(Default)]
struct Inputs {
    sources: Vec<SourcePart>,
    streams: Vec<StreamInput>,
    statics: Vec<StaticInput>,
}

impl Builder<'_> {
    async fn inputs(&self, planned: Vec<PlannedSource>) -> Result<Inputs> {
        let mut inputs = Inputs::default();
        for (at, planned) in planned.into_iter().enumerate() {
            let name = &planned.spec.name;
            // A static table takes no line among the offsets.
            let is_static = planned.spec.is_static;
            let log =
                if is_static { self.checkpoint.table_log(name) } else { self.checkpoint.source_log(name).await? };
            let mut ctx = self.context(name, log);
            ctx.schema.clone_from(&planned.spec.schema);
            let built = planned.connector.build(&planned.spec.settings, &ctx).await;
            let mut source = built.map_err(|e| e.within(format!("source {name}")))?;
            source.bind(&scan_of(&planned))?;
            let PlannedSource { spec, decoding, used, .. } = planned;
            if is_static {
                let (name, memory) = (spec.name.as_str().into(), self.environment.memory.clone());
                inputs.statics.push(StaticInput::new(at, name, source, decoding, used, memory));
            } else {
                inputs.streams.push(StreamInput { at, name: spec.name.as_str().into(), decoding, schema: used });
                let limit = limit_of(self.options);
                inputs.sources.push(SourcePart { name: spec.name.as_str().into(), source, limit });
            }
        }
        Ok(inputs)
    }

    async fn sinks(&self, planned: &[PlannedSink]) -> Result<Vec<SinkPart>> {
        let mut sinks = Vec::new();
        for planned in planned {
            let part = &planned.part;
            let ctx = self.context(&part.name, self.checkpoint.sink_log(&part.name));
            let built = planned.connector.build(&part.settings, &planned.spec, &ctx).await;
            let sink = built.map_err(|e| e.within(format!("sink {}", part.name)))?;
            let best_effort = part.best_effort || sink.best_effort();
            sinks.push(SinkPart { name: part.name.as_str().into(), best_effort, mode: planned.spec.mode, sink });
        }
        Ok(sinks)
    }

    async fn errors(&self, letters: Option<&PlannedLetters>) -> Result<Errors> {
        let ErrorOptions { tolerance, log, .. } = self.options.errors;
        let mut errors = Errors { tolerance, log, sink: None, to_text: Some(Arc::new(rows_to_text)) };
        if let Some(PlannedLetters { part, connector }) = letters {
            let ctx = self.context(DEAD_LETTERS, self.checkpoint.sink_log(DEAD_LETTERS));
            let built = connector.build(&part.settings, &letter_spec(), &ctx).await;
            let sink = built.map_err(|e| e.within(DEAD_LETTERS))?;
            let (best_effort, mode) = (sink.best_effort(), OutputMode::Append);
            errors.sink = Some(SinkPart { name: DEAD_LETTERS.into(), best_effort, mode, sink });
        }
        Ok(errors)
    }

    fn context(&self, name: &str, log: Arc<dyn MetadataLog>) -> ConnectorContext {
        let mut ctx = ConnectorContext::new(self.query, name, self.checkpoint.query_id().clone(), log);
        ctx.owner = self.checkpoint.ownership();
        ctx.data_dir.clone_from(&self.options.data_dir);
        ctx.clock = self.environment.clock.clone();
        ctx.cancel = self.environment.cancel.clone();
        ctx.memory = self.environment.memory.clone();
        ctx.io = self.environment.io.clone();
        ctx
    }
}

/// What the state may hold in memory. The folder for the rest is of this query alone, whose checkpoint has one owner; what
/// an earlier process left there goes.
fn state_memory(options: &QueryOptions, checkpoint: &Checkpoint) -> Result<Option<StateMemory>> {
    let own = |folder: PathBuf| folder.join(&*checkpoint.query_id().0);
    let in_checkpoint = options.checkpoint.local().map(|it| it.join(SPILL_FOLDER));
    let folder = match (&options.state_spill_dir, &in_checkpoint) {
        (Some(folder), _) => own(folder.clone()),
        (None, Some(folder)) => folder.clone(),
        (None, None) => own(std::env::temp_dir().join("tidegate-spill")),
    };
    if let Some(left) = in_checkpoint {
        StateMemory::sweep(&left)?;
    }
    options.state_memory.map(|limit| StateMemory::open(limit, &folder)).transpose()
}

/// Each row as a JSON object.
fn rows_to_text(rows: &RecordBatch) -> Result<StringArray> {
    tidegate_formats::json::encode(&StructArray::from(rows.clone()))
}

fn scan_of(planned: &PlannedSource) -> ScanRequest {
    let projection = planned.decoding.wanted(&planned.used).into_iter().map(FieldPath::column).collect();
    ScanRequest { projection, filters: Vec::new(), batch_rows: BATCH_ROWS }
}

fn limit_of(options: &QueryOptions) -> ReadLimit {
    ReadLimit { max_rows: options.max_rows_per_epoch, max_bytes: options.max_bytes_per_epoch, ..ReadLimit::NONE }
}

fn settings_of(options: &QueryOptions) -> QuerySettings {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    QuerySettings {
        trigger: options.trigger,
        watermark_policy: options.watermark_policy,
        emit_in_same_epoch: options.emit_in_same_epoch,
        follow_when_added: options.follow_when_added,
        max_ahead: options.max_ahead,
        no_data_epochs: options.no_data_epochs,
        min_epochs_to_retain: options.min_epochs_to_retain,
        target_latency: options.target_latency,
        least_interval: options.least_interval(),
        shutdown_timeout: options.shutdown_timeout,
        flush_on_end: options.flush_on_end,
        stage_outputs: options.stage_outputs,
        tasks: if options.tasks_max == 0 { cores } else { options.tasks_max },
    }
}

/// Tells one canonical query from another, for the epoch's record.
fn digest(plan: &QueryPlan) -> String {
    let mut text = String::new();
    for sink in &plan.sinks {
        text.push_str(&format!("{} {}\n{}\n", sink.part.name, sink.spec.mode, sink.plan.display_indent_schema()));
    }
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}
