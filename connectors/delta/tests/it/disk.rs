//! A disk that is full or read-only: nothing is half done, and the query goes on when there is room again.

use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_api::{CommitOutcome, ErrorKind, Result, Sink, SinkWriter};
use tidegate_delta::{DeltaSink, Prepared};

use crate::harness::{Bench, epoch, rows, run};

/// A file system of one megabyte where a bench's table lies; gone with this.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Nothing if this user may not mount.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = call("mount", &["-t", "tmpfs", "-o", "size=1m", "tidegate-test", &at.display().to_string()]);
        if !mounted {
            println!("SKIPPED: a small file system can't be mounted here");
        }
        mounted.then(|| Self(at.to_owned()))
    }

    fn remount(&self, how: &str) {
        assert!(call("mount", &["-o", &format!("remount,{how}"), &self.0.display().to_string()]));
    }

    /// Takes all but so many bytes.
    fn fill(&self, leave: usize) {
        let path = self.0.join("filler");
        let mut size = 1 << 20;
        while size > 0 && std::fs::write(&path, vec![0_u8; size]).is_err() {
            size -= 4096;
        }
        std::fs::write(&path, vec![0_u8; size.saturating_sub(leave)]).unwrap();
    }

    fn free(&self) {
        // Emptied first: a process that another test is about to start may still hold the file open.
        std::fs::File::create(self.0.join("filler")).unwrap();
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        call("umount", &["-l", &self.0.display().to_string()]);
    }
}

fn call(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|it| it.status.success())
}

async fn try_prepare(sink: &DeltaSink, number: u64, n: u32) -> Result<Vec<Prepared>> {
    let mut writer = sink.writer(&epoch(number, n), 0).await?;
    writer.write(rows(0..30_000)).await?;
    Ok(vec![writer.prepare().await?])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_waited_for() {
    let bench = Bench::new(&[]);
    let Some(disk) = SmallDisk::mount(&bench.path()) else { return };
    let sink = bench.open().await;
    run(&sink, &epoch(0, 1), rows([7])).await.unwrap();

    // No room for the data file: it is gone again.
    disk.fill(4096);
    let error = try_prepare(&sink, 1, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert_eq!(bench.files().len(), 1);

    // Room for it, and none for the commit: no draft stays, and the same parts go in later.
    disk.free();
    let parts = try_prepare(&sink, 1, 2).await.unwrap();
    disk.fill(0);
    let error = sink.commit(&epoch(1, 2), parts.clone(), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    let log = std::fs::read_dir(bench.path().join("_delta_log")).unwrap();
    let names: Vec<_> = log.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|it| it.ends_with(".json")) && names.len() == 2, "{names:?}");
    assert_eq!(bench.views().await, [7]);
    assert_eq!(bench.try_open().await.unwrap().1.map(|it| it.0), Some(0), "a full disk can be read");
    disk.free();
    assert_eq!(sink.commit(&epoch(1, 2), parts, &[]).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(bench.views().await.len(), 30_001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_has_no_half_table() {
    let bench = Bench::new(&[]);
    let Some(disk) = SmallDisk::mount(&bench.path()) else { return };
    disk.fill(0);
    let error = bench.try_open().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    disk.free();
    let sink = bench.open().await;
    run(&sink, &epoch(0, 1), rows([7])).await.unwrap();
    assert_eq!(bench.views().await, [7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_disk_is_named() {
    let bench = Bench::new(&[]);
    let Some(disk) = SmallDisk::mount(&bench.path()) else { return };
    let sink = bench.open().await;
    run(&sink, &epoch(0, 1), rows([7])).await.unwrap();
    let parts = crate::harness::prepare(&sink, &epoch(1, 1), rows([8])).await;
    disk.remount("ro");
    for error in
        [try_prepare(&sink, 1, 2).await.unwrap_err(), sink.commit(&epoch(1, 1), parts.clone(), &[]).await.unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("the file system is read-only"), "{error}");
    }
    disk.remount("rw");
    assert_eq!(sink.commit(&epoch(1, 1), parts, &[]).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(bench.views().await, [7, 8]);
}
