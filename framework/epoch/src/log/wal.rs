//! The write-ahead log: one durable file an epoch attempt, `state/wal/<epoch>.<generation>.<n>`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_buffer::Buffer;
use tidegate_api::{AttemptId, Error, Result};

use crate::fault::Point;
use crate::log::Record;
use crate::log::frame::{self, Kind};
use crate::store::{Marks, Store};

const FOLDER: &str = "state/wal";

/// The folder of records.
#[derive(Clone)]
pub(crate) struct Wal {
    store: Arc<Store>,
}

impl Wal {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Makes a record, its state delta and what it stages durable: on a local disk two fsyncs, of the file and of the
    /// folder; else one put.
    pub(crate) async fn append(&self, record: &Record, delta: &[u8], staged: &[Buffer]) -> Result<()> {
        let header = serde_json::to_vec(record).map_err(|e| Error::internal("record").because(e))?;
        let sections: Vec<&[u8]> = [&header[..], delta].into_iter().chain(staged.iter().map(|it| &**it)).collect();
        let heads = frame::Heads::new(Kind::Record, &sections);
        let marks = Marks {
            epoch: record.epoch(),
            write: Some(Point::RecordWrite),
            fsync: Some(Point::RecordFsync),
            rename: Some(Point::RecordRename),
            dirsync: Some(Point::RecordDirsync),
        };
        self.store.write(&key(record.epoch(), record.attempt), &heads.with(&sections), &marks).await
    }

    /// Which attempts at which epochs are there.
    pub(crate) async fn attempts(&self) -> Result<BTreeMap<u64, BTreeSet<AttemptId>>> {
        let mut found: BTreeMap<u64, BTreeSet<AttemptId>> = BTreeMap::new();
        for name in self.store.list(FOLDER).await? {
            if let Some((epoch, attempt)) = parse_name(&name) {
                found.entry(epoch).or_default().insert(attempt);
            }
        }
        Ok(found)
    }

    /// A record with its state delta, whole; an error names the file.
    pub(crate) async fn read(&self, epoch: u64, attempt: AttemptId) -> Result<(Record, Vec<u8>)> {
        self.read_staged(epoch, attempt).await.map(|(record, delta, _)| (record, delta))
    }

    /// A record with its state delta and the sections that it stages, whole; an error names the file.
    pub(crate) async fn read_staged(&self, epoch: u64, attempt: AttemptId) -> Result<(Record, Vec<u8>, Vec<Buffer>)> {
        let key = key(epoch, attempt);
        let named = |e: Error| e.within(self.store.name(&key));
        let missing = || Error::config(format!("{} is missing: the log has a gap", self.store.name(&key)));
        let bytes = self.store.read(&key).await?.ok_or_else(missing)?;
        let sections = frame::open(Kind::Record, &bytes).map_err(named)?;
        let [header, delta, staged @ ..] = sections.as_slice() else {
            return Err(named(Error::config("the file is damaged: it has no state delta")));
        };
        let damaged = |e| named(Error::config("the file is damaged: its header does not parse").because(e));
        let record: Record = serde_json::from_slice(header).map_err(damaged)?;
        if (record.epoch(), record.attempt) != (epoch, attempt) {
            let found = file_name(record.epoch(), record.attempt);
            return Err(named(Error::config(format!("the file is damaged: it holds record {found}"))));
        }
        record.manifest.check(delta, staged).map_err(named)?;
        Ok((record, delta.to_vec(), staged.iter().map(|it| Buffer::from(*it)).collect()))
    }

    /// The records of epochs before `oldest`.
    pub(crate) async fn before(&self, oldest: u64) -> Result<Vec<String>> {
        let names = self.store.list(FOLDER).await?;
        let is_old = |it: &String| parse_name(it).is_some_and(|(epoch, _)| epoch < oldest);
        Ok(names.into_iter().filter(is_old).map(|it| format!("{FOLDER}/{it}")).collect())
    }
}

/// Where a record lies.
pub(crate) fn key(epoch: u64, attempt: AttemptId) -> String {
    format!("{FOLDER}/{}", file_name(epoch, attempt))
}

fn file_name(epoch: u64, attempt: AttemptId) -> String {
    format!("{epoch}.{attempt}")
}

pub(crate) fn parse_name(name: &str) -> Option<(u64, AttemptId)> {
    let (epoch, attempt) = name.split_once('.')?;
    Some((epoch.parse().ok()?, attempt.parse().ok()?))
}
