use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use tidegate_api::{Changes, ConfigDef, Settings};

use super::*;

fn spec(mode: OutputMode, fields: Vec<Field>) -> SinkSpec {
    SinkSpec { schema: Arc::new(Schema::new(fields)), mode, keys: Vec::new(), changes: Changes::Append, tasks: 1 }
}

fn config(pairs: &[(&str, &str)]) -> DeltaConfig {
    DeltaConfig::parse(&pairs.iter().copied().collect::<Settings>()).unwrap()
}

fn issues(pairs: &[(&str, &str)], spec: &SinkSpec) -> Vec<String> {
    Delta::accepts(&config(pairs), spec).iter().map(ToString::to_string).collect()
}

#[test]
fn takes_append_only() {
    let fields = vec![Field::new("n", DataType::Int64, true)];
    assert!(issues(&[("path", "t")], &spec(OutputMode::Append, fields.clone())).is_empty());
    for mode in [OutputMode::Update, OutputMode::Complete] {
        let found = issues(&[("path", "t")], &spec(mode, fields.clone()));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("the sink does not take this mode") && found[0].contains(&mode.to_string()));
    }
}

#[test]
fn paths() {
    let fields = vec![Field::new("n", DataType::Int64, true)];
    let spec = spec(OutputMode::Append, fields);
    assert!(issues(&[("path", "file:///tmp/t")], &spec).is_empty());
    assert!(issues(&[("path", "s3://bucket/t"), ("storage.aws_region", "r")], &spec).is_empty());
    assert!(issues(&[("path", "s3://bucket/t"), ("storage.aws_regoin", "r")], &spec)[0].contains("aws_regoin"));
    assert!(issues(&[("path", "t"), ("storage.aws_region", "r")], &spec)[0].contains("takes no storage settings"));
    assert!(issues(&[("path", "ftp://host/t")], &spec)[0].contains("ftp://host/t"));
    assert!(issues(&[("path", "  ")], &spec)[0].contains("is empty"));
    let local = |path: &str| location(&config(&[("path", path)]), Path::new("/data")).unwrap();
    assert_eq!(local("a/b").local(), Some(Path::new("/data/a/b")));
    assert_eq!(local(" /x/b ").local(), Some(Path::new("/x/b")));
}

#[test]
fn columns_that_a_table_can_not_hold() {
    let fields = vec![
        Field::new("count(*)", DataType::Int64, true),
        Field::new("a", DataType::Time64(TimeUnit::Microsecond), true),
        Field::new("A", DataType::Int32, true),
        Field::new("v", DataType::Null, true),
    ];
    let found = issues(&[("path", "t")], &spec(OutputMode::Append, fields)).join("\n");
    assert!(found.contains("column 'count(*)'") && found.contains("AS"), "{found}");
    assert!(found.contains("column 'a' has type Time64"), "{found}");
    assert!(found.contains("columns 'a' and 'A' differ in case only"), "{found}");
    assert!(found.contains("column 'v' has no type"), "{found}");
    assert!(issues(&[("path", "t")], &spec(OutputMode::Append, Vec::new()))[0].contains("no columns"));
}

#[test]
fn partition_columns() {
    let fields = vec![Field::new("n", DataType::Float64, true), Field::new("p", DataType::Utf8, true)];
    let spec = spec(OutputMode::Append, fields);
    assert!(issues(&[("path", "t"), ("partition.by", "P")], &spec).is_empty());
    let all = |by: &str| issues(&[("path", "t"), ("partition.by", by)], &spec).join("\n");
    assert!(all("q").contains("column 'q' is not in the query, which has n, p"));
    assert!(all("p,P").contains("named twice"));
    assert!(all("n").contains("column 'n' has type double"));
    assert!(all("p,n").contains("names all columns"));
}
