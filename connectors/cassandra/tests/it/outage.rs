//! A node that is away.

use std::process::Command;

use arrow_schema::DataType::Int64;
use serde_json::json;
use tidegate_api::{ErrorKind, Sink};

use crate::bench::{Bench, batch, epoch, now_us, prepare, schema};
use crate::stand::{folder, stand};

#[tokio::test]
async fn nobody_listens() {
    let bench = Bench::new(crate::node_or_skip!(), "k bigint PRIMARY KEY").await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = bench.try_sink(&schema(&[("k", Int64)]), &[("contact.points", &free)]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(error.to_string().contains(&free), "{error}");
}

#[tokio::test]
async fn a_commit_waits_for_the_node_to_come_back() {
    crate::node_or_skip!();
    let dir = folder("outage");
    let address = stand("up", "0", &dir).unwrap();
    let bench = Bench::new(&address, "k bigint PRIMARY KEY, v bigint").await;
    let columns = schema(&[("k", Int64), ("v", Int64)]);
    let sink = bench.sink(&columns, &[]).await;
    let zero = epoch(0, now_us());
    let rows: Vec<_> = (0..500).map(|it| json!({"k": it, "v": it})).collect();
    let (parts, _) = prepare(&sink, &zero, batch(&columns, &rows)).await;
    let pid = std::fs::read_to_string(dir.join("pid")).unwrap();
    assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    let error = sink.commit(&zero, parts.clone(), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    stand("down", "0", &dir).unwrap();
    assert_eq!(stand("up", address.rsplit_once(':').unwrap().1, &dir).unwrap(), address);
    // The same parts, until it works.
    let mut tries = 0;
    while let Err(error) = sink.commit(&zero, parts.clone(), &[]).await {
        assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
        tries += 1;
        assert!(tries < 60, "the node is back, but: {error}");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert_eq!(bench.rows().await.len(), 500);
    stand("down", "0", &dir).unwrap();
}
