//! What a seed stands for.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use tidegate_api::ReadLimit;
use tidegate_epoch::fault::Point;

use crate::crash::case::Shot;
use crate::crash::script::{Feed, Row, Script};
use crate::crash::{CrashSetup, Fault, Place, ProgramKind, SinkUnder};
use crate::memory::MemoryKind;
use crate::store::FlakyPlan;

/// The programs that a seed draws from; `Letters` and `Groups` are drawn beside them.
const DRAWN: [ProgramKind; 5] =
    [ProgramKind::Stateless, ProgramKind::Aggregate, ProgramKind::Join, ProgramKind::Volatile, ProgramKind::Changed];

/// A run, drawn.
pub(super) struct Draw {
    pub(super) setup: CrashSetup,
    pub(super) script: Script,
    pub(super) shots: Vec<Shot>,
    pub(super) limit: ReadLimit,
    pub(super) retain: u64,
    pub(super) set_back_ms: u64,
    pub(super) meanwhile: usize,
    pub(super) store: Option<FlakyPlan>,
}

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let drawn = random.choice(DRAWN).unwrap_or(ProgramKind::Stateless);
        // By itself, so that older seeds stand for what they always stood for.
        let mut letters = Rng::with_seed(!seed);
        let rejects = drawn == ProgramKind::Stateless && letters.bool();
        let grouped = drawn == ProgramKind::Join && Rng::with_seed(seed.rotate_left(32)).bool();
        let program = match (rejects, grouped) {
            (true, _) => ProgramKind::Letters,
            (_, true) => ProgramKind::Groups,
            _ => drawn,
        };
        let sinks = sinks(&mut random);
        let place = match random.u32(..20) {
            0..9 => Place::Memory,
            9..18 => Place::Flaky(random.u64(..)),
            _ => Place::Disk,
        };
        let fenced = sinks.iter().all(|it| !matches!(it, SinkUnder::Memory(MemoryKind::Piecemeal(_))));
        let setup = CrashSetup {
            place,
            snapshot_epochs: random.choice([1, 2, 3, 5, u64::MAX]).unwrap_or(1),
            stage_memory: random.bool().then_some(100),
            check_ownership: !fenced || random.bool(),
            ..CrashSetup::on(program, sinks)
        };
        let rows = random.bool().then(|| random.u64(2..8));
        Self {
            script: script(&mut random, program.sources()),
            shots: shots(&mut random, rejects.then_some(&mut letters)),
            limit: ReadLimit { max_rows: rows, ..ReadLimit::NONE },
            retain: random.u64(1..5),
            set_back_ms: random.u64(..6000),
            meanwhile: random.usize(1..5),
            store: matches!(setup.place, Place::Flaky(_)).then(|| store(&mut random)),
            setup,
        }
    }
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sink = |it: &SinkUnder| match it {
            SinkUnder::Memory(kind) => format!("{kind:?}"),
            SinkUnder::Bench(_) => "bench".to_owned(),
        };
        let sinks: Vec<_> = self.setup.sinks.iter().map(sink).collect();
        let shots: Vec<_> = self.shots.iter().map(ToString::to_string).collect();
        let CrashSetup { program, place, snapshot_epochs, check_ownership, .. } = &self.setup;
        write!(f, "{program:?} to {} at {place:?}, snapshots {snapshot_epochs}, ", sinks.join("+"))?;
        write!(
            f,
            "ownership checked {check_ownership}, {} feeds, limit {:?}, ",
            self.script.feeds.len(),
            self.limit.max_rows
        )?;
        write!(f, "retain {}, {} ms back, faults: {}", self.retain, self.set_back_ms, shots.join("; "))
    }
}

/// One to three sinks; the first of them counts.
fn sinks(random: &mut Rng) -> Vec<SinkUnder> {
    let mut sinks: Vec<_> = (0..random.usize(1..4))
        .map(|at| match random.u32(..if at == 0 { 8 } else { 10 }) {
            0..4 => SinkUnder::Memory(MemoryKind::Committable),
            4..6 => SinkUnder::Memory(MemoryKind::Transactional),
            6..8 => SinkUnder::piecemeal(),
            _ => SinkUnder::Memory(MemoryKind::BestEffort),
        })
        .collect();
    random.shuffle(&mut sinks);
    sinks
}

fn script(random: &mut Rng, sources: usize) -> Script {
    let mut now = 0;
    let mut feeds: Vec<Feed> = Vec::new();
    for _ in 0..random.usize(4..14) {
        let mut feed: Feed = Vec::new();
        for _ in 0..sources {
            now += random.i64(0..9);
            feed.push(Some((0..random.usize(..6)).map(|_| row(random, now)).collect()));
        }
        if sources > 1 && random.u32(..3) == 0 {
            let silent = random.usize(..sources);
            feed.iter_mut().skip(silent).take(1).for_each(|it| *it = None);
        }
        feeds.push(feed);
    }
    let at_once = (0..feeds.len()).map(|_| if random.u32(..4) == 0 { random.usize(2..5) } else { 1 }).collect();
    Script { feeds, at_once }
}

fn row(random: &mut Rng, now: i64) -> Row {
    // Some come late, some far too late.
    let late = if random.u32(..4) == 0 { random.i64(0..40) } else { random.i64(0..4) };
    ((now - late).max(0), random.choice(["a", "b", "c", "d"]).unwrap_or("a").to_owned())
}

/// Some are at the point of dead letters, if there are `letters`.
fn shots(random: &mut Rng, mut letters: Option<&mut Rng>) -> Vec<Shot> {
    let all = Fault::every();
    let points: Vec<_> = Point::ALL.iter().copied().filter(|it| *it != Point::CommitRejects).collect();
    let mut shot = |random: &mut Rng| {
        let point = random.choice(&points).copied().unwrap_or(Point::Run);
        let at_letters = letters.as_mut().is_some_and(|it| it.u32(..4) == 0);
        Shot {
            point: if at_letters { Point::CommitRejects } else { point },
            nth: if random.bool() { 1 } else { random.u32(1..9) },
            fault: random.choice(&all).copied().unwrap_or(Fault::Crash),
            life: None,
        }
    };
    (0..random.usize(1..7)).map(|_| shot(random)).collect()
}

fn store(random: &mut Rng) -> FlakyPlan {
    let mut share = |most: f64| random.f64() * most;
    FlakyPlan {
        fail: share(0.1),
        unavailable: share(0.1),
        lose_reply: share(0.1),
        repeat: share(0.05),
        land_late: share(0.05),
        delay: Some((share(0.1), Duration::from_millis(500))),
        overtake: share(0.05),
        most_in_a_row: Some(3),
        ..FlakyPlan::default()
    }
}
