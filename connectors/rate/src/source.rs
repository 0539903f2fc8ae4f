//! The `rate` source: rows are a function of the seconds since the query began.

use std::sync::Arc;

use arrow_array::{Int64Array, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, TimeUnit};
use futures::{StreamExt, stream};
use tidegate_api::prelude::*;

use crate::RateConfig;

const BATCH_ROWS: usize = 8192;
/// Where the log keeps the time at which the query began: `v1`, then milliseconds, as Spark writes it.
const CREATION_KEY: &str = "0";

/// The `rate` connector.
pub struct Rate;

#[async_trait]
impl SourceConnector for Rate {
    const NAME: &'static str = "rate";
    type Config = RateConfig;
    type Source = RateSource;

    fn payload(_config: &RateConfig, _declared: Option<&SchemaRef>) -> Option<Payload> {
        Some(Payload::Rows(schema()))
    }

    async fn build(config: RateConfig, ctx: &ConnectorContext) -> Result<RateSource> {
        let (rows, ramp) = (i64::try_from(config.rows_per_second.get()), i64::try_from(config.ramp_up_time.0));
        let (Ok(rows_per_second), Ok(ramp)) = (rows, ramp) else {
            return Err(Error::config("rate: rows.per.second and ramp.up.time must be below 2^63"));
        };
        let text = format!("v1\n{}", ctx.clock.now_ms());
        ctx.log.put_new(CREATION_KEY, text.as_bytes()).await?;
        let log = ctx.log.get(CREATION_KEY).await?.unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let created_ms = log.strip_prefix("v1\n").and_then(|it| it.trim().parse().ok()).ok_or_else(|| {
            Error::config(format!("rate: its log says '{}', expected v1 and a time", log.escape_debug()))
        })?;
        let schema = schema();
        let partitions = config.num_partitions.get();
        let clock = ctx.clock.clone();
        Ok(RateSource { rows_per_second, ramp, partitions, created_ms, seen: 0, frozen: i64::MAX, clock, schema })
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("value", DataType::Int64, true),
    ]))
}

/// Emits consecutive numbers at a fixed pace.
pub struct RateSource {
    rows_per_second: i64,
    ramp: i64,
    partitions: u32,
    created_ms: i64,
    /// The last second known to be over: a clock that is set back changes nothing.
    seen: i64,
    frozen: i64,
    clock: Arc<dyn Clock>,
    schema: SchemaRef,
}

impl RateSource {
    /// Rows due by `second`; speed rises by equal steps, each second, until the ramp ends.
    fn rows_by(&self, second: i64) -> Option<i64> {
        let step = self.rows_per_second / self.ramp.checked_add(1)?;
        let rising = second.min(self.ramp);
        // One of two neighbours is even: halving that one first keeps the product small.
        let (even, odd) = if rising % 2 == 0 { (rising, rising + 1) } else { (rising + 1, rising) };
        let rows = (even / 2).checked_mul(step)?.checked_mul(odd)?;
        rows.checked_add((second - rising).checked_mul(self.rows_per_second)?)
    }

    fn rows(&self, start: i64, end: i64) -> Result<(i64, i64)> {
        self.rows_by(start).zip(self.rows_by(end)).ok_or_else(|| {
            Error::config(format!("rate: {} rows a second, by second {end}, pass 2^63", self.rows_per_second))
        })
    }
}

#[async_trait]
impl Source for RateSource {
    /// Whole seconds since the query began.
    type Offset = i64;

    fn payload(&self) -> Payload {
        Payload::Rows(self.schema.clone())
    }

    fn replay(&self) -> Replay {
        Replay::Deterministic
    }

    async fn initial_offset(&mut self) -> Result<i64> {
        Ok(0)
    }

    async fn plan(&mut self, start: &i64, limit: &ReadLimit) -> Result<Planned<i64>> {
        self.seen = self.seen.max((self.clock.now_ms() - self.created_ms) / 1000);
        let latest = self.seen.min(self.frozen).max(*start);
        let (first, last) = self.rows(*start, latest)?;
        let most = limit.max_rows.and_then(|it| i64::try_from(it).ok()).unwrap_or(i64::MAX);
        // A second is never cut: as many as fit, but one at least.
        let fits = |end: &i64| self.rows_by(*end).is_some_and(|last| last - first <= most);
        let end = if last - first <= most { latest } else { (start + 1..latest).rev().find(fits).unwrap_or(start + 1) };
        let rows = self.rows_by(end).and_then(|last| u64::try_from(last - first).ok());
        Ok(Planned { end, latest, rows, bytes: None, schema: None })
    }

    async fn freeze(&mut self, start: &i64) -> Result<i64> {
        self.frozen = self.plan(start, &ReadLimit::NONE).await?.end;
        Ok(self.frozen)
    }

    async fn ready(&mut self, after: &i64) -> Result<()> {
        self.clock.sleep_until(self.created_ms + (after + 1).saturating_mul(1000)).await;
        Ok(())
    }

    fn splits(&self, range: OffsetRange<i64>, _max: usize) -> Vec<Split<i64>> {
        let split =
            |number| Split { range: range.clone(), partition: PartitionId { name: "".into(), number }, bytes: None };
        (0..self.partitions).map(split).collect()
    }

    async fn read(&self, split: Split<i64>) -> Result<BatchStream> {
        let OffsetRange { start, end } = split.range;
        let (first, last) = self.rows(start, end)?;
        let (start_ms, step) = (self.created_ms + start * 1000, self.partitions as usize);
        let ms_per_row = (end - start) as f64 * 1000.0 / (last - first) as f64;
        let time_us = move |value: i64| (start_ms + ((value - first) as f64 * ms_per_row).round() as i64) * 1000;
        let schema = self.schema.clone();
        let begins = (first + i64::from(split.partition.number)..last).step_by(step * BATCH_ROWS);
        let batches = begins.map(move |begin| {
            let values: Vec<i64> = (begin..last).step_by(step).take(BATCH_ROWS).collect();
            let times = TimestampMicrosecondArray::from_iter_values(values.iter().map(|it| time_us(*it)));
            let times = Arc::new(times.with_timezone("UTC"));
            RecordBatch::try_new(schema.clone(), vec![times, Arc::new(Int64Array::from(values))])
                .map_err(|e| Error::internal("rate").because(e))
        });
        Ok(stream::iter(batches).boxed())
    }

    fn describe(&self) -> String {
        format!("rate[rowsPerSecond={}, rampUpTimeSeconds={}]", self.rows_per_second, self.ramp)
    }
}
