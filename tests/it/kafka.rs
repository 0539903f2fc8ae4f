//! The click job from a real Kafka: as one run, and with SIGKILLs between and inside epochs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::clicks;
use crate::process::{finish, tidegate};
use crate::stand::Kafka;

const PARTITIONS: i32 = 4;

/// Where a run can be killed by name; see `fault.rs` of the epoch crate.
const STEPS: [&str; 10] = [
    "plan",
    "run",
    "record.write",
    "record.rename",
    "record.dirsync",
    "prepare",
    "commit.before",
    "commit.after",
    "commits_file",
    "seal",
];

#[test]
fn click_job_from_kafka_is_what_duckdb_computes() {
    let job = Job::new("plain", 11);
    let pipeline = job.pipeline("trigger: available-now");
    let run = finish(tidegate(&["run", &pipeline.display().to_string()]), Duration::from_secs(900));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let said = clicks::compare(&job.input(), &job.table());
    assert!(!said.starts_with("rows 0 "), "{said}");
}

#[test]
fn click_job_survives_sigkill_anywhere() {
    let seed = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(20_261_121_u64);
    let kills = std::env::var("TIDEGATE_TEST_KILLS").ok().and_then(|it| it.parse().ok()).unwrap_or(20_usize);
    println!("seed {seed}, {kills} kills");
    let job = Job::new("killed", seed);
    let rows = clicks::events() / 140;
    let paced = format!("max.rows.per.epoch: {rows}\n");
    let pipeline = job.pipeline(&paced);
    let mut random = Random(seed);
    let mut hit: BTreeMap<String, usize> = BTreeMap::new();
    let mut last = job.last_epoch();
    for at in 0..kills {
        let phase = if at % 2 == 0 {
            let step = STEPS[at / 2 % STEPS.len()];
            job.die_at(&pipeline, step, 1 + random.below(4));
            format!("step {step}")
        } else {
            job.kill_after(&pipeline, last, random.below(3), Duration::from_millis(random.below(60)))
        };
        let now = job.last_epoch();
        assert!(now > last || at == 0, "kill {at}: no progress after epoch {last:?}");
        println!("kill {at}: epoch {now:?}, {phase}");
        *hit.entry(phase).or_default() += 1;
        last = now;
    }
    println!("hit: {hit:?}");
    let missed: Vec<_> = STEPS.iter().take(kills / 2).filter(|it| !hit.contains_key(&format!("step {it}"))).collect();
    assert!(missed.is_empty(), "steps never hit: {missed:?}");
    let pipeline = job.pipeline(&format!("{paced}trigger: available-now"));
    let run = finish(tidegate(&["run", &pipeline.display().to_string()]), Duration::from_secs(900));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let epochs = job.last_epoch().expect("epochs ran") + 1;
    println!("epochs {epochs}");
    assert!(epochs >= 100, "only {epochs} epochs");
    clicks::compare(&job.input(), &job.table());
}

/// The click job over a topic of its own.
struct Job {
    kafka: std::sync::Arc<Kafka>,
    folder: tempfile::TempDir,
    topic: String,
}

impl Job {
    fn new(name: &str, seed: u64) -> Self {
        let kafka = Kafka::shared();
        let job = Self { kafka, folder: tempfile::tempdir().unwrap(), topic: format!("clicks-{name}") };
        clicks::generate(&job.input(), clicks::events(), seed);
        create_topic(&job.kafka.servers(), &job.topic);
        produce(&job.kafka.servers(), &job.topic, &job.input());
        job
    }

    fn input(&self) -> PathBuf {
        self.folder.path().join("input")
    }

    fn table(&self) -> PathBuf {
        self.folder.path().join("table")
    }

    fn phase_file(&self) -> PathBuf {
        self.folder.path().join("phase")
    }

    fn pipeline(&self, options: &str) -> PathBuf {
        let source = format!(
            "    connector.class: kafka\n    kafka.bootstrap.servers: {}\n    topics: {}\n    starting.offsets: earliest",
            self.kafka.servers(),
            self.topic
        );
        clicks::pipeline(self.folder.path(), &source, options)
    }

    /// The newest epoch that was committed.
    fn last_epoch(&self) -> Option<u64> {
        let names = fs::read_dir(self.folder.path().join("checkpoint/commits")).ok()?;
        names.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok()).max()
    }

    fn spawn(&self, pipeline: &Path, faults: Option<&str>) -> Child {
        let _ = fs::remove_file(self.phase_file());
        let mut command: Command = tidegate(&["run", &pipeline.display().to_string()]);
        command.env("TIDEGATE_PHASE_FILE", self.phase_file()).stdout(std::process::Stdio::null());
        command.stderr(fs::File::create(self.folder.path().join("stderr")).unwrap());
        if let Some(faults) = faults {
            command.env("TIDEGATE_FAULTS", faults);
        }
        command.spawn().expect("the binary starts")
    }

    /// Runs until the process kills itself when it comes to `step` for the `n`th time after some epochs.
    fn die_at(&self, pipeline: &Path, step: &str, n: u64) {
        let mut child = self.spawn(pipeline, Some(&format!("{step}=kill@{}", n + 1)));
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > Duration::from_secs(60) {
                let _ = child.kill();
                panic!("step {step} was not reached: {}", self.said());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let status = child.wait().unwrap();
        assert!(status.code().is_none(), "step {step}: ended by itself with {status}: {}", self.said());
    }

    /// Sends SIGKILL when `epochs` more have been committed and `wait` has passed; tells the phase that was hit.
    fn kill_after(&self, pipeline: &Path, last: Option<u64>, epochs: u64, wait: Duration) -> String {
        let mut child = self.spawn(pipeline, None);
        let goal = last.map_or(epochs, |it| it + 1 + epochs);
        let started = Instant::now();
        while self.last_epoch().is_none_or(|it| it < goal) {
            assert!(started.elapsed() < Duration::from_secs(60), "no progress: {}", self.said());
            assert!(child.try_wait().unwrap().is_none(), "ended by itself: {}", self.said());
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(wait);
        child.kill().expect("SIGKILL");
        child.wait().unwrap();
        let phase = fs::read_to_string(self.phase_file()).unwrap_or_default();
        phase.split_whitespace().nth(1).unwrap_or("start").to_owned()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}

/// xorshift: the same kills from the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

pub(crate) fn client(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config
}

pub(crate) fn create_topic(servers: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = client(servers).create().expect("an admin client");
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let made = runtime.block_on(admin.create_topics([&new], &AdminOptions::new())).expect("create topic");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

/// Sends every line of the input; lines of one page stay in one partition.
pub(crate) fn produce(servers: &str, topic: &str, input: &Path) {
    let mut config = client(servers);
    config.set("linger.ms", "20").set("compression.type", "lz4").set("queue.buffering.max.messages", "500000");
    // Else a batch that is sent again, as to a topic that was just made, lands behind those after it, and its rows are late.
    config.set("enable.idempotence", "true");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
    let mut files: Vec<_> = fs::read_dir(input).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    for (at, file) in files.iter().enumerate() {
        for (number, line) in fs::read_to_string(file).unwrap().lines().enumerate() {
            let partition = i32::try_from((at + number) % 4).unwrap();
            let mut record = BaseRecord::<(), str>::to(topic).payload(line).partition(partition);
            while let Err((error, back)) = producer.send(record) {
                assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "produce");
                record = back;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    producer.flush(Duration::from_secs(60)).expect("all is sent");
}
