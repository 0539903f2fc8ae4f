//! Runs the `tidegate` binary as a user would.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The top of the tree.
pub(crate) fn root() -> PathBuf {
    // Asked for at run time: a build folder that several clones share may hold a test that another of them compiled.
    std::env::current_dir().expect("a working folder").parent().expect("the tests lie in the tree").to_owned()
}

/// The binary, built by the same cargo call as this test.
pub(crate) fn binary() -> PathBuf {
    if let Ok(path) = std::env::var("TIDEGATE_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("own path");
    let folder = test.parent().and_then(Path::parent).expect("target folder");
    let path = folder.join("tidegate");
    assert!(path.exists(), "{} is missing: run cargo test --workspace", path.display());
    path
}

pub(crate) fn tidegate(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a finished process left.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs to the end, or fails the test after `limit`.
pub(crate) fn finish(mut command: Command, limit: Duration) -> Finished {
    let child = command.spawn().expect("the binary starts");
    wait(child, limit)
}

/// Waits for a child, or kills it and fails the test after `limit`.
pub(crate) fn wait(mut child: Child, limit: Duration) -> Finished {
    let mut out = child.stdout.take().expect("stdout is piped");
    let mut err = child.stderr.take().expect("stderr is piped");
    let out = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = out.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let err = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = err.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let started = Instant::now();
    let mut timed_out = false;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if started.elapsed() > limit {
            timed_out = true;
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let finished = Finished {
        code: status.code(),
        stdout: out.join().unwrap_or_default(),
        stderr: err.join().unwrap_or_default(),
    };
    assert!(!timed_out, "not done after {limit:?}: {}", finished.stderr);
    finished
}

/// Runs a script of the tests with the Python that `tests/setup.sh` prepares.
pub(crate) fn python(script: &str, args: &[&str]) -> String {
    python_with(script, args, &[])
}

/// The same with further variables in its environment.
pub(crate) fn python_with(script: &str, args: &[&str], env: &[(String, String)]) -> String {
    let mut command = Command::new(crate::stand::python());
    command.arg(root().join(script)).args(args).envs(env.iter().map(|(key, value)| (key, value)));
    let output = command.output().expect("python runs");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script} {args:?}: {out}{}", String::from_utf8_lossy(&output.stderr));
    out
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
