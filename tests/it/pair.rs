//! A job of two Delta tables over one topic: its places, its processes, and what is expected of it at the end.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clicks;
use crate::kafka::{create_topic, produce};
use crate::process::{python_with, root, write};
use crate::s3::{Faults, S3};
use crate::stand::Kafka;

/// How long any single step may take.
/// Epochs that can be gone back to.
pub(crate) const RETAINED: u64 = 25;
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(2);

/// Where checkpoint and tables lie.
pub(crate) struct Place {
    /// A folder, or the URL of one.
    pub(crate) root: String,
    /// How the job finds it.
    env: Vec<(String, String)>,
    /// How the outside reader does.
    reader_env: Vec<(String, String)>,
    store: Option<(S3, Faults)>,
}

/// What goes wrong on the way to the object store. Some answers come later than the job waits for them.
const FAULTS: [&str; 10] =
    ["--unavailable", "0.02", "--lost", "0.01", "--dropped", "0.01", "--twice", "0.01", "--delay", "0.005:3000"];
const STORE_TIMEOUT: &str = "2s";

impl Place {
    pub(crate) fn local(folder: &Path) -> Self {
        Self { root: folder.join("place").display().to_string(), env: Vec::new(), reader_env: Vec::new(), store: None }
    }

    /// On an S3-like server behind a proxy that makes requests go wrong.
    pub(crate) fn store(seed: u64) -> Self {
        let s3 = S3::start();
        let faults = Faults::start(&s3.address(), &[&["--seed", &seed.to_string()], &FAULTS[..]].concat());
        let reader_env = s3.env();
        let mut env = reader_env.clone();
        for (_, value) in env.iter_mut().filter(|(key, _)| key == "AWS_ENDPOINT_URL") {
            value.clone_from(&faults.address);
        }
        env.push(("AWS_TIMEOUT".to_owned(), STORE_TIMEOUT.to_owned()));
        Self { root: "s3://tidegate/pair".to_owned(), env, reader_env, store: Some((s3, faults)) }
    }
}

/// The job, over a topic of its own.
pub(crate) struct Pair {
    kafka: Arc<Kafka>,
    folder: tempfile::TempDir,
    topic: String,
    place: Place,
    binary: PathBuf,
}

impl Pair {
    /// Fills a topic with `events` clicks. `place` gets the folder of the job.
    pub(crate) fn new(
        name: &str,
        seed: u64,
        events: usize,
        binary: PathBuf,
        place: impl FnOnce(&Path) -> Place,
    ) -> Self {
        let kafka = Kafka::shared();
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let job = Self { kafka, folder, topic: format!("pair-{name}"), place, binary };
        clicks::generate(&job.input(), events, seed);
        create_topic(&job.kafka.servers(), &job.topic);
        produce(&job.kafka.servers(), &job.topic, &job.input());
        job
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn input(&self) -> PathBuf {
        self.folder.path().join("input")
    }

    /// Writes the pipeline file; `options` are further lines at its top.
    pub(crate) fn pipeline(&self, name: &str, options: &str) -> PathBuf {
        let root = &self.place.root;
        let text = format!(
            r#"name: pair
checkpoint.location: {root}/checkpoint
min.epochs.to.retain: {RETAINED}
{options}
sources:
  clicks:
    connector.class: kafka
    kafka.bootstrap.servers: {servers}
    topics: {topic}
    starting.offsets: earliest
    value.format: json
    schema: event_id STRING, user_id BIGINT, page STRING, action STRING, amount DOUBLE, ts TIMESTAMP, agent STRING
    watermark: {{ column: ts, delay: 10 minutes }}
sinks:
  table:
    connector.class: delta
    path: {root}/table
    log.checkpoint.interval: 20
    sql: |
      SELECT window.start AS start, window.end AS end, page, count(*) AS views, count(user_id) AS users
      FROM clicks GROUP BY window(ts, '5 minutes'), page
  copy:
    connector.class: delta
    path: {root}/copy
    log.checkpoint.interval: 20
    sql: SELECT event_id, user_id, page, amount, ts FROM clicks WHERE action = 'click'
"#,
            servers = self.kafka.servers(),
            topic = self.topic,
        );
        let path = self.folder.path().join(name);
        write(&path, &text);
        path
    }

    /// Starts a process of the job; `name` tells its files from those of others.
    pub(crate) fn start(&self, name: &str, pipeline: &Path, faults: &str, args: &[&str]) -> Run {
        let (phase, said) =
            (self.folder.path().join(format!("{name}.phase")), self.folder.path().join(format!("{name}.err")));
        let _ = fs::remove_file(&phase);
        let mut command = Command::new(&self.binary);
        command.arg("run").arg(pipeline).args(args).env("TIDEGATE_FAULTS", faults);
        command.envs(self.place.env.iter().map(|(key, value)| (key, value)));
        Run::start(command, phase, said)
    }

    /// Runs until all input is in the tables; tells how many epochs there are by then.
    pub(crate) fn drain(&self, options: &str) -> u64 {
        let pipeline = self.pipeline("drain.yaml", &format!("{options}\ntrigger: available-now"));
        let mut run = self.start("drain", &pipeline, "", &[]);
        let code = run.ended(Duration::from_secs(900));
        assert_eq!(code, Some(0), "{}", run.said());
        // It ends where it plans an epoch that has nothing to do.
        run.phase().map_or(0, |(epoch, _)| epoch)
    }

    /// What the proxy did to the requests, and that it did all of it.
    pub(crate) fn tell_faults(self) {
        let Some((_s3, faults)) = self.place.store else { return };
        let counts = faults.stop();
        println!("requests through the proxy: {counts}");
        for what in ["unavailable", "lost", "dropped", "twice", "delayed"] {
            assert!(counts[what].as_u64() > Some(0), "no request was {what}: {counts}");
        }
    }

    /// Fails unless both tables are the oracle's; with `clean`, if a file is left that nothing names.
    pub(crate) fn compare(&self, clean: bool) {
        let input = format!("{}/*.json*", self.input().display());
        let mut args = vec![input.as_str(), &self.place.root];
        args.extend(clean.then_some("--clean"));
        let said = python_with("tests/oracle/pair.py", &args, &self.place.reader_env);
        println!("{}", said.trim_end());
        assert!(!said.starts_with("table rows 0 "), "{said}");
    }

    /// The names of all files of the job.
    pub(crate) fn listing(&self) -> BTreeSet<String> {
        let said = python_with("tests/oracle/pair.py", &["--list", &self.place.root], &self.place.reader_env);
        said.lines().map(str::to_owned).collect()
    }
}

/// A process of the job.
pub(crate) struct Run {
    child: Child,
    phase: PathBuf,
    seen: Option<(u64, String)>,
    said: PathBuf,
}

impl Drop for Run {
    fn drop(&mut self) {
        // A test that fails leaves nothing running, or stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run {
    /// Starts a command that tells its phase in one file and everything else in another.
    pub(crate) fn start(mut command: Command, phase: PathBuf, said: PathBuf) -> Self {
        command.env("TIDEGATE_PHASE_FILE", &phase).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(&said).unwrap());
        Self { child: command.spawn().expect("the binary starts"), phase, seen: None, said }
    }

    /// The epoch that it is in, and the step.
    pub(crate) fn phase(&mut self) -> Option<(u64, String)> {
        let text = fs::read_to_string(&self.phase).unwrap_or_default();
        // While it is written a reader may see half a line: then what was there before counts.
        let line = text.strip_suffix('\n').and_then(|it| it.split_once(' '));
        if let Some((Ok(epoch), point)) = line.map(|(epoch, point)| (epoch.parse(), point)) {
            self.seen = Some((epoch, point.to_owned()));
        }
        self.seen.clone()
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends it a signal, such as `-STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(status.success(), "kill {name}");
    }

    /// Waits for its end; nothing if a signal ended it.
    pub(crate) fn ended(&mut self, limit: Duration) -> Option<i32> {
        let started = Instant::now();
        while self.is_running() {
            let phase = self.phase();
            assert!(started.elapsed() < limit, "still running in {phase:?}: {}", self.said());
            std::thread::sleep(LOOK);
        }
        self.child.wait().unwrap().code()
    }

    /// Waits until it is in an epoch of at least this number, and returns the number.
    pub(crate) fn reaches(&mut self, epoch: u64) -> u64 {
        let started = Instant::now();
        loop {
            let phase = self.phase();
            match phase {
                Some((it, _)) if it >= epoch => return it,
                _ => {}
            }
            assert!(started.elapsed() < PATIENCE, "in {phase:?}, epoch {epoch} not reached: {}", self.said());
            assert!(self.is_running(), "ended by itself: {}", self.said());
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until it has said this, and tells the phase that it is in by then.
    pub(crate) fn says(&mut self, text: &str) -> (u64, String) {
        let started = Instant::now();
        while !self.said().contains(text) {
            assert!(started.elapsed() < PATIENCE, "has not said '{text}': {}", self.said());
            assert!(self.is_running(), "ended by itself: {}", self.said());
            std::thread::sleep(LOOK);
        }
        self.phase().unwrap_or_default()
    }

    /// Waits until it has stopped itself.
    pub(crate) fn stops(&mut self) {
        let started = Instant::now();
        while !self.is_stopped() {
            let phase = self.phase();
            assert!(started.elapsed() < PATIENCE, "in {phase:?}, not stopped: {}", self.said());
            assert!(self.is_running(), "ended by itself: {}", self.said());
            std::thread::sleep(LOOK);
        }
    }

    fn is_stopped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    }

    /// Kills it from outside.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().unwrap();
    }
}

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// The binary whose check of ownership is compiled out; nothing, and a word about it, if it is not built.
pub(crate) fn unowned() -> Option<PathBuf> {
    let path = std::env::var_os("TIDEGATE_BIN_UNOWNED").map(PathBuf::from);
    let path = path.unwrap_or_else(|| crate::process::binary().with_file_name("tidegate-unowned"));
    if !path.exists() {
        println!(
            "SKIPPED: {} is missing, tests/run.sh builds it",
            path.strip_prefix(root()).unwrap_or(&path).display()
        );
        return None;
    }
    Some(path)
}
