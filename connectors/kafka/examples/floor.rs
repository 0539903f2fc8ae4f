//! What the click job costs at the least: bulk consume, decode the projected columns, count in a hash map, all in one
//! plain loop on one thread. No plan, no epochs, no state on disk, no table: `tests/bench` compares the engine with it.
//!
//! usage: floor SERVERS TOPIC OUT    windows of five minutes go to the file OUT as JSON lines

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer, DefaultConsumerContext};
use tidegate_formats::json::{Decoder, JsonOptions};
use tidegate_kafka_ffi::{BulkConsumer, Column, Limits, PartitionQueue, Polled, Rows};

type Failure = Box<dyn Error>;
/// Counts of all rows and of those with a user, by start of the window in µs and page.
type Counts = HashMap<i64, HashMap<String, (u64, u64)>>;

const WINDOW_US: i64 = 5 * 60 * 1_000_000;
const LIMITS: Limits = Limits { rows: 32_768, bytes: 16 << 20 };

struct Partition {
    queue: PartitionQueue,
    rows: Rows,
    done: bool,
}

fn main() -> Result<(), Failure> {
    let [servers, topic, out] = env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "three arguments")?;
    let started = Instant::now();
    let mut partitions = open(&servers, &topic)?;
    let mut decoder = Decoder::new(Arc::new(projected()), JsonOptions::default())?;
    let (mut counts, mut rows) = (Counts::new(), 0);
    while partitions.iter().any(|it| !it.done) {
        let mut idle = true;
        for one in partitions.iter_mut().filter(|it| !it.done) {
            idle &= fill(one)? == 0;
            while let Some((batch, _)) = one.rows.take_below(i64::MAX, one.done)? {
                rows += batch.num_rows();
                count(&decoder.decode(batch.column(0))?, &mut counts)?;
            }
        }
        if idle {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    write(&counts, &out)?;
    let told = serde_json::json!({ "rows": rows, "loop_s": started.elapsed().as_secs_f64() });
    writeln!(std::io::stdout(), "{told}")?;
    Ok(())
}

/// The columns that the job uses.
fn projected() -> Schema {
    Schema::new(vec![
        Field::new("user_id", DataType::Int64, true),
        Field::new("page", DataType::Utf8, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ])
}

fn open(servers: &str, topic: &str) -> Result<Vec<Partition>, Failure> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).set("group.id", "floor").set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true").set("queued.max.messages.kbytes", "8192");
    config.set("fetch.queue.backoff.ms", "10");
    let consumer = BulkConsumer::new(&config, DefaultConsumerContext)?;
    let metadata = consumer.client().fetch_metadata(Some(topic), Duration::from_secs(30))?;
    let found = metadata.topics().first().ok_or("no such topic")?;
    let mut partitions = Vec::new();
    for partition in found.partitions() {
        let queue = consumer.open(topic, partition.id(), 0, Arc::new(|| ()))?;
        let rows = Rows::new(&[Column::Value], topic, partition.id(), LIMITS);
        partitions.push(Partition { queue, rows, done: false });
    }
    Ok(partitions)
}

/// Takes what lies ready; its count.
fn fill(partition: &mut Partition) -> Result<usize, Failure> {
    let Partition { queue, rows, done } = partition;
    let mut outcome: Result<(), Failure> = Ok(());
    let taken = queue.consume(4096, Duration::ZERO, |polled| match polled {
        Polled::Record(record) => {
            if let Err(e) = rows.push(&record) {
                outcome = Err(e.into());
            }
        }
        Polled::EndOfPartition(_) => *done = true,
        Polled::Failed { text, .. } => outcome = Err(text.into()),
    });
    outcome.map(|()| taken)
}

fn count(clicks: &RecordBatch, counts: &mut Counts) -> Result<(), Failure> {
    let column = |name| clicks.column_by_name(name).ok_or("a column is missing");
    let users = column("user_id")?.as_primitive::<Int64Type>();
    let pages = column("page")?.as_string::<i32>();
    let times = column("ts")?.as_primitive::<TimestampMicrosecondType>();
    for row in 0..clicks.num_rows() {
        if times.is_null(row) || pages.is_null(row) {
            continue;
        }
        let (start, page) = (times.value(row).div_euclid(WINDOW_US) * WINDOW_US, pages.value(row));
        let window = counts.entry(start).or_default();
        if !window.contains_key(page) {
            window.insert(page.to_owned(), (0, 0));
        }
        if let Some((all, known)) = window.get_mut(page) {
            *all += 1;
            *known += u64::from(users.is_valid(row));
        }
    }
    Ok(())
}

fn write(counts: &Counts, out: &str) -> Result<(), Failure> {
    let mut out = BufWriter::new(File::create(out)?);
    for (start, pages) in counts {
        for (page, (views, users)) in pages {
            let (start, end) = (start / 1_000_000, (start + WINDOW_US) / 1_000_000);
            let row = serde_json::json!({ "start": start, "end": end, "page": page, "views": views, "users": users });
            writeln!(out, "{row}")?;
        }
    }
    Ok(out.flush()?)
}
