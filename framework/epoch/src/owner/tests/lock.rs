use super::*;

fn folder() -> (tempfile::TempDir, Arc<Store>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("state")).unwrap();
    let store = store_at(&Location::at(folder.path()).unwrap());
    (folder, store)
}

#[tokio::test]
async fn a_live_owner_is_named() {
    let (folder, store) = folder();
    let (ours, theirs) = (options(), options());
    let owner = own(&store, &ours).await.unwrap();
    let text = refusal(&store, &theirs).await;
    let whole = format!("in use by run {} (process {} on ", ours.run_id, std::process::id());
    assert!(text.contains(&whole) && text.contains("generation 0"), "{text}");
    assert!(text.contains(&folder.path().display().to_string()), "{text}");
    owner.check().await.unwrap();
}

#[tokio::test]
async fn a_dropped_owner_is_replaced_at_once() {
    let (_folder, store) = folder();
    for generation in 0..3 {
        let owner = own(&store, &options()).await.unwrap();
        assert_eq!(owner.generation(), generation);
        owner.check().await.unwrap();
    }
    assert_eq!(store.list_numbers(GENERATIONS).await.unwrap(), [2], "older ones are gone");
}

#[tokio::test]
async fn taking_over_fences_the_old_owner() {
    let (_folder, store) = folder();
    let old = own(&store, &options()).await.unwrap();
    let new = own(&store, &taking_over()).await.unwrap();
    assert_eq!(new.generation(), 1);
    assert!(fenced(&old).await.contains("found generation 1, expected 0: another owner took over"));
    new.check().await.unwrap();
    // The old one's lock is of a file without a name: a third start meets the new one's.
    let ours = options();
    drop(old);
    assert!(refusal(&store, &ours).await.contains("generation 1"));
}

#[tokio::test]
async fn of_two_that_take_over_at_once_one_goes_on() {
    let (_folder, store) = folder();
    let old = own(&store, &options()).await.unwrap();
    let (ours, theirs) = (taking_over(), taking_over());
    let first = Candidate::new(&store, &ours, false).await.unwrap();
    let second = Candidate::new(&store, &theirs, false).await.unwrap();
    let second = second.claim(&store, &theirs).await.unwrap();
    let error = first.claim(&store, &ours).await.err().unwrap();
    assert!(error.to_string().contains("was taken by another start at the same time"), "{error}");
    second.check().await.unwrap();
    fenced(&old).await;
}

#[tokio::test]
async fn who_claimed_before_another_took_over_is_fenced() {
    let (_folder, store) = folder();
    let old = own(&store, &options()).await.unwrap();
    let (ours, theirs) = (taking_over(), taking_over());
    let first = Candidate::new(&store, &ours, false).await.unwrap();
    let first = first.claim(&store, &ours).await.unwrap();
    let second = own(&store, &theirs).await.unwrap();
    assert_eq!((first.generation(), second.generation()), (1, 2));
    fenced(&first).await;
    fenced(&old).await;
    second.check().await.unwrap();
}

#[tokio::test]
async fn a_generation_is_never_begun_twice() {
    let (_folder, store) = folder();
    let old = own(&store, &options()).await.unwrap();
    for _ in 0..3 {
        own(&store, &taking_over()).await.unwrap();
    }
    // A start that slept since it saw generation 0 begins generation 1 now, which was there and is gone.
    assert_eq!(store.list_numbers(GENERATIONS).await.unwrap(), [3]);
    assert!(!claim::begin(&store, GENERATIONS, 1, b"late").await.unwrap());
    assert_eq!(store.list_numbers(GENERATIONS).await.unwrap(), [3]);
    fenced(&old).await;
    // And had it died half-way, the owner of generation 0 would still see that its own is gone, that of 1 another's text.
    assert!(store.create_new("state/generations/1", b"late").await.unwrap());
    assert!(!claim::is_newest(&store, GENERATIONS, 1, b"mine").await.unwrap());
    fenced(&old).await;
}

#[tokio::test]
async fn the_generation_of_version_1_counts() {
    let (_folder, store) = folder();
    store.write_unsynced(claim::OLD_GENERATION, b"41").await.unwrap();
    let owner = own(&store, &options()).await.unwrap();
    assert_eq!(owner.generation(), 42);
    owner.check().await.unwrap();
    assert_eq!(store.read(claim::OLD_GENERATION).await.unwrap(), None);
}

#[tokio::test]
async fn a_check_can_be_left_out() {
    let (_folder, store) = folder();
    let old = own(&store, &OwnerOptions { check: false, ..options() }).await.unwrap();
    own(&store, &taking_over()).await.unwrap();
    old.check().await.unwrap();
}

#[tokio::test]
async fn temporary_names_of_two_owners_differ() {
    let (_folder, store) = folder();
    let other = store_at(store.location());
    let faults = store.faults.clone();
    faults.arm("record.write=crash").unwrap();
    let marks = crate::store::Marks { write: Some(crate::fault::Point::RecordWrite), ..crate::store::Marks::NONE };
    store.write("state/x", &[b"old"], &marks).await.unwrap_err();
    other.write_unsynced("state/x", b"new").await.unwrap();
    assert_eq!(other.read("state/x").await.unwrap().unwrap(), b"new");
    let left = |all: std::collections::BTreeMap<String, u64>| all.into_keys().filter(|it| it.ends_with(".tmp")).count();
    assert_eq!(left(other.all().await.unwrap()), 1, "a dead process cleans nothing up");
    other.sweep().await.unwrap();
    assert_eq!(left(other.all().await.unwrap()), 0);
}
