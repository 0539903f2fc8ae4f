//! Generations: each is a file that only one start can create, never changed; the highest is the owner's.
//!
//! Lower ones are removed, the lowest first. So whoever finds no file `g + 1`, and *after* that its own file `g`, knows
//! that no higher generation had begun when it looked first: before `g + 1` could go, `g` would have gone.

use tidegate_api::{Error, Result};

use crate::store::Store;

/// Where generations are files, on a local disk and on an object store.
pub(crate) const GENERATIONS: &str = "state/generations";
pub(crate) const OWNERS: &str = "state/owner";
/// A number: the generation as version 1 wrote it.
pub(crate) const OLD_GENERATION: &str = "state/generation";

/// The highest generation that has begun.
pub(super) async fn newest(store: &Store, folder: &str) -> Result<Option<u64>> {
    let newest = store.list_numbers(folder).await?.last().copied();
    if newest.is_some() {
        return Ok(newest);
    }
    if folder == OWNERS {
        // A copy from a local disk.
        return Ok(store.list_numbers(GENERATIONS).await?.last().copied());
    }
    let Some(bytes) = store.read(OLD_GENERATION).await? else { return Ok(None) };
    let number = std::str::from_utf8(&bytes).ok().and_then(|it| it.trim().parse().ok());
    let damaged = || Error::config(format!("{} is damaged: expected a number", store.name(OLD_GENERATION)));
    number.map(Some).ok_or_else(damaged)
}

/// Begins a generation; false if another start has begun it, or a higher one.
pub(super) async fn begin(store: &Store, folder: &str, generation: u64, text: &[u8]) -> Result<bool> {
    let key = key(folder, generation);
    if !store.create_new(&key, text).await? {
        return Ok(false);
    }
    // A start that slept since it looked may have created anew what was begun, and removed, long ago.
    if newest(store, folder).await? == Some(generation) {
        return Ok(true);
    }
    store.remove(&key).await?;
    Ok(false)
}

/// True if `generation`, begun with `text`, is the highest.
pub(super) async fn is_newest(store: &Store, folder: &str, generation: u64, text: &[u8]) -> Result<bool> {
    // In this order.
    if store.read(&key(folder, generation.saturating_add(1))).await?.is_some() {
        return Ok(false);
    }
    Ok(store.read(&key(folder, generation)).await?.as_deref() == Some(text))
}

/// Removes the generations before one's own.
pub(super) async fn sweep(store: &Store, folder: &str, generation: u64) -> Result<()> {
    for old in store.list_numbers(folder).await?.into_iter().filter(|it| *it < generation) {
        store.remove(&key(folder, old)).await?;
    }
    if folder == GENERATIONS {
        return store.remove(OLD_GENERATION).await;
    }
    for copied in store.list(GENERATIONS).await? {
        store.remove(&key_of(GENERATIONS, &copied)).await?;
    }
    Ok(())
}

pub(super) fn key(folder: &str, generation: u64) -> String {
    key_of(folder, &generation.to_string())
}

fn key_of(folder: &str, name: &str) -> String {
    format!("{folder}/{name}")
}
