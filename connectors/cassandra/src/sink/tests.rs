//! How long rows live.

use super::*;

#[test]
fn a_row_ends_at_the_same_second_however_late_it_is_written() {
    let ttl = Duration::from_secs(60);
    let time_ms: i64 = 1_700_000_000_250;
    // The coordinator adds the seconds to its own full second.
    for late_ms in [0, 1, 749, 750, 751, 10_000, 30_500, 59_000] {
        let now_ms = time_ms + late_ms;
        let end = now_ms.div_euclid(1000) + i64::from(seconds_left(ttl, time_ms, now_ms));
        assert!((1_700_000_060..=1_700_000_061).contains(&end), "{late_ms} ms late it ends at {end}");
        if late_ms >= 750 {
            assert_eq!(end, 1_700_000_061, "{late_ms} ms late");
        }
    }
}

#[test]
fn never_less_than_a_second_nor_more_than_all() {
    let ttl = Duration::from_secs(60);
    assert_eq!(seconds_left(ttl, 0, 60_000), 1);
    assert_eq!(seconds_left(ttl, 0, 86_400_000), 1);
    assert_eq!(seconds_left(ttl, 86_400_000, 0), 60);
    assert_eq!(seconds_left(Duration::from_millis(1), 0, 0), 1);
    assert_eq!(seconds_left(Duration::MAX, 0, 0), i32::MAX);
}
