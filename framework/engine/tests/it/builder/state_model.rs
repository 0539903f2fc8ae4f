//! Random calls of values, lists, maps and timers, beside a model that keeps everything in plain collections: each epoch must give
//! the model's rows, also after restarts, after failures, and with the state on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tidegate_builder::{
    Error, GroupKey, ListState, MapState, Result, StateHandle, StateVariables, StatefulProcessor, Stream, TimeMode,
    Trigger, ValueState,
};

use super::Program;
use super::state::{CLICKS, clicks, numbers, row};
use crate::harness::{as_json, random_cases};

/// What is kept for a key.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kept {
    value: Option<i64>,
    list: Vec<i64>,
    map: BTreeMap<i64, i64>,
    timers: BTreeSet<i64>,
}

impl Kept {
    /// What a row of the number `n` does in an epoch at `now`: the last digit says what, the rest with what.
    fn apply(&mut self, n: i64, now: i64) {
        let with = n / 10;
        match n % 10 {
            0 => self.value = Some(with),
            1 => self.value = None,
            2 => self.list.push(with),
            3 => self.list = vec![with, with + 1],
            4 => self.list.clear(),
            5 => self.map.extend([(with % 4, with)]),
            6 => self.map.retain(|key, _| *key != with % 4),
            7 => self.map.clear(),
            8 => self.timers.extend([now + with * 100]),
            _ => self.timers = self.timers.iter().copied().skip(1).collect(),
        }
    }

    fn show(&self) -> String {
        format!("{:?} {:?} {:?} {:?}", self.value, self.list, self.map, self.timers)
    }

    /// What a timer does.
    fn ring(&mut self, time: i64) {
        self.list.push(time);
        if time % 300 == 0 {
            self.timers.extend([time + 5000]);
        }
    }
}

/// The same with the state of the engine.
#[derive(Clone, Default)]
struct Script {
    value: ValueState<i64>,
    list: ListState<i64>,
    map: MapState<i64, i64>,
}

impl Script {
    fn apply(&self, n: i64, handle: &mut StateHandle<'_>) -> Result<()> {
        let with = n / 10;
        match n % 10 {
            0 => self.value.update(handle, &with),
            1 => self.value.clear(handle),
            2 => self.list.append_value(handle, &with),
            3 => self.list.put(handle, &[with, with + 1]),
            4 => self.list.clear(handle),
            5 => self.map.update_value(handle, &(with % 4), &with),
            6 => self.map.remove_key(handle, &(with % 4)),
            7 => self.map.clear(handle),
            8 => handle.register_timer(handle.processing_time_ms() + with * 100),
            _ => match handle.list_timers()?.first() {
                Some(first) => handle.delete_timer(*first),
                None => Ok(()),
            },
        }
    }

    fn kept(&self, handle: &StateHandle<'_>) -> Result<Kept> {
        Ok(Kept {
            value: self.value.get(handle)?,
            list: self.list.get(handle)?,
            map: self.map.entries(handle)?.into_iter().collect(),
            timers: handle.list_timers()?.into_iter().collect(),
        })
    }
}

impl StatefulProcessor for Script {
    fn init(&mut self, variables: &mut StateVariables) -> Result<()> {
        self.map = variables.get_map_state("map", None)?;
        self.list = variables.get_list_state("list", None)?;
        self.value = variables.get_value_state("value", None)?;
        Ok(())
    }

    fn handle_input_rows(
        &mut self,
        key: &GroupKey<'_>,
        rows: &RecordBatch,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        for n in numbers(rows) {
            self.apply(n, handle)?;
        }
        Ok(vec![row(&format!("{}: {}", key.get::<String>(0)?, self.kept(handle)?.show()), 0)])
    }

    fn handle_expired_timer(
        &mut self,
        key: &GroupKey<'_>,
        timer_ms: i64,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        self.list.append_value(handle, &timer_ms)?;
        if timer_ms % 300 == 0 {
            handle.register_timer(timer_ms + 5000)?;
        }
        Ok(vec![row(&format!("{}: {}", key.get::<String>(0)?, self.kept(handle)?.show()), timer_ms)])
    }
}

/// An epoch: how long after the one before, its rows, and whether its first delivery fails.
type Epoch = (u64, Vec<(u8, i64)>, bool);

/// What the model says of an epoch at `now`.
fn expected(model: &mut BTreeMap<u8, Kept>, rows: &[(u8, i64)], now: i64) -> Vec<String> {
    let text = |key: u8, kept: &Kept, n: i64| as_json(&[row(&format!("k{key}: {}", kept.show()), n)]);
    let mut made = Vec::new();
    let keys: BTreeSet<u8> = rows.iter().map(|it| it.0).collect();
    for key in keys {
        let kept = model.entry(key).or_default();
        rows.iter().filter(|it| it.0 == key).for_each(|it| kept.apply(it.1, now));
        made.extend(text(key, kept, 0));
    }
    for (key, kept) in model.iter_mut() {
        // As they are when the rows have been handled: all at once.
        for time in kept.timers.iter().copied().filter(|it| *it <= now).collect::<Vec<_>>() {
            kept.ring(time);
            made.extend(text(*key, kept, time));
            kept.timers.remove(&time);
        }
    }
    made.sort();
    made
}

/// Epochs that were delivered, with their rows as text.
type Delivered = Arc<Mutex<Vec<(u64, Vec<String>)>>>;

/// Runs the query over all that is there; the first delivery fails if `fails` says so.
async fn run(stream: &Stream, seen: &Delivered, fails: &Arc<AtomicBool>, on_disk: bool) -> Result<()> {
    let (seen, fails) = (seen.clone(), fails.clone());
    let writer = stream.write_stream().query_name("q").trigger(Trigger::AvailableNow);
    let writer = writer.configure(move |it| it.state_memory = on_disk.then_some(0));
    let writer = writer.foreach_batch(move |epoch, rows| {
        let (seen, fails) = (seen.clone(), fails.clone());
        async move {
            let rows = as_json(&rows.collect().await?);
            seen.lock().unwrap().push((epoch.number, rows));
            if fails.swap(false, Ordering::Relaxed) { Err(Error::data("not this time")) } else { Ok(()) }
        }
    });
    writer.start().await?.await_termination().await
}

async fn is_the_model(epochs: &[Epoch], on_disk: bool, again: &AtomicUsize) -> Result<(), TestCaseError> {
    let mut program = Program::at_rest();
    let (mut model, mut now) = (BTreeMap::new(), 0_i64);
    for (at, (wait, rows, fails)) in epochs.iter().enumerate() {
        program.wait(*wait);
        now += i64::try_from(*wait).unwrap();
        program.again();
        let documents: Vec<_> = rows.iter().map(|(key, n)| format!(r#"{{"page":"k{key}","n":{n}}}"#)).collect();
        if !documents.is_empty() {
            program.add("q", "clicks", CLICKS, &documents.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let made = clicks(&program).group_by(["page"]);
        let stream =
            made.transform_with_state(Script::default(), "page STRING, n BIGINT", TimeMode::ProcessingTime).unwrap();
        let seen = Delivered::default();
        let fails = Arc::new(AtomicBool::new(*fails));
        let failed = run(&stream, &seen, &fails, on_disk).await.is_err();
        if failed {
            // Its clock is that of the first try.
            program.wait(77);
            program.again();
            run(&stream, &seen, &fails, on_disk).await.unwrap();
        }
        let seen = seen.lock().unwrap().clone();
        let mut told: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (number, rows) in seen {
            if let Some(before) = told.insert(number, rows.clone()) {
                again.fetch_add(1, Ordering::Relaxed);
                prop_assert_eq!(before, rows, "epoch {} came again with other rows", number);
            }
        }
        let mut told = told.into_values();
        // Without rows and timers there is no epoch.
        let first = told.next().unwrap_or_default();
        prop_assert_eq!(first, expected(&mut model, rows, now), "run {}", at);
        if failed {
            now += 77;
        }
        for later in told {
            prop_assert_eq!(later, expected(&mut model, &[], now), "run {}, a later epoch", at);
        }
    }
    Ok(())
}

fn epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let rows = prop::collection::vec((0_u8..4, 0_i64..200), 0..12);
    prop::collection::vec((0_u64..2000, rows, prop::bool::weighted(0.2)), 1..8)
}

#[test]
fn random_calls_give_what_a_model_gives() {
    for (cases, on_disk) in [(24, false), (36, true)] {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let again = AtomicUsize::new(0);
        let case = |epochs: Vec<Epoch>| runtime.block_on(is_the_model(&epochs, on_disk, &again));
        random_cases(cases).run(&epochs(), case).unwrap_or_else(|e| panic!("{e}"));
        assert!(again.into_inner() > 5, "some epochs come again");
    }
}
