//! The sources of a query: where each stands, what it brings into an epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{FutureExt, select_all};
use tidegate_api::{DynSource, Error, ErrorKind, OffsetJson, OffsetRange, ReadLimit, Replay, Result};

use crate::checkpoint::Checkpoint;
use crate::log::{Plan, SourceMark, SourceRange};
use crate::program::{SourceInput, SplitInput};
use crate::retry::Retry;

/// A source as the engine hands it over.
pub struct SourcePart {
    /// Its name in the query.
    pub name: Arc<str>,
    /// The source, bound.
    pub source: Box<dyn DynSource>,
    /// How much one epoch may read.
    pub limit: ReadLimit,
}

struct SourceTask {
    name: Arc<str>,
    index: usize,
    source: Box<dyn DynSource>,
    limit: ReadLimit,
    /// The end of the last decided epoch.
    position: Option<OffsetJson>,
    /// The last position known to exist.
    latest: Option<OffsetJson>,
}

impl SourceTask {
    fn position(&self) -> Result<&OffsetJson> {
        self.position.as_ref().ok_or_else(|| Error::internal(format!("source {} has no position", self.name)))
    }
}

/// What progress shows of a source.
pub(crate) struct SourceReport {
    pub(crate) name: Arc<str>,
    pub(crate) description: String,
    pub(crate) latest: Option<OffsetJson>,
    pub(crate) metrics: BTreeMap<String, String>,
}

/// All sources, in the order in which the query got them.
pub(crate) struct Sources {
    tasks: Vec<SourceTask>,
    /// Those that the query had once.
    pub(crate) removed: Vec<SourceMark>,
    /// Splits to aim at for each source.
    splits: usize,
}

impl Sources {
    pub(crate) fn new(parts: Vec<SourcePart>, splits: usize) -> Result<Self> {
        let mut tasks: Vec<SourceTask> = Vec::new();
        for SourcePart { name, source, limit } in parts {
            if tasks.iter().any(|it| it.name == name) {
                return Err(Error::config(format!("two sources have the name '{name}'")));
            }
            tasks.push(SourceTask { name, index: 0, source, limit, position: None, latest: None });
        }
        Ok(Self { tasks, removed: Vec::new(), splits: splits.max(1) })
    }

    /// Gives each source the line in the log that its name keeps for ever.
    pub(crate) async fn take_indices(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        for task in &mut self.tasks {
            task.index = checkpoint.source_index(&task.name).await?;
        }
        Ok(())
    }

    /// True if every range can be read again.
    pub(crate) fn are_replayable(&self) -> bool {
        self.tasks.iter().all(|it| it.source.replay() == Replay::Deterministic)
    }

    /// Refuses a log that is not of these sources. Some may be new, some may be gone, but not all.
    pub(crate) fn check(&self, logged: &Plan) -> Result<()> {
        let marks: Vec<SourceMark> = marks(logged).collect();
        if !marks.is_empty() && !self.tasks.iter().any(|task| marks.iter().any(|it| it.name == task.name)) {
            let names = |them: Vec<&Arc<str>>| them.iter().map(|it| format!("'{it}'")).collect::<Vec<_>>().join(", ");
            let theirs = names(marks.iter().map(|it| &it.name).collect());
            let ours = names(self.tasks.iter().map(|it| &it.name).collect());
            let text = format!("it is of another query: it has offsets of source {theirs}, this query has {ours}");
            return Err(Error::config(text));
        }
        for task in &self.tasks {
            let Some(mark) = marks.iter().find(|it| it.name == task.name) else { continue };
            if mark.index != task.index {
                let (theirs, ours) = (mark.index, task.index);
                let text = format!("its records have index {theirs}, state/sources has {ours}: that file is damaged");
                return Err(Error::config(text).within(about(&task.name)));
            }
            // Offsets are opaque here: a source that can't split an empty range can't read them.
            let empty = OffsetRange { start: mark.offset.clone(), end: mark.offset.clone() };
            task.source.splits(empty, 1).map_err(|e| e.within(about(&task.name)))?;
        }
        Ok(())
    }

    /// Refuses to run a plan that reads what this query has no more.
    pub(crate) fn check_all_there(&self, plan: &Plan) -> Result<()> {
        let gone = |it: &&SourceRange| it.start != it.end && !self.tasks.iter().any(|task| task.name == it.name);
        let Some(gone) = plan.sources.iter().find(gone) else { return Ok(()) };
        let (epoch, name) = (plan.epoch, &gone.name);
        Err(Error::config(format!(
            "epoch {epoch} is pending and reads source '{name}', which the query has no more: start it once with it"
        )))
    }

    /// Stands at the ends of a logged epoch. Sources that the epoch does not know stay where they are.
    pub(crate) fn stand_at_ends(&mut self, plan: &Plan) {
        let marks: Vec<SourceMark> = marks(plan).collect();
        for task in &mut self.tasks {
            if let Some(mark) = marks.iter().find(|it| it.name == task.name) {
                task.position = Some(mark.offset.clone());
            }
        }
        self.removed = marks.into_iter().filter(|mark| !self.tasks.iter().any(|it| it.name == mark.name)).collect();
    }

    /// The ranges from where the sources stand to these positions.
    pub(crate) fn ranges_to(&self, ends: &[SourceMark]) -> Result<Vec<SourceRange>> {
        let range = |task: &SourceTask| {
            let start = task.position()?.clone();
            let end = ends.iter().find(|it| it.name == task.name).map_or_else(|| start.clone(), |it| it.offset.clone());
            Ok(SourceRange { name: task.name.clone(), index: task.index, start, end })
        };
        self.tasks.iter().map(range).collect()
    }

    /// Has each source that has a position say that it can go on from there.
    ///
    /// # Errors
    /// `Config` if what comes next is gone; else as the sources.
    pub(crate) async fn look_ahead(&mut self, retry: Retry) -> Result<()> {
        for task in &mut self.tasks {
            let Some(position) = &task.position else { continue };
            let mut n = 0;
            loop {
                n += 1;
                match task.source.plan(position, &ReadLimit::NONE).await {
                    Ok(_) => break,
                    Err(e) if e.kind() == ErrorKind::Transient && retry.wait(n).await => warn(&task.name, &e),
                    Err(e) => return Err(e.within(about(&task.name))),
                }
            }
        }
        Ok(())
    }

    /// Asks where sources start that the log does not know.
    pub(crate) async fn stand_at_start(&mut self, retry: Retry) -> Result<()> {
        for task in self.tasks.iter_mut().filter(|it| it.position.is_none()) {
            let mut n = 0;
            task.position = loop {
                n += 1;
                match task.source.initial_offset().await {
                    Ok(offset) => break Some(offset),
                    Err(e) if e.kind() == ErrorKind::Transient && retry.wait(n).await => warn(&task.name, &e),
                    Err(e) => return Err(e.within(about(&task.name))),
                }
            };
        }
        Ok(())
    }

    /// The ranges of the next epoch; if limited, of at most so many rows of each source.
    pub(crate) async fn plan(&mut self, limited: bool, most: Option<u64>) -> Result<Vec<SourceRange>> {
        let mut ranges = Vec::with_capacity(self.tasks.len());
        for task in &mut self.tasks {
            let start = task.position()?.clone();
            let max_rows = task.limit.max_rows.into_iter().chain(most).min();
            let limit = if limited { ReadLimit { max_rows, ..task.limit } } else { ReadLimit::NONE };
            let planned = task.source.plan(&start, &limit).await.map_err(|e| e.within(about(&task.name)))?;
            if planned.schema.is_some() {
                let text = "its schema has changed since the query started; start the query again";
                return Err(Error::config(text).within(about(&task.name)));
            }
            task.latest = Some(planned.latest);
            ranges.push(SourceRange { name: task.name.clone(), index: task.index, start, end: planned.end });
        }
        Ok(ranges)
    }

    /// The rows of an epoch, split by split, in the order that a repetition will have too.
    pub(crate) async fn open(&self, plan: &Plan) -> Result<Vec<SourceInput>> {
        let mut input = Vec::with_capacity(self.tasks.len());
        for task in &self.tasks {
            let range = plan.sources.iter().find(|it| it.name == task.name && it.start != it.end);
            let mut splits = Vec::new();
            if let Some(SourceRange { start, end, .. }) = range {
                let range = OffsetRange { start: start.clone(), end: end.clone() };
                for split in task.source.splits(range, self.splits).map_err(|e| e.within(about(&task.name)))? {
                    let partition = split.partition.clone();
                    let rows = task.source.read(split).await.map_err(|e| e.within(about(&task.name)))?;
                    splits.push(SplitInput { partition, rows });
                }
            }
            input.push(SourceInput { name: task.name.clone(), splits });
        }
        Ok(input)
    }

    /// Fixes the ends of an available-now run.
    pub(crate) async fn freeze(&mut self) -> Result<()> {
        for task in &mut self.tasks {
            let start = task.position()?.clone();
            task.source.freeze(&start).await.map_err(|e| e.within(about(&task.name)))?;
        }
        Ok(())
    }

    /// Returns when one of the sources may have more.
    pub(crate) async fn ready(&mut self) {
        let waits = self.tasks.iter_mut().filter_map(|task| {
            let position = task.position.clone()?;
            let source = &mut task.source;
            Some(async move { source.ready(&position).await }.boxed())
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            return futures::future::pending().await;
        }
        if select_all(waits).await.0.is_err() {
            // The next plan tells what is wrong; until then no busy loop.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// Tells the sources what will never be read again. Advice: failures are logged and nothing else.
    pub(crate) async fn forget(&mut self, oldest: &[SourceRange]) {
        for task in &mut self.tasks {
            let Some(range) = oldest.iter().find(|it| it.name == task.name) else { continue };
            if let Err(e) = task.source.commit(&range.end).await {
                warn(&task.name, &e);
            }
        }
    }

    pub(crate) fn reports(&self) -> Vec<SourceReport> {
        let report = |it: &SourceTask| SourceReport {
            name: it.name.clone(),
            description: it.source.describe(),
            latest: it.latest.clone(),
            metrics: it.source.metrics(),
        };
        self.tasks.iter().map(report).collect()
    }
}

/// Where all sources stand after an epoch.
fn marks(plan: &Plan) -> impl Iterator<Item = SourceMark> {
    plan.sources.iter().map(SourceRange::end_mark).chain(plan.removed.iter().cloned())
}

fn about(name: &str) -> String {
    format!("source {name}")
}

fn warn(name: &str, error: &Error) {
    tracing::warn!(source = name, %error, "a source failed for now");
}
