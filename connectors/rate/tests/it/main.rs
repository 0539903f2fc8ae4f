//! Tests of the `rate` source: pace, replay, limits, settings.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use futures::TryStreamExt;
use tidegate_api::{DynSource, prelude::*};
use tidegate_testkit::suite::SourceSuite;

/// 2026-03-01 10:00:00 UTC.
const NOON_MS: i64 = 1_772_359_200_000;

/// A log and a clock that outlive a source, as a checkpoint does.
#[derive(Clone, Default)]
struct World {
    log: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    now_ms: Arc<AtomicI64>,
}

#[async_trait]
impl MetadataLog for World {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.log.lock().unwrap().get(key).cloned())
    }
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        let mut log = self.log.lock().unwrap();
        let new = !log.contains_key(key);
        log.entry(key.to_owned()).or_insert_with(|| bytes.to_vec());
        Ok(new)
    }
    async fn list(&self) -> Result<Vec<String>> {
        Ok(self.log.lock().unwrap().keys().cloned().collect())
    }
    async fn remove(&self, key: &str) -> Result<()> {
        self.log.lock().unwrap().remove(key);
        Ok(())
    }
}

#[async_trait]
impl Clock for World {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    async fn sleep_until(&self, at_ms: i64) {
        while self.now_ms() < at_ms {
            tokio::task::yield_now().await;
        }
    }
}

impl World {
    fn at_noon() -> Self {
        let world = Self::default();
        world.now_ms.store(NOON_MS, Ordering::SeqCst);
        world
    }

    fn advance(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    async fn source(&self, settings: &[(&str, &str)]) -> Result<Box<dyn DynSource>> {
        let mut ctx = ConnectorContext::new("q", "ticks", QueryId("q".into()), Arc::new(self.clone()));
        ctx.clock = Arc::new(self.clone());
        let rate = tidegate_rate::register(Registry::new()).find_source("rate").unwrap();
        rate.build(&Settings::from_iter(settings.iter().copied()), &ctx).await
    }
}

fn at(second: i64) -> OffsetJson {
    OffsetJson(second.into())
}

/// The rows of a range: value and milliseconds after noon, sorted by value.
async fn rows(source: &dyn DynSource, start: i64, end: i64) -> Vec<(i64, i64)> {
    let mut rows = Vec::new();
    for split in source.splits(OffsetRange { start: at(start), end: at(end) }, 1).unwrap() {
        let batches: Vec<RecordBatch> = source.read(split).await.unwrap().try_collect().await.unwrap();
        for batch in batches {
            let times = batch.column_by_name("timestamp").unwrap().as_primitive::<TimestampMicrosecondType>().clone();
            let values = batch.column_by_name("value").unwrap().as_primitive::<Int64Type>().clone();
            rows.extend(values.values().iter().copied().zip(times.values().iter().map(|it| it / 1000 - NOON_MS)));
        }
    }
    rows.sort_unstable();
    rows
}

async fn end_of_plan(source: &mut dyn DynSource, start: i64, limit: ReadLimit) -> (i64, Option<u64>) {
    let planned = source.plan(&at(start), &limit).await.unwrap();
    (planned.end.0.as_i64().unwrap(), planned.rows)
}

async fn five_seconds() -> Result<Box<dyn DynSource>> {
    let world = World::at_noon();
    let source = world.source(&[("rows.per.second", "30"), ("num.partitions", "2")]).await;
    world.advance(5_000);
    source
}

// A second is never cut.
tidegate_testkit::source_suite!(the_suite_passes, SourceSuite { slack_rows: 30 }, five_seconds);

#[tokio::test]
async fn rows_come_at_their_pace_and_spread_over_the_range() {
    let world = World::at_noon();
    let mut source = world.source(&[("rowsPerSecond", "4")]).await.unwrap();
    assert_eq!(source.initial_offset().await.unwrap(), at(0));
    assert_eq!(end_of_plan(&mut *source, 0, ReadLimit::NONE).await, (0, Some(0)));
    world.advance(2_999);
    assert_eq!(end_of_plan(&mut *source, 0, ReadLimit::NONE).await, (2, Some(8)));
    let first = rows(&*source, 0, 2).await;
    assert_eq!(first, (0..8).map(|it| (it, it * 250)).collect::<Vec<_>>());
    assert_eq!(rows(&*source, 2, 3).await, [(8, 2000), (9, 2250), (10, 2500), (11, 2750)]);
    assert_eq!(rows(&*source, 2, 2).await, []);
}

#[tokio::test]
async fn times_are_rounded_as_spark_rounds_them() {
    let world = World::at_noon();
    let source = world.source(&[("rows.per.second", "3")]).await.unwrap();
    assert_eq!(rows(&*source, 0, 1).await, [(0, 0), (1, 333), (2, 667)]);
}

#[tokio::test]
async fn a_ramp_rises_by_equal_steps() {
    // The table in Spark's RateStreamProvider.valueAtSecond: 10 rows a second after 4 seconds.
    let world = World::at_noon();
    let mut source = world.source(&[("rows.per.second", "10"), ("ramp.up.time", "4")]).await.unwrap();
    for (second, all) in [(0, 0), (1, 2), (2, 6), (3, 12), (4, 20), (5, 30), (6, 40)] {
        assert_eq!(end_of_plan(&mut *source, 0, ReadLimit::NONE).await, (second, Some(all)));
        world.advance(1_000);
    }
    assert_eq!(rows(&*source, 0, 2).await, [(0, 0), (1, 333), (2, 667), (3, 1000), (4, 1333), (5, 1667)]);
}

#[tokio::test]
async fn a_restart_keeps_the_time_of_creation_in_sparks_form() {
    let world = World::at_noon();
    let settings = [("rows.per.second", "5")];
    let before = rows(&*world.source(&settings).await.unwrap(), 3, 5).await;
    assert_eq!(world.log.lock().unwrap()["0"], format!("v1\n{NOON_MS}").into_bytes());
    world.advance(60_000);
    let mut again = world.source(&settings).await.unwrap();
    assert_eq!(rows(&*again, 3, 5).await, before);
    assert_eq!(end_of_plan(&mut *again, 58, ReadLimit::NONE).await, (60, Some(10)));
}

#[tokio::test]
async fn a_clock_that_is_set_back_takes_nothing_back() {
    let world = World::at_noon();
    let mut source = world.source(&[]).await.unwrap();
    world.advance(10_000);
    assert_eq!(end_of_plan(&mut *source, 0, ReadLimit::NONE).await.0, 10);
    world.advance(-5_000);
    assert_eq!(end_of_plan(&mut *source, 0, ReadLimit::NONE).await.0, 10);
    let mut restarted = world.source(&[]).await.unwrap();
    assert_eq!(end_of_plan(&mut *restarted, 10, ReadLimit::NONE).await, (10, Some(0)));
}

#[tokio::test]
async fn a_limit_is_kept_by_whole_seconds() {
    let world = World::at_noon();
    let mut source = world.source(&[("rows.per.second", "10")]).await.unwrap();
    world.advance(100_000);
    for (max_rows, end, all) in [(1000, 100, 1000), (999, 99, 990), (35, 3, 30), (10, 1, 10), (3, 1, 10)] {
        let limit = ReadLimit { max_rows: Some(max_rows), ..ReadLimit::NONE };
        assert_eq!(end_of_plan(&mut *source, 0, limit).await, (end, Some(all)), "{max_rows}");
    }
}

#[tokio::test]
async fn partitions_share_the_rows() {
    let world = World::at_noon();
    let alone = world.source(&[("rows.per.second", "20000")]).await.unwrap();
    let settings = [("rows.per.second", "20000"), ("num.partitions", "3")];
    let shared = world.source(&settings).await.unwrap();
    let splits = shared.splits(OffsetRange { start: at(0), end: at(2) }, 1).unwrap();
    assert_eq!(splits.iter().map(|it| it.partition.number).collect::<Vec<_>>(), [0, 1, 2]);
    let expected = rows(&*alone, 0, 2).await;
    assert_eq!(expected.len(), 40_000);
    assert!(rows(&*shared, 0, 2).await == expected, "the same rows, whoever reads them");
}

#[tokio::test]
async fn a_frozen_source_stays_at_its_end() {
    let world = World::at_noon();
    let mut source = world.source(&[]).await.unwrap();
    world.advance(7_000);
    assert_eq!(source.freeze(&at(0)).await.unwrap(), at(7));
    world.advance(7_000);
    assert_eq!(end_of_plan(&mut *source, 0, ReadLimit::NONE).await.0, 7);
}

#[tokio::test]
async fn ready_waits_for_the_next_second() {
    let world = World::at_noon();
    let mut source = world.source(&[]).await.unwrap();
    let mover = world.clone();
    let after = at(2);
    let (waited, ()) = tokio::join!(source.ready(&after), async move {
        for _ in 0..4 {
            tokio::task::yield_now().await;
            mover.advance(1_000);
        }
    });
    waited.unwrap();
    assert!(world.now_ms() >= NOON_MS + 3_000);
}

#[tokio::test]
async fn bad_settings_and_a_bad_log_are_refused() {
    let world = World::at_noon();
    for (key, value, expected) in [
        ("rows.per.second", "0", "rows.per.second: '0' is not a positive whole number"),
        ("numPartitions", "0", "numPartitions: '0' is not a positive whole number"),
        ("ramp.up.time", "soon", "ramp.up.time: 'soon' is not a duration"),
        ("rows.per.secnd", "1", "did you mean 'rows.per.second'"),
        ("rows.per.second", "18446744073709551615", "must be below 2^63"),
    ] {
        let error = world.source(&[(key, value)]).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut fast = world.source(&[("rows.per.second", "9223372036854775807")]).await.unwrap();
    world.advance(2_000);
    let error = fast.plan(&at(0), &ReadLimit::NONE).await.unwrap_err();
    assert!(error.to_string().contains("pass 2^63"), "{error}");
    world.log.lock().unwrap().insert("0".into(), b"v2\nx".to_vec());
    let error = world.source(&[]).await.err().unwrap();
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::Config, r"rate: its log says 'v2\nx', expected v1 and a time".into())
    );
}
