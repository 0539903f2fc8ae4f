//! `FileSink`: an epoch is a set of files that one entry of the manifest names.

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{
    AttemptId, CommitOutcome, ConnectorContext, Epoch, Error, Guarantee, Result, Sink, SinkSpec, SourcePosition,
    Staging, WriterId, async_trait, fault,
};
use tidegate_storage::Location;
use tokio::sync::Mutex;

use super::clean::Leftovers;
use super::columns;
use super::config::{Compression, FileSinkConfig, ManifestFormat};
use super::folder::{self, DataFile};
use super::manifest::{Manifest, claim};
use super::names::{Epochs, STAGING, WriterHash, staged};
use super::writer::{FileSinkWriter, Prepared, Shared};

/// Adds epochs to a folder of files.
pub struct FileSink {
    shown: String,
    url: String,
    manifest_format: ManifestFormat,
    append_foreign: bool,
    shared: Arc<Shared>,
    ctx: ConnectorContext,
    opened: Option<Opened>,
}

/// What `open` finds out, kept up as commits come.
struct Opened {
    writer: WriterHash,
    state: Mutex<State>,
}

struct State {
    manifest: Manifest,
    /// The epoch whose commit was tried last.
    tried: Option<u64>,
}

impl FileSink {
    /// A sink over a folder that is at hand, whatever `path` and `storage.…` say. Touches nothing outside.
    ///
    /// # Errors
    /// `Config` if files of this format can't hold these columns.
    pub fn at(location: Location, config: &FileSinkConfig, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<Self> {
        let schema = columns::of_files(&spec.schema, config.format)
            .map_err(|all| Error::config(format!("sink {}: {}", ctx.name, all.join("; "))))?;
        let mut url = location.url().clone();
        url.set_query(None);
        // Both fail only where a URL can't have them.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let shared = Shared {
            folder: folder::of_location(&location),
            schema,
            format: config.format,
            compression: config.compression.unwrap_or(Compression::Snappy),
            max_rows: config.max_rows_per_file,
            memory: ctx.memory.clone(),
            clock: ctx.clock.clone(),
            leftovers: std::sync::Mutex::new(Leftovers::default()),
        };
        Ok(Self {
            shown: location.to_string(),
            url: format!("{}/", url.as_str().trim_end_matches('/')),
            manifest_format: config.manifest_format,
            append_foreign: config.append_foreign,
            shared: Arc::new(shared),
            ctx: ctx.clone(),
            opened: None,
        })
    }

    fn opened(&self) -> Result<&Opened> {
        self.opened.as_ref().ok_or_else(|| self.named(Error::internal("is used before it is opened")))
    }

    /// The error with the folder in front.
    fn named(&self, error: Error) -> Error {
        error.within(format_args!("file sink {}", self.shown))
    }

    async fn open_folder(&self, writer: &WriterId) -> Result<Opened> {
        let (folder, format) = (&self.shared.folder, self.manifest_format);
        let hash = WriterHash::of(writer);
        folder.make(&[STAGING, format.folder()]).await?;
        let mut manifest = Manifest::new(format, folder.clone(), self.url.clone(), hash, self.ctx.clock.clone());
        let epochs = manifest.scan().await?;
        fault::hit("file.open")?;
        claim(&manifest, format, folder.as_ref(), writer, self.append_foreign, self.ctx.log.as_ref()).await?;
        *self.shared.leftovers() = Leftovers::default();
        self.find_leftovers(hash, &manifest, &epochs).await?;
        if self.ctx.owner.check().await.is_ok() {
            folder.remove_drafts(format.folder(), hash).await?;
        }
        self.sweep().await?;
        tracing::info!(folder = %self.shown, epoch = manifest.held().map(|it| it.epoch), "opened");
        Ok(Opened { writer: hash, state: Mutex::new(State { manifest, tried: None }) })
    }

    /// Files of this writer that do not count. Those of epochs that may still be committed stay.
    async fn find_leftovers(&self, hash: WriterHash, manifest: &Manifest, epochs: &Epochs) -> Result<()> {
        let folder = &self.shared.folder;
        // In this order: a file that an old owner is moving into place is seen in one of them.
        let staged_files = folder.list(STAGING).await?;
        let placed = if manifest.names_all() { folder.list("").await? } else { Vec::new() };
        let mut leftovers = self.shared.leftovers();
        for file in staged_files {
            if let Some((epoch, _)) = hash.parse(&file.name) {
                leftovers.wait(epoch, [staged(&file.name)]);
            }
        }
        for file in placed {
            if let Some((epoch, _)) = hash.parse(&file.name).filter(|it| !epochs.name(it.0, &file.name)) {
                leftovers.wait(epoch, [file.name]);
            }
        }
        manifest.held().into_iter().for_each(|held| leftovers.settle(held));
        Ok(())
    }

    /// Removes what is known to be dead. Its failure is no failure of what went before.
    async fn sweep(&self) -> Result<()> {
        let (paths, uploads) = self.shared.leftovers().take_garbage();
        if paths.is_empty() && uploads.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.ctx.owner.check().await {
            tracing::warn!(%error, files = paths.len(), "leftovers stay: this process does not own them any more");
            return Ok(());
        }
        for mut upload in uploads {
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "an upload that was broken off stays behind");
            }
        }
        if let Err(error) = self.shared.folder.remove(&paths).await {
            tracing::warn!(%error, files = paths.len(), "files that do not count can't be removed yet");
            self.shared.leftovers().discard(paths);
        }
        Ok(())
    }

    async fn commit_files(&self, epoch: &Epoch, files: &[DataFile]) -> Result<CommitOutcome> {
        let mut state = self.opened()?.state.lock().await;
        let mut news = Epochs::default();
        if !files.is_empty() {
            state.tried = Some(epoch.number);
        }
        let outcome = state.manifest.commit(epoch, files, &mut news).await;
        {
            // Also after an error: what has been read of the manifest is true.
            let mut leftovers = self.shared.leftovers();
            match &outcome {
                Ok(CommitOutcome::Committed) if self.shared.folder.publish_copies() => {
                    leftovers.discard(files.iter().map(|it| staged(&it.name)));
                }
                // Files of another attempt than the one that counts, or copies.
                Ok(CommitOutcome::AlreadyCommitted { .. }) => leftovers.wait(epoch.number, both(files)),
                _ => {}
            }
            news.0.values().chain(state.manifest.held()).for_each(|held| leftovers.settle(held));
        }
        drop(state);
        if outcome.is_ok() {
            fault::hit("file.committed")?;
            self.sweep().await?;
        }
        outcome
    }
}

/// Where files may lie.
fn both(files: &[DataFile]) -> impl Iterator<Item = String> {
    files.iter().flat_map(|it| [staged(&it.name), it.name.clone()])
}

#[async_trait]
impl Sink for FileSink {
    type Committable = Prepared;
    type Writer = FileSinkWriter;

    fn guarantee(&self) -> Guarantee {
        Guarantee::Transactional
    }

    fn staging(&self) -> Staging {
        Staging::Committable
    }

    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        let opened = self.open_folder(writer).await.map_err(|e| self.named(e))?;
        let held = opened.state.lock().await.manifest.held().map(|it| (it.epoch, it.attempt));
        self.opened = Some(opened);
        Ok(held)
    }

    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<FileSinkWriter> {
        // What a try that failed has left makes room first: the disk may be full of it.
        self.sweep().await.map_err(|e| self.named(e))?;
        Ok(FileSinkWriter::new(self.shared.clone(), self.opened()?.writer, epoch, task))
    }

    async fn commit(
        &self,
        epoch: &Epoch,
        parts: Vec<Prepared>,
        _positions: &[SourcePosition],
    ) -> Result<CommitOutcome> {
        let files: Vec<_> = parts.into_iter().flat_map(|it| it.files).collect();
        self.commit_files(epoch, &files).await.map_err(|e| self.named(e))
    }

    async fn abort(&self, epoch: &Epoch, parts: Vec<Prepared>) -> Result<()> {
        let files: Vec<_> = parts.into_iter().flat_map(|it| it.files).collect();
        {
            let state = self.opened()?.state.lock().await;
            let mut leftovers = self.shared.leftovers();
            let over = state.manifest.held().is_some_and(|it| it.epoch >= epoch.number);
            if !over && state.tried == Some(epoch.number) {
                // A commit that names them may still be under way.
                leftovers.wait(epoch.number, both(&files));
            } else {
                leftovers.discard(files.iter().map(|it| staged(&it.name)));
            }
        }
        self.sweep().await.map_err(|e| self.named(e))
    }

    async fn restore(&mut self, through: Option<u64>) -> Result<bool> {
        self.ctx.owner.check().await?;
        let opened = self.opened()?;
        let hash = opened.writer;
        let mut state = opened.state.lock().await;
        let taken_back = state.manifest.restore(through).await.map_err(|e| self.named(e))?;
        // No epoch runs: what is staged of later epochs belongs to none.
        let listed = self.shared.folder.list(STAGING).await.map_err(|e| self.named(e))?;
        let later = |epoch: u64| through.is_none_or(|through| epoch > through);
        let dead = listed.into_iter().filter(|it| hash.parse(&it.name).is_some_and(|it| later(it.0)));
        let dead: Vec<_> = dead.map(|it| staged(&it.name)).chain(taken_back).collect();
        self.shared.folder.remove(&dead).await.map_err(|e| self.named(e))?;
        Ok(true)
    }

    async fn maintain(&self, _budget: Duration) -> Result<()> {
        self.sweep().await.map_err(|e| self.named(e))?;
        self.ctx.owner.check().await?;
        let mut state = self.opened()?.state.lock().await;
        state.manifest.clean().await.map_err(|e| self.named(e))
    }

    fn describe(&self) -> String {
        format!("FileSink[{}]", self.shown)
    }
}
