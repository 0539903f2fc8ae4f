//! SIGKILL at every named step and at random moments, over a job of two Delta tables.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tidegate_epoch::fault::Point;

use crate::kafka::Random;
use crate::pair::{PATIENCE, Pair, Place, setting};
use crate::process::binary;

/// Epochs that the input makes at least, for each kill.
const EPOCHS_A_KILL: usize = 8;

/// Only sinks that take staged rows come to these, or reject rows.
const OF_OTHER_SINKS: [Point; 4] = [Point::StageWrite, Point::StageFsync, Point::CommitStaged, Point::CommitRejects];
/// An object store has no temporary files.
const OF_DISKS: [Point; 3] = [Point::RecordFsync, Point::RecordRename, Point::SnapshotRename];

#[test]
fn two_tables_survive_sigkill_at_every_step() {
    let kills = setting("TIDEGATE_TEST_MATRIX_KILLS", 24);
    let points: Vec<_> = Point::ALL.iter().copied().filter(|it| !OF_OTHER_SINKS.contains(it)).collect();
    Matrix::new("killed", kills, points, |folder, _| Place::local(folder)).run();
}

#[test]
fn two_tables_survive_sigkill_on_an_object_store() {
    let kills = setting("TIDEGATE_TEST_STORE_KILLS", 4);
    let points = Point::ALL.iter().copied().filter(|it| !OF_OTHER_SINKS.contains(it) && !OF_DISKS.contains(it));
    Matrix::new("killed-store", kills, points.collect(), |_, seed| Place::store(seed)).run();
}

/// How often the loop comes to a point in one epoch: once for each sink where it commits.
fn hits(point: Point) -> u64 {
    match point {
        Point::CommitBefore | Point::CommitAfter => 2,
        _ => 1,
    }
}

/// True for what runs beside the loop, and not in each epoch.
fn in_background(point: Point) -> bool {
    matches!(point, Point::SnapshotWrite | Point::SnapshotRename | Point::Purge)
}

/// What brings the loop to a point: some need an error first.
fn armed(point: Point, nth: u64, random: &mut Random) -> String {
    match point {
        Point::Discard | Point::Retry if random.below(3) > 0 => {
            let step = if random.below(2) == 0 { "run" } else { "prepare" };
            format!("{step}=error@{nth},{point}=kill")
        }
        Point::Discard => format!("record.write=error@{nth},discard=kill"),
        Point::Retry => format!("commit.after=error@{nth},retry=kill"),
        _ => format!("{point}=kill@{nth}"),
    }
}

struct Matrix {
    job: Pair,
    kills: u64,
    seed: u64,
    points: Vec<Point>,
    paced: String,
}

impl Matrix {
    fn new(name: &str, kills: u64, points: Vec<Point>, place: impl FnOnce(&Path, u64) -> Place) -> Self {
        let seed = setting("TIDEGATE_TEST_SEED", 20_261_121);
        println!("seed {seed}, {kills} kills");
        let events = crate::clicks::events();
        let rows = events / (usize::try_from(kills).unwrap() * EPOCHS_A_KILL);
        let job = Pair::new(name, seed, events, binary(), |folder| place(folder, seed));
        Self { job, kills, seed, points, paced: format!("max.rows.per.epoch: {rows}") }
    }

    fn run(self) {
        let mut random = Random(self.seed);
        let mut hit: BTreeMap<String, u64> = BTreeMap::new();
        let (mut last, mut stuck) = (0, 0);
        let mut by_name = 0;
        for at in 0..self.kills {
            // Three of four by name, one from outside.
            let (epoch, phase) = if at % 4 == 3 {
                self.kill_from_outside(last, &mut random)
            } else {
                let point = self.points[by_name % self.points.len()];
                by_name += 1;
                (self.kill_at(point, stuck == 0, &mut random), format!("step {point}"))
            };
            // Right after a start it may die again before it has decided anything, but not twice. A store has no word that
            // the epoch before is decided: if a table got no rows in it, the start commits that epoch again.
            stuck = if epoch > last { 0 } else { stuck + 1 };
            assert!(epoch + 1 >= last && stuck < 2, "kill {at} ({phase}): epoch {epoch}, before it {last}");
            println!("kill {at}: epoch {epoch}, {phase}");
            *hit.entry(phase).or_default() += 1;
            last = epoch.max(last);
        }
        self.finish(&hit);
    }

    /// Kills by fault point. One in five right at the first hit, so while the start finishes what was pending; else
    /// after at least one whole epoch.
    fn kill_at(&self, point: Point, may_be_early: bool, random: &mut Random) -> u64 {
        let nth = match (in_background(point), random.below(5)) {
            (true, _) => 1 + random.below(hits(point)),
            (false, 0) if may_be_early => 1,
            (false, _) => hits(point) * (1 + random.below(2)) + 1 + random.below(hits(point)),
        };
        let pipeline = self.job.pipeline("pair.yaml", &self.paced);
        let mut run = self.job.start("run", &pipeline, &armed(point, nth, random), &[]);
        let code = run.ended(PATIENCE);
        assert!(code.is_none(), "{point}: ended by itself with {code:?}: {}", run.said());
        run.phase().map_or(0, |(epoch, _)| epoch)
    }

    fn kill_from_outside(&self, last: u64, random: &mut Random) -> (u64, String) {
        let pipeline = self.job.pipeline("pair.yaml", &self.paced);
        let mut run = self.job.start("run", &pipeline, "", &[]);
        run.reaches(last + 1 + random.below(3));
        std::thread::sleep(Duration::from_micros(random.below(30_000)));
        run.kill();
        let (epoch, point) = run.phase().unwrap_or_default();
        (epoch, format!("outside {point}"))
    }

    fn finish(self, hit: &BTreeMap<String, u64>) {
        println!("hit: {hit:?}");
        let least = (self.kills * 3 / 4 / self.points.len() as u64).min(3);
        for point in &self.points {
            let n = hit.get(&format!("step {point}")).copied().unwrap_or(0);
            assert!(n >= least, "{point}: {n} kills, expected at least {least}");
        }
        let epochs = self.job.drain(&self.paced);
        // What the kills left behind is gone after the next start.
        self.job.drain(&self.paced);
        self.job.compare(true);
        println!("epochs {epochs}");
        assert!(epochs >= 2 * self.kills, "only {epochs} epochs");
        self.job.tell_faults();
    }
}
