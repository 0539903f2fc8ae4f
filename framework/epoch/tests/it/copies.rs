//! Copies of a checkpoint, and checkpoints of an older layout.

use std::path::Path;

use tidegate_epoch::Faults;
use tidegate_storage::object_store::{ObjectStoreExt, PutPayload};

use crate::world::{World, drain, four_epochs, model, write_by_hand};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to)
        } else {
            std::fs::copy(entry.path(), to).map(drop).unwrap()
        }
    }
}

/// A world whose checkpoint is a copy of another's, with the same input.
async fn copied() -> (World, World) {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1, 5, 21]);
    drain(&mut query).await.unwrap();
    let checkpoint = query;
    drop(checkpoint);
    let owner = world.checkpoint(&Faults::default()).await.unwrap();
    owner.sink_log("table").put_new("transactional.id", b"theirs").await.unwrap();
    owner.source_log("input").await.unwrap().put_new("0", b"entry").await.unwrap();
    drop(owner);
    let other = World::new();
    other.feed().add(&world.feed().values());
    copy(&world.root(), &other.root());
    (world, other)
}

async fn is_a_query_of_its_own(world: &World, mut copy: World) {
    let text = copy.start().await.err().unwrap().to_string();
    assert!(text.contains("it is a copy") && text.contains("adopt it to make a new query of it"), "{text}");
    copy.adopt = true;
    let theirs = world.checkpoint(&Faults::default()).await.unwrap();
    let adopted = copy.checkpoint(&Faults::default()).await.unwrap();
    let id = adopted.query_id().clone();
    assert_ne!(&id, theirs.query_id());
    assert!(adopted.generation() > 0, "attempts go on, with other names");
    assert_eq!(adopted.sink_log("table").list().await.unwrap(), [""; 0], "sinks see a new writer");
    assert_eq!(adopted.source_log("input").await.unwrap().get("0").await.unwrap().unwrap(), b"entry");
    drop(adopted);
    // Once it is at home, both flags change nothing.
    assert_eq!(copy.checkpoint(&Faults::default()).await.unwrap().query_id(), &id);
    copy.adopt = false;
    let mut query = copy.start().await.unwrap();
    assert_eq!(query.handle().id(), &id);
    copy.feed().add(&[30, 41]);
    drain(&mut query).await.unwrap();
    let (mut expected, _) = model(&copy.feed().values());
    let (before, _) = model(&[1, 5, 21]);
    expected.retain(|it| !before.contains(it) && it.0 <= 31_000);
    assert_eq!(copy.store().rows(), expected, "its state came along, and what had been written did not come again");
    drop(query);
    assert_eq!(tidegate_epoch::inspect::verify(&copy.location().unwrap()).await.unwrap(), []);
}

#[tokio::test]
async fn an_adopted_copy_is_a_query_of_its_own() {
    let (world, other) = copied().await;
    is_a_query_of_its_own(&world, other).await;
}

#[tokio::test]
async fn a_copy_on_an_object_store_can_be_adopted() {
    let (world, other) = copied().await;
    let mut remote = World::in_memory();
    remote.feed().add(&world.feed().values());
    let place = remote.location().unwrap();
    for (key, bytes) in other.everything().await {
        place.store().put(&place.path(&key), PutPayload::from(bytes)).await.unwrap();
    }
    // As if that object were the lock's file.
    place.store().delete(&place.path("state/owner")).await.unwrap();
    remote.adopt = false;
    is_a_query_of_its_own(&world, remote).await;
}

#[tokio::test]
async fn a_copy_whose_adoption_broke_off_is_a_copy_still() {
    let (_world, mut other) = copied().await;
    let metadata = other.file("metadata");
    other.adopt = true;
    drop(other.checkpoint(&Faults::default()).await.unwrap());
    assert_ne!(other.file("metadata"), metadata);
    // The location is the last that is written.
    write_by_hand(&other, "state/location", "/elsewhere");
    other.adopt = false;
    assert!(other.start().await.is_err());
    other.adopt = true;
    other.start().await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_of_version_1_is_raised() {
    let world = World::new();
    four_epochs(&world).await;
    let state = world.root().join("state");
    let snapshots: Vec<String> = world.list("state/snapshots");
    assert!(!snapshots.is_empty());
    for name in &snapshots {
        let (old, new) = (name.split('.').next().unwrap(), name);
        std::fs::rename(state.join("snapshots").join(new), state.join("snapshots").join(old)).unwrap();
        std::fs::remove_file(state.join(format!("snapshots/.{new}.crc"))).unwrap();
    }
    for folder in ["sources", "generations"] {
        std::fs::remove_dir_all(state.join(folder)).unwrap();
    }
    std::fs::write(state.join("names"), "[\"input\"]").unwrap();
    std::fs::write(state.join("generation"), "6").unwrap();
    std::fs::write(state.join("version"), "1").unwrap();
    for sidecar in [".metadata.crc", "state/.version.crc", "state/.location.crc"] {
        std::fs::remove_file(world.root().join(sidecar)).unwrap();
    }
    let mut query = world.start().await.unwrap();
    assert_eq!(world.list("state/snapshots"), snapshots);
    assert_eq!((world.file("state/version"), world.file("state/sources/0")), ("2".to_owned(), "input".to_owned()));
    assert_eq!(world.list("state/generations"), ["7"]);
    world.feed().add(&[60]);
    drain(&mut query).await.unwrap();
    drop(query);
    assert_eq!(tidegate_epoch::inspect::verify(&world.location().unwrap()).await.unwrap(), []);
    let (mut expected, _) = model(&world.feed().values());
    expected.retain(|it| it.0 <= 50_000);
    assert_eq!(world.store().rows(), expected);
}
