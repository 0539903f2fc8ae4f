//! Tests of the `socket` source against servers in this process.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use futures::TryStreamExt;
use tidegate_api::{DynSource, prelude::*};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

struct NoLog;

#[async_trait]
impl MetadataLog for NoLog {
    async fn get(&self, _key: &str) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
    async fn put_new(&self, _key: &str, _bytes: &[u8]) -> Result<bool> {
        Ok(true)
    }
    async fn list(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    async fn remove(&self, _key: &str) -> Result<()> {
        Ok(())
    }
}

/// A server with the source that is connected to it.
struct Pair {
    peer: TcpStream,
    source: Box<dyn DynSource>,
}

async fn build(port: u16, more: &[(&str, &str)]) -> Result<Box<dyn DynSource>> {
    let ctx = ConnectorContext::new("q", "lines", QueryId("q".into()), Arc::new(NoLog));
    let socket = tidegate_socket::register(Registry::new()).find_source("socket").unwrap();
    let mut settings = Settings::from_iter([("host", "127.0.0.1"), ("port", &port.to_string())]);
    for (key, value) in more {
        settings.push(*key, *value);
    }
    socket.build(&settings, &ctx).await
}

async fn pair(more: &[(&str, &str)]) -> Pair {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let (source, accepted) = tokio::join!(build(port, more), server.accept());
    Pair { peer: accepted.unwrap().0, source: source.unwrap() }
}

fn at(line: i64) -> OffsetJson {
    OffsetJson(line.into())
}

impl Pair {
    async fn send(&mut self, bytes: &[u8]) {
        self.peer.write_all(bytes).await.unwrap();
    }

    async fn plan(&mut self, start: i64, limit: ReadLimit) -> (i64, i64) {
        let planned = self.source.plan(&at(start), &limit).await.unwrap();
        (planned.end.0.as_i64().unwrap(), planned.latest.0.as_i64().unwrap())
    }

    /// Plans without limit until `end` is reached.
    async fn plan_to(&mut self, start: i64, end: i64) {
        let wait = async {
            while self.plan(start, ReadLimit::NONE).await.0 != end {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, wait).await.unwrap();
    }

    async fn batches(&self, start: i64, end: i64) -> Result<Vec<RecordBatch>> {
        let mut splits = self.source.splits(OffsetRange { start: at(start), end: at(end) }, 4).unwrap();
        assert_eq!(splits.len(), 1);
        self.source.read(splits.remove(0)).await?.try_collect().await
    }

    async fn lines(&self, start: i64, end: i64) -> Vec<String> {
        let batches = self.batches(start, end).await.unwrap();
        let lines = batches.iter().flat_map(|it| it.column(0).as_string::<i32>().iter());
        lines.map(|it| it.unwrap().to_owned()).collect()
    }
}

/// A source to which ten lines have come.
async fn ten_lines() -> Result<Box<dyn DynSource>> {
    let mut it = pair(&[("include.timestamp", "true")]).await;
    it.source.initial_offset().await?;
    it.send((0..10).map(|it| format!("line {it}\n")).collect::<String>().as_bytes()).await;
    it.plan_to(-1, 9).await;
    Ok(it.source)
}

tidegate_testkit::source_suite!(the_suite_passes, ten_lines);

#[tokio::test]
async fn lines_are_numbered_and_read_by_ranges() {
    let mut it = pair(&[]).await;
    assert_eq!(it.source.initial_offset().await.unwrap(), at(-1));
    assert_eq!(it.plan(-1, ReadLimit::NONE).await, (-1, -1));
    it.send(b"spark sql streaming\nspark graphx pyspark\r\n\n\xff tail").await;
    it.plan_to(-1, 2).await;
    assert_eq!(it.lines(-1, 2).await, ["spark sql streaming", "spark graphx pyspark", ""]);
    assert_eq!(it.lines(0, 1).await, ["spark graphx pyspark"]);
    it.send(b" end\n").await;
    it.plan_to(2, 3).await;
    assert_eq!(it.lines(2, 3).await, ["\u{fffd} tail end"]);
    assert!(it.lines(3, 3).await.is_empty());
}

#[tokio::test]
async fn lines_stay_until_they_may_be_forgotten() {
    let mut it = pair(&[]).await;
    it.source.initial_offset().await.unwrap();
    it.send(b"a\nb\nc\n").await;
    it.plan_to(-1, 2).await;
    for _ in 0..2 {
        assert_eq!(it.lines(-1, 1).await, ["a", "b"]);
    }
    it.source.commit(&at(0)).await.unwrap();
    assert_eq!(it.lines(0, 2).await, ["b", "c"]);
    let error = it.batches(-1, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("lines 0 to 1 are not in memory"), "{error}");
}

#[tokio::test]
async fn limits_cut_an_epoch_but_leave_one_line() {
    let mut it = pair(&[]).await;
    it.source.initial_offset().await.unwrap();
    it.send(b"aaaa\nbbbb\ncccc\n").await;
    it.plan_to(-1, 2).await;
    let rows = |it| ReadLimit { max_rows: Some(it), ..ReadLimit::NONE };
    let bytes = |it| ReadLimit { max_bytes: Some(it), ..ReadLimit::NONE };
    assert_eq!(it.plan(-1, rows(2)).await, (1, 2));
    assert_eq!(it.plan(-1, bytes(8)).await, (1, 2));
    assert_eq!(it.plan(0, bytes(7)).await, (1, 2));
    assert_eq!(it.plan(-1, bytes(1)).await, (0, 2));
}

#[tokio::test]
async fn a_restarted_query_goes_on_counting_and_loses_only_what_was_read() {
    let mut it = pair(&[]).await;
    it.send(b"new\n").await;
    // The epoch that was not finished before the restart.
    assert!(it.lines(3, 7).await.is_empty());
    it.plan_to(7, 8).await;
    assert_eq!(it.lines(7, 8).await, ["new"]);
    assert_eq!(it.lines(5, 8).await, ["new"], "a range over the restart has what is left of it");
}

#[tokio::test]
async fn a_closed_peer_gives_its_last_line_and_then_no_more_rows() {
    let mut it = pair(&[]).await;
    it.source.initial_offset().await.unwrap();
    it.send(b"one\ntwo").await;
    it.peer.shutdown().await.unwrap();
    it.plan_to(-1, 1).await;
    assert_eq!(it.lines(-1, 1).await, ["one", "two"]);
    for _ in 0..3 {
        assert_eq!(it.plan(1, ReadLimit::NONE).await, (1, 1));
    }
    let after = at(1);
    assert!(timeout(Duration::from_millis(50), it.source.ready(&after)).await.is_err(), "nothing will ever come");
}

#[tokio::test]
async fn ready_wakes_when_a_line_comes() {
    let mut it = pair(&[]).await;
    it.source.initial_offset().await.unwrap();
    let (after, mut peer) = (at(-1), it.peer);
    let writing = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.write_all(b"x\n").await.unwrap();
        pending::<()>().await;
    };
    tokio::select! {
        woken = timeout(SOON, it.source.ready(&after)) => woken.unwrap().unwrap(),
        () = writing => {}
    }
    assert_eq!(it.source.plan(&after, &ReadLimit::NONE).await.unwrap().end, at(0));
}

#[tokio::test]
async fn a_frozen_source_stays_at_its_end() {
    let mut it = pair(&[]).await;
    it.source.initial_offset().await.unwrap();
    it.send(b"a\n").await;
    it.plan_to(-1, 0).await;
    assert_eq!(it.source.freeze(&at(-1)).await.unwrap(), at(0));
    it.send(b"b\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(it.plan(-1, ReadLimit::NONE).await, (0, 0));
    assert_eq!(it.plan(0, ReadLimit::NONE).await, (0, 0));
}

#[tokio::test]
async fn a_timestamp_says_when_the_line_came() {
    let mut it = pair(&[("includeTimestamp", "true")]).await;
    it.source.initial_offset().await.unwrap();
    let before = SystemClock::default().now_ms() * 1000;
    it.send(b"a\n").await;
    it.plan_to(-1, 0).await;
    let batch = it.batches(-1, 0).await.unwrap().remove(0);
    assert_eq!(batch.schema(), *it.source.payload().schema());
    let times = batch.column_by_name("timestamp").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.timezone(), Some("UTC"));
    assert!(times.len() == 1 && times.value(0) >= before, "{times:?}");
}

#[tokio::test]
async fn a_fast_peer_is_held_back() {
    let mut it = pair(&[]).await;
    it.source.initial_offset().await.unwrap();
    let line = [vec![b'x'; (1 << 20) - 1], vec![b'\n']].concat();
    let (mut sent, mut peer) = (0, it.peer);
    // More than the buffer and what the kernel takes by itself.
    while let Ok(written) = timeout(Duration::from_millis(500), peer.write_all(&line)).await {
        written.unwrap();
        sent += 1;
        assert!(sent < 200, "the peer is never held back");
    }
    assert!(sent >= 64, "{sent}");
    let planned = it.source.plan(&at(-1), &ReadLimit::NONE).await.unwrap();
    assert!((63..=70).contains(&planned.rows.unwrap()), "{planned:?}");
    // The half-written line still goes through once there is room.
    timeout(SOON, peer.write_all(&line)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refused_connection_names_the_address() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    drop(server);
    let error = build(port, &[]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().starts_with(&format!("socket 127.0.0.1:{port}: can't connect: ")), "{error}");
}

#[tokio::test]
async fn settings_are_checked() {
    let socket = tidegate_socket::register(Registry::new()).find_source("socket").unwrap();
    let issues = |settings: &[(&str, &str)]| -> Vec<String> {
        let issues = socket.validate(&Settings::from_iter(settings.iter().copied()));
        issues.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        issues(&[("hots", "h"), ("port", "99999")]),
        [
            "host: missing; expected text",
            "port: '99999' is not a whole number from 0 to 65535",
            "hots: unknown key; did you mean 'host'?"
        ]
    );
    assert_eq!(
        issues(&[("host", " "), ("port", "0")]),
        ["host: is empty; expected a name or an address", "port: '0' is not a port"]
    );
}

#[tokio::test]
async fn a_dropped_source_closes_the_connection() {
    let mut it = pair(&[]).await;
    it.source.initial_offset().await.unwrap();
    drop(it.source);
    let mut peer = it.peer;
    let broken = async { while peer.write_all(&[b'x'; 4096]).await.is_ok() {} };
    timeout(SOON, broken).await.expect("the reader is gone");
}
