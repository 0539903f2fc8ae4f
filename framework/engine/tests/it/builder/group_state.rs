//! `map_groups_with_state` and `flat_map_groups_with_state`: the state of a group, and its time-out.

use std::time::Duration;

use tidegate_api::OutputMode;
use tidegate_builder::{GroupState, GroupStateTimeout, Stream};

use super::state::{CLICKS, clicks, numbers, row};
use super::{Program, ended, writer};

const MADE: &str = "page STRING, n BIGINT";

/// Counts rows by page; at a time-out says how many there were, and forgets the page.
fn sessions(program: &Program, timeout: GroupStateTimeout, mode: OutputMode) -> Stream {
    let clicks = clicks(program).with_watermark("ts", "10 seconds");
    let made = clicks.group_by(["page"]).flat_map_groups_with_state(
        MADE,
        mode,
        timeout,
        move |key, rows, state: &mut GroupState<(i64, i64)>| {
            let page: String = key.get(0)?;
            let (count, calls) = state.get().copied().unwrap_or_default();
            if state.has_timed_out() {
                assert!(rows.num_rows() == 0 && rows.num_columns() == 3 && state.exists());
                state.remove();
                return Ok(vec![row(&format!("{page} over after {calls}"), count)]);
            }
            state.update((count + rows.num_rows() as i64, calls + 1));
            let n = numbers(rows).into_iter().max().unwrap_or_default();
            match timeout {
                GroupStateTimeout::NoTimeout => {}
                // 0: none is set, so that there is none any more.
                _ if n == 0 => {}
                GroupStateTimeout::ProcessingTimeTimeout => {
                    state.set_timeout_duration(Duration::from_millis(n.unsigned_abs()))?;
                }
                GroupStateTimeout::EventTimeTimeout => state.set_timeout_timestamp(n)?,
            }
            Ok(Vec::new())
        },
    );
    made.unwrap()
}

async fn runs(program: &mut Program, stream: impl Fn(&Program) -> Stream, mode: OutputMode, documents: &[&str]) {
    program.again();
    if !documents.is_empty() {
        program.add("q", "clicks", CLICKS, documents);
    }
    program.run("q", &stream(program), mode).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_of_processing_time_comes_after_its_time() {
    let mut program = Program::at_rest();
    let mode = OutputMode::Update;
    let stream = |program: &Program| sessions(program, GroupStateTimeout::ProcessingTimeTimeout, OutputMode::Update);
    let documents =
        [r#"{"page":"a","n":1000}"#, r#"{"page":"b","n":1000}"#, r#"{"page":"c","n":1000}"#, r#"{"page":"a","n":500}"#];
    runs(&mut program, stream, mode, &documents).await;
    program.wait(1000);
    // Rows before the time-out set it anew, or leave it out.
    runs(&mut program, stream, mode, &[r#"{"page":"b","n":1000}"#, r#"{"page":"c","n":0}"#]).await;
    assert!(program.rows("q").is_empty(), "at its time it is not over");
    program.wait(1);
    runs(&mut program, stream, mode, &[]).await;
    assert_eq!(program.rows("q"), [r#"{"page":"a over after 1","n":2}"#]);
    program.wait(1_000_000);
    runs(&mut program, stream, mode, &[r#"{"page":"a","n":0}"#]).await;
    let over = [r#"{"page":"a over after 1","n":2}"#, r#"{"page":"b over after 2","n":2}"#];
    assert_eq!(program.rows("q"), over);
    // The page a began anew, and c has no time-out.
    let query = ended(writer("q", &stream(&program)).output_mode(mode)).await;
    assert!(query.recent_progress().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_of_event_time_comes_with_the_watermark() {
    let mut program = Program::at_rest();
    let mode = OutputMode::Append;
    let stream = |program: &Program| sessions(program, GroupStateTimeout::EventTimeTimeout, OutputMode::Append);
    let documents = [r#"{"ts":20,"page":"a","n":10000}"#, r#"{"ts":20,"page":"b","n":9999}"#];
    runs(&mut program, stream, mode, &documents).await;
    // The watermark is 10 s, and must be past the time-out.
    assert_eq!(program.rows("q"), [r#"{"page":"b over after 1","n":1}"#]);
    runs(&mut program, stream, mode, &[r#"{"ts":10,"page":"a","n":90000}"#, r#"{"ts":21,"page":"c","n":11001}"#]).await;
    let over = [r#"{"page":"a over after 1","n":1}"#, r#"{"page":"b over after 1","n":1}"#];
    assert_eq!(program.rows("q"), over, "the late row set no other time-out");
    program.add("q", "clicks", CLICKS, &[r#"{"ts":22,"page":"d","n":10999}"#]);
    let query = writer("q", &stream(&program)).output_mode(mode).start().await.unwrap();
    let error = query.await_termination().await.unwrap_err().to_string();
    assert!(error.contains("set_timeout_timestamp: 10999 ms is before the watermark, 11000 ms"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_gives_one_row_in_update_mode() {
    let mut program = Program::new();
    let counts = |program: &Program| {
        let groups = clicks(program).group_by(["page"]);
        let count = groups.map_groups_with_state(MADE, GroupStateTimeout::NoTimeout, |key, rows, state| {
            let count = state.get().copied().unwrap_or(0_i64) + rows.num_rows() as i64;
            state.update(count);
            Ok(row(&key.get::<String>(0)?, count))
        });
        count.unwrap()
    };
    for documents in [&[r#"{"page":"a"}"#, r#"{"page":"b"}"#, r#"{"page":"a"}"#][..], &[r#"{"page":"b"}"#]] {
        runs(&mut program, counts, OutputMode::Update, documents).await;
    }
    let made = [r#"{"page":"a","n":2}"#, r#"{"page":"b","n":1}"#, r#"{"page":"b","n":2}"#];
    assert_eq!(program.rows("q"), made);
    let error = writer("p", &counts(&program)).output_mode(OutputMode::Append).start().await.unwrap_err().to_string();
    assert!(error.contains("flat_map_groups_with_state was declared for update mode"), "{error}");
    let groups = clicks(&program).group_by(["page"]);
    let none = groups.map_groups_with_state(MADE, GroupStateTimeout::NoTimeout, |_, _, _: &mut GroupState<i64>| {
        Ok(row("a", 1).slice(0, 0))
    });
    program.add("n", "clicks", CLICKS, &[r#"{"page":"a"}"#]);
    let query = writer("n", &none.unwrap()).output_mode(OutputMode::Update).start().await.unwrap();
    let error = query.await_termination().await.unwrap_err().to_string();
    assert!(error.contains("the function returned 0 rows, expected one"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_of_the_other_kind_is_refused() {
    let program = Program::new();
    program.add("q", "clicks", CLICKS, &[r#"{"page":"a"}"#]);
    let groups = clicks(&program).group_by(["page"]);
    let (mode, timeout) = (OutputMode::Append, GroupStateTimeout::ProcessingTimeTimeout);
    let wrong = groups.flat_map_groups_with_state(MADE, mode, timeout, |_, _, state: &mut GroupState<i64>| {
        assert_eq!(state.watermark_ms(), None);
        assert!(state.set_timeout_duration(Duration::ZERO).is_err());
        state.set_timeout_timestamp(1)?;
        Ok(Vec::new())
    });
    let query = writer("q", &wrong.unwrap()).start().await.unwrap();
    let error = query.await_termination().await.unwrap_err().to_string();
    assert!(error.contains("time-outs of these groups are not by event time"), "{error}");
}
