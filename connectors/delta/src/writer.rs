//! `DeltaWriter`: the rows of one task of an epoch, written as they come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use deltalake::kernel::Add;
use serde::{Deserialize, Serialize};
use tidegate_api::connector::Reservation;
use tidegate_api::{Clock, Epoch, MemoryBudget, Rejected, Result, SinkWriter, async_trait};
use uuid::Uuid;

use crate::batch::{self, PartitionValues};
use crate::file::{OpenFile, Scratch};
use crate::names::{FileNames, WriterHash, partition_folder};
use crate::store::TableStore;
use crate::table::Layout;

/// Bytes that the open files of one writer hold at most before they are written out.
const BUFFER_BYTES: usize = 32 << 20;
/// Partitions that one writer holds open at most; beyond, the one untouched longest is closed.
const OPEN_FILES: usize = 64;

/// What a writer prepared: data files that are complete, synced and in no commit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Prepared {
    /// The actions that add the files.
    pub(crate) files: Vec<Add>,
    /// The rows in them.
    pub(crate) rows: u64,
}

impl Prepared {
    /// Where the files are, relative to the table.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|it| it.path.as_str())
    }
}

/// What all writers of a sink share.
pub(crate) struct WriterParts {
    pub(crate) store: TableStore,
    pub(crate) layout: Arc<Layout>,
    pub(crate) target_bytes: u64,
    pub(crate) memory: MemoryBudget,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Writes the rows of one task of an epoch to data files.
pub struct DeltaWriter {
    parts: WriterParts,
    names: FileNames,
    /// Open files by partition, with the count of `write` that touched them last.
    open: BTreeMap<PartitionValues, (u64, OpenFile)>,
    writes: u64,
    done: Prepared,
    folders: BTreeSet<String>,
    scratch: Scratch,
    reserved: Option<Reservation>,
}

impl DeltaWriter {
    pub(crate) fn new(parts: WriterParts, writer: WriterHash, epoch: &Epoch, task: u32) -> Self {
        let (nonce, ..) = Uuid::new_v4().as_fields();
        Self {
            names: FileNames::new(writer, epoch.number, task, epoch.attempt, nonce),
            scratch: Scratch::new(parts.store.clone()),
            parts,
            open: BTreeMap::new(),
            writes: 0,
            done: Prepared::default(),
            folders: BTreeSet::new(),
            reserved: None,
        }
    }

    async fn write_part(&mut self, values: PartitionValues, rows: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(&values) {
            if self.open.len() >= OPEN_FILES
                && let Some(oldest) = self.open.iter().min_by_key(|(_, it)| it.0).map(|(values, _)| values.clone())
            {
                self.close(&oldest).await?;
            }
            let folder = partition_folder(&self.parts.layout.partition_names(), &values);
            let path = format!("{folder}{}", self.names.next());
            self.scratch.add(path.clone());
            self.folders.insert(folder);
            let file = OpenFile::create(&self.parts.store, path, self.parts.layout.file_schema.clone()).await?;
            self.open.insert(values.clone(), (self.writes, file));
        }
        let Some((touched, file)) = self.open.get_mut(&values) else { return Ok(()) };
        *touched = self.writes;
        file.write(rows).await?;
        if file.size() as u64 >= self.parts.target_bytes {
            self.close(&values).await?;
        }
        Ok(())
    }

    async fn close(&mut self, values: &PartitionValues) -> Result<()> {
        let Some((_, file)) = self.open.remove(values) else { return Ok(()) };
        let names = self.parts.layout.partition_names().into_iter().map(str::to_owned);
        let values = names.zip(values.iter().cloned()).collect();
        let (add, rows) = file.finish(values, &self.parts.layout.stats, self.parts.clock.now_ms()).await?;
        self.done.files.push(add);
        self.done.rows += rows;
        Ok(())
    }

    /// Writes out the largest files until what is held fits the writer's share and the query's budget.
    async fn bound_memory(&mut self) -> Result<()> {
        loop {
            let held: usize = self.open.values().map(|it| it.1.memory()).sum();
            // Given back first: the same bytes must not be counted twice.
            self.reserved = None;
            self.reserved = self.parts.memory.try_reserve(held as u64);
            if held <= BUFFER_BYTES && self.reserved.is_some() {
                return Ok(());
            }
            let largest = self.open.values_mut().max_by_key(|it| it.1.memory());
            let Some((_, file)) = largest else { return Ok(()) };
            let before = file.memory();
            file.flush().await?;
            if file.memory() >= before {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl SinkWriter for DeltaWriter {
    type Committable = Prepared;

    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        let (fitted, rejected) = batch::fit(&self.parts.layout, &batch)?;
        if fitted.num_rows() > 0 {
            self.writes += 1;
            for (values, rows) in batch::by_partition(&self.parts.layout, &fitted)? {
                self.write_part(values, &rows).await?;
            }
            self.bound_memory().await?;
        }
        Ok(rejected)
    }

    async fn prepare(mut self) -> Result<Prepared> {
        let open: Vec<_> = self.open.keys().cloned().collect();
        for values in open {
            self.close(&values).await?;
        }
        self.parts.store.sync_folders(&self.folders).await?;
        self.scratch.keep();
        Ok(self.done)
    }
}
