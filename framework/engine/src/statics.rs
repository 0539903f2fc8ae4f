//! Static sources: read whole for an epoch, at the version that the epoch was planned with, and kept while it does not
//! change.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::TryStreamExt;
use tidegate_api::connector::Reservation;
use tidegate_api::{DynSource, Error, ErrorKind, MemoryBudget, OffsetJson, OffsetRange, ReadLimit, Replay, Result};
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
    memory: MemoryBudget,
    kept: Option<Kept>,
}

/// The rows of one version.
struct Kept {
    version: String,
    rows: Vec<RecordBatch>,
    _counted: Vec<Reservation>,
}

impl StaticInput {
    pub(crate) fn new(
        at: usize,
        name: Arc<str>,
        source: Box<dyn DynSource>,
        decoding: Decoding,
        schema: SchemaRef,
        memory: MemoryBudget,
    ) -> Self {
        Self { at, name, source, decoding, schema, memory, kept: None }
    }

    /// True if a version gives the same rows for as long as there is one.
    pub(crate) fn is_replayable(&self) -> bool {
        self.source.replay() == Replay::Deterministic
    }

    /// What it is now: the range from its start to its end, as JSON.
    async fn version(&mut self) -> Result<String> {
        let start = self.source.initial_offset().await?;
        let end = self.source.plan(&start, &ReadLimit::NONE).await?.end;
        serde_json::to_string(&[start, end]).map_err(|e| Error::internal("a version").because(e))
    }

    async fn rows(&mut self, version: &str) -> Result<Vec<RecordBatch>> {
        if let Some(kept) = self.kept.take_if(|it| it.version != version) {
            // Makes room before the new rows come.
            drop(kept);
        }
        if let Some(kept) = &self.kept {
            return Ok(kept.rows.clone());
        }
        let damaged = |e| Error::config(format!("version {version} of static source {}", self.name)).because(e);
        let [start, end]: [OffsetJson; 2] = serde_json::from_str(version).map_err(damaged)?;
        let mut decoder = self.decoding.decoder(&self.schema)?;
        let (mut rows, mut counted) = (Vec::new(), Vec::new());
        let lost = |e| self.lost(version, e);
        for split in self.source.splits(OffsetRange { start, end }, 1).map_err(lost)? {
            let mut batches = self.source.read(split).await.map_err(lost)?;
            while let Some(batch) = batches.try_next().await.map_err(lost)? {
                let batch = decoder.decode(&batch)?;
                counted.push(self.reserve(batch.get_array_memory_size())?);
                rows.push(batch);
            }
        }
        self.kept = Some(Kept { version: version.to_owned(), rows: rows.clone(), _counted: counted });
        Ok(rows)
    }

    /// A version that can't be read for good; a source that has none of its own says itself what is wrong.
    fn lost(&self, version: &str, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Config if self.is_replayable() => {
                Error::config(format!("version {version} of static source {} is gone", self.name)).because(error)
            }
            _ => error.within(format_args!("static source {}", self.name)),
        }
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation> {
        self.memory.try_reserve(bytes as u64).ok_or_else(|| {
            let (name, limit) = (&self.name, self.memory.limit());
            Error::config(format!("static source {name}: its rows do not fit the {limit} bytes of memory of the query"))
        })
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
        let version = match versions.iter().find(|it| it.name == input.name) {
            Some(it) => it.version.clone(),
            None => input.version().await.map_err(|e| e.within(format!("static source {}", input.name)))?,
        };
        let rows = input.rows(&version).await?;
        all.insert(input.at, rows);
    }
    Ok(Arc::new(all))
}
