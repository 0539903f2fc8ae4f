use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};

use super::*;

fn at(text: &str) -> i64 {
    text.parse::<DateTime<Utc>>().unwrap().timestamp_micros()
}

#[test]
fn the_calendar_is_chronos_for_800_years() {
    let mut date = NaiveDate::from_ymd_opt(1599, 12, 28).unwrap();
    let start = date.signed_duration_since(NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()).num_days();
    for days in start..start + 800 * 366 {
        let expected = (i64::from(date.year()), date.month(), date.day());
        assert_eq!(civil_from_days(days), expected);
        assert_eq!(civil::days_from_civil(expected.0, expected.1, expected.2), Some(days));
        date = date.checked_add_days(Days::new(1)).unwrap();
    }
}

#[test]
fn dates_that_do_not_exist_are_none() {
    for (year, month, day) in [(2025, 2, 29), (1900, 2, 29), (2026, 4, 31), (2026, 13, 1), (2026, 0, 1), (2026, 1, 0)] {
        assert_eq!(civil::days_from_civil(year, month, day), None, "{year}-{month}-{day}");
    }
    assert!(civil::days_from_civil(2000, 2, 29).is_some());
}

#[test]
fn timestamps_as_spark_casts_them() {
    for (text, expected) in [
        ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
        ("2026-03-01 10:00:00", "2026-03-01T10:00:00Z"),
        ("2026-03-01T10:00:00.5", "2026-03-01T10:00:00.5Z"),
        ("2026-03-01 10:00:00.123456", "2026-03-01T10:00:00.123456Z"),
        ("2026-03-01 10:00:00.123456789Z", "2026-03-01T10:00:00.123456Z"),
        ("2026-03-01T10:00:00+01:00", "2026-03-01T09:00:00Z"),
        ("2026-03-01T10:00:00-0130", "2026-03-01T11:30:00Z"),
        ("2026-03-01T10:00:00.25 +5", "2026-03-01T05:00:00.25Z"),
        ("2026-03-01 10:00:00 UTC", "2026-03-01T10:00:00Z"),
        ("2026-03-01 10:00:00 GMT+2", "2026-03-01T08:00:00Z"),
        ("2026-3-1 1:2:3", "2026-03-01T01:02:03Z"),
        ("2026-03-01T10:00Z", "2026-03-01T10:00:00Z"),
        ("2026-03-01 10:05", "2026-03-01T10:05:00Z"),
        ("2026-03-01 10", "2026-03-01T10:00:00Z"),
        ("2026-03-01", "2026-03-01T00:00:00Z"),
        ("2026-03", "2026-03-01T00:00:00Z"),
        ("2026", "2026-01-01T00:00:00Z"),
        (" \t2026-03-01\n", "2026-03-01T00:00:00Z"),
        ("1969-12-31 23:59:59.999999", "1969-12-31T23:59:59.999999Z"),
        ("0001-01-01", "0001-01-01T00:00:00Z"),
        ("+12026-01-01", "+12026-01-01T00:00:00Z"),
        ("-0001-06-01", "-0001-06-01T00:00:00Z"),
    ] {
        assert_eq!(parse_timestamp(text.as_bytes()), Some(at(expected)), "{text}");
    }
}

#[test]
fn what_is_no_timestamp_is_none() {
    for text in [
        "",
        " ",
        "5",
        "202",
        "2026-",
        "2026-03-",
        "2026-03-01T",
        "2026-03-01x",
        "2026-02-29",
        "2026-03-01 24:00:00",
        "2026-03-01 10:60:00",
        "2026-03-01 10:00:60",
        "2026-03-01 10:00:00x",
        "2026-03-01 10:00:00+25:00",
        "2026-03-01 10:00:00+01:60",
        "2026-03-01 10:00:00 Europe/Paris",
        "10:00:00",
        "T10:00:00",
        "2026-03-01  10:00",
        "2026-03-01 10:00:00 Z+3",
        "2026-03-011 10:00:00",
        "2026-03-01 10:00:000",
        "12345678",
        "not a time",
        "--2026",
        "999999-01-01",
        "2026-03-01 10:00:00+1:5",
        "2026-03 10:00:00",
    ] {
        assert_eq!(parse_timestamp(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn a_local_timestamp_has_no_zone() {
    assert_eq!(parse_local_timestamp(b"2026-03-01 10:00:00"), Some(at("2026-03-01T10:00:00Z")));
    assert_eq!(parse_local_timestamp(b"2026-03-01 10:00:00Z"), None);
}

#[test]
fn dates_as_spark_casts_them() {
    for (text, days) in [
        ("1970-01-02", Some(1)),
        ("1970-1-2", Some(1)),
        ("1970-02", Some(31)),
        ("1971", Some(365)),
        ("1970-01-02 whatever", Some(1)),
        ("1970-01-02T10:00:00Z", Some(1)),
        (" 1969-12-31 ", Some(-1)),
        ("1970-01-02x", None),
        ("70-01-02", None),
        ("1970-01-32", None),
        ("1970-02 x", None),
        ("", None),
    ] {
        assert_eq!(parse_date(text.as_bytes()), days, "{text}");
    }
}

#[test]
fn patterns_read_and_write() {
    for (pattern, text, micros) in [
        ("yyyy-MM-dd HH:mm:ss", "2026-03-01 10:00:00", "2026-03-01T10:00:00Z"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2026-03-01T10:00:00.250Z", "2026-03-01T10:00:00.25Z"),
        ("yyyyMMddHHmmssSSS", "20260301100000250", "2026-03-01T10:00:00.25Z"),
        ("yyyyMMdd", "20260301", "2026-03-01T00:00:00Z"),
        ("d/M/yy", "1/3/26", "2026-03-01T00:00:00Z"),
        ("EEE MMM dd HH:mm:ss z uuuu", "Sun Mar 01 10:00:00 UTC 2026", "2026-03-01T10:00:00Z"),
        ("EEEE, d MMMM yyyy", "Sunday, 1 March 2026", "2026-03-01T00:00:00Z"),
        ("hh:mm a, yyyy-DDD", "01:05 PM, 2026-060", "2026-03-01T13:05:00Z"),
        ("yyyy-MM-dd h:mm a", "2026-03-01 12:05 AM", "2026-03-01T00:05:00Z"),
        ("yyyy-MM-dd kk:mm", "2026-03-01 24:05", "2026-03-01T00:05:00Z"),
        ("yyyy-MM-dd KK:mm a", "2026-03-01 00:05 PM", "2026-03-01T12:05:00Z"),
        ("yyyy 'o''clock' HH", "2026 o'clock 07", "2026-01-01T07:00:00Z"),
        ("yyyy''HH", "2026'07", "2026-01-01T07:00:00Z"),
        ("yyyy-MM-dd[ HH:mm[:ss]]", "2026-03-01 10:00:00", "2026-03-01T10:00:00Z"),
        ("yyyy-MM-dd", "+12026-03-01", "+12026-03-01T00:00:00Z"),
        ("yyyy-MM-dd", "-0001-03-01", "-0001-03-01T00:00:00Z"),
        ("yyyy-MM-dd HH:mm:ss.SSSSSSSSS", "2026-03-01 10:00:00.000001000", "2026-03-01T10:00:00.000001Z"),
        ("yyyy-MM-dd HH:mm:ss xxx Z VV", "2026-03-01 10:00:00 +00:00 +0000 UTC", "2026-03-01T10:00:00Z"),
    ] {
        let compiled = JavaPattern::compile(pattern).unwrap();
        assert_eq!(compiled.parse(text), Some(at(micros)), "parse {pattern}");
        assert_eq!(compiled.format(at(micros)), text, "format {pattern}");
    }
}

#[test]
fn patterns_read_more_than_they_write() {
    for (pattern, text, micros) in [
        ("yyyy-MM-dd HH:mm:ss.SSSSSS", "2026-03-01 10:00:00.5", "2026-03-01T10:00:00.5Z"),
        ("yyyy-MM-dd[ HH:mm[:ss]]", "2026-03-01", "2026-03-01T00:00:00Z"),
        ("yyyy-MM-dd[ HH:mm[:ss]]", "2026-03-01 10:07", "2026-03-01T10:07:00Z"),
        ("yyyy-MM-dd HH:mm:ssXXX", "2026-03-01 10:00:00+05:30", "2026-03-01T04:30:00Z"),
        ("yyyy-MM-dd HHX", "2026-03-01 10-0130", "2026-03-01T11:30:00Z"),
        ("yyyy-MM-dd HHX", "2026-03-01 10-01", "2026-03-01T11:00:00Z"),
        ("yyyy-MM-dd HHXXXXX", "2026-03-01 10+01:00:30", "2026-03-01T08:59:30Z"),
        ("yyyy-MM-dd HH z", "2026-03-01 10 GMT+2", "2026-03-01T08:00:00Z"),
        ("dd/MMM/yyyy:HH:mm:ss Z", "01/mAR/2026:10:00:00 +0100", "2026-03-01T09:00:00Z"),
        ("HH:mm", "10:30", "1970-01-01T10:30:00Z"),
        ("yyyy-M-d H:m:s", "2026-03-01 10:00:00", "2026-03-01T10:00:00Z"),
        ("hh:mm", "11:30", "1970-01-01T11:30:00Z"),
    ] {
        assert_eq!(JavaPattern::compile(pattern).unwrap().parse(text), Some(at(micros)), "{pattern}");
    }
}

#[test]
fn texts_that_do_not_fit_a_pattern_are_none() {
    for (pattern, text) in [
        ("yyyy-MM-dd", "2026-3-1"),
        ("yyyy-MM-dd", "2026-02-30"),
        ("yyyy-MM-dd", "12026-01-01"),
        ("yyyy-MM-dd", "2026-03-01 "),
        ("yyyy-MM-dd", ""),
        ("yyyy-MM-dd HH:mm:ss", "2026-03-01T10:00:00"),
        ("yyyy-MM-dd HH", "2026-03-01 24"),
        ("hh", "00"),
        ("hh", "13"),
        ("kk", "00"),
        ("mm", "60"),
        ("yyyy-DDD", "2025-366"),
        ("HHXXX", "10+0100"),
        ("HHxxx", "10Z"),
        ("HH.SSS", "10."),
        ("MMM", "Mai"),
        ("yyyyMMdd", "2026031"),
    ] {
        assert_eq!(JavaPattern::compile(pattern).unwrap().parse(text), None, "{pattern} {text}");
    }
}

#[test]
fn a_pattern_that_is_not_supported_is_refused_by_letter_and_place() {
    for (pattern, words) in [
        ("yyyy-'W'ww", &["'w'", "position 9", "supported are"][..]),
        ("YYYY", &["'Y'", "position 1"]),
        ("HHH", &["'H'", "3 times"]),
        ("yyyy [MM", &["'['", "not closed"]),
        ("yyyy MM]", &["']'", "position 8"]),
        ("yyyy 'T", &["quote"]),
        ("yyyy {", &["'{'"]),
        ("MMMMM", &["'M'", "5 times"]),
        ("SSSSSSSSSS", &["'S'", "10 times"]),
        ("G", &["'G'"]),
    ] {
        let error = JavaPattern::compile(pattern).unwrap_err();
        assert_eq!(error.kind(), tidegate_api::ErrorKind::Config);
        for word in words {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}

/// The form that is read at once, and what differs from it in one byte.
#[test]
fn the_usual_form_takes_digits_only_where_digits_stand() {
    let text = b"2026-03-09T10:59:58.125Z";
    assert_eq!(parse_timestamp(text), Some(at("2026-03-09T10:59:58.125Z")));
    for place in 0..19 {
        for byte in 0..=255_u8 {
            let mut changed = *text;
            changed[place] = byte;
            let form = if place == 10 {
                matches!(byte, b'T' | b' ')
            } else {
                byte.is_ascii_digit() == text[place].is_ascii_digit()
            };
            let same_mark = text[place].is_ascii_digit() || byte == text[place] || place == 10;
            let expected = std::str::from_utf8(&changed).ok().filter(|_| form && same_mark);
            let expected = expected.and_then(|it| it.replace(' ', "T").parse::<DateTime<Utc>>().ok());
            // Other forms that are read: no month, a lower-case T, a zone or a sign in front.
            if form || !byte.is_ascii_graphic() {
                let found = parse_timestamp(&changed);
                assert_eq!(found, expected.map(|it| it.timestamp_micros()), "{}", String::from_utf8_lossy(&changed));
            }
        }
    }
}
