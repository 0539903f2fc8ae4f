use super::*;

fn place(name: &str, number: u32) -> PartitionId {
    PartitionId { name: name.into(), number }
}

#[test]
fn json_is_sparks_with_partitions_in_numeric_order() {
    let offset: KafkaOffset = [(place("b", 10), 7), (place("b", 2), 5), (place("a", 0), 1)].into_iter().collect();
    let text = serde_json::to_string(&offset).unwrap();
    assert_eq!(text, r#"{"a":{"0":1},"b":{"2":5,"10":7}}"#);
    assert_eq!(offset.to_string(), text);
    assert_eq!(serde_json::from_str::<KafkaOffset>(&text).unwrap(), offset);
    assert_eq!(KafkaOffset::deserialize(&serde_json::from_str::<serde_json::Value>(&text).unwrap()).unwrap(), offset);
    assert_eq!(offset.get(&place("b", 10)), Some(7));
    assert_eq!(offset.get(&place("b", 1)), None);
}

#[test]
fn json_that_is_no_offset_is_refused() {
    for text in [r#"{"t":{"x":1}}"#, r#"{"t":{"-1":1}}"#, r#"{"t":[1]}"#, r#"{"t":{"0":"1"}}"#, "7"] {
        assert!(serde_json::from_str::<KafkaOffset>(text).is_err(), "{text}");
    }
}

#[test]
fn starting_offsets_are_words_or_json() {
    let parse = StartingOffsets::parse_value;
    assert_eq!(parse("earliest"), Ok(StartingOffsets::All(StartAt::Earliest)));
    assert_eq!(parse(" Latest "), Ok(StartingOffsets::All(StartAt::Latest)));
    let each =
        [(place("t", 0), StartAt::Offset(23)), (place("t", 1), StartAt::Latest), (place("t", 2), StartAt::Earliest)];
    assert_eq!(parse(r#"{"t":{"0":23,"1":-1,"2":-2}}"#), Ok(StartingOffsets::Each(each.into())));
    assert!(parse("newest").unwrap_err().contains("earliest, latest or JSON"));
    assert!(parse(r#"{"t":{"0":-3}}"#).unwrap_err().contains("-3"));
}
