//! Keys as users write them.

use super::*;
use tidegate_api::Settings;

#[test]
fn contact_points() {
    let cases = [
        ("db1", "db1:9042"),
        ("db1:9043", "db1:9043"),
        ("10.0.0.1", "10.0.0.1:9042"),
        ("::1", "[::1]:9042"),
        ("[::1]:9044", "[::1]:9044"),
        ("[::1]", "[::1]:9042"),
    ];
    for (text, address) in cases {
        assert_eq!(ContactPoint::parse_value(text), Ok(ContactPoint(address.into())), "{text}");
    }
    for text in ["", ":9042", "db1:", "db1:99999", "http://db1:9042", "a b"] {
        assert!(ContactPoint::parse_value(text).is_err(), "{text}");
    }
}

#[test]
fn defaults_and_spellings() {
    let least = [("contactPoints", "a, b:1"), ("keyspace", "k"), ("table", "t")];
    let config = CassandraConfig::parse(&Settings::from_iter(least)).unwrap();
    assert_eq!(config.contact_points, [ContactPoint("a:9042".into()), ContactPoint("b:1".into())]);
    assert_eq!(config.consistency.0, Consistency::LocalQuorum);
    assert_eq!((config.delivery, config.future_cells), (Delivery::ExactlyOnce, FutureCells::Refuse));
    assert_eq!((config.nulls, config.max_in_flight.get()), (None, 128));
    let more =
        [("nulls", "TOMBSTONE"), ("delivery", "at_least_once"), ("consistency", "LOCAL-ONE"), ("password", "pst!")];
    let config = CassandraConfig::parse(&Settings::from_iter(least.into_iter().chain(more))).unwrap();
    assert_eq!((config.nulls, config.delivery), (Some(Nulls::Tombstone), Delivery::AtLeastOnce));
    assert_eq!(config.consistency.0, Consistency::LocalOne);
    assert!(!format!("{config:?}").contains("pst!"));
    let issues = CassandraConfig::parse(&Settings::from_iter([("nulls", "keep")])).unwrap_err();
    let keys: Vec<_> = issues.iter().map(|it| it.key.as_str()).collect();
    assert!(["nulls", "contact.points", "keyspace", "table"].iter().all(|it| keys.contains(it)), "{issues:?}");
}
