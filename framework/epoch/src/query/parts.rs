//! What a query is made of, and what its loop gives back.

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::Clock;

use crate::handle::QueryListener;
use crate::letters::Errors;
use crate::program::Program;
use crate::progress::QueryProgress;
use crate::sink_task::SinkPart;
use crate::source_task::SourcePart;
use crate::trigger::Trigger;
use crate::watermark::WatermarkPolicy;

/// All that a query consists of, beside its checkpoint.
pub struct QueryParts {
    /// Its name, for progress and logs.
    pub name: Arc<str>,
    /// Where rows come from; names are unique.
    pub sources: Vec<SourcePart>,
    /// Where rows go, in the order of commit; names are unique.
    pub sinks: Vec<SinkPart>,
    /// What becomes of rows that can't be used.
    pub errors: Errors,
    /// What an epoch computes.
    pub program: Box<dyn Program>,
    /// How the loop goes.
    pub settings: QuerySettings,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Tells one canonical query from another; only logged.
    pub digest: String,
    /// Called with each progress object.
    pub listeners: Vec<QueryListener>,
}

/// How the loop goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuerySettings {
    /// When epochs run.
    pub trigger: Trigger,
    /// For a query without a log; an old one keeps its own.
    pub watermark_policy: WatermarkPolicy,
    /// What an epoch's own rows close is emitted in it (`emit.on.watermark: same-epoch`), and not in the next one.
    pub emit_in_same_epoch: bool,
    /// A watermark that is added to a checkpoint holds no other one back until it has caught up (`watermark.on.add: follow`).
    pub follow_when_added: bool,
    /// How far event times may be ahead of the epoch's clock (`watermark.max.ahead`); nothing: as far as they like. It acts
    /// from the next epoch that is planned.
    pub max_ahead: Option<Duration>,
    /// An epoch without data follows when the watermark closes something.
    pub no_data_epochs: bool,
    /// Epochs that can be gone back to.
    pub min_epochs_to_retain: u64,
    /// About how long an epoch with rows is to take (`target.latency`): how many rows of each source it may read follows from
    /// how long the last ones took. Nothing: sources bring what their limits allow.
    pub target_latency: Option<Duration>,
    /// At least this long from the beginning of an epoch to that of the next (`checkpoint.interval`): on an object store
    /// each costs requests.
    pub least_interval: Duration,
    /// How long a graceful stop waits for the running epoch.
    pub shutdown_timeout: Duration,
    /// The last epoch of an available-now run takes the watermark to the end of time.
    pub flush_on_end: bool,
    /// Splits to aim at for each source.
    pub tasks: usize,
    /// Of several atomic sinks each gets the same rows even if the epoch is cut short (`stage.outputs`). False saves the
    /// space and time that staging them costs; with a dead letter sink it has no effect.
    pub stage_outputs: bool,
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            trigger: Trigger::Default,
            watermark_policy: WatermarkPolicy::Min,
            emit_in_same_epoch: false,
            follow_when_added: false,
            max_ahead: None,
            no_data_epochs: true,
            min_epochs_to_retain: 100,
            target_latency: None,
            least_interval: Duration::ZERO,
            shutdown_timeout: Duration::from_secs(30),
            flush_on_end: false,
            tasks: 1,
            stage_outputs: true,
        }
    }
}

/// What a turn of the trigger came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// An epoch ran and is decided.
    Ran(Box<QueryProgress>),
    /// There is nothing to do until a source has more.
    Idle,
    /// There is nothing to do before this time of the query's clock.
    Waiting {
        /// Milliseconds since 1970.
        until_ms: i64,
    },
    /// The trigger has no more turns.
    Ended,
}
