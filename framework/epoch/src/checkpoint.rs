//! The checkpoint folder: opened by one owner, who alone may write into it.
//!
//! ```text
//! metadata  offsets/<n>  commits/<n>  sources/<i>/…      Spark's layout, for people and tools
//! state/owner  state/generation                           who owns it
//! state/version  state/location                           what it is, and where it belongs
//! state/names                                             source names by index, for ever
//! state/wal/<n>.<attempt>  state/snapshots/<n>            the truth
//! state/sinks/<name>/…  state/tables/<name>/…             logs of sinks and static tables
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_api::{Clock, Error, MetadataLog, QueryId, Result};

use crate::disk::{self, Disk, Marks, blocking, failed};
use crate::fault::Faults;
use crate::log::spark::{self, SparkLogs};
use crate::log::wal::Wal;
use crate::metadata_log::FolderLog;
use crate::owner::{Locked, Owner};
use crate::snapshot::SnapshotFiles;

/// The layout that this program writes, and the newest that it reads.
const VERSION: u32 = 1;

/// How to open a checkpoint.
pub struct CheckpointOptions {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Fault points, for tests.
    pub faults: Faults,
}

impl CheckpointOptions {
    /// Without faults, but for those that the environment names.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, faults: Faults::default() }
    }
}

/// A checkpoint that this process owns. Dropping it gives it up.
pub struct Checkpoint {
    root: PathBuf,
    query_id: QueryId,
    run_id: Arc<str>,
    names: Mutex<Vec<Arc<str>>>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) owner: Arc<Owner>,
    pub(crate) wal: Wal,
    pub(crate) spark: SparkLogs,
    pub(crate) snapshots: SnapshotFiles,
}

impl Checkpoint {
    /// Takes ownership of the checkpoint at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// `Config` if somebody else owns it, if it is a copy, newer than this program, or without its identity;
    /// `Transient` if the disk fails.
    pub fn open(path: &Path, options: CheckpointOptions) -> Result<Self> {
        blocking(|| Self::open_blocking(path, options))
    }

    fn open_blocking(path: &Path, options: CheckpointOptions) -> Result<Self> {
        options.faults.arm_from_env()?;
        let disk = Arc::new(Disk::new(options.clock, options.faults));
        disk.make_folder(path)?;
        let root = path.canonicalize().map_err(|e| failed("open", path, e))?;
        let state = root.join("state");
        disk.make_folder(&state)?;
        let locked = Locked::take(&root, &state)?;
        let wal = Wal::new(state.join("wal"), disk.clone());
        let spark = SparkLogs::new(&root, disk.clone());
        let has_logs = spark.latest()?.is_some() || !wal.attempts()?.is_empty();
        check_version(&root, &state, &disk, has_logs)?;
        check_location(&root, &state, &disk)?;
        let query_id = match spark::read_metadata(&root)? {
            Some(id) => id,
            None if has_logs => return Err(missing_metadata(&root)),
            None => spark::mint_metadata(&root, &disk)?,
        };
        let folders = [state.join("wal"), state.join("snapshots")];
        for folder in folders.iter().map(PathBuf::as_path).chain(spark.folders()) {
            disk.make_folder(folder)?;
            disk::remove_temporaries(folder)?;
        }
        let names = read_names(&state)?;
        let run_id: Arc<str> = uuid::Uuid::new_v4().to_string().into();
        let owner = locked.claim(&disk, run_id.clone())?;
        Ok(Self {
            query_id,
            run_id,
            names: Mutex::new(names),
            owner: Arc::new(owner),
            wal,
            spark,
            snapshots: SnapshotFiles::new(state.join("snapshots"), disk.clone()),
            disk,
            root,
        })
    }

    /// The query's identity, minted with the checkpoint.
    pub fn query_id(&self) -> &QueryId {
        &self.query_id
    }

    /// The identity of this run, minted with each start.
    pub fn run_id(&self) -> &Arc<str> {
        &self.run_id
    }

    /// Rises with every start.
    pub fn generation(&self) -> u64 {
        self.owner.generation()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The log of a source, under the index that its name keeps for ever.
    ///
    /// # Errors
    /// `Transient` if a new name can't be written down.
    pub fn source_log(&self, name: &str) -> Result<Arc<dyn MetadataLog>> {
        let index = self.source_index(name)?;
        Ok(self.log(self.root.join("sources").join(index.to_string())))
    }

    /// The log of a sink.
    ///
    /// # Errors
    /// None today; as [`Checkpoint::source_log`].
    pub fn sink_log(&self, name: &str) -> Result<Arc<dyn MetadataLog>> {
        Ok(self.log(self.root.join("state/sinks").join(name)))
    }

    /// The log of a static table: it takes no line in `offsets/<n>`.
    ///
    /// # Errors
    /// None today; as [`Checkpoint::source_log`].
    pub fn table_log(&self, name: &str) -> Result<Arc<dyn MetadataLog>> {
        Ok(self.log(self.root.join("state/tables").join(name)))
    }

    fn log(&self, folder: PathBuf) -> Arc<dyn MetadataLog> {
        Arc::new(FolderLog::new(folder, self.disk.clone()))
    }

    /// The index of a source; a new name gets the next one, durably.
    pub(crate) fn source_index(&self, name: &str) -> Result<usize> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = names.iter().position(|it| **it == *name) {
            return Ok(index);
        }
        let mut more = names.clone();
        more.push(name.into());
        let text = serde_json::to_vec(&more).map_err(|e| Error::internal("source names").because(e))?;
        blocking(|| self.disk.write(&self.root.join("state"), "names", &[&text], &Marks::NONE))?;
        *names = more;
        Ok(names.len() - 1)
    }
}

fn missing_metadata(root: &Path) -> Error {
    let root = root.display();
    Error::config(format!(
        "STREAMING_CHECKPOINT_MISSING_METADATA_FILE: checkpoint {root} has logs but no file 'metadata', which holds the \
         query's identity; put it back or choose another checkpoint.location"
    ))
}

fn check_version(root: &Path, state: &Path, disk: &Disk, has_logs: bool) -> Result<()> {
    let Some(bytes) = disk::read(&state.join("version"))? else {
        if has_logs {
            let text = "has logs but no file 'state/version': it was not written by tidegate, or is damaged";
            return Err(Error::config(format!("checkpoint {} {text}", root.display())));
        }
        return disk.write(state, "version", &[VERSION.to_string().as_bytes()], &Marks::NONE);
    };
    match std::str::from_utf8(&bytes).ok().and_then(|it| it.trim().parse::<u32>().ok()) {
        Some(VERSION) => Ok(()),
        Some(found) => {
            let root = root.display();
            Err(Error::config(format!("checkpoint {root}: found state version {found}, expected at most {VERSION}")))
        }
        None => Err(Error::config(format!("checkpoint {}: 'state/version' is damaged", root.display()))),
    }
}

fn check_location(root: &Path, state: &Path, disk: &Disk) -> Result<()> {
    let here = root.as_os_str().as_encoded_bytes();
    match disk::read(&state.join("location"))? {
        None => disk.write(state, "location", &[here], &Marks::NONE),
        Some(there) if there == here => Ok(()),
        Some(there) => {
            let (root, there) = (root.display(), String::from_utf8_lossy(&there).into_owned());
            Err(Error::config(format!(
                "checkpoint {root} belongs at {there}: it is a copy, and two queries with one identity would overwrite \
                 each other's output; move it back (adopting a copy is not supported yet)"
            )))
        }
    }
}

fn read_names(state: &Path) -> Result<Vec<Arc<str>>> {
    let path = state.join("names");
    let Some(bytes) = disk::read(&path)? else { return Ok(Vec::new()) };
    serde_json::from_slice(&bytes).map_err(|e| Error::config(format!("{} is damaged", path.display())).because(e))
}
