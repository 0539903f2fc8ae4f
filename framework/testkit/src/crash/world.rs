//! One case: a query with its checkpoint and outside systems, through as many lives as it takes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_api::{Changes, Error, OutputMode, ReadLimit, Result, SinkSpec};
use tidegate_epoch::fault::Point;
use tidegate_epoch::{
    Checkpoint, CheckpointOptions, Faults, Query, QueryParts, QuerySettings, Retry, SinkPart, SourcePart, Step,
};

use super::check::Cut;
use super::letters::{self, Letter};
use super::log::{Entry, Log};
use super::mistake::{self, Memory, Mistake, Planted};
use super::place::Ground;
use super::program::{Probe, program};
use super::script::{self, OutputRow, Script};
use super::{CrashSetup, ProgramKind, SinkUnder};
use crate::clock::ManualClock;
use crate::memory::{MemoryInput, MemoryTable};
use crate::store::FlakyPlan;
use crate::suite::{SinkBench, sorted_lines};

mod case;
mod fork;
mod threads;

#[cfg(test)]
pub(crate) use case::End;
pub(crate) use fork::Seen;

/// How a run ended.
pub(crate) struct Outcome {
    /// What the log says of each epoch, purged ones too.
    pub(crate) log: BTreeMap<u64, Entry>,
    /// The generation of the owner that ran each of them.
    pub(crate) owners: Vec<u64>,
    /// How many adds each source got.
    pub(crate) adds: Vec<u64>,
    /// The rows that a reader of each sink sees.
    pub(crate) sinks: Vec<Vec<OutputRow>>,
    pub(crate) letters: Vec<Letter>,
    /// The state at the end, and as a restart finds it.
    pub(crate) state: Vec<String>,
    pub(crate) restored: Vec<String>,
    /// What was seen to be wrong on the way.
    pub(crate) wrong: Vec<String>,
}

/// How a life goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Ran,
    Idle,
}

const METADATA: &str = r#"{"id":"00000000-0000-4000-8000-000000000000"}"#;

/// One run of the query, as its owner sees it.
pub(crate) struct Life {
    pub(crate) query: Query,
}

pub(crate) struct World {
    pub(crate) setup: CrashSetup,
    pub(crate) script: Arc<Script>,
    pub(crate) ground: Ground,
    pub(crate) clock: Arc<ManualClock>,
    /// How much an epoch may read of a source.
    pub(crate) limit: ReadLimit,
    pub(crate) settings: QuerySettings,
    /// How far the time of day is set back between two lives.
    pub(crate) set_back: Duration,
    /// How many epochs a second owner commits before the first goes on.
    pub(crate) meanwhile: usize,
    /// How many feeds come once all faults have acted and nobody stands still; none: all that there are.
    pub(crate) tail: Option<usize>,
    inputs: Vec<MemoryInput>,
    pub(crate) benches: Vec<Box<dyn SinkBench>>,
    /// Where dead letters go.
    letters: MemoryTable,
    memory: Memory,
    acted: AtomicBool,
    shared: Mutex<Shared>,
}

#[derive(Clone, Default)]
struct Shared {
    lives: usize,
    fed: usize,
    /// Feeds that came after the last fault.
    fed_in_peace: usize,
    /// What the newest owner has before it, and how many faults that is.
    armed: (Faults, usize),
    /// Faults for lives to come, and owners that stand still.
    to_come: usize,
    seen: Seen,
    log: Log,
    /// Of the newest owner.
    probe: Probe,
    wrong: Vec<String>,
    /// What happened, if somebody wants to know.
    story: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(setup: &CrashSetup) -> Result<Self> {
        Self::of(setup, Arc::new(Script::of(setup.program)))
    }

    pub(crate) fn of(setup: &CrashSetup, script: Arc<Script>) -> Result<Self> {
        let with_folder = setup.sinks.iter().any(|it| matches!(it, SinkUnder::Bench(_)));
        let ground = Ground::new(&setup.place, with_folder)?;
        let mut benches: Vec<Box<dyn SinkBench>> = Vec::new();
        for (at, sink) in setup.sinks.iter().enumerate() {
            benches.push(match sink {
                SinkUnder::Memory(kind) => mistake::table(setup.mistake, kind.clone()),
                SinkUnder::Bench(factory) => factory(&ground.folder(&format!("sink{at}"))?)?,
            });
        }
        Ok(Self {
            setup: setup.clone(),
            inputs: (0..script.sources()).map(|_| MemoryInput::new(script::input_schema())).collect(),
            script,
            ground,
            // Far from zero: it is set back between two lives.
            clock: Arc::new(ManualClock::new(1_000_000)),
            limit: ReadLimit::NONE,
            settings: QuerySettings { min_epochs_to_retain: 2, ..QuerySettings::default() },
            set_back: Duration::from_secs(3),
            meanwhile: 2,
            tail: None,
            benches,
            letters: letters::table(setup),
            memory: Memory::default(),
            acted: AtomicBool::new(false),
            shared: Mutex::default(),
        })
    }

    /// The points that a run without faults hits, by epoch.
    pub(crate) async fn trace(&self) -> Result<Vec<(u64, Point)>> {
        let faults = Faults::default();
        faults.watch();
        self.live(&faults, || true).await?;
        Ok(faults.trace())
    }

    /// True if all faults of the case have acted.
    pub(crate) fn all_acted(&self) -> bool {
        self.acted.load(Ordering::Relaxed)
    }

    /// Runs epochs of these ends, at these times, without faults.
    pub(crate) async fn run_cut(&self, cut: &[Cut]) -> Result<()> {
        // It may have been set back before the first epoch.
        self.clock.set_back(Duration::from_secs(500));
        let mut life = self.start(&Faults::default()).await?;
        for (epoch, Cut { ends, time_ms, anew }) in (0u64..).zip(cut) {
            if *anew {
                drop(life);
                life = self.start(&Faults::default()).await?;
            }
            for (source, (input, end)) in self.inputs.iter().zip(ends).enumerate() {
                while input.adds() < *end {
                    input.add(self.script.add(source, input.adds())?)?;
                }
            }
            self.clock.advance_to(*time_ms);
            match life.query.step().await? {
                Step::Ran(progress) if progress.epoch == epoch => {}
                step => {
                    return Err(Error::internal(format!("epoch {epoch} ends at {ends:?} in the log, here: {step:?}")));
                }
            }
            self.after_step(&mut life).await?;
        }
        Ok(())
    }

    /// One life: recovers, then runs until all adds are read; it gets them itself, as long as `feeds` says so.
    pub(crate) async fn live(&self, faults: &Faults, feeds: impl Fn() -> bool) -> Result<()> {
        let mut life = self.start(faults).await?;
        loop {
            match self.turn(&mut life).await? {
                Turn::Ran if self.setup.restart_each_epoch && feeds() => {
                    drop(life);
                    life = self.start(faults).await?;
                }
                Turn::Ran => {}
                Turn::Idle if feeds() && self.feed()? => {}
                Turn::Idle => return Ok(()),
            }
        }
    }

    pub(crate) async fn turn(&self, life: &mut Life) -> Result<Turn> {
        // A query may wait for its time; here it comes at once.
        for _ in 0..3 {
            match life.query.step().await? {
                Step::Ran(ran) => {
                    let (used, next) = (ran.watermark_ms.unwrap_or(0), ran.next_watermark_ms.unwrap_or(0));
                    self.tell(|| format!("epoch {} ran, watermark {used} to {next}", ran.epoch));
                    self.after_step(life).await?;
                    return Ok(Turn::Ran);
                }
                Step::Idle => return Ok(Turn::Idle),
                Step::Waiting { until_ms } => self.clock.advance_to(until_ms),
                Step::Ended => break,
            }
        }
        Err(Error::internal("the query neither runs nor is idle"))
    }

    async fn after_step(&self, life: &mut Life) -> Result<()> {
        // What the background does, it does now: hits of fault points keep their order.
        life.query.settle().await?;
        self.note().await
    }

    /// Remembers what the log says, since old records are purged.
    pub(crate) async fn note(&self) -> Result<()> {
        let mut log = std::mem::take(&mut self.shared().log);
        let read = log.read(&self.ground.files).await;
        self.shared().log = log;
        read
    }

    /// Gives the sources what comes next; false if nothing does.
    pub(crate) fn feed(&self) -> Result<bool> {
        if self.has_enough() {
            return Ok(false);
        }
        let at = self.shared().fed;
        let most = self.script.at_once.get(at).copied().unwrap_or(1).max(1);
        let feeds = self.script.feeds.get(at..).unwrap_or_default();
        for feed in feeds.iter().take(most) {
            for (source, input) in self.inputs.iter().enumerate() {
                if feed.get(source).is_some_and(Option::is_some) {
                    input.add(self.script.add(source, input.adds())?)?;
                }
            }
            self.shared().fed += 1;
            self.clock.advance(Duration::from_secs(1));
        }
        self.tell(|| format!("fed {}", feeds.len().min(most)));
        Ok(!feeds.is_empty())
    }

    /// The newest epoch that was logged.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.shared().log.newest()
    }

    /// True if nothing more will go wrong, and enough has come since the last time.
    fn has_enough(&self) -> bool {
        let Some(tail) = self.tail else { return false };
        let mut shared = self.shared();
        if shared.to_come > 0 || shared.armed.0.acted() < shared.armed.1 {
            return false;
        }
        shared.fed_in_peace += 1;
        shared.fed_in_peace > tail
    }

    /// From now on remembers what happens.
    pub(crate) fn listen(&self) {
        self.shared().story = Some(Vec::new());
    }

    /// What happened since [`listen`](Self::listen).
    pub(crate) fn story(&self) -> Vec<String> {
        self.shared().story.clone().unwrap_or_default()
    }

    pub(crate) fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.shared().story {
            story.push(line());
        }
    }

    pub(crate) async fn start(&self, faults: &Faults) -> Result<Life> {
        let mut query = self.build(faults).await?;
        query.start().await?;
        let mut life = Life { query };
        self.after_step(&mut life).await?;
        Ok(life)
    }

    /// The query of a new life, before it starts.
    pub(crate) async fn build(&self, faults: &Faults) -> Result<Query> {
        let (life, mistake) = (self.shared().lives, self.setup.mistake);
        self.shared().lives += 1;
        self.tell(|| format!("life {life} starts"));
        let mut options = CheckpointOptions::new(self.clock.clone());
        options.faults = faults.clone();
        options.check_ownership = self.setup.check_ownership && mistake != Some(Mistake::NoFencing);
        // The owner before is dead or stands still: its lease is not waited for.
        options.take_over = true;
        if life == 0 {
            // One identity for all: what a run leaves then depends on nothing but the run.
            self.ground.files.put_first("metadata", METADATA).await?;
        }
        let checkpoint = Checkpoint::open(&self.ground.location, options).await?;
        let probe = Probe::default();
        self.shared().probe = probe.clone();
        let sinks = self.sinks(life).await?;
        let planted = Planted::new(mistake, self.memory.clone());
        let parts = QueryParts {
            name: "crash".into(),
            sources: self.sources(),
            program: program(self.setup.program, sinks.len(), life, probe.clone(), planted)?,
            sinks,
            errors: letters::errors(&self.setup, &self.letters),
            settings: self.settings.clone(),
            clock: self.clock.clone(),
            digest: if self.setup.program == ProgramKind::Changed {
                format!("crash {life}")
            } else {
                "crash".to_owned()
            },
            listeners: Vec::new(),
        };
        let mut query = Query::new(checkpoint, parts)?;
        query.set_retry(Retry { tries: 10, first: Duration::ZERO, most: Duration::ZERO });
        query.set_snapshot_interval(self.setup.snapshot_epochs);
        if let Some(bytes) = self.setup.stage_memory {
            query.set_stage_memory(bytes);
        }
        Ok(query)
    }

    fn sources(&self) -> Vec<SourcePart> {
        let part = |(at, input): (usize, &MemoryInput)| SourcePart {
            name: format!("input{at}").into(),
            source: mistake::source(self.setup.mistake, Box::new(input.source())),
            limit: self.limit,
        };
        self.inputs.iter().enumerate().map(part).collect()
    }

    async fn sinks(&self, life: usize) -> Result<Vec<SinkPart>> {
        let spec = spec();
        let mut sinks = Vec::new();
        for at in 0..self.benches.len() {
            let Some(bench) = self.benches.get(mistake::bench(self.setup.mistake, at)) else { continue };
            let planted = mistake::Place { files: self.ground.files.clone(), life, clock: self.clock.clone() };
            let sink = mistake::wrapped(self.setup.mistake, bench.sink(&spec).await?, planted);
            let sink = letters::rejecting(&self.setup, sink);
            sinks.push(SinkPart {
                name: format!("sink{at}").into(),
                sink,
                mode: OutputMode::Append,
                best_effort: false,
            });
        }
        Ok(sinks)
    }

    /// Looks at everything from outside, and starts once more to see what a restart finds.
    pub(crate) async fn outcome(&self) -> Result<Outcome> {
        let state = self.probed();
        let sinks = self.shown().await?;
        if let Some(flaky) = &self.ground.flaky {
            // What a restart finds is looked at in peace.
            flaky.set(FlakyPlan::default());
            flaky.settle().await;
        }
        drop(self.start(&Faults::default()).await.map_err(|e| e.within("the last restart"))?);
        let restored = self.probed();
        let log = self.shared().log.decided()?;
        let owners = self.shared().log.owners()?;
        let newest = log.last_key_value().map_or(0, |it| *it.0);
        for name in self.ground.files.list("state/staged").await? {
            // The newest epoch's go with the next record.
            if !name.starts_with(&format!("{newest}.")) {
                self.wrong(format!("state/staged/{name} stays behind"));
            }
        }
        let adds = self.inputs.iter().map(MemoryInput::adds).collect();
        let letters = letters::read(&self.letters)?;
        Ok(Outcome { log, owners, adds, sinks, letters, state, restored, wrong: self.shared().wrong.clone() })
    }

    /// What a reader of each sink sees, sorted.
    pub(crate) async fn shown(&self) -> Result<Vec<Vec<OutputRow>>> {
        let mut sinks = Vec::new();
        for bench in &self.benches {
            let lines = sorted_lines(&bench.rows().await?)?;
            let parse = |it: &String| serde_json::from_str(it).map_err(|e| Error::internal("a row read").because(e));
            let mut rows = lines.iter().map(parse).collect::<Result<Vec<OutputRow>>>()?;
            rows.sort();
            sinks.push(rows);
        }
        Ok(sinks)
    }

    /// The first thing that was seen to be wrong on the way.
    pub(crate) fn seen_wrong(&self) -> Option<String> {
        self.shared().wrong.first().cloned()
    }

    pub(crate) fn wrong(&self, text: String) {
        self.shared().wrong.push(text);
    }

    fn probed(&self) -> Vec<String> {
        self.shared().probe.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the sinks will be given.
pub(crate) fn spec() -> SinkSpec {
    SinkSpec {
        schema: script::output_schema(),
        mode: OutputMode::Append,
        keys: Vec::new(),
        changes: Changes::Append,
        tasks: 1,
    }
}
