//! What a sink keeps in its log in the checkpoint: where its markers are, and every transactional id it has had.

use tidegate_api::{Error, MetadataLog, Result};

use super::markers::Place;

/// The key of the markers' place.
const PLACE: &str = "markers";
/// Keys of transactional ids begin like this.
const IDS: &str = "transactional-id-";

/// The place of the markers, if one is remembered.
pub(crate) async fn place(log: &dyn MetadataLog) -> Result<Option<Place>> {
    let Some(bytes) = log.get(PLACE).await? else { return Ok(None) };
    let wrong = |e| Error::config("the place of a kafka sink's markers in the checkpoint can't be read").because(e);
    serde_json::from_slice(&bytes).map(Some).map_err(wrong)
}

/// Remembers the place, unless another is remembered already; returns the one that counts.
pub(crate) async fn remember_place(log: &dyn MetadataLog, found: Place) -> Result<Place> {
    let bytes = serde_json::to_vec(&found).map_err(|e| Error::internal("the place of markers").because(e))?;
    if log.put_new(PLACE, &bytes).await? {
        return Ok(found);
    }
    place(log).await?.ok_or_else(|| Error::internal("the place of a kafka sink's markers was there and is gone"))
}

/// Remembers a transactional id before it is used, and tells the others that this sink has had, such as those of its
/// shards; `sink` begins all of them.
pub(crate) async fn remember_id(log: &dyn MetadataLog, sink: &str, id: &str) -> Result<Vec<String>> {
    let mut former = Vec::new();
    let mut next = 0;
    for key in log.list().await? {
        let Some(number) = key.strip_prefix(IDS).and_then(|it| it.parse::<u32>().ok()) else { continue };
        next = next.max(number + 1);
        let Some(bytes) = log.get(&key).await? else { continue };
        former.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    if !former.iter().any(|it| it == id) {
        // Should another start take the number first, it wrote the same id: there is one writer to a checkpoint.
        log.put_new(&format!("{IDS}{next}"), id.as_bytes()).await?;
    }
    let own = |it: &str| it == sink || it.strip_prefix(sink).is_some_and(|rest| rest.starts_with('/'));
    former.retain(|it| it != id && own(it));
    Ok(former)
}
