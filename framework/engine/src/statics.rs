//! Static sources: read whole for an epoch, kept while their version does not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::TryStreamExt;
use tidegate_api::{DynSource, OffsetJson, OffsetRange, ReadLimit, Result};

use crate::decode::Decoding;
use crate::exec::Statics;

/// A source that is read as a table.
pub(crate) struct StaticInput {
    /// Its index among all sources of the query.
    pub(crate) at: usize,
    pub(crate) source: Box<dyn DynSource>,
    pub(crate) decoding: Decoding,
    pub(crate) schema: SchemaRef,
    kept: Option<(OffsetJson, Vec<RecordBatch>)>,
}

impl StaticInput {
    pub(crate) fn new(at: usize, source: Box<dyn DynSource>, decoding: Decoding, schema: SchemaRef) -> Self {
        Self { at, source, decoding, schema, kept: None }
    }

    async fn rows(&mut self) -> Result<Vec<RecordBatch>> {
        let start = self.source.initial_offset().await?;
        let end = self.source.plan(&start, &ReadLimit::NONE).await?.end;
        if let Some((version, rows)) = &self.kept
            && *version == end
        {
            return Ok(rows.clone());
        }
        let mut decoder = self.decoding.decoder(&self.schema)?;
        let mut rows = Vec::new();
        for split in self.source.splits(OffsetRange { start, end: end.clone() }, 1)? {
            let mut batches = self.source.read(split).await?;
            while let Some(batch) = batches.try_next().await? {
                rows.push(decoder.decode(&batch)?);
            }
        }
        self.kept = Some((end, rows.clone()));
        Ok(rows)
    }
}

/// The rows of all static sources, for one epoch.
pub(crate) async fn read_all(inputs: &mut [StaticInput]) -> Result<Statics> {
    let mut all = BTreeMap::new();
    for input in inputs {
        all.insert(input.at, input.rows().await?);
    }
    Ok(Arc::new(all))
}
