//! A source of numbers: event times in seconds.

use std::sync::{Arc, Mutex};

use futures::{StreamExt, stream};
use tidegate_api::{
    BatchStream, Clock, Error, OffsetRange, PartitionId, Payload, Planned, ReadLimit, RecordBatch, Replay, Result,
    Schema, Source, Split, async_trait,
};

use arrow_array::Int64Array;
use arrow_schema::{DataType, Field};

use super::ManualClock;

/// What the source has, shared with the test.
#[derive(Clone, Default)]
pub(crate) struct Feed(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    values: Vec<i64>,
    forgotten: Option<u64>,
    failures: u32,
    plans: u32,
    lost: bool,
    /// Whose time passes when rows are read, and how much for each, milliseconds.
    slow: Option<(Arc<ManualClock>, i64)>,
}

impl Feed {
    pub(crate) fn add(&self, values: &[i64]) {
        self.0.lock().unwrap().values.extend(values);
    }

    pub(crate) fn values(&self) -> Vec<i64> {
        self.0.lock().unwrap().values.clone()
    }

    /// The next reads fail in the middle.
    pub(crate) fn fail_reads(&self, times: u32) {
        self.0.lock().unwrap().failures = times;
    }

    /// Reading a row takes so many milliseconds.
    pub(crate) fn be_slow(&self, clock: &Arc<ManualClock>, ms: i64) {
        self.0.lock().unwrap().slow = Some((clock.clone(), ms));
    }

    /// From now on nothing can be read again; what was read is gone.
    pub(crate) fn lose(&self) {
        self.0.lock().unwrap().lost = true;
    }

    pub(crate) fn find_again(&self) {
        self.0.lock().unwrap().lost = false;
    }

    /// The last position that the query said it will not read again.
    pub(crate) fn forgotten(&self) -> Option<u64> {
        self.0.lock().unwrap().forgotten
    }

    pub(crate) fn plans(&self) -> u32 {
        self.0.lock().unwrap().plans
    }
}

pub(crate) struct Numbers {
    feed: Feed,
    frozen: Option<u64>,
    replay: Replay,
}

impl Numbers {
    pub(crate) fn new(feed: Feed) -> Self {
        Self { feed, frozen: None, replay: Replay::Deterministic }
    }

    /// What it has can be read once.
    pub(crate) fn once(feed: Feed) -> Self {
        Self { feed, frozen: None, replay: Replay::None }
    }
}

#[async_trait]
impl Source for Numbers {
    type Offset = u64;

    fn payload(&self) -> Payload {
        Payload::Rows(Arc::new(Schema::new(vec![Field::new("value", DataType::Int64, false)])))
    }

    fn replay(&self) -> Replay {
        self.replay
    }

    fn describe(&self) -> String {
        "numbers".to_owned()
    }

    async fn initial_offset(&mut self) -> Result<u64> {
        Ok(0)
    }

    async fn plan(&mut self, start: &u64, limit: &ReadLimit) -> Result<Planned<u64>> {
        let mut inner = self.feed.0.lock().unwrap();
        inner.plans += 1;
        let latest = self.frozen.unwrap_or(inner.values.len() as u64);
        let end = latest.min(start + limit.max_rows.unwrap_or(u64::MAX - start)).max(*start);
        Ok(Planned { end, latest, rows: None, bytes: None, schema: None })
    }

    async fn freeze(&mut self, _start: &u64) -> Result<u64> {
        let end = self.feed.values().len() as u64;
        self.frozen = Some(end);
        Ok(end)
    }

    /// Two splits, so that their order counts.
    fn splits(&self, range: OffsetRange<u64>, _max: usize) -> Vec<Split<u64>> {
        let middle = range.start.midpoint(range.end);
        let cut = [(range.start, middle), (middle, range.end)];
        let splits = cut.iter().enumerate().filter(|(_, (start, end))| start < end).map(|(at, (start, end))| Split {
            range: OffsetRange { start: *start, end: *end },
            partition: PartitionId { number: u32::try_from(at).unwrap(), ..PartitionId::only() },
            bytes: None,
        });
        splits.collect()
    }

    async fn read(&self, split: Split<u64>) -> Result<BatchStream> {
        let (start, end) = (split.range.start, split.range.end);
        let mut inner = self.feed.0.lock().unwrap();
        if inner.lost {
            return Err(Error::config("the rows are gone"));
        }
        let values = Int64Array::from_iter_values((start..end).map(|it| inner.values[usize::try_from(it).unwrap()]));
        let batch = RecordBatch::try_new(self.payload().schema().clone(), vec![Arc::new(values)]);
        let mut items = vec![Ok(batch.unwrap())];
        if let Some((clock, ms)) = &inner.slow {
            clock.set(clock.now_ms() + ms * i64::try_from(end - start).unwrap());
        }
        if inner.failures > 0 {
            inner.failures -= 1;
            items.push(Err(Error::transient("the wire is cut")));
        }
        Ok(stream::iter(items).boxed())
    }

    async fn commit(&mut self, through: &u64) -> Result<()> {
        self.feed.0.lock().unwrap().forgotten = Some(*through);
        Ok(())
    }
}

/// A source of another kind: its offsets are texts.
pub(crate) struct Letters;

#[async_trait]
impl Source for Letters {
    type Offset = String;

    fn payload(&self) -> Payload {
        Payload::Rows(Arc::new(Schema::empty()))
    }

    fn replay(&self) -> Replay {
        Replay::Deterministic
    }

    fn describe(&self) -> String {
        "letters".to_owned()
    }

    async fn initial_offset(&mut self) -> Result<String> {
        Ok(String::new())
    }

    async fn plan(&mut self, start: &String, _limit: &ReadLimit) -> Result<Planned<String>> {
        Ok(Planned { end: start.clone(), latest: start.clone(), rows: None, bytes: None, schema: None })
    }

    async fn read(&self, _split: Split<String>) -> Result<BatchStream> {
        Ok(stream::empty().boxed())
    }
}
