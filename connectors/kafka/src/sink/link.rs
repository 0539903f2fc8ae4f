//! `Link`: one writer's connection to the cluster, and the transaction that is open on it. All its calls block; one
//! thread makes them.
//!
//! A commit whose outcome is unknown is never guessed at: the producer is dropped, and the next call begins as a new
//! process would, with `connect`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode;
use tidegate_api::{AttemptId, CommitOutcome, Error, ErrorKind, Rejected, Result, fault};
use tokio_util::sync::CancellationToken;

use crate::settings::Writing;

use super::layout::{Record, Records};
use super::markers::{self, Marker, Place};
use super::producer::{Producer, Trouble};

/// Records between two looks at what has arrived.
const SERVE: usize = 512;
/// A producer that can't abort for this long is dropped; its successor does it.
const MOST_FOR_ABORT: Duration = Duration::from_secs(5);

/// What a link needs to know; fixed when the sink is opened.
pub(crate) struct Setup {
    pub(crate) writing: Arc<Writing>,
    /// The writer's id: its transactional id, and the key of its markers.
    pub(crate) writer: String,
    /// Where the markers are. None: at least once, without transactions.
    pub(crate) place: Option<Place>,
    /// Other transactional ids that the checkpoint has used.
    pub(crate) former: Vec<String>,
    pub(crate) transaction_timeout: Duration,
    pub(crate) markers_timeout: Duration,
    /// The query stops: nothing new is waited for.
    pub(crate) cancel: CancellationToken,
    /// Nobody waits for an answer any more.
    pub(crate) stop: CancellationToken,
}

/// See the module.
pub(crate) struct Link {
    setup: Setup,
    producer: Option<Producer>,
    open: Option<Open>,
    /// The last epoch that is known to be committed.
    last: Option<(u64, AttemptId)>,
    fenced: Option<String>,
    serial: u64,
    /// Of an attempt that the brokers broke since they refused a record of it.
    broken: Option<Broken>,
}

/// The rows of an epoch on their way.
struct Open {
    serial: u64,
    epoch: u64,
    attempt: AttemptId,
    tasks: BTreeSet<u32>,
    /// Rows that came, taken or not.
    rows: usize,
    /// When the transaction began; not before the first row.
    since: Option<Instant>,
}

/// An attempt in which brokers refused records. It is tried again with each record sent alone, until it is known which
/// those are, and then without them.
struct Broken {
    epoch: u64,
    attempt: AttemptId,
    /// The numbers of the records, as far as they are known.
    refused: BTreeMap<usize, RDKafkaErrorCode>,
}

/// What a writer writes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ticket {
    /// The transaction of this number.
    Transaction(u64),
    /// The epoch is committed: its rows are dropped.
    Committed,
}

impl Link {
    pub(crate) fn new(setup: Setup) -> Self {
        Self { setup, producer: None, open: None, last: None, fenced: None, serial: 0, broken: None }
    }

    /// True if a producer has to be made before anything else: then ownership is checked first.
    pub(crate) fn is_down(&self) -> bool {
        self.producer.is_none()
    }

    /// Takes reports, between calls.
    pub(crate) fn idle(&self) {
        if let Some(producer) = &self.producer {
            producer.serve();
        }
    }

    /// Makes a producer, which fences all others of this writer and ends their transactions, and only then reads what
    /// was committed last.
    pub(crate) fn connect(&mut self) -> Result<Option<(u64, AttemptId)>> {
        self.not_fenced()?;
        (self.producer, self.open) = (None, None);
        let Some(place) = &self.setup.place else {
            self.producer = Some(self.new_producer(None)?);
            return Ok(None);
        };
        fault::hit("kafka.init")?;
        for id in &self.setup.former {
            let former = self.new_producer(Some(id))?;
            former.init(self.deadline(), &self.setup.cancel).map_err(plain)?;
        }
        let producer = self.new_producer(Some(&self.setup.writer))?;
        producer.init(self.deadline(), &self.setup.cancel).map_err(plain)?;
        fault::hit("kafka.fenced")?;
        let Setup { writing, writer, markers_timeout, cancel, .. } = &self.setup;
        let found = markers::last(writing, place, writer, *markers_timeout, cancel)?;
        if let Some(Marker { epoch, attempt, .. }) = found
            && self.last.is_none_or(|(last, _)| epoch >= last)
        {
            self.last = Some((epoch, attempt));
        }
        self.producer = Some(producer);
        Ok(self.last)
    }

    /// A place for the rows of a task. Another attempt, or a task that begins anew, aborts what is open. Nothing if a
    /// producer has to be made first.
    pub(crate) fn begin(&mut self, epoch: u64, attempt: AttemptId, task: u32) -> Result<Option<Ticket>> {
        self.not_fenced()?;
        if self.committed(epoch, attempt)?.is_some() {
            return Ok(Some(Ticket::Committed));
        }
        if let Some(open) = &mut self.open {
            if open.epoch == epoch && open.attempt == attempt && open.tasks.insert(task) {
                return Ok(Some(Ticket::Transaction(open.serial)));
            }
            self.abort()?;
        }
        if self.broken.take_if(|it| (it.epoch, it.attempt) != (epoch, attempt)).is_some() {
            // Its producer sends each record alone.
            self.producer = None;
        }
        if self.is_down() {
            return Ok(None);
        }
        self.serial += 1;
        let serial = self.serial;
        self.open = Some(Open { serial, epoch, attempt, tasks: [task].into(), rows: 0, since: None });
        Ok(Some(Ticket::Transaction(serial)))
    }

    /// Produces records. Those that can't be records are given back; after any error the transaction is gone.
    pub(crate) fn write(&mut self, serial: u64, records: &Records) -> Result<Vec<Rejected>> {
        self.is_open(serial)?;
        let written = self.produce(records);
        written.map_err(|trouble| self.fail(trouble))
    }

    /// Waits until all records have arrived.
    pub(crate) fn flush(&mut self, serial: u64) -> Result<()> {
        self.is_open(serial)?;
        let flushed = self.flushed();
        flushed.map_err(|trouble| self.fail(trouble))
    }

    /// Writes the marker and commits. `parts`: the transaction and the rows of each task.
    pub(crate) fn commit(&mut self, epoch: u64, attempt: AttemptId, parts: &[(Ticket, u64)]) -> Result<CommitOutcome> {
        self.not_fenced()?;
        if let Some(by) = self.committed(epoch, attempt)? {
            return Ok(CommitOutcome::AlreadyCommitted { attempt: by });
        }
        let rows: u64 = parts.iter().map(|(_, rows)| rows).sum();
        let here = |open: &Open| {
            let all = |serial| parts.iter().all(|(ticket, _)| *ticket == Ticket::Transaction(serial));
            (open.epoch, open.attempt) == (epoch, attempt) && open.since.is_some() && all(open.serial)
        };
        let here = self.open.as_ref().is_some_and(here);
        match (self.setup.place.is_some(), here) {
            (true, true) => {
                let done = self.commit_open(Marker { epoch, attempt, rows });
                done.map_err(|trouble| self.fail_commit(trouble))?;
                self.part_if_disturbed();
            }
            (true, false) if rows > 0 => {
                let text = format!("the {rows} rows of epoch {epoch} are in no open transaction: they must come again");
                return Err(Error::transient(self.about(&text)));
            }
            // An epoch without rows leaves no trace: nothing of it can come twice.
            (true, false) => self.abort()?,
            (false, _) => {}
        }
        (self.open, self.last) = (None, Some((epoch, attempt)));
        fault::hit("kafka.committed")?;
        Ok(CommitOutcome::Committed)
    }

    /// Aborts what is open, if it is this attempt at this epoch.
    pub(crate) fn abort_epoch(&mut self, epoch: u64, attempt: AttemptId) -> Result<()> {
        let ours = self.open.as_ref().is_some_and(|it| it.epoch == epoch && it.attempt == attempt);
        if ours { self.abort() } else { Ok(()) }
    }

    /// Ends well: readers need not wait for the brokers to find out.
    pub(crate) fn close(mut self) {
        if self.open.is_some()
            && self.fenced.is_none()
            && self.setup.place.is_some()
            && let Err(error) = self.abort()
        {
            tracing::debug!(%error, "an open kafka transaction is left to time out");
        }
    }

    /// The attempt that committed this epoch or a later one. `Fenced` if that was a newer owner's.
    fn committed(&mut self, epoch: u64, attempt: AttemptId) -> Result<Option<Option<AttemptId>>> {
        let Some((last, by)) = self.last.filter(|(last, _)| *last >= epoch) else { return Ok(None) };
        if last > epoch && by.generation > attempt.generation {
            let text = format!("epoch {last} was committed by attempt {by}, a newer owner than that of {attempt}");
            self.fenced = Some(text.clone());
            return Err(Error::fenced(self.about(&text)));
        }
        Ok(Some((last == epoch).then_some(by)))
    }

    /// What a writer of an aborted transaction does must not touch the one that came after it.
    fn is_open(&self, serial: u64) -> Result<()> {
        self.not_fenced()?;
        let open = self.producer.is_some() && self.open.as_ref().is_some_and(|it| it.serial == serial);
        if open { Ok(()) } else { Err(Error::transient(self.about("rows for a transaction that was aborted"))) }
    }

    fn produce(&mut self, records: &Records) -> Result<Vec<Rejected>, Trouble> {
        let (transactional, patience) = (self.setup.place.is_some(), self.patience());
        let (Some(producer), Some(open)) = (&self.producer, &mut self.open) else { return Ok(Vec::new()) };
        let refused_before = |number: usize| self.broken.as_ref().and_then(|it| it.refused.get(&number)).copied();
        let mut rejected = Vec::new();
        for row in 0..records.len() {
            if open.since.is_none() {
                if transactional {
                    producer.begin()?;
                }
                open.since = Some(Instant::now());
            }
            if row == records.len() / 2 {
                fault::hit("kafka.produce").map_err(Trouble::Other)?;
            }
            let number = open.rows;
            open.rows += 1;
            let error = match records.get(row) {
                Ok(record) => {
                    let topic = record.topic;
                    let code = match refused_before(number) {
                        None => producer.send(record, Some(number))?,
                        before => before,
                    };
                    code.map(|code| refused(row, topic, code))
                }
                Err(error) => Some(error),
            };
            rejected.extend(error.map(|error| Rejected { row, error }));
            if row % SERVE == SERVE - 1 {
                producer.serve();
                producer.pace(patience)?;
                if producer.failure().is_some() {
                    return Err(producer.broken("records do not arrive"));
                }
            }
        }
        Ok(rejected)
    }

    fn flushed(&self) -> Result<(), Trouble> {
        let (Some(producer), Some(Open { since: Some(_), .. })) = (&self.producer, &self.open) else { return Ok(()) };
        producer.flush(self.deadline())?;
        if producer.failure().is_some() {
            return Err(producer.broken("records did not arrive"));
        }
        fault::hit("kafka.flush").map_err(Trouble::Other)
    }

    /// Errors of `Before` leave nothing behind; those of `Unknown` may.
    fn commit_open(&self, marker: Marker) -> Result<(), Commit> {
        let lost = || Commit::Before(Trouble::Other(Error::internal("a kafka transaction without a producer")));
        let (Some(producer), Some(place)) = (&self.producer, &self.setup.place) else { return Err(lost()) };
        let json = serde_json::to_vec(&marker).map_err(|e| Error::internal("a marker").because(e));
        let json = json.map_err(|e| Commit::Before(Trouble::Other(e)))?;
        let record = Record {
            topic: &place.topic,
            partition: Some(place.partition),
            key: Some(self.setup.writer.as_bytes()),
            value: Some(&json),
            headers: None,
        };
        if let Some(code) = producer.send(record, None).map_err(Commit::Before)? {
            let error = Error::config(self.about(&format!("a marker is refused by topic '{}': {code}", place.topic)));
            return Err(Commit::Before(Trouble::Other(error)));
        }
        producer.flush(self.deadline()).map_err(Commit::Before)?;
        if producer.failure().is_some() {
            return Err(Commit::Before(producer.broken("records did not arrive")));
        }
        fault::hit("kafka.commit").map_err(|e| Commit::Before(Trouble::Other(e)))?;
        producer.commit(self.deadline()).map_err(Commit::Unknown)
    }

    /// Aborts what is open; the next transaction begins on the same producer.
    fn abort(&mut self) -> Result<()> {
        let Some(Open { since: Some(_), .. }) = self.open else {
            self.open = None;
            return Ok(());
        };
        let (Some(producer), true) = (&self.producer, self.setup.place.is_some()) else {
            self.open = None;
            return Ok(());
        };
        let deadline = Instant::now() + MOST_FOR_ABORT.min(self.setup.transaction_timeout / 2);
        match producer.abort(deadline) {
            Ok(()) => {
                self.open = None;
                self.part_if_disturbed();
                Ok(())
            }
            Err(trouble) => Err(self.down(trouble)),
        }
    }

    /// A second copy of the request that has ended a transaction would end the next one half way, since both have the
    /// same number at the brokers. A new producer has another number.
    fn part_if_disturbed(&mut self) {
        self.producer.take_if(|it| it.is_disturbed());
    }

    /// After an error while rows are written: aborts at once, so that readers don't wait. The producer is not used
    /// again: after records that were refused, librdkafka goes on with the numbers behind theirs, and the brokers
    /// refuse what comes next.
    fn fail(&mut self, trouble: Trouble) -> Error {
        let error = match trouble {
            Trouble::Refused(error) => self.without_refused(error),
            Trouble::Other(error) => error,
            fenced @ Trouble::Fenced(_) => return self.down(fenced),
        };
        if let Some(producer) = self.producer.as_ref().filter(|_| self.setup.place.is_none()) {
            producer.forget_failure();
            self.open = None;
            self.producer.take_if(|it| it.is_dead());
            return error;
        }
        let aborted = if self.producer.as_ref().is_some_and(Producer::is_dead) { Ok(()) } else { self.abort() };
        (self.producer, self.open) = (None, None);
        match aborted {
            // Why it broke is told, unless somebody else has taken over.
            Err(second) if second.kind() == ErrorKind::Fenced => second,
            Err(second) => {
                tracing::debug!(%second, "a kafka transaction can't be aborted");
                error
            }
            Ok(()) => error,
        }
    }

    /// Remembers what the brokers refused, so that the next try does without it: the whole step comes again.
    fn without_refused(&mut self, error: Error) -> Error {
        let (Some(producer), Some(open), Some(_)) = (&self.producer, &self.open, &self.setup.place) else {
            return error;
        };
        let (epoch, attempt) = (open.epoch, open.attempt);
        match &mut self.broken {
            None => {
                self.broken = Some(Broken { epoch, attempt, refused: BTreeMap::new() });
                let text = format!("epoch {epoch} is written again, each record by itself, to find it");
                Error::transient(self.about(&text)).because(error)
            }
            Some(broken) => {
                broken.refused.extend(producer.refused());
                let count = broken.refused.len();
                Error::transient(self.about(&format!("epoch {epoch} is written again without {count} records")))
                    .because(error)
            }
        }
    }

    fn fail_commit(&mut self, trouble: Commit) -> Error {
        match trouble {
            Commit::Before(trouble) => self.fail(trouble),
            Commit::Unknown(trouble) => self.down(trouble),
        }
    }

    /// The producer is of no use any more.
    fn down(&mut self, trouble: Trouble) -> Error {
        let since = self.open.take().and_then(|it| it.since);
        self.producer = None;
        match trouble {
            Trouble::Other(error) | Trouble::Refused(error) => error,
            // The brokers fence a producer too whose transaction has lasted too long: nobody has taken over then.
            Trouble::Fenced(text) if since.is_some_and(|it| it.elapsed() >= self.setup.transaction_timeout) => {
                let timeout = self.setup.transaction_timeout;
                Error::transient(format!("{text}: the transaction was open for longer than {timeout:?}"))
            }
            Trouble::Fenced(text) => {
                self.fenced = Some(text.clone());
                Error::fenced(text)
            }
        }
    }

    fn new_producer(&self, id: Option<&str>) -> Result<Producer> {
        let Setup { writing, transaction_timeout, stop, .. } = &self.setup;
        let config = writing.producer(id, *transaction_timeout, self.broken.is_some());
        Producer::new(&config, &writing.servers, stop)
    }

    /// A fenced producer never comes back: another one has its id.
    fn not_fenced(&self) -> Result<()> {
        self.fenced.as_ref().map_or(Ok(()), |text| Err(Error::fenced(text.clone())))
    }

    /// Each call ends well before the brokers would abort the transaction.
    fn deadline(&self) -> Instant {
        Instant::now() + self.patience()
    }

    fn patience(&self) -> Duration {
        self.setup.transaction_timeout / 2
    }

    fn about(&self, what: &str) -> String {
        format!("kafka at {}: {what}", self.setup.writing.servers)
    }
}

/// Where a commit failed.
enum Commit {
    /// Before it was asked for.
    Before(Trouble),
    /// After: its outcome is unknown.
    Unknown(Trouble),
}

fn plain(trouble: Trouble) -> Error {
    match trouble {
        Trouble::Other(error) | Trouble::Refused(error) => error,
        Trouble::Fenced(text) => Error::fenced(text),
    }
}

fn refused(row: usize, topic: &str, code: RDKafkaErrorCode) -> Error {
    Error::data(format!("row {row} for kafka: topic '{topic}' does not take it: {code}"))
}
