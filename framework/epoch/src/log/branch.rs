//! Branches: `state/branches/<n>` says that epoch `n` does not follow the epoch before it by number, but goes on from an
//! earlier one, or from positions that come from elsewhere. Numbers are never used again, so what was left stays where
//! it is until it is purged.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{Error, Result};

use super::frame::{self, Kind};
use super::{Commit, Plan, SourceMark};
use crate::store::{Marks, Store};
use crate::watermark::{GroupMark, Levels};

pub(crate) const FOLDER: &str = "state/branches";

/// What becomes of the rows that sinks got after the point that a query goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// They stay; what they were made of is read again, without output.
    Keep,
    /// They come again.
    Replay,
    /// There were none.
    None,
}

/// What sinks had been given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivered {
    pub(crate) positions: Vec<SourceMark>,
    /// The watermark that had evicted.
    pub(crate) watermark_ms: Option<i64>,
    /// Those of groups of sinks, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<GroupMark>,
}

impl Delivered {
    pub(crate) fn new(positions: Vec<SourceMark>, Levels { query_ms, groups }: Levels) -> Self {
        Self { positions, watermark_ms: query_ms, groups }
    }

    /// The watermarks that had evicted.
    pub(crate) fn levels(&self) -> Levels {
        Levels::new(self.watermark_ms, &self.groups)
    }
}

/// Where a query goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Branch {
    /// Its first epoch.
    pub(crate) next: u64,
    /// The epoch that it follows; nothing: there is no state.
    pub(crate) base: Option<Commit>,
    /// As if it were of the epoch before `next`: positions, times, and the watermark that was used last.
    pub(crate) plan: Plan,
    /// The watermark of the next epoch.
    pub(crate) watermark_ms: Option<i64>,
    /// Those of groups of sinks, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<GroupMark>,
    pub(crate) mode: Mode,
    /// In mode `keep`: what its first epoch reads without output.
    pub(crate) delivered: Option<Delivered>,
    /// The sinks have yet to take back what they show.
    pub(crate) take_back: bool,
    /// For people.
    pub(crate) reason: String,
}

impl Branch {
    /// The watermarks of the next epoch.
    pub(crate) fn levels(&self) -> Levels {
        Levels::new(self.watermark_ms, &self.groups)
    }
}

/// The folder of branches.
#[derive(Clone)]
pub(crate) struct Branches {
    store: Arc<Store>,
}

impl Branches {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// The first epochs of all branches, in order.
    pub(crate) async fn list(&self) -> Result<Vec<u64>> {
        self.store.list_numbers(FOLDER).await
    }

    /// The branch that begins with epoch `next`, if there is one; an error names the file.
    pub(crate) async fn read(&self, next: u64) -> Result<Option<Branch>> {
        let key = key(next);
        let named = |e: Error| e.within(self.store.name(&key));
        let Some(bytes) = self.store.read(&key).await? else { return Ok(None) };
        let sections = frame::open(Kind::Branch, &bytes).map_err(named)?;
        let [json] = sections.as_slice() else {
            return Err(named(Error::config(format!("it has {} sections, expected 1", sections.len()))));
        };
        let damaged = |e| named(Error::config("the file is damaged: it does not parse").because(e));
        let branch: Branch = serde_json::from_slice(json).map_err(damaged)?;
        if branch.next == next {
            return Ok(Some(branch));
        }
        Err(named(Error::config(format!("the file is damaged: it holds branch {}", branch.next))))
    }

    pub(crate) async fn newest(&self) -> Result<Option<Branch>> {
        match self.list().await?.last() {
            Some(next) => self.read(*next).await,
            None => Ok(None),
        }
    }

    /// Writes a branch durably.
    pub(crate) async fn write(&self, branch: &Branch) -> Result<()> {
        let json = serde_json::to_vec(branch).map_err(|e| Error::internal("branch").because(e))?;
        let sections = [json.as_slice()];
        let heads = frame::Heads::new(Kind::Branch, &sections);
        self.store.write(&key(branch.next), &heads.with(&sections), &Marks::NONE).await
    }

    /// The epochs that were left by going back; those of one branch may lie within another's.
    pub(crate) async fn left(&self) -> Result<Vec<Range<u64>>> {
        let mut left = Vec::new();
        for next in self.list().await? {
            if let Some(branch) = self.read(next).await? {
                left.push(branch.base.map_or(0, |it| it.epoch + 1)..next);
            }
        }
        Ok(left)
    }

    /// The files of branches that nothing at or after epoch `oldest` begins with.
    pub(crate) async fn before(&self, oldest: u64) -> Result<Vec<String>> {
        Ok(self.list().await?.into_iter().filter(|it| *it < oldest).map(key).collect())
    }
}

fn key(next: u64) -> String {
    format!("{FOLDER}/{next}")
}
