//! Disks that become full or read-only at any point, and what an epoch costs on an object store.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tidegate_api::ErrorKind;
use tidegate_epoch::Faults;

use super::case::{Case, Shot};
use super::check::References;
use super::script::Script;
use super::world::{End, Turn, World};
use super::*;
use crate::store::{FlakyPlan, StoreOp};

const NO_SPACE: &str = "No space left on device";
const READ_ONLY: &str = "Read-only file system";
/// What the file system gives space in.
const PAGE: u64 = 4096;

/// A small file system in memory, gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Nothing if this user may not mount, which is said.
    fn mount(name: &str) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("tidegate-small-{}-{name}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let disk = Self(folder);
        let mounted = disk.run("mount", &["-t", "tmpfs", "-o", "size=2m", "none"]);
        if !mounted {
            println!("SKIPPED: this user can't mount file systems");
        }
        mounted.then_some(disk)
    }

    fn run(&self, command: &str, options: &[&str]) -> bool {
        let mut command = Command::new(command);
        if options.contains(&"--bind") {
            command.arg("--bind").arg(&self.0);
        } else {
            command.args(options);
        }
        command.arg(&self.0).output().is_ok_and(|it| it.status.success())
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Leaves space for so many pages.
    fn fill(&self, pages: u64) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.filler()).unwrap();
        let page = [1; PAGE as usize];
        while file.write_all(&page).is_ok() {}
        let full = file.metadata().unwrap().len() / PAGE * PAGE;
        file.set_len(full.checked_sub(pages * PAGE).unwrap()).unwrap();
    }

    /// Emptied first: a process that another test is about to start may still hold the file open.
    fn free(&self) {
        std::fs::File::create(self.filler()).unwrap();
        std::fs::remove_file(self.filler()).unwrap();
    }

    /// Read-only for whoever opens a file from now on. What is open stays writable, as the lock does: so the file system
    /// itself can't be made read-only.
    fn close(&self) {
        assert!(self.run("mount", &["--bind"]) && self.run("mount", &["-o", "remount,bind,ro"]));
    }

    fn reopen(&self) {
        assert!(self.run("umount", &[]));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn setup(place: Place) -> CrashSetup {
    let sinks = [MemoryKind::Committable, MemoryKind::Transactional].map(SinkUnder::Memory).to_vec();
    CrashSetup {
        place,
        faults: vec![Fault::StopBriefly],
        epochs: Some(1..3),
        ..CrashSetup::on(ProgramKind::Aggregate, sinks)
    }
}

/// At each point of two epochs the disk goes wrong; the query and the start after it fail with these words, if they write at
/// all, and once it is well again nothing is lost.
async fn fails_everywhere(disk: &SmallDisk, breaks: impl Fn(), mends: impl Fn(), kind: ErrorKind, words: &str) {
    let script = Arc::new(Script::dense(ProgramKind::Aggregate));
    let cases = case::all(&setup(Place::Disk), &script).await.unwrap();
    let (all, mut stopped) = (cases.len(), 0);
    for (at, Case { first, .. }) in cases.into_iter().enumerate() {
        let folder = disk.path().join(at.to_string());
        let setup = setup(Place::At(folder.clone()));
        let world = Arc::new(World::of(&setup, script.clone()).unwrap());
        let End::Stopped(one) = world.live_till_stopped(&Faults::default(), &[first]).unwrap() else {
            panic!("{first} is not reached")
        };
        breaks();
        let check = |error: &tidegate_api::Error| {
            assert_eq!(error.kind(), kind, "{first}: {error}");
            assert!(error.to_string().contains(words), "{first}: {error}");
        };
        if let Err(error) = one.goes_on() {
            stopped += 1;
            check(&error);
        }
        // As long as it lasts, no start gets further.
        check(&world.live(&Faults::default(), || true).await.unwrap_err());
        mends();
        world.live(&Faults::default(), || true).await.unwrap();
        let outcome = world.outcome().await.unwrap();
        let wrong = References::of(&setup, script.clone()).differences(&setup.sinks, &outcome).await.unwrap();
        assert!(wrong.is_empty(), "{first}: {wrong:#?}");
        std::fs::remove_dir_all(folder).unwrap();
    }
    println!("{words}: {all} cases, in {stopped} of them the running query stops");
    assert!(all >= 20 && stopped >= all / 2, "{all} {stopped}");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_up_at_any_point_loses_nothing() {
    let Some(disk) = SmallDisk::mount("full") else { return };
    fails_everywhere(&disk, || disk.fill(0), || disk.free(), ErrorKind::Transient, NO_SPACE).await;
}

/// The first files that are written still fit, whole or in part.
#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_up_in_the_middle_of_an_epoch_loses_nothing() {
    let Some(disk) = SmallDisk::mount("nearly-full") else { return };
    let script = Arc::new(Script::dense(ProgramKind::Aggregate));
    let mut failed = 0;
    for pages in 1..16 {
        let folder = disk.path().join(pages.to_string());
        let setup = setup(Place::At(folder.clone()));
        let world = Arc::new(World::of(&setup, script.clone()).unwrap());
        let run = Shot::at(Point::Run, 2, Fault::Stop);
        let End::Stopped(one) = world.live_till_stopped(&Faults::default(), &[run]).unwrap() else { panic!() };
        disk.fill(pages);
        let ended = one.goes_on();
        let again = world.live(&Faults::default(), || true).await;
        for error in ended.err().into_iter().chain(again.err()) {
            failed += 1;
            assert!(error.to_string().contains(NO_SPACE), "{pages} pages: {error}");
        }
        disk.free();
        world.live(&Faults::default(), || true).await.unwrap();
        let outcome = world.outcome().await.unwrap();
        let wrong = References::of(&setup, script.clone()).differences(&setup.sinks, &outcome).await.unwrap();
        assert!(wrong.is_empty(), "{pages} pages: {wrong:#?}");
        std::fs::remove_dir_all(folder).unwrap();
    }
    println!("a disk with 1 to 15 pages: {failed} of 30 lives fail");
    assert!(failed >= 10);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_becomes_read_only_at_any_point_loses_nothing() {
    let Some(disk) = SmallDisk::mount("readonly") else { return };
    fails_everywhere(&disk, || disk.close(), || disk.reopen(), ErrorKind::Config, READ_ONLY).await;
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
