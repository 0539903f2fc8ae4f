use super::*;

fn outcomes(text: &str, hits: usize) -> Vec<Option<ErrorKind>> {
    let faults = Faults::default();
    faults.arm(text).unwrap();
    (0..hits).map(|_| faults.hit(Point::Run, 7).err().map(|it| it.kind())).collect()
}

#[test]
fn a_fault_acts_on_the_hits_that_it_names() {
    use ErrorKind::{Internal, Transient};
    assert_eq!(outcomes("run=error", 3), [Some(Transient), None, None]);
    assert_eq!(outcomes("run=internal@3", 4), [None, None, Some(Internal), None]);
    assert_eq!(outcomes("run=error@2*2", 4), [None, Some(Transient), Some(Transient), None]);
    assert_eq!(outcomes("run=error, run=internal@2", 3), [Some(Transient), Some(Internal), None]);
    assert_eq!(outcomes("seal=error", 1), [None]);
}

#[test]
fn after_a_crash_everything_fails() {
    let faults = Faults::default();
    faults.arm("run=crash").unwrap();
    faults.hit(Point::Plan, 0).unwrap();
    assert_eq!(faults.hit(Point::Run, 0).unwrap_err().to_string(), "crash at run of epoch 0");
    assert!(faults.crashed());
    faults.clone().hit(Point::Plan, 0).unwrap_err();
}

#[test]
fn wrong_texts_are_refused() {
    for text in ["run", "run=boom", "run=error@x", "run=error*", "nowhere=crash"] {
        let error = Faults::default().arm(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{text}");
    }
    let text = Faults::default().arm("nowhere=crash").unwrap_err().to_string();
    assert!(text.starts_with("fault point 'nowhere': expected one of plan, run, prepare, stage.write"), "{text}");
}

#[test]
fn points_go_by_their_names() {
    for point in Point::ALL {
        assert_eq!(point.to_string().parse::<Point>().unwrap(), *point);
    }
}

#[test]
fn a_chained_fault_waits_for_the_one_before() {
    let faults = Faults::default();
    faults.arm_point(Point::Seal, Action::Error(ErrorKind::Transient), 2);
    faults.arm_then(Point::Run, Action::Error(ErrorKind::Internal), 1, 2);
    faults.watch();
    for _ in 0..2 {
        faults.hit(Point::Run, 0).unwrap();
    }
    faults.hit(Point::Seal, 0).unwrap();
    faults.hit(Point::Seal, 0).unwrap_err();
    assert_eq!(faults.acted(), 1);
    for _ in 0..2 {
        assert_eq!(faults.hit(Point::Run, 0).unwrap_err().kind(), ErrorKind::Internal);
    }
    faults.hit(Point::Run, 0).unwrap();
    assert_eq!(faults.acted(), 2);
    assert_eq!((faults.trace().len(), faults.trace_after()), (7, vec![(0, Point::Run)]));
}

#[test]
fn who_comes_to_a_gate_stands_until_it_opens() {
    let faults = Faults::default();
    let gate = faults.arm_pause(Point::Run, 2);
    let other = faults.clone();
    let paused = std::thread::spawn(move || (0..3).filter(|_| other.hit(Point::Run, 0).is_ok()).count());
    assert!(gate.reached());
    assert!(!paused.is_finished());
    gate.resume();
    assert_eq!(paused.join().unwrap(), 3);
    assert!(!gate.reached());
}
