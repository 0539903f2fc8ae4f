//! Which files are new, and how many of them an epoch takes (Spark: `FileStreamSource`, `SeenFilesMap`).

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use crate::config::FileConfig;
use crate::listing::Found;

/// How much an epoch takes, one file at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) files: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

impl Limits {
    pub(crate) fn of(config: &FileConfig) -> Self {
        let (files, bytes) = (config.max_files_per_trigger, config.max_bytes_per_trigger);
        Self { files: files.map(Into::into), bytes: bytes.map(Into::into) }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.files.is_none() && self.bytes.is_none()
    }

    /// How many of `sizes` fit.
    pub(crate) fn fit(&self, sizes: impl Iterator<Item = u64>) -> usize {
        let (mut files, mut bytes) = (0, 0_u64);
        let fitting = sizes.take_while(|size| {
            files += 1;
            bytes = bytes.saturating_add(*size);
            files == 1 || (self.files.is_none_or(|most| files <= most) && self.bytes.is_none_or(|most| bytes <= most))
        });
        fitting.count()
    }
}

/// Knows the files read and those that wait.
pub(crate) struct Planner {
    /// By path, or by name: when it was changed.
    seen: HashMap<OsString, i64>,
    newest_ms: i64,
    /// Files older than this were forgotten, so they are not new.
    purged_ms: i64,
    max_age_ms: i64,
    name_only: bool,
    latest_first: bool,
    max_cached: usize,
    discard_ratio: f64,
    /// New files of the last listing, in order.
    unread: Vec<Found>,
}

impl Planner {
    pub(crate) fn new(config: &FileConfig) -> Self {
        let age = i64::try_from(config.max_file_age.as_millis()).unwrap_or(i64::MAX);
        let ageless = config.latest_first && !Limits::of(config).is_none();
        Self {
            seen: HashMap::new(),
            newest_ms: 0,
            purged_ms: 0,
            max_age_ms: if ageless { i64::MAX } else { age },
            name_only: config.file_name_only,
            latest_first: config.latest_first,
            max_cached: config.max_cached_files,
            discard_ratio: config.discard_cached_input_ratio,
            unread: Vec::new(),
        }
    }

    fn identity(&self, path: &Path) -> OsString {
        let name = path.file_name().filter(|_| self.name_only);
        name.unwrap_or(path.as_os_str()).to_owned()
    }

    /// Remembers a file as read.
    pub(crate) fn mark(&mut self, path: &Path, modified_ms: i64) {
        self.newest_ms = self.newest_ms.max(modified_ms);
        self.seen.insert(self.identity(path), modified_ms);
    }

    /// Forgets files that are too old to be taken for new ones.
    pub(crate) fn purge(&mut self) {
        self.purged_ms = self.newest_ms.saturating_sub(self.max_age_ms);
        self.seen.retain(|_, modified_ms| *modified_ms >= self.purged_ms);
    }

    /// True if a listing is needed to go on.
    pub(crate) fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }

    /// Takes a listing over: what is new in it waits, in order.
    pub(crate) fn offer(&mut self, mut found: Vec<Found>) {
        found.retain(|it| it.modified_ms >= self.purged_ms && !self.seen.contains_key(&self.identity(&it.path)));
        found.sort_by(|a, b| {
            let by_time = a.modified_ms.cmp(&b.modified_ms);
            let by_time = if self.latest_first { by_time.reverse() } else { by_time };
            by_time.then_with(|| a.path.cmp(&b.path))
        });
        self.unread = found;
    }

    /// The next files, as many as fit, of those that wait.
    pub(crate) fn take(&mut self, limits: &Limits) -> Vec<Found> {
        let rest = self.unread.split_off(limits.fit(self.unread.iter().map(|it| it.size)));
        std::mem::replace(&mut self.unread, rest)
    }

    /// Puts files back that were taken last.
    pub(crate) fn give_back(&mut self, files: Vec<Found>) {
        self.unread.splice(0..0, files);
    }

    /// Drops what waits if the next epoch should look again: newest first, or too little left for a full epoch.
    pub(crate) fn drop_short_rest(&mut self, limits: &Limits) {
        #[expect(clippy::cast_precision_loss, reason = "a share of a limit need not be exact")]
        let below =
            |left: u64, most: Option<u64>| most.is_some_and(|it| (left as f64) < it as f64 * self.discard_ratio);
        let bytes = self.unread.iter().map(|it| it.size).sum();
        let short = below(self.unread.len() as u64, limits.files) || below(bytes, limits.bytes);
        if self.latest_first || short {
            self.unread.clear();
        }
        self.unread.truncate(self.max_cached);
    }

    /// Drops what waits.
    pub(crate) fn forget_unread(&mut self) {
        self.unread.clear();
    }

    /// Paths that wait, for tests.
    #[cfg(test)]
    pub(crate) fn unread(&self) -> Vec<&Path> {
        self.unread.iter().map(|it| it.path.as_path()).collect()
    }
}

#[cfg(test)]
mod tests;
