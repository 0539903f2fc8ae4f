//! Data files that were in the table at an older version.

use std::collections::BTreeSet;

use deltalake::kernel::{Add, Snapshot};
use deltalake::{DeltaTableError, Path as StorePath};
use futures::TryStreamExt as _;
use serde_json::Value;
use tidegate_api::{Error, Result};
use tidegate_storage::object_store::{Error as StoreError, ObjectStoreExt as _};
use tokio::runtime::Handle;

use super::{TableStore, delta_error, on};

impl TableStore {
    /// The actions that add these files again, as version `version` of the table has them.
    ///
    /// # Errors
    /// `Config` if it does not have them all.
    pub(crate) async fn files_at(&self, io: &Handle, version: u64, paths: BTreeSet<String>) -> Result<Vec<Value>> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let mut wanted = paths.iter().map(|it| store_path(it)).collect::<Result<BTreeSet<_>>>()?;
        let log = self.log.clone();
        let find = async move {
            let snapshot = Snapshot::try_new(&log, Some(version)).await?;
            let mut views = snapshot.file_views(&log, None);
            let mut found = Vec::new();
            while let Some(file) = views.try_next().await? {
                if wanted.remove(&file.object_store_path()) {
                    let add = Add {
                        path: file.path().into_owned(),
                        partition_values: file.partition_values_map(),
                        size: file.size(),
                        modification_time: file.modification_time(),
                        data_change: true,
                        stats: file.stats(),
                        deletion_vector: file.deletion_vector_descriptor(),
                        ..Add::default()
                    };
                    found.push(serde_json::to_value(add)?);
                }
            }
            Ok::<_, DeltaTableError>((found, wanted))
        };
        let (found, missing) = on(io, find).await?;
        match missing.first() {
            Some(path) => Err(Error::config(format!("version {version} does not have file {path}"))),
            None => Ok(found),
        }
    }

    /// Whether these files are there still.
    ///
    /// # Errors
    /// `Config` if one is gone.
    pub(crate) async fn check_files(&self, paths: impl Iterator<Item = &str>) -> Result<()> {
        let store = self.log.object_store(None);
        for path in paths {
            match store.head(&store_path(path)?).await {
                Ok(_) => {}
                Err(StoreError::NotFound { .. }) => {
                    return Err(Error::config(format!(
                        "file {path} was removed (VACUUM): the table can't be taken back to where it was needed"
                    )));
                }
                Err(e) => return Err(delta_error(e.into())),
            }
        }
        Ok(())
    }
}

/// The path in a store that an action's path means: that is escaped as in a URL.
fn store_path(path: &str) -> Result<StorePath> {
    StorePath::from_url_path(path).map_err(|e| Error::config(format!("file '{path}' is not in the table")).because(e))
}
