//! A small world to run a query in: numbers come in, counts by window go out.

mod letters;
mod program;
mod sink;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt;
use tidegate_api::{Clock, DynSource, ReadLimit, Result, async_trait};
use tidegate_epoch::{
    Checkpoint, CheckpointOptions, Faults, Query, QueryParts, QueryProgress, QuerySettings, Retry, SinkPart,
    SourcePart, Step,
};
use tidegate_storage::Location;
use tidegate_storage::object_store::memory::InMemory;
use tidegate_storage::object_store::path::Path as StorePath;
use tidegate_storage::object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

pub(crate) use letters::Tolerated;
pub(crate) use program::{DELAY_MS, Version, Windows, model};
pub(crate) use sink::{Store, Table};
pub(crate) use source::{Feed, Letters, Numbers};

/// Stands still until a test moves it.
#[derive(Default)]
pub(crate) struct ManualClock(AtomicI64);

impl ManualClock {
    pub(crate) fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now_ms().unsigned_abs())
    }
    async fn sleep_until(&self, at_ms: i64) {
        while self.now_ms() < at_ms {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What happened, each with the files of its epoch that were there then.
#[derive(Clone)]
pub(crate) struct Events {
    root: PathBuf,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Events {
    pub(crate) fn note(&self, what: &str, epoch: u64) {
        let there = |folder: &str, is: &dyn Fn(&str) -> bool| {
            let entries = std::fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
            entries.filter_map(|it| it.file_name().into_string().ok()).any(|it| is(&it))
        };
        let mut files = Vec::new();
        if there("state/wal", &|it| it.starts_with(&format!("{epoch}."))) {
            files.push("record");
        }
        for folder in ["offsets", "commits"] {
            if there(folder, &|it| it == epoch.to_string()) {
                files.push(folder);
            }
        }
        self.seen.lock().unwrap().push(format!("{what} {epoch} [{}]", files.join(" ")));
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// All that outlives a query: its checkpoint, what its sources have and what its sinks show.
pub(crate) struct World {
    folder: PathBuf,
    _swept: Option<tempfile::TempDir>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) feeds: Vec<(&'static str, Feed)>,
    pub(crate) stores: Vec<(&'static str, Store)>,
    pub(crate) events: Events,
    pub(crate) settings: QuerySettings,
    pub(crate) limit: ReadLimit,
    /// Without one the program is stateless.
    pub(crate) windows: bool,
    pub(crate) digest: &'static str,
    /// The layout of the program's state, if not the usual one.
    pub(crate) layout: Option<&'static str>,
    pub(crate) version: Version,
    /// How many bytes of an output stay in memory.
    pub(crate) stage_memory: Option<usize>,
    /// The sources can be read once only.
    pub(crate) once: bool,
    /// Where the checkpoint lies, if not in the folder.
    pub(crate) place: Option<Location>,
    /// Takes the checkpoint from whoever has it.
    pub(crate) take_over: bool,
    /// Makes a copy a query of its own.
    pub(crate) adopt: bool,
    pub(crate) errors: Tolerated,
}

impl World {
    pub(crate) fn new() -> Self {
        // Memory where there is some: a matrix of crashes is a lot of fsyncs.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let mut world = Self::at(folder.path());
        world._swept = Some(folder);
        world
    }

    /// In a folder that somebody else removes.
    pub(crate) fn at(folder: &Path) -> Self {
        let events = Events { root: folder.join("checkpoint"), seen: Arc::default() };
        Self {
            folder: folder.to_owned(),
            _swept: None,
            clock: Arc::default(),
            feeds: vec![("input", Feed::default())],
            stores: vec![("table", Store::default())],
            events,
            settings: QuerySettings { min_epochs_to_retain: 100, ..QuerySettings::default() },
            limit: ReadLimit::NONE,
            windows: true,
            digest: "digest",
            layout: None,
            version: Version::default(),
            stage_memory: None,
            once: false,
            place: None,
            take_over: false,
            adopt: false,
            errors: Tolerated::default(),
        }
    }

    /// On an object store in memory.
    pub(crate) fn in_memory() -> Self {
        let url = Url::parse("memory:///checkpoint").unwrap();
        let place = Location::of_store(url, Arc::new(InMemory::new()), StorePath::from("checkpoint"));
        Self { place: Some(place), ..Self::new() }
    }

    /// All files of the checkpoint.
    pub(crate) async fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        let place = self.location().unwrap();
        let mut all = BTreeMap::new();
        let listed: Vec<_> = place.store().list(Some(place.prefix())).try_collect().await.unwrap();
        for it in listed {
            let key = it.location.as_ref()[place.prefix().as_ref().len() + 1..].to_owned();
            // A heartbeat may come and go.
            if let Ok(found) = place.store().get(&it.location).await {
                all.insert(key, found.bytes().await.unwrap().to_vec());
            }
        }
        all
    }

    pub(crate) fn location(&self) -> Result<Location> {
        self.place.clone().map_or_else(|| Location::at(&self.root()), Ok)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feeds[0].1
    }

    pub(crate) fn store(&self) -> &Store {
        &self.stores[0].1
    }

    pub(crate) async fn checkpoint(&self, faults: &Faults) -> Result<Checkpoint> {
        let options = CheckpointOptions {
            faults: faults.clone(),
            take_over: self.take_over,
            adopt: self.adopt,
            ..CheckpointOptions::new(self.clock.clone())
        };
        Checkpoint::open(&self.location()?, options).await
    }

    /// A query that has not been started.
    pub(crate) async fn build(&self, faults: &Faults) -> Result<Query> {
        let source = |(name, feed): &(&'static str, Feed)| SourcePart {
            name: (*name).into(),
            source: Box::new(if self.once { Numbers::once(feed.clone()) } else { Numbers::new(feed.clone()) }),
            limit: self.limit,
        };
        self.build_with(self.checkpoint(faults).await?, self.feeds.iter().map(source).collect())
    }

    /// The same with another source.
    pub(crate) async fn build_with_source(&self, name: &str, source: Box<dyn DynSource>) -> Result<Query> {
        let part = SourcePart { name: name.into(), source, limit: self.limit };
        self.build_with(self.checkpoint(&Faults::default()).await?, vec![part])
    }

    fn build_with(&self, checkpoint: Checkpoint, sources: Vec<SourcePart>) -> Result<Query> {
        let sink = |(name, store): &(&'static str, Store)| SinkPart {
            name: (*name).into(),
            sink: Box::new(Table::new(name, store.clone(), self.events.clone())),
            mode: tidegate_api::OutputMode::Append,
            best_effort: store.is_best_effort(),
        };
        let nodes = if self.windows { self.feeds.iter().map(|(name, _)| *name).collect() } else { Vec::new() };
        let program = Windows::new(nodes, self.stores.len(), self.events.clone());
        let program = program.of(self.layout, self.version.clone());
        let mut query = Query::new(
            checkpoint,
            QueryParts {
                name: "test".into(),
                sources,
                sinks: self.stores.iter().map(sink).collect(),
                errors: self.errors.make(&self.events),
                program: Box::new(program),
                settings: self.settings.clone(),
                clock: self.clock.clone(),
                digest: self.digest.to_owned(),
                listeners: Vec::new(),
            },
        )?;
        query.set_retry(Retry { tries: 12, first: Duration::from_millis(1), most: Duration::from_millis(4) });
        query.set_snapshot_interval(2);
        if let Some(bytes) = self.stage_memory {
            query.set_stage_memory(bytes);
        }
        Ok(query)
    }

    pub(crate) async fn start(&self) -> Result<Query> {
        self.start_with(&Faults::default()).await
    }

    pub(crate) async fn start_with(&self, faults: &Faults) -> Result<Query> {
        let mut query = self.build(faults).await?;
        query.start().await?;
        Ok(query)
    }

    pub(crate) fn file(&self, path: &str) -> String {
        std::fs::read_to_string(self.root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        names(&self.root().join(folder)).into_iter().filter(|it| !it.starts_with('.')).collect()
    }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort_by_key(|it| (it.split('.').next().and_then(|it| it.parse::<u64>().ok()), it.clone()));
    names
}

/// Writes a file that has a checksum beside it; the checksum goes.
pub(crate) fn write_by_hand(world: &World, key: &str, text: &str) {
    let path = world.root().join(key);
    let sidecar = format!(".{}.crc", path.file_name().unwrap().to_str().unwrap());
    std::fs::remove_file(path.with_file_name(sidecar)).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Adds rows, and crashes at the fault.
pub(crate) async fn crash(world: &World, fault: &str, values: &[i64]) {
    world.feed().add(values);
    let faults = Faults::default();
    faults.arm(fault).unwrap();
    let mut query = world.start_with(&faults).await.unwrap();
    while query.step().await.is_ok() {}
    assert!(faults.crashed(), "{fault}");
}

/// A query has run over four windows' rows, a row at a time, and has ended.
pub(crate) async fn four_epochs(world: &World) {
    let mut query = world.start().await.unwrap();
    for at in 0..4 {
        world.feed().add(&[at * 9]);
        drain(&mut query).await.unwrap();
    }
}

/// Steps until there is nothing left to do; gives the progress of the epochs that ran.
pub(crate) async fn drain(query: &mut Query) -> Result<Vec<QueryProgress>> {
    let mut ran = Vec::new();
    while let Step::Ran(progress) = query.step().await? {
        ran.push(*progress);
    }
    query.settle().await?;
    Ok(ran)
}
