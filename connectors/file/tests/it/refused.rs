//! What is refused, and with which words.

use std::fs;

use tidegate_api::prelude::*;

use crate::support::{World, at, batches, plan};

async fn refusal(world: &World, path: &str, more: &[(&str, &str)]) -> String {
    let error = world.build(path, more).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[tokio::test]
async fn settings_are_checked() {
    let world = World::new();
    for (key, value, expected) in [
        ("maxFilesPerTrigger", "0", "maxFilesPerTrigger: '0' is not a positive whole number"),
        ("maxBytesPerTrigger", "-1", "maxBytesPerTrigger: '-1' is not a positive whole number"),
        ("format", "csv", "format: 'csv' is not json or text"),
        ("discardCachedInputRatio", "1.5", "discard.cached.input.ratio: '1.5' is not a number from 0 to 1"),
        ("max.file.age", "old", "max.file.age: 'old' is not a duration"),
        ("cleanSource", "delete", "cleanSource: unknown key"),
        ("pth", "in", "pth: unknown key; did you mean 'path'?"),
    ] {
        let text = refusal(&world, "in", &[(key, value)]).await;
        assert!(text.starts_with(expected), "{text}");
    }
    let both = [("max.files.per.trigger", "1"), ("max.bytes.per.trigger", "1")];
    let text = refusal(&world, "in", &both).await;
    assert!(text.contains("max.files.per.trigger") && text.contains("max.bytes.per.trigger"), "{text}");
    let both = [("max.files.per.trigger", "1"), ("max.files.per.epoch", "1")];
    assert!(refusal(&world, "in", &both).await.contains("are the same key"));
    assert!(refusal(&world, " ", &[]).await.starts_with("path: is empty"));
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_named() {
    let world = World::new();
    let root = world.folder.path().display().to_string();
    assert_eq!(refusal(&world, "inn", &[]).await, format!("path '{root}/inn': {root}/inn does not exist"));
    let text = refusal(&world, "inn/*.json", &[]).await;
    assert_eq!(text, format!("path '{root}/inn/*.json': {root}/inn does not exist"));
}

#[tokio::test]
async fn what_would_be_read_wrongly_is_refused() {
    for (name, expected) in [
        ("day=1/a.json", "in/day=1 is named key=value"),
        ("_spark_metadata/0", "in was written by Spark's file sink"),
        ("a.json.gz", "in/a.json.gz is compressed (.gz)"),
    ] {
        let world = World::new();
        world.write(name, 0, "x");
        let mut source = world.source(&[]).await;
        let error = source.plan(&at(-1), &ReadLimit::NONE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_vanished_is_named() {
    let world = World::new();
    world.write("a", 0, "a");
    let mut source = world.source(&[]).await;
    plan(&mut *source, -1, ReadLimit::NONE).await;
    fs::remove_file(world.path("a")).unwrap();
    let error = batches(&*source, OffsetRange { start: at(-1), end: at(0) }, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let path = world.path("a").display().to_string();
    assert!(
        error.to_string().starts_with(&format!("file {path} is gone; entry 0 of the file log needs it")),
        "{error}"
    );
}
