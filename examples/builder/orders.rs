//! The orders of a shop, counted by product in windows of five minutes, as a Rust program.
//!
//! A crate of one's own needs `tidegate-builder`, the crates of the connectors it uses (here `tidegate-file`), `arrow-array`
//! and `tokio`. This file is compiled, run and its result checked by `framework/engine/tests/it/builder/program.rs`.

use std::io::Write;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use tidegate_builder::{Error, RecordBatch, Registry, Result, Session, Trigger, ValueFormat, window};

/// Where the counts are written, one after the other.
type Out = Arc<Mutex<dyn Write + Send>>;

#[tokio::main]
async fn main() -> Result<()> {
    let registry = tidegate_file::register(Registry::new());
    let session = Session::builder(registry).checkpoints("./data/checkpoints").build();
    count_orders(&session, "./examples/shop/data/orders", Arc::new(Mutex::new(std::io::stdout()))).await
}

/// Counts what is there and ends; run again, it goes on where it stopped.
pub(crate) async fn count_orders(session: &Session, folder: &str, out: Out) -> Result<()> {
    let orders = session
        .read_stream("orders")
        .connector("file")
        .option("path", folder)
        .option("max.files.per.trigger", 1)
        .value_format(ValueFormat::Json)
        .schema("product STRING, amount INT, at TIMESTAMP")
        .load()?;
    let counts = orders
        .with_watermark("at", "10 minutes")
        .group_by([window("at", "5 minutes"), "product".to_owned()])
        .agg(["count(*) AS orders"])
        .select(["window.start AS start", "product", "orders"]);
    let query = counts
        .write_stream()
        .query_name("orders")
        .trigger(Trigger::AvailableNow)
        .foreach_batch(move |epoch, rows| {
            let out = out.clone();
            async move {
                // An epoch that failed half-way comes again: who keeps its number beside the rows can leave them out.
                for batch in rows.collect().await? {
                    write_lines(&out, epoch.number, &batch)?;
                }
                Ok(())
            }
        })
        .start()
        .await?;
    query.await_termination().await
}

fn write_lines(out: &Out, epoch: u64, batch: &RecordBatch) -> Result<()> {
    let start = batch.column(0).as_primitive::<TimestampMicrosecondType>();
    let product = batch.column(1).as_string::<i32>();
    let orders = batch.column(2).as_primitive::<Int64Type>();
    let mut out = out.lock().map_err(|_| Error::internal("the output is gone"))?;
    for row in 0..batch.num_rows() {
        let start = start.value_as_datetime(row).unwrap_or_default().format("%H:%M");
        let line = format!("{epoch}: {start} {} {}", product.value(row), orders.value(row));
        writeln!(out, "{line}").map_err(|e| Error::transient("standard output").because(e))?;
    }
    Ok(())
}
