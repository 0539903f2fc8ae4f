//! The log of files read, in Spark's form: `<n>` holds `v1` and a line of JSON a file; each tenth, `<n>.compact`, holds
//! the lines of all entries so far.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{Error, MetadataLog, Result};

const HEADER: &str = "v1";
const COMPACT_EACH: i64 = 10;
/// Entries that stay beside the newest ones, so that a query can go back.
const KEPT: i64 = 100;

/// A file in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogLine {
    /// A `file:` URL.
    pub(crate) path: String,
    /// When it was changed, milliseconds since 1970.
    pub(crate) timestamp: i64,
    /// The number of its entry.
    #[serde(rename = "batchId")]
    pub(crate) entry: i64,
}

/// The log of one source.
#[derive(Clone)]
pub(crate) struct FileLog {
    log: Arc<dyn MetadataLog>,
    last: i64,
}

impl FileLog {
    /// Opens the log and reads all of it.
    pub(crate) async fn open(log: Arc<dyn MetadataLog>) -> Result<(Self, Vec<LogLine>)> {
        let (plain, compact) = numbers(&log.list().await?);
        let base = compact.last().copied();
        let last = plain.last().copied().max(base).unwrap_or(-1);
        let this = Self { log, last };
        let lines = this.all(base, last).await?;
        Ok((this, lines))
    }

    /// The number of the last entry; -1: none.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// Appends the entry `last + 1`; its files must bear that number. Called again with the same files if it failed.
    pub(crate) async fn add(&mut self, lines: &[LogLine]) -> Result<()> {
        let n = self.last + 1;
        let compacts = (n + 1) % COMPACT_EACH == 0;
        let mut text = HEADER.to_owned();
        if compacts {
            let base = n - COMPACT_EACH;
            for line in self.all((base >= 0).then_some(base), n - 1).await? {
                push_line(&mut text, &line)?;
            }
        }
        for line in lines {
            push_line(&mut text, line)?;
        }
        let key = if compacts { compact_key(n) } else { n.to_string() };
        // A write whose outcome was unknown may have worked.
        if !self.log.put_new(&key, text.as_bytes()).await?
            && self.log.get(&key).await?.as_deref() != Some(text.as_bytes())
        {
            return Err(Error::fenced(format!("file log: another owner wrote entry {n}")));
        }
        self.last = n;
        if compacts {
            // The entry is written: what can't be removed now is removed after the next compaction.
            self.clean(n).await.ok();
        }
        Ok(())
    }

    /// The files of entry `n`.
    pub(crate) async fn get(&self, n: i64) -> Result<Vec<LogLine>> {
        if let Some(lines) = self.read(&n.to_string()).await? {
            return Ok(lines);
        }
        let (_, compact) = numbers(&self.log.list().await?);
        let holder = compact.range(n..).next().copied();
        let lines = match holder {
            Some(it) => self.read(&compact_key(it)).await?.unwrap_or_default(),
            None => return Err(missing(n)),
        };
        Ok(lines.into_iter().filter(|it| it.entry == n).collect())
    }

    /// The files of the compact entry `base` and of all after it, up to `last`.
    async fn all(&self, base: Option<i64>, last: i64) -> Result<Vec<LogLine>> {
        let mut lines = match base {
            Some(n) => self.read(&compact_key(n)).await?.ok_or_else(|| missing(n))?,
            None => Vec::new(),
        };
        for n in base.map_or(0, |it| it + 1)..=last {
            lines.extend(self.read(&n.to_string()).await?.ok_or_else(|| missing(n))?);
        }
        Ok(lines)
    }

    async fn read(&self, key: &str) -> Result<Option<Vec<LogLine>>> {
        let Some(bytes) = self.log.get(key).await? else { return Ok(None) };
        parse(key, &bytes).map(Some)
    }

    /// Removes what compact entries hold, but for the newest.
    async fn clean(&self, n: i64) -> Result<()> {
        let (plain, compact) = numbers(&self.log.list().await?);
        let Some(kept) = compact.range(..=n - KEPT).next_back() else { return Ok(()) };
        for old in plain.range(..kept) {
            self.log.remove(&old.to_string()).await?;
        }
        for old in compact.range(..kept) {
            self.log.remove(&compact_key(*old)).await?;
        }
        Ok(())
    }
}

/// A log of these lines up to entry `last` as this one writes it: another program may compact at other numbers.
///
/// # Errors
/// `Config` if a line is of no entry up to `last`.
pub(crate) fn written_anew(lines: &[LogLine], last: i64) -> Result<Vec<(String, Vec<u8>)>> {
    if let Some(line) = lines.iter().find(|it| !(0..=last).contains(&it.entry)) {
        let (path, entry) = (&line.path, line.entry);
        return Err(Error::config(format!("file log: '{path}' is of entry {entry}, the log ends at {last}")));
    }
    let compact = (last + 1) / COMPACT_EACH * COMPACT_EACH - 1;
    let below = (compact >= 0).then(|| (compact_key(compact), 0..=compact));
    let entries = below.into_iter().chain((compact + 1..=last).map(|n| (n.to_string(), n..=n)));
    let written = entries.map(|(key, numbers)| {
        let mut text = HEADER.to_owned();
        for line in lines.iter().filter(|it| numbers.contains(&it.entry)) {
            push_line(&mut text, line)?;
        }
        Ok((key, text.into_bytes()))
    });
    written.collect()
}

fn compact_key(n: i64) -> String {
    format!("{n}.compact")
}

/// The numbers of the plain and of the compact entries.
fn numbers(keys: &[String]) -> (BTreeSet<i64>, BTreeSet<i64>) {
    // Other names are not ours; numbers beyond these would not be counted on from.
    let number = |key: &str| key.parse::<u32>().ok().map(i64::from);
    let plain = keys.iter().filter_map(|key| number(key));
    let compact = keys.iter().filter_map(|key| number(key.strip_suffix(".compact")?));
    (plain.collect(), compact.collect())
}

fn push_line(text: &mut String, line: &LogLine) -> Result<()> {
    text.push('\n');
    text.push_str(&serde_json::to_string(line).map_err(|e| Error::internal("file log").because(e))?);
    Ok(())
}

fn parse(key: &str, bytes: &[u8]) -> Result<Vec<LogLine>> {
    let text =
        std::str::from_utf8(bytes).map_err(|e| Error::config(format!("file log: {key} is not text")).because(e))?;
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    if header != HEADER {
        return Err(Error::config(format!("file log: {key} begins with '{}', expected v1", header.escape_debug())));
    }
    let parsed = lines.filter(|line| !line.is_empty()).enumerate().map(|(at, line)| {
        let wrong = |e| Error::config(format!("file log: line {} of {key} is not a file", at + 2)).because(e);
        serde_json::from_str(line).map_err(wrong)
    });
    parsed.collect()
}

fn missing(n: i64) -> Error {
    Error::config(format!("file log: entry {n} is missing"))
}
