use super::*;

fn skips(text: &[u8]) -> Scan<usize> {
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    scanner.skip_value()?;
    Ok(scanner.position())
}

#[test]
fn values_are_skipped_whole() {
    for text in [
        "1",
        "-1.5e3",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a b\"",
        r#""a\"b\\""#,
        "[]",
        "{}",
        "[1, 2]",
        "[[], {}, [[1]]]",
        r#"{"a": {"b": [1, {"c": null}]}, "d": "}"}"#,
        "[ ]",
        "{ }",
        "{'a': 'b\"c'}",
        "[NaN, -Infinity]",
    ] {
        assert_eq!(skips(text.as_bytes()), Ok(text.len()), "{text}");
        assert_eq!(skips(format!("{text} , rest").as_bytes()), Ok(text.len()), "{text}");
    }
}

#[test]
fn what_is_not_json_is_malformed() {
    for text in [
        "",
        "tru",
        "nul",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "{\"a\":1]",
        "[1}",
        "\"a",
        "\"a\\",
        "\"\\q\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\"\u{1}\"",
        "'a\"",
        "-",
        "+1",
        "[01]",
        "}",
        "]",
        ":",
        ",",
    ] {
        assert_eq!(skips(text.as_bytes()), Err(Malformed), "{text}");
    }
}

#[test]
fn a_zero_byte_is_not_the_end() {
    assert_eq!(skips(b"\"a\0\""), Err(Malformed));
    assert_eq!(skips(b"\0"), Err(Malformed));
    assert_eq!(skips(b"[1\0]"), Err(Malformed));
}

#[test]
fn depth_has_a_limit() {
    let nested = |depth: usize| format!("{}{}", "[{\"a\":".repeat(depth), "1".to_owned() + &"}]".repeat(depth));
    assert!(skips(nested(500).as_bytes()).is_ok());
    assert_eq!(skips(nested(501).as_bytes()), Err(Malformed));
    assert_eq!(skips("[".repeat(1_000_000).as_bytes()), Err(Malformed));
}
