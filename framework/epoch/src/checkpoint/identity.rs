//! What a checkpoint is: its layout's version, where it belongs, and the query's identity.
//!
//! Each is created only if it is absent: two first starts at one place agree on what the faster one wrote.

use tidegate_api::{Error, QueryId, Result};

use crate::log::spark;
use crate::store::Store;

/// The layout that this program writes, and the newest that it reads. 1 had one file for all names of sources, one for
/// the generation, and snapshots without the attempt in their names.
pub(crate) const VERSION: u32 = 2;
pub(crate) const VERSION_KEY: &str = "state/version";
pub(crate) const LOCATION_KEY: &str = "state/location";

/// What `state/location` says.
pub(super) enum Place {
    /// Nothing.
    New,
    Here,
    /// It is a copy of the checkpoint there.
    Elsewhere(String),
}

impl Place {
    pub(super) async fn read(store: &Store) -> Result<Self> {
        let here = store.location().to_string();
        Ok(match store.read(LOCATION_KEY).await? {
            None => Self::New,
            Some(there) if there == here.as_bytes() => Self::Here,
            Some(there) => {
                store.check(LOCATION_KEY, &there).await?;
                Self::Elsewhere(String::from_utf8_lossy(&there).into_owned())
            }
        })
    }

    /// Refuses a copy that nobody asked to adopt.
    pub(super) fn check(&self, store: &Store, adopt: bool) -> Result<()> {
        let Self::Elsewhere(there) = self else { return Ok(()) };
        if adopt {
            return Ok(());
        }
        let here = store.location();
        Err(Error::config(format!(
            "checkpoint {here} belongs at {there}: it is a copy, and two queries with one identity would overwrite each \
             other's output; move it back, or adopt it to make a new query of it"
        )))
    }

    pub(super) fn is_copy(&self) -> bool {
        matches!(self, Self::Elsewhere(_))
    }
}

/// The version of an old checkpoint, checked; a new one gets ours.
pub(super) async fn version(store: &Store, has_logs: bool) -> Result<u32> {
    let root = store.location();
    if let Some(found) = read_version(store).await? {
        return Ok(found);
    }
    if has_logs {
        let text = "has logs but no file 'state/version': it was not written by tidegate, or is damaged";
        return Err(Error::config(format!("checkpoint {root} {text}")));
    }
    // Once: the store that a checkpoint lies on stays the same.
    store.probe().await?;
    store.create_new(VERSION_KEY, VERSION.to_string().as_bytes()).await?;
    Ok(read_version(store).await?.unwrap_or(VERSION))
}

/// The layout's version, if it is one that this program reads.
pub(crate) async fn read_version(store: &Store) -> Result<Option<u32>> {
    let Some(bytes) = store.read(VERSION_KEY).await? else { return Ok(None) };
    let root = store.location();
    match std::str::from_utf8(&bytes).ok().and_then(|it| it.trim().parse::<u32>().ok()) {
        Some(found @ 1..=VERSION) => {
            store.check(VERSION_KEY, &bytes).await?;
            Ok(Some(found))
        }
        Some(found) => {
            store.check(VERSION_KEY, &bytes).await?;
            Err(Error::config(format!("checkpoint {root}: found state version {found}, expected at most {VERSION}")))
        }
        None => Err(Error::config(format!("checkpoint {root}: 'state/version' is damaged"))),
    }
}

/// From now on an older program refuses it.
pub(super) async fn raise_version(store: &Store) -> Result<()> {
    store.replace(VERSION_KEY, VERSION.to_string().as_bytes()).await
}

/// The query's identity; a new checkpoint gets one.
pub(super) async fn query_id(store: &Store, has_logs: bool) -> Result<QueryId> {
    if let Some(id) = spark::read_metadata(store).await? {
        return Ok(id);
    }
    if has_logs {
        let root = store.location();
        return Err(Error::config(format!(
            "STREAMING_CHECKPOINT_MISSING_METADATA_FILE: checkpoint {root} has logs but no file 'metadata', which holds \
             the query's identity; put it back or choose another checkpoint.location"
        )));
    }
    spark::mint_metadata(store).await
}

/// Writes down where a checkpoint belongs that does not know.
pub(super) async fn settle(store: &Store) -> Result<()> {
    store.create_new(LOCATION_KEY, store.location().to_string().as_bytes()).await.map(drop)
}

/// Makes a copy a new query. Its sinks must see a new writer, so what the old one remembered of them is forgotten: with
/// its transactional ids the copy would fence the query that it is a copy of.
///
/// Until its last step it is a copy still, and is adopted anew by the next start.
pub(super) async fn adopt(store: &Store) -> Result<QueryId> {
    for key in store.all().await?.into_keys().filter(|it| it.starts_with("state/sinks/")) {
        store.remove(&key).await?;
    }
    let id = spark::replace_metadata(store).await?;
    store.replace(LOCATION_KEY, store.location().to_string().as_bytes()).await?;
    Ok(id)
}
