use super::{parse_expr, parse_query};

/// The interval literals of a query, as DataFusion gets them.
fn interval(sql: &str) -> String {
    let text = parse_query(&format!("SELECT {sql}")).unwrap().to_string();
    text.trim_start_matches("SELECT ").to_owned()
}

#[test]
fn every_form_of_interval() {
    for (written, read) in [
        ("INTERVAL 5 MINUTES", "INTERVAL '300000000 microseconds'"),
        ("interval 5 minute", "INTERVAL '300000000 microseconds'"),
        ("INTERVAL '5' HOUR", "INTERVAL '18000000000 microseconds'"),
        ("INTERVAL '5 minutes'", "INTERVAL '300000000 microseconds'"),
        ("INTERVAL 1 DAY 2 HOURS", "INTERVAL '1 days 7200000000 microseconds'"),
        ("INTERVAL '1 2:3:4' DAY TO SECOND", "INTERVAL '1 days 7384000000 microseconds'"),
        ("INTERVAL '1-2' YEAR TO MONTH", "INTERVAL '14 months'"),
        ("INTERVAL -10 SECONDS", "INTERVAL '-10000000 microseconds'"),
        ("INTERVAL '-10' SECOND", "INTERVAL '-10000000 microseconds'"),
        ("INTERVAL 2 WEEKS", "INTERVAL '14 days'"),
        ("INTERVAL 0 SECONDS", "INTERVAL '0 seconds'"),
    ] {
        assert_eq!(interval(written), read, "{written}");
    }
}

/// The right side of a null-safe equality ends before an AND.
#[test]
fn null_safe_equality() {
    assert_eq!(interval("a IS NOT DISTINCT FROM b AND c"), "a <=> b AND c");
    assert_eq!(interval("a IS NOT  DISTINCT\nFROM b"), "a <=> b");
    assert_eq!(interval("a IS NOT NULL AND b IS DISTINCT FROM c"), "a IS NOT NULL AND b IS DISTINCT FROM c");
}

/// An interval ends where its units end.
#[test]
fn intervals_within_expressions() {
    assert_eq!(
        interval("ts + INTERVAL 1 DAY - INTERVAL 1 HOUR AS x"),
        "ts + INTERVAL '1 days' - INTERVAL '3600000000 microseconds' AS x"
    );
    assert_eq!(interval("f(INTERVAL 1 DAY, 2)"), "f(INTERVAL '1 days', 2)");
    assert_eq!(interval("INTERVAL '1' DAY AS day, 2 AS hours"), "INTERVAL '1 days' AS day, 2 AS hours");
}

/// What is no interval of ours is left to DataFusion, and so are columns of that name.
#[test]
fn other_intervals_are_left() {
    assert_eq!(interval("INTERVAL 'nonsense'"), "INTERVAL 'nonsense'");
    assert_eq!(interval("\"interval\" + 5"), "\"interval\" + 5");
}

#[test]
fn quotes_and_cases_of_names() {
    assert_eq!(interval("`a b`, \"c d\", userId"), "`a b`, \"c d\", userId");
}

#[test]
fn one_query_only() {
    assert!(parse_query("").unwrap_err().to_string().contains("found nothing"));
    assert!(parse_query("SELECT 1; SELECT 2; SELECT 3").unwrap_err().to_string().contains("found 3 statements"));
    assert!(parse_query("CREATE TABLE t (a INT)").unwrap_err().to_string().contains("expected a SELECT"));
    assert!(parse_query("SELECT 1;").is_ok());
    assert_eq!(parse_expr("a + 1").unwrap().to_string(), "a + 1");
}
