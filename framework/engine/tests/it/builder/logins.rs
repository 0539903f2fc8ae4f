//! The program of `examples/builder/logins.rs`: compiled here, and run against a real node of Cassandra.
#![expect(clippy::print_stdout, reason = "a skipped test is shown")]

use std::path::Path;
use std::process::{Command, Stdio};

use scylla::client::session::Session as Cluster;
use scylla::client::session_builder::SessionBuilder;
use tidegate_builder::{Registry, Session};

#[path = "../../../../../examples/builder/logins.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod example;

/// The address of a node that ends with this process. None where it can't be had.
fn node(dir: &Path) -> Option<String> {
    let mut call = Command::new("../../tests/stand/cassandra.sh");
    call.args(["up", "0"]).arg(dir).stderr(Stdio::inherit()).env("CASSANDRA_PARENT", std::process::id().to_string());
    let done = call.output().unwrap();
    if done.status.code() == Some(3) {
        println!("SKIPPED: the_program_notes_logins: no cassandra on this machine");
        return None;
    }
    assert!(done.status.success(), "cassandra.sh failed");
    Some(String::from_utf8(done.stdout).unwrap().trim().to_owned())
}

async fn cql(cluster: &Cluster, text: &str) -> Vec<String> {
    let result = cluster.query_unpaged(text, ()).await.unwrap_or_else(|e| panic!("{text}: {e}"));
    if !result.is_rows() {
        return Vec::new();
    }
    let rows = result.into_rows_result().unwrap();
    let mut rows: Vec<_> = rows.rows::<(String,)>().unwrap().map(|it| it.unwrap().0).collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_notes_logins_and_sees_the_users_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let Some(node) = node(&folder.path().join("node")) else { return };
    let cluster = SessionBuilder::new().known_node(&node).build().await.unwrap();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/logins");
    let script = std::fs::read_to_string(format!("{examples}/users.cql")).unwrap();
    let script: String = script.lines().filter(|it| !it.starts_with("--")).collect();
    for statement in script.split(';').filter(|it| !it.trim().is_empty()) {
        cql(&cluster, statement).await;
    }
    let registry = tidegate_cassandra::register(tidegate_file::register(Registry::new()));
    let session = Session::builder(registry).checkpoints(&folder.path().display().to_string()).build();
    let data = folder.path().join("logins");
    std::fs::create_dir(&data).unwrap();
    let add = |name: &str| std::fs::copy(format!("{examples}/data/{name}"), data.join(name)).unwrap();
    add("1.jsonl");
    let run = async || example::note_logins(&session, &node, &data.display().to_string()).await.unwrap();
    run().await;
    let shown = |rows: [(&str, &str); 3]| {
        let user = |at: usize, (name, time): (&str, &str)| {
            let time = if time.is_empty() { "null".to_owned() } else { format!("\"2026-03-01 {time}:00.000Z\"") };
            format!(r#"{{"login_id": "10000{}", "last_login": {time}, "user_name": "{name}"}}"#, at + 1)
        };
        rows.into_iter().enumerate().map(|(at, it)| user(at, it)).collect::<Vec<_>>()
    };
    let table = async || cql(&cluster, "SELECT JSON * FROM test_db.users").await;
    assert_eq!(table().await, shown([("Ann", "10:00"), ("Bob", "10:01"), ("Cem", "")]));
    cql(&cluster, "UPDATE test_db.users SET user_name = 'Anna' WHERE login_id = '100001'").await;
    add("2.jsonl");
    run().await;
    assert_eq!(table().await, shown([("Anna", "10:05"), ("Bob", "10:01"), ("Cem", "10:06")]));
}
