//! A look at a checkpoint without owning it: what it holds, and what is wrong with it. Works beside a running owner.

mod contents;
mod names;
mod owner;
mod state;
mod verify;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidegate_api::{Error, Result, SystemClock};
use tidegate_storage::Location;

use crate::fault::Faults;
use crate::store::Store;

use contents::Contents;

pub use owner::{OwnerState, OwnerView};
pub use state::{StateTable, newest_epoch, operators, operators_schema, state, state_schema};
pub use view::{BranchView, CheckpointView, EpochView, NewestView, SizeView, SnapshotView, SourceView};

/// A running owner changes files while they are read: what is wrong stays wrong.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

/// Something that is wrong with a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file, below the checkpoint.
    pub file: String,
    /// What was found, and what was expected.
    pub found: String,
}

impl Finding {
    fn new(file: impl Into<String>, found: impl Into<String>) -> Self {
        Self { file: file.into(), found: found.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.found)
    }
}

/// What a checkpoint holds.
///
/// # Errors
/// `Config` if there is none at `location`, or its newest records can't be read; else as the store.
pub async fn show(location: &Location) -> Result<CheckpointView> {
    let store = open(location)?;
    let contents = Contents::read(&store).await?;
    view::view(&store, contents).await
}

/// All that is wrong with a checkpoint: missing, damaged and foreign files. Nothing is changed.
///
/// # Errors
/// `Config` if there is no checkpoint at `location`; else as the store.
pub async fn verify(location: &Location) -> Result<Vec<Finding>> {
    let store = open(location)?;
    let (mut findings, mut may_run) = look(&store).await?;
    for _ in 1..LOOKS {
        if findings.is_empty() || !may_run {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
        let again = look(&store).await?;
        findings.retain(|it| again.0.contains(it));
        may_run = again.1;
    }
    Ok(findings)
}

/// What is wrong, and whether an owner may have been at work meanwhile.
async fn look(store: &Arc<Store>) -> Result<(Vec<Finding>, bool)> {
    let contents = Contents::read(store).await?;
    let mut findings = verify::verify(store, &contents).await?;
    findings.sort();
    findings.dedup();
    Ok((findings, may_run(store, &contents).await?))
}

/// Whether an owner may be at work.
async fn may_run(store: &Store, contents: &Contents) -> Result<bool> {
    Ok(owner::view(store, contents).await?.is_none_or(|it| it.state != OwnerState::Ended))
}

fn open(location: &Location) -> Result<Arc<Store>> {
    let location = match location.local() {
        Some(path) => {
            let missing = |e| Error::config(format!("checkpoint {location} can't be opened")).because(e);
            Location::at(&path.canonicalize().map_err(missing)?)?
        }
        None => location.clone(),
    };
    Ok(Arc::new(Store::new(location, Arc::new(SystemClock::default()), Faults::default())))
}
