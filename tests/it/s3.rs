//! Tables on an S3-like server, through a proxy that makes requests go wrong.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::clicks;
use crate::process::{finish, python_with, root, tidegate, write};
use crate::stand::{free_port, python};

/// A real server; stops with this.
pub(crate) struct S3 {
    port: u16,
    folder: tempfile::TempDir,
}

impl S3 {
    pub(crate) fn start() -> Self {
        let s3 = Self { port: free_port(), folder: tempfile::tempdir().expect("a folder") };
        s3.script("up");
        s3
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What an outside reader needs.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_ENDPOINT_URL", self.address().as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        pairs.into()
    }

    fn script(&self, action: &str) {
        let output = Command::new(root().join("tests/stand/s3.sh"))
            .arg(action)
            .arg(self.port.to_string())
            .arg(self.folder.path())
            .env("S3_PARENT", std::process::id().to_string())
            .stdin(Stdio::null())
            .output()
            .expect("the stand's script runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "s3.sh {action}: {}{said}", String::from_utf8_lossy(&output.stdout));
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.script("down");
    }
}

/// The proxy in front of it.
pub(crate) struct Faults {
    child: Child,
    out: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Faults {
    pub(crate) fn start(to: &str, args: &[&str]) -> Self {
        let mut child = Command::new(python())
            .arg(root().join("tests/stand/s3_faults.py"))
            .arg(to)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the proxy starts");
        let mut out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut address = String::new();
        out.read_line(&mut address).expect("the proxy says its address");
        Self { child, out, address: address.trim().to_owned() }
    }

    /// Ends it; what it did.
    pub(crate) fn stop(mut self) -> Value {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().expect("kill runs").success());
        let mut said = String::new();
        self.out.read_to_string(&mut said).expect("the proxy's last words");
        serde_json::from_str(said.trim()).expect("counts")
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The click job with its table at `url`; one file an epoch.
fn pipeline(folder: &Path, input: &Path, url: &str, endpoint: &str) -> PathBuf {
    let source = format!("    connector.class: file\n    path: {}\n    max.files.per.trigger: 1", input.display());
    let path = clicks::pipeline(folder, &source, "trigger: available-now");
    let text = std::fs::read_to_string(&path).unwrap();
    let local = format!("path: {}/table,", folder.display());
    let remote = format!(
        "path: {url}, storage.endpoint: '{endpoint}', storage.allow_http: true, storage.region: us-east-1, \
         storage.access_key_id: test, storage.secret_access_key: test, storage.timeout: 2s, \
         log.checkpoint.interval: 10,"
    );
    assert!(text.contains(&local), "{text}");
    write(&path, &text.replace(&local, &remote));
    path
}

/// Runs it to its end, as a supervisor would that starts it again after an error. How often it was started.
fn run(pipeline: &Path) -> usize {
    for starts in 1..=10 {
        let run = finish(tidegate(&["run", &pipeline.display().to_string()]), Duration::from_secs(300));
        if run.code == Some(0) {
            return starts;
        }
        println!("start {starts} ended with {:?}: {}", run.code, run.stderr);
    }
    panic!("10 starts were not enough");
}

#[test]
fn click_job_to_s3_through_faults_is_what_duckdb_computes() {
    let (s3, folder) = (S3::start(), tempfile::tempdir().unwrap());
    let input = folder.path().join("input");
    clicks::generate_files(&input, 240_000, 11, 60);
    let url = "s3://tidegate/clicks/table";

    let shares = ["--seed", "11", "--unavailable", "0.05", "--lost", "0.05", "--dropped", "0.03", "--twice", "0.05"];
    let faults = Faults::start(&s3.address(), &[&shares[..], &["--delay", "0.05:200"]].concat());
    let starts = run(&pipeline(folder.path(), &input, url, &faults.address));
    let counts = faults.stop();
    println!("{starts} starts, requests through the proxy: {counts}");
    for what in ["unavailable", "lost", "dropped", "twice", "delayed"] {
        assert!(counts[what].as_u64() > Some(0), "no request was {what}: {counts}");
    }
    let said = clicks::compare_url(&input, url, &s3.env());
    assert!(!said.starts_with("rows 0 "), "{said}");

    // The next start leaves nothing behind, and adds nothing.
    run(&pipeline(folder.path(), &input, url, &s3.address()));
    assert_eq!(clicks::compare_url(&input, url, &s3.env()), said);
    println!("{}", python_with("tests/oracle/strays.py", &[url], &s3.env()));

    // The same job on the local disk.
    let local = tempfile::tempdir().unwrap();
    let source = format!("    connector.class: file\n    path: {}\n    max.files.per.trigger: 1", input.display());
    let path = clicks::pipeline(local.path(), &source, "trigger: available-now");
    assert_eq!(run(&path), 1);
    assert_eq!(clicks::compare(&input, &local.path().join("table")), said);
}

#[test]
fn a_store_that_can_not_be_used_is_named() {
    let (s3, folder) = (S3::start(), tempfile::tempdir().unwrap());
    let input = folder.path().join("input");
    clicks::generate_files(&input, 100, 1, 1);
    let path = pipeline(folder.path(), &input, "s3://no-such-bucket/table", &s3.address());
    let run = finish(tidegate(&["run", &path.display().to_string()]), Duration::from_secs(120));
    assert_ne!(run.code, Some(0));
    assert!(run.stderr.contains("delta table s3://no-such-bucket/table: can't be written to"), "{}", run.stderr);
    let text = std::fs::read_to_string(&path).unwrap().replace("storage.region", "storage.regoin");
    write(&path, &text);
    let run = finish(tidegate(&["validate", &path.display().to_string()]), Duration::from_secs(60));
    assert_ne!(run.code, Some(0));
    let said = run.stdout + &run.stderr;
    assert!(said.contains("storage setting 'regoin' is not known"), "{said}");
    assert!(!said.contains("secret_access_key: test"), "{said}");
}
