//! Running a physical piece again each epoch: its leaves take their rows from the task context.

pub(crate) mod leaf;
pub(crate) mod watermark;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, execution_plan::reset_plan_states};
use futures::TryStreamExt;
use tidegate_api::Result;
use tidegate_epoch::EventTimes;

pub(crate) use leaf::{LeafExec, LeafId};

use crate::error::from_datafusion;

/// Rows of the static sources, by index; the same for the whole epoch.
pub(crate) type Statics = Arc<BTreeMap<usize, Vec<RecordBatch>>>;

/// What the leaves of a piece deliver in one run: the rows of one leaf, the static tables, and nothing for the rest.
pub(crate) struct RunInput {
    pub(crate) leaf: LeafId,
    pub(crate) rows: Vec<RecordBatch>,
    pub(crate) statics: Statics,
    pub(crate) times: Arc<TimesSeen>,
    pub(crate) wanted: Wanted,
}

/// Which rows a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All.
    All,
    /// Those that a stage takes which drops late ones: what is too far ahead of the clock is left out and counted for it.
    NotAhead(usize),
    /// Those that a stage drops since they are at or before this time, microseconds; what is too far ahead is left out.
    Late(i64),
    /// Those that it drops since they are too far ahead, and nothing else; with the watermark that it drops late rows by.
    Ahead(Option<i64>),
}

impl Wanted {
    /// True if these rows go the query's way: then their event times count. Dropped rows are run through a second time.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Self::All | Self::NotAhead(_))
    }
}

/// Event times seen by the watermark nodes in an epoch.
#[derive(Default)]
pub(crate) struct TimesSeen {
    /// Later times are too far ahead of the clock, microseconds.
    ceiling_us: Option<i64>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// By node: the times that move its watermark.
    moving: BTreeMap<Arc<str>, EventTimes>,
    /// By node: those that are too far ahead.
    ahead: BTreeMap<Arc<str>, EventTimes>,
    /// By stage: rows that were left out, since they are too far ahead.
    left_out: BTreeMap<usize, u64>,
}

impl TimesSeen {
    pub(crate) fn new(ceiling_us: Option<i64>) -> Self {
        Self { ceiling_us, seen: Mutex::default() }
    }

    pub(crate) fn ceiling_us(&self) -> Option<i64> {
        self.ceiling_us
    }

    pub(crate) fn add(&self, node: &Arc<str>, times: EventTimes) {
        let mut seen = self.seen();
        let entry = seen.moving.entry(node.clone()).or_default();
        *entry = entry.merge(times);
    }

    pub(crate) fn add_ahead(&self, node: &Arc<str>, times: EventTimes) {
        let mut seen = self.seen();
        let entry = seen.ahead.entry(node.clone()).or_default();
        *entry = entry.merge(times);
    }

    pub(crate) fn leave_out(&self, stage: usize, rows: u64) {
        *self.seen().left_out.entry(stage).or_default() += rows;
    }

    pub(crate) fn of(&self, node: &str) -> EventTimes {
        self.seen().moving.get(node).copied().unwrap_or_default()
    }

    /// The nodes that met rows too far ahead, with their times.
    pub(crate) fn ahead(&self) -> BTreeMap<Arc<str>, EventTimes> {
        self.seen().ahead.clone()
    }

    pub(crate) fn left_out(&self, stage: usize) -> u64 {
        self.seen().left_out.get(&stage).copied().unwrap_or_default()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs pieces: a task context to copy for each run.
#[derive(Clone)]
pub(crate) struct Runner {
    base: Arc<TaskContext>,
}

impl Runner {
    pub(crate) fn new(base: Arc<TaskContext>) -> Self {
        Self { base }
    }

    /// Runs `plan` with `input` and returns its rows; empty batches are left out.
    ///
    /// Each run works on a reset copy: `execute` on the same nodes would add to their metrics for ever.
    pub(crate) async fn run(&self, plan: &Arc<dyn ExecutionPlan>, input: RunInput) -> Result<Vec<RecordBatch>> {
        let config = self.base.session_config().clone().with_extension(Arc::new(input));
        let context = TaskContext::new(
            None,
            self.base.session_id(),
            config,
            // A physical plan holds its functions: the registry is for plans that come as bytes.
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            self.base.runtime_env(),
        );
        let context = Arc::new(context);
        let plan = reset_plan_states(plan.clone()).map_err(from_datafusion)?;
        let mut rows = Vec::new();
        // One after the other, so that the order of rows is the order of the input.
        for partition in 0..plan.output_partitioning().partition_count() {
            let mut stream = plan.execute(partition, context.clone()).map_err(from_datafusion)?;
            while let Some(batch) = stream.try_next().await.map_err(from_datafusion)? {
                if batch.num_rows() > 0 {
                    rows.push(batch);
                }
            }
        }
        Ok(rows)
    }
}
