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

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{Clock, Error, MetadataLog, Ownership, QueryId, Result};
use tidegate_storage::Location;
use tokio::sync::Mutex;

use crate::fault::Faults;
use crate::log::spark::{self, SparkLogs};
use crate::log::wal::Wal;
use crate::metadata_log::FolderLog;
use crate::owner::{Candidate, Owner, OwnerOptions};
use crate::snapshot::SnapshotFiles;
use crate::store::{Marks, Store, failed};

/// The layout that this program writes, and the newest that it reads.
const VERSION: u32 = 1;
const VERSION_KEY: &str = "state/version";
const LOCATION_KEY: &str = "state/location";
const NAMES_KEY: &str = "state/names";

/// How to open a checkpoint.
pub struct CheckpointOptions {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Fault points, for tests.
    pub faults: Faults,
    /// How long a silent owner on an object store is waited for (15 s).
    pub lease_timeout: Duration,
    /// Takes the checkpoint from its owner, who is known to be dead.
    pub take_over: bool,
    /// Makes a copied checkpoint a new query, with an identity of its own.
    pub adopt: bool,
    /// False leaves it to the sinks alone to fence an old owner. For tests of that.
    pub check_ownership: bool,
}

impl CheckpointOptions {
    /// Without faults, but for those that the environment names.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            faults: Faults::default(),
            lease_timeout: Duration::from_secs(15),
            take_over: false,
            adopt: false,
            check_ownership: true,
        }
    }
}

/// A checkpoint that this process owns. Dropping it gives it up.
pub struct Checkpoint {
    query_id: QueryId,
    run_id: Arc<str>,
    names: Mutex<Vec<Arc<str>>>,
    pub(crate) store: Arc<Store>,
    pub(crate) owner: Arc<Owner>,
    pub(crate) wal: Wal,
    pub(crate) spark: SparkLogs,
    pub(crate) snapshots: SnapshotFiles,
}

impl Checkpoint {
    /// Takes ownership of the checkpoint at `location`, which is made if it is not there.
    ///
    /// # Errors
    /// `Config` if somebody else owns it, if it is a copy, newer than this program, or without its identity;
    /// `Transient` if the disk or the store fails.
    pub async fn open(location: &Location, options: CheckpointOptions) -> Result<Self> {
        options.faults.arm_from_env()?;
        let location = canonical(location)?;
        let store = Arc::new(Store::new(location, options.clock.clone(), options.faults));
        store.make_folder("state").await?;
        let run_id: Arc<str> = uuid::Uuid::new_v4().to_string().into();
        let owner = OwnerOptions {
            clock: options.clock,
            run_id: run_id.clone(),
            lease_timeout: options.lease_timeout,
            take_over: options.take_over,
            check: options.check_ownership,
        };
        let candidate = Candidate::new(&store, &owner).await?;
        let (wal, spark) = (Wal::new(store.clone()), SparkLogs::new(store.clone()));
        let has_logs = spark.latest().await?.is_some() || !wal.attempts().await?.is_empty();
        check_version(&store, has_logs).await?;
        check_location(&store).await?;
        let query_id = match spark::read_metadata(&store).await? {
            Some(id) => id,
            None if has_logs => return Err(missing_metadata(&store)),
            None => spark::mint_metadata(&store).await?,
        };
        for folder in ["state/wal", "state/snapshots"].into_iter().chain(SparkLogs::FOLDERS) {
            store.make_folder(folder).await?;
        }
        let names = read_names(&store).await?;
        let owner = candidate.claim(&store, &owner).await?;
        Ok(Self {
            query_id,
            run_id,
            names: Mutex::new(names),
            owner: Arc::new(owner),
            wal,
            spark,
            snapshots: SnapshotFiles::new(store.clone()),
            store,
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

    /// Where it lies.
    pub fn location(&self) -> &Location {
        self.store.location()
    }

    /// Whether this process still owns it, for connectors.
    pub fn ownership(&self) -> Arc<dyn Ownership> {
        self.owner.clone()
    }

    /// The log of a source, under the index that its name keeps for ever.
    ///
    /// # Errors
    /// `Transient` if a new name can't be written down.
    pub async fn source_log(&self, name: &str) -> Result<Arc<dyn MetadataLog>> {
        let index = self.source_index(name).await?;
        Ok(self.log(format!("sources/{index}")))
    }

    /// The log of a sink.
    pub fn sink_log(&self, name: &str) -> Arc<dyn MetadataLog> {
        self.log(format!("state/sinks/{name}"))
    }

    /// The log of a static table: it takes no line in `offsets/<n>`.
    pub fn table_log(&self, name: &str) -> Arc<dyn MetadataLog> {
        self.log(format!("state/tables/{name}"))
    }

    fn log(&self, folder: String) -> Arc<dyn MetadataLog> {
        Arc::new(FolderLog::new(folder, self.store.clone()))
    }

    /// The index of a source; a new name gets the next one, durably.
    pub(crate) async fn source_index(&self, name: &str) -> Result<usize> {
        let mut names = self.names.lock().await;
        if let Some(index) = names.iter().position(|it| **it == *name) {
            return Ok(index);
        }
        let mut more = names.clone();
        more.push(name.into());
        let text = serde_json::to_vec(&more).map_err(|e| Error::internal("source names").because(e))?;
        self.store.write(NAMES_KEY, &[&text], &Marks::NONE).await?;
        *names = more;
        Ok(names.len() - 1)
    }
}

/// A local folder by the one name that it has whatever way leads to it; it is made if it is not there.
fn canonical(location: &Location) -> Result<Location> {
    let Some(path) = location.local() else { return Ok(location.clone()) };
    std::fs::create_dir_all(path).map_err(|e| failed("create", path, e))?;
    let path = path.canonicalize().map_err(|e| failed("open", path, e))?;
    Location::at(&path)
}

fn missing_metadata(store: &Store) -> Error {
    let root = store.location();
    Error::config(format!(
        "STREAMING_CHECKPOINT_MISSING_METADATA_FILE: checkpoint {root} has logs but no file 'metadata', which holds the \
         query's identity; put it back or choose another checkpoint.location"
    ))
}

async fn check_version(store: &Store, has_logs: bool) -> Result<()> {
    let root = store.location();
    let Some(bytes) = store.read(VERSION_KEY).await? else {
        if has_logs {
            let text = "has logs but no file 'state/version': it was not written by tidegate, or is damaged";
            return Err(Error::config(format!("checkpoint {root} {text}")));
        }
        return store.write(VERSION_KEY, &[VERSION.to_string().as_bytes()], &Marks::NONE).await;
    };
    match std::str::from_utf8(&bytes).ok().and_then(|it| it.trim().parse::<u32>().ok()) {
        Some(VERSION) => Ok(()),
        Some(found) => {
            Err(Error::config(format!("checkpoint {root}: found state version {found}, expected at most {VERSION}")))
        }
        None => Err(Error::config(format!("checkpoint {root}: 'state/version' is damaged"))),
    }
}

async fn check_location(store: &Store) -> Result<()> {
    let here = store.location().to_string();
    match store.read(LOCATION_KEY).await? {
        None => store.write(LOCATION_KEY, &[here.as_bytes()], &Marks::NONE).await,
        Some(there) if there == here.as_bytes() => Ok(()),
        Some(there) => {
            let there = String::from_utf8_lossy(&there).into_owned();
            Err(Error::config(format!(
                "checkpoint {here} belongs at {there}: it is a copy, and two queries with one identity would overwrite \
                 each other's output; move it back (adopting a copy is not supported yet)"
            )))
        }
    }
}

async fn read_names(store: &Store) -> Result<Vec<Arc<str>>> {
    let Some(bytes) = store.read(NAMES_KEY).await? else { return Ok(Vec::new()) };
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::config(format!("{} is damaged", store.name(NAMES_KEY))).because(e))
}
