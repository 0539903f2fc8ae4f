//! Damaged, missing and foreign files: each is named, nothing is lost and nothing is deleted.

use std::path::Path;

use tidegate_api::{Error, ErrorKind};

use crate::world::{Store, World, drain, names, write_by_hand};

async fn world_with_epochs(epochs: usize) -> World {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    for at in 0..epochs {
        world.feed().add(&[i64::try_from(at).unwrap() + 1]);
        drain(&mut query).await.unwrap();
    }
    world
}

async fn refusal(world: &World) -> Error {
    match world.start().await {
        Ok(_) => panic!("the checkpoint was taken"),
        Err(e) => e,
    }
}

fn all_files(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for name in names(root) {
        let path = root.join(&name);
        // Both change with every start.
        if name == "owner" || name == "generations" {
            continue;
        }
        if path.is_dir() {
            files.extend(all_files(&path).into_iter().map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
        } else {
            files.push((name, std::fs::read(&path).unwrap()));
        }
    }
    files
}

async fn each_flip_is_found(world: &World, file: &str) {
    let path = world.root().join(file);
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, &damaged).unwrap();
        let before = all_files(&world.root());
        let error = refusal(world).await;
        assert_eq!(error.kind(), ErrorKind::Config, "byte {at}: {error}");
        assert!(error.to_string().contains(file), "byte {at}: {error}");
        assert_eq!(all_files(&world.root()), before, "byte {at}: a refused start changed files");
    }
    for size in [0, 1, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..size]).unwrap();
        assert!(refusal(world).await.to_string().contains(file), "cut to {size}");
    }
    std::fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    assert!(refusal(world).await.to_string().contains(file), "a byte more");
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(world.store().commits(), u32::try_from(world.list("commits").len()).unwrap(), "no sink was touched");
    world.start().await.unwrap();
}

#[tokio::test]
async fn a_flipped_bit_in_the_newest_record_is_found() {
    each_flip_is_found(&world_with_epochs(1).await, "state/wal/0.0.0").await;
}

#[tokio::test]
async fn a_flipped_bit_in_an_older_record_is_found() {
    let world = world_with_epochs(3).await;
    std::fs::remove_dir_all(world.root().join("state/snapshots")).unwrap();
    each_flip_is_found(&world, "state/wal/1.0.0").await;
}

#[tokio::test]
async fn a_flipped_bit_in_a_snapshot_is_found() {
    let world = world_with_epochs(3).await;
    assert_eq!(world.list("state/snapshots"), ["1.0.0"]);
    each_flip_is_found(&world, "state/snapshots/1.0.0").await;
}

/// Another identity would make another writer of the query, and its sinks would show rows twice.
#[tokio::test]
async fn an_identity_that_does_not_fit_its_checksum_is_refused() {
    let world = world_with_epochs(2).await;
    let whole = world.file("metadata");
    let id = whole.find("\":\"").unwrap() + 3;
    let other = if whole.as_bytes()[id] == b'1' { "2" } else { "1" };
    let damaged = format!("{}{other}{}", &whole[..id], &whole[id + 1..]);
    std::fs::write(world.root().join("metadata"), damaged).unwrap();
    let text = refusal(&world).await.to_string();
    assert!(text.contains("metadata does not match its checksum, .metadata.crc"), "{text}");
    // A checksum that a loss of power took, or tore, says nothing.
    std::fs::write(world.root().join("metadata"), whole).unwrap();
    for torn in [&[][..], &[0; 12], b"crc"] {
        std::fs::write(world.root().join(".metadata.crc"), torn).unwrap();
        drop(world.start().await.unwrap());
    }
}

#[tokio::test]
async fn a_missing_record_is_a_gap() {
    let world = world_with_epochs(3).await;
    std::fs::remove_dir_all(world.root().join("state/snapshots")).unwrap();
    std::fs::remove_file(world.root().join("state/wal/1.0.0")).unwrap();
    let text = refusal(&world).await.to_string();
    assert!(text.contains("state/wal/1.0.0") && text.contains("missing"), "{text}");
}

#[tokio::test]
async fn lost_records_are_not_written_again() {
    let world = world_with_epochs(3).await;
    std::fs::remove_file(world.root().join("state/wal/2.0.0")).unwrap();
    let text = refusal(&world).await.to_string();
    assert!(text.contains("has epoch 2 in offsets or commits, but the newest record in state/wal is 1"), "{text}");
}

#[tokio::test]
async fn logs_without_identity_are_refused() {
    let world = world_with_epochs(1).await;
    std::fs::remove_file(world.root().join("metadata")).unwrap();
    let text = refusal(&world).await.to_string();
    assert!(text.starts_with("STREAMING_CHECKPOINT_MISSING_METADATA_FILE"), "{text}");
    assert!(!world.root().join("metadata").exists(), "a new identity would make a new writer of it");
}

#[tokio::test]
async fn a_folder_of_spark_is_refused() {
    let world = World::new();
    std::fs::create_dir_all(world.root().join("offsets")).unwrap();
    std::fs::write(world.root().join("metadata"), "{\"id\":\"e41911da-47c9-4560-a95d-e2ab97f2bc85\"}").unwrap();
    std::fs::write(world.root().join("offsets/0"), "v1\n{}\n1").unwrap();
    let text = refusal(&world).await.to_string();
    assert!(text.contains("has logs but no file 'state/version'"), "{text}");
}

#[tokio::test]
async fn a_newer_layout_is_refused() {
    let world = world_with_epochs(1).await;
    write_by_hand(&world, "state/version", "3");
    let text = refusal(&world).await.to_string();
    assert!(text.contains("found state version 3, expected at most 2"), "{text}");
}

#[tokio::test]
async fn text_files_that_a_power_failure_took_are_written_again() {
    let world = world_with_epochs(2).await;
    let (offsets, commits) = (world.file("offsets/0"), world.file("commits/1"));
    std::fs::write(world.root().join("offsets/0"), "").unwrap();
    std::fs::remove_file(world.root().join("commits/0")).unwrap();
    std::fs::write(world.root().join("commits/1"), "v1\n").unwrap();
    std::fs::remove_dir_all(world.root().join("state/snapshots")).unwrap();
    world.start().await.unwrap();
    assert_eq!((world.file("offsets/0"), world.file("commits/1")), (offsets, commits));
    assert_eq!(world.list("commits"), ["0", "1"]);
    assert_eq!(world.store().attempts().len(), 2, "the sinks said that epoch 1 is theirs");
}

#[tokio::test]
async fn a_snapshot_alone_says_that_its_epoch_is_decided() {
    let world = world_with_epochs(2).await;
    assert_eq!(world.list("state/snapshots"), ["1.0.0"]);
    std::fs::remove_file(world.root().join("commits/1")).unwrap();
    world.store().forget_epochs();
    let mut query = world.start().await.unwrap();
    drain(&mut query).await.unwrap();
    assert_eq!(world.store().attempts().len(), 2, "epoch 1 did not run again");
    assert_eq!(world.list("commits"), ["0", "1"]);
}

#[tokio::test]
async fn a_sink_ahead_of_its_checkpoint_is_refused() {
    let world = world_with_epochs(2).await;
    world.store().pretend(2, "0.0");
    let text = refusal(&world).await.to_string();
    assert!(text.contains("sink table shows epoch 2, the newest in the checkpoint is 1"), "{text}");
    let world = World::new();
    world.store().pretend(0, "0.0");
    let text = refusal(&world).await.to_string();
    assert!(text.contains("sink table shows epoch 0, the newest in the checkpoint is none"), "{text}");
}

#[tokio::test]
async fn an_attempt_without_record_is_refused() {
    let world = world_with_epochs(1).await;
    std::fs::remove_dir_all(world.root().join("state/snapshots")).unwrap();
    let mut world = world;
    world.stores = vec![("table", Store::default())];
    world.store().pretend(0, "7.0");
    let text = refusal(&world).await.to_string();
    assert!(text.contains("sink table shows epoch 0 of attempt 7.0, which has no record here"), "{text}");
}

#[tokio::test]
async fn a_checkpoint_of_other_sources_is_refused() {
    let mut world = world_with_epochs(1).await;
    world.feeds = vec![("more", crate::world::Feed::default())];
    let text = refusal(&world).await.to_string();
    assert!(text.contains("it has offsets of source 'input', this query has 'more'"), "{text}");
    assert_eq!(world.store().opens(), 1, "no sink was opened");
}

#[tokio::test]
async fn offsets_that_are_not_of_this_source_are_refused() {
    let world = world_with_epochs(1).await;
    let query = {
        let mut query = world.build_with_source("input", Box::new(crate::world::Letters)).await.unwrap();
        query.start().await
    };
    let error = query.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("source input: 1 does not fit this connector"), "{error}");
}

#[tokio::test]
async fn a_lost_list_of_source_names_is_noticed() {
    let mut world = World::new();
    world.feeds.push(("more", crate::world::Feed::default()));
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1]);
    drain(&mut query).await.unwrap();
    drop(query);
    for (index, name) in [(0, "more"), (1, "input")] {
        write_by_hand(&world, &format!("state/sources/{index}"), name);
    }
    let text = refusal(&world).await.to_string();
    assert!(text.contains("source input: its records have index 0, state/sources has 1"), "{text}");
}
