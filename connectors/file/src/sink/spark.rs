//! `SparkLog`: the manifest as Spark's file sink writes it, `_spark_metadata/<number>`.
//!
//! ```text
//! commit: follow the log to its end; is the epoch there?   → already committed
//!         publish the files; put entry head + 1 if absent  → committed, or somebody was faster: follow again
//! ```
//! Numbers rise by one whoever writes. Names of files say which writer and epoch an entry is of, so epochs without rows
//! need no entry, and epochs may be skipped. Each tenth entry holds all before it. Nothing is ever taken out of the log: to
//! take epochs back, the next such entry is written without them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::{Clock, CommitOutcome, Epoch, Error, Result, fault};

use super::entry;
use super::folder::{DataFile, Folder};
use super::names::{Epochs, Held, WriterHash};

/// The folder of the log.
pub(crate) const SPARK: &str = "_spark_metadata";
/// Entries from one compact entry to the next, in a new log. Spark: `fileSink.log.compactInterval`.
const INTERVAL: u64 = 10;
/// How long entries are kept that a compact entry holds. Spark: `fileSink.log.cleanupDelay`.
const KEEP_MS: i64 = 600_000;
/// The log is listed anew if it has not been followed for this long: entries may have come and gone since.
const LOOK_AGAIN_MS: i64 = KEEP_MS / 2;
/// Bytes of a compact entry that are worth a warning.
const LARGE: usize = 64 << 20;
/// Writers that may come before us, one after the other, in one commit.
const RACES: u32 = 100;

pub(crate) struct SparkLog {
    folder: Arc<dyn Folder>,
    url: String,
    writer: WriterHash,
    clock: Arc<dyn Clock>,
    /// The number of the next entry.
    next: u64,
    interval: u64,
    /// The newest compact entry.
    compact: Option<u64>,
    held: Option<Held>,
    looked_ms: i64,
    /// Whether there may be entries to clean away.
    compacted: bool,
}

impl SparkLog {
    pub(crate) fn new(folder: Arc<dyn Folder>, url: String, writer: WriterHash, clock: Arc<dyn Clock>) -> Self {
        let looked_ms = clock.now_ms();
        let (next, interval, compact, held) = (0, INTERVAL, None, None);
        Self { folder, url, writer, clock, next, interval, compact, held, looked_ms, compacted: true }
    }

    /// The last epoch of this writer that the log holds.
    pub(crate) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// The number that the next entry gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Reads the log from its newest compact entry on. All epochs of this writer.
    pub(crate) async fn scan(&mut self) -> Result<Epochs> {
        self.looked_ms = self.clock.now_ms();
        let numbers = self.numbers().await?;
        let compacts: Vec<u64> = numbers.iter().filter(|it| *it.1).map(|it| *it.0).collect();
        self.interval = interval(&compacts);
        self.compact = compacts.last().copied();
        self.next = numbers.last_key_value().map_or(0, |it| it.0 + 1);
        let mut epochs = Epochs::default();
        for number in self.compact.unwrap_or(0)..self.next {
            let path = self.path(number);
            if numbers.get(&number) != Some(&self.is_compact(number)) {
                return Err(Error::config(format!("manifest {path} is missing, the log goes on to {}", self.next - 1)));
            }
            let bytes = self.folder.get(&path).await?;
            // It was listed: whoever cleans the log has removed it since.
            let bytes = bytes.ok_or_else(|| Error::transient(format!("manifest {path} is gone")))?;
            entry::read(&path, &bytes, self.writer, &mut epochs)?;
        }
        self.check_not_restored(&epochs)?;
        self.take(&epochs);
        Ok(epochs)
    }

    /// Makes the files of an epoch visible, or tells that they are. `news` are epochs that were found on the way.
    pub(crate) async fn commit(
        &mut self,
        epoch: &Epoch,
        files: &[DataFile],
        news: &mut Epochs,
    ) -> Result<CommitOutcome> {
        if files.is_empty() {
            return Ok(decided(self.held.as_ref(), epoch)?.unwrap_or(CommitOutcome::Committed));
        }
        for _ in 0..RACES {
            self.follow(news).await?;
            if let Some(outcome) = decided(self.held.as_ref(), epoch)? {
                return Ok(outcome);
            }
            if let Err(error) = self.folder.publish(files).await {
                // Another owner may have done this epoch since, and removed what we had staged.
                self.follow(news).await?;
                return decided(self.held.as_ref(), epoch)?.ok_or(error);
            }
            fault::hit("file.placed")?;
            let lines = files.iter().map(|it| entry::line(&self.url, it)).collect::<Result<Vec<_>>>()?;
            let mut own = Epochs::default();
            files.iter().for_each(|it| own.add(self.writer, &it.name));
            if self.put(&lines, u64::MAX).await? {
                self.take(&own);
                news.0.extend(own.0);
                return Ok(CommitOutcome::Committed);
            }
        }
        Err(Error::transient(format!("manifest {} is taken, but can't be read", self.path(self.next))))
    }

    /// Takes back this writer's epochs after `through`; their names.
    pub(crate) async fn restore(&mut self, through: Option<u64>) -> Result<Vec<String>> {
        let mut found = self.scan().await?;
        let kept = through.map_or(0, |it| it.saturating_add(1));
        let lost = found.0.split_off(&kept);
        if lost.is_empty() {
            return Ok(Vec::new());
        }
        self.held = found.last().cloned();
        // Empty entries up to the next number that holds all.
        for _ in 0..RACES {
            let last = self.is_compact(self.next);
            if self.put(&[], kept).await? {
                if last {
                    self.held = found.last().cloned();
                    return Ok(lost.into_values().flat_map(|it| it.names).collect());
                }
            } else {
                // Another writer's entry: our own held epoch stays what it is.
                self.follow(&mut Epochs::default()).await?;
            }
        }
        Err(Error::transient(format!("manifest {} is taken, but can't be read", self.path(self.next))))
    }

    /// Removes entries that nobody reads any more; Spark does the same.
    pub(crate) async fn clean(&mut self) -> Result<()> {
        // The compact entry before the newest stays, for readers that are at it.
        let Some(before) = self.compact.and_then(|it| it.checked_sub(self.interval)) else { return Ok(()) };
        if !std::mem::take(&mut self.compacted) {
            return Ok(());
        }
        let old_ms = self.clock.now_ms().saturating_sub(KEEP_MS);
        let listed = self.folder.list(SPARK).await?.into_iter();
        let old = listed.filter(|it| number_of(&it.name).is_some_and(|n| n.0 < before) && it.modified_ms < old_ms);
        let old: Vec<_> = old.map(|it| format!("{SPARK}/{}", it.name)).collect();
        self.folder.remove(&old).await
    }

    /// Reads entries that came since.
    async fn follow(&mut self, news: &mut Epochs) -> Result<()> {
        if self.is_stale() {
            news.0.extend(self.scan().await?.0);
            return Ok(());
        }
        loop {
            let path = self.path(self.next);
            // The answer is as old as the question.
            let asked_ms = self.clock.now_ms();
            let Some(bytes) = self.folder.get(&path).await? else {
                self.looked_ms = asked_ms;
                return Ok(());
            };
            let mut epochs = Epochs::default();
            entry::read(&path, &bytes, self.writer, &mut epochs)?;
            if self.is_compact(self.next) {
                self.check_not_restored(&epochs)?;
                self.compact = Some(self.next);
            }
            self.next += 1;
            self.take(&epochs);
            news.0.extend(epochs.0);
        }
    }

    /// Puts the next entry; false if its number is taken. A compact one takes over what is kept of those before: all of
    /// other writers, and this writer's epochs below `kept`.
    async fn put(&mut self, lines: &[String], kept: u64) -> Result<bool> {
        let (number, path) = (self.next, self.path(self.next));
        let mut all = Vec::new();
        if self.is_compact(number) {
            for before in self.compact.unwrap_or(0)..number {
                let path = self.path(before);
                let bytes = self.folder.get(&path).await?;
                let bytes = bytes.ok_or_else(|| Error::config(format!("manifest {path} is missing")))?;
                let known = entry::read(&path, &bytes, self.writer, &mut Epochs::default())?;
                all.extend(known.into_iter().filter(|it| self.is_kept(it, kept)).map(str::to_owned));
            }
        }
        let body = entry::write(all.iter().chain(lines).map(String::as_str));
        if body.len() > LARGE {
            tracing::warn!(
                bytes = body.len(),
                files = all.len(),
                "the manifest is large: every tenth entry names all files"
            );
        }
        if !self.folder.put_new(&path, body, self.writer).await? {
            return Ok(false);
        }
        if self.is_stale() && self.numbers().await?.iter().any(|it| *it.1 && *it.0 > number) {
            // The number had been taken and cleaned away while we did not look: no reader looks there any more.
            self.scan().await?;
            return Ok(false);
        }
        self.next += 1;
        if self.is_compact(number) {
            (self.compact, self.compacted) = (Some(number), true);
        }
        Ok(true)
    }

    fn is_kept(&self, line: &str, kept: u64) -> bool {
        let own = entry::name_in(line).and_then(|name| self.writer.parse(&name));
        own.is_none_or(|(epoch, _)| epoch < kept)
    }

    /// Remembers the newest epoch.
    fn take(&mut self, epochs: &Epochs) {
        if let Some(last) = epochs.last()
            && self.held.as_ref().is_none_or(|it| it.epoch <= last.epoch)
        {
            self.held = Some(last.clone());
        }
    }

    /// A compact entry that lacks an epoch which was there: another owner has taken it back.
    fn check_not_restored(&self, epochs: &Epochs) -> Result<()> {
        match &self.held {
            Some(held) if !epochs.0.contains_key(&held.epoch) => {
                let epoch = held.epoch;
                Err(Error::fenced(format!("another owner has taken back epoch {epoch} of this writer")))
            }
            _ => Ok(()),
        }
    }

    fn is_stale(&self) -> bool {
        self.clock.now_ms().saturating_sub(self.looked_ms) > LOOK_AGAIN_MS
    }

    /// The numbers in use, and whether they are compact.
    async fn numbers(&self) -> Result<BTreeMap<u64, bool>> {
        let mut numbers = BTreeMap::new();
        for (number, compact) in self.folder.list(SPARK).await?.iter().filter_map(|it| number_of(&it.name)) {
            *numbers.entry(number).or_default() |= compact;
        }
        Ok(numbers)
    }

    fn is_compact(&self, number: u64) -> bool {
        (number + 1).is_multiple_of(self.interval)
    }

    fn path(&self, number: u64) -> String {
        format!("{SPARK}/{number}{}", if self.is_compact(number) { ".compact" } else { "" })
    }
}

/// What is known of an epoch before it is committed. An owner whose epochs have no rows is not told of its successor's: it
/// finds them before its first rows, by their generation.
///
/// # Errors
/// `Fenced` if a later one is there, or one of a newer owner.
pub(crate) fn decided(held: Option<&Held>, epoch: &Epoch) -> Result<Option<CommitOutcome>> {
    let Some(held) = held else { return Ok(None) };
    match held.epoch.cmp(&epoch.number) {
        std::cmp::Ordering::Less if epoch.attempt.generation < held.attempt.generation => {
            let (number, Held { epoch: last, attempt, .. }) = (epoch.number, held);
            Err(Error::fenced(format!(
                "epoch {number}: epoch {last} is of attempt {attempt}, a newer owner has been here"
            )))
        }
        std::cmp::Ordering::Less => Ok(None),
        std::cmp::Ordering::Equal => Ok(Some(CommitOutcome::AlreadyCommitted { attempt: Some(held.attempt) })),
        std::cmp::Ordering::Greater => {
            let (number, later) = (epoch.number, held.epoch);
            Err(Error::fenced(format!("epoch {number}: the manifest holds epoch {later} of this writer")))
        }
    }
}

fn number_of(name: &str) -> Option<(u64, bool)> {
    match name.strip_suffix(".compact") {
        Some(number) => Some((number.parse().ok()?, true)),
        None => Some((name.parse().ok()?, false)),
    }
}

/// The interval of a log with these compact entries, as Spark finds it (`CompactibleFileStreamLog.compactInterval`).
fn interval(compacts: &[u64]) -> u64 {
    match compacts {
        [] => INTERVAL,
        [.., before, last] => last - before,
        [last] => {
            let size = last + 1;
            if INTERVAL < size / 2 {
                (INTERVAL..=size / 2).find(|it| size.is_multiple_of(*it)).unwrap_or(size)
            } else {
                size
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_sparks() {
        let cases: [(&[u64], u64); 8] =
            [(&[], 10), (&[9], 10), (&[2], 3), (&[19], 20), (&[29], 10), (&[23], 12), (&[30], 31), (&[9, 19], 10)];
        for (compacts, expected) in cases {
            assert_eq!(interval(compacts), expected, "{compacts:?}");
        }
    }

    #[test]
    fn names_of_entries() {
        assert_eq!(number_of("9.compact"), Some((9, true)));
        assert_eq!(number_of("10"), Some((10, false)));
        for other in [".owner", ".9.crc", "x.compact", ""] {
            assert_eq!(number_of(other), None);
        }
    }
}
