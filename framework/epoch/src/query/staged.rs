//! The files in `state/staged`: each goes once the record of a later epoch says that its epoch is decided.

use std::sync::Arc;

use tidegate_api::{AttemptId, Ownership as _, Result};
use tokio::task::JoinSet;

use crate::checkpoint::Checkpoint;
use crate::log::{Commit, Record};
use crate::manifest::StagedPlace;
use crate::stage::{FOLDER, parse_name};
use crate::store::Store;

/// The staged files that are there, and the tasks that remove them.
#[derive(Default)]
pub(super) struct StagedFiles {
    files: Vec<(u64, String)>,
    sweeps: JoinSet<()>,
}

impl StagedFiles {
    /// Removes what dead attempts left, but not what the pending epoch may be committed from.
    pub(super) async fn take_over(&mut self, checkpoint: &Checkpoint, pending: Option<(u64, AttemptId)>) -> Result<()> {
        self.files.clear();
        for name in checkpoint.store.list(FOLDER).await? {
            match parse_name(&name) {
                Some(of) if Some(of) == pending => self.files.push((of.0, name)),
                _ => checkpoint.store.remove(&format!("{FOLDER}/{name}")).await?,
            }
        }
        Ok(())
    }

    /// A start has found the newest epoch decided, or has finished it: removes all, as soon as a loss of power can't take
    /// the word that it is decided.
    pub(super) async fn settle_start(&mut self, checkpoint: &Checkpoint, outcome: &Commit) -> Result<()> {
        if checkpoint.store.list(FOLDER).await?.is_empty() {
            return Ok(());
        }
        checkpoint.spark.write_commit_durably(outcome).await?;
        checkpoint.owner.check().await?;
        self.take_over(checkpoint, None).await
    }

    /// A record that is about to be written names files.
    pub(super) fn note(&mut self, record: &Record) {
        for piece in &record.manifest.staged {
            if let StagedPlace::File(name) = &piece.place {
                self.files.push((record.epoch(), name.clone()));
            }
        }
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
