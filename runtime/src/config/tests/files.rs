//! Files: three languages, order, doubled keys, and what has no flat form.

use super::*;

const FLAT: [(&str, &str); 5] = [
    ("name", "a"),
    ("sources.b.connector.class", "stream"),
    ("sources.b.port", "9"),
    ("sources.a.static", "true"),
    ("views.z", "SELECT 1"),
];

#[test]
fn the_three_languages_say_the_same_in_the_same_order() {
    let yaml = "name: a\nsources: {b: {connector.class: stream, port: 9}, a: {static: true}}\nviews: {z: SELECT 1}";
    let json = r#"{"name":"a","sources":{"b":{"connector":{"class":"stream"},"port":9},"a":{"static":true}},
        "views":{"z":"SELECT 1"}}"#;
    let toml = "name = \"a\"\n[sources.b]\nconnector.class = \"stream\"\nport = 9\n[sources.a]\nstatic = true\n\
        [views]\nz = \"SELECT 1\"";
    for (text, extension) in [(yaml, "yaml"), (yaml, "yml"), (json, "json"), (toml, "toml")] {
        let flat = flatten(&Node::parse(text, extension).unwrap()).unwrap();
        assert_eq!(flat.iter().collect::<Vec<_>>(), FLAT, "{extension}");
    }
}

#[test]
fn lists_are_commas_and_nulls_are_nothing() {
    let flat = settings("a: [x, 1, true]\nb: null\nc: ~\nd: 0.5\ne: []\nf: ''");
    assert_eq!(flat.iter().collect::<Vec<_>>(), [("a", "x,1,true"), ("d", "0.5"), ("e", ""), ("f", "")]);
}

#[test]
fn a_key_given_twice_is_refused() {
    for (text, extension) in [("a: 1\na: 2", "yaml"), (r#"{"a": 1, "a": 2}"#, "json"), ("a = 1\na = 2", "toml")] {
        let message = Node::parse(text, extension).unwrap_err();
        assert!(message.contains('a') && (message.contains("twice") || message.contains("duplicate")), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_broken_file_is_told_with_its_place() {
    for (text, extension) in [("a: [1", "yaml"), ("{\"a\": ", "json"), ("a = ", "toml")] {
        let message = Node::parse(text, extension).unwrap_err();
        assert!(message.contains("line 1") || message.contains("line 2"), "{message}");
    }
}

#[test]
fn another_extension_is_refused() {
    assert!(Node::parse("", "xml").unwrap_err().contains("expected .yaml, .yml, .json or .toml"));
}

#[test]
fn lists_of_maps_and_empty_maps_have_no_flat_form() {
    let issues = flatten(&Node::parse("a: [{b: 1}]\nc: {d: {}}", "yaml").unwrap()).unwrap_err();
    let shown: Vec<_> = issues.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 2);
    assert!(shown[0].starts_with("a: found a list of lists or maps"), "{shown:?}");
    assert!(shown[1].starts_with("c.d: found an empty map"), "{shown:?}");
}

#[test]
fn sql_that_yaml_has_cut_at_a_comma_is_noticed() {
    let issues = flatten(&Node::parse("sinks: { a: { sql: SELECT x, y FROM t } }", "yaml").unwrap()).unwrap_err();
    assert_eq!(issues.len(), 1);
    assert_eq!(issues[0].key, "sinks.a.y FROM t");
    assert!(issues[0].message.contains("needs quotes"), "{issues:?}");
}

#[test]
fn a_tree_never_shows_its_texts() {
    let node = Node::parse("password: s3cret", "yaml").unwrap();
    assert!(!format!("{node:?}").contains("s3cret"));
}
