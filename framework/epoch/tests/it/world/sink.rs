//! A transactional table of (window end, count), with ways to go wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use tidegate_api::{
    AttemptId, CommitOutcome, Epoch, Error, Guarantee, RecordBatch, Rejected, Result, Sink, SinkWriter, SourcePosition,
    Staging, WriterId, async_trait,
};

use super::Events;

type Rows = Vec<(i64, i64)>;

/// What the table holds, shared with the test.
#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    shown: Vec<(u64, AttemptId, Rows)>,
    staged: BTreeMap<(u64, AttemptId), Rows>,
    aborted: Vec<(u64, AttemptId)>,
    commits: u32,
    /// Commits that fail before they do anything.
    lost_requests: u32,
    /// Commits that work, but say that they failed.
    lost_answers: u32,
    failed_prepares: u32,
    forgets: bool,
    broken: bool,
    best_effort: bool,
    rejects: bool,
    /// Rows whose first number is a multiple of this are rejected, unless it is 0.
    rejects_multiples: i64,
    /// Any batch with such a row is refused whole.
    refuses_whole: bool,
    /// A writer of an epoch that it shows takes no rows and rejects none; it says so, or not.
    drops_shown: Option<bool>,
    staging: Option<Staging>,
    /// Each epoch is written over what is there, and the sink can't tell which it has.
    piecemeal: bool,
    opens: u32,
    /// It can take back what it shows.
    restores: bool,
    failed_restores: u32,
    refuses_restores: bool,
    /// Of a piecemeal sink: every write.
    writes: Vec<(u64, AttemptId, Rows)>,
}

impl Store {
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    /// All rows, in the order of commits.
    pub(crate) fn rows(&self) -> Rows {
        self.with(|it| it.shown.iter().flat_map(|(_, _, rows)| rows.clone()).collect())
    }

    pub(crate) fn attempts(&self) -> Vec<(u64, String)> {
        self.with(|it| it.shown.iter().map(|(epoch, attempt, _)| (*epoch, attempt.to_string())).collect())
    }

    pub(crate) fn aborted(&self) -> Vec<(u64, String)> {
        self.with(|it| it.aborted.iter().map(|(epoch, attempt)| (*epoch, attempt.to_string())).collect())
    }

    pub(crate) fn commits(&self) -> u32 {
        self.with(|it| it.commits)
    }

    pub(crate) fn lose_requests(&self, times: u32) {
        self.with(|it| it.lost_requests = times);
    }

    pub(crate) fn lose_answers(&self, times: u32) {
        self.with(|it| it.lost_answers = times);
    }

    pub(crate) fn fail_prepares(&self, times: u32) {
        self.with(|it| it.failed_prepares = times);
    }

    /// From now on the sink takes every epoch as new.
    pub(crate) fn forget_epochs(&self) {
        self.with(|it| it.forgets = true);
    }

    pub(crate) fn break_down(&self) {
        self.with(|it| it.broken = true);
    }

    pub(crate) fn reject_rows(&self) {
        self.with(|it| it.rejects = true);
    }

    pub(crate) fn reject_multiples(&self, of: i64) {
        self.with(|it| it.rejects_multiples = of);
    }

    pub(crate) fn refuse_whole(&self) {
        self.with(|it| it.refuses_whole = true);
    }

    /// Rows of an epoch that it shows are dropped, and it says so, or not.
    pub(crate) fn drop_shown(&self, says_so: bool) {
        self.with(|it| it.drops_shown = Some(says_so));
    }

    pub(crate) fn make_best_effort(&self) {
        self.with(|it| it.best_effort = true);
    }

    pub(crate) fn opens(&self) -> u32 {
        self.with(|it| it.opens)
    }

    /// From now on it takes back what it is asked to.
    pub(crate) fn can_restore(&self) {
        self.with(|it| it.restores = true);
    }

    /// Something stands in the way, and it says so before.
    pub(crate) fn refuse_restores(&self, refuse: bool) {
        self.with(|it| it.refuses_restores = refuse);
    }

    pub(crate) fn fail_restores(&self, times: u32) {
        self.with(|it| it.failed_restores = times);
    }

    pub(crate) fn with_staging(self, staging: Staging) -> Self {
        self.with(|it| it.staging = Some(staging));
        self
    }

    /// A sink that writes in one step, may stop in the middle of it, and can't tell what it has.
    pub(crate) fn piecemeal() -> Self {
        let store = Self::default().with_staging(Staging::Rows);
        store.with(|it| it.piecemeal = true);
        store
    }

    pub(crate) fn writes(&self) -> Vec<(u64, String, Rows)> {
        self.with(|it| {
            it.writes.iter().map(|(epoch, attempt, rows)| (*epoch, attempt.to_string(), rows.clone())).collect()
        })
    }

    pub(crate) fn is_best_effort(&self) -> bool {
        self.with(|it| it.best_effort)
    }

    /// As if this epoch had been committed by that attempt.
    pub(crate) fn pretend(&self, epoch: u64, attempt: &str) {
        self.pretend_rows(epoch, attempt, &[]);
    }

    pub(crate) fn pretend_rows(&self, epoch: u64, attempt: &str, rows: &[(i64, i64)]) {
        self.with(|it| it.shown.push((epoch, attempt.parse().unwrap(), rows.to_vec())));
    }
}

pub(crate) struct Table {
    name: &'static str,
    store: Store,
    events: Events,
}

impl Table {
    pub(crate) fn new(name: &'static str, store: Store, events: Events) -> Self {
        Self { name, store, events }
    }

    pub(crate) fn for_letters(store: Store, events: Events) -> Self {
        Self { name: tidegate_epoch::DEAD_LETTERS, store, events }
    }
}

#[async_trait]
impl Sink for Table {
    type Committable = (u64, AttemptId);
    type Writer = TableWriter;

    fn guarantee(&self) -> Guarantee {
        if self.store.with(|it| it.piecemeal) { Guarantee::Idempotent } else { Guarantee::Transactional }
    }

    fn staging(&self) -> Staging {
        self.store.with(|it| it.staging).unwrap_or(Staging::None)
    }

    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        assert!(writer.to_string().ends_with(&format!("/{}", self.name)), "{writer}");
        if self.store.with(|it| it.broken) {
            return Err(Error::config("the table is broken"));
        }
        Ok(self.store.with(|it| {
            it.opens += 1;
            if it.staging != Some(Staging::Committable) {
                it.staged.clear();
            }
            it.shown.last().filter(|_| !it.forgets && !it.piecemeal).map(|(epoch, attempt, _)| (*epoch, *attempt))
        }))
    }

    async fn writer(&self, epoch: &Epoch, _task: u32) -> Result<TableWriter> {
        Ok(TableWriter {
            key: (epoch.number, epoch.attempt),
            letters: self.name == tidegate_epoch::DEAD_LETTERS,
            shown: self.store.with(|it| {
                it.drops_shown.is_some() && !it.piecemeal && it.shown.iter().any(|(number, ..)| *number == epoch.number)
            }),
            rows: Vec::new(),
            store: self.store.clone(),
            events: self.events.clone(),
        })
    }

    async fn commit(
        &self,
        epoch: &Epoch,
        parts: Vec<(u64, AttemptId)>,
        positions: &[SourcePosition],
    ) -> Result<CommitOutcome> {
        assert!(!positions.is_empty());
        self.events.note(&format!("commit {}", self.name), epoch.number);
        self.store.with(|it| {
            it.commits += 1;
            if it.broken {
                return Err(Error::config("the table is broken"));
            }
            if it.lost_requests > 0 {
                it.lost_requests -= 1;
                return Err(Error::transient("the request was lost"));
            }
            if it.piecemeal {
                let rows: Rows = parts.iter().flat_map(|key| it.staged.remove(key).expect("prepared")).collect();
                it.writes.push((epoch.number, epoch.attempt, rows.clone()));
                it.shown.retain(|(number, ..)| *number != epoch.number);
                it.shown.push((epoch.number, epoch.attempt, rows));
                return Ok(CommitOutcome::Committed);
            }
            let shown = it.shown.iter().find(|(number, ..)| *number == epoch.number).filter(|_| !it.forgets);
            if let Some((_, attempt, _)) = shown {
                return Ok(CommitOutcome::AlreadyCommitted { attempt: Some(*attempt) });
            }
            let rows: Rows = parts.iter().flat_map(|key| it.staged.remove(key).expect("staged")).collect();
            it.shown.push((epoch.number, epoch.attempt, rows));
            if it.lost_answers > 0 {
                it.lost_answers -= 1;
                return Err(Error::transient("the answer was lost"));
            }
            Ok(CommitOutcome::Committed)
        })
    }

    async fn check_restore(&self, _through: Option<u64>) -> Result<()> {
        match self.store.with(|it| it.refuses_restores) {
            true => Err(Error::config("rows were changed by others")),
            false => Ok(()),
        }
    }

    async fn restore(&mut self, through: Option<u64>) -> Result<bool> {
        self.store.with(|it| {
            if it.failed_restores > 0 {
                it.failed_restores -= 1;
                return Err(Error::config("the table is locked"));
            }
            if it.restores {
                it.shown.retain(|(epoch, ..)| through.is_some_and(|last| *epoch <= last));
            }
            Ok(it.restores)
        })
    }

    async fn abort(&self, epoch: &Epoch, parts: Vec<(u64, AttemptId)>) -> Result<()> {
        self.store.with(|it| {
            it.aborted.push((epoch.number, epoch.attempt));
            parts.iter().for_each(|key| {
                it.staged.remove(key);
            });
        });
        Ok(())
    }

    fn describe(&self) -> String {
        format!("table {}", self.name)
    }
}

pub(crate) struct TableWriter {
    key: (u64, AttemptId),
    letters: bool,
    /// The epoch is there already.
    shown: bool,
    rows: Rows,
    store: Store,
    events: Events,
}

#[async_trait]
impl SinkWriter for TableWriter {
    type Committable = (u64, AttemptId);

    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        if self.store.with(|it| it.rejects) {
            return Ok(vec![Rejected { row: 0, error: Error::data("too odd") }]);
        }
        if self.shown {
            return Ok(Vec::new());
        }
        if self.letters {
            self.rows.extend(super::letters::rows_of(&batch));
            return Ok(Vec::new());
        }
        let (ends, counts) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
        let (of, whole) = self.store.with(|it| (it.rejects_multiples, it.refuses_whole));
        let odd = |at: usize| of != 0 && ends.value(at) % of == 0;
        if whole && (0..batch.num_rows()).any(odd) {
            return Err(Error::data("one of them is too odd"));
        }
        let taken = (0..batch.num_rows()).filter(|at| !odd(*at));
        self.rows.extend(taken.map(|at| (ends.value(at), counts.value(at))));
        let reject = |row| Rejected { row, error: Error::data("too odd") };
        Ok((0..batch.num_rows()).filter(|at| odd(*at)).map(reject).collect())
    }

    fn is_shown(&self) -> bool {
        self.shown && self.store.with(|it| it.drops_shown) == Some(true)
    }

    async fn prepare(self) -> Result<(u64, AttemptId)> {
        self.events.note("prepare", self.key.0);
        self.store.with(|it| {
            if it.failed_prepares > 0 {
                it.failed_prepares -= 1;
                return Err(Error::transient("the disk is full"));
            }
            it.staged.insert(self.key, self.rows);
            Ok(self.key)
        })
    }
}
