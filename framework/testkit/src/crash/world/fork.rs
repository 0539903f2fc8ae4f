//! A world at the moment at which its owner has died: all that the next life can find. It can be copied, and known again.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tidegate_api::{Clock as _, Result};
use tidegate_epoch::Faults;
use tidegate_epoch::fault::Point;

use super::World;
use crate::crash::mistake::Memory;

/// What is remembered of a run, if somebody asks for it.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// Keeps the points that are hit.
    pub(crate) hits: Option<Vec<Hit>>,
    /// Keeps the world of the first death after the last fault.
    pub(crate) keeps: bool,
    pub(crate) kept: Option<Arc<World>>,
    /// The worlds after the last fault, by their fingerprints.
    pub(crate) deaths: Vec<u64>,
    /// The worlds from which all went well; to come to one of them ends a run.
    pub(crate) good: Option<Arc<Mutex<BTreeSet<u64>>>>,
    /// The run has ended at such a world.
    pub(crate) ends_known: bool,
}

/// A point that was hit after the faults of its life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) life: usize,
    pub(crate) epoch: u64,
    pub(crate) point: Point,
}

impl World {
    /// Asks for this to be remembered.
    pub(crate) fn see(&self, seen: Seen) {
        self.shared().seen = seen;
    }

    /// What was remembered.
    pub(crate) fn seen(&self) -> Seen {
        self.shared().seen.clone()
    }

    /// A life begins that has so many faults before it; more come later, or somebody stands still.
    pub(super) fn arms(&self, armed: usize, to_come: usize) -> Faults {
        let faults = Faults::default();
        let mut shared = self.shared();
        if shared.seen.hits.is_some() {
            faults.watch();
        }
        shared.armed = (faults.clone(), armed);
        shared.to_come = to_come;
        faults
    }

    /// A life has ended.
    pub(super) fn saw(&self, life: usize, faults: &Faults) {
        if let Some(hits) = &mut self.shared().seen.hits {
            hits.extend(faults.trace_after().into_iter().map(|(epoch, point)| Hit { life, epoch, point }));
        }
    }

    /// All faults have acted, and nobody is left; true if it is known how it goes on from here.
    pub(super) async fn died(&self) -> Result<bool> {
        let seen = self.seen();
        if !seen.keeps && seen.good.is_none() {
            return Ok(false);
        }
        let Some(print) = self.fingerprint().await? else { return Ok(false) };
        if seen.keeps && seen.deaths.is_empty() {
            let kept = self.fork()?;
            self.shared().seen.kept = kept.map(Arc::new);
        }
        let mut shared = self.shared();
        shared.seen.deaths.push(print);
        let good = |it: Arc<Mutex<BTreeSet<u64>>>| it.lock().is_ok_and(|it| it.contains(&print));
        shared.seen.ends_known = seen.good.is_some_and(good);
        Ok(shared.seen.ends_known)
    }

    /// A world of its own that holds what this one holds now; none if something of it can't be copied. Nobody may live in it.
    pub(crate) fn fork(&self) -> Result<Option<Self>> {
        let Some(ground) = self.ground.fork()? else { return Ok(None) };
        let Some(benches) = self.benches.iter().map(|it| it.fork()).collect() else { return Ok(None) };
        let mut shared = self.shared().clone();
        (shared.seen, shared.armed, shared.fed_in_peace) = (Seen::default(), Default::default(), 0);
        Ok(Some(Self {
            setup: self.setup.clone(),
            script: self.script.clone(),
            ground,
            clock: Arc::new(self.clock.fork()),
            limit: self.limit,
            settings: self.settings.clone(),
            set_back: self.set_back,
            meanwhile: self.meanwhile,
            tail: self.tail,
            inputs: self.inputs.iter().map(|it| it.fork()).collect(),
            benches,
            letters: self.letters.copied(),
            memory: Memory::default(),
            acted: AtomicBool::new(false),
            shared: Mutex::new(shared),
        }))
    }

    /// A number for all that lasts: the same number means that all goes on in the same way. None if something of it can't
    /// be told.
    async fn fingerprint(&self) -> Result<Option<u64>> {
        if self.ground.flaky.is_some() || self.setup.mistake.is_some() {
            return Ok(None);
        }
        let mut hasher = DefaultHasher::new();
        for bench in &self.benches {
            let Some(print) = bench.fingerprint() else { return Ok(None) };
            print.hash(&mut hasher);
        }
        self.letters.print().hash(&mut hasher);
        for (key, bytes) in self.ground.files.all("").await? {
            key.hash(&mut hasher);
            if !names_its_process(&key) {
                bytes.hash(&mut hasher);
            }
        }
        (self.clock.now_ms(), self.clock.monotonic()).hash(&mut hasher);
        self.inputs.iter().for_each(|it| (it.adds(), it.committed()).hash(&mut hasher));
        let shared = self.shared();
        (shared.lives, shared.fed, shared.fed_in_peace, &shared.log, &shared.wrong).hash(&mut hasher);
        Ok(Some(hasher.finish()))
    }
}

/// Files that say who owns the checkpoint and where it lies, and their checksums: a new owner takes over whatever they say.
fn names_its_process(key: &str) -> bool {
    let key = key.replace("/.", "/");
    ["state/owner", "state/generations", "state/location"].iter().any(|it| key.starts_with(it))
}
