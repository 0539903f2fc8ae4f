//! The sinks of a query: how rows get to each, and what each says when it is opened.
//!
//! ```text
//! writers → write …            rows go to the sink as they come, or wait in a stage             outputs.rs
//! prepare → stage              before the record: parts are durable, what is staged is too     staged.rs
//! commit                       after it: from the parts, or the whole step from the stage      commit.rs
//! ```

mod collect;
mod commit;
mod outputs;
mod rejects;
mod staged;

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{
    DynSink, Epoch, Error, ErrorKind, Guarantee, OutputMode, Ownership, QueryId, Result, Staging, WriterId,
};

use crate::fault::Faults;
use crate::letters::{DEAD_LETTERS, Errors, Rules};
use crate::retry::Retry;
use crate::stage;
use crate::store::Store;

pub use collect::Collected;
pub use outputs::Outputs;
pub(crate) use rejects::{open as open_rejects, parse_rejects_name};
pub(crate) use staged::Delivery;

/// A sink as the engine hands it over.
pub struct SinkPart {
    /// Its name in the query: part of the writer id.
    pub name: Arc<str>,
    /// The sink.
    pub sink: Box<dyn DynSink>,
    /// Which rows it gets.
    pub mode: OutputMode,
    /// Its failure is counted and never delays the others.
    pub best_effort: bool,
}

/// How the rows of an epoch get into a sink of this query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Way {
    /// They wait until the epoch is logged; else they go to it as they come.
    collect: bool,
    /// They, or what its writers prepared, can be committed after a restart.
    staged: bool,
}

struct SinkTask {
    name: Arc<str>,
    sink: Arc<dyn DynSink>,
    mode: OutputMode,
    best_effort: bool,
    way: Way,
    /// Epochs that a best-effort sink did not get.
    failures: u64,
}

impl SinkTask {
    /// An error of a best-effort sink is counted, any other stays.
    fn tolerate(&mut self, epoch: &Epoch, error: Error) -> Result<()> {
        if !self.best_effort {
            return Err(error.within(about(&self.name)));
        }
        self.failures += 1;
        let (sink, failures) = (&self.name, self.failures);
        tracing::warn!(%sink, epoch = epoch.number, failures, %error, "a best-effort sink missed an epoch");
        Ok(())
    }

    /// True if a reader may see a part of an epoch.
    fn is_piecemeal(&self) -> bool {
        self.sink.guarantee() < Guarantee::Transactional
    }
}

/// What a sink said when it was opened.
#[derive(Clone, Debug)]
pub(crate) struct SinkStands {
    pub(crate) name: Arc<str>,
    pub(crate) best_effort: bool,
    /// The last epoch that it shows, and of which attempt.
    pub(crate) committed: Option<(u64, tidegate_api::AttemptId)>,
}

/// What progress shows of a sink.
pub(crate) struct SinkReport {
    pub(crate) description: String,
    pub(crate) failures: u64,
    /// It is the one for dead letters.
    pub(crate) takes_letters: bool,
}

/// What becomes of the rows that a sink got after the epoch that its query goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkOutcome {
    /// They stay, and do not come again.
    Kept,
    /// They were taken back, and come again.
    TakenBack,
    /// They stay, since the sink can't take them back, and come a second time, over the same keys.
    Overwritten,
    /// They stay, since the sink can't take them back, and come a second time.
    Twice,
    /// They stay, and come a second time: nobody waits for this sink.
    BestEffort,
}

/// All sinks, in the order in which the query got them, and the one for dead letters behind them.
pub(crate) struct Sinks {
    tasks: Vec<SinkTask>,
    /// Which of them is for dead letters.
    letters: Option<usize>,
    rules: Arc<Rules>,
    /// Of this owner: names what it writes down of rejected rows.
    pub(crate) generation: u64,
    pub(crate) retry: Retry,
    /// Bytes of an output that stay in memory.
    pub(crate) stage_memory: usize,
    /// Asked again before something is repeated.
    pub(crate) owner: Option<Arc<dyn Ownership>>,
    store: Arc<Store>,
    faults: Faults,
}

impl Sinks {
    pub(crate) fn new(parts: Vec<SinkPart>, errors: Errors, store: Arc<Store>) -> Result<Self> {
        let rules = Arc::new(Rules::new(&errors));
        if errors.sink.is_some() && !rules.tolerates() {
            return Err(Error::config("a dead letter sink goes with tolerated errors, they are not"));
        }
        let letters = errors.sink.as_ref().map(|_| parts.len());
        let letter_sink = errors.sink.map(|it| SinkPart { name: DEAD_LETTERS.into(), ..it });
        let mut tasks: Vec<SinkTask> = Vec::new();
        for SinkPart { name, sink, mode, best_effort } in parts.into_iter().chain(letter_sink) {
            if tasks.iter().any(|it| it.name == name) {
                return Err(Error::config(format!("two sinks have the name '{name}'")));
            }
            let best_effort = best_effort || sink.best_effort();
            tasks.push(SinkTask { name, sink: Arc::from(sink), mode, best_effort, way: Way::default(), failures: 0 });
        }
        let faults = store.faults.clone();
        let (retry, stage_memory) = (Retry::default(), stage::MEMORY_BYTES);
        Ok(Self { tasks, letters, rules, generation: 0, retry, stage_memory, owner: None, store, faults })
    }

    /// Chooses how rows get to each sink. All is staged if there are several sinks that count, unless all of them are
    /// atomic, none is for dead letters, and `wanted` is false; or if the input can't be read again. A lone sink that is not
    /// atomic is staged too. Dead letters always wait: some may come when the epoch is logged already.
    pub(crate) fn choose_ways(&mut self, replayable: bool, wanted: bool) {
        let letters = self.letters;
        let exact = || self.tasks.iter().enumerate().filter(|it| !it.1.best_effort);
        let must = |(at, it): (usize, &SinkTask)| it.is_piecemeal() || letters == Some(at);
        let several = exact().count() > 1 && (wanted || exact().any(must));
        let all = several || !replayable;
        for (at, task) in self.tasks.iter_mut().enumerate() {
            let (staging, for_letters) = (task.sink.staging(), letters == Some(at));
            let piecemeal = task.is_piecemeal() && staging == Staging::Rows;
            let collect = staging == Staging::Rows || (staging == Staging::None && all);
            task.way = match task.best_effort {
                true => Way { collect: for_letters, staged: false },
                false => Way { collect: collect || for_letters, staged: all || piecemeal },
            };
        }
    }

    fn is_for_letters(&self, at: usize) -> bool {
        self.letters == Some(at)
    }

    /// The sinks that an epoch waits for.
    pub(crate) fn exact(&self) -> Vec<Arc<str>> {
        self.tasks.iter().filter(|it| !it.best_effort).map(|it| it.name.clone()).collect()
    }

    /// Fences older writers and asks what each sink has committed.
    pub(crate) async fn open(&mut self, query_id: &QueryId) -> Result<Vec<SinkStands>> {
        let mut stands = Vec::with_capacity(self.tasks.len());
        for task in &mut self.tasks {
            let writer = WriterId { query_id: query_id.clone(), sink: task.name.clone(), shard: None };
            let mut n = 0;
            let committed = loop {
                n += 1;
                let shared = || Error::internal(format!("sink {} is in use", task.name));
                match Arc::get_mut(&mut task.sink).ok_or_else(shared)?.open(&writer).await {
                    Ok(committed) => break committed,
                    Err(error) if task.best_effort => {
                        tracing::warn!(sink = %task.name, %error, "a best-effort sink can't be opened");
                        break None;
                    }
                    Err(error) if error.kind() == ErrorKind::Transient && self.retry.wait(n).await => {
                        tracing::warn!(sink = %task.name, %error, "a sink can't be opened for now");
                    }
                    Err(e) => return Err(e.within(about(&task.name))),
                }
            };
            stands.push(SinkStands { name: task.name.clone(), best_effort: task.best_effort, committed });
        }
        Ok(stands)
    }

    /// Asks all sinks whether they could take back what they show after epoch `through`, before any of them does.
    pub(crate) async fn check_restore(&self, through: Option<u64>) -> Result<()> {
        for task in self.tasks.iter().filter(|it| !it.best_effort) {
            let mut n = 0;
            loop {
                n += 1;
                match task.sink.check_restore(through).await {
                    Ok(()) => break,
                    Err(error) if error.kind() == ErrorKind::Transient && self.retry.wait(n).await => {
                        tracing::warn!(sink = %task.name, %error, "a sink can't say for now whether it can take back its rows");
                    }
                    Err(e) => return Err(e.within(about(&task.name))),
                }
            }
        }
        Ok(())
    }

    /// Has the sinks take back what they show after epoch `through`; returns those that can't.
    pub(crate) async fn restore(&mut self, through: Option<u64>) -> Result<Vec<Arc<str>>> {
        let mut unable = Vec::new();
        for task in self.tasks.iter_mut().filter(|it| !it.best_effort) {
            let mut n = 0;
            let restored = loop {
                n += 1;
                let shared = || Error::internal(format!("sink {} is in use", task.name));
                match Arc::get_mut(&mut task.sink).ok_or_else(shared)?.restore(through).await {
                    Ok(restored) => break restored,
                    Err(error) if error.kind() == ErrorKind::Transient && self.retry.wait(n).await => {
                        tracing::warn!(sink = %task.name, %error, "a sink can't take back its rows for now");
                    }
                    Err(e) => return Err(e.within(about(&task.name))),
                }
            };
            if !restored {
                unable.push(task.name.clone());
            }
        }
        Ok(unable)
    }

    /// What becomes of the rows that each sink shows, after going back.
    pub(crate) fn outcomes(&self, keep: bool, not_restored: &[Arc<str>]) -> Vec<(Arc<str>, SinkOutcome)> {
        let outcome = |it: &SinkTask| match it.sink.guarantee() {
            _ if keep => SinkOutcome::Kept,
            _ if it.best_effort => SinkOutcome::BestEffort,
            _ if !not_restored.contains(&it.name) => SinkOutcome::TakenBack,
            Guarantee::Idempotent => SinkOutcome::Overwritten,
            _ => SinkOutcome::Twice,
        };
        self.tasks.iter().map(|it| (it.name.clone(), outcome(it))).collect()
    }

    /// What each sink does in the background, between epochs.
    pub(crate) fn maintenance(&self, budget: Duration) -> impl Future<Output = ()> + Send + use<> {
        let sinks: Vec<_> = self.tasks.iter().map(|it| (it.name.clone(), it.sink.clone())).collect();
        async move {
            for (name, sink) in sinks {
                if let Err(error) = sink.maintain(budget).await {
                    tracing::warn!(sink = %name, %error, "a sink's maintenance failed");
                }
            }
        }
    }

    pub(crate) fn reports(&self) -> Vec<SinkReport> {
        let report = |(at, it): (usize, &SinkTask)| SinkReport {
            description: format!("{} ({})", it.sink.describe(), it.mode),
            failures: it.failures,
            takes_letters: self.is_for_letters(at),
        };
        self.tasks.iter().enumerate().map(report).collect()
    }
}

fn about(name: &str) -> String {
    format!("sink {name}")
}

#[cfg(test)]
mod tests;
