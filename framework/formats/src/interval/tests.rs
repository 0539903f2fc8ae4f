use super::*;

fn of(months: i64, days: i64, micros: i64) -> Interval {
    Interval { months, days, micros }
}

const S: i64 = 1_000_000;
const H: i64 = 3_600 * S;

#[test]
fn numbers_and_units() {
    for (text, expected) in [
        ("10 seconds", of(0, 0, 10 * S)),
        ("10 SECONDS", of(0, 0, 10 * S)),
        ("1 second", of(0, 0, S)),
        ("1 day 2 hours", of(0, 1, 2 * H)),
        ("  1   day\t2 hours ", of(0, 1, 2 * H)),
        ("-10 seconds", of(0, 0, -10 * S)),
        ("- 10 seconds", of(0, 0, -10 * S)),
        ("+1 day -2 hours", of(0, 1, -2 * H)),
        ("1 month -40 days", of(1, -40, 0)),
        ("interval 5 minutes", of(0, 0, 300 * S)),
        ("INTERVAL 5 Minutes", of(0, 0, 300 * S)),
        ("interval -5 minutes", of(0, 0, -300 * S)),
        ("2 years 3 months", of(27, 0, 0)),
        ("2 weeks", of(0, 14, 0)),
        ("1.5 seconds", of(0, 0, 1_500_000)),
        (".5 seconds", of(0, 0, 500_000)),
        ("-1.5 seconds", of(0, 0, -1_500_000)),
        ("1.123456789 seconds", of(0, 0, 1_123_456)),
        ("0 seconds", of(0, 0, 0)),
        ("500ms", of(0, 0, 500_000)),
        ("7 us", of(0, 0, 7)),
        ("2h30min", of(0, 0, 2 * H + 1_800 * S)),
        ("3 milliseconds 4 microseconds", of(0, 0, 3_004)),
    ] {
        assert_eq!(parse(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn quoted_numbers_and_ranges() {
    for (text, expected) in [
        ("interval '5' hour", of(0, 0, 5 * H)),
        ("INTERVAL '5' HOURS", of(0, 0, 5 * H)),
        ("interval '-5' hour", of(0, 0, -5 * H)),
        ("interval -'5' hour", of(0, 0, -5 * H)),
        ("interval '1.25' second", of(0, 0, 1_250_000)),
        ("interval '10 seconds'", of(0, 0, 10 * S)),
        ("interval '1 day 2 hours'", of(0, 1, 2 * H)),
        ("interval '1' day '2' hours", of(0, 1, 2 * H)),
        ("interval \"1\" day", of(0, 1, 0)),
        ("interval '1 2:3:4' day to second", of(0, 1, 2 * H + 184 * S)),
        ("INTERVAL '1 02:03:04.5' DAY TO SECOND", of(0, 1, 2 * H + 184_500_000)),
        ("interval '-1 2:3:4' day to second", of(0, -1, -2 * H - 184 * S)),
        ("interval '1 2:3' day to minute", of(0, 1, 2 * H + 180 * S)),
        ("interval '1 2' day to hour", of(0, 1, 2 * H)),
        ("interval '26:3:4' hour to second", of(0, 0, 26 * H + 184 * S)),
        ("interval '2:3' hour to minute", of(0, 0, 2 * H + 180 * S)),
        ("interval '90:4' minute to second", of(0, 0, 5_404 * S)),
        ("interval '1-2' year to month", of(14, 0, 0)),
        ("interval '-1-2' year to month", of(-14, 0, 0)),
    ] {
        assert_eq!(parse(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn what_is_no_interval_is_refused_with_the_reason() {
    for (text, words) in [
        ("", "found nothing"),
        ("  ", "found nothing"),
        ("interval", "found nothing"),
        ("10", "expected year, month"),
        ("seconds", "expected a number"),
        ("10 parsecs", "'parsecs'"),
        ("10 seconds 5", "found the end"),
        ("intervals 5 minutes", "expected a number"),
        ("1.5 minutes", "only seconds may have a fraction"),
        ("1. minutes", "only seconds may have a fraction"),
        ("'5 hours", "quote"),
        ("interval '1 24:0:0' day to second", "at most 23"),
        ("interval '1 2:60:0' day to second", "at most 59"),
        ("interval '1 2:3:60' day to second", "at most 59 seconds"),
        ("interval '1-12' year to month", "at most 11"),
        ("interval '1 2:3:4' day to month", "expected year to month"),
        ("interval '1 2' day to second", "expected ':'"),
        ("interval '1 2:3:4:5' day to second", "':5'"),
        ("interval '1 2' hour", "one number"),
        ("99999999999999999999 seconds", "64 bits"),
        ("9223372036854775807 days 1 day", "64 bits"),
        ("9999999999999999 hours", "64 bits"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind(), tidegate_api::ErrorKind::Config);
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn a_month_of_delay_has_31_days() {
    let day = 86_400_000;
    assert_eq!(parse("1 month").unwrap().to_delay_ms(), Some(31 * day));
    assert_eq!(parse("1 year").unwrap().to_delay_ms(), Some(372 * day));
    assert_eq!(parse("1 month -31 days 5 ms").unwrap().to_delay_ms(), Some(5));
    assert_eq!(parse("1999 microseconds").unwrap().to_delay_ms(), Some(1));
    assert_eq!(parse("9223372036854775807 months").unwrap().to_delay_ms(), None);
}

#[test]
fn months_have_no_fixed_length() {
    assert_eq!(parse("1 day 1 second").unwrap().fixed_micros(), Some(MICROS_PER_DAY + S));
    assert_eq!(parse("1 month").unwrap().fixed_micros(), None);
    assert_eq!(parse("9223372036854775807 days").unwrap().fixed_micros(), None);
}

#[test]
fn a_delay_is_not_negative() {
    assert_eq!(parse_delay_ms("10 minutes").unwrap(), 600_000);
    assert_eq!(parse_delay_ms("0 seconds").unwrap(), 0);
    assert_eq!(parse_delay_ms("1 month -31 days").unwrap(), 0);
    for text in ["-10 seconds", "1 month -40 days", "-1 microsecond"] {
        assert!(parse_delay_ms(text).unwrap_err().to_string().contains("negative"), "{text}");
    }
    assert!(parse_delay_ms("9223372036854775807 months").unwrap_err().to_string().contains("too long"));
}
