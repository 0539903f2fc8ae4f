//! Settings, the nearest name, and the reader that collects all issues.

use tidegate_api::config::{KeyReader, nearest, normalised};
use tidegate_api::prelude::*;

const fn key(name: &'static str, default: Option<&'static str>) -> ConfigKey {
    ConfigKey {
        name,
        synonyms: &[],
        doc: "",
        kind: "",
        default,
        optional: false,
        importance: Importance::Low,
        secret: false,
        prefix: false,
    }
}

const KEYS: &[ConfigKey] = &[
    ConfigKey { synonyms: &["subscribe"], ..key("topics", None) },
    key("max.rows", Some("7")),
    ConfigKey { prefix: true, ..key("kafka.", None) },
    ConfigKey { secret: true, ..key("token", None) },
];

fn messages(reader: KeyReader<'_>) -> Vec<String> {
    reader.finish().iter().map(ToString::to_string).collect()
}

#[test]
fn spellings_of_a_key_are_one_key() {
    for spelling in ["startingOffsets", "starting.offsets", "starting_offsets", "STARTING-OFFSETS"] {
        assert_eq!(normalised(spelling), "startingoffsets");
        let mut settings = Settings::from_iter([("other", "1"), (spelling, "latest")]);
        assert_eq!(settings.get("starting.offsets"), Some("latest"));
        assert_eq!(settings.take("startingOffsets"), [(spelling.to_owned(), "latest".to_owned())]);
        assert_eq!(settings.iter().collect::<Vec<_>>(), [("other", "1")]);
    }
}

#[test]
fn debug_of_settings_shows_no_values() {
    let mut settings = Settings::default();
    settings.push("sasl.password", "s3cret");
    assert_eq!(format!("{settings:?}"), r#"{"sasl.password"}"#);
}

#[test]
fn the_nearest_name_is_one_that_is_near() {
    let names = ["topics", "kafka.bootstrap.servers", "starting.offsets"];
    assert_eq!(nearest("kafka.bootstrap.server", names), Some("kafka.bootstrap.servers"));
    assert_eq!(nearest("topcis", names), Some("topics"));
    assert_eq!(nearest("tpcis", names), None, "three edits are too many for a short name");
    assert_eq!(nearest("topic", names), Some("topics"));
    assert_eq!(nearest("StartingOfsets", names), Some("starting.offsets"));
    assert_eq!(nearest("x", names), None);
}

#[test]
fn a_reader_gives_values_and_defaults() {
    let settings = Settings::from_iter([("Subscribe", "a,b"), ("kafka.Acks_x", "all"), ("token", "t")]);
    let mut reader = KeyReader::new(&settings, KEYS);
    let below = reader.below(&KEYS[2]);
    assert_eq!(below.into_iter().collect::<Vec<_>>(), [("Acks_x".to_owned(), "all".to_owned())]);
    assert_eq!(reader.required::<Vec<String>>(&KEYS[0]), Some(vec!["a".into(), "b".into()]));
    assert_eq!(reader.required::<u64>(&KEYS[1]), Some(7));
    assert_eq!(reader.optional::<Secret>(&KEYS[3]).unwrap().expose(), "t");
    assert!(reader.finish().is_empty());
}

#[test]
fn a_reader_collects_all_that_is_wrong() {
    let settings = Settings::from_iter([("maxRows", "many"), ("topcs", "a"), ("kafka.", "x"), ("colour", "red")]);
    let mut reader = KeyReader::new(&settings, KEYS);
    assert!(reader.below(&KEYS[2]).is_empty());
    assert_eq!(reader.required::<String>(&KEYS[0]), None);
    assert_eq!(reader.required::<u64>(&KEYS[1]), None);
    assert_eq!(reader.optional::<Secret>(&KEYS[3]), None);
    assert_eq!(
        messages(reader),
        [
            "topics: missing; expected text",
            "maxRows: 'many' is not a whole number, 0 or more",
            "colour: unknown key",
            "kafka.: unknown key; did you mean 'kafka.'?",
            "topcs: unknown key; did you mean 'topics'?",
        ]
    );
}

#[test]
fn two_spellings_and_two_synonyms_are_refused_naming_both() {
    for (one, other) in [("topics", "subscribe"), ("topics", "Topics"), ("topics", "topics")] {
        let settings = Settings::from_iter([(one, "a"), (other, "b")]);
        let mut reader = KeyReader::new(&settings, KEYS);
        reader.required::<String>(&KEYS[0]);
        assert_eq!(messages(reader), [format!("{one}: '{one}' and '{other}' are the same key")]);
    }
}

#[test]
fn a_doubled_key_below_a_prefix_is_refused_but_another_spelling_is_another_key() {
    let settings = Settings::from_iter([("kafka.a.b", "1"), ("Kafka.a.b", "2"), ("kafka.A.b", "3")]);
    let mut reader = KeyReader::new(&settings, KEYS);
    let below = reader.below(&KEYS[2]);
    assert_eq!(below.keys().collect::<Vec<_>>(), ["A.b", "a.b"]);
    assert_eq!(messages(reader), ["Kafka.a.b: this key is given twice"]);
}

#[test]
fn values_are_read_by_kind_and_a_refusal_names_them() {
    assert_eq!(bool::parse_value(" True "), Ok(true));
    assert_eq!(bool::parse_value("yes").unwrap_err(), "'yes' is not true or false");
    assert_eq!(u16::parse_value("65536").unwrap_err(), "'65536' is not a whole number from 0 to 65535");
    assert_eq!(i64::parse_value("-3"), Ok(-3));
    assert_eq!(std::num::NonZeroU32::parse_value("0").unwrap_err(), "'0' is not a positive whole number");
    assert_eq!(Vec::<String>::parse_value(" a, ,b "), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(Vec::<u16>::parse_value("1,x").unwrap_err(), "'x' is not a whole number from 0 to 65535");
}
