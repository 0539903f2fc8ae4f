//! Taking back what this writer committed after an epoch, for a query that goes back to it.
//!
//! The table becomes what it would be without those commits: files that they added are removed by one more commit, as
//! Delta's RESTORE does. What other writers appended in between stays. Where another program rearranged our files
//! (compaction), that is undone with them; where it changed their rows, nothing can be taken back.
//!
//! The commit carries no transaction: epoch numbers go on. It is there even if it has nothing to do, for an owner that
//! was thought dead has to come past it before its next commit, and is fenced by it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_api::{Error, Result};

use crate::commit::{self, Head, Put, TableLog};
use crate::entry::{self, RestoreHeader};
use crate::sink::{Opened, SinkParts};

/// Rounds against other writers that are faster, or a log whose answers get lost, before the caller is told.
const ROUNDS: u32 = 100;

/// Takes back what was committed after epoch `through`; false if the table forbids to remove anything.
pub(crate) async fn restore(parts: &SinkParts, opened: &Opened, through: Option<u64>) -> Result<bool> {
    let mut known = opened.head.lock().await;
    let mut failed = Error::transient(format!("restore: other writers were faster {ROUNDS} times"));
    for _ in 0..ROUNDS {
        commit::catch_up(&opened.log, &mut known.head, &opened.app_id).await?;
        let newest = known.head.version;
        let now_ms = parts.ctx.clock.now_ms();
        let Some((history, plan)) = look(opened, &known.head, through, now_ms).await? else {
            tracing::warn!("the table is append-only: what was committed after the epoch stays");
            return Ok(false);
        };
        let mut done = history.fenced && plan.is_empty();
        if !done {
            let adds = added_again(parts, &history, plan.adds, plan.lost).await?;
            let header =
                RestoreHeader { app_id: &opened.app_id, through, version: history.base, read_version: newest, now_ms };
            match opened.log.put(newest + 1, entry::restore(&header, &adds, &plan.removes)).await {
                Put::Written => {
                    known.head.version = newest + 1;
                    tracing::info!(through, removed = plan.removes.len(), added = adds.len(), "took epochs back");
                    done = true;
                }
                Put::Exists => {}
                Put::Unknown(error) => failed = error,
            }
        }
        if done {
            // That was us, or a try of ours whose reply was lost.
            known.head.restored = None;
            opened.settle(&mut known);
            return Ok(true);
        }
    }
    Err(failed)
}

/// Looks whether `restore` would work, and changes nothing.
pub(crate) async fn check(parts: &SinkParts, opened: &Opened, through: Option<u64>) -> Result<()> {
    let mut known = opened.head.lock().await;
    commit::catch_up(&opened.log, &mut known.head, &opened.app_id).await?;
    if let Some((history, plan)) = look(opened, &known.head, through, parts.ctx.clock.now_ms()).await? {
        added_again(parts, &history, plan.adds, plan.lost).await?;
    }
    Ok(())
}

/// What there is to take back, and how; nothing if the table forbids to remove anything.
async fn look(opened: &Opened, head: &Head, through: Option<u64>, now_ms: i64) -> Result<Option<(History, Plan)>> {
    let newest = head.version;
    let properties = opened.log.shape(newest).await?.properties;
    if properties.get("delta.appendOnly").is_some_and(|it| it.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let later = head.held.as_ref().is_some_and(|held| through.is_none_or(|it| held.epoch > it));
    let history = match later {
        true => History::read(&opened.log, newest, &opened.app_id, through).await?,
        false => History::none(newest),
    };
    let plan = history.plan(through, now_ms)?;
    Ok(Some((history, plan)))
}

/// The files that come back into the table; all of them must still be there.
async fn added_again(
    parts: &SinkParts,
    history: &History,
    mut adds: Vec<Value>,
    lost: BTreeSet<String>,
) -> Result<Vec<Value>> {
    adds.extend(parts.store.files_at(&parts.ctx.io, history.base, lost).await?);
    parts.store.check_files(adds.iter().filter_map(path_of)).await?;
    Ok(adds)
}

/// The commits after the last one that stays.
struct History {
    /// The version before the first of them.
    base: u64,
    /// Oldest first.
    commits: Vec<Commit>,
    /// The newest commit of ours among them has taken epochs back already.
    fenced: bool,
}

struct Commit {
    version: u64,
    ours: bool,
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    add: Option<Value>,
    remove: Option<Value>,
}

/// What has to change so that the table is as it would be without our commits.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    removes: Vec<Value>,
    adds: Vec<Value>,
    /// Paths of files that were in the table before, to be added again.
    lost: BTreeSet<String>,
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.removes.is_empty() && self.adds.is_empty() && self.lost.is_empty()
    }
}

impl History {
    fn none(newest: u64) -> Self {
        Self { base: newest, commits: Vec::new(), fenced: false }
    }

    async fn read(log: &dyn TableLog, newest: u64, app_id: &str, through: Option<u64>) -> Result<Self> {
        let mut history = Self::none(newest);
        let mut seen = false;
        loop {
            let version = history.base;
            let Some(body) = log.get(version).await? else {
                return Err(Error::config(format!(
                    "commit {version} is not in the log any more, and epochs that are to be taken back may lie before it"
                )));
            };
            let entry = entry::read(&body, version, app_id)?;
            if entry.held.as_ref().is_some_and(|it| through.is_some_and(|through| it.epoch <= through)) {
                break;
            }
            let ours = entry.held.is_some() || entry.restored;
            history.fenced |= !seen && entry.restored;
            seen |= ours;
            if version == 0 {
                // The table's creation stays, whoever did it.
                break;
            }
            history.commits.push(Commit { version, ours, lines: lines(&body, version)? });
            history.base -= 1;
        }
        history.commits.reverse();
        Ok(history)
    }

    fn plan(&self, through: Option<u64>, now_ms: i64) -> Result<Plan> {
        // `now` is the table as it is, `then` as it would be without our commits; both as far as `commits` touch it.
        let (mut now, mut then) = (Files::default(), Files::default());
        // Files that exist because of our commits.
        let mut ours = BTreeSet::new();
        for commit in &self.commits {
            now.apply(commit);
            let adds = commit.lines.iter().filter_map(|it| it.add.as_ref()).filter_map(path_of).map(str::to_owned);
            if commit.ours {
                // Files that an earlier restore added again were there before.
                ours.extend(adds.filter(|it| !now.there_before(it)));
                continue;
            }
            let removes = commit.lines.iter().filter_map(|it| it.remove.as_ref()).filter_map(path_of);
            if !removes.into_iter().any(|it| ours.contains(it)) {
                then.apply(commit);
            } else if commit.lines.iter().all(Line::rearranges) {
                ours.extend(adds);
            } else {
                let after = through.map_or_else(String::new, |it| format!(" after epoch {it}"));
                return Err(Error::config(format!(
                    "commit {} of another writer changed rows that were written{after}: they can't be taken back",
                    commit.version
                )));
            }
        }
        let mut plan = Plan::default();
        for (path, file) in &now.0 {
            let wanted = then.0.get(path).map(|it| it.add.as_ref());
            match (&file.add, wanted, file.before) {
                (Some(add), Some(None), _) | (Some(add), None, false) => plan.removes.push(remove_of(add, now_ms)),
                (None, Some(Some(add)), _) => plan.adds.push(add.clone()),
                (None, None, true) => {
                    plan.lost.insert(path.clone());
                }
                _ => {}
            }
        }
        Ok(plan)
    }
}

/// Files by path, as far as commits touch them.
#[derive(Default)]
struct Files(BTreeMap<String, File>);

struct File {
    /// Whether the table had it before the first of the commits.
    before: bool,
    /// The action that added it, if it is in the table.
    add: Option<Value>,
}

impl Files {
    fn apply(&mut self, commit: &Commit) {
        // A file may be removed and added by one commit, with another deletion vector: the add counts.
        for remove in commit.lines.iter().filter_map(|it| it.remove.as_ref()) {
            if let Some(path) = path_of(remove) {
                self.0.entry(path.to_owned()).or_insert(File { before: true, add: None }).add = None;
            }
        }
        for add in commit.lines.iter().filter_map(|it| it.add.as_ref()) {
            if let Some(path) = path_of(add) {
                self.0.entry(path.to_owned()).or_insert(File { before: false, add: None }).add = Some(add.clone());
            }
        }
    }

    fn there_before(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|it| it.before)
    }
}

impl Line {
    fn rearranges(&self) -> bool {
        let of = |it: &Option<Value>| it.as_ref().is_none_or(|it| it.get("dataChange") == Some(&Value::Bool(false)));
        of(&self.add) && of(&self.remove)
    }
}

fn lines(body: &Bytes, version: u64) -> Result<Vec<Line>> {
    let lines = body.split(|it| *it == b'\n').filter(|it| !it.trim_ascii().is_empty());
    let read = |line| {
        serde_json::from_slice(line).map_err(|e| Error::config(format!("commit {version} can't be read")).because(e))
    };
    lines.map(read).collect()
}

fn path_of(action: &Value) -> Option<&str> {
    action.get("path")?.as_str()
}

fn remove_of(add: &Value, now_ms: i64) -> Value {
    let mut remove = json!({ "deletionTimestamp": now_ms, "dataChange": true, "extendedFileMetadata": true });
    for key in ["path", "partitionValues", "size", "tags", "deletionVector", "baseRowId", "defaultRowCommitVersion"] {
        if let Some(value) = add.get(key).filter(|it| !it.is_null()) {
            remove[key] = value.clone();
        }
    }
    remove
}

#[cfg(test)]
mod tests;
