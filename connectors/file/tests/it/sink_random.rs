//! Random runs over a store that fails, delays, loses replies and lets requests land late: each seed is a run, and can be
//! run again by `TIDEGATE_TEST_SEED`.

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::prelude::*;
use tidegate_file::{FileSink, Prepared};
use tidegate_storage::object_store::memory::InMemory;
use tidegate_testkit::store::{FlakyPlan, FlakyStore};

use crate::sink_support::{KINDS, Table, epoch, prepare, rows, run};

const SEEDS: u64 = 150;
const EPOCHS: u64 = 14;

fn plan() -> FlakyPlan {
    FlakyPlan {
        fail: 0.04,
        unavailable: 0.02,
        lose_reply: 0.05,
        repeat: 0.03,
        overtake: 0.02,
        land_late: 0.04,
        delay: Some((0.05, Duration::from_millis(1))),
        ..FlakyPlan::default()
    }
}

struct Run {
    what: String,
    random: fastrand::Rng,
    table: Table,
    attempt: u32,
    lives: u32,
}

impl Run {
    /// A new process: what it finds must be the last epoch that was decided, or the one that may be.
    async fn start(&mut self, decided: Option<u64>) -> (FileSink, Option<u64>) {
        self.lives += 1;
        for _ in 0..100 {
            match self.table.try_open("out").await {
                Ok((sink, last)) => {
                    let last = last.map(|it| it.0);
                    let may_be = decided.map_or(0, |it| it + 1);
                    assert!(last == decided || last == Some(may_be), "{}: {last:?} after {decided:?}", self.what);
                    return (sink, last);
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::Transient, "{}: {e}", self.what),
            }
        }
        panic!("{}: it can't be opened", self.what)
    }

    /// As the loop does: the same parts until the outcome is known, or the process dies.
    async fn commit(&mut self, sink: &FileSink, epoch: &Epoch, parts: &[Prepared]) -> bool {
        for _ in 0..4 {
            match sink.commit(epoch, parts.to_vec(), &[]).await {
                Ok(_) => return true,
                Err(e) => assert_eq!(e.kind(), ErrorKind::Transient, "{}: {e}", self.what),
            }
        }
        false
    }

    async fn epoch(&mut self, mut sink: FileSink, number: u64) -> FileSink {
        let batches: Vec<_> = (0..1 + number % 3)
            .map(|task| rows(first(number) + task as i64 * 2..first(number) + task as i64 * 2 + 2))
            .collect();
        let decided = number.checked_sub(1);
        let mut staged: Option<(Epoch, Vec<Prepared>)> = None;
        loop {
            let (epoch, parts) = match staged.take() {
                Some(staged) => staged,
                None => {
                    self.attempt += 1;
                    let epoch = epoch(number, self.attempt);
                    match prepare(&sink, &epoch, &batches).await {
                        Ok(parts) => (epoch, parts),
                        Err(e) => {
                            assert_eq!(e.kind(), ErrorKind::Transient, "{}: {e}", self.what);
                            continue;
                        }
                    }
                }
            };
            let dies = self.random.u8(..6) == 0;
            if !dies && self.commit(&sink, &epoch, &parts).await {
                return sink;
            }
            if !dies && self.random.bool() {
                // The loop gives up; the same process tries the epoch anew.
                let _ = sink.abort(&epoch, parts).await;
                continue;
            }
            drop(sink);
            let last;
            (sink, last) = self.start(decided).await;
            // Staged parts, or the epoch once more; also if it turns out to be there.
            if last == Some(number) && self.random.bool() {
                return sink;
            }
            if self.random.bool() {
                staged = Some((epoch, parts));
            }
        }
    }
}

fn first(number: u64) -> i64 {
    number as i64 * 10
}

fn expected(epochs: u64) -> Vec<i64> {
    (0..epochs).flat_map(|it| first(it)..first(it) + 2 * (1 + it as i64 % 3)).collect()
}

async fn one(seed: u64) -> u32 {
    let (format, manifest) = KINDS[usize::try_from(seed % 3).unwrap()];
    let what = format!("seed {seed}, {format} {manifest}");
    let inner = Arc::new(InMemory::new());
    let flaky = FlakyStore::new(inner.clone(), seed);
    let table = Table::store(Arc::new(flaky.clone()), format, manifest);
    let mut healthy = Table::store(inner, format, manifest);
    healthy.log = table.log.clone();
    flaky.set(plan());
    let mut life = Run { what: what.clone(), random: fastrand::Rng::with_seed(seed), table, attempt: 0, lives: 0 };
    let (mut sink, _) = life.start(None).await;
    for number in 0..EPOCHS {
        sink = life.epoch(sink, number).await;
        assert_eq!(healthy.ids().await, expected(number + 1), "{what}, epoch {number}\n{}", flaky.trace().join("\n"));
    }
    drop(sink);
    flaky.settle().await;
    let sink = healthy.open().await;
    run(&sink, &epoch(EPOCHS, life.attempt + 1), &[rows([9999])]).await.unwrap();
    let mut all = expected(EPOCHS);
    all.push(9999);
    assert_eq!(healthy.ids().await, all, "{what}");
    healthy.nothing_is_left(&what).await;
    life.lives
}

#[tokio::test]
async fn random_runs_lose_and_double_nothing() {
    let seed = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|it| it.parse::<u64>().ok());
    let (mut lives, seeds) = (0, seed.map_or(0..SEEDS, |it| it..it + 1));
    println!("seeds {seeds:?}");
    for seed in seeds.clone() {
        lives += one(seed).await;
    }
    println!("file sink, random runs: {} of {EPOCHS} epochs, {lives} lives", seeds.count());
}
