//! Builds, drives and restarts a query over memory sources and sinks.

use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::SchemaRef;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use tidegate_api::{MemoryBudget, OutputMode, Registry, Settings};
use tidegate_engine::{
    Environment, Problem, QueryOptions, QueryPlan, QuerySpec, SinkInput, SinkPart, SourceSpec, ValueMode, ViewSpec,
    WatermarkSpec, plan,
};
use tidegate_epoch::{Faults, Query, Step};
use tidegate_formats::{ddl, json};
use tidegate_storage::Location;
use tidegate_testkit::{ManualClock, MemoryConnectors};
use tokio_util::sync::CancellationToken;

/// Runs a property on so many random cases; their seed is printed, `TIDEGATE_TEST_SEED` sets it.
#[expect(clippy::print_stdout, reason = "who reruns a failure needs it")]
pub(crate) fn random_cases(cases: u32) -> TestRunner {
    let seed: u64 = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(2026);
    println!("seed {seed}");
    TestRunner::new(Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() })
}

pub(crate) fn source(name: &str, schema: &str, watermark: Option<(&str, &str)>) -> SourceSpec {
    let watermark = watermark.map(|(column, delay)| WatermarkSpec {
        column: column.into(),
        delay: delay.into(),
        idle_timeout: None,
    });
    SourceSpec {
        name: name.into(),
        connector: "memory".into(),
        settings: Settings::default(),
        format: None,
        mode: ValueMode::Permissive,
        schema: Some(Arc::new(ddl::parse_schema(schema).unwrap())),
        watermark,
        is_static: false,
    }
}

pub(crate) fn sink(name: &str, sql: &str, mode: OutputMode) -> SinkPart {
    SinkPart {
        name: name.into(),
        connector: "memory".into(),
        settings: Settings::default(),
        mode,
        input: SinkInput::Sql(sql.into()),
        best_effort: false,
    }
}

/// The sink of late rows.
pub(crate) fn late_sink(name: &str) -> SinkPart {
    SinkPart { input: SinkInput::LateRows, ..sink(name, "", OutputMode::Append) }
}

pub(crate) fn spec(folder: &Path, sources: Vec<SourceSpec>, views: &[(&str, &str)], sinks: Vec<SinkPart>) -> QuerySpec {
    let views = views.iter().map(|(name, sql)| ViewSpec {
        name: (*name).into(),
        sql: (*sql).into(),
        watermark: None,
        deduplicate: None,
        process: None,
    });
    QuerySpec {
        name: "q".into(),
        sources,
        views: views.collect(),
        sinks,
        options: QueryOptions::new(Location::at(&folder.join("checkpoint")).unwrap()),
    }
}

/// Rows from JSON lines, by declared columns.
pub(crate) fn rows(schema: &SchemaRef, lines: &[String]) -> RecordBatch {
    let mut decoder = json::Decoder::new(schema.clone(), json::JsonOptions::default()).unwrap();
    decoder.decode(&StringArray::from_iter_values(lines)).unwrap()
}

/// A query and what stays when it restarts.
pub(crate) struct Rig {
    pub(crate) memory: MemoryConnectors,
    pub(crate) clock: Arc<ManualClock>,
    /// Of the query that runs: a crash is for ever.
    faults: Mutex<Faults>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::new(0));
        Self { memory: MemoryConnectors::new(), clock, faults: Mutex::default() }
    }

    pub(crate) async fn plan(&self, spec: QuerySpec) -> Result<QueryPlan, Vec<Problem>> {
        plan(spec, &self.registry()).await
    }

    pub(crate) fn registry(&self) -> Registry {
        self.memory.register(Registry::new())
    }

    pub(crate) async fn start(&self, spec: QuerySpec) -> tidegate_api::Result<Query> {
        let plan = self.plan(spec).await.unwrap_or_else(|all| panic!("{all:?}"));
        plan.start(self.environment()).await
    }

    /// A query that has not been started.
    pub(crate) async fn build(&self, spec: QuerySpec) -> tidegate_api::Result<Query> {
        let plan = self.plan(spec).await.unwrap_or_else(|all| panic!("{all:?}"));
        plan.build(self.environment()).await
    }

    pub(crate) fn environment(&self) -> Environment {
        *self.faults.lock().unwrap() = Faults::default();
        Environment {
            clock: self.clock.clone(),
            io: tokio::runtime::Handle::current(),
            memory: MemoryBudget::new(1 << 30),
            cancel: CancellationToken::new(),
            listeners: Vec::new(),
            faults: self.faults.lock().unwrap().clone(),
        }
    }

    pub(crate) fn arm(&self, fault: &str) {
        self.faults.lock().unwrap().arm(fault).unwrap();
    }

    /// Runs until there is nothing to do, through faults; a query that died, or is not there, is started anew.
    pub(crate) async fn through(&self, running: &mut Option<Query>, spec: impl Fn() -> QuerySpec) {
        for _ in 0..20 {
            if running.is_none() {
                // The dead query must let go of its checkpoint first.
                *running = self.start(spec()).await.ok();
            }
            if let Some(query) = running
                && until_idle(query).await.is_ok()
            {
                return;
            }
            *running = None;
        }
        panic!("no way forward");
    }

    pub(crate) fn add(&self, source: &SourceSpec, lines: &[String]) {
        let schema = source.schema.clone().unwrap();
        let input = self.memory.create_input("q", &source.name, schema.clone()).unwrap();
        input.add(vec![rows(&schema, lines)]).unwrap();
    }

    /// Rows of a sink as JSON text, in a fixed order.
    pub(crate) fn sink_rows(&self, sink: &str) -> Vec<String> {
        let table = self.memory.table("q", sink).expect("the sink was built");
        as_json(&table.rows())
    }
}

pub(crate) fn as_json(batches: &[RecordBatch]) -> Vec<String> {
    let mut all = Vec::new();
    for batch in batches {
        let rows: arrow_array::StructArray = batch.clone().into();
        let text = json::encode(&rows).unwrap();
        all.extend(text.iter().flatten().map(str::to_owned));
    }
    all.sort();
    all
}

/// Rows of the sink of late rows: the operator, the reason, seconds of the time that decided, and the row.
pub(crate) fn late_rows(rig: &Rig, sink: &str) -> Vec<(String, String, i64, serde_json::Value)> {
    let seconds = |time: &str| {
        let number = |from: usize, to: usize| time[from..to].parse::<i64>().unwrap();
        number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19)
    };
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let rows = rig.sink_rows(sink).into_iter().map(|row| {
        let row = parse(&row);
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        (text("operator"), text("reason"), seconds(&text("event_time")), parse(&text("row")))
    });
    rows.collect()
}

/// Runs epochs until there is nothing to do.
pub(crate) async fn until_idle(query: &mut Query) -> tidegate_api::Result<u32> {
    let mut epochs = 0;
    loop {
        match query.step().await? {
            Step::Ran(_) => epochs += 1,
            _ => return Ok(epochs),
        }
    }
}
