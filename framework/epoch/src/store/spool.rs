//! Files that are too large for one piece of memory: written beside or in the checkpoint, then made durable as a whole.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectStoreExt, WriteMultipart};
use tidegate_api::{Error, Result};
use tidegate_storage::{kind_of, object_store};

use super::object::{RemoteStore, Tries};
use super::{Backend, Store, blocking, failed};
use crate::fault::Point;

/// The size of the parts of an upload.
const PART_BYTES: usize = 8 << 20;
/// Parts that may be on their way at the same time.
const PARTS: usize = 4;

/// A local file that goes with its last user, unless it has been published in its place.
pub(crate) struct Spooled {
    path: PathBuf,
    temporary: bool,
}

impl Spooled {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file.
    pub(crate) fn create(&mut self) -> io::Result<File> {
        self.temporary = true;
        File::create(&self.path)
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if self.temporary {
            // What is left is swept at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Store {
    /// Where a file grows that may become the one of this key.
    pub(crate) fn spool_place(&self, key: &str) -> Spooled {
        let path = match &self.backend {
            Backend::Local(it) => it.path(key),
            Backend::Remote(_) => temporary_path(key),
        };
        Spooled { path, temporary: false }
    }

    /// Makes a whole file durable under its key, where it stays.
    pub(crate) async fn publish(&self, key: &str, file: &mut Spooled, epoch: u64) -> Result<()> {
        match &self.backend {
            Backend::Local(it) => {
                blocking(|| it.sync_in_place(key))?;
                file.temporary = false;
            }
            Backend::Remote(it) => {
                let began = self.meter.clock.monotonic();
                it.upload(key, &file.path).await?;
                self.meter.count(began);
            }
        }
        self.faults.hit(Point::StageFsync, epoch)
    }

    /// A file to be read from the local disk; nothing if there is none of this key.
    pub(crate) async fn fetch(&self, key: &str) -> Result<Option<Spooled>> {
        match &self.backend {
            Backend::Local(it) => {
                let path = it.path(key);
                Ok(path.exists().then_some(Spooled { path, temporary: false }))
            }
            Backend::Remote(it) => {
                let file = Spooled { path: temporary_path(key), temporary: true };
                Ok(it.download(key, &file.path).await?.then_some(file))
            }
        }
    }
}

fn temporary_path(key: &str) -> PathBuf {
    std::env::temp_dir().join(format!("tidegate-{}-{}", uuid::Uuid::new_v4(), key.replace('/', "-")))
}

impl RemoteStore {
    async fn upload(&self, key: &str, from: &Path) -> Result<()> {
        let path = self.location.path(key);
        let failed_at = |e: StoreError| Error::new(kind_of(&e), format!("can't write {path}")).because(e);
        let mut file = File::open(from).map_err(|e| failed("open", from, e))?;
        let upload = self.store().put_multipart(&path).await.map_err(failed_at)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let size = file.metadata().map_err(|e| failed("open", from, e))?.len();
        let mut part = vec![0; usize::try_from(size).unwrap_or(PART_BYTES).clamp(1, PART_BYTES)];
        loop {
            let read = blocking(|| file.read(&mut part)).map_err(|e| failed("read", from, e))?;
            let Some(bytes) = part.get(..read).filter(|it| !it.is_empty()) else { break };
            if let Err(e) = upload.wait_for_capacity(PARTS).await {
                // Parts that stay behind cost storage, and nothing else.
                let _ = upload.abort().await;
                return Err(failed_at(e));
            }
            upload.write(bytes);
        }
        upload.finish().await.map(drop).map_err(failed_at)
    }

    async fn download(&self, key: &str, to: &Path) -> Result<bool> {
        let path = self.location.path(key);
        let mut tries = Tries::new("read", &path);
        loop {
            let mut file = File::create(to).map_err(|e| failed("create", to, e))?;
            let mut bytes = match self.store().get(&path).await {
                Ok(found) => found.into_stream(),
                Err(StoreError::NotFound { .. }) => return Ok(false),
                Err(e) => {
                    tries.again(e).await?;
                    continue;
                }
            };
            let broken_off = loop {
                match bytes.try_next().await {
                    Ok(Some(chunk)) => blocking(|| file.write_all(&chunk)).map_err(|e| failed("write", to, e))?,
                    Ok(None) => return Ok(true),
                    Err(e) => break e,
                }
            };
            tries.again(broken_off).await?;
        }
    }
}
