//! What is told of an epoch.

use std::sync::{Arc, Mutex};

use tidegate_epoch::{Faults, Step};

use crate::world::{Store, World, drain};

#[tokio::test]
async fn an_epochs_progress_is_sparks_json_on_one_line() {
    let world = World::new();
    world.clock.set(1_480_971_260_827);
    let mut query = world.start().await.unwrap();
    world.feed().add(&[11, 12, 26]);
    let Step::Ran(progress) = query.step().await.unwrap() else { panic!("nothing ran") };
    let handle = query.handle();
    let expected = format!(
        concat!(
            r#"{{"id":"{}","runId":"{}","name":"test","timestamp":"2016-12-05T20:54:20.827Z","batchId":0,"batchDuration":1,"#,
            r#""numInputRows":3,"inputRowsPerSecond":0.0,"processedRowsPerSecond":3000.0,"#,
            r#""durationMs":{{"addBatch":0,"commitOffsets":0,"getBatch":0,"latestOffset":0,"queryPlanning":0,"#,
            r#""triggerExecution":0,"walCommit":0}},"#,
            r#""eventTime":{{"avg":"1970-01-01T00:00:16.333Z","max":"1970-01-01T00:00:26.000Z","#,
            r#""min":"1970-01-01T00:00:11.000Z","watermark":"1970-01-01T00:00:00.000Z"}},"#,
            r#""stateOperators":[{{"operatorName":"stateStoreSave","numRowsTotal":2,"numRowsUpdated":2,"#,
            r#""allUpdatesTimeMs":0,"numRowsRemoved":0,"allRemovalsTimeMs":0,"commitTimeMs":0,"memoryUsedBytes":0,"#,
            r#""numRowsDroppedByWatermark":0,"numShufflePartitions":1,"numStateStoreInstances":1,"#,
            r#""customMetrics":{{"epochTimeUs":0,"fsyncTimeMs":0,"fsyncTimeUs":0,"fsyncs":2}}}}],"#,
            r#""sources":[{{"description":"numbers","startOffset":0,"endOffset":3,"latestOffset":3,"numInputRows":3,"#,
            r#""inputRowsPerSecond":0.0,"processedRowsPerSecond":3000.0}}],"#,
            r#""sink":{{"description":"table table (append)","numOutputRows":0}}}}"#,
        ),
        handle.id(),
        handle.run_id(),
    );
    assert_eq!(serde_json::to_string(&progress).unwrap(), expected);
    let Step::Ran(progress) = query.step().await.unwrap() else { panic!("nothing ran") };
    let json = serde_json::to_value(&progress).unwrap();
    assert_eq!(json["eventTime"], serde_json::json!({"watermark": "1970-01-01T00:00:21.000Z"}));
    assert_eq!(json["sink"]["numOutputRows"], 1);
    assert_eq!(json.get("inputRowsPerSecond"), None, "0 rows in 0 ms is no number");
    assert_eq!(handle.progress().len(), 2);
    assert_eq!(handle.latest().unwrap().epoch, 1);
}

#[tokio::test]
async fn several_sinks_are_all_told() {
    let mut world = World::new();
    world.stores.push(("second", Store::default()));
    let mut query = world.start().await.unwrap();
    world.feed().add(&[1, 21]);
    let ran = drain(&mut query).await.unwrap();
    let json = serde_json::to_value(&ran[1]).unwrap();
    assert_eq!(json["sink"]["description"], "table table (append)");
    let rows: Vec<_> = json["sinks"].as_array().unwrap().iter().map(|it| it["numOutputRows"].as_i64()).collect();
    assert_eq!(rows, [Some(1), Some(1)]);
}

#[tokio::test]
async fn an_idle_query_says_so_each_ten_seconds() {
    let world = World::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut query = world.build(&Faults::default()).await.unwrap();
    let listener = told.clone();
    query.add_listener(Box::new(move |it| {
        listener.lock().unwrap().push((it.epoch, it.num_input_rows, it.timestamp.clone()))
    }));
    query.start().await.unwrap();
    world.feed().add(&[1]);
    for ms in [0, 4_000, 10_000, 19_999, 20_000] {
        world.clock.set(ms);
        drain(&mut query).await.unwrap();
    }
    let stamp = |second: u32| format!("1970-01-01T00:00:{second:02}.000Z");
    assert_eq!(*told.lock().unwrap(), [(0, 1, stamp(0)), (0, 0, stamp(10)), (0, 0, stamp(20))]);
    assert_eq!(query.handle().progress().len(), 1);
    assert_eq!(query.status().message, "Waiting for data to arrive");
}
