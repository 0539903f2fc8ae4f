//! From a `QuerySpec` to a `QueryPlan`: everything that can be known without touching an outside system.

pub(crate) mod cut;
pub(crate) mod explain;
mod join;
mod late;
mod observe;
pub(crate) mod physical;
pub(crate) mod stage_leaf;
mod stateful;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use datafusion::common::ToDFSchema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use tidegate_api::registry::{DynSinkConnector, DynSourceConnector};
use tidegate_api::{Changes, Error, OutputMode, Payload, Registry, SinkSpec};
use tidegate_epoch::{DEAD_LETTERS, Tolerance, Trigger, WatermarkNode, dead_letter_schema};
use tidegate_sql::{EpochClock, Planner, SourceTable, TableKind, retracted, several_aggregates};

use crate::decode::Decoding;
use crate::error::from_datafusion;
use crate::exec::Runner;
use crate::late::late_rows_schema;
use crate::spec::{ErrorOptions, LetterSink, QuerySpec, SinkInput, SinkPart, SourceSpec, ViewSpec};
use crate::state_table::{self, add_state_tables};
use cut::{Graph, GraphBuilder, SinkId};
use observe::{observers, watermarks_in};
use physical::PiecePlanner;

/// Something that is wrong with a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `sources.clicks`, `views.joined`, `sinks.table` …
    pub place: String,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// A source, with what the plan settled about it.
pub(crate) struct PlannedSource {
    pub(crate) spec: SourceSpec,
    pub(crate) connector: Arc<dyn DynSourceConnector>,
    pub(crate) decoding: Decoding,
    /// The columns that the query uses, in the order of the declared ones.
    pub(crate) used: SchemaRef,
}

/// A sink, with what the plan settled about it.
pub(crate) struct PlannedSink {
    pub(crate) part: SinkPart,
    pub(crate) connector: Arc<dyn DynSinkConnector>,
    pub(crate) spec: SinkSpec,
    /// The optimised plan; of a sink of late rows an empty one.
    pub(crate) plan: LogicalPlan,
}

/// What a sink gets, as planned.
struct SinkPlan {
    plan: LogicalPlan,
    /// Its rows say what is taken back.
    retracts: bool,
    /// The same where nothing that its stateful operators read is left out, if a sink wants what they drop.
    wide: Option<LogicalPlan>,
}

/// The sink of dead letters.
pub(crate) struct PlannedLetters {
    pub(crate) part: LetterSink,
    pub(crate) connector: Arc<dyn DynSinkConnector>,
}

/// A query that can start.
pub struct QueryPlan {
    pub(crate) spec: QuerySpec,
    pub(crate) sources: Vec<PlannedSource>,
    pub(crate) sinks: Vec<PlannedSink>,
    /// The sinks that get late rows, by index.
    pub(crate) late_sinks: Vec<usize>,
    pub(crate) letters: Option<PlannedLetters>,
    pub(crate) graph: Graph,
    pub(crate) watermarks: Vec<WatermarkNode>,
    /// The names of the watermarks that feed each sink.
    pub(crate) groups: Vec<BTreeSet<Arc<str>>>,
    pub(crate) runner: Runner,
    pub(crate) epoch_clock: Arc<EpochClock>,
}

/// Plans a query. Touches no outside system, but for the checkpoints that its SQL reads with `state(…)`.
///
/// # Errors
/// All problems that were found, at least one.
pub async fn plan(mut spec: QuerySpec, registry: &Registry) -> Result<QueryPlan, Vec<Problem>> {
    Box::pin(add_state_tables(&mut spec)).await?;
    let mut problems = Problems::default();
    let epoch_clock = Arc::new(EpochClock::default());
    let mut planner = Planner::new(epoch_clock.clone());
    let sources = plan_sources(&spec.sources, registry, &mut planner, &mut problems);
    plan_views(&spec.views, &mut planner, &mut problems);
    let plans = if problems.0.is_empty() { plan_sinks(&spec, &planner, &mut problems) } else { Vec::new() };
    let connectors: Vec<_> = spec.sinks.iter().map(|it| sink_connector(it, registry, &mut problems)).collect();
    let letters = plan_letters(&spec.options.errors, registry, &mut problems);
    problems.finish()?;
    let names: Vec<_> = spec.sources.iter().map(|it| it.name.clone()).collect();
    let of_sinks: Vec<_> = plans.iter().map(|it| watermarks_in(&it.plan)).collect();
    let observers = problems.take("watermark", observers(&of_sinks)).unwrap_or_default();
    let observed = observers.keys().cloned().collect();
    let pieces = PiecePlanner::new(planner.session_state().clone(), names.clone(), observed);
    let mut builder = GraphBuilder::new(&pieces);
    let watermarks = each_once(&of_sinks, &spec);
    let groups: Vec<_> = of_sinks.iter().map(|it| it.iter().map(|it| it.id.clone()).collect::<BTreeSet<_>>()).collect();
    let mut sinks = Vec::new();
    for (at, ((part, plan), connector)) in
        spec.sinks.iter().zip(plans).zip(connectors.into_iter().flatten()).enumerate()
    {
        let group = groups.get(at).cloned().unwrap_or_default();
        let SinkPlan { plan, retracts, wide } = plan;
        let added = match part.input {
            SinkInput::LateRows => Ok(late_rows_schema()),
            _ => builder.add_sink(SinkId { at, group }, plan.clone(), wide.as_ref(), part.mode).await,
        };
        if let Some(schema) = problems.take(format!("sinks.{}", part.name), added) {
            let spec = sink_spec(&schema, part.mode, retracts);
            for issue in connector.validate(&part.settings, Some(&spec)) {
                problems.add(format!("sinks.{}", part.name), issue);
            }
            sinks.push(PlannedSink { part: part.clone(), connector, spec, plan });
        }
    }
    let apart = PiecePlanner::new(planner.session_state().clone(), names, BTreeSet::new());
    for (node, plan) in &observers {
        problems.take(format!("watermark of {node}"), builder.add_observer(&apart, plan).await);
    }
    let graph = builder.finish();
    let late_sinks = late_sinks(&spec, &graph, &mut problems);
    if matches!(spec.options.trigger, Trigger::Continuous(_)) && !graph.stages.is_empty() {
        problems.add("trigger", "an aggregation does not run with the continuous trigger; use an interval");
    }
    problems.finish()?;
    let sources = sources.into_iter().flatten().map(|it| with_used_columns(it, &sinks, &graph)).collect();
    let runner = Runner::new(planner.session_state().task_ctx());
    Ok(QueryPlan { spec, sources, sinks, late_sinks, letters, graph, watermarks, groups, runner, epoch_clock })
}

/// The columns of a source or view. Touches no outside system.
///
/// # Errors
/// All problems that were found, at least one.
pub fn columns(
    sources: &[SourceSpec],
    views: &[ViewSpec],
    name: &str,
    registry: &Registry,
) -> Result<SchemaRef, Vec<Problem>> {
    let mut problems = Problems::default();
    let mut planner = Planner::new(Arc::new(EpochClock::default()));
    plan_sources(sources, registry, &mut planner, &mut problems);
    plan_views(views, &mut planner, &mut problems);
    problems.finish()?;
    let plan = planner.table(name).map_err(|e| vec![Problem { place: name.to_owned(), message: e.to_string() }])?;
    Ok(without_marks(plan.schema().inner()))
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, place: impl Into<String>, message: impl fmt::Display) {
        let problem = Problem { place: place.into(), message: message.to_string() };
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    fn take<T, E: fmt::Display>(&mut self, place: impl Into<String>, result: Result<T, E>) -> Option<T> {
        result.map_err(|e| self.add(place, e)).ok()
    }

    fn finish(&mut self) -> Result<(), Vec<Problem>> {
        if self.0.is_empty() { Ok(()) } else { Err(std::mem::take(&mut self.0)) }
    }
}

fn plan_sources(
    sources: &[SourceSpec],
    registry: &Registry,
    planner: &mut Planner,
    problems: &mut Problems,
) -> Vec<Option<PlannedSource>> {
    let mut planned = Vec::new();
    for source in sources {
        let place = format!("sources.{}", source.name);
        planned.push(
            plan_source(source, registry, planner)
                .map_err(|all| {
                    all.into_iter().for_each(|message| problems.add(&place, message));
                })
                .ok(),
        );
    }
    planned
}

/// What is wrong with a source would only be repeated by the views over it, and so on upwards.
fn plan_views(views: &[ViewSpec], planner: &mut Planner, problems: &mut Problems) {
    for view in views {
        if !problems.0.is_empty() {
            return;
        }
        let watermark = view.watermark.as_ref().map(|it| (it.column.as_str(), it.delay.as_str()));
        let place = format!("views.{}", view.name);
        let added = problems.take(&place, planner.add_view(&view.name, &view.sql, watermark));
        if let (Some(()), Some(it)) = (added, &view.deduplicate) {
            problems.take(&place, planner.deduplicate_view(&view.name, &it.columns, it.within_watermark));
        }
        if let (Some(()), Some(it)) = (added, &view.process) {
            problems.take(place, planner.process_view(&view.name, it.step()));
        }
    }
}

fn plan_source(source: &SourceSpec, registry: &Registry, planner: &mut Planner) -> Result<PlannedSource, Vec<String>> {
    let one = |message: String| vec![message];
    let connector =
        state_table::connector(&source.connector).unwrap_or_else(|| registry.find_source(&source.connector));
    let connector = connector.map_err(|e| one(e.to_string()))?;
    let issues: Vec<_> = connector.validate(&source.settings).iter().map(ToString::to_string).collect();
    if !issues.is_empty() {
        return Err(issues);
    }
    if let Some(why) = connector.only_static().filter(|_| !source.is_static) {
        return Err(one(why.to_owned()));
    }
    let payload = connector.payload(&source.settings, source.schema.as_ref());
    let payload = payload.or_else(|| source.schema.clone().map(Payload::Rows));
    let payload = payload.ok_or_else(|| {
        let told = connector.tells_columns();
        let then = if told {
            "it is asked for its columns when the query starts"
        } else {
            "this source needs declared columns"
        };
        one(format!("schema: missing; {then}"))
    })?;
    let default = connector.value_format(&source.settings);
    let (decoding, schema) = Decoding::plan(source, &payload, default).map_err(one)?;
    let kind = if source.is_static { TableKind::Static } else { TableKind::Stream };
    let watermark = source.watermark.as_ref().map(|it| (it.column.as_str(), it.delay.as_str()));
    planner.add_source(&source.name, schema.clone(), kind, watermark).map_err(|e| one(e.to_string()))?;
    Ok(PlannedSource { spec: source.clone(), connector, decoding, used: schema })
}

fn plan_sinks(spec: &QuerySpec, planner: &Planner, problems: &mut Problems) -> Vec<SinkPlan> {
    let wants_late = spec.sinks.iter().any(|it| matches!(it.input, SinkInput::LateRows));
    let mut plans = Vec::new();
    for sink in &spec.sinks {
        let place = format!("sinks.{}", sink.name);
        let plan = match &sink.input {
            SinkInput::Sql(sql) => planner.plan(sql),
            SinkInput::From(name) => planner.table(name),
            SinkInput::LateRows => {
                plans.extend(problems.take(&place, late_plan(sink.mode)));
                continue;
            }
        };
        let Some(plan) = problems.take(&place, plan) else { continue };
        if let Err(refusals) = tidegate_sql::check_with(&plan, sink.mode, spec.options.extensions) {
            refusals.iter().for_each(|it| problems.add(&place, &it.message));
            continue;
        }
        let Some((plan, retracts)) = with_retraction(plan, sink.mode, &place, problems) else { continue };
        let wide = wants_late.then(|| planner.optimize_keeping_columns(plan.clone())).transpose();
        let planned = wide.and_then(|wide| Ok(SinkPlan { plan: planner.optimize(plan)?, retracts, wide }));
        plans.extend(problems.take(&place, planned));
    }
    plans
}

/// A checked plan, where several aggregations ask for it with those that take rows back, and whether a sink sees that.
fn with_retraction(
    plan: LogicalPlan,
    mode: OutputMode,
    place: &str,
    problems: &mut Problems,
) -> Option<(LogicalPlan, bool)> {
    if mode == OutputMode::Append || !several_aggregates(&plan) {
        return Some((plan, false));
    }
    match retracted(&plan, mode) {
        Ok(plan) => Some((plan, mode == OutputMode::Update)),
        Err(refusals) => {
            refusals.iter().for_each(|it| problems.add(place, &it.message));
            None
        }
    }
}

/// What stands for the plan of a sink of late rows, which come from the other sinks' operators.
fn late_plan(mode: OutputMode) -> tidegate_api::Result<SinkPlan> {
    if mode != OutputMode::Append {
        return Err(Error::config(format!("late rows come in append mode, found {mode}")));
    }
    let schema = late_rows_schema().as_ref().clone().to_dfschema_ref().map_err(from_datafusion)?;
    let plan = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema });
    Ok(SinkPlan { plan, retracts: false, wide: None })
}

/// The sinks of late rows. Where nothing can be late there is nothing to wait for.
fn late_sinks(spec: &QuerySpec, graph: &Graph, problems: &mut Problems) -> Vec<usize> {
    let wants_late = |it: &(usize, &SinkPart)| matches!(it.1.input, SinkInput::LateRows);
    let sinks: Vec<_> = spec.sinks.iter().enumerate().filter(wants_late).collect();
    if problems.0.is_empty() && graph.late.iter().all(|it| !it.timed) {
        for (_, sink) in &sinks {
            let message = "gets late rows, but no operator of the query drops any: declare a watermark, and group, \
                           deduplicate or join by its time";
            problems.add(format!("sinks.{}", sink.name), message);
        }
    }
    sinks.into_iter().map(|it| it.0).collect()
}

fn sink_connector(part: &SinkPart, registry: &Registry, problems: &mut Problems) -> Option<Arc<dyn DynSinkConnector>> {
    let place = format!("sinks.{}", part.name);
    let connector = problems.take(&place, registry.find_sink(&part.connector))?;
    for issue in connector.validate(&part.settings, None) {
        problems.add(&place, issue);
    }
    Some(connector)
}

fn plan_letters(errors: &ErrorOptions, registry: &Registry, problems: &mut Problems) -> Option<PlannedLetters> {
    let part = errors.letters.clone()?;
    if errors.tolerance == Tolerance::None {
        problems.add(
            DEAD_LETTERS,
            "goes with errors.tolerance: all; without it the first row that can't be used is an error",
        );
    }
    let connector = problems.take(DEAD_LETTERS, registry.find_sink(&part.connector))?;
    for issue in connector.validate(&part.settings, Some(&letter_spec())) {
        problems.add(DEAD_LETTERS, issue);
    }
    Some(PlannedLetters { part, connector })
}

/// What the sink of dead letters gets.
pub(crate) fn letter_spec() -> SinkSpec {
    sink_spec(&dead_letter_schema(), OutputMode::Append, false)
}

/// The rows of a sink, without the marks that planning leaves on columns.
fn sink_spec(schema: &SchemaRef, mode: OutputMode, retracts: bool) -> SinkSpec {
    let changes = match mode {
        _ if retracts => Changes::Retract,
        OutputMode::Update => Changes::Upsert,
        OutputMode::Append | OutputMode::Complete => Changes::Append,
    };
    SinkSpec { schema: without_marks(schema), mode, keys: Vec::new(), changes, tasks: 1 }
}

/// The watermarks of all sinks, each once, in the order in which they are met.
fn each_once(of_sinks: &[Vec<tidegate_sql::WatermarkNode>], spec: &QuerySpec) -> Vec<WatermarkNode> {
    let of_sources = spec.sources.iter().map(|it| (&it.name, &it.watermark));
    let declared: Vec<_> = of_sources.chain(spec.views.iter().map(|it| (&it.name, &it.watermark))).collect();
    let idle_ms = |id: &str| {
        let watermark = declared.iter().find(|it| **it.0 == *id)?.1.as_ref()?;
        Some(i64::try_from(watermark.idle_timeout?.as_millis()).unwrap_or(i64::MAX))
    };
    let mut found: Vec<WatermarkNode> = Vec::new();
    for node in of_sinks.iter().flatten() {
        if found.iter().all(|it| it.id != node.id) {
            found.push(WatermarkNode { id: node.id.clone(), delay_ms: node.delay_ms, idle_ms: idle_ms(&node.id) });
        }
    }
    found
}

/// The columns without the metadata that planning traces event time with.
fn without_marks(schema: &SchemaRef) -> SchemaRef {
    let plain = schema.fields().iter().map(|it| Arc::new(it.as_ref().clone().with_metadata(HashMap::new())));
    Arc::new(Schema::new(plain.collect::<Vec<_>>()))
}

/// Narrows a source to the columns that any sink's plan reads.
fn with_used_columns(mut source: PlannedSource, sinks: &[PlannedSink], graph: &Graph) -> PlannedSource {
    let mut used = BTreeSet::new();
    for plan in sinks.iter().map(|it| &it.plan).chain(&graph.late_plans) {
        // The visitor does not fail.
        let _ = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(table) = scan.source.downcast_ref::<SourceTable>()
                && *table.name == *source.spec.name
            {
                used.extend(scan.projected_schema.fields().iter().map(|it| it.name().clone()));
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }
    let fields = source.used.fields().iter().filter(|it| used.contains(it.name())).cloned();
    source.used = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    source
}
