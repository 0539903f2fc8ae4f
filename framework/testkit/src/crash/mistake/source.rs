//! A source that reads on from where it has read to, whatever it is asked for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use tidegate_api::{
    BatchStream, Bound, DynSource, OffsetJson, OffsetRange, Payload, Planned, ReadLimit, Replay, Result, ScanRequest,
    Split,
};

pub(super) struct WrongSource {
    source: Box<dyn DynSource>,
    read: Mutex<Option<u64>>,
}

impl WrongSource {
    pub(super) fn new(source: Box<dyn DynSource>) -> Self {
        Self { source, read: Mutex::default() }
    }
}

#[async_trait]
impl DynSource for WrongSource {
    fn payload(&self) -> Payload {
        self.source.payload()
    }
    fn replay(&self) -> Replay {
        self.source.replay()
    }
    fn bind(&mut self, scan: &ScanRequest) -> Result<Bound> {
        self.source.bind(scan)
    }
    async fn initial_offset(&mut self) -> Result<OffsetJson> {
        self.source.initial_offset().await
    }
    async fn plan(&mut self, start: &OffsetJson, limit: &ReadLimit) -> Result<Planned<OffsetJson>> {
        self.source.plan(start, limit).await
    }
    async fn freeze(&mut self, start: &OffsetJson) -> Result<OffsetJson> {
        self.source.freeze(start).await
    }
    async fn ready(&mut self, after: &OffsetJson) -> Result<()> {
        self.source.ready(after).await
    }
    fn splits(&self, range: OffsetRange<OffsetJson>, max: usize) -> Result<Vec<Split<OffsetJson>>> {
        self.source.splits(range, max)
    }
    async fn read(&self, split: Split<OffsetJson>) -> Result<BatchStream> {
        let end = split.range.end.0.as_u64();
        {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if end <= *read {
                return Ok(stream::empty().boxed());
            }
            *read = end;
        }
        self.source.read(split).await
    }
    async fn commit(&mut self, through: &OffsetJson) -> Result<()> {
        self.source.commit(through).await
    }
    fn metrics(&self) -> BTreeMap<String, String> {
        self.source.metrics()
    }
    fn describe(&self) -> String {
        self.source.describe()
    }
}
