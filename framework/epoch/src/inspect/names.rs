//! What a file of a checkpoint is, by its name.

use tidegate_api::AttemptId;

use crate::log::wal;
use crate::sink_task::parse_rejects_name;
use crate::snapshot;

/// A file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// Known by this one name.
    Fixed,
    Offsets(u64),
    Commits(u64),
    /// An entry of the log of the source with this index.
    Source(u64),
    Record(u64, AttemptId),
    Snapshot(u64, AttemptId),
    /// The name of the source with this index.
    Named(u64),
    /// An output that waits for its sink, of this attempt.
    Staged(u64, AttemptId),
    /// What a sink rejected of this attempt's output.
    Rejects(u64, AttemptId),
    /// Whose first epoch is this.
    Branch(u64),
    Generation(u64),
    Beat(u64),
    /// An entry of the log of a sink or of a static table.
    Log,
    /// The checksum of this file.
    Checksum(String),
    /// What a write left behind, or is about to rename; state that is on disk to save memory.
    Temporary,
    Foreign,
}

impl Name {
    pub(super) fn of(key: &str, remote: bool) -> Self {
        let name = key.rsplit('/').next().unwrap_or_default();
        if name.starts_with('.') {
            return match crate::store::sidecar::file_of(key) {
                Some(file) if crate::store::sidecar::is_due(&file) => Self::Checksum(file),
                None if name.ends_with(".tmp") => Self::Temporary,
                _ => Self::Foreign,
            };
        }
        Self::visible(key, remote).unwrap_or(Self::Foreign)
    }

    fn visible(key: &str, remote: bool) -> Option<Self> {
        let parts: Vec<&str> = key.split('/').collect();
        Some(match parts.as_slice() {
            ["metadata"] | ["state", "version" | "location"] => Self::Fixed,
            ["state", "owner"] if !remote => Self::Fixed,
            ["offsets", n] => Self::Offsets(number(n)?),
            ["commits", n] => Self::Commits(number(n)?),
            ["sources", index, _] => Self::Source(number(index)?),
            ["state", "wal", name] => wal::parse_name(name).map(|(epoch, attempt)| Self::Record(epoch, attempt))?,
            ["state", "snapshots", name] => {
                snapshot::parse_name(name).map(|(epoch, attempt)| Self::Snapshot(epoch, attempt))?
            }
            ["state", "sources", index] => Self::Named(number(index)?),
            ["state", "staged", name] => staged(name)?,
            ["state", "branches", n] => Self::Branch(number(n)?),
            ["state", "generations", g] if !remote => Self::Generation(number(g)?),
            ["state", "owner", name] if remote => match name.strip_suffix(".beat") {
                Some(g) => Self::Beat(number(g)?),
                None => Self::Generation(number(name)?),
            },
            ["state", "sinks" | "tables", _, _] => Self::Log,
            ["state", "spill", _] => Self::Temporary,
            _ => return None,
        })
    }
}

/// `<epoch>.<generation>.<n>.<sink>`, or what a sink rejected.
fn staged(name: &str) -> Option<Name> {
    if let Some((epoch, attempt, ..)) = parse_rejects_name(name) {
        return Some(Name::Rejects(epoch, attempt));
    }
    if let Some((output, _)) = name.split_once(".letters.") {
        return staged(output);
    }
    let (record, sink) = name.rsplit_once('.')?;
    number(sink)?;
    wal::parse_name(record).map(|(epoch, attempt)| Name::Staged(epoch, attempt))
}

/// A number as we write it: another spelling is another file.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|it: &u64| it.to_string() == text)
}
