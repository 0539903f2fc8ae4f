//! A folder, a log that outlives a source, and short ways to plan and read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use arrow_array::cast::AsArray;
use futures::TryStreamExt;
use serde_json::json;
use tempfile::TempDir;
use tidegate_api::{DynSource, prelude::*};

/// A log in memory that can be told to fail.
#[derive(Default)]
pub(crate) struct MemoryLog {
    pub(crate) entries: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Writes that fail; with `after`, once they have worked.
    pub(crate) failures: AtomicUsize,
    pub(crate) after: AtomicUsize,
}

fn used(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1)).is_ok()
}

#[async_trait]
impl MetadataLog for MemoryLog {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.entries.lock().unwrap().get(key).cloned())
    }
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        if used(&self.failures) {
            return Err(Error::transient("the store is away"));
        }
        let new = !self.entries.lock().unwrap().contains_key(key);
        self.entries.lock().unwrap().entry(key.to_owned()).or_insert_with(|| bytes.to_vec());
        if used(&self.after) { Err(Error::transient("the answer was lost")) } else { Ok(new) }
    }
    async fn list(&self) -> Result<Vec<String>> {
        Ok(self.entries.lock().unwrap().keys().cloned().collect())
    }
    async fn remove(&self, key: &str) -> Result<()> {
        self.entries.lock().unwrap().remove(key);
        Ok(())
    }
}

impl MemoryLog {
    pub(crate) fn text(&self, key: &str) -> String {
        String::from_utf8(self.entries.lock().unwrap()[key].clone()).unwrap()
    }

    pub(crate) fn put(&self, key: &str, text: &str) {
        self.entries.lock().unwrap().insert(key.to_owned(), text.as_bytes().to_vec());
    }

    /// The keys, in the order of their numbers.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.entries.lock().unwrap().keys().cloned().collect();
        keys.sort_by_key(|it| it.trim_end_matches(".compact").parse::<u64>().unwrap());
        keys
    }
}

/// A data folder with the folder `in`.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) schema: Option<SchemaRef>,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        Self { folder, log: Arc::default(), schema: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("in").join(name)
    }

    /// Writes a file that was last changed `second` seconds after 2026-03-01 10:00:00 UTC.
    pub(crate) fn write(&self, name: &str, second: u64, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        touch(&path, second);
    }

    pub(crate) fn context(&self) -> ConnectorContext {
        let mut ctx = ConnectorContext::new("q", "clicks", QueryId("q".into()), self.log.clone());
        ctx.data_dir = self.folder.path().to_owned();
        ctx.schema = self.schema.clone();
        ctx
    }

    pub(crate) async fn build(&self, path: &str, more: &[(&str, &str)]) -> Result<Box<dyn DynSource>> {
        let file = tidegate_file::register(Registry::new()).find_source("file").unwrap();
        let mut settings = Settings::from_iter([("path", path)]);
        for (key, value) in more {
            settings.push(*key, *value);
        }
        file.build(&settings, &self.context()).await
    }

    pub(crate) async fn source(&self, more: &[(&str, &str)]) -> Box<dyn DynSource> {
        self.build("in", more).await.unwrap()
    }
}

pub(crate) fn touch(path: &Path, second: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_359_200 + second);
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

pub(crate) fn at(n: i64) -> OffsetJson {
    OffsetJson(json!({ "logOffset": n }))
}

/// The entry at which an epoch after entry `start` ends.
pub(crate) async fn plan(source: &mut dyn DynSource, start: i64, limit: ReadLimit) -> i64 {
    let planned = source.plan(&at(start), &limit).await.unwrap();
    let keys = planned.end.0.as_object().unwrap();
    assert_eq!(keys.len(), 1, "the end of an epoch is Spark's offset: {}", planned.end);
    keys["logOffset"].as_i64().unwrap()
}

pub(crate) async fn batches(
    source: &dyn DynSource,
    range: OffsetRange<OffsetJson>,
    max: usize,
) -> Result<Vec<RecordBatch>> {
    let mut all = Vec::new();
    for split in source.splits(range, max)? {
        all.extend(source.read(split).await?.try_collect::<Vec<_>>().await?);
    }
    Ok(all)
}

/// The rows of a range, as text.
pub(crate) async fn rows(source: &dyn DynSource, start: i64, end: i64) -> Vec<String> {
    values(&batches(source, OffsetRange { start: at(start), end: at(end) }, 4).await.unwrap())
}

pub(crate) fn values(batches: &[RecordBatch]) -> Vec<String> {
    let text = |it: &RecordBatch| -> Vec<String> {
        match it.column(0).as_string_opt::<i32>() {
            Some(text) => text.iter().map(|it| it.unwrap().to_owned()).collect(),
            None => {
                let bytes = it.column(0).as_binary::<i32>().iter();
                bytes.map(|it| String::from_utf8(it.unwrap().to_vec()).unwrap()).collect()
            }
        }
    };
    batches.iter().flat_map(text).collect()
}
