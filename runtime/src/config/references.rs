//! `${env:NAME}`, `${file:/path:key}` and `${dir:/path:key}` in values: resolved when a query starts, never shown.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

/// What to do with references in values.
#[derive(Clone, Debug)]
pub enum References {
    /// Leave them: the file is only being looked at.
    Keep,
    /// Put in what they stand for, and remember it as secret.
    Resolve(Secrets),
}

/// Resolved values, with the references that they came from. Whatever is written for people goes through
/// [`Secrets::hide`] first.
#[derive(Clone, Default)]
pub struct Secrets {
    known: Arc<RwLock<Vec<(String, String)>>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Values shorter than this are left in texts: hiding every `1` would hide all numbers.
const SHORTEST_HIDDEN: usize = 4;

impl Secrets {
    /// `text` with each resolved value replaced by its reference.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = Cow::Borrowed(text);
        for (value, reference) in known.iter() {
            if text.contains(value.as_str()) {
                text = Cow::Owned(text.replace(value.as_str(), reference));
            }
        }
        text
    }

    fn remember(&self, value: &str, reference: &str) {
        if value.len() < SHORTEST_HIDDEN {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|(it, _)| it == value) {
            known.push((value.to_owned(), reference.to_owned()));
            // The longest first: one secret may lie within another.
            known.sort_by_key(|(it, _)| std::cmp::Reverse(it.len()));
        }
    }
}

/// True if the value holds a reference.
pub(super) fn any(value: &str) -> bool {
    next(value).is_some()
}

/// The value with its references resolved, once: what comes in is not looked through again.
pub(super) fn resolve(value: &str, secrets: &Secrets) -> Result<String, String> {
    let mut done = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, reference, after)) = next(rest) {
        let found = look_up(reference)?;
        secrets.remember(&found, reference);
        done.push_str(before);
        done.push_str(&found);
        rest = after;
    }
    done.push_str(rest);
    Ok(done)
}

/// What is before the first reference, the reference, and what is after it. Other text in `${}` is left alone.
fn next(value: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(start) = value.get(from..)?.find("${").map(|it| it + from) {
        let end = start + value.get(start..)?.find('}')? + 1;
        let reference = value.get(start..end)?;
        if ["${env:", "${file:", "${dir:"].iter().any(|it| reference.starts_with(it)) {
            return Some((value.get(..start)?, reference, value.get(end..)?));
        }
        from = start + 2;
    }
    None
}

fn look_up(reference: &str) -> Result<String, String> {
    let inside = reference.trim_start_matches("${").trim_end_matches('}');
    let (provider, rest) = inside.split_once(':').unwrap_or((inside, ""));
    if provider == "env" {
        return std::env::var(rest).map_err(|_| format!("{reference}: environment variable '{rest}' is not set"));
    }
    let (path, key) = rest
        .rsplit_once(':')
        .filter(|(path, key)| !path.is_empty() && !key.is_empty())
        .ok_or_else(|| format!("{reference}: expected ${{{provider}:/path:key}}"))?;
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|e| format!("{reference}: can't be read: {e}"));
    if provider == "dir" {
        if key.contains(['/', '\\']) || key == ".." {
            return Err(format!("{reference}: found key '{key}', expected the name of a file in {path}"));
        }
        let text = read(&Path::new(path).join(key))?;
        return Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned());
    }
    property(&read(Path::new(path))?, key).ok_or_else(|| format!("{reference}: {path} has no key '{key}'"))
}

/// The value of a key in a file of Java properties (`key=value` or `key: value` on a line).
fn property(text: &str, key: &str) -> Option<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', '!']))
        .filter_map(|line| line.split_once(['=', ':']))
        .find(|(it, _)| it.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
}
