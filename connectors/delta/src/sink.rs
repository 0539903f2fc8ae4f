//! `DeltaSink`: an epoch is one commit of the table.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_api::{
    AttemptId, CommitOutcome, ConnectorContext, Epoch, Error, Guarantee, Result, Sink, SinkSpec, SourcePosition,
    Staging, WriterId, async_trait,
};
use tidegate_storage::Location;

use crate::clean::Leftovers;
use crate::commit::{self, Head, Request, TableLog};
use crate::config::DeltaConfig;
use crate::entry::{self, Header, Held};
use crate::names::WriterHash;
use crate::open;
use crate::schema::{self, Wanted};
use crate::store::{StoreLog, TableStore};
use crate::table::Layout;
use crate::writer::{DeltaWriter, Prepared, WriterParts};

/// The log is listed if it has not been looked at for this long, or half of what the table keeps it for: a number that
/// was taken and cleaned away since must not be taken again.
const LOOK_AGAIN: Duration = Duration::from_secs(3_600);

/// What a sink is built of.
pub(crate) struct SinkParts {
    pub(crate) config: DeltaConfig,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) store: TableStore,
    pub(crate) ctx: ConnectorContext,
}

/// Appends epochs to a Delta table.
pub struct DeltaSink {
    pub(crate) parts: SinkParts,
    pub(crate) opened: Option<Opened>,
}

/// What `open` finds out, kept up as commits come.
pub(crate) struct Opened {
    pub(crate) writer: WriterHash,
    /// The writer id, as it stands in the log.
    pub(crate) app_id: String,
    pub(crate) table_id: String,
    pub(crate) log: StoreLog,
    pub(crate) head: tokio::sync::Mutex<Known>,
    pub(crate) layout: Mutex<Arc<Layout>>,
    /// How long the table keeps its log.
    pub(crate) log_retention: Mutex<Duration>,
    pub(crate) leftovers: Mutex<Leftovers>,
    /// The newest version and the version of the newest checkpoint, for `maintain`.
    pub(crate) versions: Mutex<Versions>,
    pub(crate) maintaining: tokio::sync::Mutex<()>,
}

/// The log as far as we know it.
pub(crate) struct Known {
    pub(crate) head: Head,
    /// When it was looked at last, by the context's clock.
    pub(crate) looked_ms: i64,
    /// The epoch whose commit was tried last.
    pub(crate) tried: Option<u64>,
}

/// Versions that `maintain` goes by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Versions {
    pub(crate) newest: u64,
    pub(crate) checkpoint: u64,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DeltaSink {
    /// A sink for the table in this folder, whatever `path` says: for stores that no URL names.
    ///
    /// # Errors
    /// `Config` if the columns or the folder can't be a table's.
    pub fn at(location: &Location, config: DeltaConfig, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<Self> {
        let wanted = schema::columns(&spec.schema)
            .map_err(|all| Error::config(format!("sink {}: {}", ctx.name, all.join("; "))))?;
        let store = TableStore::at(location)?;
        Ok(Self { parts: SinkParts { config, wanted, store, ctx: ctx.clone() }, opened: None })
    }

    pub(crate) fn opened(&self) -> Result<&Opened> {
        self.opened.as_ref().ok_or_else(|| self.named(Error::internal("is used before it is opened")))
    }

    /// The error with the table in front.
    pub(crate) fn named(&self, error: Error) -> Error {
        error.within(format_args!("delta table {}", self.parts.store.name()))
    }

    async fn commit_files(&self, opened: &Opened, epoch: &Epoch, prepared: &Prepared) -> Result<CommitOutcome> {
        let mut known = opened.head.lock().await;
        if prepared.files.is_empty() {
            let clear = commit::decided(&known.head, &opened.app_id, epoch.number, Some(epoch.attempt))?;
            return Ok(clear.unwrap_or(CommitOutcome::Committed));
        }
        self.look_again(opened, &mut known).await?;
        known.tried = Some(epoch.number);
        let now_ms = self.parts.ctx.clock.now_ms();
        let header = Header {
            app_id: &opened.app_id,
            query_id: &self.parts.ctx.query_id.0,
            epoch: epoch.number,
            attempt: epoch.attempt,
            rows: prepared.rows,
            now_ms,
        };
        let paths: Vec<_> = prepared.paths().map(str::to_owned).collect();
        let request = Request {
            app_id: &opened.app_id,
            held: Held { epoch: epoch.number, attempt: Some(epoch.attempt), paths: paths.clone() },
            body: &|read_version| entry::write(&header, &prepared.files, read_version),
            fits: &|shape| open::still_fits(&self.parts, opened, &shape),
        };
        let outcome = commit::commit(&opened.log, &mut known.head, &request).await;
        // Also after an error: what has been read of the log is true.
        opened.settle(&mut known);
        if matches!(outcome, Ok(CommitOutcome::AlreadyCommitted { .. })) {
            // Files of another attempt than the one that counts.
            if let Some(held) = &known.head.held {
                let mut leftovers = locked(&opened.leftovers);
                leftovers.wait(epoch.number, paths);
                leftovers.settle(held);
            }
        }
        if outcome.is_ok() {
            known.looked_ms = now_ms;
        }
        outcome
    }

    /// Makes sure that the next number was not taken and cleaned away while we did not look.
    async fn look_again(&self, opened: &Opened, known: &mut Known) -> Result<()> {
        let now_ms = self.parts.ctx.clock.now_ms();
        let unseen = u64::try_from(now_ms.saturating_sub(known.looked_ms)).unwrap_or(0);
        if Duration::from_millis(unseen) <= LOOK_AGAIN.min(*locked(&opened.log_retention) / 2) {
            return Ok(());
        }
        let newest = self.parts.store.newest_version(&self.parts.ctx.io).await?;
        if newest > known.head.version && opened.log.get(known.head.version + 1).await?.is_none() {
            let found = open::read_head(&self.parts, &opened.app_id, opened.writer, &opened.log).await?;
            known.head = Head { reshaped: true, ..found.head };
        }
        known.looked_ms = now_ms;
        Ok(())
    }
}

impl Opened {
    /// Passes on what was learned of the log.
    pub(crate) fn settle(&self, known: &mut Known) {
        let mut leftovers = locked(&self.leftovers);
        for held in known.head.news.drain(..) {
            leftovers.settle(&held);
        }
        locked(&self.versions).newest = known.head.version;
    }
}

#[async_trait]
impl Sink for DeltaSink {
    type Committable = Prepared;
    type Writer = DeltaWriter;

    fn guarantee(&self) -> Guarantee {
        Guarantee::Transactional
    }

    fn staging(&self) -> Staging {
        Staging::Committable
    }

    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        let opened = open::open(&self.parts, writer).await.map_err(|e| self.named(e))?;
        let held = opened.head.lock().await.head.held.clone();
        self.opened = Some(opened);
        Ok(held.map(|it| {
            let attempt = it.attempt.unwrap_or_else(|| {
                tracing::warn!(epoch = it.epoch, "the log does not say which attempt at its last epoch it holds");
                AttemptId { generation: 0, n: 0 }
            });
            (it.epoch, attempt)
        }))
    }

    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<DeltaWriter> {
        let opened = self.opened()?;
        let parts = WriterParts {
            store: self.parts.store.clone(),
            layout: locked(&opened.layout).clone(),
            target_bytes: self.parts.config.target_file_size.0,
            memory: self.parts.ctx.memory.clone(),
            clock: self.parts.ctx.clock.clone(),
        };
        Ok(DeltaWriter::new(parts, opened.writer, epoch, task))
    }

    async fn commit(
        &self,
        epoch: &Epoch,
        parts: Vec<Prepared>,
        _positions: &[SourcePosition],
    ) -> Result<CommitOutcome> {
        let opened = self.opened()?;
        let mut prepared = Prepared::default();
        for part in parts {
            prepared.rows += part.rows;
            prepared.files.extend(part.files);
        }
        self.commit_files(opened, epoch, &prepared).await.map_err(|e| self.named(e))
    }

    async fn abort(&self, epoch: &Epoch, parts: Vec<Prepared>) -> Result<()> {
        let opened = self.opened()?;
        let paths: Vec<_> = parts.iter().flat_map(Prepared::paths).map(str::to_owned).collect();
        let known = opened.head.lock().await;
        match &known.head.held {
            // Long over: which files its commit named is not known here.
            Some(held) if held.epoch > epoch.number => return Ok(()),
            Some(held) if held.epoch == epoch.number => {
                let mut leftovers = locked(&opened.leftovers);
                leftovers.wait(epoch.number, paths);
                leftovers.settle(held);
                return Ok(());
            }
            _ => {}
        }
        if known.tried == Some(epoch.number) {
            // A commit that names them may still be under way.
            locked(&opened.leftovers).wait(epoch.number, paths);
            return Ok(());
        }
        self.parts.store.remove(paths).await.map_err(|e| self.named(e))
    }

    async fn check_restore(&self, through: Option<u64>) -> Result<()> {
        crate::restore::check(&self.parts, self.opened()?, through).await.map_err(|e| self.named(e))
    }

    async fn restore(&mut self, through: Option<u64>) -> Result<bool> {
        crate::restore::restore(&self.parts, self.opened()?, through).await.map_err(|e| self.named(e))
    }

    async fn maintain(&self, budget: Duration) -> Result<()> {
        let opened = self.opened()?;
        crate::maintain::run(&self.parts, opened, budget).await.map_err(|e| self.named(e))
    }

    fn describe(&self) -> String {
        format!("DeltaSink[{}]", self.parts.store.name())
    }
}
