//! Cuts a query's plan at its stateful operators: below each stand pieces that run per chunk of input, above it a piece
//! that runs on what the operator emits.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use tidegate_api::{Error, OutputMode, Result};

use super::late::{LatePort, beside, late_ports};
use super::physical::PiecePlanner;
use super::stage_leaf::{StageLeaf, reads_changes};
use super::stateful::{Asked, Planned, is_stateful, planned};
use crate::error::from_datafusion;
use crate::exec::leaf::Emission;
use crate::exec::{LeafExec, LeafId};
use crate::late::LateRows;
use crate::operators::OperatorSpec;

/// Where the rows of a piece go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Into a port of a stateful stage.
    Stage { stage: usize, port: usize },
    /// To a sink.
    Sink(usize),
    /// What a stage drops of them, to the sinks that want it: an index into [`Graph::late`].
    Late(usize),
    /// Nowhere: it is there for the event times that it meets.
    Nowhere,
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

/// A stateful operator.
pub(crate) struct Stage {
    /// The name of its state.
    pub(crate) name: Arc<str>,
    pub(crate) spec: Box<dyn OperatorSpec>,
    /// What is asked of it.
    pub(crate) emissions: BTreeSet<Emission>,
    /// The stages that it reads.
    pub(crate) below: BTreeSet<usize>,
    /// The sinks above it. Where a watermark acts they go by the same.
    pub(crate) sinks: BTreeSet<usize>,
    /// The stage that it was one with before their sinks went by different watermarks.
    pub(crate) origin: Option<Arc<str>>,
}

/// The whole query: pieces and stages, upstream first.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) stages: Vec<Stage>,
    /// What stages drop, if a sink wants it.
    pub(crate) late: Vec<LateRows>,
    /// The plans that make it.
    pub(crate) late_plans: Vec<LogicalPlan>,
}

/// Makes a [`Graph`] of the plans of all sinks.
pub(crate) struct GraphBuilder<'a> {
    planner: &'a PiecePlanner,
    graph: Graph,
    /// By what each stage is known: identical ones are shared.
    known: Vec<Identity>,
    /// The first stage of those that differ by nothing but the group, for each stage.
    first: Vec<usize>,
    /// The ports of stages that have no piece yet.
    waiting: Vec<(usize, usize, LogicalPlan)>,
    /// Those of late rows, by stage.
    late: Vec<(usize, LatePort)>,
    /// The stateful nodes of the sink that is added, each beside itself with all columns; nothing if no sink wants late rows.
    wide: Option<Vec<(LogicalPlan, LogicalPlan)>>,
}

/// What makes a stage the same for two sinks.
#[derive(PartialEq, Eq)]
struct Identity {
    plan: LogicalPlan,
    kind: &'static str,
    /// It neither drops nor closes anything.
    complete: bool,
    /// Where the watermark acts: the nodes that it is made of.
    group: Option<BTreeSet<Arc<str>>>,
    /// The plan over the first of stages that differ by the group: what it was before there were groups.
    plain: LogicalPlan,
}

impl<'a> GraphBuilder<'a> {
    pub(crate) fn new(planner: &'a PiecePlanner) -> Self {
        let (graph, known, first) = Default::default();
        Self { planner, graph, known, first, waiting: Vec::new(), late: Vec::new(), wide: None }
    }

    /// Adds the optimised plan of a sink; returns the schema of its rows. With the plan that leaves out no column, also what its
    /// stages drop.
    pub(crate) async fn add_sink(
        &mut self,
        sink: SinkId,
        plan: LogicalPlan,
        wide: Option<&LogicalPlan>,
        mode: OutputMode,
    ) -> Result<arrow_schema::SchemaRef> {
        let emission = match mode {
            OutputMode::Append => Emission::Closed,
            OutputMode::Update => Emission::Changed,
            OutputMode::Complete => Emission::Whole,
        };
        self.wide = wide.map(|it| beside(&plan, it));
        let top = self.cut(plan, emission, &sink).map_err(from_datafusion)?;
        // Upstream stages were found last: a stage's piece must exist before its reader's stage runs.
        for (stage, port, plan) in std::mem::take(&mut self.waiting) {
            let plan = self.planner.piece(&plan).await?;
            let spec = self.graph.stages.get_mut(stage).map(|it| &mut it.spec);
            let spec = spec.ok_or_else(|| Error::internal("a stage is missing"))?;
            let piece = spec.take_input(port, plan)?;
            self.push(piece, Target::Stage { stage, port });
        }
        for (stage, late) in std::mem::take(&mut self.late) {
            self.add_late(stage, late).await?;
        }
        let plan = self.planner.piece(&top).await?;
        let schema = plan.schema();
        self.push(plan, Target::Sink(sink.at));
        Ok(schema)
    }

    /// Adds what makes the rows that a port drops.
    async fn add_late(&mut self, stage: usize, late: LatePort) -> Result<()> {
        let plan = self.planner.piece(&late.plan).await?;
        let name = self.graph.stages.get(stage).map(|it| it.name.clone()).unwrap_or_default();
        let document = LateRows::document(&late.names, &plan.schema())?;
        let (operator, port) = (format!("{name}{}", late.suffix), late.port);
        let rows = LateRows { stage, port, operator, document, timed: late.timed };
        self.push(plan, Target::Late(self.graph.late.len()));
        self.graph.late.push(rows);
        self.graph.late_plans.push(late.plan);
        Ok(())
    }

    /// Adds what observes a watermark.
    pub(crate) async fn add_observer(&mut self, planner: &PiecePlanner, plan: &LogicalPlan) -> Result<()> {
        let plan = planner.piece(plan).await?;
        self.push(plan, Target::Nowhere);
        Ok(())
    }

    pub(crate) fn finish(self) -> Graph {
        self.graph
    }

    fn push(&mut self, plan: Arc<dyn ExecutionPlan>, target: Target) {
        let mut leaves = BTreeSet::new();
        collect_leaves(&plan, &mut leaves);
        self.graph.pieces.push(Piece { plan, leaves, target });
    }

    /// Puts a leaf in the place of each topmost stateful node.
    fn cut(&mut self, plan: LogicalPlan, emission: Emission, sink: &SinkId) -> Result<LogicalPlan, DataFusionError> {
        let cut = plan.transform_down(|node| {
            if !is_stateful(&node, emission) {
                return Ok(Transformed::no(node));
            }
            let leaf = self.stage(node, emission, sink)?;
            Ok(Transformed::new(leaf, true, TreeNodeRecursion::Jump))
        })?;
        Ok(cut.data)
    }

    /// The leaf of a node's stage, which it shares with an identical one. Append and update share state; complete, which
    /// neither drops nor evicts, has its own. So has each group of sinks where the watermark acts.
    fn stage(&mut self, node: LogicalPlan, emission: Emission, sink: &SinkId) -> Result<LogicalPlan, DataFusionError> {
        let leaf_schema = node.schema().clone();
        let (node, asked) = Asked::of(node, emission);
        let schema = node.schema().clone();
        let wide = self.wide.as_ref().map(|it| it.iter().find(|it| it.0 == node).map(|it| it.1.clone()));
        // An operator over an aggregate reads what the lower one has closed, unless it asks for changes.
        let inputs = node.inputs().into_iter().map(|it| self.cut(it.clone(), Emission::Closed, sink));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let below = inputs.iter().flat_map(stages_in).collect();
        let node = node.with_new_exprs(node.expressions(), inputs)?;
        let Planned { kind, complete, emission, spec, ports } = planned(&node, &schema, asked)?;
        let group = spec.waits_for_watermark().then(|| sink.group.clone());
        let identity = Identity { plain: self.plain(node.clone())?, plan: node, kind, complete, group };
        if let Some(at) = self.known.iter().position(|it| *it == identity) {
            if let Some(stage) = self.graph.stages.get_mut(at) {
                stage.emissions.insert(emission);
                stage.sinks.insert(sink.at);
            }
            return Ok(StageLeaf::plan(at, emission, leaf_schema));
        }
        let at = self.known.len();
        // What is late was dropped before it changed anything.
        if let Some(wide) = wide.filter(|_| !reads_changes(&identity.plan)) {
            let late = late_ports(&identity.plan, wide.as_ref(), complete)?;
            self.late.extend(late.into_iter().map(|it| (at, it)));
        }
        let first = self.known.iter().position(|it| it.complete == complete && it.plain == identity.plain);
        let origin = first.and_then(|it| self.graph.stages.get(it)).map(|it| it.name.clone());
        let name = self.name(&identity, origin.as_deref()).into();
        let (emissions, sinks) = (BTreeSet::from([emission]), BTreeSet::from([sink.at]));
        self.graph.stages.push(Stage { name, spec, emissions, below, sinks, origin });
        self.known.push(identity);
        self.first.push(first.unwrap_or(at));
        self.waiting.extend(ports.into_iter().enumerate().map(|(port, plan)| (at, port, plan)));
        Ok(StageLeaf::plan(at, emission, leaf_schema))
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
            while self.graph.stages.iter().any(|it| *it.name == *name) {
                name.push_str("-again");
            }
            return name;
        }
        let kind = identity.kind;
        let counted = |until: usize| {
            let firsts = self.first.iter().zip(&self.known).take(until).enumerate();
            firsts.filter(|(at, (first, it))| at == *first && it.kind == kind).count()
        };
        match self.known.iter().position(|it| it.plain == identity.plain) {
            Some(twin) => format!("{kind}-{}-complete", counted(twin)),
            None => format!("{kind}-{}", counted(self.first.len())),
        }
    }
}

/// The stages that a plan reads.
fn stages_in(plan: &LogicalPlan) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    // The visitor does not fail.
    let _ = plan.apply(|node| {
        found.extend(StageLeaf::of(node).map(StageLeaf::stage));
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn collect_leaves(plan: &Arc<dyn ExecutionPlan>, found: &mut BTreeSet<LeafId>) {
    if let Some(leaf) = plan.downcast_ref::<LeafExec>() {
        found.insert(leaf.id());
    }
    for child in plan.children() {
        collect_leaves(child, found);
    }
}
