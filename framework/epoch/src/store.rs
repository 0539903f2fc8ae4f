//! The files of a checkpoint, by key: on the local disk or on an object store, each there whole or not at all.
//!
//! A key is a path below the checkpoint (`state/wal/7.1.0`). What is *durable* survives the loss of power; what is
//! *unsynced* is only for people and tools and is written again at the next start.

mod local;
mod object;
pub(crate) mod sidecar;
mod spare;
mod spool;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_api::{Clock, Error, ErrorKind, Result};
use tidegate_storage::Location;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::fault::{Faults, Point};

use local::LocalStore;
use object::RemoteStore;

/// The fault points of a durable file.
pub(crate) struct Marks {
    pub(crate) epoch: u64,
    pub(crate) write: Option<Point>,
    pub(crate) fsync: Option<Point>,
    pub(crate) rename: Option<Point>,
    pub(crate) dirsync: Option<Point>,
}

impl Marks {
    pub(crate) const NONE: Self = Self { epoch: 0, write: None, fsync: None, rename: None, dirsync: None };
}

enum Backend {
    Local(LocalStore),
    Remote(RemoteStore),
}

/// What a store was asked to make durable so far: calls of fsync, or requests that write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) calls: u64,
    pub(crate) time: Duration,
}

/// The files of one checkpoint.
pub(crate) struct Store {
    pub(crate) faults: Faults,
    location: Location,
    backend: Backend,
    meter: Arc<Meter>,
}

/// Counts and times what makes files durable.
struct Meter {
    clock: Arc<dyn Clock>,
    calls: AtomicU64,
    us: AtomicU64,
}

impl Meter {
    fn count(&self, began: Duration) {
        let took = self.clock.monotonic().saturating_sub(began);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Store {
    pub(crate) fn new(location: Location, clock: Arc<dyn Clock>, faults: Faults) -> Self {
        let meter = Arc::new(Meter { clock, calls: AtomicU64::new(0), us: AtomicU64::new(0) });
        let backend = match location.local() {
            Some(root) => Backend::Local(LocalStore::new(root.to_owned(), faults.clone(), meter.clone())),
            None => Backend::Remote(RemoteStore::new(location.clone(), faults.clone(), meter.clone())),
        };
        Self { faults, location, backend, meter }
    }

    /// Where the checkpoint lies.
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// True on an object store: each write costs a request, and nothing is locked by the kernel.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.backend, Backend::Remote(_))
    }

    /// The name of a file in messages.
    pub(crate) fn name(&self, key: &str) -> String {
        format!("{}/{key}", self.location.to_string().trim_end_matches('/'))
    }

    pub(crate) fn synced(&self) -> Synced {
        Synced {
            calls: self.meter.calls.load(Ordering::Relaxed),
            time: Duration::from_micros(self.meter.us.load(Ordering::Relaxed)),
        }
    }

    /// The file's bytes, or nothing if there is no such file.
    pub(crate) async fn read(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match &self.backend {
            Backend::Local(it) => blocking(|| it.read(key)),
            Backend::Remote(it) => it.read(key).await,
        }
    }

    /// Writes a file durably, in place of any that was there.
    pub(crate) async fn write(&self, key: &str, parts: &[&[u8]], marks: &Marks) -> Result<()> {
        match &self.backend {
            Backend::Local(it) => blocking(|| it.write(key, parts, marks))?,
            Backend::Remote(it) => it.write(key, parts, marks).await?,
        }
        self.write_sidecar(key, parts).await;
        Ok(())
    }

    /// Writes a file whole or not at all; on a local disk a power failure may take it or tear it.
    pub(crate) async fn write_unsynced(&self, key: &str, bytes: &[u8]) -> Result<()> {
        match &self.backend {
            Backend::Local(it) => blocking(|| it.write_unsynced(key, bytes)),
            Backend::Remote(it) => it.write(key, &[bytes], &Marks::NONE).await,
        }
    }

    /// Writes a file durably if it is new; false if it was there with other bytes, or on a local disk with any.
    pub(crate) async fn create_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        let created = match &self.backend {
            Backend::Local(it) => blocking(|| it.create_new(key, bytes))?,
            Backend::Remote(it) => it.create_new(key, bytes).await?,
        };
        if created {
            self.write_sidecar(key, &[bytes]).await;
        }
        Ok(created)
    }

    /// Writes a file that may be there already, durably. Its old checksum goes first: a crash leaves it with none.
    pub(crate) async fn replace(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.remove_one(&sidecar::key_of(key)).await?;
        self.write(key, &[bytes], &Marks::NONE).await
    }

    /// Refuses bytes that do not fit the checksum beside their file, if there is one. An object store checks its own.
    ///
    /// # Errors
    /// `Config` if they do not; else as the store.
    pub(crate) async fn check(&self, key: &str, bytes: &[u8]) -> Result<()> {
        if self.is_remote() {
            return Ok(());
        }
        let sidecar = sidecar::key_of(key);
        match self.read(&sidecar).await? {
            Some(sum) if sidecar::is_whole(&sum) && !sidecar::fits(&sum, bytes) => {
                let file = self.name(key);
                Err(Error::config(format!("{file} does not match its checksum, {sidecar}: one of them is damaged")))
            }
            _ => Ok(()),
        }
    }

    /// The checksum beside a file that carries none; without it nothing but a check of the checkpoint is the worse.
    async fn write_sidecar(&self, key: &str, parts: &[&[u8]]) {
        if !sidecar::is_due(key) {
            return;
        }
        let sums = blocking(|| sidecar::of(parts));
        if let Err(error) = self.write_unsynced(&sidecar::key_of(key), &sums).await {
            tracing::debug!(key, %error, "a checksum can't be written");
        }
    }

    /// Fails where a file that should be new can replace one: there two owners could begin one generation.
    ///
    /// # Errors
    /// `Config` if it can; else as the store.
    pub(crate) async fn probe(&self) -> Result<()> {
        let Backend::Remote(it) = &self.backend else { return Ok(()) };
        let key = format!("state/owner/.probe-{}", uuid::Uuid::new_v4());
        let first = it.create_new(&key, b"first").await;
        let second = match first {
            Ok(true) => it.create_new(&key, b"second").await,
            other => other,
        };
        let _ = it.remove(&key).await;
        let refused = |found: &str| {
            let place = &self.location;
            let needed = "expected one that creates a file only if it is new (a conditional put)";
            Error::config(format!("checkpoint {place}: its object store can't be used: {found}, {needed}"))
        };
        match second {
            Ok(false) => Ok(()),
            Ok(true) => Err(refused("it replaced a file")),
            Err(e) if e.kind() == ErrorKind::Config => Err(refused("it refused to create one").because(e)),
            Err(e) => Err(e),
        }
    }

    /// The names in a folder, sorted, without hidden ones; none if there is no such folder.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>> {
        match &self.backend {
            Backend::Local(it) => blocking(|| it.list(folder)),
            Backend::Remote(it) => it.list(folder).await,
        }
    }

    /// Names that are plain numbers, in order.
    pub(crate) async fn list_numbers(&self, folder: &str) -> Result<Vec<u64>> {
        let mut numbers: Vec<u64> = self.list(folder).await?.iter().filter_map(|it| it.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// All files, with their sizes, hidden ones too.
    pub(crate) async fn all(&self) -> Result<BTreeMap<String, u64>> {
        match &self.backend {
            Backend::Local(it) => blocking(|| it.all()),
            Backend::Remote(it) => it.all().await,
        }
    }

    /// Removes a file; that it is gone already is fine.
    pub(crate) async fn remove(&self, key: &str) -> Result<()> {
        self.remove_one(key).await?;
        if sidecar::is_due(key) { self.remove_one(&sidecar::key_of(key)).await } else { Ok(()) }
    }

    async fn remove_one(&self, key: &str) -> Result<()> {
        match &self.backend {
            Backend::Local(it) => blocking(|| it.remove(key)),
            Backend::Remote(it) => it.remove(key).await,
        }
    }

    /// Makes a folder durably.
    pub(crate) async fn make_folder(&self, folder: &str) -> Result<()> {
        match &self.backend {
            Backend::Local(it) => blocking(|| it.make_folder(folder)),
            Backend::Remote(_) => Ok(()),
        }
    }

    /// Removes what writes left behind that did not come to their end, and completes checksums that a loss of power took.
    /// Only the owner may: others may be writing.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let Backend::Local(it) = &self.backend else { return Ok(()) };
        blocking(|| it.remove_temporaries())?;
        let files = self.all().await?;
        for key in files.keys().filter(|it| sidecar::is_due(it) && sidecar::file_of(it).is_none()) {
            if files.get(&sidecar::key_of(key)).is_some_and(|size| *size > 0) {
                continue;
            }
            if let Some(bytes) = self.read(key).await? {
                self.write_sidecar(key, &[&bytes]).await;
            }
        }
        Ok(())
    }
}

/// Runs disk work where it holds up no other task. It is never cut off half-way, as work on another thread would be.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|it| it.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

pub(crate) use local::failed;
pub(crate) use spool::Spooled;
