//! The watermark over epochs, nodes, policies and restarts.

use tidegate_epoch::WatermarkPolicy;

use crate::world::{Feed, World, drain};

fn two_streams() -> World {
    let mut world = World::new();
    world.feeds = vec![("s1", Feed::default()), ("s2", Feed::default())];
    world
}

#[tokio::test]
async fn the_slower_node_leads_and_a_restart_forgets_what_each_had_reached() {
    let world = two_streams();
    let (s1, s2) = (world.feeds[0].1.clone(), world.feeds[1].1.clone());
    let mut query = world.start().await.unwrap();
    for (first, second, expected) in [
        (&[11][..], &[][..], 0),
        (&[], &[7], 2_000),
        (&[], &[9], 4_000),
        (&[100], &[100], 95_000),
        (&[20], &[30], 95_000),
    ] {
        s1.add(first);
        s2.add(second);
        drain(&mut query).await.unwrap();
        assert_eq!(query.watermark_ms(), Some(expected));
    }
    drop(query);
    let mut query = world.start().await.unwrap();
    assert_eq!(query.watermark_ms(), Some(95_000));
    s2.add(&[200]);
    drain(&mut query).await.unwrap();
    assert_eq!(query.watermark_ms(), Some(95_000), "s1 counts as 1970 until it brings something");
    s1.add(&[110]);
    drain(&mut query).await.unwrap();
    assert_eq!(query.watermark_ms(), Some(105_000));
}

#[tokio::test]
async fn the_policy_of_the_first_start_is_kept() {
    let mut world = two_streams();
    world.settings.watermark_policy = WatermarkPolicy::Max;
    let mut query = world.start().await.unwrap();
    world.feeds[0].1.add(&[20]);
    drain(&mut query).await.unwrap();
    assert_eq!(query.watermark_ms(), Some(15_000));
    drop(query);
    world.settings.watermark_policy = WatermarkPolicy::Min;
    let mut query = world.start().await.unwrap();
    world.feeds[1].1.add(&[150]);
    drain(&mut query).await.unwrap();
    assert_eq!(query.watermark_ms(), Some(145_000));
    assert!(world.file("offsets/2").contains("\"spark.sql.streaming.multipleWatermarkPolicy\":\"max\""));
}

#[tokio::test]
async fn late_is_what_the_epoch_before_evicted_with() {
    let mut world = World::new();
    world.settings.no_data_epochs = false;
    let mut query = world.start().await.unwrap();
    let mut dropped = Vec::new();
    for rows in [&[30][..], &[1], &[1]] {
        world.feed().add(rows);
        let ran = drain(&mut query).await.unwrap();
        dropped.push((ran[0].watermark_ms, ran[0].state_operators[0].num_rows_dropped_by_watermark));
        if dropped.len() == 2 {
            drop(query);
            query = world.start().await.unwrap();
        }
    }
    // The second epoch evicts by 25 s, but what is late in it the first epoch says: 0.
    assert_eq!(dropped, [(Some(0), 0), (Some(25_000), 0), (Some(25_000), 1)]);
}

#[tokio::test]
async fn a_row_from_before_1970_is_late_in_the_first_epoch() {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    world.feed().add(&[-15, -5]);
    let ran = drain(&mut query).await.unwrap();
    assert_eq!(ran[0].state_operators[0].num_rows_dropped_by_watermark, 2);
}

#[tokio::test]
async fn without_nodes_there_is_none() {
    let mut world = World::new();
    world.windows = false;
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1]);
    let ran = drain(&mut query).await.unwrap();
    assert_eq!((ran.len(), query.watermark_ms(), ran[0].watermark_ms), (1, None, None));
    assert!(ran[0].event_time.is_empty());
    assert!(world.file("offsets/0").starts_with("v1\n{\"batchWatermarkMs\":0,"));
}

#[tokio::test]
async fn sources_may_come_in_another_order_after_a_restart() {
    let mut world = two_streams();
    let mut query = world.start().await.unwrap();
    world.feeds[0].1.add(&[21, 22]);
    world.feeds[1].1.add(&[23]);
    drain(&mut query).await.unwrap();
    drop(query);
    world.feeds.reverse();
    world.feeds[0].1.add(&[24]);
    let mut query = world.start().await.unwrap();
    let ran = drain(&mut query).await.unwrap();
    let starts: Vec<_> = ran[0].sources.iter().map(|it| (it.start_offset.clone(), it.num_input_rows)).collect();
    assert_eq!(starts, [(1.into(), 1), (2.into(), 0)], "each goes on where it stood");
    assert!(world.file("offsets/2").ends_with("\n2\n2"), "and keeps its line");
}
