//! What an epoch costs.

use std::time::{Duration, Instant};

use tidegate_api::Sink;

use crate::harness::{Bench, epoch, prepare, rows};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_epochs_and_the_hundredth_costs_what_the_first_does() {
    const EPOCHS: u64 = 100;
    let bench = Bench::new(&[]);
    let sink = bench.open().await;
    let (mut prepared, mut commits) = (Duration::ZERO, Vec::new());
    for number in 0..EPOCHS {
        let first = number as i64 * 1_000;
        let started = Instant::now();
        let parts = prepare(&sink, &epoch(number, 1), rows(first..first + 1_000)).await;
        prepared += started.elapsed();
        let started = Instant::now();
        sink.commit(&epoch(number, 1), parts, &[]).await.unwrap();
        commits.push(started.elapsed());
    }
    assert_eq!(bench.views().await.len() as u64, EPOCHS * 1_000);
    let median = |part: &[Duration]| {
        let mut part = part.to_vec();
        part.sort();
        part[part.len() / 2]
    };
    let (early, late) = (median(&commits[..20]), median(&commits[80..]));
    let mean = commits.iter().sum::<Duration>() / 100;
    commits.sort();
    println!(
        "{EPOCHS} epochs of 1,000 rows: write and prepare {:?}, commit {mean:?} (median {:?}, slowest {:?}; median of the \
         first 20 {early:?}, of the last 20 {late:?})",
        prepared / 100,
        commits[commits.len() / 2],
        commits[commits.len() - 1],
    );
    // A commit that lists the log or reads the table grows with it. Generous: disks of test machines differ.
    assert!(late < early * 4 + Duration::from_millis(20), "commits grow: {early:?} then {late:?}");
}
