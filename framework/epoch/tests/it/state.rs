//! The state of an operator as a table: what it was after each epoch that is kept, read beside the owner.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use futures::TryStreamExt;
use tidegate_api::{ErrorKind, Result};
use tidegate_epoch::{Faults, SinkMode, inspect};
use tidegate_storage::Location;

use crate::world::{DELAY_MS, World, crash, drain, model};

/// The end of each window, milliseconds, and its count.
type Counts = BTreeMap<i64, i64>;

pub(crate) async fn counts(place: &Location, epoch: Option<u64>) -> Result<(u64, Counts)> {
    let table = inspect::state(place, "windows", epoch).await?;
    let names: Vec<_> = table.schema.fields().iter().map(|it| it.name().as_str()).collect();
    assert_eq!(names, ["end", "count", "virtual_node"]);
    let rows: Vec<RecordBatch> = table.rows.try_collect().await?;
    let mut counts = Counts::new();
    for rows in &rows {
        let ends = rows.column(0).as_primitive::<TimestampMicrosecondType>().values();
        let values = rows.column(1).as_primitive::<Int64Type>().values();
        for (end, value) in ends.iter().zip(values) {
            assert_eq!(counts.insert(end / 1000, *value), None, "a row comes twice");
        }
    }
    Ok((table.epoch, counts))
}

async fn refusal(place: &Location, operator: &str, epoch: Option<u64>) -> String {
    let error = inspect::state(place, operator, epoch).await.err().expect("it was read");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(inspect::state_schema(place, operator, epoch).await.unwrap_err().to_string(), error.to_string());
    error.to_string()
}

/// Runs epochs; gives what the state is after the newest of each.
async fn with_epochs(world: &World, query: &mut tidegate_epoch::Query, rounds: i64) -> BTreeMap<u64, Counts> {
    let mut expected = BTreeMap::new();
    let first = i64::try_from(world.feed().values().len()).unwrap();
    for at in first..first + rounds {
        world.feed().add(&[at * 4, at * 4 + 1, at * 4 + 6]);
        drain(query).await.unwrap();
        if let Some(newest) = inspect::newest_epoch(&world.location().unwrap()).await.unwrap() {
            expected.insert(newest, model(&world.feed().values()).1);
        }
    }
    expected
}

/// What is open after an epoch that is not followed by one without data: it evicts by the watermark of the rows before.
fn open(values: &[i64], before: &[i64]) -> Counts {
    let watermark = before.iter().max().map_or(0, |it| it * 1000 - DELAY_MS);
    let (closed, mut open) = model(values);
    open.extend(closed.into_iter().filter(|it| it.0 > watermark));
    open
}

#[tokio::test]
async fn the_state_of_each_epoch_is_read_beside_the_owner() {
    for mut world in [World::new(), World::in_memory()] {
        // The marks of decided epochs of a store come with snapshots.
        world.settings.no_data_epochs = world.place.is_none();
        let place = world.location().unwrap();
        let mut query = world.start().await.unwrap();
        let expected = with_epochs(&world, &mut query, 9).await;
        let before = world.everything().await;
        let is_kept = |it: &(&String, &Vec<u8>)| !it.0.ends_with(".beat");
        if world.place.is_none() {
            assert_eq!(expected.len(), 9);
            for (epoch, state) in &expected {
                assert_eq!(counts(&place, Some(*epoch)).await.unwrap(), (*epoch, state.clone()), "epoch {epoch}");
            }
        }
        let (newest, now) = counts(&place, None).await.unwrap();
        assert_eq!(Some(&newest), expected.last_key_value().map(|it| it.0));
        if world.place.is_some() {
            assert!(newest >= 7, "only the newest may be open");
            let rows = usize::try_from(newest).unwrap() * 3;
            let values = world.feed().values();
            assert_eq!(now, open(&values[..rows + 3], &values[..rows]));
        }
        let all = inspect::operators(&place, None).await.unwrap();
        let text = |at: usize| all.column(at).as_string::<i32>().value(0).to_owned();
        assert_eq!((all.num_rows(), text(0), text(1)), (1, "windows".to_owned(), "end".to_owned()));
        assert_eq!(all.column(4).as_primitive::<Int64Type>().value(0), i64::try_from(newest).unwrap());
        let after = world.everything().await;
        assert!(before.iter().filter(is_kept).eq(after.iter().filter(is_kept)), "reading changes nothing");
        with_epochs(&world, &mut query, 1).await;
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_with_what_is() {
    let folder = tempfile::tempdir().unwrap();
    let empty = Location::at(folder.path()).unwrap();
    assert!(refusal(&empty, "windows", None).await.contains("there is no checkpoint at"));
    assert!(inspect::operators(&empty, None).await.is_err());
    let mut world = World::new();
    world.settings.min_epochs_to_retain = 3;
    world.settings.no_data_epochs = false;
    let place = world.location().unwrap();
    let mut query = world.start().await.unwrap();
    let text = refusal(&place, "windows", None).await;
    assert!(text.contains("found no epoch, expected one whose outcome is known; there is none"), "{text}");
    with_epochs(&world, &mut query, 20).await;
    assert_eq!(world.list("state/wal").first().unwrap(), "15.0.0");
    let text = refusal(&place, "windows", Some(14)).await;
    assert!(text.contains("found epoch 14, expected one of 15-19"), "{text}");
    assert_eq!(counts(&place, Some(15)).await.unwrap().0, 15);
    let text = refusal(&place, "counts", Some(16)).await;
    assert!(text.contains("state after epoch 16: found operator 'counts', expected one of windows"), "{text}");
}

#[tokio::test]
async fn an_epoch_whose_outcome_is_open_is_not_read() {
    let world = World::new();
    let mut query = world.start().await.unwrap();
    let expected = with_epochs(&world, &mut query, 3).await;
    drop(query);
    let (decided, state) = expected.last_key_value().unwrap();
    crash(&world, "commit.before=crash", &[100]).await;
    let place = world.location().unwrap();
    assert_eq!(inspect::newest_epoch(&place).await.unwrap(), Some(*decided));
    assert_eq!(counts(&place, None).await.unwrap(), (*decided, state.clone()));
    let text = refusal(&place, "windows", Some(decided + 1)).await;
    assert!(text.contains(&format!("found epoch {}, expected one of 0-{decided}", decided + 1)), "{text}");
}

#[tokio::test]
async fn epochs_that_were_left_by_going_back_are_not_read() {
    let mut world = World::new();
    world.settings.no_data_epochs = false;
    let place = world.location().unwrap();
    let mut query = world.start().await.unwrap();
    let before = with_epochs(&world, &mut query, 6).await;
    drop(query);
    world.build(&Faults::default()).await.unwrap().rewind(2, SinkMode::Keep).await.unwrap();
    assert_eq!(inspect::newest_epoch(&place).await.unwrap(), Some(2));
    assert_eq!(counts(&place, None).await.unwrap(), (2, before[&2].clone()));
    let mut query = world.start().await.unwrap();
    with_epochs(&world, &mut query, 1).await;
    let text = refusal(&place, "windows", Some(4)).await;
    assert!(text.contains("found epoch 4, expected one of 0-2, 6"), "{text}");
}
