use super::*;
use crate::log::SourceRange;
use crate::watermark::WatermarkPolicy;
use serde_json::json;
use tidegate_api::{AttemptId, OffsetJson};

fn plan(sources: &[(&str, usize, serde_json::Value)]) -> Plan {
    let range = |(name, index, end): &(&str, usize, serde_json::Value)| SourceRange {
        name: (*name).into(),
        index: *index,
        start: OffsetJson(json!(0)),
        end: OffsetJson(end.clone()),
    };
    Plan {
        epoch: 3,
        sources: sources.iter().map(range).collect(),
        time_ms: 1_719_343_083_746,
        write_time_us: 1_719_343_083_746_000,
        watermark_ms: Some(5000),
        late_watermark_ms: Some(0),
        groups: Vec::new(),
        late_groups: Vec::new(),
        ceiling_ms: None,
        watermark_policy: WatermarkPolicy::Max,
        idle: Vec::new(),
        following: Vec::new(),
        seed: 1,
        zone: "UTC".to_owned(),
        digest: String::new(),
        statics: Vec::new(),
        removed: Vec::new(),
        suppress: false,
        own_rows: crate::log::OwnRows::Later,
    }
}

const HEAD: &str = concat!(
    "v1\n",
    r#"{"batchWatermarkMs":5000,"batchTimestampMs":1719343083746,"#,
    r#""conf":{"spark.sql.streaming.multipleWatermarkPolicy":"max"}}"#,
);

#[test]
fn sources_stand_on_the_line_of_their_index() {
    let kafka = json!({"topic": {"0": 534, "1": 134}});
    let text = offsets_text(&plan(&[("b", 2, json!(7)), ("a", 0, kafka)])).unwrap();
    assert_eq!(text, format!("{HEAD}\n{{\"topic\":{{\"0\":534,\"1\":134}}}}\n-\n7"));
    let text = offsets_text(&plan(&[("a", 0, json!({"logOffset": 4}))])).unwrap();
    assert_eq!(text, format!("{HEAD}\n{{\"logOffset\":4}}"));
}

#[test]
fn a_commit_holds_the_next_watermark() {
    let attempt = AttemptId { generation: 0, n: 0 };
    let text = |next| commit_text(&Commit { epoch: 3, attempt, next_watermark_ms: next }).unwrap();
    assert_eq!(text(Some(-5)), "v1\n{\"nextBatchWatermarkMs\":-5}");
    assert_eq!(text(None), "v1\n{\"nextBatchWatermarkMs\":0}");
}
