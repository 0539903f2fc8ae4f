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
    let mut turns = Turns::new(Trigger::Interval(Duration::from_secs(10)));
    for (now, next) in [(0, 10_000), (9_999, 10_000), (10_000, 20_000), (-1, 0), (-10_000, 0)] {
        turns.begin(now);
        assert_eq!(turns.due(now), Due::At(next), "{now}");
    }
    assert_eq!(turns.due(0), Due::Now);
}

#[test]
fn an_overrun_is_told() {
    let mut turns = Turns::new(Trigger::Interval(Duration::from_secs(10)));
    turns.begin(12_000);
    assert!(!turns.end(22_000, true));
    assert!(turns.end(22_001, true));
    assert_eq!(turns.due(22_001), Due::Now, "the missed tick once, at once");
    turns.begin(55_000);
    assert_eq!(turns.due(55_000), Due::At(60_000), "and no other");
}
