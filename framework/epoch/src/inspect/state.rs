//! The state of one operator as rows, from its files, the newest first; all of it is never in memory at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures::stream;
use tidegate_api::{BatchStream, Error, Result};
use tidegate_storage::Location;

use super::open;
use crate::log::branch::Branches;
use crate::log::spark::SparkLogs;
use crate::log::wal::Wal;
use crate::program::StateShape;
use crate::snapshot::SnapshotFiles;
use crate::state::{Backwards, Listed, OperatorPart};
use crate::store::{Store, blocking};
use files::{Files, StateFile, files};

mod files;

/// What an operator remembers after an epoch.
pub struct StateTable {
    /// The epoch.
    pub epoch: u64,
    /// The key's columns, then the others, then `virtual_node` INT.
    pub schema: SchemaRef,
    /// The rows, in no order. They are read as they are asked for: a file at a time, and of its rows a batch at a time.
    pub rows: BatchStream,
}

/// The newest epoch of a checkpoint whose outcome the checkpoint knows; nothing if there is none. Costs a few requests.
///
/// # Errors
/// `Config` if there is no checkpoint at `location`, or what tells the newest epoch is damaged; else as the store.
pub async fn newest_epoch(location: &Location) -> Result<Option<u64>> {
    let store = open(location)?;
    let wal = Wal::new(store.clone());
    let logged = wal.attempts().await?;
    let newest = logged.last_key_value();
    if let Some(branch) = Branches::new(store.clone()).newest().await?
        && newest.is_none_or(|(epoch, _)| *epoch < branch.next)
    {
        return Ok(branch.base.map(|it| it.epoch));
    }
    let Some((epoch, attempts)) = newest else { return Ok(None) };
    let Some(attempt) = attempts.last() else { return Ok(None) };
    let (record, _) = wal.read(*epoch, *attempt).await?;
    let is_decided = SnapshotFiles::new(store.clone()).epochs().await?.contains(epoch)
        || SparkLogs::new(store.clone()).check_committed(*epoch).await?;
    Ok(if is_decided { Some(*epoch) } else { record.commit.map(|it| it.epoch) })
}

/// The columns of [`state`], found with as little reading as may be.
///
/// # Errors
/// As [`state`].
pub async fn state_schema(location: &Location, operator: &str, epoch: Option<u64>) -> Result<SchemaRef> {
    let (_, backwards) = begin(&open(location)?, operator, epoch).await?;
    Ok(backwards.schema().clone())
}

/// What an operator remembers after an epoch; without one, after the newest whose outcome is known. The checkpoint may be in
/// use; one that keeps few epochs (`min.epochs.to.retain`) may lose files while they are being read, which is an error.
///
/// # Errors
/// `Config` if there is no such checkpoint, operator or epoch, with those that there are, or if a file is damaged; else
/// as the store.
pub async fn state(location: &Location, operator: &str, epoch: Option<u64>) -> Result<StateTable> {
    let (files, backwards) = begin(&open(location)?, operator, epoch).await?;
    let (epoch, schema) = (files.epoch, backwards.schema().clone());
    let walk =
        Walk { operator: operator.into(), files, backwards, part: None, is_oldest: false, own: None, origin: None };
    let rows = stream::try_unfold(walk, |mut walk| async move { Ok(walk.next().await?.map(|rows| (rows, walk))) });
    Ok(StateTable { epoch, schema, rows: Box::pin(rows) })
}

/// The columns of [`operators`].
pub fn operators_schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let number = |name| Field::new(name, DataType::Int64, true);
    let fields = vec![text("operator"), text("key_columns"), text("layout"), number("min_epoch"), number("max_epoch")];
    Arc::new(Schema::new(fields))
}

/// The operators that have state after an epoch, a row each: its name, the columns of its key, its layout, and the oldest
/// and the newest epoch at which its state can be read.
///
/// # Errors
/// As [`state`].
pub async fn operators(location: &Location, epoch: Option<u64>) -> Result<RecordBatch> {
    let files = files(&open(location)?, epoch).await?;
    let mut found: BTreeMap<Arc<str>, Listed> = BTreeMap::new();
    for file in &files.left {
        for listed in files.list(*file).await? {
            let known = found.entry(listed.operator.clone()).or_insert_with(|| listed.clone());
            known.shape = known.shape.take().or(listed.shape);
        }
    }
    let texts =
        |of: fn(&Listed) -> Option<String>| -> ArrayRef { Arc::new(StringArray::from_iter(found.values().map(of))) };
    let numbers = |of: Option<&u64>| -> ArrayRef {
        Arc::new(Int64Array::from(vec![of.and_then(|it| i64::try_from(*it).ok()); found.len()]))
    };
    let columns = vec![
        texts(|it| Some(it.operator.to_string())),
        texts(|it| it.shape.as_ref().map(key_columns)),
        texts(|it| Some(it.layout.to_string())),
        numbers(files.known.first()),
        numbers(files.known.last()),
    ];
    RecordBatch::try_new(operators_schema(), columns).map_err(|e| Error::internal("the operators").because(e))
}

fn key_columns(shape: &StateShape) -> String {
    let names = shape.keys.iter().filter_map(|it| shape.columns.fields().get(*it));
    names.map(|it| it.name().as_str()).collect::<Vec<_>>().join(", ")
}

/// Goes through the files of one operator.
struct Walk {
    operator: Arc<str>,
    files: Files,
    backwards: Backwards,
    /// The file that is being read.
    part: Option<(StateFile, OperatorPart)>,
    is_oldest: bool,
    /// The oldest epoch so far that has something of the operator.
    own: Option<u64>,
    /// The operator whose state it took over, and the oldest epoch so far that has something of that one.
    origin: Option<(Arc<str>, Option<u64>)>,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some((file, part)) = &mut self.part else {
                let Some(file) = self.files.left.pop_front() else {
                    self.check_origin()?;
                    return Ok(None);
                };
                self.open(file).await?;
                continue;
            };
            let (backwards, is_oldest) = (&mut self.backwards, self.is_oldest);
            let rows = blocking(|| part.next().map(|it| backwards.rows(&it?, is_oldest)).transpose());
            let file = *file;
            match rows.map_err(|e| self.files.named(file, e))? {
                Some(rows) if rows.num_rows() == 0 => {}
                Some(rows) => return Ok(Some(rows)),
                None => self.close().map_err(|e| self.files.named(file, e))?,
            }
        }
    }

    async fn open(&mut self, file: StateFile) -> Result<()> {
        self.is_oldest = self.files.left.is_empty();
        if let Some((origin, oldest)) = &mut self.origin
            && self.files.list(file).await?.iter().any(|it| it.operator == *origin)
        {
            *oldest = Some(file.epoch);
        }
        let Some(part) = self.files.part(file, &self.operator).await? else { return Ok(()) };
        self.backwards.admit(&part.layout).map_err(|e| self.files.named(file, e))?;
        self.own = Some(file.epoch);
        let origin = part.shape.as_ref().and_then(|it| it.origin.clone());
        self.origin = self.origin.take().or_else(|| origin.map(|it| (it, None)));
        self.part = Some((file, part));
        Ok(())
    }

    /// What a file removed counts for older ones.
    fn close(&mut self) -> Result<()> {
        let Some((_, part)) = self.part.take() else { return Ok(()) };
        if let Some(keys) = &part.tombstones {
            self.backwards.remove(keys)?;
        }
        if let Some(through_us) = part.evict_through_us {
            self.backwards.evict(through_us);
        }
        Ok(())
    }

    /// Where its own state begins after its origin's, rows of before stand under the other's name.
    fn check_origin(&self) -> Result<()> {
        match (&self.origin, self.own) {
            (Some((origin, Some(oldest))), Some(own)) if *oldest < own => {
                let text = format!(
                    "operator '{}' took over the state of '{origin}' at epoch {own}; it can be read after the next snapshot",
                    self.operator
                );
                Err(Error::config(text).within(format!("checkpoint {}", self.files.store.location())))
            }
            _ => Ok(()),
        }
    }
}

/// The files of an operator's state, and what its rows look like.
async fn begin(store: &Arc<Store>, operator: &str, epoch: Option<u64>) -> Result<(Files, Backwards)> {
    let files = files(store, epoch).await?;
    let mut operators = BTreeSet::new();
    for file in files.left.clone() {
        for listed in files.list(file).await? {
            if let (true, Some(shape)) = (&*listed.operator == operator, &listed.shape) {
                let backwards = Backwards::new(operator, listed.layout.clone(), shape);
                let backwards = backwards.map_err(|e| files.named(file, e))?;
                return Ok((files, backwards));
            }
            operators.insert(listed.operator);
        }
    }
    Err(missing(&files, operator, &operators))
}

fn missing(files: &Files, operator: &str, operators: &BTreeSet<Arc<str>>) -> Error {
    let message = match operators.iter().map(|it| &**it).collect::<Vec<_>>().join(", ") {
        _ if operators.contains(operator) => {
            format!("operator '{operator}' was written before its columns were noted; the next snapshot will have them")
        }
        none if none.is_empty() => format!("found operator '{operator}', but no operator has state"),
        known => format!("found operator '{operator}', expected one of {known}"),
    };
    Error::config(message).within(format!("checkpoint {}, state after epoch {}", files.store.location(), files.epoch))
}
