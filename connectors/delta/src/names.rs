//! Names of data files: they say which writer, epoch and attempt wrote them.
//!
//! ```text
//! part-<hash of the writer id>-<epoch>-<task>-<file>.<generation>.<n>-<nonce>.snappy.parquet
//! ```

use tidegate_api::{AttemptId, WriterId};
use xxhash_rust::xxh3::xxh3_64;

const SUFFIX: &str = ".snappy.parquet";

/// The hash of a writer id, as it stands in names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriterHash(u64);

impl WriterHash {
    pub(crate) fn of(writer: &WriterId) -> Self {
        Self(xxh3_64(writer.to_string().as_bytes()))
    }

    /// How every data file of this writer begins.
    pub(crate) fn prefix(self) -> String {
        format!("part-{:016x}-", self.0)
    }

    /// How every probe of the store by this writer begins.
    pub(crate) fn probe_prefix(self) -> String {
        format!("_tidegate-probe-{:016x}-", self.0)
    }

    /// How every unfinished commit of this writer begins.
    pub(crate) fn commit_prefix(self) -> String {
        format!(".tidegate-{:016x}-", self.0)
    }
}

/// Names the files of one task of an epoch.
#[derive(Clone, Debug)]
pub(crate) struct FileNames {
    stem: String,
    tail: String,
    next: u32,
}

impl FileNames {
    /// The nonce keeps a name from coming twice, whatever the caller does: a file is never overwritten.
    pub(crate) fn new(writer: WriterHash, epoch: u64, task: u32, attempt: AttemptId, nonce: u32) -> Self {
        let stem = format!("{}{epoch}-{task}-", writer.prefix());
        Self { stem, tail: format!(".{attempt}-{nonce:08x}{SUFFIX}"), next: 0 }
    }

    pub(crate) fn next(&mut self) -> String {
        let name = format!("{}{}{}", self.stem, self.next, self.tail);
        self.next += 1;
        name
    }
}

/// The epoch that a data file of this writer was written for; nothing if it is not one.
pub(crate) fn epoch_of(writer: WriterHash, name: &str) -> Option<u64> {
    let rest = name.strip_prefix(&writer.prefix())?.strip_suffix(SUFFIX)?;
    rest.split_once('-')?.0.parse().ok()
}

/// The folder of a partition, relative to the table: one part for each column.
///
/// Readers take values from the log, so the name is for people only. Characters that would have to be escaped in paths
/// become `_`; the names of files are unique without their folder.
pub(crate) fn partition_folder(columns: &[&str], values: &[Option<String>]) -> String {
    let mut folder = String::new();
    for (column, value) in columns.iter().zip(values) {
        let value = value.as_deref().unwrap_or("__HIVE_DEFAULT_PARTITION__");
        folder.push_str(&plain(column));
        folder.push('=');
        folder.push_str(&plain(value));
        folder.push('/');
    }
    folder
}

fn plain(text: &str) -> String {
    let kept = text.chars().take(60);
    kept.map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_api::QueryId;

    fn writer(sink: &str) -> WriterHash {
        WriterHash::of(&WriterId { query_id: QueryId("q".into()), sink: sink.into(), shard: None })
    }

    #[test]
    fn names_say_the_epoch_and_never_repeat() {
        let attempt = AttemptId { generation: 3, n: 1 };
        let mut names = FileNames::new(writer("a"), 17, 2, attempt, 0xbeef);
        let (first, second) = (names.next(), names.next());
        assert!(first.ends_with("-17-2-0.3.1-0000beef.snappy.parquet"), "{first}");
        assert_ne!(first, second);
        assert_eq!(epoch_of(writer("a"), &first), Some(17));
        assert_eq!(epoch_of(writer("b"), &first), None);
        assert_eq!(epoch_of(writer("a"), "part-00000-aaaa-c000.snappy.parquet"), None);
        assert_eq!(epoch_of(writer("a"), &first.replace(".parquet", ".tmp")), None);
    }

    #[test]
    fn folders_need_no_escape() {
        let values = [Some("a b/c%=ü".to_owned()), None];
        assert_eq!(partition_folder(&["p", "day"], &values), "p=a_b_c___/day=__HIVE_DEFAULT_PARTITION__/");
    }
}
