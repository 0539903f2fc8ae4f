//! Who may open a checkpoint, and where.

use tidegate_api::ErrorKind;
use tidegate_epoch::Faults;

use crate::world::{World, drain, names};

#[tokio::test]
async fn a_second_owner_is_refused_by_name() {
    let world = World::new();
    let query = world.start().await.unwrap();
    let error = world.checkpoint(&Faults::default()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    let run = query.handle().run_id().to_owned();
    let process = std::process::id();
    assert!(text.contains(&world.root().canonicalize().unwrap().display().to_string()), "{text}");
    assert!(text.contains(&format!("in use by run {run} (process {process} on ")), "{text}");
    assert!(text.contains("generation 0"), "{text}");
    drop(query);
    assert_eq!(world.checkpoint(&Faults::default()).await.unwrap().generation(), 1);
}

#[tokio::test]
async fn a_copy_is_refused() {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1]);
    drain(&mut query).await.unwrap();
    drop(query);
    let moved = world.root().with_file_name("moved");
    std::fs::rename(world.root(), &moved).unwrap();
    std::os::unix::fs::symlink(&moved, world.root()).unwrap();
    let text = world.start().await.err().unwrap().to_string();
    assert!(text.contains("/moved belongs at ") && text.contains("/checkpoint: it is a copy"), "{text}");
    std::fs::remove_file(world.root()).unwrap();
    std::fs::rename(&moved, world.root()).unwrap();
    world.start().await.unwrap();
}

#[tokio::test]
async fn the_identity_stays_and_the_run_changes() {
    let world = World::new();
    let first = world.start().await.unwrap().handle();
    let second = world.start().await.unwrap().handle();
    assert_eq!(first.id(), second.id());
    assert_ne!(first.run_id(), second.run_id());
    assert!(world.file("metadata").contains(&*first.id().0));
}

#[tokio::test]
async fn a_source_keeps_its_index_for_ever() {
    let world = World::new();
    let checkpoint = world.checkpoint(&Faults::default()).await.unwrap();
    let put =
        async |name: &str| checkpoint.source_log(name).await.unwrap().put_new("0", name.as_bytes()).await.unwrap();
    assert!(put("b").await);
    assert!(put("a").await);
    drop(checkpoint);
    let checkpoint = world.checkpoint(&Faults::default()).await.unwrap();
    let log = checkpoint.source_log("a").await.unwrap();
    assert_eq!(log.get("0").await.unwrap().unwrap(), b"a");
    assert!(!log.put_new("0", b"other").await.unwrap(), "what is there stays");
    assert_eq!(log.list().await.unwrap(), ["0"]);
    assert_eq!((world.file("sources/0/0"), world.file("sources/1/0")), ("b".to_owned(), "a".to_owned()));
    assert_eq!(names(&world.root().join("sources/1")), [".0.crc", "0"], "no temporary file is left");
    log.remove("0").await.unwrap();
    assert_eq!(log.get("0").await.unwrap(), None);
    assert!(log.put_new("../x", b"").await.is_err());
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_swept_away() {
    let world = World::new();
    drop(world.start().await.unwrap());
    let leftover = world.root().join("state/wal/.0.0.0.tmp");
    std::fs::write(&leftover, "half").unwrap();
    world.start().await.unwrap();
    assert!(!leftover.exists());
}
