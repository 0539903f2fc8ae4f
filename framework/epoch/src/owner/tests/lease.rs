use std::sync::atomic::Ordering;
use std::time::Instant;

use super::odd_store::OddStore;
use super::*;

fn odd() -> (Arc<OddStore>, Arc<Store>) {
    let odd = Arc::new(OddStore::default());
    let store = store_at(&OddStore::location(&odd));
    (odd, store)
}

/// Another host's owner, whose heart stands still.
async fn put_stranger(store: &Store, generation: u64) {
    store.create_new(&format!("{OWNERS}/{generation}"), &text(&stranger(generation))).await.unwrap();
    store.write_unsynced(&beat_key(generation), b"{\"n\":3,\"time_ms\":1,\"released\":false}").await.unwrap();
}

#[tokio::test]
async fn a_live_owner_is_refused() {
    let (_, store) = odd();
    let ours = options();
    let owner = own(&store, &ours).await.unwrap();
    let began = Instant::now();
    let text = refusal(&store, &options()).await;
    assert!(began.elapsed() < LEASE, "its next heartbeat is enough");
    assert!(text.contains(&format!("in use by run {} (process", ours.run_id)), "{text}");
    assert!(text.starts_with("checkpoint mem:///checkpoint "), "{text}");
    tokio::time::sleep(LEASE * 2).await;
    owner.check().await.unwrap();
}

#[tokio::test]
async fn a_silent_owner_is_waited_for() {
    let (_, store) = odd();
    put_stranger(&store, 4).await;
    let began = Instant::now();
    let owner = own(&store, &options()).await.unwrap();
    assert!(began.elapsed() >= LEASE, "{:?}", began.elapsed());
    assert_eq!(owner.generation(), 5);
    assert_eq!(store.list_numbers(OWNERS).await.unwrap(), [5]);
    let beats: Vec<_> = store.all().await.unwrap().into_keys().filter(|it| it.ends_with(".beat")).collect();
    assert_eq!(beats, [beat_key(5)]);
}

#[tokio::test]
async fn a_process_of_this_host_that_is_gone_is_not_waited_for() {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let gone = Holder { pid: child.id(), ..Holder::this("their-run".into(), 0, 7) };
    let reused = Holder { started: 1, ..Holder::this("their-run".into(), 0, 7) };
    for (holder, waits) in [(&gone, false), (&reused, false)] {
        let (_, store) = odd();
        store.create_new("state/owner/0", &text(holder)).await.unwrap();
        let began = Instant::now();
        own(&store, &options()).await.unwrap();
        assert_eq!(began.elapsed() >= LEASE, waits, "{holder:?}");
    }
    // The same numbers say nothing after another boot, or on another host.
    for holder in [Holder { boot: "another".to_owned(), ..gone.clone() }, Holder { host: "other".to_owned(), ..gone }] {
        let (_, store) = odd();
        store.create_new("state/owner/0", &text(&holder)).await.unwrap();
        let began = Instant::now();
        own(&store, &options()).await.unwrap();
        assert!(began.elapsed() >= LEASE, "{holder:?}");
    }
}

#[tokio::test]
async fn a_run_of_this_process_that_has_ended_is_not_waited_for() {
    let (_, store) = odd();
    drop(own(&store, &options()).await.unwrap());
    let began = Instant::now();
    assert_eq!(own(&store, &options()).await.unwrap().generation(), 1);
    assert!(began.elapsed() < LEASE);
}

#[tokio::test]
async fn a_released_lease_is_not_waited_for() {
    let (_, store) = odd();
    put_stranger(&store, 0).await;
    let owner = own(&store, &taking_over()).await.unwrap();
    owner.release().await;
    // As if on another host.
    let holder = stranger(1);
    store.write_unsynced("state/owner/1", &text(&holder)).await.unwrap();
    let began = Instant::now();
    assert_eq!(own(&store, &options()).await.unwrap().generation(), 2);
    assert!(began.elapsed() < LEASE);
}

#[tokio::test]
async fn taking_over_does_not_wait_and_fences() {
    let (_, store) = odd();
    let old = own(&store, &options()).await.unwrap();
    let began = Instant::now();
    let new = own(&store, &taking_over()).await.unwrap();
    assert!(began.elapsed() < LEASE);
    assert!(fenced(&old).await.contains("generation 0 is not the newest"));
    new.check().await.unwrap();
    let newer = own(&store, &taking_over()).await.unwrap();
    assert!(fenced(&old).await.contains("generation 0 is not the newest"), "though the file of generation 1 is gone");
    fenced(&new).await;
    newer.check().await.unwrap();
}

#[tokio::test]
async fn of_two_starts_that_race_one_wins() {
    for seed in 0..20 {
        let (_, store) = odd();
        put_stranger(&store, 0).await;
        let (ours, theirs) = (taking_over(), taking_over());
        let first = Candidate::new(&store, &ours, false).await.unwrap();
        let second = Candidate::new(&store, &theirs, false).await.unwrap();
        let (first, second) = tokio::join!(first.claim(&store, &ours), second.claim(&store, &theirs));
        let (winner, loser) = match (first, second) {
            (Ok(it), Err(e)) | (Err(e), Ok(it)) => (it, e),
            (Ok(_), Ok(_)) => panic!("round {seed}: both own it"),
            (Err(a), Err(b)) => panic!("round {seed}: {a}; {b}"),
        };
        assert_eq!(loser.kind(), ErrorKind::Config);
        assert!(loser.to_string().contains("generation 1"), "{loser}");
        assert_eq!(winner.generation(), 1);
        winner.check().await.unwrap();
    }
}

#[tokio::test]
async fn a_claim_whose_reply_was_lost_counts() {
    let (odd, store) = odd();
    odd.lost_replies.store(1, Ordering::SeqCst);
    let owner = own(&store, &options()).await.unwrap();
    assert_eq!(owner.generation(), 0);
    owner.check().await.unwrap();
}

#[tokio::test]
async fn an_owner_whose_heartbeats_do_not_arrive_gives_up() {
    let (odd, store) = odd();
    let owner = own(&store, &options()).await.unwrap();
    odd.lost_beats.store(u32::MAX, Ordering::SeqCst);
    tokio::time::sleep(LEASE * 2).await;
    let text = fenced(&owner).await;
    assert!(text.contains("the last heartbeat was") && text.contains("lease.timeout is 200ms"), "{text}");
    // Nobody took over: once one arrives it is the owner still.
    odd.lost_beats.store(0, Ordering::SeqCst);
    tokio::time::sleep(LEASE).await;
    owner.check().await.unwrap();
}

#[tokio::test]
async fn an_owner_gives_up_before_another_may_begin() {
    for _ in 0..3 {
        let (odd, store) = odd();
        let owner = own(&store, &options()).await.unwrap();
        odd.lost_beats.store(u32::MAX, Ordering::SeqCst);
        let theirs = options();
        let vacant = Candidate::new(&store, &theirs, false).await.unwrap();
        assert!(fenced(&owner).await.contains("the last heartbeat was"));
        odd.lost_beats.store(0, Ordering::SeqCst);
        vacant.claim(&store, &theirs).await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_heartbeat_or_owner_is_no_owner_that_has_ended() {
    let (_, store) = odd();
    store.create_new("state/owner/0", b"{ damaged").await.unwrap();
    store.write_unsynced(&beat_key(0), b"{\"n\":3,\"time_ms\":1,\"released\":true,\"crc32\":1}").await.unwrap();
    let began = Instant::now();
    own(&store, &options()).await.unwrap();
    assert!(began.elapsed() >= LEASE);
}

#[tokio::test]
async fn a_store_without_conditions_is_refused() {
    let (odd, store) = odd();
    store.probe().await.unwrap();
    odd.unconditional.store(true, Ordering::SeqCst);
    let error = store.probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("it replaced a file, expected one that creates"), "{error}");
    assert_eq!(store.all().await.unwrap().len(), 0, "the probe is gone");
    odd.unconditional.store(false, Ordering::SeqCst);
    odd.lost_replies.store(1, Ordering::SeqCst);
    store.probe().await.unwrap();
}
