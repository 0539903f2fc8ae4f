//! Durations as users write them.

use std::time::Duration;

use tidegate_api::config::parse_duration;

#[test]
fn all_units_and_sums_are_read() {
    for (text, micros) in [
        ("0", 0),
        ("250", 250_000),
        ("0s", 0),
        ("7us", 7),
        ("500ms", 500_000),
        ("10 seconds", 10_000_000),
        (" 1 Second ", 1_000_000),
        ("90s", 90_000_000),
        ("1 minute 30 seconds", 90_000_000),
        ("1m30s", 90_000_000),
        ("2h", 7_200_000_000),
        ("1 day", 86_400_000_000),
        ("1w", 604_800_000_000),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_micros(micros)), "{text}");
    }
}

#[test]
fn anything_else_is_refused_with_what_was_found() {
    for text in
        ["", "  ", "ten seconds", "10 parsecs", "-5s", "1.5s", "5s 3", "s", "1 month", "99999999999 weeks", "5,s"]
    {
        let message = parse_duration(text).unwrap_err();
        assert_eq!(message, format!("'{text}' is not a duration such as 10 seconds, 500ms or 2h"));
    }
}
