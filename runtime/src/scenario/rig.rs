//! The little world of a scenario: the query, its memory, its clock and its checkpoint.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_api::{MemoryBudget, Registry, Settings};
use tidegate_engine::{Environment, SinkInput};
use tidegate_epoch::{Faults, Query, QueryProgress, Step};
use tidegate_storage::Location;
use tidegate_testkit::{ManualClock, MemoryConnectors};
use tokio_util::sync::CancellationToken;

use super::Scenario;
use super::file::{At, Counter, Row, Scope};
use super::rows;
use crate::config::{Defaults, Pipeline, Problem, References, Secrets, load, overlay};

/// No step of a scenario takes longer, unless the query hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const MEMORY_BYTES: u64 = 1 << 30;

/// What a stateful operator counted since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Operator {
    total: u64,
    updated: u64,
    removed: u64,
    dropped: u64,
}

impl Operator {
    pub(super) fn of(self, counter: Counter) -> u64 {
        match counter {
            Counter::Total => self.total,
            Counter::Updated => self.updated,
            Counter::Removed => self.removed,
            Counter::Dropped => self.dropped,
        }
    }
}

enum Life {
    /// Not started yet: static sources may be filled.
    New,
    Running(Box<Query>),
    /// The trigger has no more turns; rows that are added wait for a restart.
    Ended(Box<Query>),
    Stopped,
}

/// A query under test.
pub(super) struct Rig {
    name: String,
    settings: Settings,
    registry: Registry,
    memory: MemoryConnectors,
    clock: Arc<ManualClock>,
    folder: TempDir,
    pipeline: Result<Pipeline, String>,
    life: Life,
    failure: Option<(At, String)>,
    epochs: Vec<QueryProgress>,
    /// Where the next `state` begins in `epochs`.
    state_mark: usize,
    /// Where the next `expect` begins, by sink.
    marks: BTreeMap<String, usize>,
}

impl Rig {
    /// A rig for a scenario; the query is not started.
    pub(super) fn new(scenario: &Scenario, registry: &Registry) -> Result<Self, String> {
        let memory = MemoryConnectors::new();
        let registry = memory.register(registry.clone());
        let folder = tempfile::tempdir().map_err(|e| format!("no folder for the checkpoint: {e}"))?;
        let mut rig = Self {
            name: scenario.name.clone(),
            settings: scenario.settings.clone(),
            registry,
            memory,
            clock: Arc::new(ManualClock::default()),
            folder,
            pipeline: Err(String::new()),
            life: Life::New,
            failure: None,
            epochs: Vec::new(),
            state_mark: 0,
            marks: BTreeMap::new(),
        };
        rig.pipeline = rig.load();
        Ok(rig)
    }

    fn load(&self) -> Result<Pipeline, String> {
        let defaults = Defaults { name: self.name.clone(), data_dir: None, sink: "memory" };
        let references = References::Resolve(Secrets::default());
        let loaded = load("pipeline", &self.settings, &defaults, &self.registry, &references);
        match loaded.pipeline {
            Some(mut pipeline) if loaded.problems.is_empty() => {
                pipeline.spec.options.checkpoint =
                    Location::at(&self.folder.path().join("checkpoint")).map_err(|e| e.to_string())?;
                Ok(pipeline)
            }
            _ => Err(all(&loaded.problems)),
        }
    }

    /// Fills sources, then runs until idle; a step before the first start that names static sources only fills them.
    pub(super) async fn add(&mut self, rows: &[(String, Vec<Row>)]) -> Result<(), String> {
        if let Ok(pipeline) = &self.pipeline {
            let known = |name: &str| pipeline.spec.sources.iter().find(|it| it.name == name);
            let strange = rows.iter().find(|(name, _)| known(name).is_none());
            if let Some((name, _)) = strange {
                return Err(format!("unknown source '{name}'"));
            }
            let is_static = |name: &str| known(name).is_some_and(|it| it.is_static);
            let (fixed, streamed): (Vec<_>, Vec<_>) = rows.iter().partition(|(name, _)| is_static(name));
            self.fill(&fixed)?;
            if streamed.is_empty() && !fixed.is_empty() {
                return Ok(());
            }
            self.needs_running().await?;
            self.fill(&streamed)?;
            self.run_until_idle().await
        } else {
            self.needs_running().await
        }
    }

    fn fill(&self, rows: &[&(String, Vec<Row>)]) -> Result<(), String> {
        let pipeline = self.pipeline.as_ref().map_err(Clone::clone)?;
        for (name, rows) in rows {
            let source = pipeline.spec.sources.iter().find(|it| it.name == *name);
            let schema =
                source.and_then(|it| it.schema.clone()).ok_or_else(|| format!("source {name} has no schema"))?;
            let columns: Vec<&str> = schema.fields().iter().map(|it| it.name().as_str()).collect();
            let cells = rows.iter().map(|it| rows::filled(it, &columns)).collect::<Result<Vec<_>, _>>();
            let batch = cells.and_then(|it| rows::decode(&it, &schema)).map_err(|e| format!("source {name}: {e}"))?;
            let input = self.memory.create_input(&pipeline.spec.name, name, schema).map_err(|e| e.to_string())?;
            let batches = if batch.num_rows() == 0 { Vec::new() } else { vec![batch] };
            input.add(batches).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Stops the query and starts it again on the same checkpoint, with changed settings.
    pub(super) async fn restart(&mut self, set: &Settings) -> Result<(), String> {
        self.needs_running().await?;
        match std::mem::replace(&mut self.life, Life::Stopped) {
            Life::Running(mut query) | Life::Ended(mut query) => query.settle().await.map_err(|e| e.to_string())?,
            Life::New | Life::Stopped => {}
        }
        self.settings = overlay(&self.settings, set);
        self.pipeline = self.load();
        self.start().await
    }

    pub(super) async fn advance_clock(&mut self, by: Duration) -> Result<(), String> {
        self.needs_running().await?;
        self.clock.advance(by);
        self.run_until_idle().await
    }

    /// Starts a query that has not been; a failure to start is kept for the next step.
    pub(super) async fn start_if_new(&mut self) -> Result<(), String> {
        if matches!(self.life, Life::New) {
            self.life = Life::Stopped;
            self.start().await?;
        }
        Ok(())
    }

    /// As `start_if_new`, and an error if the query has failed.
    pub(super) async fn needs_running(&mut self) -> Result<(), String> {
        self.start_if_new().await?;
        match &self.failure {
            Some((_, text)) => Err(format!("the query has failed: {text}")),
            None => Ok(()),
        }
    }

    async fn start(&mut self) -> Result<(), String> {
        let started = patiently(Box::pin(self.started())).await?;
        match started {
            Ok(query) => {
                self.life = Life::Running(query);
                self.run_until_idle().await
            }
            Err(text) => {
                self.failure = Some((At::Start, text));
                Ok(())
            }
        }
    }

    /// A started query, or why there is none.
    async fn started(&mut self) -> Result<Box<Query>, String> {
        let mut pipeline = self.pipeline.clone()?;
        let planned = pipeline.plan_to_run(&self.registry).await.map_err(|e| e.to_string())?;
        let plan = planned.map_err(|problems| all(&problems))?;
        // A pending epoch is finished while the query starts: only a listener sees it.
        let recovered = Arc::new(Mutex::new(Vec::new()));
        let seen = recovered.clone();
        let environment = Environment {
            clock: self.clock.clone(),
            io: tokio::runtime::Handle::current(),
            memory: MemoryBudget::new(MEMORY_BYTES),
            cancel: CancellationToken::new(),
            listeners: vec![Box::new(move |progress| {
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(progress.clone());
            })],
            faults: Faults::default(),
        };
        let query = plan.start(environment).await.map_err(|e| e.to_string())?;
        self.epochs.append(&mut recovered.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Box::new(query))
    }

    async fn run_until_idle(&mut self) -> Result<(), String> {
        let epochs = &mut self.epochs;
        let life = std::mem::replace(&mut self.life, Life::Stopped);
        let Life::Running(mut query) = life else {
            self.life = life;
            return Ok(());
        };
        let idle = async {
            loop {
                match query.step().await {
                    Ok(Step::Ran(progress)) => epochs.push(*progress),
                    Ok(Step::Idle | Step::Waiting { .. }) => return Ok(Life::Running(query)),
                    Ok(Step::Ended) => return Ok(Life::Ended(query)),
                    Err(e) => return Err(e.to_string()),
                }
            }
        };
        match patiently(idle).await? {
            Ok(life) => self.life = life,
            Err(text) => self.failure = Some((At::Run, text)),
        }
        Ok(())
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_ref().map(|(_, text)| text.as_str())
    }

    pub(super) fn take_failure(&mut self) -> Option<(At, String)> {
        self.failure.take()
    }

    /// The sinks that a step means which names none: that of late rows is always named.
    pub(super) fn sink_names(&self) -> Vec<String> {
        let sinks = self.pipeline.iter().flat_map(|it| &it.spec.sinks);
        sinks.filter(|it| !matches!(it.input, SinkInput::LateRows)).map(|it| it.name.clone()).collect()
    }

    /// A sink's columns and rows. The scope `Since` moves the mark.
    pub(super) fn sink_rows(&mut self, sink: &str, scope: Scope) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
        let pipeline = self.pipeline.as_ref().map_err(Clone::clone)?;
        let unknown = || format!("there is no memory sink '{sink}'");
        let table = self.memory.table(&pipeline.spec.name, sink).ok_or_else(unknown)?;
        let schema = table.schema().ok_or_else(unknown)?;
        let rows = match scope {
            Scope::Since => {
                let mark = self.marks.insert(sink.to_owned(), table.mark()).unwrap_or(0);
                table.rows_since(mark)
            }
            Scope::All => table.rows(),
            Scope::LastEpoch => self.epochs.last().and_then(|it| table.epoch_rows(it.epoch)).unwrap_or_default(),
        };
        Ok((schema, rows))
    }

    /// The watermark that the next epoch would evict with.
    pub(super) fn watermark_ms(&self) -> Option<i64> {
        match &self.life {
            Life::Running(query) | Life::Ended(query) => query.watermark_ms(),
            Life::New | Life::Stopped => None,
        }
    }

    /// The counters of all stateful operators since the last call, downstream first.
    pub(super) fn take_state(&mut self) -> Vec<Operator> {
        let mut operators = Vec::new();
        for operator in self.epochs.last().into_iter().flat_map(|it| &it.state_operators) {
            operators.push(Operator { total: operator.num_rows_total, ..Operator::default() });
        }
        for epoch in self.epochs.get(self.state_mark..).unwrap_or_default() {
            for (sum, operator) in operators.iter_mut().zip(&epoch.state_operators) {
                sum.updated += operator.num_rows_updated;
                sum.removed += operator.num_rows_removed;
                sum.dropped += operator.num_rows_dropped_by_watermark;
            }
        }
        self.state_mark = self.epochs.len();
        operators
    }

    /// The progress of the last epoch that had input.
    pub(super) fn last_with_input(&self) -> Option<Value> {
        let progress = self.epochs.iter().rev().find(|it| it.num_input_rows > 0)?;
        serde_json::to_value(progress).ok()
    }

    /// The progress of the last epoch, as JSON.
    pub(super) fn last_progress(&self) -> String {
        self.epochs.last().and_then(|it| serde_json::to_string(it).ok()).unwrap_or_else(|| "none".to_owned())
    }
}

fn all(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

async fn patiently<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let hangs = |_| format!("the query did not come to rest within {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, work).await.map_err(hangs)
}
