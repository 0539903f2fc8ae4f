//! Times against chrono, and texts of all kinds that must not panic.

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use proptest::prelude::*;
use tidegate_formats::datetime::{JavaPattern, parse_date, parse_local_timestamp, parse_timestamp};
use tidegate_formats::{ddl, interval};

use crate::support::check;

/// Years 1 to 9999.
const MICROS: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

fn at(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap()
}

#[test]
fn timestamps_read_as_by_chrono() {
    check(3_000, &(MICROS, -17 * 60..17 * 60_i32), |(micros, minutes)| {
        let utc = at(micros);
        let text = utc.to_rfc3339_opts(SecondsFormat::Micros, true);
        assert_eq!(parse_timestamp(text.as_bytes()), Some(micros), "{text}");
        assert_eq!(parse_timestamp(text.replace('T', " ").as_bytes()), Some(micros), "{text}");
        assert_eq!(parse_local_timestamp(text.trim_end_matches('Z').as_bytes()), Some(micros), "{text}");
        let local = utc.with_timezone(&FixedOffset::east_opt(minutes * 60).unwrap());
        let text = local.format("%Y-%m-%dT%H:%M:%S%.f%:z").to_string();
        // Near the ends of the range another zone is in a year of another length.
        if text.as_bytes()[4] == b'-' && !text.starts_with('0') {
            assert_eq!(parse_timestamp(text.as_bytes()), Some(micros), "{text}");
        }
        let text = utc.format("%Y-%m-%d").to_string();
        assert_eq!(parse_date(text.as_bytes()).map(i64::from), Some(micros.div_euclid(86_400_000_000)), "{text}");
    });
}

#[test]
fn patterns_write_as_chrono_and_read_it_back() {
    let pairs = [
        ("yyyy-MM-dd HH:mm:ss.SSSSSS", "%Y-%m-%d %H:%M:%S%.6f"),
        ("EEE, dd MMM yyyy HH:mm:ss.SSSSSS Z", "%a, %d %b %Y %H:%M:%S%.6f %z"),
        ("EEEE MMMM d yyyy hh:mm:ss.SSSSSS a", "%A %B %-d %Y %I:%M:%S%.6f %p"),
        ("yyyyDDDHHmmssSSSSSS", "%Y%j%H%M%S%6f"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSSSSSxxx", "%Y-%m-%dT%H:%M:%S%.6f%:z"),
    ];
    for (java, chrono) in pairs {
        let pattern = JavaPattern::compile(java).unwrap();
        check(500, &MICROS, |micros| {
            let text = pattern.format(micros);
            assert_eq!(text, at(micros).format(chrono).to_string(), "{java}");
            assert_eq!(pattern.parse(&text), Some(micros), "{java}: {text}");
        });
    }
}

#[test]
fn every_timestamp_there_is_comes_back() {
    let pattern = JavaPattern::compile("yyyy-MM-dd HH:mm:ss.SSSSSS").unwrap();
    let moments = prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)];
    check(2_000, &moments, |micros| {
        let text = pattern.format(micros);
        assert_eq!(pattern.parse(&text), Some(micros), "{text}");
        assert_eq!(parse_timestamp(text.as_bytes()), Some(micros), "{text}");
    });
}

#[test]
fn no_text_makes_a_reader_panic() {
    let patterns =
        ["yyyy-MM-dd[ HH:mm[:ss[.SSS]]][XXX]", "EEEE d MMMM uuuu h a z", "yyyyMMddHHmmssSSS", "DDD yy kk K x"];
    let patterns = patterns.map(|it| JavaPattern::compile(it).unwrap());
    let texts = prop_oneof![
        any::<String>(),
        "[0-9 T:.Z+-]{0,30}",
        "[+-]?[0-9]{4,6}-[0-9]{1,2}-[0-9]{1,2}[ T][0-9:.]{0,15}[Z+-]?[0-9:]{0,6}",
        "(interval )?['0-9 .:+-]{0,12}(day|hour|year|seconds|to| )*",
        "[a-z<>,:()`'\" 0-9]{0,20}",
        "[yMdHhmsSaEXxZzV'\\[\\] -]{0,16}",
    ];
    check(5_000, &texts, |text| {
        let _ = (parse_timestamp(text.as_bytes()), parse_date(text.as_bytes()), parse_local_timestamp(text.as_bytes()));
        let _ = (interval::parse(&text), interval::parse_delay_ms(&text), ddl::parse_schema(&text));
        for pattern in &patterns {
            let _ = pattern.parse(&text);
        }
        if let Ok(pattern) = JavaPattern::compile(&text) {
            let written = pattern.format(1_772_359_200_123_456);
            let _ = pattern.parse(&written);
        }
    });
}

#[test]
fn intervals_of_units_are_their_sum() {
    let part = (-1_000_000..1_000_000_i64, 0..9_usize);
    check(1_000, &prop::collection::vec(part, 1..5), |parts| {
        let units = [
            ("years", 12, 0, 0),
            ("month", 1, 0, 0),
            ("weeks", 0, 7, 0),
            ("DAYS", 0, 1, 0),
            ("hour", 0, 0, 3_600_000_000),
            ("minutes", 0, 0, 60_000_000),
            ("Seconds", 0, 0, 1_000_000),
            ("milliseconds", 0, 0, 1_000),
            ("microsecond", 0, 0, 1),
        ];
        let text: Vec<String> = parts.iter().map(|(count, unit)| format!("{count} {}", units[*unit].0)).collect();
        let sum = |of: fn(&(&str, i64, i64, i64)) -> i64| {
            parts.iter().map(|(count, unit)| count * of(&units[*unit])).sum::<i64>()
        };
        let expected = interval::Interval { months: sum(|it| it.1), days: sum(|it| it.2), micros: sum(|it| it.3) };
        assert_eq!(interval::parse(&text.join(" ")).unwrap(), expected, "{text:?}");
    });
}
