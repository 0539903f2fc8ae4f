use arrow_array::Array;
use arrow_array::builder::StringBuilder;

use super::splitter;

fn split(text: &str, regex: &str, limit: Option<usize>) -> Vec<String> {
    let mut out = StringBuilder::new();
    splitter(regex, limit).unwrap()(text, &mut out);
    let pieces = out.finish();
    assert_eq!(pieces.null_count(), 0);
    pieces.iter().flatten().map(str::to_owned).collect()
}

/// Values as Java's `String.split(regex, -1)` and Spark's `split` give them.
#[test]
fn as_java() {
    for (text, regex, pieces) in [
        ("a b", " ", &["a", "b"][..]),
        ("", " ", &[""]),
        (" a  b ", " ", &["", "a", "", "b", ""]),
        ("a,b;c", "[,;]", &["a", "b", "c"]),
        ("oneAtwoBthreeC", "[ABC]", &["one", "two", "three", ""]),
        ("a1b22c", "\\d+", &["a", "b", "c"]),
        ("a.b", ".", &["", "", "", ""]),
        ("a.b", "\\.", &["a", "b"]),
        ("a||b", "\\|\\|", &["a", "b"]),
        ("abc", "", &["a", "b", "c"]),
        ("äöü", "", &["ä", "ö", "ü"]),
        ("", "", &[""]),
        ("abc", "x*", &["a", "b", "c", ""]),
        ("abc", "z", &["abc"]),
        ("a::b", "::", &["a", "b"]),
    ] {
        assert_eq!(split(text, regex, None), pieces, "{text:?} by {regex:?}");
    }
}

#[test]
fn with_a_limit() {
    assert_eq!(split("oneAtwoBthreeC", "[ABC]", Some(2)), ["one", "twoBthreeC"]);
    assert_eq!(split("a b c", " ", Some(2)), ["a", "b c"]);
    assert_eq!(split("a b c", " ", Some(1)), ["a b c"]);
    assert_eq!(split("a b c", "[ ]", Some(1)), ["a b c"]);
    assert_eq!(split("a b", " ", Some(9)), ["a", "b"]);
}

#[test]
fn a_broken_pattern_is_named() {
    let error = splitter("(", None).err().map(|it| it.to_string()).unwrap_or_default();
    assert!(error.contains("pattern '('"), "{error}");
}
