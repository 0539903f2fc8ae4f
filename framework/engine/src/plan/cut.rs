//! Cuts a query's plan at its stateful aggregates: below each stands a piece that runs per chunk of input, above it a
//! piece that runs on what the operator emits.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, lit};
use datafusion::physical_plan::ExecutionPlan;
use tidegate_api::{Error, OutputMode, Result};
use tidegate_sql::{by_panes, reads_stream};

use super::physical::PiecePlanner;
use super::stage_leaf::StageLeaf;
use crate::error::from_datafusion;
use crate::exec::leaf::Emission;
use crate::exec::{LeafExec, LeafId};
use crate::operators::aggregate::{AggregateSpec, GroupKey};

/// Where the rows of a piece go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Into a stateful stage, as partial aggregates.
    Stage(usize),
    /// To a sink.
    Sink(usize),
}

/// A stateless part of the query.
pub(crate) struct Piece {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// The leaves that it reads, static tables included.
    pub(crate) leaves: BTreeSet<LeafId>,
    pub(crate) target: Target,
}

/// A sink, as the cut sees it.
pub(crate) struct SinkId {
    /// Its index.
    pub(crate) at: usize,
    /// The names of the watermarks that feed it.
    pub(crate) group: BTreeSet<Arc<str>>,
}

/// A stateful aggregate.
pub(crate) struct Stage {
    pub(crate) spec: AggregateSpec,
    /// What is asked of it.
    pub(crate) emissions: BTreeSet<Emission>,
}

/// The whole query: pieces and stages, upstream first.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) stages: Vec<Stage>,
}

/// Makes a [`Graph`] of the plans of all sinks.
pub(crate) struct GraphBuilder<'a> {
    planner: &'a PiecePlanner,
    graph: Graph,
    /// By what each stage is known: identical ones are shared.
    known: Vec<Identity>,
    /// The first stage of those that differ by nothing but the group, for each stage.
    first: Vec<usize>,
    waiting: Vec<(usize, Aggregate)>,
}

/// What makes a stage the same for two sinks.
#[derive(PartialEq, Eq)]
struct Identity {
    plan: LogicalPlan,
    /// It neither drops nor closes anything.
    complete: bool,
    /// Where the watermark acts: the nodes that it is made of.
    group: Option<BTreeSet<Arc<str>>>,
    /// The plan over the first of stages that differ by the group: what it was before there were groups.
    plain: LogicalPlan,
}

impl<'a> GraphBuilder<'a> {
    pub(crate) fn new(planner: &'a PiecePlanner) -> Self {
        Self { planner, graph: Graph::default(), known: Vec::new(), first: Vec::new(), waiting: Vec::new() }
    }

    /// Adds the optimised plan of a sink; returns the schema of its rows.
    pub(crate) async fn add_sink(
        &mut self,
        sink: SinkId,
        plan: LogicalPlan,
        mode: OutputMode,
    ) -> Result<arrow_schema::SchemaRef> {
        let emission = match mode {
            OutputMode::Append => Emission::Closed,
            OutputMode::Update => Emission::Changed,
            OutputMode::Complete => Emission::Whole,
        };
        let top = self.cut(plan, emission, &sink).map_err(from_datafusion)?;
        // Upstream stages were found last: a stage's piece must exist before its reader's stage runs.
        for (stage, aggregate) in std::mem::take(&mut self.waiting) {
            let piece = self.planner.piece(&LogicalPlan::Aggregate(aggregate)).await?;
            let spec = self.graph.stages.get_mut(stage).map(|it| &mut it.spec);
            let spec = spec.ok_or_else(|| Error::internal("a stage is missing"))?;
            let partial = spec.take_physical(&piece)?;
            self.push(partial, Target::Stage(stage));
        }
        let plan = self.planner.piece(&top).await?;
        let schema = plan.schema();
        self.push(plan, Target::Sink(sink.at));
        Ok(schema)
    }

    pub(crate) fn finish(self) -> Graph {
        self.graph
    }

    fn push(&mut self, plan: Arc<dyn ExecutionPlan>, target: Target) {
        let mut leaves = BTreeSet::new();
        collect_leaves(&plan, &mut leaves);
        self.graph.pieces.push(Piece { plan, leaves, target });
    }

    /// Puts a leaf in the place of each topmost aggregate over a stream.
    fn cut(&mut self, plan: LogicalPlan, emission: Emission, sink: &SinkId) -> Result<LogicalPlan, DataFusionError> {
        let cut = plan.transform_down(|node| match node {
            LogicalPlan::Aggregate(aggregate) if reads_stream(&aggregate.input) => {
                let schema = aggregate.schema.clone();
                let stage = self.stage(aggregate, emission, sink)?;
                Ok(Transformed::new(StageLeaf::plan(stage, emission, schema), true, TreeNodeRecursion::Jump))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(cut.data)
    }

    /// The stage of an aggregate, shared with an identical one. Append and update share state; complete, which neither
    /// drops nor evicts, has its own. So has each group of sinks where the watermark acts.
    fn stage(&mut self, aggregate: Aggregate, emission: Emission, sink: &SinkId) -> Result<usize, DataFusionError> {
        // An aggregate over an aggregate reads what the lower one has closed.
        let input = self.cut(Arc::unwrap_or_clone(aggregate.input), Emission::Closed, sink)?;
        let schema = aggregate.schema;
        let aggregate = Aggregate::try_new(Arc::new(input), aggregate.group_expr, aggregate.aggr_expr)?;
        let complete = emission == Emission::Whole;
        let plan = LogicalPlan::Aggregate(aggregate.clone());
        let (aggregate, panes) = match by_panes(&aggregate)? {
            Some((aggregate, panes)) => (aggregate, Some(panes)),
            None => (aggregate, None),
        };
        let (aggregate, keys) = with_plain_keys(aggregate)?;
        let mut spec = AggregateSpec::new("".into(), complete, keys, Arc::clone(schema.inner()));
        let group = spec.waits_for_watermark().then(|| sink.group.clone());
        let identity = Identity { plain: self.plain(plan.clone())?, plan, complete, group };
        if let Some(at) = self.known.iter().position(|it| *it == identity) {
            if let Some(stage) = self.graph.stages.get_mut(at) {
                stage.emissions.insert(emission);
                stage.spec.sinks.insert(sink.at);
            }
            return Ok(at);
        }
        let at = self.known.len();
        let first = self.known.iter().position(|it| it.complete == complete && it.plain == identity.plain);
        let origin = first.and_then(|it| self.graph.stages.get(it)).map(|it| it.spec.name.clone());
        spec.name = self.name(&identity, origin.as_deref()).into();
        spec.origin = origin;
        spec.panes = panes;
        spec.sinks.insert(sink.at);
        self.graph.stages.push(Stage { spec, emissions: BTreeSet::from([emission]) });
        self.known.push(identity);
        self.first.push(first.unwrap_or(at));
        self.waiting.push((at, aggregate));
        Ok(at)
    }

    /// The plan as if no stage below it were there once for each group.
    fn plain(&self, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
        let plain = plan.transform_down(|node| match StageLeaf::of(&node) {
            Some(leaf) => match self.first.get(leaf.stage()) {
                Some(first) if *first != leaf.stage() => Ok(Transformed::yes(leaf.with_stage(*first))),
                _ => Ok(Transformed::no(node)),
            },
            None => Ok(Transformed::no(node)),
        })?;
        Ok(plain.data)
    }

    /// The name of a stage's state. Checkpoints know it, so stages are counted as if there were no groups: one that differs
    /// from another by its group alone, or by what is below it, has that one's name and more.
    fn name(&self, identity: &Identity, origin: Option<&str>) -> String {
        if let Some(origin) = origin {
            let mut name = match &identity.group {
                Some(group) => format!("{origin}-by-{}", group.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("+")),
                None => format!("{origin}-again"),
            };
            while self.graph.stages.iter().any(|it| *it.spec.name == *name) {
                name.push_str("-again");
            }
            return name;
        }
        let counted = |until: usize| self.first.iter().take(until).enumerate().filter(|(at, it)| at == *it).count();
        match self.known.iter().position(|it| it.plain == identity.plain) {
            Some(twin) => format!("aggregate-{}-complete", counted(twin)),
            None => format!("aggregate-{}", counted(self.first.len())),
        }
    }
}

/// The aggregate with keys that hash and store well: a window by its end alone, a constant where there is no key.
fn with_plain_keys(aggregate: Aggregate) -> Result<(Aggregate, Vec<GroupKey>), DataFusionError> {
    let schema = aggregate.input.schema().clone();
    let mut keys = Vec::new();
    let mut exprs = Vec::new();
    for expr in aggregate.group_expr {
        if matches!(expr, Expr::GroupingSet(_)) {
            // Keys are made by DataFusion then; none of them is an event time.
            return Ok((Aggregate::try_new(aggregate.input, vec![expr], aggregate.aggr_expr)?, Vec::new()));
        }
        let (key, expr) = plain_key(expr, &schema)?;
        keys.push(key);
        exprs.push(expr);
    }
    if exprs.is_empty() {
        keys.push(GroupKey::Constant);
        exprs.push(lit(0_i8).alias("__all"));
    }
    Ok((Aggregate::try_new(aggregate.input, exprs, aggregate.aggr_expr)?, keys))
}

fn plain_key(expr: Expr, schema: &DFSchema) -> Result<(GroupKey, Expr), DataFusionError> {
    let (_, field) = expr.to_field(schema as &dyn ExprSchema)?;
    let event_time = tidegate_sql::event_time::event_time(&field).is_some();
    match tidegate_sql::event_time::window_size_us(&field) {
        Some(size_us) => {
            let end = datafusion::functions::core::get_field().call(vec![expr, lit("end")]);
            Ok((GroupKey::Window { size_us, event_time }, end))
        }
        None if event_time => Ok((GroupKey::EventTime, expr)),
        None => Ok((GroupKey::Plain, expr)),
    }
}

fn collect_leaves(plan: &Arc<dyn ExecutionPlan>, found: &mut BTreeSet<LeafId>) {
    if let Some(leaf) = plan.downcast_ref::<LeafExec>() {
        found.insert(leaf.id());
    }
    for child in plan.children() {
        collect_leaves(child, found);
    }
}
