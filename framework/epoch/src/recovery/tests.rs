use super::*;
use crate::log::Plan;
use crate::manifest::{Counts, Manifest};
use crate::watermark::WatermarkPolicy;

fn attempt(text: &str) -> AttemptId {
    text.parse().unwrap()
}

/// Epoch 5, tried by these attempts.
fn newest(attempts: &[&str], snapshot: Option<&str>, committed: bool) -> Newest {
    let latest = attempt(attempts.last().unwrap());
    let manifest = Manifest {
        attempt: latest,
        nodes: Vec::new(),
        next_watermark_ms: None,
        pieces: Vec::new(),
        counts: Counts::default(),
    };
    let plan = Plan {
        epoch: 5,
        sources: Vec::new(),
        time_ms: 0,
        write_time_us: 0,
        watermark_ms: None,
        late_watermark_ms: None,
        watermark_policy: WatermarkPolicy::Min,
        seed: 0,
        zone: "UTC".to_owned(),
        digest: String::new(),
    };
    Newest {
        record: Record { attempt: latest, commit: None, plan, manifest },
        attempts: attempts.iter().map(|it| attempt(it)).collect(),
        snapshot: snapshot.map(attempt),
        committed,
    }
}

fn sink(committed: Option<(u64, &str)>, best_effort: bool) -> SinkStands {
    let committed = committed.map(|(epoch, text)| (epoch, attempt(text)));
    SinkStands { name: "sink".into(), best_effort, committed }
}

fn verdict(newest: &Newest, sinks: &[SinkStands]) -> String {
    match newest.verdict(sinks) {
        Ok(None) => "pending".to_owned(),
        Ok(Some(attempt)) => attempt.to_string(),
        Err(e) => e.to_string(),
    }
}

#[test]
fn sinks_decide_only_together() {
    let epoch = newest(&["1.0", "1.1", "2.0"], None, false);
    let (before, first, second) =
        (sink(Some((4, "0.0")), false), sink(Some((5, "1.1")), false), sink(Some((5, "2.0")), false));
    assert_eq!(verdict(&epoch, &[]), "pending");
    assert_eq!(verdict(&epoch, std::slice::from_ref(&before)), "pending");
    assert_eq!(verdict(&epoch, std::slice::from_ref(&first)), "1.1");
    assert_eq!(verdict(&epoch, &[first.clone(), before]), "pending");
    assert_eq!(verdict(&epoch, &[first.clone(), sink(None, false)]), "pending", "a sink that can't tell");
    assert_eq!(verdict(&epoch, &[second.clone(), first.clone()]), "1.1", "the first of several");
    assert_eq!(verdict(&epoch, &[second, sink(Some((9, "1.1")), true)]), "2.0", "best effort has no say");
    assert_eq!(verdict(&epoch, &[sink(Some((5, "1.1")), true)]), "pending", "nor alone");
}

#[test]
fn files_decide_alone() {
    assert_eq!(verdict(&newest(&["1.0", "2.0"], None, true), &[]), "2.0");
    assert_eq!(verdict(&newest(&["1.0", "2.0"], None, true), &[sink(Some((5, "1.0")), false)]), "1.0");
    assert_eq!(
        verdict(&newest(&["1.0", "2.0"], None, true), &[sink(Some((3, "0.0")), false)]),
        "2.0",
        "no rows, no commit"
    );
    assert_eq!(verdict(&newest(&["1.0", "2.0"], Some("1.0"), false), &[]), "1.0");
}

#[test]
fn what_the_log_does_not_know_is_refused() {
    let epoch = newest(&["1.0"], None, false);
    let text = verdict(&epoch, &[sink(Some((6, "1.0")), false)]);
    assert!(text.starts_with("sink sink shows epoch 6, the newest in the checkpoint is 5"), "{text}");
    let text = verdict(&epoch, &[sink(Some((5, "3.0")), false)]);
    assert!(text.contains("of attempt 3.0, which has no record here"), "{text}");
}
