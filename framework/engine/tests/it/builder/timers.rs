//! Timers by event time and by processing time, and values that last for a time only.

use std::time::Duration;

use arrow_array::RecordBatch;
use tidegate_api::OutputMode;
use tidegate_builder::{
    GroupKey, ListState, MapState, Result, StateHandle, StateVariables, StatefulProcessor, Stream, TimeMode, Trigger,
    ValueState,
};

use super::state::{CLICKS, clicks, numbers, row};
use super::{Program, ended, writer};
use crate::harness::as_json;

/// Each number above 0 is a timer so many milliseconds after 1970, each one below deletes the timer of that time; emits the timers
/// that are over, with how many there have been.
#[derive(Clone, Default)]
struct Alarm {
    rung: ValueState<i64>,
}

impl StatefulProcessor for Alarm {
    fn init(&mut self, variables: &mut StateVariables) -> Result<()> {
        self.rung = variables.get_value_state("rung", None)?;
        Ok(())
    }

    fn handle_input_rows(
        &mut self,
        key: &GroupKey<'_>,
        rows: &RecordBatch,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        for n in numbers(rows) {
            if n > 0 { handle.register_timer(n)? } else { handle.delete_timer(-n)? }
        }
        let timers: Vec<_> = handle.list_timers()?.iter().map(ToString::to_string).collect();
        Ok(vec![row(&format!("{} set: {}", key.get::<String>(0)?, timers.join(" ")), 0)])
    }

    fn handle_expired_timer(
        &mut self,
        key: &GroupKey<'_>,
        timer_ms: i64,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        let rung = self.rung.get(handle)?.unwrap_or_default() + 1;
        self.rung.update(handle, &rung)?;
        // One of 10 is deleted by the one before it.
        let is_there = handle.list_timers()?.contains(&timer_ms);
        assert_eq!(is_there, timer_ms % 1000 != 10, "it is there until the call is over");
        if timer_ms % 1000 == 7 {
            // One that is over already waits for the next epoch.
            handle.register_timer(timer_ms - 1)?;
        }
        if timer_ms % 1000 == 9 {
            handle.delete_timer(timer_ms + 1)?;
            handle.delete_timer(timer_ms + 1000)?;
        }
        let now = handle.watermark_ms().unwrap_or_else(|| handle.processing_time_ms());
        Ok(vec![row(&format!("{} {timer_ms} over at {now}", key.get::<String>(0)?), rung)])
    }
}

fn alarms(program: &Program, time_mode: TimeMode) -> Stream {
    let clicks = clicks(program);
    let clicks = if time_mode == TimeMode::EventTime { clicks.with_watermark("ts", "10 seconds") } else { clicks };
    clicks.group_by(["page"]).transform_with_state(Alarm::default(), "page STRING, n BIGINT", time_mode).unwrap()
}

/// What a run over all that is there adds, each run in a program of its own.
async fn added(program: &mut Program, stream: impl Fn(&Program) -> Stream, documents: &[&str]) -> Vec<String> {
    let before = if program.memory.tables("q").is_empty() { Vec::new() } else { program.rows("q") };
    program.again();
    if !documents.is_empty() {
        program.add("q", "clicks", CLICKS, documents);
    }
    program.run("q", &stream(program), OutputMode::Append).await;
    let mut rows = program.rows("q");
    for known in before {
        let at = rows.iter().position(|it| *it == known).expect("what was there stays");
        rows.remove(at);
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_of_processing_time_ring_by_the_clock_of_the_epoch() {
    let mut program = Program::at_rest();
    let alarms = |program: &Program| alarms(program, TimeMode::ProcessingTime);
    let documents = [
        r#"{"page":"a","n":5000}"#,
        r#"{"page":"a","n":3000}"#,
        r#"{"page":"a","n":3000}"#,
        r#"{"page":"b","n":4000}"#,
        r#"{"page":"c","n":4000}"#,
        r#"{"page":"c","n":-4000}"#,
    ];
    let set =
        [r#"{"page":"a set: 3000 5000","n":0}"#, r#"{"page":"b set: 4000","n":0}"#, r#"{"page":"c set: ","n":0}"#];
    assert_eq!(added(&mut program, alarms, &documents).await, set);
    program.wait(2999);
    assert!(added(&mut program, alarms, &[]).await.is_empty());
    program.wait(1);
    assert_eq!(added(&mut program, alarms, &[]).await, [r#"{"page":"a 3000 over at 3000","n":1}"#]);
    assert!(added(&mut program, alarms, &[]).await.is_empty());
    program.wait(6000);
    let rang = [r#"{"page":"a 5000 over at 9000","n":2}"#, r#"{"page":"b 4000 over at 9000","n":1}"#];
    assert_eq!(added(&mut program, alarms, &[]).await, rang);
    // Rows first, then what is over: also a timer that was over when it was set.
    let rows = [r#"{"page":"b set: 100 9001","n":0}"#, r#"{"page":"b 100 over at 9000","n":2}"#];
    let mut rows = rows.map(str::to_owned);
    rows.sort();
    assert_eq!(added(&mut program, alarms, &[r#"{"page":"b","n":9001}"#, r#"{"page":"b","n":100}"#]).await, rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_of_event_time_ring_by_the_watermark() {
    let mut program = Program::at_rest();
    let alarms = |program: &Program| alarms(program, TimeMode::EventTime);
    let documents =
        [r#"{"ts":20,"page":"a","n":15000}"#, r#"{"ts":20,"page":"a","n":10001}"#, r#"{"ts":20,"page":"b","n":10000}"#];
    // The watermark after the rows is 10: the epoch without data that follows goes by it.
    let made = [
        r#"{"page":"a set: 10001 15000","n":0}"#,
        r#"{"page":"b 10000 over at 10000","n":1}"#,
        r#"{"page":"b set: 10000","n":0}"#,
    ];
    assert_eq!(added(&mut program, alarms, &documents).await, made);
    // A late row of event time is not seen; the clock means nothing here.
    program.wait(100_000);
    assert!(added(&mut program, alarms, &[r#"{"ts":10,"page":"late","n":1}"#]).await.is_empty());
    let made = [
        r#"{"page":"a 10001 over at 20000","n":1}"#,
        r#"{"page":"a 15000 over at 20000","n":2}"#,
        r#"{"page":"c set: 99000","n":0}"#,
    ];
    assert_eq!(added(&mut program, alarms, &[r#"{"ts":30,"page":"c","n":99000}"#]).await, made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_is_set_by_one_waits_for_the_next_epoch() {
    let mut program = Program::at_rest();
    let alarms = |program: &Program| alarms(program, TimeMode::ProcessingTime);
    added(&mut program, alarms, &[r#"{"page":"a","n":1007}"#]).await;
    program.wait(2000);
    program.again();
    let query = ended(writer("q", &alarms(&program))).await;
    assert_eq!(query.recent_progress().len(), 2);
    let mut rows = program.rows("q");
    rows.retain(|it| it.contains("over"));
    assert_eq!(rows, [r#"{"page":"a 1006 over at 2000","n":2}"#, r#"{"page":"a 1007 over at 2000","n":1}"#]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_rings_though_it_is_deleted() {
    let mut program = Program::at_rest();
    let alarms = |program: &Program| alarms(program, TimeMode::ProcessingTime);
    let timers = [r#"{"page":"a","n":1009}"#, r#"{"page":"a","n":1010}"#, r#"{"page":"a","n":2009}"#];
    added(&mut program, alarms, &timers).await;
    program.wait(1500);
    let rang = [r#"{"page":"a 1009 over at 1500","n":1}"#, r#"{"page":"a 1010 over at 1500","n":2}"#];
    assert_eq!(added(&mut program, alarms, &[]).await, rang);
    program.wait(1500);
    assert!(added(&mut program, alarms, &[]).await.is_empty(), "the one of 2009 was not over then");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_rests_wakes_for_its_timers() {
    let program = Program::at_rest();
    program.add("q", "clicks", CLICKS, &[r#"{"page":"a","n":5000}"#]);
    let stream = alarms(&program, TimeMode::ProcessingTime);
    let query = writer("q", &stream).trigger(Trigger::Default).start().await.unwrap();
    let rows = |many: usize| {
        let program = &program;
        async move {
            for _ in 0..600 {
                if !program.memory.tables("q").is_empty() && program.rows("q").len() == many {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("no {many} rows within half a minute");
        }
    };
    rows(1).await;
    program.wait(5000);
    rows(2).await;
    query.stop().await;
    assert_eq!(program.rows("q")[0], r#"{"page":"a 5000 over at 5000","n":1}"#);
}

/// Keeps each number for ten seconds: in a value, a list and a map.
#[derive(Clone, Default)]
struct Fleeting {
    value: ValueState<i64>,
    list: ListState<i64>,
    map: MapState<i64, i64>,
}

impl StatefulProcessor for Fleeting {
    fn init(&mut self, variables: &mut StateVariables) -> Result<()> {
        let ttl = Some(Duration::from_secs(10));
        self.value = variables.get_value_state("value", ttl)?;
        self.list = variables.get_list_state("list", ttl)?;
        self.map = variables.get_map_state("map", ttl)?;
        Ok(())
    }

    fn handle_input_rows(
        &mut self,
        _: &GroupKey<'_>,
        rows: &RecordBatch,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        for n in numbers(rows).into_iter().filter(|it| *it > 0) {
            self.value.update(handle, &n)?;
            self.list.append_value(handle, &n)?;
            self.map.update_value(handle, &n, &-n)?;
        }
        let mut map = self.map.entries(handle)?;
        map.sort_unstable();
        let text = format!("{:?} {:?} {map:?}", self.value.get(handle)?, self.list.get(handle)?);
        Ok(vec![row(&text, handle.processing_time_ms())])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lasts_for_a_time_only_is_gone_then() {
    let mut program = Program::at_rest();
    let fleeting = |program: &Program| {
        let groups = clicks(program).group_by(["page"]);
        groups.transform_with_state(Fleeting::default(), "page STRING, n BIGINT", TimeMode::ProcessingTime).unwrap()
    };
    let epochs: [(u64, i64, &str); 6] = [
        (0, 1, "Some(1) [1] [(1, -1)]"),
        (4000, 2, "Some(2) [1, 2] [(1, -1), (2, -2)]"),
        (5999, 0, "Some(2) [1, 2] [(1, -1), (2, -2)]"),
        (1, 0, "Some(2) [2] [(2, -2)]"),
        // It is written again: from now on for ten seconds more.
        (2000, 2, "Some(2) [2, 2] [(2, -2)]"),
        (3000, 0, "Some(2) [2] [(2, -2)]"),
    ];
    for (wait, n, expected) in epochs {
        program.wait(wait);
        let made = added(&mut program, fleeting, &[&format!(r#"{{"page":"a","n":{n}}}"#)]).await;
        assert!(made.len() == 1 && made[0].contains(expected), "{expected}: {made:?}");
    }
    program.wait(100_000);
    let made = added(&mut program, fleeting, &[r#"{"page":"b","n":0}"#]).await;
    assert!(made[0].contains("None [] []"), "{made:?}");
    // Of the key that had no rows nothing is left.
    program.again();
    program.add("q", "clicks", CLICKS, &[r#"{"page":"b","n":0}"#]);
    let query = ended(writer("q", &fleeting(&program))).await;
    assert_eq!(query.recent_progress()[0].state_operators[0].num_rows_total, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_rows_that_the_code_does_not_see_go_to_the_sink_of_late_rows() {
    let mut program = Program::at_rest();
    let both = |program: &Program| {
        let late = program.session.late_rows().connector("memory");
        writer("q", &alarms(program, TimeMode::EventTime)).and("late", late)
    };
    program.add("q", "clicks", CLICKS, &[r#"{"ts":20,"page":"a","n":15000}"#]);
    ended(both(&program)).await;
    program.again();
    // The watermark is 10.
    program.add("q", "clicks", CLICKS, &[r#"{"ts":10,"page":"b","n":15000}"#, r#"{"ts":11,"page":"c","n":15000}"#]);
    let query = ended(both(&program)).await;
    let dropped: u64 =
        query.recent_progress().iter().map(|it| it.state_operators[0].num_rows_dropped_by_watermark).sum();
    assert_eq!(dropped, 1);
    let late = as_json(&program.memory.table("q", "late").unwrap().rows());
    let [row] = &late[..] else { panic!("not one row: {late:?}") };
    let row: serde_json::Value = serde_json::from_str(row).unwrap();
    assert_eq!((&row["operator"], &row["reason"]), (&"user-state-0".into(), &"late".into()));
    let document: serde_json::Value = serde_json::from_str(row["row"].as_str().unwrap()).unwrap();
    assert_eq!((&document["page"], &document["n"]), (&"b".into(), &15000.into()), "{document}");
    assert_eq!(document.as_object().unwrap().len(), 3, "the columns of the stream: {document}");
}
