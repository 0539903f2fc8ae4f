//! Handles of queries that run, and who listens to them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_builder::{
    Error, ErrorKind, Listener, QueryProgress, Started, StreamWriter, StreamingQuery, Terminated, Trigger,
};

use super::{Program, ended, writer};

const NUMBERS: &str = "n BIGINT";
const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn add(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }
}

impl Listener for Heard {
    fn on_started(&self, event: &Started) {
        self.add(format!("{} started", event.name.as_deref().unwrap_or("?")));
    }

    fn on_progress(&self, progress: &QueryProgress) {
        let name = progress.name.as_deref().unwrap_or("?");
        self.add(format!("{name} epoch {} rows {}", progress.epoch, progress.num_input_rows));
    }

    fn on_terminated(&self, event: &Terminated) {
        let how = event.exception.as_deref().unwrap_or("well");
        self.add(format!("{} ended: {how}", event.name.as_deref().unwrap_or("?")));
    }
}

/// A query whose sink fails at once.
fn failing(program: &Program, name: &str) -> StreamWriter {
    let writer = program.stream("numbers", NUMBERS).write_stream().query_name(name);
    writer.foreach_batch(|_, _| async { Err(Error::data("no room")) })
}

/// A query that runs on.
async fn lasting(program: &Program, name: &str) -> StreamingQuery {
    let writer = writer(name, &program.stream("numbers", NUMBERS)).trigger(Trigger::Default);
    writer.start().await.unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if holds() {
            return;
        }
        tokio::time::sleep(SOON).await;
    }
    panic!("{what}: not within a minute");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_hear_of_start_progress_and_end() {
    let program = Program::new();
    let heard = Heard::default();
    let id = program.session.add_listener(heard.clone());
    program.add("q", "numbers", NUMBERS, &[r#"{"n":1}"#, r#"{"n":2}"#]);
    program.add("bad", "numbers", NUMBERS, &[r#"{"n":1}"#]);
    let numbers = program.stream("numbers", NUMBERS);
    let query = ended(writer("q", &numbers)).await;
    assert_eq!(*heard.0.lock().unwrap(), ["q started", "q epoch 0 rows 2", "q ended: well"]);
    assert_eq!(query.recent_progress().len(), 1);
    heard.0.lock().unwrap().clear();
    let bad = failing(&program, "bad").start().await.unwrap();
    bad.await_termination().await.unwrap_err();
    let told = heard.0.lock().unwrap().clone();
    assert_eq!(told[0], "bad started");
    assert!(told[1].starts_with("bad ended: query 'bad' failed: ") && told.len() == 2, "{told:?}");
    program.session.remove_listener(id);
    ended(writer("q", &numbers)).await;
    assert_eq!(heard.0.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_any_query_gets_the_error_of_the_one_that_failed() {
    let program = Program::new();
    let session = &program.session;
    assert!(!session.await_any_termination_within(SOON).await.unwrap());
    let good = lasting(&program, "good").await;
    let bad = failing(&program, "bad").start().await.unwrap();
    assert_eq!(session.active().len(), 2);
    assert!(!session.await_any_termination_within(SOON).await.unwrap(), "both have nothing to do");
    program.add("bad", "numbers", NUMBERS, &[r#"{"n":1}"#]);
    let error = session.await_any_termination().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().starts_with("query 'bad' failed: "), "{error}");
    assert!(error.to_string().contains("no room"), "{error}");
    // It is said again until the reset; the other one runs on.
    session.await_any_termination().await.unwrap_err();
    assert_eq!(bad.exception().unwrap().to_string(), error.to_string());
    assert_eq!(bad.status().message, "Terminated with exception");
    assert!(!bad.is_active() && good.is_active() && good.exception().is_none());
    session.reset_terminated();
    assert!(!session.await_any_termination_within(SOON).await.unwrap());
    session.stop().await;
    assert!(session.await_any_termination_within(LONG).await.unwrap());
    assert!(session.active().is_empty() && !good.is_active());
    good.await_termination().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_runs_can_be_looked_at_and_stopped() {
    let mut program = Program::new();
    let query = lasting(&program, "q").await;
    assert!(!query.await_termination_within(SOON).await.unwrap());
    assert_eq!(program.session.query("q").unwrap().run_id(), query.run_id());
    let taken = writer("q", &program.stream("numbers", NUMBERS)).start().await.unwrap_err();
    assert!(taken.to_string().contains("query 'q': one of this name is active"), "{taken}");
    program.add("q", "numbers", NUMBERS, &[r#"{"n":7}"#]);
    until("an epoch", || query.last_progress().is_some_and(|it| it.epoch == 0 && it.num_input_rows == 1)).await;
    until("rest", || !query.status().is_trigger_active).await;
    query.stop().await;
    assert_eq!(query.status().message, "Stopped");
    assert!(query.await_termination_within(SOON).await.unwrap());
    assert!(program.session.query("q").is_none());
    assert_eq!(program.rows("q"), [r#"{"n":7}"#]);
    // The checkpoint and the name are free again, and the query is the same.
    program.again();
    let next = lasting(&program, "q").await;
    assert_eq!((next.id(), next.name()), (query.id(), "q"));
    assert_ne!(next.run_id(), query.run_id());
    program.add("q", "numbers", NUMBERS, &[r#"{"n":8}"#]);
    until("the next epoch", || next.last_progress().is_some_and(|it| it.epoch == 1)).await;
    next.stop().await;
    assert_eq!(program.rows("q"), [r#"{"n":7}"#, r#"{"n":8}"#]);
}

/// Panics whatever it hears.
struct Broken;

impl Listener for Broken {
    fn on_started(&self, _: &Started) {
        panic!("the listener is broken");
    }

    fn on_terminated(&self, _: &Terminated) {
        panic!("the listener is broken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_stays_where_it_is() {
    let program = Program::new();
    program.session.add_listener(Broken);
    program.add("q", "numbers", NUMBERS, &[r#"{"n":1}"#]);
    let writer = program.stream("numbers", NUMBERS).write_stream().query_name("q");
    let broken = |_: &tidegate_builder::RecordBatch, _: usize| panic!("the function is broken");
    let query = writer.foreach(broken).start().await.unwrap();
    let error = query.await_termination().await.unwrap_err();
    assert!(error.to_string().starts_with("query 'q' failed: the query broke off"), "{error}");
    assert!(program.session.active().is_empty());
    // Its checkpoint is free, and the epoch comes again.
    ended(super::writer("q", &program.stream("numbers", NUMBERS))).await;
    assert_eq!(program.rows("q"), [r#"{"n":1}"#]);
}
