//! Static sources: read whole for an epoch, at the version that the epoch was planned with, and kept while it does not
//! change.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::TryStreamExt;
use tidegate_api::{DynSource, Error, ErrorKind, OffsetJson, OffsetRange, ReadLimit, Result};
use tidegate_epoch::StaticVersion;

use crate::decode::Decoding;
use crate::exec::Statics;

/// A source that is read as a table.
pub(crate) struct StaticInput {
    /// Its index among all sources of the query.
    pub(crate) at: usize,
    pub(crate) name: Arc<str>,
    pub(crate) source: Box<dyn DynSource>,
    pub(crate) decoding: Decoding,
    pub(crate) schema: SchemaRef,
    kept: Option<(String, Vec<RecordBatch>)>,
}

impl StaticInput {
    pub(crate) fn new(
        at: usize,
        name: Arc<str>,
        source: Box<dyn DynSource>,
        decoding: Decoding,
        schema: SchemaRef,
    ) -> Self {
        Self { at, name, source, decoding, schema, kept: None }
    }

    /// What it is now: the range from its start to its end, as JSON.
    async fn version(&mut self) -> Result<String> {
        let start = self.source.initial_offset().await?;
        let end = self.source.plan(&start, &ReadLimit::NONE).await?.end;
        serde_json::to_string(&[start, end]).map_err(|e| Error::internal("a version").because(e))
    }

    async fn rows(&mut self, version: &str) -> Result<Vec<RecordBatch>> {
        if let Some((kept, rows)) = &self.kept
            && kept == version
        {
            return Ok(rows.clone());
        }
        let damaged = |e| Error::config(format!("version {version} of static source {}", self.name)).because(e);
        let [start, end]: [OffsetJson; 2] = serde_json::from_str(version).map_err(damaged)?;
        let mut decoder = self.decoding.decoder(&self.schema)?;
        let mut rows = Vec::new();
        for split in self.source.splits(OffsetRange { start, end }, 1)? {
            let mut batches = self.source.read(split).await?;
            while let Some(batch) = batches.try_next().await? {
                rows.push(decoder.decode(&batch)?);
            }
        }
        self.kept = Some((version.to_owned(), rows.clone()));
        Ok(rows)
    }
}

/// The versions of all static sources.
pub(crate) async fn versions(inputs: &mut [StaticInput]) -> Result<Vec<StaticVersion>> {
    let mut all = Vec::with_capacity(inputs.len());
    for input in inputs {
        let version = input.version().await.map_err(|e| e.within(format!("static source {}", input.name)))?;
        all.push(StaticVersion { name: input.name.clone(), version });
    }
    Ok(all)
}

/// The rows of all static sources, for one epoch, at these versions. One that is new in the query is read as it is now.
pub(crate) async fn read_all(inputs: &mut [StaticInput], versions: &[StaticVersion]) -> Result<Statics> {
    let mut all = BTreeMap::new();
    for input in inputs {
        let about = format!("static source {}", input.name);
        let version = match versions.iter().find(|it| it.name == input.name) {
            Some(it) => it.version.clone(),
            None => input.version().await.map_err(|e| e.within(about.clone()))?,
        };
        let rows = input.rows(&version).await.map_err(|e| match e.kind() {
            ErrorKind::Config => {
                Error::config(format!("version {version} of static source {} is gone", input.name)).because(e)
            }
            _ => e.within(about.clone()),
        })?;
        all.insert(input.at, rows);
    }
    Ok(Arc::new(all))
}
