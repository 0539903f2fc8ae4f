//! Takes over which files Spark's source has read, from its log in Spark's checkpoint.

use tidegate_api::{Error, Imported, Result, SparkPosition};

use crate::config::FileConfig;
use crate::log::{FileLog, LogLine, written_anew};
use crate::offset::FileOffset;
use crate::pattern::PathPattern;
use crate::source::{path_of, pattern_of};

/// The position of Spark's source, and its log. The log may be ahead: what it names after the position is read next.
pub(crate) async fn import(config: &FileConfig, found: &SparkPosition) -> Result<Imported<FileOffset>> {
    let offset = position(found.offset.as_deref())?;
    let (log, lines) = FileLog::open(found.log.clone()).await?;
    let last = log.last();
    if offset.log_offset > last {
        let at = offset.log_offset;
        return Err(Error::config(format!("file log: the query stands at entry {at}, the log ends at {last}")));
    }
    let pattern = pattern_of(config, &found.data_dir)?;
    if !config.file_name_only {
        check_folder(&pattern, &lines)?;
    }
    Ok(Imported { offset, log: written_anew(&lines, last)? })
}

/// `{"logOffset":3}`, or `3` as early versions of Spark wrote it; nothing has been read before the first epoch.
fn position(text: Option<&str>) -> Result<FileOffset> {
    let Some(text) = text else { return Ok(FileOffset::after(-1)) };
    let wrong =
        || Error::config(format!("'{text}' is not the position of a file source, expected {{\"logOffset\":3}}"));
    let offset = match text.trim().parse() {
        Ok(n) => FileOffset::after(n),
        Err(_) => serde_json::from_str(text).map_err(|e| wrong().because(e))?,
    };
    // Spark never stops inside an entry.
    if offset.inside.is_some() || offset.log_offset < -1 { Err(wrong()) } else { Ok(offset) }
}

/// Refuses a log of other folders: its files are known by their paths, and would come again under others.
fn check_folder(pattern: &PathPattern, lines: &[LogLine]) -> Result<()> {
    let mut first = None;
    for line in lines {
        let path = path_of(line)?;
        if pattern.choices().iter().any(|it| path.starts_with(&it.base)) {
            return Ok(());
        }
        first.get_or_insert(path);
    }
    let Some(first) = first else { return Ok(()) };
    Err(Error::config(format!(
        "path '{pattern}' holds none of the files that Spark has read, such as {}: under another path they would be read \
         again; expected the path that Spark was given",
        first.display()
    )))
}

#[cfg(test)]
mod tests;
