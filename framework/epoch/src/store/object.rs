//! An object store: a put is atomic and durable, a put of a new name is conditional, and a reply may be lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};
use tidegate_api::{Error, ErrorKind, Result};
use tidegate_storage::{Location, kind_of, object_store};

use super::{Marks, Meter};
use crate::fault::{Faults, Point};

/// Tries of one request, beside those of the client itself.
const TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(20);

pub(super) struct RemoteStore {
    pub(super) location: Location,
    faults: Faults,
    meter: Arc<Meter>,
}

impl RemoteStore {
    pub(super) fn new(location: Location, faults: Faults, meter: Arc<Meter>) -> Self {
        Self { location, faults, meter }
    }

    pub(super) fn store(&self) -> &dyn ObjectStore {
        self.location.store().as_ref()
    }

    pub(super) async fn read(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let path = self.location.path(key);
        let mut tries = Tries::new("read", &path);
        loop {
            let got = async { self.store().get(&path).await?.bytes().await };
            match got.await {
                Ok(bytes) => return Ok(Some(bytes.to_vec())),
                Err(StoreError::NotFound { .. }) => return Ok(None),
                Err(e) => tries.again(e).await?,
            }
        }
    }

    /// One put. Repeated it writes the same bytes under the same name.
    pub(super) async fn write(&self, key: &str, parts: &[&[u8]], marks: &Marks) -> Result<()> {
        let path = self.location.path(key);
        let hit = |point: Option<Point>| point.map_or(Ok(()), |it| self.faults.hit(it, marks.epoch));
        hit(marks.write)?;
        let payload = PutPayload::from(parts.concat());
        let mut tries = Tries::new("write", &path);
        loop {
            let began = self.meter.clock.monotonic();
            match self.store().put(&path, payload.clone()).await {
                Ok(_) => {
                    self.meter.count(began);
                    break;
                }
                Err(e) => tries.again(e).await?,
            }
        }
        hit(marks.dirsync)
    }

    /// A conditional put. "It exists" may be the echo of our own put whose reply was lost: the bytes tell.
    pub(super) async fn create_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        let path = self.location.path(key);
        let payload = PutPayload::from(bytes.to_vec());
        let options = PutOptions::from(PutMode::Create);
        let mut tries = Tries::new("create", &path);
        loop {
            let began = self.meter.clock.monotonic();
            match self.store().put_opts(&path, payload.clone(), options.clone()).await {
                Ok(_) => {
                    self.meter.count(began);
                    return Ok(true);
                }
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                    // Gone again since: then it was not ours.
                    return Ok(self.read(key).await?.is_some_and(|there| there == bytes));
                }
                Err(e) => tries.again(e).await?,
            }
        }
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.location.path(folder);
        let mut tries = Tries::new("list", &path);
        loop {
            let all: Result<Vec<_>, StoreError> = self.store().list(Some(&path)).try_collect().await;
            match all {
                Ok(all) => {
                    let own = all.iter().filter_map(|it| {
                        let mut rest = it.location.prefix_match(&path)?;
                        let name = rest.next()?.as_ref().to_owned();
                        (rest.next().is_none() && !name.starts_with('.')).then_some(name)
                    });
                    let mut names: Vec<String> = own.collect();
                    names.sort_unstable();
                    return Ok(names);
                }
                Err(e) => tries.again(e).await?,
            }
        }
    }

    pub(super) async fn all(&self) -> Result<BTreeMap<String, u64>> {
        let root = self.location.prefix();
        let mut tries = Tries::new("list", root);
        loop {
            let all: Result<Vec<_>, StoreError> = self.store().list(Some(root)).try_collect().await;
            match all {
                Ok(all) => {
                    let key = |it: &Path| {
                        let parts: Vec<_> = it.prefix_match(root)?.map(|it| it.as_ref().to_owned()).collect();
                        Some(parts.join("/"))
                    };
                    return Ok(all.iter().filter_map(|it| Some((key(&it.location)?, it.size))).collect());
                }
                Err(e) => tries.again(e).await?,
            }
        }
    }

    pub(super) async fn remove(&self, key: &str) -> Result<()> {
        let path = self.location.path(key);
        let mut tries = Tries::new("remove", &path);
        loop {
            match self.store().delete(&path).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => return Ok(()),
                Err(e) => tries.again(e).await?,
            }
        }
    }
}

/// Counts the tries of one request.
pub(super) struct Tries<'a> {
    what: &'static str,
    path: &'a Path,
    n: u32,
}

impl<'a> Tries<'a> {
    pub(super) fn new(what: &'static str, path: &'a Path) -> Self {
        Self { what, path, n: 0 }
    }

    /// Waits before the next try, or gives the error up to the caller.
    pub(super) async fn again(&mut self, error: StoreError) -> Result<()> {
        let kind = kind_of(&error);
        self.n += 1;
        if kind != ErrorKind::Transient || self.n >= TRIES {
            return Err(Error::new(kind, format!("can't {} {}", self.what, self.path)).because(error));
        }
        tokio::time::sleep(FIRST_WAIT * self.n).await;
        Ok(())
    }
}
