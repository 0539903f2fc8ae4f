//! The commit of an epoch: one conditional write, no listing and no snapshot.
//!
//! If the number is taken, or the outcome is not known, the commits that came since are read one by one. They tell
//! whether the epoch is in the table already, whether a newer owner has been here, or whether the table changed.

use bytes::Bytes;
use tidegate_api::{AttemptId, CommitOutcome, Error, Result, async_trait};

use crate::entry::{self, Held};
use crate::table::Shape;

/// Tries at a commit whose outcome stays unknown, before the caller is told.
const UNKNOWN_TRIES: u32 = 3;
/// Rounds against other writers that are faster, before the caller is told.
const ROUNDS: u32 = 1_000;

/// What became of a conditional write.
#[derive(Debug)]
pub(crate) enum Put {
    /// It is there, durable.
    Written,
    /// The number was taken.
    Exists,
    /// It may be there, or be there later.
    Unknown(Error),
}

/// A table's log, as far as commits need it.
#[async_trait]
pub(crate) trait TableLog: Send + Sync {
    /// Writes commit `version` if there is none.
    async fn put(&self, version: u64, body: Bytes) -> Put;
    /// Reads commit `version`.
    async fn get(&self, version: u64) -> Result<Option<Bytes>>;
    /// Makes durable what `get` has shown: it may have been written by a call that failed after it.
    async fn confirm(&self) -> Result<()>;
    /// What the table is like at `version`.
    async fn shape(&self, version: u64) -> Result<Shape>;
}

/// How far we know the log.
#[derive(Debug)]
pub(crate) struct Head {
    /// The newest version that we know.
    pub(crate) version: u64,
    /// The last epoch of ours at or before it.
    pub(crate) held: Option<Held>,
    /// Epochs of ours that came since the caller looked, oldest first.
    pub(crate) news: Vec<Held>,
    /// The table changed since it was last found to fit.
    pub(crate) reshaped: bool,
    /// Somebody took back epochs of this writer since the caller opened the table.
    pub(crate) restored: Option<u64>,
}

impl Head {
    pub(crate) fn new(version: u64, held: Option<Held>) -> Self {
        Self { version, held, news: Vec::new(), reshaped: false, restored: None }
    }

    fn learn(&mut self, held: Held) {
        self.news.push(held.clone());
        self.held = Some(held);
    }
}

/// An epoch that is to be committed.
pub(crate) struct Request<'a> {
    /// The writer id.
    pub(crate) app_id: &'a str,
    /// What the table will hold.
    pub(crate) held: Held,
    /// The commit, on top of a version.
    pub(crate) body: &'a (dyn Fn(u64) -> Result<Bytes> + Send + Sync),
    /// Whether the prepared files still fit, after the table changed.
    pub(crate) fits: &'a (dyn Fn(Shape) -> Result<()> + Send + Sync),
}

/// Commits an epoch, once.
///
/// # Errors
/// `Fenced` if the table holds a later epoch of this writer, `Transient` if the outcome is not known, `Config` if the
/// table changed so that the files don't fit.
pub(crate) async fn commit(log: &dyn TableLog, head: &mut Head, request: &Request<'_>) -> Result<CommitOutcome> {
    let (mut unknown, mut tried) = (0, false);
    for _ in 0..ROUNDS {
        if let Some(outcome) = decided(head, request.app_id, request.held.epoch, request.held.attempt)? {
            let ours = tried && head.held.as_ref().is_some_and(|it| it.attempt == request.held.attempt);
            return Ok(if ours { CommitOutcome::Committed } else { outcome });
        }
        if head.reshaped {
            // What counts is the table as it is now: it may have changed back, or once more.
            catch_up(log, head, request.app_id).await?;
            if let Some(outcome) = decided(head, request.app_id, request.held.epoch, request.held.attempt)? {
                return Ok(outcome);
            }
            let shape = log.shape(head.version).await?;
            (request.fits)(shape)?;
            head.reshaped = false;
        }
        let next = head.version + 1;
        tried = true;
        let failed = match log.put(next, (request.body)(head.version)?).await {
            Put::Written => {
                head.version = next;
                head.learn(request.held.clone());
                return Ok(CommitOutcome::Committed);
            }
            Put::Exists => Error::transient(format!("commit {next} exists and can't be read")),
            Put::Unknown(error) => error,
        };
        catch_up(log, head, request.app_id).await?;
        if head.version < next {
            // Nothing is there. A write that is still under way can only take this number, so trying it again is safe.
            unknown += 1;
            if unknown >= UNKNOWN_TRIES {
                return Err(failed);
            }
        }
    }
    Err(Error::transient(format!("commit {}: other writers were faster {ROUNDS} times", head.version + 1)))
}

/// Reads the commits that came since.
///
/// # Errors
/// As the log; what has been read is kept.
pub(crate) async fn catch_up(log: &dyn TableLog, head: &mut Head, app_id: &str) -> Result<()> {
    while let Some(body) = log.get(head.version + 1).await? {
        let entry = entry::read(&body, head.version + 1, app_id)?;
        if entry.held.is_some() || entry.restored {
            log.confirm().await?;
        }
        head.version += 1;
        head.reshaped |= entry.reshaped;
        if entry.restored {
            head.restored = Some(head.version);
        }
        if let Some(held) = entry.held {
            head.learn(held);
        }
    }
    Ok(())
}

/// The commit that holds `epoch`, looked for from `version` down; nothing if it is not among the newest `at_most`.
///
/// # Errors
/// As the log.
pub(crate) async fn find(
    log: &dyn TableLog,
    version: u64,
    app_id: &str,
    epoch: u64,
    at_most: u64,
) -> Result<Option<Held>> {
    for version in (version.saturating_sub(at_most)..=version).rev() {
        let Some(body) = log.get(version).await? else { break };
        let held = entry::read(&body, version, app_id)?.held;
        if let Some(held) = held.filter(|it| it.epoch == epoch) {
            return Ok(Some(held));
        }
    }
    Ok(None)
}

/// What is clear without asking. An owner whose epochs have no rows is not told of its successor's: it finds them before
/// its first rows, by their generation.
pub(crate) fn decided(
    head: &Head,
    app_id: &str,
    epoch: u64,
    attempt: Option<AttemptId>,
) -> Result<Option<CommitOutcome>> {
    if let Some(version) = head.restored {
        return Err(Error::fenced(format!(
            "epoch {epoch} of writer {app_id}: commit {version} took back epochs of it, another owner has been here"
        )));
    }
    match &head.held {
        Some(held) if held.epoch == epoch => Ok(Some(CommitOutcome::AlreadyCommitted { attempt: held.attempt })),
        Some(held) if held.epoch > epoch => Err(Error::fenced(format!(
            "epoch {epoch} of writer {app_id}: the table holds its epoch {} already, another owner has been here",
            held.epoch
        ))),
        Some(Held { epoch: last, attempt: Some(by), .. })
            if attempt.is_some_and(|it| it.generation < by.generation) =>
        {
            Err(Error::fenced(format!(
                "epoch {epoch} of writer {app_id}: its epoch {last} is of attempt {by}, a newer owner has been here"
            )))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
