//! The keys of the `delta` sink.

use std::num::NonZeroU64;

use tidegate_api::{ConfigDef, ConfigValue, PassThrough};

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

/// A number of bytes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl ConfigValue for ByteSize {
    const KIND: &'static str = "a size such as 64MB, 1 GiB or 1048576";

    fn parse_value(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not {}", Self::KIND);
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "kib" => 1 << 10,
            "m" | "mb" => 1_000_000,
            "mib" => 1 << 20,
            "g" | "gb" => 1_000_000_000,
            "gib" => 1 << 30,
            _ => return Err(wrong()),
        };
        number.checked_mul(unit).filter(|bytes| *bytes > 0).map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_api::Settings;

    #[test]
    fn sizes() {
        let cases = [("100MB", 100_000_000), ("64 MiB", 64 << 20), ("7", 7), ("2g", 2_000_000_000), (" 3 kib ", 3072)];
        for (text, bytes) in cases {
            assert_eq!(ByteSize::parse_value(text), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "0", "MB", "12 parsecs", "-1", "99999999999 GiB"] {
            let error = ByteSize::parse_value(text).unwrap_err();
            assert!(error.contains("64MB"), "{text}: {error}");
        }
    }

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
