//! `EpochLog`: the bounded manifest, `_tidegate/<writer hash>-<epoch>.json`; for readers that list the folder.
//!
//! ```text
//! commit: put the entry of the epoch if absent             → the epoch is decided
//!         publish the files that the entry names           → done again by whoever finds the entry
//! ```
//! Each writer has entries of its own, by epoch, and removes old ones: what they name has long been published.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{AttemptId, Clock, CommitOutcome, Epoch, Error, Result, fault};

use super::folder::{DataFile, Folder};
use super::names::{Epochs, Held, WriterHash};
use super::spark::decided;

/// The folder of the manifest.
pub(crate) const TIDEGATE: &str = "_tidegate";
/// Entries that stay, and for how long at least: an owner thought dead must find its epoch taken.
const KEEP: (usize, i64) = (100, 600_000);

#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    epoch: u64,
    attempt: AttemptId,
    files: Vec<DataFile>,
}

pub(crate) struct EpochLog {
    folder: Arc<dyn Folder>,
    writer: WriterHash,
    clock: Arc<dyn Clock>,
    held: Option<Held>,
}

impl EpochLog {
    pub(crate) fn new(folder: Arc<dyn Folder>, writer: WriterHash, clock: Arc<dyn Clock>) -> Self {
        Self { folder, writer, clock, held: None }
    }

    /// The last epoch of this writer.
    pub(crate) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Publishes what the last entry names; gives that epoch.
    pub(crate) async fn scan(&mut self) -> Result<Epochs> {
        let mut epochs = Epochs::default();
        if let Some((last, _)) = self.entries().await?.pop() {
            let entry = self.get(last).await?;
            let entry = entry.ok_or_else(|| Error::transient(format!("manifest {} is gone", self.path(last))))?;
            self.folder.publish(&entry.files).await?;
            self.hold(&entry, &mut epochs);
        }
        Ok(epochs)
    }

    /// Makes the files of an epoch visible, or tells that they are. `news` are epochs that were found on the way.
    pub(crate) async fn commit(
        &mut self,
        epoch: &Epoch,
        files: &[DataFile],
        news: &mut Epochs,
    ) -> Result<CommitOutcome> {
        let (number, attempt) = (epoch.number, epoch.attempt);
        if files.is_empty() || self.held.as_ref().is_some_and(|it| it.epoch > number) {
            return Ok(decided(self.held.as_ref(), epoch)?.unwrap_or(CommitOutcome::Committed));
        }
        // The number may have been taken and cleaned away: then there is a later one.
        if let Some((last, _)) = self.entries().await?.pop() {
            if last > number {
                return Err(Error::fenced(format!("epoch {number}: the manifest holds epoch {last} of this writer")));
            }
            if last < number
                && self.held.as_ref().is_none_or(|it| it.epoch < last)
                && let Some(entry) = self.get(last).await?
            {
                // Another owner's, or of a try of ours whose outcome was not known.
                self.hold(&entry, news);
                decided(self.held.as_ref(), epoch)?;
            }
        }
        let ours = Entry { version: 1, epoch: number, attempt, files: files.to_vec() };
        let body = serde_json::to_vec(&ours).map_err(|e| Error::internal("an entry of the manifest").because(e))?;
        let path = self.path(number);
        let (entry, outcome) = if self.folder.put_new(&path, body.into(), self.writer).await? {
            (ours, CommitOutcome::Committed)
        } else {
            let entry = self.get(number).await?;
            let entry =
                entry.ok_or_else(|| Error::transient(format!("manifest {path} is taken, but can't be read")))?;
            let attempt = Some(entry.attempt);
            (entry, CommitOutcome::AlreadyCommitted { attempt })
        };
        self.folder.publish(&entry.files).await?;
        fault::hit("file.placed")?;
        self.hold(&entry, news);
        Ok(outcome)
    }

    /// Takes back this writer's epochs after `through`; the names of all its files of those.
    pub(crate) async fn restore(&mut self, through: Option<u64>) -> Result<Vec<String>> {
        let entries = self.entries().await?;
        let lost = entries.into_iter().map(|it| it.0).filter(|it| through.is_none_or(|through| *it > through));
        for epoch in lost.rev() {
            self.folder.remove(&[self.path(epoch)]).await?;
        }
        self.held = None;
        self.scan().await?;
        let listed = self.folder.list("").await?.into_iter().map(|it| it.name);
        let is_lost = |name: &String| {
            let epoch = self.writer.parse(name).map(|it| it.0);
            epoch.is_some_and(|it| through.is_none_or(|through| it > through))
        };
        Ok(listed.filter(is_lost).collect())
    }

    /// Removes entries of epochs long past.
    pub(crate) async fn clean(&mut self) -> Result<()> {
        let mut old = self.entries().await?;
        old.truncate(old.len().saturating_sub(KEEP.0));
        let old_ms = self.clock.now_ms().saturating_sub(KEEP.1);
        let old: Vec<_> = old.into_iter().filter(|it| it.1 < old_ms).map(|it| self.path(it.0)).collect();
        self.folder.remove(&old).await
    }

    fn hold(&mut self, entry: &Entry, news: &mut Epochs) {
        let names = entry.files.iter().map(|it| it.name.clone()).collect();
        let held = Held { epoch: entry.epoch, attempt: entry.attempt, names };
        self.held = Some(held.clone());
        news.0.insert(held.epoch, held);
    }

    /// This writer's epochs in the manifest, in order, and when they were written.
    async fn entries(&self) -> Result<Vec<(u64, i64)>> {
        let (prefix, listed) = (format!("{}-", self.writer), self.folder.list(TIDEGATE).await?);
        let epoch_of = |name: &str| name.strip_prefix(&prefix)?.strip_suffix(".json")?.parse().ok();
        let mut entries: Vec<_> = listed.iter().filter_map(|it| Some((epoch_of(&it.name)?, it.modified_ms))).collect();
        entries.sort_unstable();
        Ok(entries)
    }

    async fn get(&self, epoch: u64) -> Result<Option<Entry>> {
        let path = self.path(epoch);
        let Some(bytes) = self.folder.get(&path).await? else { return Ok(None) };
        let damaged = || Error::config(format!("manifest {path} is damaged"));
        let entry: Entry = serde_json::from_slice(&bytes).map_err(|e| damaged().because(e))?;
        if entry.version != 1 || entry.epoch != epoch {
            let (version, found) = (entry.version, entry.epoch);
            let text = format!("version {version}, epoch {found}; expected version 1, epoch {epoch}");
            return Err(damaged().because(text));
        }
        Ok(Some(entry))
    }

    fn path(&self, epoch: u64) -> String {
        format!("{TIDEGATE}/{}-{epoch}.json", self.writer)
    }
}
