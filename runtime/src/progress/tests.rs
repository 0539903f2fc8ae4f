//! Tests of the live line.

use serde_json::json;

use super::{grouped, live_line, millis};

#[test]
fn a_line_tells_rate_epoch_watermark_and_age() {
    let progress = json!({
        "batchId": 12, "processedRowsPerSecond": 34_000.4, "batchDuration": 87, "timestamp": "2026-03-01T10:26:01.200Z",
        "eventTime": { "max": "2026-03-01T10:26:00.000Z", "watermark": "2026-03-01T10:16:00.000Z" }, "sources": [{}],
    });
    let expected = "clicks  epoch 12  34,000 rows/s  87 ms  watermark 2026-03-01 10:16:00  lag 1.2 s";
    assert_eq!(live_line("clicks", &progress), expected);
}

#[test]
fn the_rate_is_that_of_the_input_once_there_is_one() {
    let progress = json!({ "inputRowsPerSecond": 1000.0, "processedRowsPerSecond": 333_333.0, "sources": [],
        "eventTime": { "watermark": "1970-01-01T00:00:00.000Z" } });
    assert_eq!(live_line("q", &progress), "q  epoch 0  1,000 rows/s  0 ms");
}

#[test]
fn rows_that_wait_at_a_source_are_the_lag() {
    let progress = json!({ "sources": [
        { "metrics": { "maxOffsetsBehindLatest": "1500" } }, { "metrics": { "maxOffsetsBehindLatest": "500" } },
    ] });
    assert!(live_line("q", &progress).ends_with("lag 2,000 rows"), "{}", live_line("q", &progress));
}

#[test]
fn old_data_has_no_lag() {
    let progress = json!({
        "timestamp": "2026-03-01T10:26:01.200Z", "eventTime": { "max": "2020-03-01T10:26:00.000Z" }, "sources": [],
    });
    assert!(!live_line("q", &progress).contains("lag"));
}

#[test]
fn numbers_are_grouped() {
    assert_eq!([grouped(0.2), grouped(999.6), grouped(1_234_567.0)], ["0", "1,000", "1,234,567"]);
}

#[test]
fn times_are_read_to_the_millisecond() {
    assert_eq!(millis("1970-01-01T00:00:15.250Z"), Some(15_250));
    assert_eq!(millis("1969-12-31T23:59:59.999Z"), Some(-1));
    assert_eq!(millis("yesterday"), None);
}
