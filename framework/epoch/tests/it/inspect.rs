//! `verify` finds every missing, cut, flipped and foreign file; `show` tells what is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tidegate_epoch::inspect::{self, OwnerState};
use tidegate_epoch::{Faults, StopSignal, Trigger};
use tidegate_storage::object_store::{ObjectStoreExt, PutPayload};
use tokio_util::sync::CancellationToken;

use crate::world::{Feed, World, drain};

/// Several sources with logs, snapshots, records of failed attempts, a sink's log, a pending epoch.
async fn rich(mut world: World) -> World {
    world.feeds.push(("more", Feed::default()));
    world.settings.min_epochs_to_retain = 4;
    world.settings.no_data_epochs = false;
    for at in 0..9 {
        let mut query = world.start().await.unwrap();
        world.feeds[0].1.add(&[at * 7]);
        world.feeds[1].1.add(&[at * 5]);
        drain(&mut query).await.unwrap();
        drop(query);
        let checkpoint = world.checkpoint(&Faults::default()).await.unwrap();
        for name in ["input", "more"] {
            let log = checkpoint.source_log(name).await.unwrap();
            assert!(log.put_new(&at.to_string(), format!("v1\n{at} of {name}").as_bytes()).await.unwrap());
        }
        checkpoint.sink_log("table").put_new(&format!("id{at}"), b"some id").await.unwrap();
        checkpoint.table_log("users").put_new(&format!("version{at}"), b"7").await.unwrap();
    }
    let faults = Faults::default();
    let mut query = world.start_with(&faults).await.unwrap();
    world.feeds[0].1.add(&[100]);
    faults.arm("commit.before=crash").unwrap();
    query.step().await.unwrap_err();
    drop(query);
    world
}

async fn findings(world: &World) -> Vec<String> {
    inspect::verify(&world.location().unwrap()).await.unwrap().iter().map(ToString::to_string).collect()
}

/// What is written to the checkpoint behind its back.
async fn put(world: &World, key: &str, bytes: Option<&[u8]>) {
    let place = world.location().unwrap();
    match (place.local(), bytes) {
        (Some(root), Some(bytes)) => {
            let path = root.join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        (Some(root), None) => std::fs::remove_file(root.join(key)).unwrap(),
        (None, Some(bytes)) => {
            place.store().put(&place.path(key), PutPayload::from(bytes.to_vec())).await.unwrap();
        }
        (None, None) => place.store().delete(&place.path(key)).await.unwrap(),
    }
}

async fn all(world: &World) -> BTreeMap<String, Vec<u8>> {
    let Some(root) = world.place.is_none().then(|| world.root()) else { return world.everything().await };
    let mut found = BTreeMap::new();
    walk(&root, &mut |path: PathBuf| {
        let key = path.strip_prefix(&root).unwrap().display().to_string();
        found.insert(key, std::fs::read(&path).unwrap());
    });
    found
}

fn walk(folder: &Path, each: &mut impl FnMut(PathBuf)) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() { walk(&entry.path(), each) } else { each(entry.path()) }
    }
}

/// How a finding names a file that is gone; the newest record's attempt is known to nobody else.
fn names(key: &str, finding: &str) -> bool {
    let record = key.strip_prefix("state/wal/").and_then(|it| it.split('.').next());
    finding.contains(key) || record.is_some_and(|it| finding.starts_with(&format!("state/wal/{it}.")))
}

/// `pending`: on a store the owner may have died before a heartbeat told of the newest record.
async fn each_is_found(world: &World, pending: bool) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let files = all(world).await;
    assert_eq!(findings(world).await, [""; 0], "undamaged");
    println!("{} files: {:?}", files.len(), files.keys());
    for (key, whole) in &files {
        // On a store Spark's files are not written each epoch.
        let text = key.starts_with("offsets/") || key.starts_with("commits/");
        let newest = pending && files.keys().rfind(|it| it.starts_with("state/wal/")) == Some(key);
        // An attempt that another of its epoch replaced is of no use to anybody.
        let number = key.split_once('.').map(|it| format!("{}.", it.0));
        let replaced = files.keys().rfind(|it| number.as_ref().is_some_and(|of| it.starts_with(of))) != Some(key);
        let unnamed = world.place.is_some() && (text || newest || key.starts_with("state/wal/") && replaced);
        put(world, key, None).await;
        let found = findings(world).await;
        assert!(found.iter().any(|it| names(key, it)) || unnamed, "{key} is missing: {found:?}");
        put(world, key, Some(&whole[..whole.len() / 2])).await;
        let found = findings(world).await;
        assert!(found.iter().any(|it| it.contains(key)), "{key} is cut: {found:?}");
        for _ in 0..3 {
            let mut flipped = whole.clone();
            let at = random.usize(..whole.len());
            flipped[at] ^= 1 << random.u8(..8);
            put(world, key, Some(&flipped)).await;
            let found = findings(world).await;
            assert!(found.iter().any(|it| it.contains(key)), "byte {at} of {key} is flipped: {found:?}");
        }
        put(world, key, Some(whole)).await;
    }
    let mut folders: Vec<&str> = files.keys().filter_map(|it| it.rsplit_once('/')).map(|(folder, _)| folder).collect();
    folders.dedup();
    for folder in folders.into_iter().chain(["", "state/strange", "sources/7", "strange"]) {
        for name in ["stranger", ".stranger", ".stranger.crc", "07", "99"] {
            let key = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            put(world, &key, Some(b"strange")).await;
            let found = findings(world).await;
            let strange = folder == "sources/7" && found.iter().any(|it| it.starts_with("sources/7: "));
            assert!(strange || found.iter().any(|it| it.contains(&key)), "{key} is foreign: {found:?}");
            put(world, &key, None).await;
        }
    }
    assert_eq!(findings(world).await, [""; 0], "all is as it was");
}

#[tokio::test]
async fn every_damage_of_a_local_checkpoint_is_found() {
    each_is_found(&rich(World::new()).await, true).await;
}

/// Between two heartbeats nothing but itself names the newest record; the end of a run does.
#[tokio::test]
async fn every_damage_of_a_checkpoint_on_an_object_store_is_found() {
    let mut world = rich(World::in_memory()).await;
    each_is_found(&world, true).await;
    world.settings.trigger = Trigger::AvailableNow;
    world.feeds[0].1.add(&[200]);
    let mut query = world.build(&Faults::default()).await.unwrap();
    query.run(&StopSignal::default()).await.unwrap();
    each_is_found(&world, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_running_owner_is_no_damage_and_is_not_disturbed() {
    for mut world in [World::new(), World::in_memory()] {
        world.settings.min_epochs_to_retain = 2;
        let place = world.location().unwrap();
        let mut query = world.start().await.unwrap();
        let stop = CancellationToken::new();
        let asked = stop.clone();
        let looks = tokio::spawn(async move {
            let (mut found, mut looks) = (Vec::new(), 0);
            while !asked.is_cancelled() {
                found.extend(inspect::verify(&place).await.unwrap());
                looks += 1;
            }
            (found, looks)
        });
        for at in 0..60 {
            world.feed().add(&[at]);
            drain(&mut query).await.unwrap();
        }
        stop.cancel();
        let (found, looks) = looks.await.unwrap();
        assert_eq!(found, []);
        assert!(looks > 0);
        println!("{looks} looks");
    }
}

#[tokio::test]
async fn a_view_tells_what_is_there() {
    let world = rich(World::new()).await;
    let view = inspect::show(&world.location().unwrap()).await.unwrap();
    let newest = view.newest.unwrap();
    assert_eq!((newest.epoch, newest.decided), (9, false));
    let epochs: Vec<_> = view.epochs.iter().map(|it| it.epoch).collect();
    assert_eq!(epochs, (epochs[0]..9).collect::<Vec<_>>());
    assert!(epochs[0] > 0 && epochs[0] <= 5, "{epochs:?}");
    assert_eq!(view.snapshots.first().unwrap().epoch, epochs[0]);
    assert_eq!(view.epochs.last().unwrap().rows, 2);
    let sources: Vec<_> = view.sources.iter().map(|it| (&*it.name, it.index, it.offset.to_string())).collect();
    assert_eq!(sources, [("input", 0, "10".to_owned()), ("more", 1, "9".to_owned())]);
    assert_eq!(view.sinks, ["table"]);
    let owner = view.owner.unwrap();
    assert_eq!((owner.state, owner.process, owner.generation), (OwnerState::Ended, std::process::id(), 18));
    assert_eq!(view.version, Some(2));
    assert_eq!(view.sizes["sources"].files, 36);
    let _running = world.checkpoint(&Faults::default()).await.unwrap();
    let view = inspect::show(&world.location().unwrap()).await.unwrap();
    assert_eq!(view.owner.unwrap().state, OwnerState::Running);
}

#[tokio::test]
async fn an_empty_place_is_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let place = tidegate_storage::Location::at(folder.path()).unwrap();
    let text = inspect::verify(&place).await.unwrap_err().to_string();
    assert!(text.contains("there is no checkpoint at"), "{text}");
    assert!(inspect::show(&place).await.is_err());
}
