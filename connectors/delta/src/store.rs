//! `TableStore`: the table's folder. Data files, and commits that are there whole or not at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use deltalake::kernel::{Metadata, Protocol, Snapshot};
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore, logstore_for};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError, checkpoints};
use tidegate_api::{Error, ErrorKind, Result, async_trait};
use tidegate_storage::object_store::{Error as StoreError, path::Path as StorePath, prefix::PrefixStore};
use tidegate_storage::{Location, kind_of};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::commit::{Put, TableLog};
use crate::entry::{self, Held};
use crate::file::DataFile;
use crate::names::WriterHash;
use crate::table::Shape;

pub(crate) use disk::io_error;
pub(crate) use objects::ObjectFile;

mod disk;
mod files;
mod objects;

const LOG: &str = "_delta_log";

/// A table's folder.
#[derive(Clone)]
pub(crate) struct TableStore {
    place: Place,
    log: LogStoreRef,
    name: Arc<str>,
}

/// Where it lies.
#[derive(Clone)]
enum Place {
    Disk(disk::Folder),
    Objects(objects::Folder),
}

/// What opening a table finds.
pub(crate) struct Loaded {
    pub(crate) shape: Shape,
    /// The last epoch that the table holds of a writer, and by which attempt.
    pub(crate) held: Option<Held>,
    /// Data files of that writer that the table names.
    pub(crate) live: BTreeSet<String>,
}

impl TableStore {
    /// The table in this folder, which need not be there.
    pub(crate) fn at(location: &Location) -> Result<Self> {
        let name = location.to_string().into();
        if let Some(root) = location.local() {
            let log = logstore_for(location.url(), StorageConfig::default()).map_err(delta_error)?;
            return Ok(Self { place: Place::Disk(disk::Folder::new(root)), log, name });
        }
        // The Delta library takes paths from URLs, we take them from the location: both must mean the same.
        let of_url = StorePath::from_url_path(location.url().path()).ok();
        if of_url.as_ref() != Some(location.prefix()) {
            return Err(Error::config(format!("path '{location}': expected s3://, az://, abfss:// or gs://")));
        }
        let root = location.store().clone();
        let prefixed = Arc::new(PrefixStore::new(root.clone(), location.prefix().clone()));
        let log = default_logstore(prefixed, root, location.url(), &StorageConfig::default());
        Ok(Self { place: Place::Objects(objects::Folder::new(location)), log, name })
    }

    /// Where the table is, for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is a table.
    pub(crate) async fn exists(&self) -> Result<bool> {
        self.log.is_delta_table_location().await.map_err(delta_error)
    }

    /// The table as it is now, and the last epoch that it holds of `app_id`.
    pub(crate) async fn load(&self, io: &Handle, app_id: &str, writer: WriterHash) -> Result<Loaded> {
        let (log, app_id) = (self.log.clone(), app_id.to_owned());
        let load = async move {
            let state = DeltaTableState::try_new(&log, None).await?;
            let epoch = state.transaction_version(&log, &app_id).await?;
            let attempt = match epoch {
                Some(_) => state.transaction_version(&log, entry::attempt_app(&app_id)).await?,
                None => None,
            };
            let snapshot = state.snapshot();
            let retention = snapshot.table_properties().log_retention_duration;
            let shape = Shape::read(snapshot.version(), snapshot.metadata(), snapshot.protocol(), retention)?;
            let all = state.log_data().into_iter().map(|it| it.path().into_owned());
            let live = all.filter(|it| it.contains(&writer.prefix())).collect();
            Ok((shape, epoch, attempt, live))
        };
        let (shape, epoch, attempt, live) = on(io, load).await?;
        let attempt = attempt.and_then(entry::attempt_of);
        let held = epoch.map(|it| {
            let wrong = |_| Error::config(format!("holds epoch {it} of this writer, expected 0 or more"));
            Ok(Held { epoch: u64::try_from(it).map_err(wrong)?, attempt, paths: Vec::new() })
        });
        Ok(Loaded { shape, held: held.transpose()?, live })
    }

    /// The newest version, found by a listing.
    pub(crate) async fn newest_version(&self, io: &Handle) -> Result<u64> {
        let log = self.log.clone();
        on(io, async move { Ok(Snapshot::try_new(&log, None).await?.version()) }).await
    }

    /// Writes a checkpoint of the newest version and gives that; removes log files that are too old if `clean`.
    pub(crate) async fn checkpoint(&self, io: &Handle, clean: bool) -> Result<u64> {
        let (log, place) = (self.log.clone(), self.place.clone());
        let write = async move {
            let mut table = DeltaTable::new(log);
            table.load().await?;
            let version = table.snapshot()?.version();
            checkpoints::create_checkpoint(&table, None).await?;
            if let Place::Disk(folder) = &place {
                folder.sync_checkpoint(version).await.map_err(|e| DeltaTableError::Io { source: e })?;
            }
            let allowed = table.snapshot()?.table_config().enable_expired_log_cleanup.unwrap_or(true);
            if clean && allowed {
                let removed = checkpoints::cleanup_metadata(&table, None).await?;
                tracing::debug!(removed, "removed old log files");
            }
            Ok(version)
        };
        on(io, write).await
    }

    /// The version of the newest checkpoint, as the log's pointer says.
    pub(crate) async fn last_checkpoint(&self) -> Option<u64> {
        let bytes = match &self.place {
            Place::Disk(it) => it.last_checkpoint().await,
            Place::Objects(it) => it.last_checkpoint().await,
        }?;
        serde_json::from_slice::<serde_json::Value>(&bytes).ok()?.get("version")?.as_u64()
    }

    /// Begins a data file, and creates the folders above it.
    pub(crate) async fn create_file(&self, path: &str) -> Result<DataFile> {
        Ok(match &self.place {
            Place::Disk(it) => DataFile::Disk(it.create_file(path).await?),
            Place::Objects(it) => DataFile::Object(Box::new(it.create_file(path))),
        })
    }

    /// Makes the names in these folders durable, and theirs, up to the table.
    pub(crate) async fn sync_folders(&self, folders: &BTreeSet<String>) -> Result<()> {
        match &self.place {
            Place::Disk(it) => it.sync_folders(folders).await,
            Place::Objects(_) => Ok(()),
        }
    }

    /// Makes the table's folder itself durable.
    pub(crate) async fn sync_root(&self) -> Result<()> {
        match &self.place {
            Place::Disk(it) => it.sync_root().await,
            Place::Objects(_) => Ok(()),
        }
    }

    /// Makes commits durable that are seen.
    pub(crate) async fn sync_log(&self) -> Result<()> {
        match &self.place {
            Place::Disk(it) => it.sync_log().await,
            Place::Objects(_) => Ok(()),
        }
    }

    /// Removes data files; those that are gone are no error.
    pub(crate) async fn remove(&self, paths: Vec<String>) -> Result<()> {
        match &self.place {
            Place::Disk(it) => it.remove(paths).await,
            Place::Objects(it) => it.remove(paths).await,
        }
    }

    /// Removes a data file of a writer that is dropped: now on the local disk, else with [`Self::remove_dropped`].
    pub(crate) fn discard(&self, path: &str) {
        match &self.place {
            Place::Disk(it) => match it.discard(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(path, %error, "a data file of a try that failed stays behind");
                }
                _ => {}
            },
            Place::Objects(it) => it.discard(path),
        }
    }

    /// Removes what dropped writers left.
    pub(crate) async fn remove_dropped(&self) -> Result<()> {
        match &self.place {
            Place::Disk(_) => Ok(()),
            Place::Objects(it) => it.remove_dropped().await,
        }
    }

    /// Data files whose name begins with `prefix`, relative to the table.
    pub(crate) async fn data_files(&self, prefix: String) -> Result<Vec<String>> {
        match &self.place {
            Place::Disk(it) => it.data_files(prefix).await,
            Place::Objects(it) => it.data_files(&prefix).await,
        }
    }

    /// Removes commits and probes of this writer that were begun and never came to be.
    pub(crate) async fn remove_unfinished(&self, writer: WriterHash) -> Result<()> {
        match &self.place {
            Place::Disk(it) => it.remove_unfinished_commits(writer).await,
            Place::Objects(it) => {
                let probes = it.data_files(&writer.probe_prefix()).await?;
                if probes.is_empty() { Ok(()) } else { it.remove(probes).await }
            }
        }
    }

    /// Whether commits are safe here.
    ///
    /// # Errors
    /// `Config` if they are not.
    pub(crate) async fn probe(&self, writer: WriterHash) -> Result<()> {
        match &self.place {
            Place::Disk(_) => Ok(()),
            Place::Objects(it) => it.probe(writer).await,
        }
    }

    /// This store as the log that commits go to.
    pub(crate) fn log(&self, io: &Handle, writer: WriterHash) -> StoreLog {
        StoreLog { store: self.clone(), io: io.clone(), writer }
    }
}

/// The log of a table's folder.
pub(crate) struct StoreLog {
    store: TableStore,
    io: Handle,
    writer: WriterHash,
}

#[async_trait]
impl TableLog for StoreLog {
    async fn put(&self, version: u64, body: Bytes) -> Put {
        match &self.store.place {
            Place::Disk(it) => it.put_commit(self.writer, version, body).await,
            Place::Objects(it) => it.put_commit(version, body).await,
        }
    }

    async fn get(&self, version: u64) -> Result<Option<Bytes>> {
        self.store.log.read_commit_entry(version).await.map_err(delta_error)
    }

    async fn shape(&self, version: u64) -> Result<Shape> {
        let log = self.store.log.clone();
        let read = async move {
            let snapshot = Snapshot::try_new(&log, Some(version)).await?;
            let retention = snapshot.table_properties().log_retention_duration;
            Shape::read(version, snapshot.metadata(), snapshot.protocol(), retention)
        };
        on(&self.io, read).await
    }

    async fn confirm(&self) -> Result<()> {
        self.store.sync_log().await
    }
}

/// Runs beside the workers of the runtime for disk and network: the Delta library computes and blocks between its waits, and
/// what it is given to wait for would stay in the queue of a worker that does so, unseen by the others. Dropped, the work
/// ends at its next wait.
async fn on<T: Send + 'static>(
    io: &Handle,
    run: impl Future<Output = Result<T, DeltaTableError>> + Send + 'static,
) -> Result<T> {
    let broke_off = || Error::internal("work on the table's log broke off");
    let (wanted, dropped) = oneshot::channel::<()>();
    let runtime = io.clone();
    let work = io.spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                biased;
                done = run => Some(done),
                _ = dropped => None,
            }
        })
    });
    let done = work.await.map_err(|e| broke_off().because(e))?;
    drop(wanted);
    done.ok_or_else(broke_off)?.map_err(delta_error)
}

pub(crate) fn delta_error(e: DeltaTableError) -> Error {
    match e {
        DeltaTableError::Io { source } => io_error("log", "can't be read", source),
        DeltaTableError::ObjectStore { source } => {
            // Not found is a commit that was cleaned away while the log was read: read again it is not looked for.
            let gone = matches!(source, StoreError::NotFound { .. });
            let kind = if gone { ErrorKind::Transient } else { kind_of(&source) };
            Error::new(kind, "log can't be read").because(source)
        }
        e => match below(&e) {
            Some(kind) => Error::new(kind, "log can't be read").because(e),
            None => Error::config("log can't be used").because(e),
        },
    }
}

/// The kind of a failure of the disk or the store that the library has wrapped; nothing if it is none.
fn below(e: &DeltaTableError) -> Option<ErrorKind> {
    // The kernel's error type is not exported, and does not name the store's error as its source: its words must do.
    if e.to_string().contains("Error interacting with object store") {
        return Some(ErrorKind::Transient);
    }
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(e);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<StoreError>() {
            return Some(kind_of(error));
        }
        if error.is::<std::io::Error>() {
            return Some(ErrorKind::Transient);
        }
        next = error.source();
    }
    None
}

impl Shape {
    fn read(
        version: u64,
        metadata: &Metadata,
        protocol: &Protocol,
        log_retention: Option<std::time::Duration>,
    ) -> Result<Self, DeltaTableError> {
        let features = [protocol.reader_features(), protocol.writer_features()];
        Ok(Self {
            version,
            id: metadata.id().to_owned(),
            reader_version: protocol.min_reader_version(),
            writer_version: protocol.min_writer_version(),
            features: features.into_iter().flatten().flatten().map(ToString::to_string).collect(),
            schema: metadata.parse_schema()?,
            partition_by: metadata.partition_columns().to_vec(),
            properties: metadata.configuration().clone().into_iter().collect(),
            log_retention: log_retention.unwrap_or(DEFAULT_LOG_RETENTION),
        })
    }
}

/// Delta's default for `delta.logRetentionDuration`.
const DEFAULT_LOG_RETENTION: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);
