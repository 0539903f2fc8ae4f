use tidegate_api::ConfigValue;

use super::*;

fn marks(all: &[(i64, i64)]) -> BTreeMap<PartitionId, Mark> {
    let place = |number| PartitionId { name: "t".into(), number };
    (0..).zip(all).map(|(at, (low, high))| (place(at), Mark { low: *low, high: *high })).collect()
}

fn resolved(setting: &str, fail: bool) -> Result<String> {
    let starting = StartingOffsets::parse_value(setting).unwrap();
    Ok(resolve(&starting, &marks(&[(5, 10), (0, 3)]), fail)?.to_string())
}

#[test]
fn words_and_marks_become_offsets() {
    assert_eq!(resolved("earliest", true).unwrap(), r#"{"t":{"0":5,"1":0}}"#);
    assert_eq!(resolved("latest", true).unwrap(), r#"{"t":{"0":10,"1":3}}"#);
    assert_eq!(resolved(r#"{"t":{"0":7,"1":-1}}"#, true).unwrap(), r#"{"t":{"0":7,"1":3}}"#);
    assert_eq!(resolved(r#"{"t":{"0":-2,"1":3}}"#, true).unwrap(), r#"{"t":{"0":5,"1":3}}"#);
}

#[test]
fn all_partitions_must_be_named_and_no_others() {
    for setting in [r#"{"t":{"0":7}}"#, r#"{"t":{"0":7,"1":0,"2":0}}"#] {
        let text = resolved(setting, false).unwrap_err().to_string();
        assert!(text.ends_with("but the topics have t [0], t [1]"), "{text}");
    }
}

#[test]
fn an_offset_that_is_gone_is_refused_or_moved() {
    let text = resolved(r#"{"t":{"0":4,"1":0}}"#, true).unwrap_err().to_string();
    assert!(text.contains("t [0] has no offset 4, only 5 to 10") && text.contains("fail.on.data.loss"), "{text}");
    assert_eq!(resolved(r#"{"t":{"0":4,"1":9}}"#, false).unwrap(), r#"{"t":{"0":5,"1":3}}"#);
}

#[test]
fn the_file_is_sparks() {
    let offset: KafkaOffset = serde_json::from_str(r#"{"t":{"0":4}}"#).unwrap();
    assert_eq!(decode(b"\0v1\n{\"t\":{\"0\":4}}").unwrap(), offset);
    for bytes in [&b"v1\n{\"t\":{\"0\":4}}"[..], b"\0v2\n{}", b"", b"\0v1\nx"] {
        assert!(decode(bytes).unwrap_err().to_string().contains("sources/<i>/0"));
    }
}

async fn taken(offset: Option<&str>, initial: Option<&[u8]>) -> Result<Option<String>> {
    let log = std::sync::Arc::new(tidegate_testkit::MemoryLog::default());
    if let Some(bytes) = initial {
        log.put_new(KEY, bytes).await.unwrap();
    }
    let found = SparkPosition::new(offset.map(str::to_owned), log);
    Ok(import(&found).await?.map(|it| it.offset.to_string()))
}

#[tokio::test]
async fn sparks_position_is_taken_over() {
    let text = r#"{"t":{"2":7,"10":0},"a":{"0":9223372036854775807}}"#;
    let found = taken(Some(text), None).await.unwrap().unwrap();
    assert_eq!(found, r#"{"a":{"0":9223372036854775807},"t":{"2":7,"10":0}}"#);
    let initial = b"\0v1\n{\"t\":{\"0\":3}}".as_slice();
    assert_eq!(taken(None, Some(initial)).await.unwrap().unwrap(), r#"{"t":{"0":3}}"#, "where it would have begun");
    assert_eq!(taken(None, None).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_no_position_of_kafka_is_refused() {
    let wrong = [
        r#"{"logOffset":3}"#,
        r#"{"t":{"0":-1}}"#,
        r#"{"t":{"x":1}}"#,
        r#"{"t":{"0":1.5}}"#,
        "7",
        "",
        "-",
        "{\"t\":{\"0\":",
        r#"{"t":{"0":9223372036854775808}}"#,
        "null",
        r#"[{"t":{"0":1}}]"#,
    ];
    for text in wrong {
        let said = taken(Some(text), None).await.unwrap_err().to_string();
        assert!(said.contains(&format!("'{text}' is not the position of a kafka source")), "{said}");
    }
    assert!(taken(None, Some(b"v1\n{}")).await.is_err());
}
