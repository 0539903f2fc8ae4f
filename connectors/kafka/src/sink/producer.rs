//! The producer: what it tells on the side, and its blocking calls in slices, so that a query that stops waits for none.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use tidegate_api::{Error, Result};
use tidegate_kafka_ffi::send_now;
use tokio_util::sync::CancellationToken;

use crate::client::ClientEvents;

use super::layout::Record;

/// Longest wait inside librdkafka between two looks at the clock and at whether the query stops.
const SLICE: Duration = Duration::from_millis(500);
/// How long records get to arrive between two looks at the reports: the least that the client can wait.
const STEP: Duration = Duration::from_millis(1);
/// Records and bytes of a round: so many are handed over, then all of them have to arrive. An idempotent client has
/// one request per partition under way, and while what waits behind it has lingered, its thread spins until the answer
/// comes, which is long where brokers are busy. A round is a request or two for each partition.
const ROUND: (usize, usize) = (32_768, 4 << 20);

/// A record that did not arrive.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Its number in the epoch; none for the marker.
    pub(crate) row: Option<usize>,
    pub(crate) topic: String,
    pub(crate) code: RDKafkaErrorCode,
}

/// Listens to one producer.
#[derive(Default)]
pub(crate) struct Events {
    client: ClientEvents,
    failed: Mutex<Option<Failure>>,
    /// All records that the brokers refused for what they are, by number.
    refused: Mutex<BTreeMap<usize, RDKafkaErrorCode>>,
    disturbed: AtomicBool,
}

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.client.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.disturbed.store(true, Ordering::Relaxed);
        self.client.error(error, reason);
    }
}

impl ProducerContext for Events {
    /// The record's number in the epoch, plus one; zero is the marker.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let Err((error, message)) = result else { return };
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        // What is thrown away once a transaction is broken says nothing about why.
        if let Some(row) = number.checked_sub(1).filter(|_| is_refusal(code)) {
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(row, code);
        }
        let consequence = matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight);
        if failed.is_none() && !consequence {
            *failed = Some(Failure { row: number.checked_sub(1), topic: message.topic().to_owned(), code });
        }
    }
}

/// Why a call did not work.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another producer has the same transactional id, or the brokers gave up the transaction.
    Fenced(String),
    /// The brokers refuse a record of the epoch, or one sent with it: nothing is wrong but the record.
    Refused(Error),
    /// Anything else.
    Other(Error),
}

/// One client that writes.
pub(crate) struct Producer {
    native: BaseProducer<Events>,
    servers: String,
    stop: CancellationToken,
    /// Records and bytes handed over since all had arrived.
    round: Cell<(usize, usize)>,
}

impl Producer {
    /// Connects to nothing yet.
    pub(crate) fn new(config: &ClientConfig, servers: &str, stop: &CancellationToken) -> Result<Self> {
        let native = BaseProducer::from_config_and_context(config, Events::default());
        let native = native.map_err(|e| client_error("producer", servers, e))?;
        Ok(Self { native, servers: servers.to_owned(), stop: stop.clone(), round: Cell::default() })
    }

    /// Fences all other producers with this transactional id, and finishes or aborts their transactions.
    pub(crate) fn init(&self, deadline: Instant, cancel: &CancellationToken) -> Result<(), Trouble> {
        self.sliced("the transactional id is not ready", deadline, |it| {
            let done = it.init_transactions(SLICE);
            if done.is_err() && cancel.is_cancelled() { Err(KafkaError::Canceled) } else { done }
        })
    }

    /// Begins a transaction; asks nobody.
    pub(crate) fn begin(&self) -> Result<(), Trouble> {
        self.native.begin_transaction().map_err(|e| self.trouble("no transaction begins", &e))
    }

    /// Commits. After an error other than `Fenced` it may have worked all the same.
    pub(crate) fn commit(&self, deadline: Instant) -> Result<(), Trouble> {
        self.sliced("it is unknown whether the transaction was committed", deadline, |it| it.commit_transaction(SLICE))
    }

    /// Aborts.
    pub(crate) fn abort(&self, deadline: Instant) -> Result<(), Trouble> {
        let done = self.sliced("the transaction is not aborted", deadline, |it| {
            // Reports about records that are thrown away have to be taken, or the call waits for them.
            it.poll(Duration::ZERO);
            it.abort_transaction(SLICE)
        });
        self.forget_failure();
        done
    }

    /// Waits until all records have arrived, or one has not.
    pub(crate) fn flush(&self, deadline: Instant) -> Result<(), Trouble> {
        self.sliced("records are not acknowledged", deadline, |it| {
            // In short steps: the client's own flush, and a long poll, go on for their whole time when all has arrived.
            // A short poll is no wait at all: what is left of its time is cut to whole milliseconds, and it spins.
            let until = Instant::now() + SLICE;
            self.serve_all();
            while it.in_flight_count() > 0 && self.failure().is_none() {
                if Instant::now() >= until {
                    return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
                }
                self.wait();
            }
            // What failed is looked at by the caller.
            self.round.take();
            Ok(())
        })
    }

    /// Waits as `flush` does, at the end of a round.
    pub(crate) fn pace(&self, patience: Duration) -> Result<(), Trouble> {
        let (records, bytes) = self.round.get();
        if records < ROUND.0 && bytes < ROUND.1 { Ok(()) } else { self.flush(Instant::now() + patience) }
    }

    /// Hands a record over; waits while the queue is full. `number` is its number in the epoch, none for the marker.
    /// Nothing if it was taken, the code if the record itself is refused.
    pub(crate) fn send(&self, record: Record<'_>, number: Option<usize>) -> Result<Option<RDKafkaErrorCode>, Trouble> {
        let mut message = BaseRecord::<[u8], [u8], usize>::with_opaque_to(record.topic, number.map_or(0, |it| it + 1));
        (message.key, message.payload, message.headers) = (record.key, record.value, record.headers);
        message.partition = record.partition;
        let (records, bytes) = self.round.get();
        self.round.set((records + 1, bytes + record.value.map_or(0, <[u8]>::len)));
        loop {
            match self.native.send(message) {
                Ok(()) => return Ok(None),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    // Records that don't arrive in time fail, so this ends.
                    self.wait();
                    if self.failure().is_some() || self.native.client().fatal_error().is_some() {
                        return Err(self.broken("a record is not taken"));
                    }
                    if self.stop.is_cancelled() {
                        return Err(Trouble::Other(self.transient("nobody waits for it")));
                    }
                    message = back;
                }
                Err((KafkaError::MessageProduction(code), _)) => match code {
                    RDKafkaErrorCode::MessageSizeTooLarge
                    | RDKafkaErrorCode::InvalidRecord
                    | RDKafkaErrorCode::UnknownPartition => return Ok(Some(code)),
                    _ => return Err(self.broken(&format!("a record is not taken: {code}"))),
                },
                Err((error, _)) => return Err(self.trouble("a record is not taken", &error)),
            }
        }
    }

    /// Gives records a moment to arrive, without waiting for others to go with, and takes the reports.
    fn wait(&self) {
        send_now(self.native.client(), STEP);
        self.serve_all();
    }

    /// Takes all reports that are there.
    fn serve_all(&self) {
        let mut left = self.native.in_flight_count();
        loop {
            self.serve();
            let now = self.native.in_flight_count();
            if now == left || now == 0 {
                break;
            }
            left = now;
        }
    }

    /// Takes a report about what has arrived.
    pub(crate) fn serve(&self) {
        self.native.poll(Duration::ZERO);
    }

    /// The first record that did not arrive.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.native.context().failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The records that were refused, by number.
    pub(crate) fn refused(&self) -> BTreeMap<usize, RDKafkaErrorCode> {
        self.native.context().refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets it; for a producer without transactions.
    pub(crate) fn forget_failure(&self) {
        self.native.context().failed.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// True if it will never write again.
    pub(crate) fn is_dead(&self) -> bool {
        self.native.client().fatal_error().is_some()
    }

    /// True if a connection was lost or a request was not answered: then a request to end a transaction may have been
    /// sent twice, and the copy may still be on its way.
    pub(crate) fn is_disturbed(&self) -> bool {
        for _ in 0..8 {
            self.serve();
        }
        self.native.context().disturbed.load(Ordering::Relaxed)
    }

    /// Why nothing can be written any more.
    pub(crate) fn broken(&self, what: &str) -> Trouble {
        // The reason may be among the reports that nobody has taken yet.
        let until = Instant::now() + 2 * SLICE;
        while self.failure().is_none() && self.native.in_flight_count() > 0 && Instant::now() < until {
            self.native.poll(Duration::from_millis(10));
        }
        if let Some((code, text)) = self.native.client().fatal_error() {
            return self.sorted_out(what, code, &text);
        }
        match self.failure() {
            Some(failure) => self.lost(&failure),
            None => Trouble::Other(self.transient(what)),
        }
    }

    /// What a record that did not arrive means.
    fn lost(&self, failure: &Failure) -> Trouble {
        use RDKafkaErrorCode as Code;
        let Failure { row, topic, code } = failure;
        // Records that are sent together fail together, and the first is told.
        let record = |row| format!("record {row} of the epoch, or one sent with it,");
        let record = row.map_or_else(|| "the marker".to_owned(), record);
        let text = format!("{record} did not arrive in topic '{topic}': {code}");
        match code {
            code if is_refusal(*code) => {
                let error = Error::data(format!("kafka at {}: {text}", self.servers));
                if row.is_some() { Trouble::Refused(error) } else { Trouble::Other(error) }
            }
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::InvalidTopic => {
                Trouble::Other(Error::config(format!("kafka at {}: {text}", self.servers)))
            }
            code => match self.native.client().fatal_error() {
                Some((fatal, why)) => self.sorted_out(&text, fatal, &why),
                None => self.sorted_out(&text, *code, ""),
            },
        }
    }

    fn sliced(
        &self,
        what: &str,
        deadline: Instant,
        mut call: impl FnMut(&BaseProducer<Events>) -> KafkaResult<()>,
    ) -> Result<(), Trouble> {
        let mut last = false;
        loop {
            // A process that was stopped for a while finds its time over, but the answer may be waiting.
            last |= Instant::now() >= deadline || self.stop.is_cancelled();
            match call(&self.native) {
                Ok(()) => return Ok(()),
                Err(error) if !last && passes(&error) => {}
                Err(error) => return Err(self.trouble(what, &error)),
            }
        }
    }

    fn trouble(&self, what: &str, error: &KafkaError) -> Trouble {
        match (self.native.client().fatal_error(), error.rdkafka_error_code()) {
            (Some((code, text)), _) => self.sorted_out(what, code, &text),
            (None, Some(code)) => self.sorted_out(what, code, &error.to_string()),
            (None, None) => Trouble::Other(self.transient(&format!("{what}: {error}"))),
        }
    }

    fn sorted_out(&self, what: &str, code: RDKafkaErrorCode, text: &str) -> Trouble {
        use RDKafkaErrorCode as Code;
        let reason = if text.is_empty() { code.to_string() } else { text.to_owned() };
        let text = format!("kafka at {}: {what}: {reason}", self.servers);
        match code {
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Trouble::Fenced(text),
            Code::TransactionalIdAuthorizationFailed
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidTransactionTimeout
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedVersion => Trouble::Other(Error::config(text)),
            _ => Trouble::Other(self.transient(&format!("{what}: {reason}"))),
        }
    }

    fn transient(&self, what: &str) -> Error {
        let last = self.native.context().client.last();
        let Some((code, text)) = last else { return Error::transient(format!("kafka at {}: {what}", self.servers)) };
        let text = format!("kafka at {}: {what} (the client said: {text})", self.servers);
        if code == RDKafkaErrorCode::Authentication { Error::config(text) } else { Error::transient(text) }
    }
}

/// True if a record will never be taken as it is.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::MessageSizeTooLarge | Code::InvalidRecord | Code::UnknownPartition | Code::InvalidTimestamp)
}

/// An error of making a client; its own text would show a value.
pub(crate) fn client_error(what: &str, servers: &str, error: KafkaError) -> Error {
    let text = match error {
        KafkaError::ClientCreation(text) => text,
        KafkaError::ClientConfig(_, _, key, _) => format!("setting kafka.{key} is refused"),
        other => other.to_string(),
    };
    Error::config(format!("no kafka {what} for {servers}: {text}"))
}

/// True if the same call goes on where this one ended.
fn passes(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable() && !error.is_fatal(),
        KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
        _ => false,
    }
}
