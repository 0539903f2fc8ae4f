//! The settings of the `file` source.

use std::num::NonZeroU64;
use std::time::Duration;

use tidegate_api::prelude::*;

/// Settings of the `file` source.
#[derive(Clone, ConfigDef)]
pub struct FileConfig {
    /// A folder, a file, or a pattern with `*`, `?`, `[a-z]` and `{a,b}`; relative to the current folder.
    #[config(importance = "high")]
    pub path: String,
    /// What the files hold; absent: json if columns are declared, else text.
    #[config(importance = "high")]
    pub format: Option<FileFormat>,
    /// Most files in an epoch.
    #[config(synonym = "max.files.per.epoch")]
    pub max_files_per_trigger: Option<NonZeroU64>,
    /// Most bytes in an epoch, but one file at least.
    pub max_bytes_per_trigger: Option<NonZeroU64>,
    /// Whether the newest files come first. With a limit, `max.file.age` does not count then.
    #[config(default = "false")]
    pub latest_first: bool,
    /// Whether a file is known by its name alone, wherever it lies.
    #[config(default = "false")]
    pub file_name_only: bool,
    /// Files that are older than the newest one seen by more than this are ignored; not in the first epoch.
    #[config(default = "7d")]
    pub max_file_age: Duration,
    /// Files of one listing that are kept for later epochs.
    #[config(default = "10000", importance = "low")]
    pub max_cached_files: usize,
    /// A rest of a listing that is shorter than this share of the limit is dropped.
    #[config(default = "0.2", importance = "low")]
    pub discard_cached_input_ratio: f64,
}

/// What files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// A JSON document a line; blank lines do not count.
    Json,
    /// A row a line, in the column `value`.
    Text,
}

impl ConfigValue for FileFormat {
    const KIND: &'static str = "json or text";
    fn parse_value(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(format!("'{text}' is not {}", Self::KIND)),
        }
    }
}

impl FileConfig {
    /// What the derive can't see.
    pub(crate) fn issues(&self) -> Vec<ConfigIssue> {
        let mut issues = Vec::new();
        if self.path.trim().is_empty() {
            issues.push(ConfigIssue::new("path", "is empty; expected a folder, a file or a pattern"));
        }
        if self.max_files_per_trigger.is_some() && self.max_bytes_per_trigger.is_some() {
            let message = "can't be set together with max.bytes.per.trigger; choose one of the two";
            issues.push(ConfigIssue::new("max.files.per.trigger", message));
        }
        if !(0.0..=1.0).contains(&self.discard_cached_input_ratio) {
            let message = format!("'{}' is not a number from 0 to 1", self.discard_cached_input_ratio);
            issues.push(ConfigIssue::new("discard.cached.input.ratio", message));
        }
        issues
    }
}
