//! Entries of Spark's log of files: a version, then a line of JSON for each file.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_api::{Error, Result};

use super::folder::DataFile;
use super::names::{Epochs, WriterHash};

const VERSION: &str = "v1";

/// Spark: `SinkFileStatus`, its fields in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    path: String,
    size: u64,
    is_dir: bool,
    modification_time: i64,
    block_replication: u32,
    block_size: u64,
    action: &'a str,
}

/// What we need of a line.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
}

/// The line that adds a file of the folder at `url`.
pub(crate) fn line(url: &str, file: &DataFile) -> Result<String> {
    let line = Line {
        path: format!("{url}{}", file.name),
        size: file.size,
        is_dir: false,
        modification_time: file.modified_ms,
        block_replication: 1,
        block_size: file.size,
        action: "add",
    };
    serde_json::to_string(&line).map_err(|e| Error::internal("a line of the manifest").because(e))
}

/// An entry of these lines.
pub(crate) fn write<'a>(lines: impl IntoIterator<Item = &'a str>) -> Bytes {
    let mut text = VERSION.to_owned();
    for line in lines {
        text.push('\n');
        text.push_str(line);
    }
    text.into()
}

/// The lines of the entry at `path`, checked; epochs of `writer` are added to `epochs`.
///
/// # Errors
/// `Config` if it is damaged or of a newer version, naming it.
pub(crate) fn read<'a>(path: &str, bytes: &'a [u8], writer: WriterHash, epochs: &mut Epochs) -> Result<Vec<&'a str>> {
    let damaged = |what: String| Error::config(format!("manifest {path} is damaged: {what}"));
    let text = std::str::from_utf8(bytes).map_err(|e| damaged("it is not text".to_owned()).because(e))?;
    let mut lines = text.lines();
    let version = lines.next().unwrap_or_default();
    if version != VERSION {
        return Err(damaged(format!("its version is '{version}', expected {VERSION}")));
    }
    let lines: Vec<_> = lines.filter(|it| !it.is_empty()).collect();
    for (at, line) in lines.iter().enumerate() {
        epochs.add(writer, name_of(&path_of(line).map_err(|e| damaged(format!("line {}", at + 2)).because(e))?));
    }
    Ok(lines)
}

/// The name of the file that a line adds; nothing if it can't be read.
pub(crate) fn name_in(line: &str) -> Option<String> {
    path_of(line).ok().map(|it| name_of(&it).to_owned())
}

fn path_of(line: &str) -> serde_json::Result<Cow<'_, str>> {
    serde_json::from_str::<Seen<'_>>(line).map(|it| it.path)
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_api::{QueryId, WriterId};

    const WRITTEN: &str = concat!(
        "v1\n",
        "{\"path\":\"file:///data/t/a.parquet\",\"size\":7,\"isDir\":false,\"modificationTime\":1772359203000,",
        "\"blockReplication\":1,\"blockSize\":7,\"action\":\"add\"}"
    );

    fn writer() -> WriterHash {
        WriterHash::of(&WriterId { query_id: QueryId("q".into()), sink: "s".into(), shard: None })
    }

    #[test]
    fn entries_have_sparks_form() {
        let file = DataFile { name: "a.parquet".to_owned(), size: 7, modified_ms: 1_772_359_203_000 };
        let line = line("file:///data/t/", &file).unwrap();
        assert_eq!(write([line.as_str()]), WRITTEN);
        assert_eq!(write([]), "v1");
        assert_eq!(name_in(&line).as_deref(), Some("a.parquet"));
        let mut epochs = Epochs::default();
        assert_eq!(read("0", WRITTEN.as_bytes(), writer(), &mut epochs).unwrap(), [line.as_str()]);
        assert!(epochs.0.is_empty(), "another's");
        let own = WRITTEN.replace("a.parquet", &format!("part-{}-5-0-0-00.1.3.parquet", writer()));
        read("0", own.as_bytes(), writer(), &mut epochs).unwrap();
        assert_eq!(epochs.last().map(|it| (it.epoch, it.attempt.to_string())), Some((5, "1.3".to_owned())));
    }

    #[test]
    fn damage_is_named() {
        let cut = WRITTEN.get(..WRITTEN.len() - 9).unwrap();
        for (text, told) in
            [("", "version is ''"), ("v2\n", "'v2', expected v1"), (cut, "line 2"), ("v1\n{}", "line 2")]
        {
            let error = read("_spark_metadata/7", text.as_bytes(), writer(), &mut Epochs::default()).unwrap_err();
            assert_eq!(error.kind(), tidegate_api::ErrorKind::Config);
            let text = error.to_string();
            assert!(text.contains("_spark_metadata/7 is damaged") && text.contains(told), "{text}");
        }
        assert!(read("0", b"v1\n\xff", writer(), &mut Epochs::default()).is_err());
    }
}
