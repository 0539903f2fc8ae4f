//! The `file` source: logs which files an epoch takes, then reads them by pieces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use tidegate_api::prelude::*;
use tokio::runtime::Handle;
use url::Url;

use crate::config::{FileConfig, FileFormat};
use crate::import;
use crate::lines::{Lines, schema};
use crate::listing::{self, Found};
use crate::log::{FileLog, LogLine};
use crate::offset::FileOffset;
use crate::pattern::PathPattern;
use crate::pieces::{LoggedFile, Piece, cut, entries, pieces};
use crate::planner::{Limits, Planner};

const BATCH_ROWS: usize = 32 << 10;
/// How long an idle source waits before it lists again, at first and at most.
const IDLE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// The size of log entries that are written ahead without a limit.
const AHEAD: Limits = Limits { files: Some(1000), bytes: Some(64 << 20) };

/// The `file` connector.
pub struct File;

#[async_trait]
impl SourceConnector for File {
    const NAME: &'static str = "file";
    type Config = FileConfig;
    type Source = FileSource;

    fn validate(config: &FileConfig) -> Vec<ConfigIssue> {
        config.issues()
    }

    fn payload(config: &FileConfig, declared: Option<&SchemaRef>) -> Option<Payload> {
        Some(payload(format_of(config, declared)))
    }

    fn value_format(config: &FileConfig) -> Option<&'static str> {
        (config.format != Some(FileFormat::Text)).then_some("json")
    }

    async fn import(config: FileConfig, found: &SparkPosition) -> Result<Option<Imported<FileOffset>>> {
        import::import(&config, found).await.map(Some)
    }

    async fn build(config: FileConfig, ctx: &ConnectorContext) -> Result<FileSource> {
        let pattern = Arc::new(pattern_of(&config, &ctx.data_dir)?);
        let checked = pattern.clone();
        blocking(&ctx.io, move || listing::check(&checked)).await?;
        let (log, lines) = FileLog::open(ctx.log.clone()).await?;
        let mut planner = Planner::new(&config);
        let mut logged: BTreeMap<i64, Vec<LoggedFile>> = BTreeMap::new();
        for line in lines {
            let path = path_of(&line)?;
            planner.mark(&path, line.timestamp);
            logged.entry(line.entry).or_default().push(LoggedFile { path: path.into(), size: None });
        }
        planner.purge();
        Ok(FileSource {
            pattern,
            format: format_of(&config, ctx.schema.as_ref()),
            limits: Limits::of(&config),
            planner,
            log,
            logged,
            pending: None,
            frozen: false,
            idle: IDLE.0,
            batch_rows: BATCH_ROWS,
            io: ctx.io.clone(),
        })
    }
}

/// The files that the settings name.
pub(crate) fn pattern_of(config: &FileConfig, data_dir: &Path) -> Result<PathPattern> {
    let folder = std::path::absolute(data_dir)
        .map_err(|e| Error::config(format!("data folder {}", data_dir.display())).because(e))?;
    Ok(PathPattern::new(&folder, &config.path))
}

/// As set; absent: JSON where columns are declared.
fn format_of(config: &FileConfig, declared: Option<&SchemaRef>) -> FileFormat {
    config.format.unwrap_or(if declared.is_some() { FileFormat::Json } else { FileFormat::Text })
}

fn payload(format: FileFormat) -> Payload {
    match format {
        FileFormat::Json => Payload::Records(schema(format)),
        FileFormat::Text => Payload::Rows(schema(format)),
    }
}

/// Reads each new file once.
pub struct FileSource {
    pattern: Arc<PathPattern>,
    format: FileFormat,
    limits: Limits,
    planner: Planner,
    log: FileLog,
    /// Files of entries that may still be read, by entry.
    logged: BTreeMap<i64, Vec<LoggedFile>>,
    /// An entry whose writing failed: it is written before anything else.
    pending: Option<Vec<Found>>,
    frozen: bool,
    idle: Duration,
    batch_rows: usize,
    io: Handle,
}

impl FileSource {
    /// Lists what is new, unless something of the last listing waits.
    async fn look(&mut self) -> Result<()> {
        if self.planner.is_empty() {
            let pattern = self.pattern.clone();
            self.planner.offer(blocking(&self.io, move || listing::list(&pattern)).await?);
        }
        Ok(())
    }

    /// Writes `files` as the next entry: only then may its number be an end.
    async fn write(&mut self, files: Vec<Found>) -> Result<()> {
        let n = self.log.last() + 1;
        let lines = files.iter().map(|file| {
            let url = Url::from_file_path(&file.path)
                .map_err(|()| Error::internal(format!("file {} has no URL", file.path.display())))?;
            Ok(LogLine { path: url.into(), timestamp: file.modified_ms, entry: n })
        });
        let lines: Vec<_> = lines.collect::<Result<_>>()?;
        let files = self.pending.insert(files);
        self.log.add(&lines).await?;
        for file in files.iter() {
            self.planner.mark(&file.path, file.modified_ms);
        }
        self.planner.purge();
        let logged = files.iter().map(|it| LoggedFile { path: it.path.as_path().into(), size: Some(it.size) });
        self.logged.insert(n, logged.collect());
        self.pending = None;
        Ok(())
    }

    /// Takes the files of the next epoch and writes their entry, if there are any.
    async fn write_next(&mut self, limit: &ReadLimit) -> Result<()> {
        if let Some(files) = self.pending.take() {
            return self.write(files).await;
        }
        self.look().await?;
        let bytes = [self.limits.bytes, limit.max_bytes].into_iter().flatten().min();
        let limits = Limits { bytes, ..self.limits };
        let mut files = self.planner.take(&limits);
        if let Some(max_rows) = limit.max_rows {
            let fitting = self.count_fitting(&files, max_rows).await?;
            self.planner.give_back(files.split_off(fitting));
        }
        self.planner.drop_short_rest(&limits);
        if files.is_empty() { Ok(()) } else { self.write(files).await }
    }

    /// How many of `files` have no more than `max_rows` together, one at least.
    async fn count_fitting(&self, files: &[Found], max_rows: u64) -> Result<usize> {
        let (paths, format): (Vec<Arc<Path>>, _) =
            (files.iter().map(|it| it.path.as_path().into()).collect(), self.format);
        let fitting = move || {
            let mut rows = 0_u64;
            for (at, path) in paths.iter().enumerate() {
                let piece = Piece { entry: -1, file: at, path: path.clone(), from: 0, to: None };
                rows += Lines::new(vec![piece], format, BATCH_ROWS).count()?;
                if rows > max_rows {
                    return Ok(at.max(1));
                }
            }
            Ok(paths.len())
        };
        blocking(&self.io, fitting).await
    }

    /// The end of an epoch that takes entries already written after `done`.
    fn end_of_written(&self, done: i64, limit: &ReadLimit) -> i64 {
        // An entry was cut by the source's own limit: it is an epoch of its own.
        if !self.limits.is_none() {
            return done + 1;
        }
        let sizes = (done + 1..=self.log.last()).map(|n| self.size_of(n));
        let limits = Limits { files: None, bytes: limit.max_bytes };
        done + i64::try_from(limits.fit(sizes)).unwrap_or(1)
    }

    fn size_of(&self, entry: i64) -> u64 {
        self.logged.get(&entry).into_iter().flatten().map(size_of).sum()
    }

    fn planned(&self, start: &FileOffset, end: i64) -> Planned<FileOffset> {
        let bytes = (start.whole() + 1..=end).map(|n| self.size_of(n)).sum();
        let (end, latest) = (FileOffset::after(end), FileOffset::after(self.log.last()));
        Planned { end, latest, rows: None, bytes: Some(bytes), schema: None }
    }
}

#[async_trait]
impl Source for FileSource {
    type Offset = FileOffset;

    fn payload(&self) -> Payload {
        payload(self.format)
    }

    fn replay(&self) -> Replay {
        Replay::Deterministic
    }

    fn bind(&mut self, scan: &ScanRequest) -> Result<Bound> {
        self.batch_rows = scan.batch_rows.clamp(1, BATCH_ROWS);
        Ok(Bound { schema: schema(self.format), filters_taken: vec![false; scan.filters.len()] })
    }

    async fn initial_offset(&mut self) -> Result<FileOffset> {
        Ok(FileOffset::after(-1))
    }

    async fn plan(&mut self, start: &FileOffset, limit: &ReadLimit) -> Result<Planned<FileOffset>> {
        let done = start.whole();
        if done > self.log.last() {
            let (end, last) = (start.log_offset, self.log.last());
            return Err(Error::config(format!("file log: the query stands at entry {end}, the log ends at {last}")));
        }
        if done == self.log.last() && !self.frozen {
            self.write_next(limit).await?;
        }
        if done == self.log.last() {
            return Ok(Planned { end: *start, ..self.planned(start, done) });
        }
        self.idle = IDLE.0;
        Ok(self.planned(start, self.end_of_written(done, limit)))
    }

    /// Writes entries for all files that are there now, one an epoch.
    async fn freeze(&mut self, _start: &FileOffset) -> Result<FileOffset> {
        if let Some(files) = self.pending.take() {
            self.write(files).await?;
        }
        self.planner.forget_unread();
        self.look().await?;
        let limits = if self.limits.is_none() { AHEAD } else { self.limits };
        while !self.planner.is_empty() {
            let files = self.planner.take(&limits);
            self.write(files).await?;
        }
        self.frozen = true;
        Ok(FileOffset::after(self.log.last()))
    }

    async fn ready(&mut self, after: &FileOffset) -> Result<()> {
        if after.whole() >= self.log.last() {
            tokio::time::sleep(self.idle).await;
            self.idle = (self.idle * 2).min(IDLE.1);
        }
        Ok(())
    }

    fn splits(&self, range: OffsetRange<FileOffset>, max: usize) -> Vec<Split<FileOffset>> {
        let mut whole = Vec::new();
        for n in entries(&range) {
            let Some(files) = self.logged.get(&n) else {
                // Not in memory any more: `read` finds it in the log.
                return vec![Split { range, partition: PartitionId::only(), bytes: None }];
            };
            let sized = pieces(&range, n, files).into_iter();
            whole.extend(sized.filter_map(|piece| files.get(piece.file).map(size_of).map(|size| (piece, size))));
        }
        cut(&whole, range.start, range.end, max)
    }

    async fn read(&self, split: Split<FileOffset>) -> Result<BatchStream> {
        let mut all = Vec::new();
        for n in entries(&split.range) {
            match self.logged.get(&n) {
                Some(files) => all.extend(pieces(&split.range, n, files)),
                None => {
                    let files = self.log.get(n).await?;
                    let files = files.iter().map(|it| Ok(LoggedFile { path: path_of(it)?.into(), size: None }));
                    all.extend(pieces(&split.range, n, &files.collect::<Result<Vec<_>>>()?));
                }
            }
        }
        let (lines, io) = (Lines::new(all, self.format, self.batch_rows), self.io.clone());
        let batches = stream::try_unfold(lines, move |mut lines| {
            let io = io.clone();
            async move { blocking(&io, move || Ok(lines.next_batch()?.map(|batch| (batch, lines)))).await }
        });
        Ok(batches.boxed())
    }

    async fn commit(&mut self, through: &FileOffset) -> Result<()> {
        self.logged = self.logged.split_off(&(through.whole() + 1));
        Ok(())
    }

    fn describe(&self) -> String {
        format!("FileStreamSource[file:{}]", self.pattern)
    }
}

/// The size when it was listed; else, after a restart, the size now.
fn size_of(file: &LoggedFile) -> u64 {
    file.size.or_else(|| Some(std::fs::metadata(&file.path).ok()?.len())).unwrap_or(0)
}

pub(crate) fn path_of(line: &LogLine) -> Result<PathBuf> {
    let path = Url::parse(&line.path).ok().and_then(|it| it.to_file_path().ok());
    path.ok_or_else(|| Error::config(format!("file log: '{}' in entry {} is not a local file", line.path, line.entry)))
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(io: &Handle, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = io.spawn_blocking(work).await;
    done.map_err(|e| Error::internal("a task of the file source stopped").because(e))?
}
