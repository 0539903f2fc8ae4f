//! The keys of the `file` sink.

use std::num::NonZeroU64;

use tidegate_api::prelude::*;

/// Settings of the `file` sink.
#[derive(ConfigDef)]
pub struct FileSinkConfig {
    /// The folder of the files: a local one, relative to the current folder, or a URL such as `s3://bucket/folder`. It is
    /// created if it is not there.
    #[config(importance = "high")]
    pub path: String,
    /// What the files hold: parquet, or json for a document a line.
    #[config(default = "parquet", importance = "high")]
    pub format: SinkFormat,
    /// How Parquet files are compressed: snappy (default), zstd or none. Files of JSON are not compressed.
    pub compression: Option<Compression>,
    /// Rows after which a file is closed and the next one begun. Files of 128 MB are closed anyway.
    pub max_rows_per_file: Option<NonZeroU64>,
    /// How the files that count are listed: spark (in `_spark_metadata`, so that Spark reads the folder exactly once; it
    /// grows with the number of files) or tidegate (in `_tidegate`, bounded, for readers that list the folder).
    #[config(default = "spark")]
    pub manifest_format: ManifestFormat,
    /// Whether to add to a folder that another query, or Spark, has written to. A query whose checkpoint was deleted is
    /// another query: it would write again what is there.
    #[config(default = "false")]
    pub append_foreign: bool,
    /// Settings of the object store, such as `storage.endpoint` or `storage.aws_access_key_id`.
    #[config(prefix = "storage.")]
    pub storage: PassThrough,
}

/// What files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkFormat {
    /// Apache Parquet.
    Parquet,
    /// A JSON document a line.
    Json,
}

impl SinkFormat {
    /// How names of such files end.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Json => "json",
        }
    }
}

impl ConfigValue for SinkFormat {
    const KIND: &'static str = "parquet or json";
    fn parse_value(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "parquet" => Ok(Self::Parquet),
            "json" => Ok(Self::Json),
            _ => Err(format!("'{text}' is not {}", Self::KIND)),
        }
    }
}

/// How files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Fast.
    Snappy,
    /// Small.
    Zstd,
    /// Not at all.
    None,
}

impl ConfigValue for Compression {
    const KIND: &'static str = "snappy, zstd or none";
    fn parse_value(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "snappy" => Ok(Self::Snappy),
            "zstd" => Ok(Self::Zstd),
            "none" | "uncompressed" => Ok(Self::None),
            _ => Err(format!("'{text}' is not {}", Self::KIND)),
        }
    }
}

/// How the files that count are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestFormat {
    /// As Spark's file sink does it.
    Spark,
    /// The last epochs only.
    Tidegate,
}

impl ConfigValue for ManifestFormat {
    const KIND: &'static str = "spark or tidegate";
    fn parse_value(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "spark" => Ok(Self::Spark),
            "tidegate" => Ok(Self::Tidegate),
            _ => Err(format!("'{text}' is not {}", Self::KIND)),
        }
    }
}

impl FileSinkConfig {
    /// What the derive can't see.
    pub(crate) fn issues(&self) -> Vec<ConfigIssue> {
        let mut issues = Vec::new();
        if self.path.trim().is_empty() {
            issues.push(ConfigIssue::new("path", "is empty, expected a folder or a URL"));
        }
        if self.format == SinkFormat::Json && self.compression.is_some_and(|it| it != Compression::None) {
            issues.push(ConfigIssue::new("compression", "files of JSON are not compressed, expected none"));
        }
        issues
    }
}
