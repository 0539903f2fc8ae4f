use super::*;

const TARGET: Duration = Duration::from_secs(1);

/// Sizes of epochs whose rows take so long each, beside what an epoch costs anyway.
fn sizes(row: Duration, epoch: Duration, there: u64) -> Vec<u64> {
    let mut pace = Pace::new(TARGET);
    let sizes = (0..12).map(|_| {
        let rows = pace.rows().min(there);
        pace.learn(&[rows], epoch + row * u32::try_from(rows).unwrap());
        rows
    });
    sizes.collect()
}

#[test]
fn epochs_come_to_take_as_long_as_asked() {
    let fast = sizes(Duration::from_micros(10), Duration::ZERO, u64::MAX);
    assert_eq!(fast[..5], [10_000, 20_000, 40_000, 80_000, 100_000], "it grows step by step");
    assert_eq!(fast[11], 100_000);
    let slow = sizes(Duration::from_millis(1), Duration::ZERO, u64::MAX);
    assert_eq!(slow[..3], [10_000, 2_500, 1_000]);
    assert_eq!(slow[11], 1_000);
    let costly = sizes(Duration::from_micros(100), Duration::from_millis(500), u64::MAX);
    assert!(costly[11].abs_diff(5_000) < 100, "what an epoch costs anyway counts: {costly:?}");
}

#[test]
fn an_epoch_is_never_too_small_to_be_worth_it() {
    assert_eq!(sizes(Duration::ZERO, Duration::from_secs(5), u64::MAX)[11], LEAST_ROWS);
}

#[test]
fn an_epoch_that_read_all_there_was_changes_nothing_unless_it_was_slow() {
    assert_eq!(sizes(Duration::from_micros(1), Duration::ZERO, 50), [50; 12]);
    let mut pace = Pace::new(TARGET);
    pace.learn(&[50, 0], Duration::from_micros(50));
    assert_eq!(pace.rows(), FIRST_ROWS);
    pace.learn(&[0, 0], Duration::from_secs(60));
    assert_eq!(pace.rows(), FIRST_ROWS, "without rows it tells nothing");
    pace.learn(&[50, 4000], Duration::from_secs(2));
    assert_eq!(pace.rows(), FIRST_ROWS / MOST_SHRINKAGE, "2,000 would do, but it goes down step by step");
}

#[test]
fn numbers_of_any_size_are_borne() {
    let mut pace = Pace { target: Duration::MAX, rows: u64::MAX };
    pace.learn(&[u64::MAX], Duration::ZERO);
    assert_eq!(pace.rows(), u64::MAX);
    pace.target = Duration::ZERO;
    pace.learn(&[u64::MAX], Duration::MAX);
    assert_eq!(pace.rows(), u64::MAX / MOST_SHRINKAGE);
}
