use super::*;

fn spans(sizes: &[i64]) -> BTreeMap<PartitionId, Span> {
    let place = |number| PartitionId { name: "t".into(), number };
    (0..).zip(sizes).map(|(at, size)| (place(at), Span { start: 100, end: 100 + size })).collect()
}

fn shared(limit: u64, sizes: &[i64]) -> Vec<i64> {
    let mut spans = spans(sizes);
    share(limit, &mut spans);
    spans.values().map(|it| it.end - 100).collect()
}

#[test]
fn shares_by_size_rounding_down() {
    assert_eq!(shared(10, &[10, 20, 30]), [1, 3, 5]);
    assert_eq!(shared(100, &[1000, 1000]), [50, 50]);
}

#[test]
fn small_partitions_get_one() {
    assert_eq!(shared(10, &[1, 10_000]), [1, 9]);
    assert_eq!(shared(1, &[5, 5, 5]), [1, 1, 1]);
}

#[test]
fn what_fits_is_not_cut() {
    assert_eq!(shared(60, &[10, 20, 30]), [10, 20, 30]);
    assert_eq!(shared(u64::MAX, &[i64::MAX - 100]), [i64::MAX - 100]);
}

#[test]
fn empty_and_moved_back_partitions_stay_as_they_are() {
    assert_eq!(shared(2, &[0, -5, 4]), [0, -5, 2]);
}
