//! `Link`: the partitions that one broker leads, and the task that fetches them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use super::connection::{Address, Connection, Refused};
use super::homeless::Homeless;
use super::inbox::{Inbox, Turn, Wants};
use super::options::Options;
use super::queue::told;
use super::records::{self, RecordSet};
use super::wire::{Answer, Place, Question, error_name};

/// How long a fetch waits while a partition is left out of it that will soon have room.
const SHORT_WAIT: Duration = Duration::from_millis(5);

/// One broker.
pub(super) struct Link {
    address: Address,
    inboxes: Mutex<Vec<Arc<Inbox>>>,
    /// Rung when there is something to ask for.
    bell: Arc<Notify>,
}

/// A partition that has been asked for.
struct Asked {
    inbox: Arc<Inbox>,
    turn: Turn,
}

/// What is the same for all brokers.
pub(super) struct Rules {
    pub(super) options: Options,
    pub(super) connector: Option<TlsConnector>,
    /// Offsets that are not there are an error; else the partition goes on where it begins.
    pub(super) fail_on_data_loss: bool,
    pub(super) homeless: Arc<Homeless>,
}

impl Link {
    pub(super) fn new(address: Address) -> Self {
        Self { address, inboxes: Mutex::default(), bell: Arc::default() }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Adds a partition that this broker leads.
    pub(super) fn add(&self, inbox: Arc<Inbox>) {
        inbox.asked_by(&self.bell);
        let mut inboxes = self.lock();
        if !inboxes.iter().any(|it| Arc::ptr_eq(it, &inbox)) {
            inboxes.push(inbox);
        }
        drop(inboxes);
        self.bell.notify_one();
    }

    /// Fetches until it is dropped.
    pub(super) async fn run(self: Arc<Self>, rules: Arc<Rules>) {
        let options = &rules.options;
        let mut pause = options.backoff;
        let mut answered = true;
        loop {
            while self.lock().is_empty() {
                self.bell.notified().await;
            }
            let Address { host, port } = &self.address;
            let error = match Connection::open(&self.address, options, rules.connector.as_ref()).await {
                Ok(mut connection) => self.serve(&mut connection, &rules, &mut answered).await,
                Err(Refused::Away(error)) => error,
                Err(Refused::Never(code, text)) => {
                    self.refuse(code, &format!("the broker at {host}:{port}: {text}"));
                    continue;
                }
            };
            if answered {
                // Not worth more: the partitions are looked for anew.
                tracing::info!("fetching from {host}:{port}: {error}");
                pause = options.backoff;
            } else {
                tracing::debug!("fetching from {host}:{port}: {error}");
                pause = (pause * 2).min(options.backoff_max);
            }
            answered = false;
            for inbox in std::mem::take(&mut *self.lock()) {
                rules.homeless.again(inbox);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks for one answer after the other, until something breaks.
    async fn serve(&self, connection: &mut Connection, rules: &Rules, answered: &mut bool) -> io::Error {
        let mut round = 0_usize;
        loop {
            let (asked, waits) = self.choose(round);
            round = round.wrapping_add(1);
            if asked.is_empty() {
                self.bell.notified().await;
                continue;
            }
            let question = question(&asked, waits, &rules.options);
            let mut next = 0;
            let each = |answer: Answer| {
                // Answers come in the order of the questions.
                let at =
                    (next..asked.len()).chain(0..next).find(|at| asked.get(*at).is_some_and(|it| it.fits(&answer)));
                let Some((at, one)) = at.and_then(|at| Some((at, asked.get(at)?))) else { return };
                next = at + 1;
                self.deliver(one, answer, rules);
            };
            if let Err(error) = connection.fetch(&question, each).await {
                return error;
            }
            *answered = true;
        }
    }

    /// What to ask for now, and how long that may wait. Another partition is the first each time, since a full answer
    /// leaves out the last.
    fn choose(&self, round: usize) -> (Vec<Asked>, bool) {
        let inboxes = self.lock();
        let (mut asked, mut waits) = (Vec::with_capacity(inboxes.len()), true);
        for inbox in inboxes.iter() {
            match inbox.wants() {
                Wants::Records(turn) => asked.push(Asked { inbox: inbox.clone(), turn }),
                Wants::Full => waits = false,
                Wants::Nothing => {}
            }
        }
        if !asked.is_empty() {
            let first = round % asked.len();
            asked.rotate_left(first);
        }
        (asked, waits)
    }

    fn deliver(&self, asked: &Asked, answer: Answer, rules: &Rules) {
        let Asked { inbox, turn } = asked;
        match answer.error {
            0 if answer.diverging.is_none() => self.take_in(asked, answer, rules),
            // OFFSET_OUT_OF_RANGE, or the log was cut and has grown again.
            0 | 1 => {
                self.leave(inbox);
                if rules.fail_on_data_loss {
                    let text = match answer.diverging {
                        None => format!("offset {} is not there", turn.next),
                        Some(end) => format!("the log was cut at offset {end}"),
                    };
                    inbox.failed(*turn, RDKafkaErrorCode::AutoOffsetReset, text, true);
                } else {
                    inbox.look_for_start(*turn);
                    rules.homeless.again(inbox.clone());
                }
            }
            // UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, REPLICA_NOT_AVAILABLE,
            // KAFKA_STORAGE_ERROR, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, OFFSET_NOT_AVAILABLE.
            3 | 5 | 6 | 9 | 56 | 74 | 75 | 78 => {
                self.leave(inbox);
                rules.homeless.again(inbox.clone());
            }
            29 => self.fail(asked, RDKafkaErrorCode::TopicAuthorizationFailed, error_name(29)),
            other => {
                self.leave(inbox);
                let text = format!("fetch: {}", error_name(other));
                inbox.failed(*turn, RDKafkaErrorCode::Fail, text, false);
                rules.homeless.again(inbox.clone());
            }
        }
    }

    fn take_in(&self, asked: &Asked, answer: Answer, rules: &Rules) {
        let Asked { inbox, turn } = asked;
        let end = if rules.options.read_committed { answer.stable_offset } else { answer.high_watermark };
        let records = match records::end_of(&answer.records) {
            Ok(Some((next, epoch))) if next > turn.next => {
                let set = RecordSet { from: turn.next, bytes: answer.records, aborted: answer.aborted };
                Some((set, next, epoch))
            }
            Ok(_) => None,
            Err(bad) => {
                let (code, text) = told(bad);
                return self.fail(asked, code, text);
            }
        };
        inbox.fetched(*turn, records, end);
    }

    /// Stops to fetch a partition, and says why.
    fn fail(&self, asked: &Asked, code: RDKafkaErrorCode, text: String) {
        self.leave(&asked.inbox);
        asked.inbox.failed(asked.turn, code, text, true);
    }

    /// All partitions fail.
    fn refuse(&self, code: RDKafkaErrorCode, text: &str) {
        for inbox in std::mem::take(&mut *self.lock()) {
            inbox.failed(inbox.turn(), code, text.to_owned(), true);
        }
    }

    /// Before anybody hears of it: who then adds the partition anew adds it behind this.
    fn leave(&self, inbox: &Arc<Inbox>) {
        self.lock().retain(|it| !Arc::ptr_eq(it, inbox));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Inbox>>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn fits(&self, answer: &Answer) -> bool {
        self.inbox.partition == answer.partition && *self.inbox.topic == *answer.topic
    }
}

fn question<'a>(asked: &'a [Asked], waits: bool, options: &Options) -> Question<'a> {
    let wait = if waits { options.wait } else { options.wait.min(SHORT_WAIT) };
    let place = |it: &'a Asked| Place {
        topic: &it.inbox.topic,
        partition: it.inbox.partition,
        offset: it.turn.next,
        epoch: it.turn.epoch,
    };
    Question {
        places: asked.iter().map(place).collect(),
        wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: options.min_bytes,
        max_bytes: options.max_bytes,
        partition_bytes: options.partition_bytes,
        read_committed: options.read_committed,
    }
}
