//! The examples that read and write a table of Cassandra.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{finish, root, tidegate, write};
use crate::stand::Cassandra;

const PATIENCE: Duration = Duration::from_secs(120);

/// A command on an example, with keys of its own.
fn example(command: &str, name: &str, set: &[(&str, &str)]) -> Command {
    let mut call = tidegate(&[command, &format!("examples/logins/{name}.yaml")]);
    for (key, value) in set {
        call.args(["--set", &format!("{key}={value}")]);
    }
    call.current_dir(root());
    call
}

/// The rows of all tables that were printed, in their order.
fn printed(stdout: &str) -> Vec<String> {
    let rows = stdout.split("Batch: ").flat_map(|table| table.lines().filter(|it| it.starts_with('|')).skip(1));
    let cells = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" ");
    rows.map(cells).collect()
}

fn fill(node: &Cassandra) {
    let script = fs::read_to_string(root().join("examples/logins/users.cql")).unwrap();
    let script: String = script.lines().filter(|it| !it.starts_with("--")).collect();
    script.split(';').filter(|it| !it.trim().is_empty()).for_each(|it| drop(node.cql(it)));
}

/// Waits until the table has a row like this.
fn wait_for(node: &Cassandra, row: &str) {
    let started = Instant::now();
    loop {
        let rows = node.cql("SELECT JSON login_id, user_name, last_login FROM test_db.users");
        if rows.iter().any(|it| it == row) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "no {row} in {rows:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn user(login: &str, name: &str, time: &str) -> String {
    format!(r#"{{"login_id": "{login}", "user_name": "{name}", "last_login": "2026-03-01 {time}.000Z"}}"#)
}

/// Both examples, one after the other: they have one table.
#[test]
fn logins_meet_the_users_as_they_are_in_cassandra() {
    let node = Cassandra::shared();
    fill(&node);
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (joined, last, input) = (place("joined"), place("last"), folder.path().join("input"));

    let users = ("sources.users.contact.points", node.address());
    let ran = finish(example("run", "join", &[users, ("checkpoint.location", &joined)]), PATIENCE);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let expected = [
        "100001 Ann 2026-03-01 10:00:00",
        "100002 Bob 2026-03-01 10:01:00",
        "100001 Ann 2026-03-01 10:05:00",
        "100003 Cem 2026-03-01 10:06:00",
    ];
    let mut rows = printed(&ran.stdout);
    rows.iter_mut().for_each(|it| *it = it.trim_end_matches(".0").to_owned());
    rows.sort_by_key(|it| it.rsplit_once(' ').map(|it| it.1.to_owned()));
    assert_eq!(rows, expected);

    fs::create_dir(&input).unwrap();
    add(&input, "1.jsonl");
    let own = input.display().to_string();
    let set = [
        users,
        ("sinks.table.contact.points", node.address()),
        ("checkpoint.location", &last),
        ("sources.logins.path", &own),
        ("trigger", "100 ms"),
    ];
    let mut call = example("run", "last-login", &set);
    let mut running = Running(call.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts"));
    wait_for(&node, &user("100002", "Bob", "10:01:00"));
    wait_for(&node, &user("100001", "Ann", "10:00:00"));
    // While the query runs: the next epoch reads the table anew.
    node.cql("UPDATE test_db.users SET user_name = 'Anna' WHERE login_id = '100001'");
    node.cql("INSERT INTO test_db.users (login_id, user_name) VALUES ('100004', 'Dan')");
    add(&input, "2.jsonl");
    wait_for(&node, &user("100003", "Cem", "10:06:00"));
    wait_for(&node, &user("100001", "Anna", "10:05:00"));
    node.cql("DELETE FROM test_db.users WHERE login_id = '100002'");
    let more = ["100002", "100004"].map(|it| format!(r#"{{"login_id": "{it}", "created_at": "2026-03-01 11:00:00"}}"#));
    write(&input.join("3.jsonl"), &more.join("\n"));
    wait_for(&node, &user("100004", "Dan", "11:00:00"));
    assert!(running.0.try_wait().unwrap().is_none(), "it still runs");
    assert_eq!(
        node.cql("SELECT login_id FROM test_db.users WHERE login_id = '100002'"),
        [""; 0],
        "Bob is no user any more"
    );
}

/// A process that ends with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn add(input: &Path, name: &str) {
    let from: PathBuf = root().join("examples/logins/data").join(name);
    write(&input.join(name), &fs::read_to_string(from).unwrap());
}

#[test]
fn a_table_of_cassandra_is_no_stream() {
    let wrong = finish(example("validate", "join", &[("sources.users.static", "false")]), PATIENCE);
    assert_eq!(wrong.code, Some(2), "{}{}", wrong.stdout, wrong.stderr);
    assert!(wrong.stderr.contains("sources.users") && wrong.stderr.contains("set static: true"), "{}", wrong.stderr);
}

#[test]
fn a_cluster_that_is_away_is_told_when_the_query_starts_and_not_before() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().display().to_string();
    let set = [
        ("sources.users.contact.points", free.as_str()),
        ("sources.users.username", "ann"),
        ("sources.users.password", "s3cret"),
        ("checkpoint.location", &checkpoint),
    ];
    let valid = finish(example("validate", "join", &set), PATIENCE);
    assert_eq!(valid.code, Some(0), "{}", valid.stderr);
    let explained = finish(example("explain", "join", &set), PATIENCE);
    assert!(explained.stderr.contains("columns of a source"), "{}", explained.stderr);
    let ran = finish(example("run", "join", &set), PATIENCE);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("source users") && ran.stderr.contains(&free), "{}", ran.stderr);
    assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
    // With declared columns nobody has to be asked.
    let declared = [set.as_slice(), &[("sources.users.schema", "login_id STRING, user_name STRING")]].concat();
    let explained = finish(example("explain", "join", &declared), PATIENCE);
    assert_eq!(explained.code, Some(0), "{}", explained.stderr);
    assert!(explained.stdout.contains("static table"), "{}", explained.stdout);
    let ran = finish(example("run", "join", &declared), PATIENCE);
    assert!(ran.code == Some(1) && ran.stderr.contains(&free), "{}", ran.stderr);
}
