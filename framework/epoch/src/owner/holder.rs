//! Who owns a checkpoint, and whether it can still live.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Who owns a checkpoint, as its files say. The run id, minted with each start, makes each text a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) run_id: Arc<str>,
    pub(crate) host: String,
    /// Tells one boot of the host, and one container on it, from another: outside of it a process number means nothing.
    #[serde(default)]
    pub(crate) boot: String,
    pub(crate) pid: u32,
    /// When the process began, in ticks since the boot: tells it from a later one of the same number.
    #[serde(default)]
    pub(crate) started: u64,
    pub(crate) generation: u64,
    /// When the generation began, milliseconds since 1970; for people.
    #[serde(default)]
    pub(crate) time_ms: i64,
}

impl Holder {
    pub(super) fn this(run_id: Arc<str>, generation: u64, time_ms: i64) -> Self {
        let Process { host, boot, pid, started } = THIS.clone();
        Self { run_id, host, boot, pid, started, generation, time_ms }
    }

    /// True if the owner can't live any more: a process of this host that has ended, or a run of this process that has.
    pub(crate) fn is_gone(&self) -> bool {
        let this = &*THIS;
        if this.boot.is_empty() || (&this.host, &this.boot) != (&self.host, &self.boot) {
            return false;
        }
        if (this.pid, this.started) == (self.pid, self.started) {
            return !runs().contains(&self.run_id);
        }
        match started(self.pid) {
            Some(it) => self.started != 0 && it != self.started,
            None => !Path::new("/proc").join(self.pid.to_string()).exists(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run_id, pid, host, generation, .. } = self;
        write!(f, "run {run_id} (process {pid} on {host}, generation {generation})")
    }
}

/// A process, as others of its host can tell it from later ones.
#[derive(Clone)]
struct Process {
    host: String,
    boot: String,
    pid: u32,
    started: u64,
}

/// This one; as long as it lives it stays who it is.
static THIS: LazyLock<Process> = LazyLock::new(|| {
    let kernel = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let boot = match kernel("random/boot_id") {
        it if it.is_empty() => it,
        it => format!("{it} {}", space.display()),
    };
    let pid = std::process::id();
    Process { host: kernel("hostname"), boot, pid, started: started(pid).unwrap_or(0) }
});

/// When a process began, in ticks since the boot; nothing if there is none.
fn started(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in brackets, which may hold anything; the time is the 22nd.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// The runs of this process that own a lease.
static RUNS: Mutex<BTreeSet<Arc<str>>> = Mutex::new(BTreeSet::new());

fn runs() -> MutexGuard<'static, BTreeSet<Arc<str>>> {
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run is alive in this process as long as this is.
pub(super) struct Alive(Arc<str>);

impl Alive {
    pub(super) fn new(run_id: Arc<str>) -> Self {
        runs().insert(run_id.clone());
        Self(run_id)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        runs().remove(&self.0);
    }
}
