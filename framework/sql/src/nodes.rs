//! What DataFusion's plans lack: the watermark, deduplication, user state, changes of aggregations, a hold on columns, and the
//! columns that `window` and `session_window` add to a relation.

mod changelog;
mod deduplicate;
mod keep_columns;
pub(crate) mod session_window;
pub(crate) mod time_window;
mod user_state;
mod watermark;

use std::sync::Arc;

use datafusion::logical_expr::{Extension, LogicalPlan, UserDefinedLogicalNode};

pub use changelog::Changelog;
pub(crate) use changelog::{CHANGE, change_of, with_change};
pub use deduplicate::Deduplicate;
pub(crate) use deduplicate::of_distinct;
pub use keep_columns::KeepColumns;
pub use user_state::{UserCode, UserState, UserStep};
pub use watermark::WatermarkNode;

/// A node of ours as a plan.
pub(crate) fn extension(node: impl UserDefinedLogicalNode + 'static) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

/// The node of ours that a plan is.
pub(crate) fn node_of<T: 'static>(plan: &LogicalPlan) -> Option<&T> {
    match plan {
        LogicalPlan::Extension(it) => it.node.as_any().downcast_ref(),
        _ => None,
    }
}
