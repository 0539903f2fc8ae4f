use std::sync::Arc;

use super::*;
use crate::log::Plan;
use crate::manifest::{Counts, Manifest, StagedKind, StagedPiece, StagedPlace};
use crate::watermark::WatermarkPolicy;

fn attempt(text: &str) -> AttemptId {
    text.parse().unwrap()
}

fn record(of: AttemptId, staged: bool) -> Record {
    let piece = |sink: &Arc<str>| StagedPiece {
        sink: sink.clone(),
        kind: StagedKind::Rows,
        place: StagedPlace::Section(0),
        bytes: 0,
        crc32: 0,
        rows: 0,
    };
    let sinks: Vec<Arc<str>> = vec!["sink".into(), "other".into()];
    let manifest = Manifest {
        attempt: of,
        nodes: Vec::new(),
        next_watermark_ms: None,
        next_groups: Vec::new(),
        pieces: Vec::new(),
        counts: Counts::default(),
        staged: if staged { sinks.iter().map(piece).collect() } else { Vec::new() },
        sinks,
    };
    let plan = Plan {
        epoch: 5,
        sources: Vec::new(),
        time_ms: 0,
        write_time_us: 0,
        watermark_ms: None,
        late_watermark_ms: None,
        groups: Vec::new(),
        late_groups: Vec::new(),
        ceiling_ms: None,
        watermark_policy: WatermarkPolicy::Min,
        idle: Vec::new(),
        following: Vec::new(),
        seed: 0,
        zone: "UTC".to_owned(),
        digest: "query".to_owned(),
        statics: Vec::new(),
        removed: Vec::new(),
        suppress: false,
        own_rows: crate::log::OwnRows::Later,
    };
    Record { attempt: of, commit: None, plan, manifest }
}

/// Epoch 5, tried by these attempts; those with a star are staged.
fn newest(attempts: &[&str], snapshot: Option<&str>, committed: bool) -> Newest {
    let records = attempts.iter().map(|it| record(attempt(it.trim_end_matches('*')), it.ends_with('*')));
    let mut earlier: BTreeMap<AttemptId, Record> = records.map(|it| (it.attempt, it)).collect();
    let attempts = earlier.keys().copied().collect();
    let (_, latest) = earlier.pop_last().unwrap();
    Newest {
        epoch: 5,
        attempts,
        latest,
        delta: Vec::new(),
        earlier,
        snapshot: snapshot.map(attempt),
        committed,
        rejects: false,
    }
}

fn sink(committed: Option<(u64, &str)>, best_effort: bool) -> SinkStands {
    let committed = committed.map(|(epoch, text)| (epoch, attempt(text)));
    SinkStands { name: "sink".into(), best_effort, committed }
}

fn verdict(newest: &Newest, sinks: &[SinkStands]) -> String {
    match newest.verdict(sinks, "query") {
        Ok(Verdict::Pending(_)) => "pending".to_owned(),
        Ok(Verdict::Staged(attempt)) => format!("staged {attempt}"),
        Ok(Verdict::Decided(attempt)) => attempt.to_string(),
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

#[test]
fn what_is_staged_is_committed_as_it_is() {
    let staged = newest(&["1.0*", "1.1*"], None, false);
    let shows = |attempt: Option<&'static str>| sink(attempt.map(|it| (5, it)), false);
    assert_eq!(verdict(&staged, &[shows(None), shows(None)]), "staged 1.1");
    assert_eq!(verdict(&staged, &[shows(Some("1.0")), shows(None)]), "staged 1.0", "a sink has chosen");
    assert_eq!(verdict(&staged, &[shows(Some("1.1")), shows(Some("1.1"))]), "1.1");
    assert_eq!(verdict(&newest(&["1.0*"], None, true), &[shows(None)]), "1.0");
    let one = newest(&["1.0*", "2.0"], None, false);
    assert_eq!(verdict(&one, &[shows(None)]), "staged 1.0", "the newest of those that are staged");
    assert_eq!(verdict(&one, &[shows(Some("2.0")), shows(None)]), "pending");
}

#[test]
fn a_sink_that_is_new_has_no_part_in_the_epoch() {
    let epoch = newest(&["1.0"], None, false);
    let new = SinkStands { name: "new".into(), best_effort: false, committed: None };
    assert_eq!(verdict(&epoch, &[sink(Some((5, "1.0")), false), new]), "1.0");
}

#[test]
fn a_changed_query_does_not_finish_what_half_is_visible() {
    let epoch = newest(&["1.0"], None, false);
    let half = [sink(Some((5, "1.0")), false), sink(None, false)];
    assert_eq!(epoch.verdict(&half, "query").unwrap(), Verdict::Pending(attempt("1.0")));
    let error = epoch.verdict(&half, "another").unwrap_err();
    assert_eq!(error.kind(), tidegate_api::ErrorKind::Config);
    assert!(error.to_string().contains("epoch 5 is half visible by a query that has changed"), "{error}");
    assert_eq!(epoch.verdict(&half[1..], "another").unwrap(), Verdict::Pending(attempt("1.0")));
    assert_eq!(newest(&["1.0*"], None, false).verdict(&half, "another").unwrap(), Verdict::Staged(attempt("1.0")));
}

#[test]
fn records_of_an_overtaken_owner_are_left_out() {
    let left = |logged: &[(u64, &str)]| {
        let mut map: BTreeMap<u64, BTreeSet<AttemptId>> = BTreeMap::new();
        for (epoch, it) in logged {
            map.entry(*epoch).or_default().insert(attempt(it));
        }
        let (epoch, attempts) = without_zombies(map).pop_last().unwrap();
        let attempts: Vec<_> = attempts.iter().map(ToString::to_string).collect();
        format!("{epoch}: {}", attempts.join(" "))
    };
    assert_eq!(left(&[(4, "0.0"), (5, "0.0"), (5, "1.0")]), "5: 0.0 1.0");
    assert_eq!(left(&[(4, "0.0"), (4, "1.0"), (5, "0.1")]), "4: 0.0 1.0");
    assert_eq!(left(&[(4, "0.0"), (4, "1.0"), (5, "0.1"), (5, "1.0")]), "5: 1.0");
    assert_eq!(left(&[(3, "2.0"), (5, "0.1")]), "5: 0.1", "there is a gap: nothing is known");
}
