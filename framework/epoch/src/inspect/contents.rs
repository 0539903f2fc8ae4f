//! The files of a checkpoint, its records, and which of them lead to its newest state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_api::{AttemptId, Error, Result};

use super::Finding;
use super::names::Name;
use crate::log::Record;
use crate::log::branch::{Branch, Branches};
use crate::log::spark::METADATA;
use crate::log::wal::Wal;
use crate::store::Store;

pub(super) struct Contents {
    /// All files, with what they are and their sizes.
    pub(super) files: BTreeMap<String, (Name, u64)>,
    /// All records that could be read.
    pub(super) records: BTreeMap<u64, BTreeMap<AttemptId, Record>>,
    /// What is wrong with the others.
    pub(super) damaged: Vec<Finding>,
    pub(super) snapshots: BTreeSet<(u64, AttemptId)>,
    /// The points at which the query went back, by the first epoch after.
    pub(super) branches: BTreeMap<u64, Branch>,
    /// The epochs from the newest back to the oldest that is kept, each with the attempt that its state is of.
    pub(super) chain: Vec<(u64, AttemptId)>,
    /// What comes before the last of them, if it had to be there and is not.
    pub(super) gap: Option<(u64, AttemptId)>,
}

impl Contents {
    pub(super) async fn read(store: &Arc<Store>) -> Result<Self> {
        let remote = store.is_remote();
        let all = store.all().await?;
        let files: BTreeMap<_, _> =
            all.into_iter().map(|(key, size)| (key.clone(), (Name::of(&key, remote), size))).collect();
        let is_one = |it: &String| it == METADATA || it.starts_with("state/") || it.starts_with("offsets/");
        if !files.keys().any(is_one) {
            return Err(Error::config(format!("there is no checkpoint at {}", store.location())));
        }
        let mut this = Self {
            records: BTreeMap::new(),
            damaged: Vec::new(),
            snapshots: BTreeSet::new(),
            branches: BTreeMap::new(),
            chain: Vec::new(),
            gap: None,
            files,
        };
        this.read_records(store).await?;
        this.follow();
        Ok(this)
    }

    async fn read_records(&mut self, store: &Arc<Store>) -> Result<()> {
        let (wal, branches) = (Wal::new(store.clone()), Branches::new(store.clone()));
        for (key, (name, _)) in &self.files {
            match name {
                Name::Snapshot(epoch, attempt) => _ = self.snapshots.insert((*epoch, *attempt)),
                Name::Record(epoch, attempt) => match wal.read(*epoch, *attempt).await {
                    Ok((record, _)) => _ = self.records.entry(*epoch).or_default().insert(*attempt, record),
                    Err(e) => self.damaged.push(Finding::new(key, without_place(store, key, &e))),
                },
                Name::Branch(next) => match branches.read(*next).await {
                    Ok(branch) => self.branches.extend(branch.map(|it| (*next, it))),
                    Err(e) => self.damaged.push(Finding::new(key, without_place(store, key, &e))),
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses a checkpoint of which the newest epoch can't be told, since what tells it is damaged.
    pub(super) fn check_newest(&self, store: &Store) -> Result<()> {
        let newest = self.records.last_key_value().map(|(epoch, _)| *epoch);
        let tells_it = |it: &(Name, u64)| match it.0 {
            Name::Record(epoch, _) => Some(epoch) >= newest,
            Name::Branch(_) => true,
            _ => false,
        };
        let found = self.damaged.iter().rfind(|it| self.files.get(&it.file).is_some_and(tells_it));
        found.map_or(Ok(()), |it| Err(self.refusal(store, it)))
    }

    /// An error that names a damaged file.
    pub(super) fn refusal(&self, store: &Store, damage: &Finding) -> Error {
        Error::config(damage.to_string()).within(format!("checkpoint {}", store.location()))
    }

    /// The epoch and attempt that the newest state is of: a branch that no epoch has begun with yet goes on from its base.
    fn head(&self) -> Option<(u64, AttemptId)> {
        let newest = self.records.last_key_value();
        if let Some((next, branch)) = self.branches.last_key_value()
            && newest.is_none_or(|(epoch, _)| epoch < next)
        {
            return branch.base.as_ref().map(|it| (it.epoch, it.attempt));
        }
        let (epoch, attempts) = newest?;
        let snapshot = self.snapshots.iter().find(|(it, _)| it == epoch).map(|(_, attempt)| *attempt);
        snapshot.or_else(|| attempts.keys().next_back().copied()).map(|it| (*epoch, it))
    }

    /// Goes from the newest record back along the commits that each one holds.
    fn follow(&mut self) {
        let mut next = self.head();
        while let Some((epoch, attempt)) = next.take() {
            let Some(record) = self.record(epoch, attempt) else {
                // At the oldest one that is kept, the state comes from its snapshot.
                let ends_here =
                    self.chain.last().is_some_and(|it| self.snapshots.contains(it) && !self.has_before(it.0));
                self.gap = (!ends_here).then_some((epoch, attempt));
                break;
            };
            next = record.commit.as_ref().map(|it| (it.epoch, it.attempt));
            self.chain.push((epoch, attempt));
        }
    }

    /// True if something of an older epoch is there. Old snapshots go after all else of their epochs.
    fn has_before(&self, epoch: u64) -> bool {
        let is_older = |name: &Name| match name {
            Name::Offsets(it) | Name::Commits(it) | Name::Record(it, _) => *it < epoch,
            _ => false,
        };
        self.files.values().any(|(name, _)| is_older(name))
    }

    pub(super) fn record(&self, epoch: u64, attempt: AttemptId) -> Option<&Record> {
        self.records.get(&epoch)?.get(&attempt)
    }

    /// The newest record.
    pub(super) fn newest(&self) -> Option<&Record> {
        self.chain.first().and_then(|(epoch, attempt)| self.record(*epoch, *attempt))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.files.contains_key(key)
    }
}

/// An error's text, but for the file's name.
pub(super) fn without_place(store: &Store, key: &str, error: &Error) -> String {
    let text = error.to_string();
    text.strip_prefix(&format!("{}: ", store.name(key))).map_or(text.clone(), str::to_owned)
}
