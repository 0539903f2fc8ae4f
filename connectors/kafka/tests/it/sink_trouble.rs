//! Rows that can't be written, writers that give up half way, brokers that don't answer.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use tidegate_api::{CommitOutcome, Epoch, ErrorKind, Sink, SinkWriter};
use tidegate_kafka::TopicSink;

use crate::broker_or_skip;
use crate::sink_setup::{Bench, epoch, numbers, pairs, prepared, spec, step, texts};
use crate::stand::{create_with, stand};

#[tokio::test(flavor = "multi_thread")]
async fn another_try_drops_what_was_written_before() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "retry", 2).await;
    let (sink, _) = bench.open().await.unwrap();
    let zero = epoch(0, 1, 0);
    // Two tasks; the second never ends. The same attempt again: the whole step is repeated.
    let mut first = sink.writer(&zero, 0).await.unwrap();
    let mut second = sink.writer(&zero, 1).await.unwrap();
    first.write(numbers(0..10)).await.unwrap();
    second.write(numbers(10..20)).await.unwrap();
    let half = first.prepare().await.unwrap();
    let mut again = sink.writer(&zero, 0).await.unwrap();
    let error = second.write(numbers(20..30)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "its transaction is gone: {error}");
    again.write(numbers(0..10)).await.unwrap();
    let mut other = sink.writer(&zero, 1).await.unwrap();
    other.write(numbers(10..15)).await.unwrap();
    let parts = vec![again.prepare().await.unwrap(), other.prepare().await.unwrap()];
    let error = sink.commit(&zero, vec![half], &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "parts of an aborted transaction: {error}");
    assert_eq!(sink.commit(&zero, parts.clone(), &[]).await.unwrap(), CommitOutcome::Committed);
    let outcome = sink.commit(&zero, parts, &[]).await.unwrap();
    assert_eq!(outcome, CommitOutcome::AlreadyCommitted { attempt: Some(zero.attempt) });
    assert_eq!(bench.values(), texts(0..15));
    // An attempt that is given up.
    let one = epoch(1, 1, 0);
    let parts = prepared(&sink, &one, &numbers(15..30)).await.unwrap();
    sink.abort(&one, parts).await.unwrap();
    assert_eq!(bench.values(), texts(0..15), "and nothing is open");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_epoch_does_not_wait_for_more_records() {
    let broker = broker_or_skip!();
    for delivery in ["exactly-once", "at-least-once"] {
        let bench = Bench::new(broker, "linger", 1).await.with("delivery", delivery);
        let bench = bench.with("producer.override.linger.ms", "10000");
        let (sink, _) = bench.open().await.unwrap();
        let began = Instant::now();
        for number in 0..3 {
            let from = u32::try_from(number).unwrap() * 10;
            step(&sink, &epoch(number, 1, 0), &numbers(from..from + 10)).await.unwrap();
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "{delivery}: linger.ms was waited for: {took:?}");
        assert_eq!(bench.values(), texts(0..30));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_prepared_before_a_restart_must_come_again() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "restart", 1).await;
    let (sink, _) = bench.open().await.unwrap();
    let parts = prepared(&sink, &epoch(0, 1, 0), &numbers(0..10)).await.unwrap();
    drop(sink);
    let (sink, last) = bench.open().await.unwrap();
    assert_eq!(last, None);
    let error = sink.commit(&epoch(0, 1, 0), parts, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("must come again"), "{error}");
    step(&sink, &epoch(0, 2, 0), &numbers(0..10)).await.unwrap();
    assert_eq!(bench.values(), texts(0..10));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_no_records_are_given_back() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "rejected", 1).await.with("kafka.message.max.bytes", "20000");
    let own = bench.topic.clone();
    let long = "x".repeat(30_000);
    let topics = StringArray::from(vec![Some(own.as_str()), None, Some("no topic!"), Some(own.as_str())]);
    let values = StringArray::from(vec!["a", "b", "c", long.as_str()]);
    let columns: [(&str, ArrayRef); 2] = [("topic", Arc::new(topics)), ("value", Arc::new(values))];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut sink = bench.build_without_topic(&spec(&rows)).await.unwrap();
    sink.open(&bench.writer("out")).await.unwrap();
    let zero = epoch(0, 1, 0);
    let mut writer = sink.writer(&zero, 0).await.unwrap();
    let rejected = writer.write(rows).await.unwrap();
    let said: Vec<_> = rejected.iter().map(|it| (it.row, it.error.kind(), it.error.to_string())).collect();
    assert_eq!(said.iter().map(|it| it.0).collect::<Vec<_>>(), [1, 2, 3], "{said:?}");
    assert!(said.iter().all(|it| it.1 == ErrorKind::Data && it.2.contains(&format!("row {}", it.0))), "{said:?}");
    let part = writer.prepare().await.unwrap();
    sink.commit(&zero, vec![part], &[]).await.unwrap();
    assert_eq!(bench.values(), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_broker_refuses_breaks_only_its_own_attempt() {
    let broker = broker_or_skip!();
    let mut bench = Bench::new(broker, "too-large", 1).await;
    bench.topic = format!("{}-small", bench.topic);
    create_with(broker, &bench.topic, 1, &[("max.message.bytes", "5000")]).await;
    let (sink, _) = bench.open().await.unwrap();
    let long = "x".repeat(9000);
    let error = prepared(&sink, &epoch(0, 1, 0), &pairs(&[("k", "a"), ("k", &long), ("k", "b")])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(error.to_string().contains(&bench.topic) && error.to_string().contains("of the epoch"), "{error}");
    assert_eq!(bench.values(), Vec::<String>::new(), "and nothing is open");
    step(&sink, &epoch(0, 1, 1), &pairs(&[("k", "a"), ("k", "b")])).await.unwrap();
    assert_eq!(bench.values(), ["a", "b"]);
}

/// The whole step, again and again, as the loop does it.
async fn steps(sink: &TopicSink, epoch: &Epoch, rows: &[RecordBatch]) -> (Vec<(usize, usize)>, usize) {
    for tries in 1..10 {
        let mut writer = sink.writer(epoch, 0).await.unwrap();
        let mut rejected = Vec::new();
        let part = async {
            for (at, batch) in rows.iter().enumerate() {
                rejected.extend(writer.write(batch.clone()).await?.into_iter().map(|it| {
                    assert_eq!(it.error.kind(), ErrorKind::Data);
                    (at, it.row)
                }));
            }
            writer.prepare().await
        };
        match part.await {
            Ok(part) => {
                sink.commit(epoch, vec![part], &[]).await.unwrap();
                return (rejected, tries);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Transient, "{error}"),
        }
    }
    panic!("too many tries");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_the_broker_refuses_are_given_back_and_the_others_written() {
    let broker = broker_or_skip!();
    let mut bench = Bench::new(broker, "refused", 1).await;
    bench.topic = format!("{}-small", bench.topic);
    create_with(broker, &bench.topic, 1, &[("max.message.bytes", "5000")]).await;
    let (sink, _) = bench.open().await.unwrap();
    let long = "x".repeat(9000);
    let odd = pairs(&[("k", "a"), ("k", &long), ("k", "b")]);
    let batches = [numbers(0..400), odd.clone(), numbers(400..800), odd, numbers(800..1200)];
    let began = std::time::Instant::now();
    let (rejected, tries) = steps(&sink, &epoch(0, 1, 0), &batches).await;
    println!("{tries} tries, {:?}", began.elapsed());
    assert_eq!(rejected, [(1, 1), (3, 1)]);
    let mut expected = texts(0..1200);
    expected.extend(["a", "a", "b", "b"].map(str::to_owned));
    assert_eq!(bench.values(), expected);
    // The next epoch is as ever.
    let (rejected, tries) = steps(&sink, &epoch(1, 1, 0), &[pairs(&[("k", "c")])]).await;
    assert_eq!((rejected.len(), tries), (0, 1));
    assert_eq!(bench.values().last().unwrap(), "c");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_told_at_once() {
    let broker = broker_or_skip!();
    let mut bench = Bench::new(broker, "absent", 1).await;
    bench.topic = format!("{}-nowhere", bench.topic);
    let error = bench.open().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains(&format!("topic '{}' does not exist", bench.topic)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_lasted_too_long_is_begun_again() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "expired", 1).await.with("transaction.timeout", "2 seconds");
    let (sink, _) = bench.open().await.unwrap();
    let zero = epoch(0, 1, 0);
    let parts = prepared(&sink, &zero, &numbers(0..10)).await.unwrap();
    // The coordinator looks for such transactions every ten seconds.
    tokio::time::sleep(Duration::from_secs(14)).await;
    let error = sink.commit(&zero, parts, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "nobody has taken over: {error}");
    assert!(error.to_string().contains("open for longer than 2s"), "{error}");
    assert_eq!(step(&sink, &zero, &numbers(0..10)).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(bench.values(), texts(0..10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_that_the_brokers_do_not_allow_is_told() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "allowed", 1).await.with("transaction.timeout", "1 hour");
    let error = bench.open().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_needs_no_transactions() {
    let broker = broker_or_skip!();
    let bench = Bench::new(broker, "weak", 1).await.with("delivery", "at-least-once");
    let (sink, last) = bench.open().await.unwrap();
    assert_eq!((last, sink.guarantee()), (None, tidegate_api::Guarantee::AtLeastOnce));
    let parts = prepared(&sink, &epoch(0, 1, 0), &numbers(0..10)).await.unwrap();
    assert_eq!(bench.values(), texts(0..10));
    sink.commit(&epoch(0, 1, 0), parts, &[]).await.unwrap();
    drop(sink);
    let (sink, last) = bench.open().await.unwrap();
    assert_eq!(last, None, "nobody knows");
    step(&sink, &epoch(0, 2, 0), &numbers(0..10)).await.unwrap();
    assert_eq!(bench.values().len(), 20);
}

/// SIGSTOP and SIGCONT for a broker of its own.
fn signal(name: &str, pid: &str) {
    assert!(Command::new("kill").args([name, pid]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_an_answer_is_found_out_about() {
    let _ = broker_or_skip!();
    let dir = tempfile::tempdir().unwrap();
    let broker = stand("up", "0", dir.path()).unwrap();
    let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap().trim().to_owned();
    let bench = Bench::new(&broker, "unknown", 1).await.with("transaction.timeout", "3 seconds");
    let (sink, _) = bench.open().await.unwrap();
    let (mut known, mut unknown, mut already) = (0, 0, 0);
    for number in 0..8_u32 {
        let (at, rows) = (epoch(number.into(), 1, 0), numbers(number * 10..number * 10 + 10));
        let parts = prepared(&sink, &at, &rows).await.unwrap();
        // Somewhere between the marker, its answer, the end of the transaction and its answer.
        let stopping = pid.clone();
        let delay = Duration::from_micros(u64::from(number) * 1500);
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(delay);
            signal("-STOP", &stopping);
        });
        let outcome = sink.commit(&at, parts, &[]).await;
        stopper.join().unwrap();
        signal("-CONT", &pid);
        match outcome {
            Ok(CommitOutcome::Committed) => known += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
                unknown += 1;
                // The loop repeats the whole step until it is told.
                let outcome = loop {
                    match step(&sink, &at, &rows).await {
                        Ok(outcome) => break outcome,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Transient, "{error}"),
                    }
                };
                already += u32::from(outcome != CommitOutcome::Committed);
            }
            other => panic!("{other:?}"),
        }
    }
    println!("commits: {known} answered, {unknown} not, of which {already} had worked");
    assert!(unknown >= 2, "the broker was stopped too late");
    assert_eq!(bench.values(), texts(0..80));
    stand("down", "0", dir.path());
}
