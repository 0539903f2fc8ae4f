use super::*;

#[test]
fn the_nth_hit_acts_as_often_as_said() {
    let mut rules = parse("kafka.commit=error@3*2, kafka.init=kill").unwrap();
    let hits: Vec<_> = (0..6).map(|_| due(&mut rules, "kafka.commit")).collect();
    assert_eq!(hits, [None, None, Some(Action::Error), Some(Action::Error), None, None]);
    assert_eq!(due(&mut rules, "kafka.produce"), None);
    assert_eq!(due(&mut rules, "kafka.init"), Some(Action::Kill));
    assert_eq!(due(&mut rules, "kafka.init"), None);
}

#[test]
fn what_is_no_fault_is_refused() {
    for text in ["kafka.init", "kafka.init=explode", "kafka.init=kill@x", "kafka.init=kill*y"] {
        assert!(parse(text).unwrap_err().to_string().contains(text), "{text}");
    }
    assert_eq!(parse(" , ").unwrap(), []);
}

#[test]
fn without_the_environment_nothing_happens() {
    assert!(hit("kafka.commit").is_ok());
    assert_eq!(STATE.load(Ordering::Relaxed), UNARMED);
}
