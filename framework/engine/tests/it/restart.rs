//! Stops, failures and restarts: the result is the one of a run that was never disturbed.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use tidegate_api::OutputMode;
use tidegate_engine::user::{GroupKey, StateHandle, StateVariables, StatefulProcessor, TimeMode, ValueState};
use tidegate_engine::{ProcessSpec, QuerySpec, ViewSpec};
use tidegate_formats::ddl;

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

/// Counts the rows of a page; a timer of event time, 20 seconds after the count began, ends it.
#[derive(Clone, Default)]
struct Visits {
    count: ValueState<i64>,
}

impl StatefulProcessor for Visits {
    fn init(&mut self, variables: &mut StateVariables) -> tidegate_api::Result<()> {
        self.count = variables.get_value_state("count", None)?;
        Ok(())
    }

    fn handle_input_rows(
        &mut self,
        _: &GroupKey<'_>,
        rows: &RecordBatch,
        handle: &mut StateHandle<'_>,
    ) -> tidegate_api::Result<Vec<RecordBatch>> {
        let count = self.count.get(handle)?.unwrap_or_default();
        if count == 0 {
            handle.register_timer(handle.watermark_ms().unwrap_or_default() + 20_000)?;
        }
        self.count.update(handle, &(count + rows.num_rows() as i64))?;
        Ok(Vec::new())
    }

    fn handle_expired_timer(
        &mut self,
        key: &GroupKey<'_>,
        timer_ms: i64,
        handle: &mut StateHandle<'_>,
    ) -> tidegate_api::Result<Vec<RecordBatch>> {
        let count = self.count.get(handle)?.unwrap_or_default();
        self.count.clear(handle)?;
        let page: ArrayRef = Arc::new(StringArray::from(vec![key.get::<String>(0)?]));
        let numbers = [timer_ms, count].map(|it| Arc::new(Int64Array::from(vec![it])) as ArrayRef);
        let [at, n] = numbers;
        let columns = [("page", page), ("at", at), ("n", n)];
        Ok(vec![RecordBatch::try_from_iter_with_nullable(columns.map(|(name, it)| (name, it, true))).unwrap()])
    }
}

/// A query of the counts of windows, or of [`Visits`].
fn query(folder: &std::path::Path, clicks: &tidegate_engine::SourceSpec, user_code: bool) -> QuerySpec {
    let sql = if user_code { "SELECT * FROM visits" } else { COUNTS };
    let mut query = spec(folder, vec![clicks.clone()], &[], vec![sink("out", sql, OutputMode::Append)]);
    if user_code {
        let output = Arc::new(ddl::parse_schema("page STRING, at BIGINT, n BIGINT").unwrap());
        let process = ProcessSpec::processor(vec!["page".into()], Visits::default(), &output, TimeMode::EventTime);
        query.views.push(ViewSpec {
            name: "visits".into(),
            sql: "SELECT ts, page, page AS the_key FROM clicks".into(),
            watermark: None,
            deduplicate: None,
            process: Some(process),
        });
    }
    query
}

/// The rows of a run over all feeds; each fault hits one epoch, after which the query starts anew.
async fn run(faults: &[&str], user_code: bool) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let clicks = source("clicks", SCHEMA, Some(("ts", "5 seconds")));
    let query = || query(folder.path(), &clicks, user_code);
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

async fn no_fault_leaves_other_rows(user_code: bool, at_least: usize) {
    let undisturbed = run(&[], user_code).await;
    assert!(undisturbed.len() >= at_least, "{undisturbed:?}");
    for point in ["plan", "run", "record.write", "record.dirsync", "prepare", "commit.before", "commit.after", "seal"] {
        for action in ["error", "crash"] {
            let fault = format!("{point}={action}");
            let all = vec![fault.as_str(); 5];
            assert_eq!(run(&all, user_code).await, undisturbed, "{fault}");
        }
    }
}

#[tokio::test]
async fn every_fault_leaves_the_same_rows() {
    no_fault_leaves_other_rows(false, 6).await;
}

#[tokio::test]
async fn every_fault_leaves_the_same_rows_of_user_code() {
    no_fault_leaves_other_rows(true, 4).await;
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
