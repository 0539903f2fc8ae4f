//! The checkpoint folder: opened by one owner, who alone may write into it.
//!
//! ```text
//! metadata  offsets/<n>  commits/<n>  sources/<i>/…      Spark's layout, for people and tools
//! state/owner  state/generations/<g>                      who owns it
//! state/version  state/location                           what it is, and where it belongs
//! state/sources/<i>                                       names of sources, for ever
//! state/wal/<n>.<attempt>  state/snapshots/<n>.<attempt>  the truth
//! state/staged/<n>.<attempt>.<sink>                       rows that a record names, until their epoch is decided
//! state/branches/<n>                                      where the query went back: epoch n goes on from an earlier one
//! state/sinks/<name>/…  state/tables/<name>/…             logs of sinks and static tables
//! .<name>.crc                                             checksums of files that have none inside
//! ```

mod identity;
mod import;
mod names;

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{Clock, MetadataLog, Ownership, QueryId, Result};
use tidegate_storage::Location;
use tokio::runtime::Handle;

use crate::fault::Faults;
use crate::log::branch::{self, Branches};
use crate::log::spark::SparkLogs;
use crate::log::wal::Wal;
use crate::metadata_log::FolderLog;
use crate::owner::{Candidate, Owner, OwnerOptions};
use crate::snapshot::SnapshotFiles;
use crate::stage;
use crate::store::{Store, failed};

use identity::Place;
use names::Names;

pub use import::ImportPoint;

pub(crate) use identity::{LOCATION_KEY, VERSION, VERSION_KEY, read_version};
pub(crate) use names::read as read_names;

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
    /// Where heartbeats run, so that no work of a query holds them up; nothing: where the checkpoint is opened.
    pub io: Option<Handle>,
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
            io: None,
        }
    }
}

/// A checkpoint that this process owns. Dropping it gives it up.
pub struct Checkpoint {
    query_id: QueryId,
    run_id: Arc<str>,
    names: Names,
    pub(crate) store: Arc<Store>,
    pub(crate) owner: Arc<Owner>,
    pub(crate) wal: Wal,
    pub(crate) spark: SparkLogs,
    pub(crate) snapshots: SnapshotFiles,
    pub(crate) branches: Branches,
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
            io: options.io,
        };
        let place = Place::read(&store).await?;
        place.check(&store, options.adopt)?;
        let candidate = Candidate::new(&store, &owner, place.is_copy()).await?;
        let (wal, spark) = (Wal::new(store.clone()), SparkLogs::new(store.clone()));
        let has_logs = spark.latest().await?.is_some() || !wal.attempts().await?.is_empty();
        let version = identity::version(&store, has_logs).await?;
        let mut query_id = identity::query_id(&store, has_logs).await?;
        let owner = Arc::new(candidate.claim(&store, &owner).await?);
        let snapshots = SnapshotFiles::new(store.clone());
        if version != VERSION {
            snapshots.rename_old().await?;
            identity::raise_version(&store).await?;
        }
        match place {
            Place::Here => {}
            Place::New => identity::settle(&store).await?,
            Place::Elsewhere(_) => query_id = identity::adopt(&store).await?,
        }
        for folder in
            ["state/wal", "state/snapshots", stage::FOLDER, branch::FOLDER].into_iter().chain(SparkLogs::FOLDERS)
        {
            store.make_folder(folder).await?;
        }
        store.sweep().await?;
        Ok(Self {
            query_id,
            run_id,
            names: Names::open(store.clone()).await?,
            spark: spark.owned(owner.clone()),
            owner,
            wal,
            snapshots,
            branches: Branches::new(store.clone()),
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
        Arc::new(FolderLog::new(folder, self.store.clone(), self.owner.clone()))
    }

    /// The index of a source; a new name gets the next one, durably.
    pub(crate) async fn source_index(&self, name: &str) -> Result<usize> {
        self.names.index(name).await
    }
}

/// A local folder by the one name that it has whatever way leads to it; it is made if it is not there.
fn canonical(location: &Location) -> Result<Location> {
    let Some(path) = location.local() else { return Ok(location.clone()) };
    std::fs::create_dir_all(path).map_err(|e| failed("create", path, e))?;
    let path = path.canonicalize().map_err(|e| failed("open", path, e))?;
    Location::at(&path)
}
