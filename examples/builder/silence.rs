//! Which product has had no order for eight minutes, and what came in for it till then: a Rust program that keeps state by
//! key, with timers of event time.
//!
//! It needs the same crates as `orders.rs`. This file is compiled, run and its result checked by
//! `framework/engine/tests/it/builder/program.rs`.

use std::io::Write;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, Int64Array, StringArray};
use tidegate_builder::{
    Error, GroupKey, OutputMode, RecordBatch, Registry, Result, Session, StateHandle, StateVariables,
    StatefulProcessor, TimeMode, Trigger, ValueFormat, ValueState,
};

const SILENCE_MS: i64 = 8 * 60 * 1000;

/// What was ordered of a product, and when it was ordered last.
#[derive(Clone, Default)]
struct Silence {
    ordered: ValueState<(i64, i64)>,
}

impl StatefulProcessor for Silence {
    fn init(&mut self, variables: &mut StateVariables) -> Result<()> {
        self.ordered = variables.get_value_state("ordered", None)?;
        Ok(())
    }

    /// Each order sets the timer anew.
    fn handle_input_rows(
        &mut self,
        _: &GroupKey<'_>,
        rows: &RecordBatch,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        let (mut amount, mut newest_ms) = self.ordered.get(handle)?.unwrap_or_default();
        amount += rows.column(1).as_primitive::<Int32Type>().iter().flatten().map(i64::from).sum::<i64>();
        let times = rows.column(2).as_primitive::<TimestampMicrosecondType>();
        newest_ms = times.iter().flatten().map(|us| us / 1000).fold(newest_ms, i64::max);
        self.ordered.update(handle, &(amount, newest_ms))?;
        for timer in handle.list_timers()? {
            handle.delete_timer(timer)?;
        }
        handle.register_timer(newest_ms + SILENCE_MS)?;
        Ok(Vec::new())
    }

    fn handle_expired_timer(
        &mut self,
        key: &GroupKey<'_>,
        _: i64,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        let (amount, _) = self.ordered.get(handle)?.unwrap_or_default();
        self.ordered.clear(handle)?;
        let product = StringArray::from(vec![key.get::<String>(0)?]);
        let columns: [(&str, ArrayRef, bool); 2] =
            [("product", Arc::new(product), true), ("amount", Arc::new(Int64Array::from(vec![amount])), true)];
        let row = RecordBatch::try_from_iter_with_nullable(columns);
        Ok(vec![row.map_err(|e| Error::internal("a row of a product").because(e))?])
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let registry = tidegate_file::register(Registry::new());
    let session = Session::builder(registry).checkpoints("./data/checkpoints").build();
    let lines = Arc::new(Mutex::new(Vec::new()));
    find_silence(&session, "./examples/shop/data/orders", lines.clone()).await?;
    let lines = lines.lock().map_err(|_| Error::internal("the output is gone"))?;
    let mut out = std::io::stdout();
    lines.iter().try_for_each(|it| writeln!(out, "{it}")).map_err(|e| Error::transient("standard output").because(e))
}

/// Adds a line for each product that has fallen silent.
pub(crate) async fn find_silence(session: &Session, folder: &str, lines: Arc<Mutex<Vec<String>>>) -> Result<()> {
    let orders = session
        .read_stream("orders")
        .connector("file")
        .option("path", folder)
        .option("max.files.per.trigger", 1)
        .value_format(ValueFormat::Json)
        .schema("product STRING, amount INT, at TIMESTAMP")
        .load()?;
    let silent = orders.with_watermark("at", "5 minutes").group_by(["product"]).transform_with_state(
        Silence::default(),
        "product STRING, amount BIGINT",
        TimeMode::EventTime,
    )?;
    let writer = silent.write_stream().query_name("silence").output_mode(OutputMode::Update);
    let query = writer
        .trigger(Trigger::AvailableNow)
        .foreach(move |rows: &RecordBatch, row: usize| {
            let product = rows.column(0).as_string::<i32>().value(row);
            let amount = rows.column(1).as_primitive::<arrow_array::types::Int64Type>().value(row);
            let mut lines = lines.lock().map_err(|_| Error::internal("the output is gone"))?;
            lines.push(format!("{product}: {amount} till then"));
            Ok(())
        })
        .start()
        .await?;
    query.await_termination().await
}
