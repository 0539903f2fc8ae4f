//! Real servers and outside readers, from the project's own scripts.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use crate::process::root;

/// Where scripts keep what they installed.
pub(crate) fn cache() -> PathBuf {
    let set = std::env::var_os("TIDEGATE_STAND_DIR").map(PathBuf::from);
    set.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/tidegate-stand"))
}

/// The Python of `tests/setup.sh`.
pub(crate) fn python() -> PathBuf {
    let python = cache().join("venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/setup.sh", python.display());
    python
}

/// The Python of `tests/setup.sh` that has Spark, and the folder of the jars that it needs for Kafka and Delta.
pub(crate) fn spark() -> (PathBuf, PathBuf) {
    let (python, jars) = (cache().join("venv-spark/bin/python"), cache().join("jars-spark-4.2.0"));
    for path in [&python, &jars.join(".done")] {
        assert!(path.exists(), "{} is missing: run tests/setup.sh", path.display());
    }
    (python, jars)
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port()
}

/// A real broker; stops with the last user.
pub(crate) struct Kafka {
    port: u16,
    data: tempfile::TempDir,
}

impl Kafka {
    /// The broker of this test run.
    pub(crate) fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Kafka>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kafka) = running.upgrade() {
            return kafka;
        }
        let kafka = Arc::new(Self::own());
        *running = Arc::downgrade(&kafka);
        kafka
    }

    /// A broker of one test alone, which may stop it for a while.
    pub(crate) fn own() -> Self {
        let kafka = Self { port: free_port(), data: tempfile::tempdir().expect("a folder") };
        kafka.script("up");
        kafka
    }

    /// Sends the broker a signal, such as `-STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.data.path().join("pid")).expect("the broker's pid");
        let status = Command::new("kill").args([name, pid.trim()]).status().expect("kill runs");
        assert!(status.success(), "kill {name}");
    }

    pub(crate) fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn script(&self, action: &str) {
        let output = Command::new(root().join("tests/stand/kafka.sh"))
            .arg(action)
            .arg(self.port.to_string())
            .arg(self.data.path())
            .env("KAFKA_PARENT", std::process::id().to_string())
            .stdin(Stdio::null())
            .output()
            .expect("the stand's script runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kafka.sh {action}: {}{said}", String::from_utf8_lossy(&output.stdout));
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.script("down");
    }
}

/// A real Cassandra node; stops with the last user.
pub(crate) struct Cassandra {
    address: String,
    data: tempfile::TempDir,
}

impl Cassandra {
    /// The node of this test run.
    pub(crate) fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Cassandra>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = running.upgrade() {
            return node;
        }
        let data = tempfile::tempdir().expect("a folder");
        let node = Arc::new(Self { address: cassandra("up", data.path()), data });
        *running = Arc::downgrade(&node);
        node
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The texts that a statement gives, sorted.
    pub(crate) fn cql(&self, text: &str) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let session: Session = SessionBuilder::new().known_node(self.address()).build().await.unwrap();
            let result = session.query_unpaged(text, ()).await.unwrap_or_else(|e| panic!("{text}: {e}"));
            if !result.is_rows() {
                return Vec::new();
            }
            let rows = result.into_rows_result().unwrap();
            let mut rows: Vec<_> = rows.rows::<(String,)>().unwrap().map(|it| it.unwrap().0).collect();
            rows.sort();
            rows
        })
    }
}

impl Drop for Cassandra {
    fn drop(&mut self) {
        cassandra("down", self.data.path());
    }
}

/// Calls the node's script; returns what it printed.
fn cassandra(action: &str, dir: &Path) -> String {
    let mut call = Command::new(root().join("tests/stand/cassandra.sh"));
    call.args([action, "0"]).arg(dir).env("CASSANDRA_PARENT", std::process::id().to_string()).stdin(Stdio::null());
    let output = call.output().expect("the stand's script runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cassandra.sh {action}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
