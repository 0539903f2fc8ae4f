//! Static sources: a pending epoch reads them as they were when it was planned.

use tidegate_api::OutputMode;

use crate::harness::{Rig, sink, source, spec, until_idle};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_epoch_sees_the_static_table_of_its_plan() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let input = source("input", "k STRING", None);
    let mut users = source("users", "k STRING, name STRING", None);
    users.is_static = true;
    let sql = "SELECT i.k AS k, u.name AS name FROM input i JOIN users u ON i.k = u.k";
    let query = || {
        let sinks = vec![sink("sink", sql, OutputMode::Append)];
        spec(folder.path(), vec![input.clone(), users.clone()], &[], sinks)
    };
    rig.add(&users, &[r#"{"k":"a","name":"Ann"}"#.to_owned()]);
    rig.add(&input, &[r#"{"k":"a"}"#.to_owned(), r#"{"k":"b"}"#.to_owned()]);
    let mut running = rig.start(query()).await.unwrap();
    rig.arm("ownership=crash");
    running.step().await.unwrap_err();
    drop(running);
    rig.add(&users, &[r#"{"k":"b","name":"Bob"}"#.to_owned()]);
    let mut running = rig.start(query()).await.unwrap();
    assert_eq!(rig.sink_rows("sink"), [r#"{"k":"a","name":"Ann"}"#], "Bob came after the plan");
    rig.add(&input, &[r#"{"k":"b"}"#.to_owned()]);
    until_idle(&mut running).await.unwrap();
    assert_eq!(rig.sink_rows("sink"), [r#"{"k":"a","name":"Ann"}"#, r#"{"k":"b","name":"Bob"}"#]);
}
