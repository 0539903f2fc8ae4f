use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn inbox(limit: usize) -> (Inbox, Arc<AtomicU32>) {
    let woken = Arc::new(AtomicU32::new(0));
    let count = woken.clone();
    let wake = Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    (Inbox::new("t", 0, 10, limit, wake), woken)
}

/// Records up to `next`, of `bytes` bytes.
fn records(from: i64, next: i64, bytes: usize) -> Option<(RecordSet, i64, i32)> {
    Some((RecordSet { from, bytes: vec![0; bytes], aborted: Vec::new() }, next, 3))
}

fn wanted(inbox: &Inbox) -> Turn {
    let Wants::Records(turn) = inbox.wants() else { panic!("nothing is wanted") };
    turn
}

#[test]
fn a_full_inbox_asks_for_nothing_and_rings_when_there_is_room() {
    let (inbox, woken) = inbox(100);
    let bell = Arc::new(Notify::new());
    inbox.asked_by(&bell);
    inbox.fetched(wanted(&inbox), records(10, 20, 99), 500);
    inbox.fetched(wanted(&inbox), records(20, 30, 1), 500);
    assert!(matches!(inbox.wants(), Wants::Full));
    assert_eq!((woken.load(Ordering::Relaxed), inbox.end()), (2, Some(500)));
    let Some(Item::Set(first)) = inbox.take() else { panic!("no records") };
    assert_eq!(first.from, 10);
    assert_eq!(wanted(&inbox), Turn { jump: 0, next: 30, epoch: 3 });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(bell.notified());
}

#[test]
fn an_answer_from_before_a_jump_is_thrown_away() {
    let (inbox, woken) = inbox(100);
    let before = wanted(&inbox);
    inbox.fetched(before, records(10, 20, 50), 500);
    assert!(!inbox.jump(5));
    inbox.fetched(before, records(20, 30, 50), 500);
    inbox.failed(before, RDKafkaErrorCode::AutoOffsetReset, "gone".to_owned(), true);
    assert!(inbox.take().is_none());
    assert_eq!((wanted(&inbox).next, inbox.end()), (5, None));
    assert_eq!(woken.load(Ordering::Relaxed), 1);
}

#[test]
fn each_end_is_told_once() {
    let (inbox, woken) = inbox(100);
    for _ in 0..3 {
        inbox.fetched(wanted(&inbox), None, 10);
    }
    assert!(matches!(inbox.take(), Some(Item::End(10))));
    assert!(inbox.take().is_none());
    assert_eq!(woken.load(Ordering::Relaxed), 1);
}

#[test]
fn a_stopped_partition_is_fetched_again_after_a_jump() {
    let (inbox, _) = inbox(100);
    let turn = wanted(&inbox);
    for _ in 0..3 {
        inbox.failed(turn, RDKafkaErrorCode::AutoOffsetReset, "gone".to_owned(), true);
    }
    assert!(matches!(inbox.wants(), Wants::Nothing));
    assert!(matches!(inbox.take(), Some(Item::Failed { offset: 10, .. })));
    assert!(inbox.take().is_none(), "one failure is told once");
    assert!(inbox.jump(7), "somebody has to look for its leader");
    assert_eq!(wanted(&inbox).next, 7);
}

#[test]
fn a_lost_place_is_found_behind_what_was_fetched() {
    let (inbox, _) = inbox(100);
    inbox.fetched(wanted(&inbox), records(10, 20, 50), 500);
    let turn = wanted(&inbox);
    inbox.look_for_start(turn);
    assert!(matches!(inbox.wants(), Wants::Nothing));
    assert_eq!((inbox.looks_for_start(), inbox.end()), (Some(turn), None));
    inbox.begins_at(turn, 0);
    assert_eq!(wanted(&inbox), Turn { jump: 0, next: 0, epoch: -1 });
    assert!(matches!(inbox.take(), Some(Item::Set(_))));
}
