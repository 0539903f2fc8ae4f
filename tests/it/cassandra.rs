//! A job from files to Cassandra, with SIGKILLs between and inside epochs and a clock that is set back an hour.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kafka::Random;
use crate::pair::setting;
use crate::process::{python, tidegate, write};
use crate::stand::Cassandra;

const HOUR_MS: i64 = 3_600_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// Epochs that the input makes, for each kill.
const EPOCHS_A_KILL: u64 = 5;
/// Rows of the one key that each epoch writes a hundred times.
const HOT_ROWS: u64 = 100;
/// Other keys of an epoch: each is deleted in the next one, and half of them written again in the one after it.
const KEYS: u64 = 60;

/// Where a run is killed by name: at points of the loop, and in the middle of a commit.
const STEPS: [&str; 12] = [
    IN_COMMIT,
    "commit.before",
    "commit.after",
    IN_COMMIT,
    "record.write",
    "commits_file",
    IN_COMMIT,
    "commit.staged",
    "record.dirsync",
    "commit.after",
    "prepare",
    "seal",
];
const NO_FAULTS: (&str, &str) = ("TIDEGATE_FAULTS", "");
/// Before each statement.
const IN_COMMIT: &str = "cassandra.statement";

#[test]
fn cassandra_table_survives_sigkill_and_a_clock_set_back() {
    let seed = setting("TIDEGATE_TEST_SEED", 20_261_121);
    let kills = setting("TIDEGATE_TEST_CASSANDRA_KILLS", 6);
    println!("seed {seed}, {kills} kills");
    let mut random = Random(seed);
    let job = Job::new("killed", kills * EPOCHS_A_KILL + 4, &mut random);
    let mut hit: BTreeMap<String, u64> = BTreeMap::new();
    let (mut last, mut stuck) = (None, false);
    for at in 0..kills {
        // Every second process has a clock that stands an hour back.
        let offset_ms = if at % 2 == 1 { -HOUR_MS } else { 0 };
        let phase = if at % 2 == 0 {
            let step = STEPS[usize::try_from(at / 2).unwrap() % STEPS.len()];
            job.die_at(step, 1 + random.below(3), offset_ms);
            format!("step {step}")
        } else {
            job.kill_in_commit(random.below(3), Duration::from_micros(random.below(60_000)), offset_ms)
        };
        let now = job.last_epoch();
        // In the middle of the commit that a start begins with: it gets no further, but not twice in a row.
        assert!(now > last || !stuck, "kill {at}: no progress after epoch {last:?}");
        stuck = now == last;
        println!("kill {at}: epoch {now:?}, {phase}, clock {offset_ms} ms");
        *hit.entry(phase).or_default() += 1;
        last = now;
    }
    println!("hit: {hit:?}");
    job.drain(-HOUR_MS);
    let epochs = job.last_epoch().expect("epochs ran") + 1;
    println!("epochs {epochs}");
    assert!(epochs >= kills * EPOCHS_A_KILL, "only {epochs} epochs");
    job.compare();
}

/// The job, with a table and input of its own.
struct Job {
    node: Arc<Cassandra>,
    folder: tempfile::TempDir,
    table: String,
}

impl Job {
    fn new(name: &str, epochs: u64, random: &mut Random) -> Self {
        let node = Cassandra::shared();
        let job = Self { node, folder: tempfile::tempdir().unwrap(), table: name.to_owned() };
        fs::create_dir(job.input()).unwrap();
        let mut seq = 0;
        for epoch in 0..epochs {
            // Sources take files in the order of their times, then of their names.
            write(&job.input().join(format!("part-{epoch:05}.json")), &rows_of(epoch, &mut seq, random));
        }
        let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
        job.node.cql(&format!("CREATE KEYSPACE IF NOT EXISTS tests WITH replication = {replication}"));
        job.node.cql(&format!("CREATE TABLE tests.{name} (k text PRIMARY KEY, seq bigint, v int, note text)"));
        job
    }

    fn input(&self) -> PathBuf {
        self.folder.path().join("input")
    }

    fn phase_file(&self) -> PathBuf {
        self.folder.path().join("phase")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    fn pipeline(&self, options: &str) -> PathBuf {
        let text = format!(
            r#"name: cassandra
checkpoint.location: {folder}/checkpoint
{options}
sources:
  input:
    connector.class: file
    path: {folder}/input
    max.files.per.trigger: 1
    value.format: json
    schema: seq BIGINT, k STRING, v BIGINT, note STRING, gone BOOLEAN
sinks:
  table:
    connector.class: cassandra
    contact.points: {node}
    keyspace: tests
    table: {table}
    delete.column: gone
    sql: SELECT k, seq, v, note, gone FROM input
"#,
            folder = self.folder.path().display(),
            node = self.node.address(),
            table = self.table,
        );
        let path = self.folder.path().join("cassandra.yaml");
        write(&path, &text);
        path
    }

    /// The newest epoch that was committed.
    fn last_epoch(&self) -> Option<u64> {
        let names = fs::read_dir(self.folder.path().join("checkpoint/commits")).ok()?;
        names.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok()).max()
    }

    fn spawn(&self, options: &str, faults: (&str, &str), offset_ms: i64) -> Child {
        let _ = fs::remove_file(self.phase_file());
        let mut command: Command = tidegate(&["run", &self.pipeline(options).display().to_string()]);
        command.env("TIDEGATE_PHASE_FILE", self.phase_file()).env(faults.0, faults.1);
        command.env("TIDEGATE_CLOCK_OFFSET_MS", offset_ms.to_string()).stdout(Stdio::null());
        command.stderr(File::create(self.folder.path().join("stderr")).unwrap());
        command.spawn().expect("the binary starts")
    }

    /// Runs until the process kills itself when it comes to `step` for the `n`th time after the first.
    fn die_at(&self, step: &str, n: u64, offset_ms: i64) {
        let sinks = step == IN_COMMIT;
        // A commit has a few hundred statements.
        let nth = if sinks { 150 * n } else { n + 1 };
        let variable = if sinks { "TIDEGATE_SINK_FAULTS" } else { "TIDEGATE_FAULTS" };
        let mut child = self.spawn("", (variable, &format!("{step}=kill@{nth}")), offset_ms);
        let code = self.ended(&mut child);
        assert!(code.is_none(), "step {step}: ended by itself with {code:?}: {}", self.said());
    }

    /// Waits for some epochs, then for the start of a commit, and kills the process a little later.
    fn kill_in_commit(&self, epochs: u64, later: Duration, offset_ms: i64) -> String {
        let mut child = self.spawn("", NO_FAULTS, offset_ms);
        let started = Instant::now();
        let mut first = None;
        loop {
            let text = fs::read_to_string(self.phase_file()).unwrap_or_default();
            let phase = text.strip_suffix('\n').and_then(|it| it.split_once(' '));
            if let Some((Ok(epoch), step)) = phase.map(|(epoch, step)| (epoch.parse::<u64>(), step)) {
                let first = *first.get_or_insert(epoch);
                if epoch > first + epochs && step == "commit.before" {
                    break;
                }
            }
            assert!(started.elapsed() < PATIENCE, "in {text:?} after {PATIENCE:?}: {}", self.said());
            assert!(child.try_wait().unwrap().is_none(), "ended by itself: {}", self.said());
            std::thread::sleep(Duration::from_micros(500));
        }
        std::thread::sleep(later);
        child.kill().expect("SIGKILL");
        child.wait().unwrap();
        let text = fs::read_to_string(self.phase_file()).unwrap_or_default();
        format!("outside {}", text.trim().split_once(' ').map_or("?", |it| it.1))
    }

    /// Runs until all input is in the table.
    fn drain(&self, offset_ms: i64) {
        let mut child = self.spawn("trigger: available-now", NO_FAULTS, offset_ms);
        assert_eq!(self.ended(&mut child), Some(0), "{}", self.said());
    }

    fn ended(&self, child: &mut Child) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            if started.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("still running after {PATIENCE:?}: {}", self.said());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Fails unless the table is the oracle's.
    fn compare(&self) {
        let rows = self.node.cql(&format!("SELECT JSON * FROM tests.{}", self.table));
        let table = self.folder.path().join("table.json");
        write(&table, &rows.iter().fold(String::new(), |all, it| all + it + "\n"));
        let glob = format!("{}/*.json", self.input().display());
        let said = python("tests/oracle/cassandra.py", &[&glob, &table.display().to_string()]);
        println!("{}", said.trim_end());
        assert!(!said.starts_with("rows 0 ") && !said.contains(" 0 keys deleted"), "{said}");
    }
}

/// The input of one epoch: a hundred rows of one key; deletes of what the epoch before wrote; half of what that had
/// deleted, written again; new keys. In random order, but for the key of each.
fn rows_of(epoch: u64, seq: &mut u64, random: &mut Random) -> String {
    let mut text = String::new();
    let mut put = |key: &str, random: &mut Random, gone: bool| {
        *seq += 1;
        let note = if random.below(3) == 0 { "null".to_owned() } else { format!("\"{epoch} {}\"", random.below(1000)) };
        // The value falls where the number rises: a mix of two rows would show.
        let v = 1_000_000_i64 - i64::try_from(*seq).unwrap();
        let row = format!(r#"{{"seq": {seq}, "k": "{key}", "v": {v}, "note": {note}, "gone": {gone}}}"#);
        writeln!(text, "{row}").unwrap();
    };
    for at in 0..HOT_ROWS.max(KEYS) {
        if at < HOT_ROWS {
            put("hot", random, false);
        }
        if at >= KEYS {
            continue;
        }
        put(&format!("{epoch}-{at}"), random, false);
        if epoch > 0 && random.below(8) > 0 {
            put(&format!("{}-{at}", epoch - 1), random, true);
        }
        if epoch > 1 && at % 2 == 0 {
            put(&format!("{}-{at}", epoch - 2), random, false);
        }
        // Both in one epoch, in either order.
        put(&format!("both-{at}"), random, at % 4 == 0);
        put(&format!("both-{at}"), random, at % 4 == 1);
    }
    text
}
