//! Opening a table: it is created or checked, and what it holds of this writer is found.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use deltalake::kernel::{StructField, StructType, new_metadata};
use tidegate_api::{Error, Result, WriterId};

use crate::commit::{self, Head, Put, TableLog};
use crate::entry;
use crate::leftovers;
use crate::names::WriterHash;
use crate::sink::{Known, Opened, SinkParts, Versions, locked};
use crate::store::StoreLog;
use crate::table::{Layout, Shape};

/// The key in the sink's log that holds the identity of the table.
const TABLE_KEY: &str = "table";
/// Commits looked through for the files of the last epoch.
const LOOK_BACK: u64 = 1_000;

/// Tries at the first commit whose outcome stays unknown, before the caller is told.
const CREATE_TRIES: u32 = 3;

/// Creates the table or checks it, and finds the last epoch of this writer.
pub(crate) async fn open(parts: &SinkParts, writer: &WriterId) -> Result<Opened> {
    let hash = WriterHash::of(writer);
    let app_id = writer.to_string();
    let log = parts.store.log(&parts.ctx.io, hash);
    parts.store.probe(hash).await?;
    let recorded = recorded_table(parts).await?;
    if !parts.store.exists().await? {
        if let Some(id) = recorded {
            return Err(Error::config(format!(
                "is gone: the checkpoint has written to table {id}; restore it, or start with a new checkpoint"
            )));
        }
        create(parts, &log).await?;
    }
    let Found { head, shape, layout, live } = read_head(parts, &app_id, hash, &log).await?;
    parts.store.sync_log().await?;
    record_table(parts, &shape.id).await?;
    let leftovers = leftovers::find(parts, hash, &app_id, &log, &head, &live).await?;
    parts.store.remove_unfinished(hash).await?;
    let versions =
        Versions { newest: head.version, checkpoint: parts.store.last_checkpoint().await.unwrap_or_default() };
    tracing::info!(table = %shape.id, version = head.version, epoch = head.held.as_ref().map(|it| it.epoch), "opened");
    let known = Known { head, looked_ms: parts.ctx.clock.now_ms(), tried: None };
    Ok(Opened {
        writer: hash,
        app_id,
        table_id: shape.id,
        log,
        head: tokio::sync::Mutex::new(known),
        layout: Mutex::new(Arc::new(layout)),
        log_retention: Mutex::new(shape.log_retention),
        leftovers: Mutex::new(leftovers),
        versions: Mutex::new(versions),
        maintaining: tokio::sync::Mutex::new(()),
    })
}

/// What a table is now.
pub(crate) struct Found {
    pub(crate) head: Head,
    shape: Shape,
    layout: Layout,
    /// Data files of this writer that it names.
    live: BTreeSet<String>,
}

/// The table as it is now, if it fits, and the last epoch that it holds of this writer.
pub(crate) async fn read_head(parts: &SinkParts, app_id: &str, writer: WriterHash, log: &StoreLog) -> Result<Found> {
    let loaded = parts.store.load(&parts.ctx.io, app_id, writer).await?;
    let shape = loaded.shape;
    let layout = checked_layout(parts, &shape)?;
    let held = match loaded.held {
        Some(held) => commit::find(log, shape.version, app_id, held.epoch, LOOK_BACK).await?.or(Some(held)),
        None => None,
    };
    Ok(Found { head: Head::new(shape.version, held), shape, layout, live: loaded.live })
}

/// Whether files that are prepared may be added to a table that changed; the next epoch uses what it needs now.
pub(crate) fn still_fits(parts: &SinkParts, opened: &Opened, shape: &Shape) -> Result<()> {
    check_id(&opened.table_id, &shape.id)?;
    let layout = checked_layout(parts, shape)?;
    let mut current = locked(&opened.layout);
    if !current.same_files(&layout) {
        return Err(Error::config(
            "changed its columns while an epoch was committed: its files no longer fit, restart the query to write \
             them again",
        ));
    }
    *current = Arc::new(layout);
    *locked(&opened.log_retention) = shape.log_retention;
    Ok(())
}

fn checked_layout(parts: &SinkParts, shape: &Shape) -> Result<Layout> {
    shape.check()?;
    shape.layout(&parts.wanted, parts.config.partition_by.as_deref())
}

async fn recorded_table(parts: &SinkParts) -> Result<Option<String>> {
    let bytes = parts.ctx.log.get(TABLE_KEY).await?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|e| Error::config("checkpoint: the identity of the table is not text").because(e))
}

/// Keeps the identity of the table in the checkpoint, or compares it with the one that is there.
async fn record_table(parts: &SinkParts, id: &str) -> Result<()> {
    if parts.ctx.log.put_new(TABLE_KEY, id.as_bytes()).await? {
        return Ok(());
    }
    let recorded = recorded_table(parts).await?.unwrap_or_default();
    check_id(&recorded, id)
}

fn check_id(recorded: &str, found: &str) -> Result<()> {
    if recorded == found {
        return Ok(());
    }
    Err(Error::config(format!(
        "is another table: its id is {found}, the checkpoint has written to {recorded}; use another path or a new \
         checkpoint"
    )))
}

/// Writes the table's first commit; if somebody else does, theirs counts and is checked like any other.
async fn create(parts: &SinkParts, log: &StoreLog) -> Result<()> {
    let schema = StructType::try_new(parts.wanted.iter().cloned())
        .map_err(|e| Error::config("can't be created with these columns").because(e))?;
    let spelled = |name: &String| {
        let found = parts.wanted.iter().map(StructField::name).find(|it| it.eq_ignore_ascii_case(name));
        found.cloned().ok_or_else(|| Error::config(format!("partition.by: column '{name}' is not in the query")))
    };
    let partition_by = parts.config.partition_by.iter().flatten().map(spelled).collect::<Result<Vec<_>>>()?;
    let metadata = new_metadata(&schema, partition_by, [] as [(&str, &str); 0])
        .map_err(|e| Error::config("can't be created with these columns").because(e))?;
    let mut failed = Error::transient("can't be created");
    let body = entry::create(&metadata, parts.ctx.clock.now_ms());
    for _ in 0..CREATE_TRIES {
        match log.put(0, body.clone()).await {
            Put::Written | Put::Exists => return parts.store.sync_root().await,
            // What is there counts, ours or another's. If nothing is, a write under way can only take this number.
            Put::Unknown(_) if log.get(0).await?.is_some() => return parts.store.sync_root().await,
            Put::Unknown(error) => failed = error,
        }
    }
    Err(failed)
}
