//! The sink's steps, settings and types that Spark's frames do not reach.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use arrow_array::{DurationMicrosecondArray, IntervalMonthDayNanoArray, TimestampNanosecondArray};
use arrow_buffer::IntervalMonthDayNano;
use tidegate_api::prelude::*;
use tidegate_console::{ConsoleSink, register_to};

use crate::frames;
use crate::support::{Screen, config, epoch, print, written};

/// The cells of the only column, top to bottom.
async fn column(frame: RecordBatch) -> Vec<String> {
    let text = print(0, &[frame], &[("truncate", "false")]).await;
    let rows = text.lines().skip(6).take_while(|it| it.starts_with('|'));
    rows.map(|it| it.trim_matches('|').trim().to_owned()).collect()
}

#[tokio::test]
async fn parts_are_printed_in_order_and_each_writer_keeps_few_rows() {
    let screen = Screen::default();
    let config = config(&[("numRows", "3")]).unwrap();
    let sink = ConsoleSink::new(&config, &frames::longs("n", []).schema(), screen.0.clone());
    let first = written(&sink, &epoch(4), &[frames::longs("n", [7]), frames::longs("n", 8..9)]).await;
    let second = written(&sink, &epoch(4), &[frames::longs("n", 10..500), frames::longs("n", 500..900)]).await;
    assert_eq!((first.len(), second.len()), (2, 4));
    sink.commit(&epoch(4), vec![first, second], &[]).await.unwrap();
    let text = screen.take();
    assert!(text.contains("Batch: 4\n"), "{text}");
    assert!(text.ends_with("|  7|\n|  8|\n| 10|\n+---+\nonly showing top 3 rows\n"), "{text}");
}

#[tokio::test]
async fn an_epoch_committed_again_is_printed_again() {
    let screen = Screen::default();
    let sink = ConsoleSink::new(&config(&[]).unwrap(), &frames::longs("n", []).schema(), screen.0.clone());
    let part = written(&sink, &epoch(0), &[frames::longs("n", [1])]).await;
    for _ in 0..2 {
        assert_eq!(sink.commit(&epoch(0), vec![part.clone()], &[]).await.unwrap(), CommitOutcome::Committed);
    }
    assert_eq!(screen.take().matches("Batch: 0").count(), 2);
    assert_eq!((sink.guarantee(), sink.best_effort()), (Guarantee::AtLeastOnce, true));
}

#[tokio::test]
async fn an_epoch_without_parts_is_an_empty_table() {
    let screen = Screen::default();
    let sink = ConsoleSink::new(&config(&[]).unwrap(), &frames::longs("n", []).schema(), screen.0.clone());
    sink.commit(&epoch(2), vec![], &[]).await.unwrap();
    assert!(
        screen
            .take()
            .ends_with("Batch: 2\n-------------------------------------------\n+---+\n|  n|\n+---+\n+---+\n\n")
    );
}

#[tokio::test]
async fn a_screen_that_is_gone_is_an_error_that_names_the_epoch() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let schema = frames::longs("n", []).schema();
    let sink = ConsoleSink::new(&config(&[]).unwrap(), &schema, Arc::new(Mutex::new(Gone)));
    let error = sink.commit(&epoch(3), vec![], &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "console: epoch 3 can't be printed: broken pipe");
}

#[test]
fn settings_are_read_in_sparks_spelling_and_refused_with_reason() {
    let config_of = |key, value| config(&[(key, value)]);
    assert_eq!(config(&[]).unwrap().num_rows, 20);
    assert_eq!(config_of("numRows", "7").unwrap().num_rows, 7);
    for (text, characters) in [("true", 20), ("False", 0), ("35", 35), ("0", 0)] {
        assert_eq!(config_of("truncate", text).unwrap().truncate.0, characters);
    }
    let refused = |key, value| config_of(key, value).unwrap_err()[0].to_string();
    assert_eq!(refused("truncate", "some"), "truncate: 'some' is not true, false or a number of characters");
    assert_eq!(refused("num.rows", "-1"), "num.rows: '-1' is not a whole number, 0 or more");
    assert_eq!(refused("num.row", "1"), "num.row: unknown key; did you mean 'num.rows'?");
}

#[tokio::test]
async fn intervals_and_fine_times_are_shown() {
    let durations = DurationMicrosecondArray::from(vec![93_784_500_000, -10_000_000]);
    let shown = column(frames::frame(vec![("i", Arc::new(durations))])).await;
    assert_eq!(shown, ["INTERVAL '1 02:03:04.5' DAY TO SECOND", "INTERVAL '-0 00:00:10' DAY TO SECOND"]);
    let calendar = [
        IntervalMonthDayNano::new(14, 3, 14_706_500_000_000),
        IntervalMonthDayNano::new(0, 0, 0),
        IntervalMonthDayNano::new(0, -1, -1_500_000_000),
    ];
    let shown = column(frames::frame(vec![("i", Arc::new(IntervalMonthDayNanoArray::from(calendar.to_vec())))])).await;
    assert_eq!(shown, ["1 years 2 months 3 days 4 hours 5 minutes 6.5 seconds", "0 seconds", "-1 days -1.5 seconds"]);
    let nanos = TimestampNanosecondArray::from(vec![frames::TEN * 1_000_000_000 + 1_999, -1]);
    let shown = column(frames::frame(vec![("t", Arc::new(nanos))])).await;
    assert_eq!(shown, ["2026-03-01 10:00:00.000001", "1969-12-31 23:59:59.999999"]);
    assert_eq!(column(frames::dictionary()).await, ["a", "NULL", "a"]);
}

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

#[tokio::test]
async fn the_connector_prints_where_it_is_told() {
    let screen = Screen::default();
    let registry = register_to(tidegate_console::register(Registry::new()), screen.0.clone());
    let console = registry.find_sink("console").unwrap();
    let schema = frames::longs("n", []).schema();
    let spec = SinkSpec { schema, mode: OutputMode::Complete, keys: vec![], changes: Changes::Append, tasks: 1 };
    let ctx = ConnectorContext::new("q", "screen", QueryId("q".into()), Arc::new(NoLog));
    let error = console.build(&Settings::from_iter([("rows", "1")]), &spec, &ctx).await.err().unwrap();
    assert_eq!(error.to_string(), "rows: unknown key; did you mean 'num.rows'?");
    let sink = console.build(&Settings::default(), &spec, &ctx).await.unwrap();
    let mut writer = sink.writer(&epoch(0), 0).await.unwrap();
    writer.write(frames::longs("n", [5])).await.unwrap();
    let part = writer.prepare().await.unwrap();
    sink.commit(&epoch(0), vec![part], &[]).await.unwrap();
    assert!(screen.take().contains("|  5|"));
    assert_eq!(sink.describe(), "console[numRows=20, truncate=20]");
}
