//! Where the checkpoint of a case lies.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidegate_api::{Error, Result};
use tidegate_storage::Location;
use tidegate_storage::object_store::memory::InMemory;
use tidegate_storage::object_store::{ObjectStore, path::Path as StorePath};
use url::Url;

use super::log::Files;
use crate::store::{FlakyPlan, FlakyStore};

/// Where the checkpoint lies.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// In an object store in memory.
    Memory,
    /// On the local disk, in a folder of its own for each case.
    Disk,
    /// On the local disk, in this folder, for a single case.
    At(PathBuf),
    /// In an object store whose requests go wrong at random, from this seed.
    Flaky(u64),
}

/// The place of one case.
pub(crate) struct Ground {
    pub(crate) location: Location,
    pub(crate) files: Files,
    pub(crate) flaky: Option<FlakyStore>,
    /// Where nothing goes wrong, and nothing is on disk.
    memory: Option<Arc<InMemory>>,
    /// For sinks and the local disk; made when it is asked for.
    folder: Option<TempDir>,
}

impl Ground {
    pub(crate) fn new(place: &Place, with_folder: bool) -> Result<Self> {
        let folder = if with_folder || *place == Place::Disk { Some(folder()?) } else { None };
        let in_memory = Arc::new(InMemory::new());
        let memory: Arc<dyn ObjectStore> = in_memory.clone();
        let (location, files, flaky) = match (place, &folder) {
            (Place::At(folder), _) => (Location::at(folder)?, Files::Disk(folder.clone()), None),
            (Place::Disk, Some(folder)) => {
                let path = folder.path().join("checkpoint");
                (Location::at(&path)?, Files::Disk(path), None)
            }
            (Place::Flaky(seed), _) => {
                let flaky = FlakyStore::new(memory.clone(), *seed);
                flaky.set(plan());
                let location = in_store(Arc::new(flaky.clone()))?;
                (location.clone(), Files::Store(memory, location), Some(flaky))
            }
            _ => {
                let location = in_store(memory.clone())?;
                (location.clone(), Files::Store(memory, location), None)
            }
        };
        let memory = (*place == Place::Memory && folder.is_none()).then_some(in_memory);
        Ok(Self { location, files, flaky, memory, folder })
    }

    /// A place of its own that holds what this one holds now; none if it is not in memory.
    pub(crate) fn fork(&self) -> Result<Option<Self>> {
        let Some(memory) = &self.memory else { return Ok(None) };
        let memory = Arc::new(memory.fork());
        let location = in_store(memory.clone())?;
        let files = Files::Store(memory.clone(), location.clone());
        Ok(Some(Self { location, files, flaky: None, memory: Some(memory), folder: None }))
    }

    /// An empty folder for the outside system of a sink.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let root = self.folder.as_ref().ok_or_else(|| Error::internal("the case has no folder"))?;
        let own = root.path().join(name);
        std::fs::create_dir(&own).map_err(|e| Error::internal(own.display().to_string()).because(e))?;
        Ok(own)
    }
}

/// About every sixth request goes wrong, but never so often that the store's own tries give up.
pub(crate) fn plan() -> FlakyPlan {
    FlakyPlan {
        fail: 0.03,
        unavailable: 0.03,
        lose_reply: 0.04,
        repeat: 0.02,
        overtake: 0.0,
        land_late: 0.03,
        delay: Some((0.05, Duration::from_millis(200))),
        most_in_a_row: Some(2),
        ..FlakyPlan::default()
    }
}

fn in_store(store: Arc<dyn ObjectStore>) -> Result<Location> {
    let url = Url::parse("memory:///checkpoint").map_err(|e| Error::internal("a URL").because(e))?;
    Ok(Location::of_store(url, store, StorePath::from("checkpoint")))
}

/// Crashes here are of processes, not of machines: memory is disk enough, where there is some.
pub(super) fn folder() -> Result<TempDir> {
    let shared = Path::new("/dev/shm");
    let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let made = tempfile::Builder::new().prefix("tidegate-crash-").tempdir_in(&parent);
    made.map_err(|e| Error::internal(parent.display().to_string()).because(e))
}
