//! What keys ask for beyond Spark, where an epoch runs again: it goes by what its record says.

use std::time::Duration;

use tidegate_api::OutputMode;
use tidegate_engine::QuerySpec;

use crate::harness::{Rig, sink, source, spec, until_idle};

const COUNTS: &str = "SELECT CAST(date_part('epoch', window.start) AS BIGINT) AS start, count(*) AS n FROM input \
                      GROUP BY window(ts, '10 seconds')";

fn row(at: i64) -> String {
    format!(r#"{{"ts": {at}}}"#)
}

#[tokio::test]
async fn a_pending_epoch_keeps_the_ceiling_of_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let input = source("input", "ts TIMESTAMP", Some(("ts", "0 seconds")));
    let query = |ahead: Option<u64>| {
        let mut query = spec(folder.path(), vec![input.clone()], &[], vec![sink("out", COUNTS, OutputMode::Update)]);
        query.options.max_ahead = ahead.map(Duration::from_secs);
        query
    };
    let rig = Rig::new();
    let mut running = rig.start(query(Some(60))).await.unwrap();
    rig.add(&input, &[row(5), row(100)]);
    rig.arm("commit.before=crash");
    until_idle(&mut running).await.unwrap_err();
    drop(running);
    rig.clock.advance(Duration::from_secs(3600));
    let mut running = rig.start(query(None)).await.unwrap();
    assert_eq!(rig.sink_rows("out"), [r#"{"start":0,"n":1}"#]);
    assert_eq!(running.watermark_ms(), Some(5000));
    rig.add(&input, &[row(9000)]);
    until_idle(&mut running).await.unwrap();
    assert_eq!(rig.sink_rows("out"), [r#"{"start":0,"n":1}"#, r#"{"start":9000,"n":1}"#]);
    assert_eq!(running.watermark_ms(), Some(9_000_000), "the next epoch goes by the new setting");
}

#[tokio::test]
async fn a_pending_epoch_keeps_the_idle_sources_of_its_record() {
    for timeout in [Some(Duration::from_secs(60)), None] {
        let folder = tempfile::tempdir().unwrap();
        let busy = source("busy", "ts TIMESTAMP", Some(("ts", "0 seconds")));
        let mut quiet = source("quiet", "ts TIMESTAMP", Some(("ts", "0 seconds")));
        let both = [("input", "SELECT ts FROM busy UNION ALL SELECT ts FROM quiet")];
        let mut query = |timeout: Option<Duration>| {
            quiet.watermark.as_mut().unwrap().idle_timeout = timeout;
            let sources = vec![busy.clone(), quiet.clone()];
            (spec(folder.path(), sources, &both, vec![sink("out", COUNTS, OutputMode::Append)]), quiet.clone())
        };
        let rig = Rig::new();
        let (first, quiet) = query(Some(Duration::from_secs(60)));
        let mut running = rig.start(first).await.unwrap();
        rig.add(&busy, &[row(25)]);
        rig.add(&quiet, &[row(5)]);
        until_idle(&mut running).await.unwrap();
        rig.clock.advance(Duration::from_secs(60));
        rig.arm("commit.before=crash");
        until_idle(&mut running).await.unwrap_err();
        drop(running);
        let mut running = rig.start(query(timeout).0).await.unwrap();
        assert_eq!(rig.sink_rows("out"), [r#"{"start":0,"n":1}"#]);
        assert_eq!(running.watermark_ms(), Some(25_000));
        rig.add(&busy, &[row(47)]);
        until_idle(&mut running).await.unwrap();
        let expected = if timeout.is_some() { 47_000 } else { 25_000 };
        assert_eq!(running.watermark_ms(), Some(expected), "idle by the record, as long as it may be");
    }
}

const BETWEEN: &str = "SELECT l.k, r.k AS other, CAST(date_part('epoch', l.ts) AS BIGINT) AS at FROM l LEFT JOIN r ON l.k = r.k AND \
                       r.ts BETWEEN l.ts - INTERVAL 5 SECONDS AND l.ts + INTERVAL 5 SECONDS";

/// A query of each kind over the streams `l` and `r`.
const QUERIES: [&str; 7] = [
    "SELECT CAST(date_part('epoch', window.start) AS BIGINT) AS start, k, count(*) AS n FROM l GROUP BY window(ts, '10 seconds', \
     '4 seconds'), k",
    "SELECT CAST(date_part('epoch', session_window.start) AS BIGINT) AS start, k, count(*) AS n FROM l GROUP BY \
     session_window(ts, '6 seconds'), k",
    "SELECT DISTINCT ON (k, ts) k, CAST(date_part('epoch', ts) AS BIGINT) AS at FROM l",
    BETWEEN,
    "SELECT l.k, r.k AS other, CAST(date_part('epoch', r.ts) AS BIGINT) AS at FROM l FULL JOIN r ON l.k = r.k AND l.ts = r.ts",
    "SELECT CAST(date_part('epoch', window.start) AS BIGINT) AS start, sum(n) AS n FROM (SELECT window AS win, k, count(*) AS n \
     FROM l GROUP BY window(ts, '5 seconds'), k) t GROUP BY window(window_time(win), '15 seconds')",
    "SELECT CAST(date_part('epoch', window.start) AS BIGINT) AS start, count(*) AS n, count(other) AS met FROM (SELECT l.ts, \
     r.k AS other FROM l LEFT JOIN r ON l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL 5 SECONDS AND l.ts + INTERVAL 5 SECONDS) t \
     GROUP BY window(ts, '10 seconds')",
];

/// Rows of an epoch, some of them late: of one stream, the other, or both.
fn feed(epoch: i64, side: i64) -> Vec<String> {
    let at = |n: i64| epoch * 5 + (epoch * 7 + n * 11 + side * 3) % 13 - (epoch + n) % 4 * 6;
    let rows = (0..4).filter(|_| (epoch + side) % 3 != 0).map(|n| (at(n).max(0), (epoch + n) % 3));
    rows.map(|(at, k)| format!(r#"{{"ts": {at}, "k": {k}}}"#)).collect()
}

/// What a query shows, and after how many epochs; `fault` hits every third one.
async fn shown(sql: &str, same_epoch: bool, fault: Option<&str>) -> (Vec<String>, u32) {
    let folder = tempfile::tempdir().unwrap();
    let stream = |name| source(name, "ts TIMESTAMP, k INT", Some(("ts", "3 seconds")));
    let query = || -> QuerySpec {
        let sinks = vec![sink("out", sql, OutputMode::Append)];
        let mut query = spec(folder.path(), vec![stream("l"), stream("r")], &[], sinks);
        query.options.emit_in_same_epoch = same_epoch;
        query
    };
    let rig = Rig::new();
    let mut running = Some(rig.start(query()).await.unwrap());
    let mut epochs = 0;
    for epoch in 0..18 {
        for (name, side) in [("l", 0), ("r", 1)] {
            let rows = feed(epoch, side);
            if !rows.is_empty() {
                rig.add(&stream(name), &rows);
            }
        }
        if let Some(fault) = fault.filter(|_| epoch % 3 == 2) {
            rig.arm(fault);
            rig.through(&mut running, query).await;
        } else {
            epochs += until_idle(running.as_mut().unwrap()).await.unwrap();
        }
    }
    (rig.sink_rows("out"), epochs)
}

#[tokio::test]
async fn same_epoch_gives_the_same_rows_in_fewer_epochs() {
    for sql in QUERIES {
        let (later, many) = shown(sql, false, None).await;
        let (sooner, few) = shown(sql, true, None).await;
        assert_eq!(sooner, later, "{sql}");
        assert!(!later.is_empty() && few < many, "{} rows in {few} and {many} epochs: {sql}", later.len());
    }
}

#[tokio::test]
async fn an_epoch_that_closed_by_its_own_rows_closes_the_same_again() {
    // Of two streams a restart forgets which one was ahead, in any mode.
    for sql in QUERIES.into_iter().filter(|it| !it.contains("JOIN")) {
        let (undisturbed, _) = shown(sql, true, None).await;
        for fault in ["prepare=crash", "commit.before=crash"] {
            assert_eq!(shown(sql, true, Some(fault)).await.0, undisturbed, "{fault}: {sql}");
        }
    }
}

#[tokio::test]
async fn a_pending_epoch_closes_what_its_record_says() {
    let folder = tempfile::tempdir().unwrap();
    let stream = |name| source(name, "ts TIMESTAMP", Some(("ts", "0 seconds")));
    let (busy, other) = (stream("busy"), stream("other"));
    let query = |same_epoch: bool| {
        let both = [("input", "SELECT ts FROM busy UNION ALL SELECT ts FROM other")];
        let sinks = vec![sink("out", COUNTS, OutputMode::Append)];
        let mut query = spec(folder.path(), vec![busy.clone(), other.clone()], &both, sinks);
        query.options.emit_in_same_epoch = same_epoch;
        query
    };
    let rig = Rig::new();
    let mut running = rig.start(query(true)).await.unwrap();
    rig.add(&busy, &[row(5), row(50)]);
    rig.add(&other, &[row(45)]);
    assert_eq!(until_idle(&mut running).await.unwrap(), 1);
    assert_eq!(rig.sink_rows("out"), [r#"{"start":0,"n":1}"#]);
    rig.add(&other, &[row(60)]);
    rig.arm("commit.before=crash");
    until_idle(&mut running).await.unwrap_err();
    drop(running);
    // What `busy` had reached is forgotten by now, but the record says that it closed all up to 50.
    let running = rig.start(query(false)).await.unwrap();
    assert_eq!(rig.sink_rows("out"), [r#"{"start":0,"n":1}"#, r#"{"start":40,"n":1}"#]);
    assert_eq!(running.watermark_ms(), Some(50_000));
}
