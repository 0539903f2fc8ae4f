//! One case: a query with its checkpoint and outside systems, through as many lives as it takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tidegate_api::{Changes, Error, OutputMode, ReadLimit, Result, SinkSpec};
use tidegate_epoch::fault::Point;
use tidegate_epoch::{
    Checkpoint, CheckpointOptions, Faults, Query, QueryParts, QuerySettings, Retry, SinkPart, SourcePart, Step,
};

use tidegate_storage::Location;

use super::log::{self, Entry};
use super::mistake::{self, Memory, Planted, disk};
use super::program::{CountProgram, Probe};
use super::script::{self, OutputRow};
use super::{Case, CrashSetup};
use crate::clock::ManualClock;
use crate::memory::MemoryInput;
use crate::suite::{SinkBench, sorted_lines};

/// How a run ended.
pub(super) struct Outcome {
    /// What the logs said of each epoch, purged ones too.
    pub(super) log: BTreeMap<u64, Entry>,
    /// The rows that a reader of each sink sees.
    pub(super) sinks: Vec<Vec<OutputRow>>,
    /// The state at the end, and as a restart finds it.
    pub(super) state: Vec<String>,
    pub(super) restored: Vec<String>,
    /// What was seen to be wrong on the way.
    pub(super) wrong: Vec<String>,
}

/// How a life goes on.
enum Turn {
    Ran,
    Idle,
}

pub(super) struct World<'a> {
    setup: &'a CrashSetup,
    folder: TempDir,
    input: MemoryInput,
    benches: Vec<Box<dyn SinkBench>>,
    clock: Arc<ManualClock>,
    probe: Probe,
    memory: Memory,
    lives: usize,
    log: BTreeMap<u64, Entry>,
    wrong: Vec<String>,
}

impl<'a> World<'a> {
    pub(super) fn new(setup: &'a CrashSetup) -> Result<Self> {
        // Crashes here are of processes, not of machines: memory is disk enough, where there is some.
        let shared = Path::new("/dev/shm");
        let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let made = tempfile::Builder::new().prefix("tidegate-crash-").tempdir_in(&parent);
        let folder = made.map_err(|e| disk(&parent, e))?;
        let mut benches = Vec::new();
        for (at, factory) in setup.sinks.iter().enumerate() {
            let own = folder.path().join(format!("sink{at}"));
            std::fs::create_dir(&own).map_err(|e| disk(&own, e))?;
            benches.push(factory(&own)?);
        }
        Ok(Self {
            setup,
            folder,
            input: MemoryInput::new(script::input_schema()),
            benches,
            clock: Arc::new(ManualClock::new(0)),
            probe: Probe::default(),
            memory: Memory::default(),
            lives: 0,
            log: BTreeMap::new(),
            wrong: Vec::new(),
        })
    }

    /// The points that a run without faults hits, by epoch.
    pub(super) async fn trace(mut self) -> Result<Vec<(u64, Point)>> {
        let faults = Faults::default();
        faults.watch();
        self.live(faults.clone()).await?;
        Ok(faults.trace())
    }

    /// Runs a case to its end.
    pub(super) async fn run_case(mut self, case: &Case) -> Result<Outcome> {
        // A fault in each of the first two lives may end it; nothing may end the third.
        for life in 0..3 {
            match self.live(case.faults(life)?).await {
                Ok(()) => return self.outcome().await,
                Err(e) if life == 2 => return Err(e.within("the third life")),
                Err(e) if life == 1 && case.second.is_none() => return Err(e.within("after the restart")),
                Err(_) => {}
            }
            mistake::before_restart(self.setup.mistake, &self.checkpoint())?;
            self.feed()?;
            self.clock.advance(Duration::from_secs(1));
        }
        Err(Error::internal("three lives are not enough"))
    }

    /// Runs epochs of these ends, at these times, without faults.
    pub(super) async fn run_cut(mut self, cut: &[(u64, i64)]) -> Result<Outcome> {
        let mut query = self.start(Faults::default()).await?;
        for (epoch, (end, time_ms)) in (0u64..).zip(cut) {
            while self.input.adds() < *end {
                self.input.add(script::add(self.input.adds())?)?;
            }
            self.clock.advance_to(*time_ms);
            match query.step().await? {
                Step::Ran(progress) if progress.epoch == epoch => {}
                step => return Err(Error::internal(format!("epoch {epoch} ends at {end} in the log, here: {step:?}"))),
            }
            self.after_step(&mut query).await?;
        }
        drop(query);
        self.outcome().await
    }

    /// One life: recovers, then runs until all adds are read.
    async fn live(&mut self, faults: Faults) -> Result<()> {
        let mut query = self.start(faults.clone()).await?;
        loop {
            match self.turn(&mut query).await? {
                Turn::Ran if self.setup.restart_each_epoch => {
                    drop(query);
                    query = self.start(faults.clone()).await?;
                }
                Turn::Ran => {}
                Turn::Idle if self.feed()? => {}
                Turn::Idle => return Ok(()),
            }
        }
    }

    async fn turn(&mut self, query: &mut Query) -> Result<Turn> {
        match query.step().await? {
            Step::Ran(_) => {
                self.after_step(query).await?;
                Ok(Turn::Ran)
            }
            Step::Idle => Ok(Turn::Idle),
            step => Err(Error::internal(format!("the query neither runs nor is idle: {step:?}"))),
        }
    }

    async fn after_step(&mut self, query: &mut Query) -> Result<()> {
        // What the background does, it does now: hits of fault points keep their order.
        query.settle().await?;
        self.note()
    }

    /// Gives the source the next rows; false if there are none.
    fn feed(&mut self) -> Result<bool> {
        let next = self.input.adds();
        if next >= script::adds() {
            return Ok(false);
        }
        self.input.add(script::add(next)?)?;
        self.clock.advance(Duration::from_secs(1));
        Ok(true)
    }

    async fn start(&mut self, faults: Faults) -> Result<Query> {
        let (life, mistake) = (self.lives, self.setup.mistake);
        self.lives += 1;
        let mut options = CheckpointOptions::new(self.clock.clone());
        options.faults = faults;
        let checkpoint = Checkpoint::open(&Location::at(&self.checkpoint())?, options).await?;
        let spec = SinkSpec {
            schema: script::output_schema(),
            mode: OutputMode::Append,
            keys: Vec::new(),
            changes: Changes::Append,
            tasks: 1,
        };
        let mut sinks = Vec::new();
        for (at, bench) in self.benches.iter().enumerate() {
            let sink = mistake::wrapped(mistake, bench.sink(&spec).await?, &self.checkpoint(), life);
            sinks.push(SinkPart {
                name: format!("sink{at}").into(),
                sink,
                mode: OutputMode::Append,
                best_effort: false,
            });
        }
        let planted = Planted::new(mistake, self.memory.clone());
        let program = CountProgram::new(self.setup.program, sinks.len(), self.probe.clone(), planted)?;
        let source = Box::new(self.input.source());
        let parts = QueryParts {
            name: "crash".into(),
            sources: vec![SourcePart { name: "input".into(), source, limit: ReadLimit::NONE }],
            sinks,
            program: Box::new(program),
            settings: QuerySettings { min_epochs_to_retain: 2, ..QuerySettings::default() },
            clock: self.clock.clone(),
            digest: "crash".to_owned(),
            listeners: Vec::new(),
        };
        let mut query = Query::new(checkpoint, parts)?;
        query.set_retry(Retry { tries: 10, first: Duration::ZERO, most: Duration::ZERO });
        query.set_snapshot_interval(self.setup.snapshot_epochs);
        query.start().await?;
        self.after_step(&mut query).await?;
        Ok(query)
    }

    /// Remembers what the logs say, since old entries are purged; what they said once they must always say.
    fn note(&mut self) -> Result<()> {
        for (epoch, entry) in log::read(&self.checkpoint())? {
            let known = self.log.insert(epoch, entry.clone());
            let Some(known) = known else { continue };
            let same = (known.end, known.time_ms, known.watermark_ms) == (entry.end, entry.time_ms, entry.watermark_ms);
            if !same || known.next_ms.is_some_and(|it| entry.next_ms != Some(it)) {
                self.wrong.push(format!("the log of epoch {epoch} said {known:?}, then {entry:?}"));
            }
        }
        Ok(())
    }

    /// Looks at everything from outside, and starts once more to see what a restart finds.
    async fn outcome(mut self) -> Result<Outcome> {
        let state = self.probed();
        let mut sinks = Vec::new();
        for bench in &self.benches {
            let lines = sorted_lines(&bench.rows().await?)?;
            let parse = |it: &String| serde_json::from_str(it).map_err(|e| Error::internal("a row read").because(e));
            let mut rows = lines.iter().map(parse).collect::<Result<Vec<OutputRow>>>()?;
            rows.sort();
            sinks.push(rows);
        }
        self.probe.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(self.start(Faults::default()).await.map_err(|e| e.within("the last restart"))?);
        let restored = self.probed();
        Ok(Outcome { log: self.log, sinks, state, restored, wrong: self.wrong })
    }

    fn probed(&self) -> Vec<String> {
        self.probe.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn checkpoint(&self) -> PathBuf {
        self.folder.path().join("checkpoint")
    }
}
