//! Folders and settings that are refused, with words that say what to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field};
use tidegate_api::prelude::*;
use tidegate_file::{File, FileSinkConfig};

use crate::sink_support::{Table, epoch, rows, run, settings, spec};

async fn refused(table: &Table) -> String {
    let error = table.try_open("out").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let text = error.to_string();
    assert!(text.starts_with("file sink "), "{text}");
    text
}

fn issues(changes: &[(&str, &str)], spec: &SinkSpec) -> String {
    let mut all: BTreeMap<String, String> = settings("parquet", "spark").into_iter().collect();
    all.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    match FileSinkConfig::parse(&Settings::from_iter(all)) {
        Ok(config) => <File as SinkConnector>::accepts(&config, spec).iter().map(|it| format!("{it}\n")).collect(),
        Err(issues) => issues.iter().map(|it| format!("{it}\n")).collect(),
    }
}

#[test]
fn settings_that_can_not_work() {
    for mode in [OutputMode::Update, OutputMode::Complete] {
        let text = issues(&[], &SinkSpec { mode, ..spec() });
        assert_eq!(text, format!("output.mode: the sink does not take this mode: file takes append, not {mode}\n"));
    }
    let cases = [
        (("path", " "), "path: is empty"),
        (("format", "orc"), "'orc' is not parquet or json"),
        (("compression", "lzo"), "'lzo' is not snappy, zstd or none"),
        (("manifest.format", "hive"), "'hive' is not spark or tidegate"),
        (("max.rows.per.file", "0"), "max.rows.per.file"),
        (("pth", "x"), "path"),
        (("path", "ftp://host/x"), "expected a path, or a URL of s3"),
    ];
    for (change, told) in cases {
        let text = issues(&[change], &spec());
        assert!(text.contains(told), "{change:?}: {text}");
    }
    let text = issues(&[("format", "json"), ("compression", "snappy")], &spec());
    assert!(text.contains("compression: files of JSON are not compressed"), "{text}");
    assert_eq!(issues(&[("format", "json"), ("compression", "none")], &spec()), "");
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Null, true)]));
    assert!(issues(&[], &SinkSpec { schema, ..spec() }).contains("sql: column 'n' has no type"));
}

#[test]
fn defaults_are_sparks() {
    let config = FileSinkConfig::parse(&Settings::from_iter([("path", "t")])).unwrap();
    let text = format!("{config:?}");
    for part in ["Parquet", "Spark", "append_foreign: false"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn damaged_manifests_are_named() {
    for (name, text) in [
        ("3", Some("v1\n{\"path\":\"file:///x/part-0\",\"si")),
        ("3", Some("v1\n\u{0}\u{0}")),
        ("3", Some("")),
        ("3", Some("v2\n{}")),
        ("3", None),
        ("9.compact", None),
        ("9.compact", Some("v1\ngarbage")),
        (".owner", Some("{")),
        (".owner", None),
    ] {
        let table = Table::disk("json", "spark");
        let sink = table.open().await;
        let count = if name == "9.compact" { 12 } else { 5 };
        for number in 0..count {
            run(&sink, &epoch(number, 1), &[rows([number as i64])]).await.unwrap();
        }
        let path = format!("_spark_metadata/{name}");
        match text {
            Some(text) => table.put(&path, text).await,
            None => table.remove(&path).await,
        }
        let told = refused(&table).await;
        let named = if name == ".owner" && text.is_none() { "is not the folder" } else { path.as_str() };
        assert!(told.contains(named), "{name} {text:?}: {told}");
    }
    for text in ["{", "{\"version\":2,\"epoch\":0,\"attempt\":\"1.1\",\"files\":[]}", ""] {
        let table = Table::memory("json", "tidegate");
        run(&table.open().await, &epoch(0, 1), &[rows([0])]).await.unwrap();
        let entry = table.all().await.into_iter().find(|it| it.starts_with("_tidegate/") && it.ends_with("-0.json"));
        let entry = entry.unwrap();
        table.put(&entry, text).await;
        let told = refused(&table).await;
        assert!(told.contains(&entry), "{text}: {told}");
    }
}

#[tokio::test]
async fn a_manifest_damaged_while_the_query_runs_stops_it() {
    let table = Table::disk("json", "spark");
    let sink = table.open().await;
    run(&sink, &epoch(0, 1), &[rows([0])]).await.unwrap();
    table.put("_spark_metadata/1", "v1\n{").await;
    let error = run(&sink, &epoch(1, 1), &[rows([1])]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("_spark_metadata/1"), "{error}");
}

#[tokio::test]
async fn another_folder_at_the_same_path() {
    for table in [Table::disk("json", "spark"), Table::memory("json", "spark")] {
        run(&table.open().await, &epoch(0, 1), &[rows([0])]).await.unwrap();
        for path in table.all().await {
            table.remove(&path).await;
        }
        let told = refused(&table).await;
        assert!(told.contains("is not the folder that the checkpoint has written to"), "{told}");
        // A new checkpoint takes it.
        let mut table = table;
        let log = std::mem::take(&mut table.log);
        run(&table.open().await, &epoch(0, 1), &[rows([0])]).await.unwrap();
        table.log = log;
        assert!(refused(&table).await.contains("its identity is another one"));
    }
}

#[tokio::test]
async fn the_format_of_a_manifest_does_not_change() {
    let table = Table::disk("json", "spark");
    run(&table.open().await, &epoch(0, 1), &[rows([0])]).await.unwrap();
    let table = table.with("manifest.format", "tidegate");
    assert!(refused(&table).await.contains("has a manifest in _spark_metadata, expected _tidegate"));
}

#[tokio::test]
async fn a_path_that_is_a_file() {
    let table = Table::disk("json", "spark");
    let path = table.location.local().unwrap();
    std::fs::remove_dir(path).unwrap();
    std::fs::write(path, "x").unwrap();
    assert!(refused(&table).await.contains("can't be made"));
}

#[tokio::test]
async fn use_before_open() {
    let sink = Table::memory("json", "spark").build(&spec()).unwrap();
    let error = sink.writer(&epoch(0, 1), 0).await.err().unwrap();
    assert!(error.kind() == ErrorKind::Internal && error.to_string().contains("before it is opened"), "{error}");
}
