use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use deltalake::kernel::StructType;
use tidegate_api::{AttemptId, ErrorKind};

use super::*;
use crate::entry::Header;

/// What the log does with the next write.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Written, and the reply is lost.
    LostReply,
    /// Not written, and no reply.
    LostRequest,
    /// Not written now; written when the next one has come.
    Late,
    /// A writer of this application id with this epoch is first.
    Rival(&'static str, u64),
    /// A commit that changes the table is first.
    Reshape,
}

#[derive(Default)]
struct FakeLog {
    commits: Mutex<BTreeMap<u64, Bytes>>,
    faults: Mutex<VecDeque<Fault>>,
    late: Mutex<Option<(u64, Bytes)>>,
    puts: Mutex<u32>,
}

impl FakeLog {
    fn with(faults: &[Fault]) -> Self {
        let log = Self { faults: Mutex::new(faults.iter().copied().collect()), ..Self::default() };
        log.write(0, Bytes::from_static(b"{\"protocol\":{}}"));
        log
    }

    fn write(&self, version: u64, body: Bytes) -> bool {
        let mut commits = self.commits.lock().unwrap();
        if commits.contains_key(&version) {
            return false;
        }
        commits.insert(version, body);
        true
    }

    /// How many commits hold this epoch of `q/sink`.
    fn times(&self, epoch: u64) -> usize {
        let commits = self.commits.lock().unwrap();
        let held = commits.iter().filter_map(|(v, body)| entry::read(body, *v, "q/sink").unwrap().held);
        held.filter(|it| it.epoch == epoch).count()
    }
}

#[async_trait]
impl TableLog for FakeLog {
    async fn put(&self, version: u64, body: Bytes) -> Put {
        *self.puts.lock().unwrap() += 1;
        if let Some((version, body)) = self.late.lock().unwrap().take() {
            self.write(version, body);
        }
        let fault = self.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
        let lost = || Put::Unknown(Error::transient("no reply"));
        match fault {
            Fault::None if self.write(version, body.clone()) => Put::Written,
            Fault::None => Put::Exists,
            Fault::LostReply => {
                self.write(version, body);
                lost()
            }
            Fault::LostRequest => lost(),
            Fault::Late => {
                *self.late.lock().unwrap() = Some((version, body));
                lost()
            }
            Fault::Rival(app_id, epoch) => {
                self.write(version, body_of(app_id, epoch, 9));
                Put::Exists
            }
            Fault::Reshape => {
                self.write(version, Bytes::from_static(b"{\"metaData\":{}}"));
                Put::Exists
            }
        }
    }

    async fn get(&self, version: u64) -> Result<Option<Bytes>> {
        Ok(self.commits.lock().unwrap().get(&version).cloned())
    }

    async fn confirm(&self) -> Result<()> {
        Ok(())
    }

    async fn shape(&self, version: u64) -> Result<Shape> {
        Ok(Shape {
            version,
            id: "t".to_owned(),
            reader_version: 1,
            writer_version: 2,
            features: BTreeSet::new(),
            schema: StructType::try_new([]).unwrap(),
            partition_by: Vec::new(),
            properties: BTreeMap::new(),
            log_retention: Duration::ZERO,
        })
    }
}

fn attempt(n: u32) -> AttemptId {
    AttemptId { generation: 1, n }
}

fn body_of(app_id: &str, epoch: u64, n: u32) -> Bytes {
    let header = Header { app_id, query_id: "q", epoch, attempt: attempt(n), rows: 0, now_ms: 0 };
    entry::write(&header, &[], 0).unwrap()
}

async fn run(log: &FakeLog, head: &mut Head, epoch: u64, n: u32, fits: bool) -> Result<CommitOutcome> {
    let body = move |_| Ok(body_of("q/sink", epoch, n));
    let fits = move |_| if fits { Ok(()) } else { Err(Error::config("does not fit")) };
    let held = Held { epoch, attempt: Some(attempt(n)), paths: Vec::new() };
    commit(log, head, &Request { app_id: "q/sink", held, body: &body, fits: &fits }).await
}

const DONE: CommitOutcome = CommitOutcome::Committed;

fn already(n: u32) -> CommitOutcome {
    CommitOutcome::AlreadyCommitted { attempt: Some(attempt(n)) }
}

#[tokio::test]
async fn one_write_and_nothing_else() {
    let log = FakeLog::with(&[]);
    let mut head = Head::new(0, None);
    assert_eq!(run(&log, &mut head, 5, 1, true).await.unwrap(), DONE);
    assert_eq!((head.version, *log.puts.lock().unwrap(), head.news.len()), (1, 1, 1));
    assert_eq!(run(&log, &mut head, 5, 2, true).await.unwrap(), already(1));
    assert_eq!((log.times(5), *log.puts.lock().unwrap()), (1, 1));
}

#[tokio::test]
async fn every_order_of_faults_commits_once() {
    let kinds = [Fault::None, Fault::LostReply, Fault::LostRequest, Fault::Late, Fault::Rival("x", 5), Fault::Reshape];
    let mut cases = 0;
    for first in kinds {
        for second in kinds {
            for third in kinds {
                let log = FakeLog::with(&[first, second, third]);
                let mut head = Head::new(0, None);
                let faults = [first, second, third];
                // As the engine does: the same call again while the outcome is unknown.
                let mut outcome = run(&log, &mut head, 5, 1, true).await;
                for _ in 0..3 {
                    if outcome.as_ref().is_err_and(|e| e.kind() == ErrorKind::Transient) {
                        outcome = run(&log, &mut head, 5, 1, true).await;
                    }
                }
                let outcome = outcome.unwrap_or_else(|e| panic!("{faults:?}: {e}"));
                assert!(outcome == DONE || outcome == already(1), "{faults:?}: {outcome:?}");
                assert_eq!(log.times(5), 1, "{faults:?}");
                assert_eq!(head.held.as_ref().map(|it| it.epoch), Some(5), "{faults:?}");
                // A restart finds it too, and the next epoch follows.
                let mut fresh = Head::new(0, None);
                assert_eq!(run(&log, &mut fresh, 5, 2, true).await.unwrap(), already(1), "{faults:?}");
                let next = run(&log, &mut fresh, 6, 1, true).await.unwrap();
                assert!(next == DONE || next == already(1), "{faults:?}: {next:?}");
                assert_eq!((log.times(5), log.times(6)), (1, 1), "{faults:?}");
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 216);
}

#[tokio::test]
async fn stays_unknown_if_nothing_comes_through() {
    let log = FakeLog::with(&[Fault::LostRequest; 3]);
    let mut head = Head::new(0, None);
    let error = run(&log, &mut head, 5, 1, true).await.unwrap_err();
    assert_eq!((error.kind(), log.times(5)), (ErrorKind::Transient, 0));
    assert_eq!(run(&log, &mut head, 5, 1, true).await.unwrap(), DONE);
}

#[tokio::test]
async fn a_rival_of_the_same_name() {
    // The same epoch by another attempt: its rows count. A later epoch: we are not the owner.
    let log = FakeLog::with(&[Fault::Rival("q/sink", 5)]);
    assert_eq!(run(&log, &mut Head::new(0, None), 5, 1, true).await.unwrap(), already(9));
    let log = FakeLog::with(&[Fault::Rival("q/sink", 6)]);
    let error = run(&log, &mut Head::new(0, None), 5, 1, true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("holds its epoch 6"), "{error}");
    let log = FakeLog::with(&[Fault::Rival("q/sink", 4)]);
    assert_eq!(run(&log, &mut Head::new(0, None), 5, 1, true).await.unwrap(), DONE);
}

#[tokio::test]
async fn a_changed_table_is_checked_until_it_fits() {
    let log = FakeLog::with(&[Fault::Reshape]);
    let mut head = Head::new(0, None);
    for _ in 0..2 {
        let error = run(&log, &mut head, 5, 1, false).await.unwrap_err();
        assert_eq!((error.kind(), log.times(5)), (ErrorKind::Config, 0));
    }
    assert_eq!(run(&log, &mut head, 5, 1, true).await.unwrap(), DONE);
}

#[tokio::test]
async fn other_writers_may_be_first_many_times() {
    let log = FakeLog::with(&[Fault::Rival("x", 1); 50]);
    let mut head = Head::new(0, None);
    assert_eq!(run(&log, &mut head, 5, 1, true).await.unwrap(), DONE);
    assert_eq!(head.version, 51);
    let found = find(&log, 51, "q/sink", 5, 10).await.unwrap();
    assert_eq!(found.and_then(|it| it.attempt), Some(attempt(1)));
    assert_eq!(find(&log, 50, "q/sink", 5, 10).await.unwrap(), None);
}

#[tokio::test]
async fn looking_back_stops_where_the_log_was_cleaned() {
    let log = FakeLog::with(&[]);
    let mut head = Head::new(0, None);
    for epoch in 1..=4 {
        run(&log, &mut head, epoch, 1, true).await.unwrap();
    }
    log.commits.lock().unwrap().remove(&2);
    assert!(find(&log, 4, "q/sink", 3, 10).await.unwrap().is_some());
    assert_eq!(find(&log, 4, "q/sink", 1, 10).await.unwrap(), None);
}
