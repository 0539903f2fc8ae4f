//! What an old owner does once another has taken over: nothing that anybody sees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_api::ErrorKind;
use tidegate_epoch::{Faults, Step};

use crate::world::{World, drain, model};

const FOLDER: &str = "TIDEGATE_TEST_STOPPED_FOLDER";

fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.extend(std::fs::read(&path).ok().map(|bytes| (path, bytes)));
        }
    }
    found
}

#[tokio::test]
async fn an_old_owner_is_fenced_at_its_next_epoch() {
    for mut world in [World::new(), World::in_memory()] {
        let mut old = world.start().await.unwrap();
        world.feed().add(&[1]);
        drain(&mut old).await.unwrap();
        world.take_over = true;
        let mut new = world.start().await.unwrap();
        world.feed().add(&[3]);
        drain(&mut new).await.unwrap();
        let (before, commits) = (world.everything().await, world.store().attempts());
        assert_eq!(commits.len(), 2, "{commits:?}");
        world.feed().add(&[30]);
        let error = old.step().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        drop(old);
        let after = world.everything().await;
        for (key, bytes) in before.iter().filter(|(key, _)| !key.ends_with(".beat")) {
            assert_eq!(after.get(key), Some(bytes), "{key} was changed or removed");
        }
        assert_eq!(world.store().attempts(), commits, "the old owner shows nothing more");
        drain(&mut new).await.unwrap();
        world.feed().add(&[60]);
        drain(&mut new).await.unwrap();
        let (mut expected, _) = model(&world.feed().values());
        expected.retain(|(end, _)| *end <= 55_000);
        assert_eq!(world.store().rows(), expected);
    }
}

#[tokio::test]
async fn a_checkpoint_on_an_object_store_goes_through_restarts() {
    let mut world = World::in_memory();
    world.settings.no_data_epochs = false;
    world.settings.min_epochs_to_retain = 2;
    for at in 0..12 {
        let mut query = world.start().await.unwrap();
        world.feed().add(&[at * 7]);
        drain(&mut query).await.unwrap();
    }
    let (mut expected, _) = model(&world.feed().values());
    expected.retain(|(end, _)| *end <= 67_000);
    assert_eq!(world.store().rows(), expected);
    let keys: Vec<_> = world.everything().await.into_keys().collect();
    assert!(keys.iter().filter(|it| it.starts_with("state/wal/")).count() <= 6, "old records are gone: {keys:?}");
}

/// Does nothing unless the other test runs it in a process of its own: an owner that works on and on.
#[tokio::test]
async fn victim() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut world = World::at(&folder);
    world.settings.min_epochs_to_retain = 3;
    let mut query = world.start().await.unwrap();
    let outcome = loop {
        world.feed().add(&[1]);
        match query.step().await {
            Ok(Step::Ran(progress)) => {
                std::fs::write(folder.join("epoch"), progress.epoch.to_string()).unwrap();
            }
            Ok(_) => {}
            Err(e) => break e,
        }
    };
    std::fs::write(folder.join("outcome"), format!("{:?} {outcome}", outcome.kind())).unwrap();
}

fn start_victim(folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "ownership::victim", "--nocapture"]).env(FOLDER, folder);
    command.stdout(Stdio::null()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn wait_for(what: &str, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[tokio::test]
async fn a_killed_owner_is_replaced_at_once_and_a_live_one_is_named() {
    let mut world = World::new();
    let folder = world.root().parent().unwrap().to_owned();
    let mut child = start_victim(&folder);
    wait_for("epochs", || std::fs::read_to_string(folder.join("epoch")).is_ok_and(|it| it.parse::<u64>().is_ok()));
    let text = world.checkpoint(&Faults::default()).await.err().unwrap().to_string();
    assert!(text.contains(&format!("(process {} on ", child.id())), "{text}");
    signal(&child, "-KILL");
    child.wait().unwrap();
    let began = Instant::now();
    world.take_over = false;
    world.checkpoint(&Faults::default()).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stopped_process_that_is_taken_over_deletes_and_publishes_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..8 {
        let mut world = World::new();
        world.settings.min_epochs_to_retain = 3;
        world.take_over = true;
        let folder = world.root().parent().unwrap().to_owned();
        let mut child = start_victim(&folder);
        wait_for("epochs", || std::fs::read_to_string(folder.join("epoch")).is_ok_and(|it| it.len() > 1));
        std::thread::sleep(Duration::from_micros(random.u64(..3000)));
        signal(&child, "-STOP");
        // The child's feed and table are its own: here there are at least as many rows.
        world.feed().add(&vec![1; 5000]);
        let checkpoint = world.checkpoint(&Faults::default()).await.unwrap();
        assert_eq!(checkpoint.generation(), 1);
        std::fs::create_dir_all(world.root().join("state/kept")).unwrap();
        let before = files(&world.root());
        signal(&child, "-CONT");
        wait_for("its end", || std::fs::read_to_string(folder.join("outcome")).is_ok_and(|it| it.contains(' ')));
        child.wait().unwrap();
        let outcome = std::fs::read_to_string(folder.join("outcome")).unwrap();
        assert!(outcome.starts_with("Fenced "), "round {round}: {outcome}");
        let after = files(&world.root());
        let gone: Vec<_> = before.keys().filter(|it| !after.contains_key(*it) && !is_temporary(it)).collect();
        // What was under way when it was stopped may end: one removal, and one epoch that had been checked.
        assert!(gone.len() <= 1, "round {round}: {gone:?}");
        let new = |folder: &str| after.keys().filter(|it| !before.contains_key(*it) && has(it, folder)).count();
        assert!(new("state/snapshots") <= 2 && new("commits") <= 1, "round {round}");
        assert_eq!(new("state/generations"), 0);
        drop(checkpoint);
        world.take_over = false;
        world.checkpoint(&Faults::default()).await.unwrap();
    }
}

fn is_temporary(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".tmp")
}

fn has(path: &Path, folder: &str) -> bool {
    path.parent().is_some_and(|it| it.ends_with(folder))
}
