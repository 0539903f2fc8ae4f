//! A disk that is full or read-only, under the checkpoint or under a table: the run ends with a clear word and nothing is
//! lost; with space again the next run goes on.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::clicks;
use crate::pair::{PATIENCE, Pair, Place, Run};
use crate::process::binary;

/// How long a run may try on a disk that gives no space.
const GIVES_UP: Duration = Duration::from_secs(120);
const SMALL: &str = "size=320k";
const NO_SPACE: &str = "No space left on device";
const READ_ONLY: &str = "Read-only file system";
const LARGE: &str = "size=200m";

/// A file system in memory, of a size of its own.
struct Disk(PathBuf);

impl Disk {
    /// Nothing if this user may not mount, which is said.
    fn mount(folder: PathBuf) -> Option<Self> {
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", LARGE, "tmpfs"]).arg(&folder).stderr(Stdio::null());
        if command.status().is_ok_and(|it| it.success()) {
            return Some(Self(folder));
        }
        println!("SKIPPED: this user can't mount file systems");
        None
    }

    /// Makes it read-only, between two files that are being written.
    fn close(&self) {
        let started = Instant::now();
        let mut command = Command::new("mount");
        command.args(["-o", "remount,ro"]).arg(&self.0).stderr(Stdio::null());
        while !command.status().expect("mount runs").success() {
            assert!(started.elapsed() < PATIENCE, "a file stays open in {}", self.0.display());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn set(&self, options: &str) {
        let options = format!("remount,{options}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.0).status().expect("mount runs");
        assert!(status.success(), "mount -o {options}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn disks_without_space_or_read_only_lose_nothing() {
    // Most of the time they wait between tries: side by side.
    std::thread::scope(|all| {
        all.spawn(full_under_the_checkpoint);
        all.spawn(full_under_a_table);
        all.spawn(read_only_under_the_checkpoint);
        all.spawn(read_only_under_a_table);
    });
}

fn full_under_the_checkpoint() {
    let (job, paced) = job("full-checkpoint");
    let Some(disk) = disk(&job, "checkpoint") else { return };
    let mut run = begin(&job, &paced);
    run.reaches(1);
    disk.set(SMALL);
    fails(&mut run, "checkpoint", NO_SPACE);
    // A start on the full disk changes nothing either.
    fails(&mut begin(&job, &paced), "checkpoint", NO_SPACE);
    disk.set(LARGE);
    job.drain(&paced);
    job.compare(false);
}

fn full_under_a_table() {
    let (job, paced) = job("full-table");
    let Some(disk) = disk(&job, "copy") else { return };
    let mut run = begin(&job, &paced);
    run.reaches(1);
    disk.set(SMALL);
    fails(&mut run, "copy", NO_SPACE);
    // A run that finds space before it gives up goes on by itself.
    let mut run = begin(&job, &paced);
    let (full, _) = run.says(NO_SPACE);
    disk.set(LARGE);
    run.reaches(full + 3);
    run.kill();
    job.drain(&paced);
    job.compare(false);
}

fn read_only_under_the_checkpoint() {
    let (job, paced) = job("read-only-checkpoint");
    let Some(disk) = disk(&job, "checkpoint") else { return };
    let mut run = begin(&job, &paced);
    run.reaches(3);
    // Its owner has a file open for as long as it runs, which holds this off.
    run.kill();
    disk.set("ro");
    fails(&mut begin(&job, &paced), "checkpoint", READ_ONLY);
    disk.set("rw");
    job.drain(&paced);
    job.compare(false);
}

fn read_only_under_a_table() {
    let (job, paced) = job("read-only-table");
    let Some(disk) = disk(&job, "copy") else { return };
    let mut run = begin(&job, &paced);
    run.reaches(3);
    disk.close();
    fails(&mut run, "copy", READ_ONLY);
    disk.set("rw");
    job.drain(&paced);
    job.compare(false);
}

fn begin(job: &Pair, paced: &str) -> Run {
    job.start("run", &job.pipeline("pair.yaml", paced), "", &[])
}

fn disk(job: &Pair, part: &str) -> Option<Disk> {
    Disk::mount(job.folder().join("place").join(part))
}

fn job(name: &str) -> (Pair, String) {
    let events = clicks::events() / 4;
    let job = Pair::new(name, 5, events, binary(), Place::local);
    (job, format!("max.rows.per.epoch: {}", events / 40))
}

/// The run ends by itself with code 1 and says which place failed, and how.
fn fails(run: &mut Run, part: &str, why: &str) {
    let code = run.ended(GIVES_UP);
    let said = run.said();
    let last = said.lines().rfind(|it| it.contains("error")).unwrap_or_default();
    println!("{part}: {last}");
    assert_eq!(code, Some(1), "{said}");
    assert!(last.contains(why) && last.contains(part), "{said}");
}
