//! The files in `state/staged`: each goes once the record of a later epoch says that its epoch is decided.

use std::sync::Arc;

use tidegate_api::{Epoch, Ownership as _, Result};
use tokio::task::JoinSet;

use crate::checkpoint::Checkpoint;
use crate::log::Commit;
use crate::stage::{FOLDER, parse_name};
use crate::store::Store;

/// The staged files that are there, and the tasks that remove them.
#[derive(Default)]
pub(super) struct StagedFiles {
    files: Vec<(u64, String)>,
    sweeps: JoinSet<()>,
}

impl StagedFiles {
    /// Removes what attempts at decided epochs left. Files of epochs from `undecided` on stay until theirs is decided:
    /// an owner that was overtaken may yet write the record that names them.
    pub(super) async fn take_over(&mut self, checkpoint: &Checkpoint, undecided: u64) -> Result<()> {
        self.files.clear();
        for name in checkpoint.store.list(FOLDER).await? {
            match parse_name(&name) {
                Some((epoch, _)) if epoch >= undecided => self.files.push((epoch, name)),
                _ => checkpoint.store.remove(&format!("{FOLDER}/{name}")).await?,
            }
        }
        Ok(())
    }

    /// A start has found the newest epoch decided, or has finished it: removes what was staged up to it, as soon as a loss
    /// of power can't take the word that it is decided.
    pub(super) async fn settle_start(&mut self, checkpoint: &Checkpoint, outcome: &Commit) -> Result<()> {
        if checkpoint.store.list(FOLDER).await?.is_empty() {
            return Ok(());
        }
        checkpoint.spark.write_commit_durably(outcome).await?;
        checkpoint.owner.check().await?;
        self.take_over(checkpoint, outcome.epoch + 1).await
    }

    /// These files are about to be written.
    pub(super) fn note(&mut self, epoch: &Epoch, names: Vec<String>) {
        self.files.extend(names.into_iter().map(|name| (epoch.number, name)));
    }

    /// Removes the files of earlier epochs, in the background.
    pub(super) fn sweep_before(&mut self, epoch: u64, checkpoint: &Checkpoint) {
        while self.sweeps.try_join_next().is_some() {}
        let (old, kept) = std::mem::take(&mut self.files).into_iter().partition(|it| it.0 < epoch);
        self.files = kept;
        let old: Vec<(u64, String)> = old;
        if old.is_empty() {
            return;
        }
        let (store, owner): (Arc<Store>, _) = (checkpoint.store.clone(), checkpoint.owner.clone());
        self.sweeps.spawn(async move {
            if owner.check().await.is_err() {
                return;
            }
            for (_, name) in old {
                if let Err(error) = store.remove(&format!("{FOLDER}/{name}")).await {
                    tracing::warn!(%name, %error, "a staged file stays until the next start");
                }
            }
        });
    }

    pub(super) async fn settle(&mut self) {
        while self.sweeps.join_next().await.is_some() {}
    }
}
