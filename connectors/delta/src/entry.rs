//! One commit of the log: what we write, and what we look for in those of others.

use bytes::Bytes;
use deltalake::kernel::{Add, Transaction};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tidegate_api::{AttemptId, Error, Result};
use uuid::Uuid;

/// Follows the writer id in the application id of a second transaction, whose version is the attempt. Checkpoints of the
/// log keep transactions and drop `commitInfo`: so the attempt stays known for as long as the epoch does.
const ATTEMPT_APP: &str = "#attempt";
/// Bits of that version that hold the try; those above hold the generation.
const TRY_BITS: u32 = 24;
/// The key in `commitInfo` that holds the attempt.
const ATTEMPT: &str = "tidegateAttempt";
/// The key in `commitInfo` of a commit that took epochs back: the writer id.
const RESTORED: &str = "tidegateRestored";
/// The lowest protocol that every reader and writer knows.
const READER_VERSION: i32 = 1;
const WRITER_VERSION: i32 = 2;

/// An epoch of ours that the table holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) epoch: u64,
    pub(crate) attempt: Option<AttemptId>,
    /// The data files that it added; none if the commit can't be read any more.
    pub(crate) paths: Vec<String>,
}

/// What matters in a commit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The epoch, if the commit is of this writer.
    pub(crate) held: Option<Held>,
    /// Metadata or protocol changed.
    pub(crate) reshaped: bool,
    /// The commit took back epochs of this writer.
    pub(crate) restored: bool,
}

/// What an epoch's commit says beside its files.
pub(crate) struct Header<'a> {
    pub(crate) app_id: &'a str,
    pub(crate) query_id: &'a str,
    pub(crate) epoch: u64,
    pub(crate) attempt: AttemptId,
    pub(crate) rows: u64,
    pub(crate) now_ms: i64,
}

/// What a commit that takes epochs back says beside its files.
pub(crate) struct RestoreHeader<'a> {
    pub(crate) app_id: &'a str,
    /// The last epoch that stays.
    pub(crate) through: Option<u64>,
    /// The version of the table before the first commit that is taken back.
    pub(crate) version: u64,
    pub(crate) read_version: u64,
    pub(crate) now_ms: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    txn: Option<Transaction>,
    add: Option<AddedPath>,
    commit_info: Option<Info>,
    meta_data: Option<IgnoredAny>,
    protocol: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct AddedPath {
    path: String,
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "tidegateAttempt")]
    attempt: Option<Value>,
    #[serde(rename = "tidegateRestored")]
    restored: Option<Value>,
}

/// Reads commit `version`.
///
/// # Errors
/// `Config` if it is not one.
pub(crate) fn read(body: &[u8], version: u64, app_id: &str) -> Result<Entry> {
    let mut entry = Entry::default();
    let (mut epoch, mut attempt, mut paths) = (None, None, Vec::new());
    for line in body.split(|it| *it == b'\n').filter(|it| !it.trim_ascii().is_empty()) {
        let line: Line = serde_json::from_slice(line)
            .map_err(|e| Error::config(format!("commit {version} can't be read")).because(e))?;
        entry.reshaped |= line.meta_data.is_some() || line.protocol.is_some();
        if let Some(txn) = line.txn.filter(|it| it.app_id == app_id) {
            epoch =
                Some(u64::try_from(txn.version).map_err(|_| {
                    Error::config(format!("commit {version} holds epoch {} of this writer", txn.version))
                })?);
        }
        paths.extend(line.add.map(|it| it.path));
        let Some(info) = line.commit_info else { continue };
        entry.restored |= info.restored.as_ref().and_then(Value::as_str) == Some(app_id);
        attempt = info.attempt.as_ref().and_then(Value::as_str).and_then(|it| it.parse().ok()).or(attempt);
    }
    entry.held = epoch.map(|epoch| Held { epoch, attempt, paths });
    Ok(entry)
}

/// The commit of an epoch, on top of `read_version`.
///
/// # Errors
/// `Internal` if it can't be written as JSON.
pub(crate) fn write(header: &Header<'_>, files: &[Add], read_version: u64) -> Result<Bytes> {
    let epoch = i64::try_from(header.epoch)
        .map_err(|_| Error::internal(format!("epoch {} is larger than Delta's transactions", header.epoch)))?;
    let bytes: i64 = files.iter().map(|it| it.size).sum();
    // Text inside parameters and metrics: that is how Spark writes and reads them.
    let info = json!({
        "timestamp": header.now_ms,
        "operation": "STREAMING UPDATE",
        "operationParameters": {
            "outputMode": "Append", "queryId": header.query_id, "epochId": header.epoch.to_string(),
        },
        "readVersion": read_version,
        "isBlindAppend": true,
        "operationMetrics": {
            "numAddedFiles": files.len().to_string(),
            "numRemovedFiles": "0",
            "numOutputRows": header.rows.to_string(),
            "numOutputBytes": bytes.to_string(),
        },
        "engineInfo": engine(),
        "txnId": Uuid::new_v4(),
        ATTEMPT: header.attempt,
    });
    let txn = |app_id: &str, version: i64| {
        json!({ "txn": { "appId": app_id, "version": version, "lastUpdated": header.now_ms } }).to_string()
    };
    let mut lines = vec![json!({ "commitInfo": info }).to_string(), txn(header.app_id, epoch)];
    lines.extend(attempt_version(header.attempt).map(|it| txn(&attempt_app(header.app_id), it)));
    for file in files {
        let file = serde_json::to_string(&json!({ "add": file }));
        lines.push(file.map_err(|e| Error::internal("a file can't be written to the log").because(e))?);
    }
    Ok(body(&lines))
}

/// The commit that takes back what this writer committed after epoch `through`: on top of `read_version` it makes these
/// files those of the table again.
pub(crate) fn restore(header: &RestoreHeader<'_>, adds: &[Value], removes: &[Value]) -> Bytes {
    let info = json!({
        "timestamp": header.now_ms,
        "operation": "RESTORE",
        "operationParameters": { "version": header.version.to_string(), "timestamp": null },
        "readVersion": header.read_version,
        "isBlindAppend": false,
        "operationMetrics": {
            "numRestoredFiles": adds.len().to_string(),
            "numRemovedFiles": removes.len().to_string(),
        },
        "engineInfo": engine(),
        "txnId": Uuid::new_v4(),
        RESTORED: header.app_id,
        "tidegateThrough": header.through.map(|it| it.to_string()),
    });
    let mut lines = vec![json!({ "commitInfo": info }).to_string()];
    lines.extend(removes.iter().map(|it| json!({ "remove": it }).to_string()));
    lines.extend(adds.iter().map(|it| json!({ "add": it }).to_string()));
    body(&lines)
}

/// The application id under which the log keeps the attempt of the last epoch.
pub(crate) fn attempt_app(app_id: &str) -> String {
    format!("{app_id}{ATTEMPT_APP}")
}

/// The attempt that such a transaction's version means.
pub(crate) fn attempt_of(version: i64) -> Option<AttemptId> {
    let version = u64::try_from(version).ok()?;
    let n = u32::try_from(version & ((1 << TRY_BITS) - 1)).ok()?;
    Some(AttemptId { generation: version >> TRY_BITS, n })
}

/// Nothing for attempts beyond what a version holds: no query gets there.
fn attempt_version(attempt: AttemptId) -> Option<i64> {
    let fits = attempt.n < 1 << TRY_BITS && attempt.generation < 1 << (63 - TRY_BITS);
    fits.then(|| i64::try_from((attempt.generation << TRY_BITS) | u64::from(attempt.n)).ok())?
}

/// The first commit of a table.
pub(crate) fn create(metadata: &impl serde::Serialize, now_ms: i64) -> Bytes {
    let info = json!({
        "timestamp": now_ms,
        "operation": "CREATE TABLE",
        "operationParameters": {},
        "isBlindAppend": true,
        "engineInfo": engine(),
        "txnId": Uuid::new_v4(),
    });
    let protocol = json!({ "minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION });
    body(&[
        json!({ "commitInfo": info }).to_string(),
        json!({ "protocol": protocol }).to_string(),
        json!({ "metaData": metadata }).to_string(),
    ])
}

fn engine() -> String {
    format!("tidegate/{}", env!("CARGO_PKG_VERSION"))
}

fn body(lines: &[String]) -> Bytes {
    let mut text = lines.join("\n");
    text.push('\n');
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(epoch: u64) -> Header<'static> {
        let attempt = AttemptId { generation: 2, n: 5 };
        Header { app_id: "q/sink", query_id: "q", epoch, attempt, rows: 3, now_ms: 7 }
    }

    #[test]
    fn what_is_written_is_found_again_by_its_writer_only() {
        let file = Add { path: "p=1/part-x".to_owned(), size: 9, ..Add::default() };
        let body = write(&header(4), &[file], 11).unwrap();
        let held =
            Held { epoch: 4, attempt: Some(AttemptId { generation: 2, n: 5 }), paths: vec!["p=1/part-x".to_owned()] };
        assert_eq!(read(&body, 12, "q/sink").unwrap(), Entry { held: Some(held), ..Entry::default() });
        assert_eq!(read(&body, 12, "q/other").unwrap(), Entry::default());
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.starts_with("{\"commitInfo\"") && text.contains("\"epochId\":\"4\""), "{text}");
        assert!(write(&header(u64::MAX), &[], 0).is_err());
    }

    #[test]
    fn attempts_as_versions() {
        let last = (1 << TRY_BITS) - 1;
        for (generation, n) in [(0, 0), (1, 0), (0, 1), (7, last), ((1 << (63 - TRY_BITS)) - 1, last)] {
            let attempt = AttemptId { generation, n };
            assert_eq!(attempt_version(attempt).and_then(attempt_of), Some(attempt));
        }
        assert_eq!(attempt_version(AttemptId { generation: 1, n: last + 1 }), None);
        assert_eq!(attempt_version(AttemptId { generation: u64::MAX, n: 0 }), None);
        assert_eq!(attempt_of(-1), None);
    }

    #[test]
    fn commits_of_others() {
        let theirs = br#"
            {"commitInfo":{"operation":"WRITE","tidegateAttempt":17}}
            {"metaData":{"id":"x"}}
            {"remove":{"path":"y"}}
        "#;
        assert_eq!(read(theirs, 1, "q/sink").unwrap(), Entry { reshaped: true, ..Entry::default() });
        assert!(read(br#"{"protocol":{}}"#, 1, "q/sink").unwrap().reshaped);
        let error = read(b"{\"commitInfo\"", 1, "q/sink").unwrap_err().to_string();
        assert!(error.contains("commit 1 can't be read"), "{error}");
    }

    #[test]
    fn our_epoch_without_an_attempt() {
        let body = br#"{"txn":{"appId":"q/sink","version":3}}"#;
        assert_eq!(read(body, 1, "q/sink").unwrap().held, Some(Held { epoch: 3, ..Held::default() }));
    }
}
