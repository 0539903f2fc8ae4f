//! A process that is really killed: the lock is free at once, the phase is known, the epoch is finished by its record.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

use tidegate_epoch::Faults;

use crate::world::{World, drain, model};

const FOLDER: &str = "TIDEGATE_TEST_KILL_FOLDER";

/// Does nothing unless the other test runs it in a process of its own.
#[tokio::test]
async fn victim() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let world = World::at(&folder);
    world.feed().add(&[1, 21]);
    let mut query = world.start().await.unwrap();
    drain(&mut query).await.unwrap();
    panic!("nothing killed this process");
}

#[tokio::test]
async fn a_killed_process_leaves_what_the_next_needs() {
    for (fault, phase, attempt) in [
        ("record.rename=kill", "0 record.rename", "1.0"),
        ("commit.before=kill", "0 commit.before", "1.0"),
        ("seal=kill@2", "1 seal", "none"),
    ] {
        let world = World::new();
        let phase_file = world.root().with_file_name("phase");
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::victim", "--nocapture"])
            .env(FOLDER, world.root().parent().unwrap())
            .env("TIDEGATE_FAULTS", fault)
            .env("TIDEGATE_PHASE_FILE", &phase_file)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(9), "{fault}: {status}");
        assert_eq!(std::fs::read_to_string(&phase_file).unwrap().trim(), phase);
        world.feed().add(&[1, 21]);
        let mut query = world.build(&Faults::default()).await.unwrap();
        query.start().await.unwrap();
        drain(&mut query).await.unwrap();
        let attempts = world.store().attempts();
        assert_eq!(attempts.first().map_or("none", |(_, it)| it), attempt, "{fault}");
        if attempt != "none" {
            // The victim's table died with it, so this one has all the rows.
            assert_eq!(world.store().rows(), model(&[1, 21]).0, "{fault}");
        }
    }
}
