//! `QueryPlan::start`: takes the checkpoint, builds the connectors and hands all to the epoch loop.

use std::sync::Arc;

use tidegate_api::{Clock, ConnectorContext, FieldPath, MemoryBudget, ReadLimit, Result, ScanRequest};
use tidegate_epoch::{
    Checkpoint, CheckpointOptions, Faults, Query, QueryListener, QueryParts, QuerySettings, SinkPart, SourcePart,
};
use tokio_util::sync::CancellationToken;

use crate::operators::aggregate::Aggregate;
use crate::plan::{PlannedSource, QueryPlan};
use crate::program::{QueryProgram, StreamInput};
use crate::spec::QueryOptions;
use crate::statics::StaticInput;

/// Rows a batch that sources aim at.
const BATCH_ROWS: usize = 32 * 1024;

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
        let options = self.spec.options.clone();
        let checkpoint = Checkpoint::open(
            &options.checkpoint,
            CheckpointOptions { clock: environment.clock.clone(), faults: environment.faults.clone() },
        )?;
        let query_id = checkpoint.query_id().clone();
        let digest = digest(&self);
        let settings = settings_of(&options);
        let mut streams = Vec::new();
        let mut statics = Vec::new();
        let mut sources = Vec::new();
        for (at, planned) in self.sources.into_iter().enumerate() {
            let log = if planned.spec.is_static {
                checkpoint.table_log(&planned.spec.name)?
            } else {
                checkpoint.source_log(&planned.spec.name)?
            };
            let mut ctx = ConnectorContext::new(&self.spec.name, &planned.spec.name, query_id.clone(), log);
            ctx.schema.clone_from(&planned.spec.schema);
            fill(&mut ctx, &environment, &options);
            let mut source = planned
                .connector
                .build(&planned.spec.settings, &ctx)
                .await
                .map_err(|e| e.within(format!("source {}", planned.spec.name)))?;
            source.bind(&scan_of(&planned))?;
            let PlannedSource { spec, decoding, used, .. } = planned;
            if spec.is_static {
                statics.push(StaticInput::new(at, source, decoding, used));
            } else {
                streams.push(StreamInput { at, decoding, schema: used });
                sources.push(SourcePart { name: spec.name.as_str().into(), source, limit: limit_of(&options) });
            }
        }
        let mut sinks = Vec::new();
        for planned in &self.sinks {
            let log = checkpoint.sink_log(&planned.part.name)?;
            let mut ctx = ConnectorContext::new(&self.spec.name, &planned.part.name, query_id.clone(), log);
            fill(&mut ctx, &environment, &options);
            let sink = planned
                .connector
                .build(&planned.part.settings, &planned.spec, &ctx)
                .await
                .map_err(|e| e.within(format!("sink {}", planned.part.name)))?;
            sinks.push(SinkPart {
                name: planned.part.name.as_str().into(),
                best_effort: planned.part.best_effort || sink.best_effort(),
                mode: planned.spec.mode,
                sink,
            });
        }
        let stages = self.graph.stages.into_iter().map(|it| Aggregate::new(it.spec, it.emissions));
        let program = QueryProgram {
            streams,
            statics,
            pieces: self.graph.pieces,
            stages: stages.collect::<Result<_>>()?,
            watermarks: self.watermarks,
            runner: self.runner,
            clock: environment.clock.clone(),
            epoch_clock: self.epoch_clock,
            tasks: settings.tasks,
        };
        let mut query = Query::new(
            checkpoint,
            QueryParts {
                name: self.spec.name.as_str().into(),
                sources,
                sinks,
                program: Box::new(program),
                settings,
                clock: environment.clock,
                digest,
                listeners: environment.listeners,
            },
        )?;
        query.start().await?;
        Ok(query)
    }
}

fn fill(ctx: &mut ConnectorContext, environment: &Environment, options: &QueryOptions) {
    ctx.data_dir.clone_from(&options.data_dir);
    ctx.clock = environment.clock.clone();
    ctx.cancel = environment.cancel.clone();
    ctx.memory = environment.memory.clone();
    ctx.io = environment.io.clone();
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
        no_data_epochs: options.no_data_epochs,
        min_epochs_to_retain: options.min_epochs_to_retain,
        shutdown_timeout: options.shutdown_timeout,
        flush_on_end: options.flush_on_end,
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
