//! Work beside the epochs: files that came to nothing, checkpoints of the log, its clean-up.

use std::time::Duration;

use tidegate_api::Result;

use crate::sink::{Opened, SinkParts, locked};

/// Does what is due. A call while another is at it does nothing.
///
/// A checkpoint that was begun is finished, whatever `budget` says: broken off it would never come to an end on a large
/// table. With no time at all none is begun.
pub(crate) async fn run(parts: &SinkParts, opened: &Opened, budget: Duration) -> Result<()> {
    let Ok(_only) = opened.maintaining.try_lock() else { return Ok(()) };
    parts.store.remove_dropped().await?;
    let garbage = locked(&opened.leftovers).take_garbage();
    if !garbage.is_empty() {
        tracing::info!(files = garbage.len(), "removed data files of tries that failed");
        parts.store.remove(garbage).await?;
    }
    let versions = *locked(&opened.versions);
    let due = versions.newest.saturating_sub(versions.checkpoint) >= parts.config.log_checkpoint_interval.get();
    if due && !budget.is_zero() {
        let version = parts.store.checkpoint(&parts.ctx.io, parts.config.log_cleanup).await?;
        locked(&opened.versions).checkpoint = version;
        tracing::debug!(version, "wrote a checkpoint of the log");
    }
    Ok(())
}
