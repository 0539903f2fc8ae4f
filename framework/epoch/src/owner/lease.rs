//! An object store: each generation is a file that only one can create, and its owner writes a heartbeat.
//!
//! ```text
//! state/owner/<g>        who: created if absent, never changed; the highest is the owner
//! state/owner/<g>.beat   that it lives: written again and again; `released` once it has ended well
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidegate_api::{Clock, Error, Result};
use tokio::task::JoinHandle;

use super::{Holder, OwnerOptions};
use crate::store::{Marks, Store};

const FOLDER: &str = "state/owner";

/// Heartbeats, and looks at another's, in a `lease.timeout`.
const BEATS: u32 = 5;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Beat {
    /// Rises by one each time.
    n: u64,
    /// For people.
    time_ms: i64,
    released: bool,
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
    pub(super) async fn wait(store: &Store, options: &OwnerOptions) -> Result<Self> {
        let Some(generation) = store.list_numbers(FOLDER).await?.last().copied() else { return Ok(Self { next: 0 }) };
        let vacant = Self { next: generation.saturating_add(1) };
        let holder = read_json::<Holder>(store, &owner_key(generation)).await?;
        if options.take_over || holder.as_ref().is_some_and(is_gone) {
            return Ok(vacant);
        }
        let first = read_json::<Beat>(store, &beat_key(generation)).await?;
        let began = Instant::now();
        loop {
            let beat = read_json::<Beat>(store, &beat_key(generation)).await?;
            if beat.as_ref().is_some_and(|it| it.released) || began.elapsed() >= options.lease_timeout {
                return Ok(vacant);
            }
            if beat != first {
                return Err(in_use(store, generation, holder.as_ref()));
            }
            tokio::time::sleep(options.lease_timeout / BEATS).await;
        }
    }

    /// Creates the next generation.
    pub(super) async fn claim(self, store: &Arc<Store>, options: &OwnerOptions) -> Result<Lease> {
        let generation = self.next;
        let holder = Holder::this(options.run_id.clone(), generation);
        let text = serde_json::to_vec(&holder).map_err(|e| Error::internal("owner").because(e))?;
        if !store.create_new(&owner_key(generation), &text).await? {
            let other = read_json::<Holder>(store, &owner_key(generation)).await?;
            return Err(in_use(store, generation, other.as_ref()));
        }
        let pulse = Arc::new(Pulse {
            store: store.clone(),
            clock: options.clock.clone(),
            generation,
            n: AtomicU64::new(0),
            born: Instant::now(),
            last_ms: AtomicU64::new(0),
        });
        pulse.beat(false).await?;
        let (beating, every) = (pulse.clone(), options.lease_timeout / BEATS);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                if let Err(error) = beating.beat(false).await {
                    tracing::warn!(%error, "a heartbeat failed");
                }
            }
        });
        Ok(Lease { pulse, timeout: options.lease_timeout, task })
    }
}

/// Owns a folder of an object store.
pub(super) struct Lease {
    pulse: Arc<Pulse>,
    timeout: Duration,
    task: JoinHandle<()>,
}

struct Pulse {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    generation: u64,
    n: AtomicU64,
    /// The system's monotonic clock: a stopped process must see that time has passed.
    born: Instant,
    /// The last heartbeat that is known to have arrived, milliseconds after `born`.
    last_ms: AtomicU64,
}

impl Pulse {
    async fn beat(&self, released: bool) -> Result<()> {
        let now_ms = self.now_ms();
        let beat = Beat { n: self.n.fetch_add(1, Ordering::Relaxed), time_ms: self.clock.now_ms(), released };
        let text = serde_json::to_vec(&beat).map_err(|e| Error::internal("heartbeat").because(e))?;
        self.store.write(&beat_key(self.generation), &[&text], &Marks::NONE).await?;
        // The time before the request: others may count from then.
        self.last_ms.store(now_ms, Ordering::Relaxed);
        Ok(())
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
        let Pulse { store, generation, .. } = self.pulse.as_ref();
        let silent = Duration::from_millis(self.pulse.now_ms() - self.pulse.last_ms.load(Ordering::Relaxed));
        let place = store.location();
        if silent >= self.timeout {
            let timeout = self.timeout;
            return Err(Error::fenced(format!(
                "checkpoint {place}: the last heartbeat was {silent:.1?} ago, lease.timeout is {timeout:?}: another owner \
                 may have taken over"
            )));
        }
        let next = owner_key(generation.saturating_add(1));
        match store.read(&next).await? {
            None => Ok(()),
            Some(_) => Err(Error::fenced(format!(
                "checkpoint {place}: generation {generation} is not the newest: another owner took over"
            ))),
        }
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

fn owner_key(generation: u64) -> String {
    format!("{FOLDER}/{generation}")
}

fn beat_key(generation: u64) -> String {
    format!("{FOLDER}/{generation}.beat")
}

async fn read_json<T: for<'de> Deserialize<'de>>(store: &Store, key: &str) -> Result<Option<T>> {
    let Some(bytes) = store.read(key).await? else { return Ok(None) };
    let damaged = |e| Error::config(format!("{} is damaged", store.name(key))).because(e);
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// True if the owner was a process of this host and boot that is not there any more.
fn is_gone(holder: &Holder) -> bool {
    let this = Holder::this(holder.run_id.clone(), holder.generation);
    let here = !this.boot.is_empty() && (&this.host, &this.boot) == (&holder.host, &holder.boot);
    here && holder.pid != this.pid && !std::path::Path::new("/proc").join(holder.pid.to_string()).exists()
}

fn in_use(store: &Store, generation: u64, holder: Option<&Holder>) -> Error {
    let holder = holder.map_or_else(
        || format!("generation {generation}"),
        |it| format!("run {} (process {} on {}, generation {generation})", it.run_id, it.pid, it.host),
    );
    Error::config(format!("checkpoint {} is in use by {holder}; stop it first", store.location()))
}
