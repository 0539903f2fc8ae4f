//! An object store: its owner writes a heartbeat, since no kernel tells that it has died.
//!
//! A new start waits until it has seen no heartbeat for `lease.timeout`. The owner gives up when its last one is that
//! old: it counts from before the request, the other from after the answer, so the owner is always the first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidegate_api::{Clock, Error, Result};
use tokio::task::JoinHandle;

use super::claim::{self, OWNERS};
use super::holder::Alive;
use super::{Holder, OwnerOptions};
use crate::store::{Marks, Store};

/// Heartbeats, and looks at another's, in a `lease.timeout`.
const BEATS: u32 = 5;

/// That an owner lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Beat {
    /// Rises by one each time.
    n: u64,
    /// For people.
    pub(crate) time_ms: i64,
    /// The owner has ended well.
    pub(crate) released: bool,
    /// The newest record of this generation, so that its loss shows: no other file need name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<String>,
    crc32: u32,
}

impl Beat {
    fn new(n: u64, time_ms: i64, released: bool, record: Option<String>) -> Self {
        let mut text = format!("{n} {time_ms} {released}");
        if let Some(record) = &record {
            text = format!("{text} {record}");
        }
        Self { n, time_ms, released, record, crc32: crc32fast::hash(text.as_bytes()) }
    }

    /// Nothing if the bytes are not those of a heartbeat.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let found: Self = serde_json::from_slice(bytes).ok()?;
        (found == Self::new(found.n, found.time_ms, found.released, found.record.clone())).then_some(found)
    }

    fn text(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::internal("heartbeat").because(e))
    }
}

/// The right to claim the next generation.
pub(crate) struct Vacant {
    next: u64,
}

impl Vacant {
    /// Waits while another owner may live.
    ///
    /// # Errors
    /// `Config` if it does.
    pub(super) async fn wait(store: &Store, options: &OwnerOptions, is_copy: bool) -> Result<Self> {
        let Some(generation) = claim::newest(store, OWNERS).await? else { return Ok(Self { next: 0 }) };
        let vacant = Self { next: generation.saturating_add(1) };
        let holder = read_holder(store, generation).await?;
        if options.take_over || is_copy || holder.as_ref().is_some_and(Holder::is_gone) {
            return Ok(vacant);
        }
        let key = beat_key(generation);
        let first = store.read(&key).await?;
        let began = Instant::now();
        loop {
            // Before the look: a heartbeat that arrived in this time is seen.
            let waited = began.elapsed();
            // What can't be read as a heartbeat still changes while its owner lives.
            let beat = store.read(&key).await?;
            if beat.as_deref().and_then(Beat::parse).is_some_and(|it| it.released) {
                return Ok(vacant);
            }
            if beat != first {
                return Err(in_use(store, generation, holder.as_ref()));
            }
            if waited >= options.lease_timeout {
                return Ok(vacant);
            }
            tokio::time::sleep(options.lease_timeout / BEATS).await;
        }
    }

    /// Creates the next generation.
    pub(super) async fn claim(self, store: &Arc<Store>, options: &OwnerOptions) -> Result<Lease> {
        let generation = self.next;
        let holder = Holder::this(options.run_id.clone(), generation, options.clock.now_ms());
        let text = serde_json::to_vec(&holder).map_err(|e| Error::internal("owner").because(e))?;
        // Before others can read who it is.
        let alive = Alive::new(options.run_id.clone());
        if !claim::begin(store, OWNERS, generation, &text).await? {
            let newest = claim::newest(store, OWNERS).await?.unwrap_or(generation);
            return Err(in_use(store, newest, read_holder(store, newest).await?.as_ref()));
        }
        let pulse = Arc::new(Pulse {
            store: store.clone(),
            clock: options.clock.clone(),
            generation,
            text,
            n: AtomicU64::new(0),
            born: Instant::now(),
            last_ms: AtomicU64::new(0),
            record: Mutex::new(None),
        });
        pulse.beat(false).await?;
        for old in store.list_numbers(OWNERS).await?.into_iter().filter(|it| *it < generation) {
            store.remove(&beat_key(old)).await?;
        }
        claim::sweep(store, OWNERS, generation).await?;
        let beating = pulse.clone().go_on(options.lease_timeout);
        let task = match &options.io {
            Some(io) => io.spawn(beating),
            None => tokio::spawn(beating),
        };
        Ok(Lease { pulse, timeout: options.lease_timeout, task, _alive: alive })
    }
}

/// Owns a folder of an object store.
pub(super) struct Lease {
    pulse: Arc<Pulse>,
    timeout: Duration,
    task: JoinHandle<()>,
    _alive: Alive,
}

struct Pulse {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    generation: u64,
    /// Of the generation's file.
    text: Vec<u8>,
    n: AtomicU64,
    /// The system's monotonic clock: a stopped process must see that time has passed.
    born: Instant,
    /// The last heartbeat that is known to have arrived, milliseconds after `born`.
    last_ms: AtomicU64,
    /// The newest record that was written.
    record: Mutex<Option<String>>,
}

impl Pulse {
    async fn beat(&self, released: bool) -> Result<()> {
        let now_ms = self.now_ms();
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let beat = Beat::new(self.n.fetch_add(1, Ordering::Relaxed), self.clock.now_ms(), released, record);
        self.store.write(&beat_key(self.generation), &[&beat.text()?], &Marks::NONE).await?;
        // The time before the request: others may count from then. An answer that comes late says nothing new.
        self.last_ms.fetch_max(now_ms, Ordering::Relaxed);
        Ok(())
    }

    /// Beats as long as the task lives.
    async fn go_on(self: Arc<Self>, timeout: Duration) {
        let every = timeout / BEATS;
        loop {
            tokio::time::sleep(every).await;
            // A request that hangs must not keep the next one from being tried.
            match tokio::time::timeout(every * 2, self.beat(false)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a heartbeat failed"),
                Err(_) => tracing::warn!(generation = self.generation, "a heartbeat has not been answered in time"),
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Lease {
    pub(super) fn generation(&self) -> u64 {
        self.pulse.generation
    }

    /// Fails with `Fenced` if there is a higher generation, or there may be one since the heartbeat is old.
    pub(super) async fn check(&self) -> Result<()> {
        let Pulse { store, generation, text, .. } = self.pulse.as_ref();
        let place = store.location();
        let is_newest = claim::is_newest(store, OWNERS, *generation, text).await?;
        // After the answer, which may have taken long.
        let silent = Duration::from_millis(self.pulse.now_ms() - self.pulse.last_ms.load(Ordering::Relaxed));
        if !is_newest {
            let text = format!("generation {generation} is not the newest: another owner took over");
            return Err(Error::fenced(format!("checkpoint {place}: {text}")));
        }
        if silent >= self.timeout {
            let text = format!("the last heartbeat was {silent:.1?} ago, lease.timeout is {:?}", self.timeout);
            return Err(Error::fenced(format!("checkpoint {place}: {text}: another owner may have taken over")));
        }
        Ok(())
    }

    /// A record is durable.
    pub(super) fn wrote(&self, record: String) {
        *self.pulse.record.lock().unwrap_or_else(PoisonError::into_inner) = Some(record);
    }

    /// Tells the next start that it need not wait.
    pub(super) async fn release(&self) {
        self.task.abort();
        if let Err(error) = self.pulse.beat(true).await {
            tracing::warn!(%error, "the checkpoint's lease can't be released; the next start waits for it to lapse");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn beat_key(generation: u64) -> String {
    format!("{}.beat", claim::key(OWNERS, generation))
}

/// Who owns a generation; nothing if its file is damaged: then only its heartbeat tells whether it lives.
async fn read_holder(store: &Store, generation: u64) -> Result<Option<Holder>> {
    let bytes = store.read(&claim::key(OWNERS, generation)).await?;
    Ok(bytes.and_then(|it| serde_json::from_slice(&it).ok()))
}

fn in_use(store: &Store, generation: u64, holder: Option<&Holder>) -> Error {
    let holder = holder.map_or_else(|| format!("generation {generation}"), Holder::to_string);
    let way = "stop it first, or take over if it can't be stopped";
    Error::config(format!("checkpoint {} is in use by {holder}; {way}", store.location()))
}
