//! Snapshots and purges keep what a restart needs, and no more.

use crate::world::{World, drain, model};

#[tokio::test]
async fn old_epochs_go_and_a_restart_still_has_all() {
    let mut world = World::new();
    world.settings.min_epochs_to_retain = 3;
    world.settings.no_data_epochs = false;
    let mut query = world.start().await.unwrap();
    for at in 0..20 {
        world.feed().add(&[at * 3]);
        drain(&mut query).await.unwrap();
    }
    // Snapshots at 1, 3 … 19; R = 16, so the newest at or before it is 15.
    let from_15: Vec<_> = (15..20).map(|it| it.to_string()).collect();
    assert_eq!(world.list("state/snapshots"), ["15.0.0", "17.0.0", "19.0.0"]);
    assert_eq!(world.list("state/wal"), from_15.iter().map(|it| format!("{it}.0.0")).collect::<Vec<_>>());
    assert_eq!(world.list("offsets"), from_15);
    assert_eq!(world.list("commits"), from_15);
    assert_eq!(world.feed().forgotten(), Some(16), "sources keep what epoch 16 and later read");
    drop(query);
    let mut query = world.start().await.unwrap();
    world.feed().add(&[100, 120]);
    drain(&mut query).await.unwrap();
    world.feed().add(&[121]);
    drain(&mut query).await.unwrap();
    let (mut expected, _) = model(&world.feed().values());
    expected.retain(|(end, _)| *end <= 115_000);
    assert_eq!(world.store().rows(), expected);
}

#[tokio::test]
async fn any_snapshot_can_be_started_from() {
    // Each restart starts from another snapshot and another number of records after it.
    let mut world = World::new();
    world.settings.min_epochs_to_retain = 1;
    world.settings.no_data_epochs = false;
    for at in 0..12 {
        let mut query = world.start().await.unwrap();
        world.feed().add(&[at * 7]);
        drain(&mut query).await.unwrap();
    }
    let (expected, _) = model(&world.feed().values()[..11]);
    assert_eq!(world.store().rows(), expected);
    assert!(world.list("state/wal").len() <= 4, "{:?}", world.list("state/wal"));
}

#[tokio::test]
async fn nothing_goes_while_all_may_be_gone_back_to() {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    for at in 0..10 {
        world.feed().add(&[at]);
        drain(&mut query).await.unwrap();
    }
    assert_eq!(world.list("state/wal").len(), 14, "ten epochs, and four without data from 6 s on");
    assert_eq!(world.feed().forgotten(), None);
}
