use super::*;

#[test]
fn texts() {
    let seconds = Duration::from_secs;
    for (text, trigger) in [
        ("10 seconds", Trigger::Interval(seconds(10))),
        ("1 minute", Trigger::Interval(seconds(60))),
        ("0 seconds", Trigger::Default),
        ("once", Trigger::Once),
        ("available-now", Trigger::AvailableNow),
        ("availableNow", Trigger::AvailableNow),
        ("AVAILABLE_NOW", Trigger::AvailableNow),
        ("continuous 1 second", Trigger::Continuous(seconds(1))),
    ] {
        let parsed: Trigger = text.parse().unwrap();
        assert_eq!(parsed, trigger, "{text}");
        assert_eq!(parsed.to_string().parse::<Trigger>().unwrap(), trigger, "{parsed}");
    }
    for text in ["", "soon", "continuous", "-1 second"] {
        let error = text.parse::<Trigger>().unwrap_err().to_string();
        assert!(error.contains("once, available-now or continuous"), "{error}");
    }
}

#[test]
fn ticks_are_aligned_to_1970_before_it_too() {
    let mut turns = Turns::new(Trigger::Interval(Duration::from_secs(10)), Duration::ZERO);
    for (now, next) in [(0, 10_000), (9_999, 10_000), (10_000, 20_000), (-1, 0), (-10_000, 0)] {
        turns.begin(now);
        assert_eq!(turns.due(now), Due::At(next), "{now}");
    }
    assert_eq!(turns.due(0), Due::Now);
}

#[test]
fn an_overrun_is_told() {
    let mut turns = Turns::new(Trigger::Interval(Duration::from_secs(10)), Duration::ZERO);
    turns.begin(12_000);
    assert!(!turns.end(22_000, true));
    assert!(turns.end(22_001, true));
    assert_eq!(turns.due(22_001), Due::Now, "the missed tick once, at once");
    turns.begin(55_000);
    assert_eq!(turns.due(55_000), Due::At(60_000), "and no other");
}

#[test]
fn epochs_are_cut_no_faster_than_they_may_be_written() {
    let least = Duration::from_millis(500);
    let mut turns = Turns::new(Trigger::Default, least);
    turns.begin(1_000);
    turns.end(1_020, true);
    assert_eq!((turns.due(1_020), turns.due(1_499), turns.due(1_500)), (Due::At(1_500), Due::At(1_500), Due::Now));
    turns.begin(1_500);
    turns.end(1_501, false);
    assert_eq!(turns.due(1_501), Due::Now, "a look that finds nothing costs nothing");
    turns.begin(3_000);
    turns.end(3_700, true);
    assert_eq!(turns.due(3_700), Due::Now, "an epoch that took longer");
    let mut turns = Turns::new(Trigger::Interval(Duration::from_millis(200)), least);
    turns.begin(1_000);
    assert!(!turns.end(1_020, true));
    assert_eq!(turns.due(1_020), Due::At(1_500), "the tick at 1200 would be too soon");
    let mut turns = Turns::new(Trigger::AvailableNow, least);
    turns.begin(0);
    turns.end(10, true);
    assert_eq!(turns.due(10), Due::At(500));
}
