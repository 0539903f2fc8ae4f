//! One node for all tests of this binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static NODE: OnceLock<Option<String>> = OnceLock::new();
static SKIPPED: AtomicU32 = AtomicU32::new(0);

/// The node's address. None where java or its jars can't be had: the test is skipped, which is printed and counted.
pub(crate) fn node(test: &str) -> Option<&'static str> {
    let address = NODE.get_or_init(|| stand("up", "0", &folder("node"))).as_deref();
    if address.is_none() {
        let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
        println!("SKIPPED: {test}: no cassandra on this machine ({count} skipped so far)");
    }
    address
}

/// Where a node of this process keeps its data.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cassandra-{name}-{}", std::process::id()))
}

/// Calls the stand's script. What it starts ends by itself when this process has ended. None: not possible here.
pub(crate) fn stand(command: &str, port: &str, dir: &Path) -> Option<String> {
    let script = Path::new("../../tests/stand/cassandra.sh");
    let mut call = Command::new(script);
    call.args([command, port]).arg(dir).stderr(Stdio::inherit());
    call.env("CASSANDRA_PARENT", std::process::id().to_string()).env("CASSANDRA_AUTH", "1");
    let done = call.output().unwrap();
    if done.status.code() == Some(3) {
        return None;
    }
    assert!(done.status.success(), "cassandra.sh {command} failed");
    Some(String::from_utf8(done.stdout).unwrap().trim().to_owned())
}

/// The node's address; returns with `SKIPPED` printed if there is none.
#[macro_export]
macro_rules! node_or_skip {
    () => {{
        let name = std::any::type_name_of_val(&|| ()).trim_end_matches("::{{closure}}");
        match $crate::stand::node(name) {
            Some(address) => address,
            None => return,
        }
    }};
}
