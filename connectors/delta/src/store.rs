//! `TableStore`: the table's folder. Data files, and commits that are there whole or not at all.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use deltalake::kernel::{Metadata, Protocol, Snapshot};
use deltalake::logstore::{LogStoreRef, StorageConfig, logstore_for};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError, checkpoints};
use tidegate_api::{Error, ErrorKind, Result, async_trait};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use url::Url;
use uuid::Uuid;

use crate::commit::{Put, TableLog};
use crate::entry::{self, Held};
use crate::names::WriterHash;
use crate::table::Shape;

const LOG: &str = "_delta_log";

/// A table's folder on local disk.
#[derive(Clone)]
pub(crate) struct TableStore {
    root: Arc<Path>,
    log: LogStoreRef,
}

/// What opening a table finds.
pub(crate) struct Loaded {
    pub(crate) shape: Shape,
    /// The last epoch that the table holds of a writer, and by which attempt.
    pub(crate) held: Option<Held>,
}

impl TableStore {
    /// The table in folder `path`, which need not be there.
    pub(crate) fn local(path: &Path) -> Result<Self> {
        let wrong = || Error::config(format!("path '{}' names no local folder", path.display()));
        let root = std::path::absolute(path).map_err(|e| wrong().because(e))?;
        let url = Url::from_directory_path(&root).map_err(|()| wrong())?;
        let log = logstore_for(&url, StorageConfig::default()).map_err(delta_error)?;
        Ok(Self { root: root.into(), log })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether there is a table.
    pub(crate) async fn exists(&self) -> Result<bool> {
        self.log.is_delta_table_location().await.map_err(delta_error)
    }

    /// The table as it is now, and the last epoch that it holds of `app_id`.
    pub(crate) async fn load(&self, io: &Handle, app_id: &str) -> Result<Loaded> {
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
            Ok((shape, epoch, attempt))
        };
        let (shape, epoch, attempt) = on(io, load).await?;
        let attempt = attempt.and_then(entry::attempt_of);
        let held = epoch.map(|it| {
            let wrong = |_| Error::config(format!("holds epoch {it} of this writer, expected 0 or more"));
            Ok(Held { epoch: u64::try_from(it).map_err(wrong)?, attempt, paths: Vec::new() })
        });
        Ok(Loaded { shape, held: held.transpose()? })
    }

    /// The newest version, found by a listing.
    pub(crate) async fn newest_version(&self, io: &Handle) -> Result<u64> {
        let log = self.log.clone();
        on(io, async move { Ok(Snapshot::try_new(&log, None).await?.version()) }).await
    }

    /// Writes a checkpoint of the newest version and gives that; removes log files that are too old if `clean`.
    pub(crate) async fn checkpoint(&self, io: &Handle, clean: bool) -> Result<u64> {
        let (log, root) = (self.log.clone(), self.root.clone());
        let write = async move {
            let mut table = DeltaTable::new(log);
            table.load().await?;
            let version = table.snapshot()?.version();
            checkpoints::create_checkpoint(&table, None).await?;
            // The pointer must not outlive its checkpoint: both are synced before anything older is removed.
            let folder = root.join(LOG);
            let names = [format!("{version:020}.checkpoint.parquet"), "_last_checkpoint".to_owned()];
            blocking(move || {
                for name in names.iter().map(|it| folder.join(it)).filter(|it| it.exists()) {
                    std::fs::File::open(name)?.sync_all()?;
                }
                sync_folder(&folder)
            })
            .await
            .map_err(|e| DeltaTableError::Io { source: e })?;
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
        let bytes = tokio::fs::read(self.root.join(LOG).join("_last_checkpoint")).await.ok()?;
        serde_json::from_slice::<serde_json::Value>(&bytes).ok()?.get("version")?.as_u64()
    }

    /// Creates a data file and the folders above it.
    pub(crate) async fn create_file(&self, path: &str) -> Result<tokio::fs::File> {
        let full = self.root.join(path);
        if let Some(folder) = full.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(|e| io_error(path, "can't be created", e))?;
        }
        tokio::fs::File::create_new(&full).await.map_err(|e| io_error(path, "can't be created", e))
    }

    /// Makes the names in these folders durable, and theirs, up to the table.
    pub(crate) async fn sync_folders(&self, folders: &BTreeSet<String>) -> Result<()> {
        let mut all = BTreeSet::new();
        for folder in folders {
            let mut folder = self.root.join(folder);
            while folder.starts_with(&self.root) && all.insert(folder.clone()) && folder.pop() {}
        }
        blocking(move || all.iter().try_for_each(|it| sync_folder(it)))
            .await
            .map_err(|e| io_error(&self.root.display().to_string(), "can't be synced", e))
    }

    /// Makes the table's folder itself durable.
    pub(crate) async fn sync_root(&self) -> Result<()> {
        let root = self.root.clone();
        blocking(move || {
            sync_folder(&root)?;
            root.parent().map_or(Ok(()), sync_folder)
        })
        .await
        .map_err(|e| io_error(&self.root.display().to_string(), "can't be synced", e))
    }

    /// Removes data files; those that are gone are no error.
    pub(crate) async fn remove(&self, paths: Vec<String>) -> Result<()> {
        let root = self.root.clone();
        blocking(move || {
            for path in &paths {
                match std::fs::remove_file(root.join(path)) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
            }
            Ok(())
        })
        .await
        .map_err(|e| io_error(&self.root.display().to_string(), "has a data file that can't be removed", e))
    }

    /// Data files whose name begins with `prefix`, relative to the table.
    pub(crate) async fn data_files(&self, prefix: String) -> Result<Vec<String>> {
        let root = self.root.clone();
        blocking(move || {
            let mut found = Vec::new();
            let mut folders = vec![root.to_path_buf()];
            while let Some(folder) = folders.pop() {
                for entry in std::fs::read_dir(folder)? {
                    let entry = entry?;
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    // Folders of that kind are the log and what other programs hide.
                    if entry.file_type()?.is_dir() && !name.starts_with(['_', '.']) {
                        folders.push(entry.path());
                    } else if name.starts_with(&prefix) {
                        let path = entry.path();
                        found.extend(path.strip_prefix(&root).ok().map(|it| it.to_string_lossy().into_owned()));
                    }
                }
            }
            Ok(found)
        })
        .await
        .map_err(|e| io_error(&self.root.display().to_string(), "can't be listed", e))
    }

    /// Removes commits of this writer that were begun and never came to be.
    pub(crate) async fn remove_unfinished_commits(&self, writer: WriterHash) -> Result<()> {
        let folder = self.root.join(LOG);
        blocking(move || {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(&writer.commit_prefix()) {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        })
        .await
        .map_err(|e| io_error(&self.root.display().to_string(), "has a log that can't be listed", e))
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
        let folder = self.store.root.join(LOG);
        let prefix = self.writer.commit_prefix();
        match blocking(move || put_commit(&folder, &prefix, version, &body)).await {
            Ok(true) => Put::Written,
            Ok(false) => Put::Exists,
            Err(e) => Put::Unknown(io_error(&format!("commit {version}"), "may not have been written", e)),
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
}

/// Creates the file of a commit if its number is free; false if it is taken. Whole and durable when it is seen.
fn put_commit(folder: &Path, prefix: &str, version: u64, body: &[u8]) -> io::Result<bool> {
    std::fs::create_dir_all(folder)?;
    let draft = folder.join(format!("{prefix}{version}-{}.tmp", Uuid::new_v4().simple()));
    let mut file = std::fs::File::create_new(&draft)?;
    let linked = file.write_all(body).and_then(|()| file.sync_all()).and_then(|()| {
        // A link fails if the name is taken; a rename would replace.
        std::fs::hard_link(&draft, folder.join(format!("{version:020}.json")))
    });
    if let Err(error) = std::fs::remove_file(&draft) {
        tracing::debug!(%error, "the draft of a commit stays behind");
    }
    match linked {
        Ok(()) => sync_folder(folder).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?
}

/// Aborts its task when dropped.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs on the runtime for disk and network: the Delta library blocks and needs more than one thread.
async fn on<T: Send + 'static>(
    io: &Handle,
    run: impl Future<Output = Result<T, DeltaTableError>> + Send + 'static,
) -> Result<T> {
    let mut task = Owned(io.spawn(run));
    let done = (&mut task.0).await.map_err(|e| Error::internal("work on the table's log broke off").because(e))?;
    done.map_err(delta_error)
}

pub(crate) fn io_error(what: &str, why: &str, e: io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory | io::ErrorKind::ReadOnlyFilesystem => {
            ErrorKind::Config
        }
        _ => ErrorKind::Transient,
    };
    Error::new(kind, format!("{what} {why}")).because(e)
}

pub(crate) fn delta_error(e: DeltaTableError) -> Error {
    match e {
        DeltaTableError::Io { source } => io_error("log", "can't be read", source),
        e @ DeltaTableError::ObjectStore { .. } => Error::transient("log can't be read").because(e),
        e => Error::config("log can't be used").because(e),
    }
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
