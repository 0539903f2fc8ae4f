//! Disks that are full or may not be written, and what an epoch costs on an object store.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tidegate_api::ErrorKind;
use tidegate_epoch::Faults;

use super::check::References;
use super::world::{Turn, World};
use super::*;
use crate::store::{FlakyPlan, StoreOp};

/// A small file system in memory, gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Nothing where none may be mounted: only root may.
    fn mount(name: &str, size: &str) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("tidegate-small-{}-{name}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let disk = Self(folder);
        let options = format!("size={size}");
        disk.run(&["-t", "tmpfs", "-o", &options, "none"]).then_some(disk)
    }

    fn remount(&self, how: &str) {
        assert!(self.run(&["-o", &format!("remount,{how}")]), "remount {how}");
    }

    fn run(&self, options: &[&str]) -> bool {
        Command::new("mount").args(options).arg(&self.0).output().is_ok_and(|it| it.status.success())
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn on(place: Place) -> (CrashSetup, Arc<World>) {
    let kinds = [MemoryKind::Committable, MemoryKind::Transactional];
    let sinks = kinds.into_iter().map(SinkUnder::Memory).collect();
    let setup = CrashSetup { place, ..CrashSetup::on(ProgramKind::Aggregate, sinks) };
    let world = Arc::new(World::new(&setup).unwrap());
    (setup, world)
}

/// Runs to the end, and expects what a run without faults shows.
async fn ends_well(setup: &CrashSetup, world: &World) {
    world.live(&Faults::default(), || true).await.unwrap();
    let outcome = world.outcome().await.unwrap();
    let wrong = References::new(setup).differences(&setup.sinks, &outcome).await.unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Runs until a step fails.
async fn fails(world: &World, before: impl Fn(u32)) -> tidegate_api::Error {
    let mut life = world.start(&Faults::default()).await.unwrap();
    for turn in 0.. {
        before(turn);
        match world.turn(&mut life).await {
            Ok(Turn::Idle) => assert!(world.feed().unwrap(), "all is read, and nothing failed"),
            Ok(Turn::Ran) => {}
            Err(e) => return e,
        }
    }
    unreachable!()
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_the_query_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("full", "512k") else { return eprintln!("not root: nothing can be mounted") };
    let (setup, world) = on(Place::At(disk.path().join("checkpoint")));
    let filler = disk.path().join("filler");
    let error = fails(&world, |turn| {
        if turn == 6 {
            // As much as there is room for.
            let _ = std::fs::write(&filler, vec![0; 1 << 20]);
        }
    });
    let error = error.await;
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("No space left on device"), "{error}");
    // As long as it is full, no start gets further.
    let again = world.live(&Faults::default(), || true).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Transient, "{again}");
    std::fs::remove_file(&filler).unwrap();
    ends_well(&setup, &world).await;
}

#[tokio::test(start_paused = true)]
async fn a_read_only_disk_stops_the_query_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("readonly", "1m") else { return eprintln!("not root: nothing can be mounted") };
    let (setup, world) = on(Place::At(disk.path().join("checkpoint")));
    // A file that is open for writing, as the lock is, keeps a file system from becoming read-only; a new mount does not.
    let error = fails(&world, |turn| {
        if turn == 6 {
            disk.remount("bind,ro");
        }
    });
    let error = error.await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("Read-only file system"), "{error}");
    let again = world.live(&Faults::default(), || true).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Config, "{again}");
    disk.remount("bind,rw");
    ends_well(&setup, &world).await;
}

#[tokio::test(start_paused = true)]
async fn an_epoch_costs_one_put_on_an_object_store() {
    let one = vec![SinkUnder::Memory(MemoryKind::Committable)];
    let two = vec![SinkUnder::Memory(MemoryKind::Committable), SinkUnder::Memory(MemoryKind::Committable)];
    for (sinks, program) in [(one, ProgramKind::Aggregate), (two, ProgramKind::Stateless)] {
        let setup = CrashSetup { place: Place::Flaky(1), snapshot_epochs: u64::MAX, ..CrashSetup::on(program, sinks) };
        let world = World::new(&setup).unwrap();
        let store = world.ground.flaky.clone().unwrap();
        store.set(FlakyPlan::default());
        let mut life = world.start(&Faults::default()).await.unwrap();
        store.reset_counts();
        let mut epochs = 0;
        loop {
            match world.turn(&mut life).await.unwrap() {
                Turn::Ran => epochs += 1,
                Turn::Idle if world.feed().unwrap() => {}
                Turn::Idle => break,
            }
        }
        let counts = store.counts();
        println!("{program:?}: {epochs} epochs: {counts:?}");
        assert_eq!(counts.get(&StoreOp::Put), Some(&epochs), "{:#?}", store.trace());
        assert_eq!(counts.get(&StoreOp::PutMultipart), None);
    }
}
