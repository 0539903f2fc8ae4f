//! Tests of reading scenario files.

use super::*;

fn read(yaml: &str) -> Result<Scenario, String> {
    Scenario::of(&Node::parse(yaml, "yaml").unwrap(), "file-name")
}

const HEAD: &str = "pipeline: { trigger: once, sql: SELECT 1 }\noptions: { trigger: 1 second }\nquirk: true\n";

#[test]
fn options_stand_over_the_pipeline() {
    let scenario = read(&format!("{HEAD}steps: [ {{ restart: true }} ]")).unwrap();
    assert_eq!(scenario.name, "file-name");
    assert_eq!(scenario.settings.get("trigger"), Some("1 second"));
    assert_eq!(scenario.steps[0].number, 1);
}

#[test]
fn every_step_is_read() {
    let yaml = format!(
        "{HEAD}steps:
  - add: {{ a: [ {{x: 1}} ], b: [] }}
  - expect: [ {{x: 1}} ]
  - expect_all: {{ out: [] }}
  - expect_last_epoch: []
  - watermark: 15
  - state: {{ total: 2, updated: [1, 1] }}
  - event_time: {{ min: 1, watermark: 0 }}
  - restart: {{ set: {{ output.mode: update }} }}
  - advance_clock: 5 seconds
  - error: {{ at: run, contains: boom }}
"
    );
    let steps = read(&yaml).unwrap().steps;
    assert_eq!(steps.len(), 10);
    let Action::Add(rows) = &steps[0].action else { panic!("an add") };
    assert_eq!((rows[0].1.len(), rows[1].1.len()), (1, 0));
    assert!(matches!(&steps[2].action, Action::Expect(Scope::All, Expected::BySink(_))));
    let Action::State(counts) = &steps[5].action else { panic!("a state") };
    assert!(matches!(&counts[1], (Counter::Updated, Counts::Each(each)) if each == &[1, 1]));
    let Action::Restart(set) = &steps[7].action else { panic!("a restart") };
    assert_eq!(set.get("output.mode"), Some("update"));
    assert!(matches!(&steps[8].action, Action::AdvanceClock(by) if by.as_secs() == 5));
    assert!(matches!(&steps[9].action, Action::Error { at: At::Run, contains } if contains == "boom"));
}

#[test]
fn what_is_wrong_is_told_with_its_step() {
    let cases = [
        ("steps: []", "no 'steps'"),
        ("stepps: []", "unknown key 'stepps'"),
        ("steps: [ { expectt: [] } ]", "step 1: unknown step 'expectt'"),
        ("steps: [ { restart: true }, { add: [] } ]", "step 2: add: found a list"),
        ("steps: [ { expect: [ 1 ] } ]", "expected a row as a map"),
        ("steps: [ { state: { totl: 1 } } ]", "unknown counter 'totl'"),
        ("steps: [ { state: { total: -1 } } ]", "expected a whole number"),
        ("steps: [ { event_time: { mean: 1 } } ]", "unknown key 'mean'"),
        ("steps: [ { restart: false } ]", "expected true or"),
        ("steps: [ { advance_clock: soon } ]", "'soon' is not"),
        ("steps: [ { error: { at: end, contains: x } } ]", "expected 'at'"),
        ("steps: [ { add: {}, expect: [] } ]", "expected a map of one key"),
    ];
    for (steps, word) in cases {
        let message = read(&format!("{HEAD}{steps}")).unwrap_err();
        assert!(message.contains(word), "{steps}: {message}");
    }
    assert!(read("steps: [ { restart: true } ]").unwrap_err().contains("no 'pipeline'"));
}
