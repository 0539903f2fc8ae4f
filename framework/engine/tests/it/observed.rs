//! Several sinks that read one watermark through filters of their own.

use tidegate_api::OutputMode;
use tidegate_engine::SourceSpec;
use tidegate_epoch::Query;

use crate::harness::{Rig, sink, source, spec, until_idle};

fn counts(filter: &str) -> String {
    format!(
        "SELECT CAST(date_part('epoch', window.start) AS BIGINT) AS start, count(*) AS n FROM input WHERE {filter} \
         GROUP BY window(ts, '10 seconds')"
    )
}

fn input() -> SourceSpec {
    source("input", "ts TIMESTAMP, k INT", Some(("ts", "5 seconds")))
}

async fn start(rig: &Rig, folder: &std::path::Path, filters: &[(&str, &str)]) -> Query {
    let sinks = filters.iter().map(|(name, filter)| sink(name, &counts(filter), OutputMode::Append));
    rig.start(spec(folder, vec![input()], &[], sinks.collect())).await.unwrap()
}

async fn watermark_after(filters: &[(&str, &str)]) -> (Option<i64>, Vec<Vec<String>>) {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let mut query = start(&rig, folder.path(), filters).await;
    rig.add(&input(), &ROWS.map(ToOwned::to_owned));
    until_idle(&mut query).await.unwrap();
    (query.watermark_ms(), filters.iter().map(|(name, _)| rig.sink_rows(name)).collect())
}

const ROWS: [&str; 4] =
    [r#"{"ts": 1, "k": 1}"#, r#"{"ts": 2, "k": 2}"#, r#"{"ts": 40, "k": 2}"#, r#"{"ts": 100, "k": 3}"#];

#[tokio::test]
async fn a_filter_acts_below_a_watermark_only_if_all_of_its_sinks_have_it() {
    let (ones, twos) = (("ones", "k = 1"), ("twos", "k = 2"));
    let (watermark, shown) = watermark_after(&[ones, twos]).await;
    assert_eq!(watermark, Some(95_000), "the row that both leave out moves it");
    assert_eq!(shown[0], [r#"{"start":0,"n":1}"#]);
    assert_eq!(shown[1], [r#"{"start":0,"n":1}"#, r#"{"start":40,"n":1}"#]);
    let (watermark, shown) = watermark_after(&[("ones", "k < 3 AND k % 2 = 1"), ("twos", "k % 2 = 0 AND k < 3")]).await;
    assert_eq!(watermark, Some(35_000), "the filter that both have keeps it from doing so");
    assert_eq!(shown, [[r#"{"start":0,"n":1}"#]; 2]);
    let (watermark, _) = watermark_after(&[ones, ("all", "true")]).await;
    assert_eq!(watermark, Some(95_000), "one sink has no filter at all");
}

#[tokio::test]
async fn the_filters_of_sinks_that_agree_act_as_those_of_one() {
    for filters in [&[("twos", "k = 2")][..], &[("twos", "k = 2"), ("more", "k = 2")]] {
        let (watermark, shown) = watermark_after(filters).await;
        assert_eq!(watermark, Some(35_000));
        assert!(shown.iter().all(|it| *it == [r#"{"start":0,"n":1}"#]), "{shown:?}");
    }
}
