//! What keys ask for beyond Spark, where an epoch runs again: it goes by what its record says.

use std::time::Duration;

use tidegate_api::OutputMode;

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
