//! Data files on disk or store that no commit names, found when a table is opened.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_api::Result;

use crate::clean::Leftovers;
use crate::commit::{Head, TableLog};
use crate::entry;
use crate::names::{WriterHash, epoch_of};
use crate::sink::SinkParts;

/// Commits looked through for files of epochs that are over. A process removes what came to nothing soon, so what one
/// left behind that ended lies near the end of the log.
const LOOK_BACK: u64 = 200;

/// Removes data files of this writer that no commit names and none can come to name; those that one still may are kept
/// in mind.
///
/// Without the last commit those of its epoch can't be told apart: they are left to VACUUM. So are those of epochs that
/// were over long ago.
pub(crate) async fn find(
    parts: &SinkParts,
    writer: WriterHash,
    app_id: &str,
    log: &dyn TableLog,
    head: &Head,
    live: &BTreeSet<String>,
) -> Result<Leftovers> {
    let held = head.held.as_ref();
    let mut leftovers = Leftovers::default();
    let mut over: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let last = held.map(|it| if it.paths.is_empty() { it.epoch + 1 } else { it.epoch });
    for path in parts.store.data_files(writer.prefix()).await? {
        let name = path.rsplit('/').next().unwrap_or(&path);
        let Some(epoch) = epoch_of(writer, name) else { continue };
        if last.is_none_or(|last| epoch >= last) {
            leftovers.wait(epoch, [path]);
        } else if held.is_some_and(|held| epoch < held.epoch) && !live.contains(&path) {
            over.entry(epoch).or_default().push(path);
        }
    }
    if let Some(held) = held {
        leftovers.settle(held);
    }
    let mut garbage = leftovers.take_garbage();
    garbage.extend(never_named(over, app_id, log, head.version).await?);
    if !garbage.is_empty() {
        tracing::info!(files = garbage.len(), "removed data files of tries that failed");
        parts.store.remove(garbage).await?;
    }
    Ok(leftovers)
}

/// Of files that the table does not hold, those that it never held: the others belong to its older versions.
async fn never_named(
    mut over: BTreeMap<u64, Vec<String>>,
    app_id: &str,
    log: &dyn TableLog,
    newest: u64,
) -> Result<Vec<String>> {
    let mut never = Vec::new();
    for version in (newest.saturating_sub(LOOK_BACK)..=newest).rev() {
        if over.is_empty() {
            break;
        }
        let Some(body) = log.get(version).await? else { break };
        if let Some(held) = entry::read(&body, version, app_id)?.held {
            // Epochs rise from commit to commit: later ones that did not come up were never committed.
            let skipped = over.split_off(&held.epoch.saturating_add(1));
            never.extend(skipped.into_values().flatten());
            let tries = over.remove(&held.epoch).unwrap_or_default();
            never.extend(tries.into_iter().filter(|it| !held.paths.contains(it)));
        }
        if version == 0 {
            never.extend(std::mem::take(&mut over).into_values().flatten());
        }
    }
    Ok(never)
}
