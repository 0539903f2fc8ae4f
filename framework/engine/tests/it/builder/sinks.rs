//! Sinks made of functions.

use std::sync::{Arc, Mutex};

use tidegate_builder::{
    Epoch, Error, ForeachWriter, OutputMode, RecordBatch, Result, Stream, StreamWriter, Trigger, async_trait,
};

use super::{Program, ended, writer};
use crate::harness::as_json;

const NUMBERS: &str = "n BIGINT";

type Seen = Arc<Mutex<Vec<(u64, Vec<String>)>>>;

/// Remembers each epoch with its rows; fails once in the epoch `fails`, after it has seen the rows.
fn collecting(stream: &Stream, seen: &Seen, fails: Option<u64>) -> StreamWriter {
    let seen = seen.clone();
    let writer = stream.write_stream().query_name("q").trigger(Trigger::AvailableNow);
    writer.foreach_batch(move |epoch, rows| {
        let seen = seen.clone();
        async move {
            let rows = as_json(&rows.collect().await?);
            seen.lock().unwrap().push((epoch.number, rows));
            if fails == Some(epoch.number) { Err(Error::data("the table is full")) } else { Ok(()) }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreach_batch_goes_on_where_it_was_after_a_restart() {
    let mut program = Program::new();
    let seen = Seen::default();
    let n = |it: i64| format!(r#"{{"n":{it}}}"#);
    let expected = |epochs: &[(u64, &[i64])]| {
        let epochs = epochs.iter().map(|(epoch, rows)| (*epoch, rows.iter().map(|it| n(*it)).collect()));
        epochs.collect::<Vec<(u64, Vec<String>)>>()
    };
    program.add("q", "numbers", NUMBERS, &[&n(1), &n(2)]);
    ended(collecting(&program.stream("numbers", NUMBERS), &seen, None)).await;
    assert_eq!(*seen.lock().unwrap(), expected(&[(0, &[1, 2])]));

    // The function fails once it has the rows: the same epoch comes again, with the same rows.
    program.again();
    program.add("q", "numbers", NUMBERS, &[&n(3)]);
    let query = collecting(&program.stream("numbers", NUMBERS), &seen, Some(1)).start().await.unwrap();
    let error = query.await_termination().await.unwrap_err().to_string();
    assert!(error.starts_with("query 'q' failed: ") && error.contains("the table is full"), "{error}");

    program.again();
    program.add("q", "numbers", NUMBERS, &[&n(4)]);
    ended(collecting(&program.stream("numbers", NUMBERS), &seen, None)).await;
    program.again();
    ended(collecting(&program.stream("numbers", NUMBERS), &seen, None)).await;
    assert_eq!(*seen.lock().unwrap(), expected(&[(0, &[1, 2]), (1, &[3]), (1, &[3]), (2, &[4])]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passing_failure_is_tried_again_within_the_run() {
    let program = Program::new();
    program.add("q", "numbers", NUMBERS, &[r#"{"n":1}"#]);
    let tries = Arc::new(Mutex::new(Vec::new()));
    let noted = tries.clone();
    let writer = program.stream("numbers", NUMBERS).write_stream().query_name("q").trigger(Trigger::AvailableNow);
    let writer = writer.foreach_batch(move |epoch, rows| {
        let mut tries = noted.lock().unwrap();
        tries.push((epoch.number, rows.replayed));
        let first = tries.len() == 1;
        async move { if first { Err(Error::transient("not now")) } else { Ok(()) } }
    });
    ended(writer).await;
    assert_eq!(*tries.lock().unwrap(), [(0, false), (0, true)]);
}

/// Notes what it is called with; wants no epoch of an odd number, and fails at the number 5.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }
}

#[async_trait]
impl ForeachWriter for Notes {
    async fn open(&mut self, epoch: &Epoch) -> Result<bool> {
        self.add(format!("open {}", epoch.number));
        Ok(epoch.number.is_multiple_of(2))
    }

    async fn process(&mut self, rows: &RecordBatch) -> Result<()> {
        let rows = as_json(std::slice::from_ref(rows)).join(" ");
        self.add(rows.clone());
        if rows.contains('5') { Err(Error::data("five")) } else { Ok(()) }
    }

    async fn close(&mut self, error: Option<&Error>) -> Result<()> {
        self.add(error.map_or_else(|| "close".to_owned(), |it| format!("close: {it}")));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_is_opened_fed_and_closed() {
    let program = Program::new();
    let numbers = program.stream("numbers", NUMBERS);
    let notes = Notes::default();
    for n in [1, 2, 5] {
        program.add("q", "numbers", NUMBERS, &[&format!(r#"{{"n":{n}}}"#)]);
    }
    let writer = numbers.write_stream().query_name("q").trigger(Trigger::AvailableNow);
    let writer = writer.configure(|it| it.max_rows_per_epoch = Some(1)).foreach(notes.clone());
    let failed = writer.start().await.unwrap().await_termination().await;
    assert!(failed.unwrap_err().to_string().contains("five"));
    let expected = ["open 0", r#"{"n":1}"#, "close", "open 1", "close", "open 2", r#"{"n":5}"#, "close: five"];
    assert_eq!(*notes.0.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_is_called_for_each_row() {
    let program = Program::new();
    program.add("q", "numbers", NUMBERS, &[r#"{"n":1}"#, r#"{"n":2}"#]);
    let rows = Arc::new(Mutex::new(Vec::new()));
    let noted = rows.clone();
    let foreach = move |batch: &RecordBatch, row: usize| {
        noted.lock().unwrap().extend(as_json(&[batch.slice(row, 1)]));
        Ok(())
    };
    let writer = program.stream("numbers", NUMBERS).write_stream().query_name("q").trigger(Trigger::AvailableNow);
    ended(writer.foreach(foreach)).await;
    assert_eq!(*rows.lock().unwrap(), [r#"{"n":1}"#, r#"{"n":2}"#]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_sinks_share_the_epochs_of_one_query() {
    let program = Program::new();
    let numbers = program.stream("numbers", NUMBERS);
    let (evens, sums) = (Seen::default(), Seen::default());
    program.add("q", "numbers", NUMBERS, &[r#"{"n":1}"#, r#"{"n":2}"#]);
    program.add("q", "numbers", NUMBERS, &[r#"{"n":4}"#]);
    let sum = collecting(&numbers.agg(["sum(n) AS s"]), &sums, None).output_mode(OutputMode::Complete);
    let query = collecting(&numbers.filter("n % 2 = 0"), &evens, None).and("sums", sum);
    let query = query.and("all", writer("", &numbers)).configure(|it| it.max_rows_per_epoch = Some(2));
    let progress = ended(query).await.last_progress().unwrap();
    assert_eq!(progress.sinks.len(), 3);
    let lines =
        |it: &Seen| it.lock().unwrap().iter().map(|(n, rows)| format!("{n} {}", rows.join(" "))).collect::<Vec<_>>();
    assert_eq!(lines(&evens), [r#"0 {"n":2}"#, r#"1 {"n":4}"#]);
    assert_eq!(lines(&sums), [r#"0 {"s":3}"#, r#"1 {"s":7}"#]);
    assert_eq!(program.rows("q").len(), 3);
    let again = |name: &str| collecting(&numbers, &evens, None).and(name, writer("", &numbers)).start();
    let said = again("sink").await.unwrap_err().to_string();
    assert!(said.contains("sink 'sink': the query has one of this name"), "{said}");
    let said = again("a b").await.unwrap_err().to_string();
    assert!(said.contains("sink 'a b': expected a name"), "{said}");
}
