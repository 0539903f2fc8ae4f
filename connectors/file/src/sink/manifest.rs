//! `Manifest`: the list of files that count, in one of two formats; and who the folder belongs to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{Clock, CommitOutcome, Epoch, Error, MetadataLog, Result, WriterId};

use super::bounded::{EpochLog, TIDEGATE};
use super::config::ManifestFormat;
use super::folder::{DataFile, Folder};
use super::names::{Epochs, Held, WriterHash};
use super::spark::{SPARK, SparkLog};

/// The key in the sink's log that holds the identity of the folder.
const FOLDER_KEY: &str = "folder";

pub(crate) enum Manifest {
    Spark(SparkLog),
    Bounded(EpochLog),
}

impl ManifestFormat {
    /// Where the manifest lies.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Spark => SPARK,
            Self::Tidegate => TIDEGATE,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Spark => Self::Tidegate,
            Self::Tidegate => Self::Spark,
        }
    }
}

impl Manifest {
    pub(crate) fn new(
        format: ManifestFormat,
        folder: Arc<dyn Folder>,
        url: String,
        writer: WriterHash,
        clock: Arc<dyn Clock>,
    ) -> Self {
        match format {
            ManifestFormat::Spark => Self::Spark(SparkLog::new(folder, url, writer, clock)),
            ManifestFormat::Tidegate => Self::Bounded(EpochLog::new(folder, writer, clock)),
        }
    }

    /// The last epoch of this writer that is known to be there.
    pub(crate) fn held(&self) -> Option<&Held> {
        match self {
            Self::Spark(log) => log.held(),
            Self::Bounded(log) => log.held(),
        }
    }

    /// Reads it. The epochs of this writer: all with the format of Spark, else the last.
    pub(crate) async fn scan(&mut self) -> Result<Epochs> {
        match self {
            Self::Spark(log) => log.scan().await,
            Self::Bounded(log) => log.scan().await,
        }
    }

    /// Makes the files of an epoch visible, all or none, or tells that they are. `news` gets the epochs of this writer
    /// that were found on the way, also if it fails.
    pub(crate) async fn commit(
        &mut self,
        epoch: &Epoch,
        files: &[DataFile],
        news: &mut Epochs,
    ) -> Result<CommitOutcome> {
        match self {
            Self::Spark(log) => log.commit(epoch, files, news).await,
            Self::Bounded(log) => log.commit(epoch, files, news).await,
        }
    }

    /// Takes back this writer's epochs after `through`; gives the names of their files, which no reader sees any more.
    pub(crate) async fn restore(&mut self, through: Option<u64>) -> Result<Vec<String>> {
        match self {
            Self::Spark(log) => log.restore(through).await,
            Self::Bounded(log) => log.restore(through).await,
        }
    }

    /// Removes what is too old to be read by anyone.
    pub(crate) async fn clean(&mut self) -> Result<()> {
        match self {
            Self::Spark(log) => log.clean().await,
            Self::Bounded(log) => log.clean().await,
        }
    }

    /// Whether files of the folder count only if they are named here.
    pub(crate) fn names_all(&self) -> bool {
        matches!(self, Self::Spark(_))
    }

    /// Entries of anyone, if there can be entries that nobody signed for.
    fn first(&self) -> u64 {
        match self {
            Self::Spark(log) => log.next(),
            Self::Bounded(_) => 0,
        }
    }
}

/// Who wrote to the folder first: `.owner` beside the manifest.
#[derive(Serialize, Deserialize)]
struct Owner {
    /// The folder's own identity.
    id: String,
    writer: String,
    /// The number of its first entry.
    first: u64,
}

/// Takes the folder for this writer, or finds whether it may write to it. The manifest has been read.
///
/// # Errors
/// `Config` if the folder is another's, or another one than the checkpoint knows.
pub(crate) async fn claim(
    manifest: &Manifest,
    format: ManifestFormat,
    folder: &dyn Folder,
    writer: &WriterId,
    append_foreign: bool,
    log: &dyn MetadataLog,
) -> Result<()> {
    let other = format.other().folder();
    if !folder.list(other).await?.is_empty() {
        return Err(Error::config(format!(
            "has a manifest in {other}, expected {}: see manifest.format",
            format.folder()
        )));
    }
    let path = format!("{}/.owner", format.folder());
    let known = log.get(FOLDER_KEY).await?;
    let owner = match read(folder, &path).await? {
        Some(owner) => owner,
        None if known.is_some() => return Err(another("it is gone or empty")),
        None if manifest.first() > 0 && !append_foreign => return Err(foreign("a writer that left no name (Spark)")),
        None => create(folder, &path, writer, manifest.first()).await?,
    };
    if owner.writer != writer.to_string() && !append_foreign {
        return Err(foreign(&format!("writer {}", owner.writer)));
    }
    match known {
        Some(known) if known != owner.id.as_bytes() => Err(another("its identity is another one")),
        Some(_) => Ok(()),
        None => log.put_new(FOLDER_KEY, owner.id.as_bytes()).await.map(|_| ()),
    }
}

fn another(found: &str) -> Error {
    Error::config(format!(
        "is not the folder that the checkpoint has written to: {found}; restore it, or use another path and a new \
         checkpoint"
    ))
}

fn foreign(writer: &str) -> Error {
    Error::config(format!(
        "was written by {writer}: a query whose checkpoint is new would write again what is there; use another path, or \
         set append.foreign to add to it"
    ))
}

async fn read(folder: &dyn Folder, path: &str) -> Result<Option<Owner>> {
    let Some(bytes) = folder.get(path).await? else { return Ok(None) };
    let owner = serde_json::from_slice(&bytes);
    owner.map(Some).map_err(|e| Error::config(format!("{path} is damaged")).because(e))
}

/// If somebody else is faster, theirs counts.
async fn create(folder: &dyn Folder, path: &str, writer: &WriterId, first: u64) -> Result<Owner> {
    let owner = Owner { id: format!("{:032x}", fastrand::u128(..)), writer: writer.to_string(), first };
    let body = serde_json::to_vec(&owner).map_err(|e| Error::internal(".owner").because(e))?;
    if folder.put_new(path, body.into(), WriterHash::of(writer)).await? {
        return Ok(owner);
    }
    let taken = || Error::transient(format!("{path} is there, but can't be read"));
    read(folder, path).await?.ok_or_else(taken)
}
