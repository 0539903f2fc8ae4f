//! The keys of the `delta` sink.

use std::num::NonZeroU64;

use tidegate_api::config::ByteSize;
use tidegate_api::{ConfigDef, PassThrough};

/// Settings of the `delta` sink.
#[derive(ConfigDef)]
pub struct DeltaConfig {
    /// Where the table is: a local folder, relative to the current folder, a `file://` URL, or a folder of an object
    /// store with conditional puts: `s3://bucket/folder`, `az://container/folder`, `gs://bucket/folder`. It is created if
    /// it is not there.
    #[config(importance = "high")]
    pub path: String,
    /// Settings of the object store, such as `storage.aws_region` or `storage.endpoint`, by the names of the
    /// `object_store` crate; over those of the environment (`AWS_REGION` …).
    #[config(prefix = "storage.")]
    pub storage: PassThrough,
    /// The columns that the table is partitioned by, when it is created. A table that is there must be partitioned by
    /// the same ones; left out, it may be partitioned by any columns of the query.
    pub partition_by: Option<Vec<String>>,
    /// The size at which a data file is closed and the next one begun, such as 100MB. An epoch writes at least one file
    /// for each partition it has rows for.
    #[config(default = "100MB", importance = "low")]
    pub target_file_size: ByteSize,
    /// Commits between two checkpoints of the table's log, which readers start from. They are written in the
    /// background.
    #[config(default = "100", importance = "low")]
    pub log_checkpoint_interval: NonZeroU64,
    /// Whether log files that are older than the table's `delta.logRetentionDuration` are removed after a checkpoint.
    /// The table's `delta.enableExpiredLogCleanup` can forbid it too.
    #[config(default = "true", importance = "low")]
    pub log_cleanup: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_api::Settings;

    #[test]
    fn defaults_and_spellings() {
        let config = DeltaConfig::parse(&Settings::from_iter([("path", "t"), ("partitionBy", "a, b")])).unwrap();
        assert_eq!(config.partition_by, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!((config.target_file_size, config.log_checkpoint_interval.get()), (ByteSize(100_000_000), 100));
        assert!(config.log_cleanup);
        let issues = DeltaConfig::parse(&Settings::from_iter([("log.checkpoint.interval", "0")])).unwrap_err();
        let keys: Vec<_> = issues.iter().map(|it| it.key.as_str()).collect();
        assert!(keys.contains(&"log.checkpoint.interval") && keys.contains(&"path"), "{issues:?}");
    }
}
