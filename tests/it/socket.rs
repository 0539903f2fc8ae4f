//! The socket word count: lines typed into a socket, counts on the console in complete mode.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::process::{tidegate, wait, write};

#[test]
fn word_count_prints_sparks_table() {
    let folder = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let pipeline = folder.path().join("words.yaml");
    let text = format!(
        r#"name: words
checkpoint.location: {folder}/checkpoint
sources:
  lines: {{ connector.class: socket, host: 127.0.0.1, port: {port} }}
views:
  words: SELECT explode(split(value, ' ')) AS word FROM lines
sinks:
  screen:
    connector.class: console
    output.mode: complete
    sql: SELECT word, count(*) AS count FROM words GROUP BY word ORDER BY count DESC, word
"#,
        folder = folder.path().display(),
        port = server.local_addr().unwrap().port()
    );
    write(&pipeline, &text);
    let mut child =
        tidegate(&["run", &pipeline.display().to_string(), "--progress", "json"]).spawn().expect("the binary starts");
    let (mut peer, _) = server.accept().unwrap();
    peer.write_all(b"spark sql streaming\nspark graphx pyspark\n").unwrap();
    peer.flush().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    stop(&child);
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let run = wait(child, Duration::from_secs(20));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let expected = "\
+---------+-----+
|     word|count|
+---------+-----+
|    spark|    2|
|   graphx|    1|
|  pyspark|    1|
|      sql|    1|
|streaming|    1|
+---------+-----+
";
    assert!(run.stdout.contains(expected), "{}", run.stdout);
    let objects: Vec<_> = run.stderr.lines().filter(|it| it.starts_with('{')).collect();
    assert!(!objects.is_empty(), "{}", run.stderr);
    for object in objects {
        let progress: serde_json::Value = serde_json::from_str(object).expect("progress is JSON");
        assert!(progress["batchId"].is_u64() && progress["sources"].is_array(), "{object}");
    }
}

/// As Ctrl-C does.
fn stop(child: &std::process::Child) {
    let stopped = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(stopped.is_ok_and(|it| it.success()), "the process is there");
}
