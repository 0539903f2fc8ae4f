use super::*;

fn scan(text: &str) -> Number<'_> {
    let number = Number::scan(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(number.text(), text.as_bytes());
    number
}

#[test]
fn whole_numbers_fit_or_not() {
    for (text, expected) in [
        ("0", Some(0)),
        ("-0", Some(0)),
        ("42", Some(42)),
        ("9223372036854775807", Some(i64::MAX)),
        ("-9223372036854775808", Some(i64::MIN)),
        ("9223372036854775808", None),
        ("-9223372036854775809", None),
        ("18446744073709551617", None),
        ("36893488147419103232", None),
        ("1.0", None),
        ("1e3", None),
        ("NaN", None),
    ] {
        assert_eq!(scan(text).to_i64(), expected, "{text}");
    }
}

#[test]
fn floats_are_the_nearest_ones() {
    for text in [
        "0",
        "-0",
        "-0.0",
        "1",
        "0.1",
        "2.5",
        "-273.15",
        "1e22",
        "1e23",
        "123456789012345",
        "1234567890123456789",
        "9007199254740993",
        "0.000001",
        "1.7976931348623157e308",
        "5e-324",
        "2.2250738585072011e-308",
        "1e400",
        "-1e400",
        "1e-400",
        "0.30000000000000004",
        "123456789012345678901234567890",
        "3.4028236e38",
        "16777217",
        "8388609.5",
    ] {
        let expected: f64 = text.parse().unwrap();
        assert_eq!(scan(text).to_f64().unwrap().to_bits(), expected.to_bits(), "{text}");
        let expected: f32 = text.parse().unwrap();
        assert_eq!(scan(text).to_f32().unwrap().to_bits(), expected.to_bits(), "{text}");
    }
    assert!(scan("NaN").to_f64().unwrap().is_nan());
    assert_eq!(scan("-Infinity").to_f64(), Some(f64::NEG_INFINITY));
}

#[test]
fn only_the_grammar_is_a_number() {
    for text in ["", "-", "+1", ".5", "1.", "1.e5", "01", "-01", "00", "1e", "1e+", "1e-", "a", "--1", "INF", "nan"] {
        assert_eq!(Number::scan(text.as_bytes()), None, "{text}");
    }
    for (text, end) in [("1,2", 1), ("12]", 2), ("1.5e-7}", 6), ("0 ", 1), ("-Infinity,", 9)] {
        assert_eq!(Number::scan(text.as_bytes()).unwrap().text().len(), end, "{text}");
    }
}

#[test]
fn scaling_is_exact() {
    for (text, scale, round, expected) in [
        ("12.34", 2, true, Some(1234)),
        ("12.345", 2, true, Some(1235)),
        ("12.344", 2, true, Some(1234)),
        ("-12.345", 2, true, Some(-1235)),
        ("12.345", 2, false, Some(1234)),
        ("-12.345", 2, false, Some(-1234)),
        ("0.5", 0, true, Some(1)),
        ("0.05", 0, true, Some(0)),
        ("1e3", 2, true, Some(100_000)),
        ("125e-3", 2, true, Some(13)),
        ("0", 38, true, Some(0)),
        ("0e999999999999", 2, true, Some(0)),
        ("1e999999999999", 2, true, None),
        ("1e-999999999999", 2, true, Some(0)),
        ("12345678901234567890123456789012345678", 0, true, Some(12_345_678_901_234_567_890_123_456_789_012_345_678)),
        ("0.1234567890123456789012345678901234567890123456789", 2, true, Some(12)),
        ("1.995000000000000000000000000000000000000000000000", 2, true, Some(200)),
        ("99999999999999999999.995", 2, true, Some(10_000_000_000_000_000_000_000)),
        ("0.00000000000000000000000000000000000000000000000001", 2, true, Some(0)),
        ("1740823200.123456789", 6, false, Some(1_740_823_200_123_456)),
    ] {
        assert_eq!(scan(text).scaled(scale, round), expected, "{text}");
    }
}

#[test]
fn texts_stand_for_decimals_as_in_java() {
    for (text, expected) in [
        ("12.5", Some(1250)),
        ("+12.5", Some(1250)),
        ("-.5", Some(-50)),
        ("5.", Some(500)),
        ("007", Some(700)),
        ("1E2", Some(10_000)),
        ("", None),
        (".", None),
        ("1.5 ", None),
        ("1,5", None),
        ("1e", None),
        ("NaN", None),
    ] {
        assert_eq!(Number::of_text(text.as_bytes()).and_then(|it| it.scaled(2, true)), expected, "{text}");
    }
}

/// Eight digits at a time give what one at a time does, wherever the bytes end.
#[test]
fn digits_are_read_alike_at_once_and_one_by_one() {
    let ends = [
        "",
        ",",
        "}",
        " ",
        "\n",
        "e",
        "E5",
        ".",
        ".0,",
        "/",
        ":",
        "x12345678",
        ",\"name\":12345678}",
        "\u{b9}12345678",
    ];
    let runs = (0..=22).flat_map(|length| {
        // Zeros in front, behind and in between, ones and nines.
        (0..=length).flat_map(move |zeros| {
            ["1", "9", "10", "90071992547409910"].map(|it| {
                let rest: String = it.chars().cycle().take(length - zeros).collect();
                "0".repeat(zeros) + &rest
            })
        })
    });
    for (digits, end) in runs.flat_map(|run| ends.map(|end| (run.clone(), end))) {
        let followed = format!("{digits}{end}");
        let mut reader = Reader { bytes: followed.as_bytes(), at: 0, mantissa: 0, digits: 0 };
        assert_eq!(reader.run(), digits.len(), "{followed}");
        let counted = digits.trim_start_matches('0');
        assert_eq!(usize::try_from(reader.digits).unwrap(), counted.len(), "{followed}");
        if counted.len() <= 19 {
            assert_eq!(reader.mantissa, counted.parse().unwrap_or(0), "{followed}");
        }
        if let Some((value, length)) = small_integer(followed.as_bytes()) {
            let whole = Number::scan(followed.as_bytes()).unwrap();
            assert_eq!((Some(value), length), (whole.to_i64(), whole.text().len()), "{followed}");
        } else {
            let small = matches!(digits.len(), 1..=7) && (digits == "0" || !digits.starts_with('0'));
            assert!(!small || followed.len() < 8 || matches!(end.as_bytes()[0], b'.' | b'e' | b'E'), "{followed}");
        }
    }
}
