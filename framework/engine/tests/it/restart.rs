//! Stops, failures and restarts: the result is the one of a run that was never disturbed.

use tidegate_api::OutputMode;

use crate::harness::{Rig, sink, source, spec, until_idle};

const SCHEMA: &str = "ts TIMESTAMP, page STRING";
const COUNTS: &str =
    "SELECT window.start AS start, page, count(*) AS n FROM clicks GROUP BY window(ts, '10 seconds'), page";

fn click(at: i64, page: &str) -> String {
    format!(r#"{{"ts": {at}, "page": "{page}"}}"#)
}

fn feed(at: i64) -> Vec<String> {
    vec![click(at, "a"), click(at + 3, "b"), click(at + 4, "a")]
}

/// The rows of a run over all feeds; each fault hits one epoch, after which the query starts anew.
async fn run(faults: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let clicks = source("clicks", SCHEMA, Some(("ts", "5 seconds")));
    let query = || spec(folder.path(), vec![clicks.clone()], &[], vec![sink("out", COUNTS, OutputMode::Append)]);
    let rig = Rig::new();
    let mut running = Some(rig.start(query()).await.unwrap());
    for number in 0..8_i64 {
        rig.add(&clicks, &feed(number * 7));
        if let Some(fault) = usize::try_from(number).ok().and_then(|it| faults.get(it)) {
            rig.arm(fault);
        }
        let mut tries = 0;
        loop {
            if running.is_none() {
                // The dead query must let go of its checkpoint first.
                running = rig.start(query()).await.ok();
            }
            if let Some(query) = &mut running
                && until_idle(query).await.is_ok()
            {
                break;
            }
            running = None;
            tries += 1;
            assert!(tries < 20, "no way forward after {fault:?}", fault = faults);
        }
    }
    rig.sink_rows("out")
}

#[tokio::test]
async fn every_fault_leaves_the_same_rows() {
    let undisturbed = run(&[]).await;
    assert!(undisturbed.len() > 5, "{undisturbed:?}");
    for point in ["plan", "run", "record.write", "record.dirsync", "prepare", "commit.before", "commit.after", "seal"] {
        for action in ["error", "crash"] {
            let fault = format!("{point}={action}");
            let all = vec![fault.as_str(); 5];
            assert_eq!(run(&all).await, undisturbed, "{fault}");
        }
    }
}

#[tokio::test]
async fn another_aggregate_on_the_same_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let clicks = source("clicks", SCHEMA, Some(("ts", "5 seconds")));
    let rig = Rig::new();
    let first = spec(folder.path(), vec![clicks.clone()], &[], vec![sink("out", COUNTS, OutputMode::Append)]);
    let mut query = rig.start(first).await.unwrap();
    rig.add(&clicks, &feed(0));
    until_idle(&mut query).await.unwrap();
    drop(query);
    let other = COUNTS.replace("count(*)", "max(ts)");
    let second = spec(folder.path(), vec![clicks], &[], vec![sink("out", &other, OutputMode::Append)]);
    let error = rig.start(second).await.err().expect("refused").to_string();
    assert!(error.contains("aggregate-0"), "{error}");
}
