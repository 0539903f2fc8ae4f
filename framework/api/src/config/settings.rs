//! A flat set of settings, and the reader that takes typed values out of it.

use std::collections::BTreeMap;
use std::fmt;

use super::{ConfigIssue, ConfigKey, ConfigValue, PassThrough};

/// Settings as the user wrote them: flat dotted keys and text values, in order. `Debug` shows keys only, since a value
/// may be a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    entries: Vec<(String, String)>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.iter().map(|(key, _)| key)).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Settings {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect() }
    }
}

/// A key in the form in which keys are compared: lower case, without `.`, `_` and `-`.
pub fn normalised(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '.' | '_' | '-')).flat_map(char::to_lowercase).collect()
}

impl Settings {
    /// All entries as written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.entries.push((key.into(), value.into()));
    }

    /// The value of `key` in any spelling; the first if it is doubled.
    pub fn get(&self, key: &str) -> Option<&str> {
        let key = normalised(key);
        self.iter().find(|(it, _)| normalised(it) == key).map(|(_, value)| value)
    }

    /// Takes out all spellings of `key` and returns the entries.
    pub fn take(&mut self, key: &str) -> Vec<(String, String)> {
        let key = normalised(key);
        let (taken, kept) = std::mem::take(&mut self.entries).into_iter().partition(|(it, _)| normalised(it) == key);
        self.entries = kept;
        taken
    }
}

/// The name among `names` that is nearest to `key`, if any is near.
pub fn nearest<'a>(key: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let key = normalised(key);
    names
        .into_iter()
        .map(|name| (distance(&key, &normalised(name)), name))
        .filter(|(far, name)| *far <= 1 + name.len() / 4)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// Edits of one letter that make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let cost = diagonal + usize::from(x != *y);
            diagonal = *cell;
            left = cost.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Takes typed values out of settings and collects all that is wrong; the derive writes the calls.
pub struct KeyReader<'a> {
    left: BTreeMap<String, Vec<(&'a str, &'a str)>>,
    keys: &'static [ConfigKey],
    issues: Vec<ConfigIssue>,
}

impl<'a> KeyReader<'a> {
    /// Reads `settings` by `keys`.
    pub fn new(settings: &'a Settings, keys: &'static [ConfigKey]) -> Self {
        let mut left: BTreeMap<String, Vec<(&str, &str)>> = BTreeMap::new();
        for (key, value) in settings.iter() {
            left.entry(normalised(key)).or_default().push((key, value));
        }
        Self { left, keys, issues: Vec::new() }
    }

    /// The value of `key`, its default, or an issue.
    pub fn required<T: ConfigValue>(&mut self, key: &ConfigKey) -> Option<T> {
        match self.text(key) {
            Some((written, text)) => self.parsed(&written, &text),
            None => match key.default {
                Some(default) => self.parsed(key.name, default),
                None => {
                    self.issues.push(ConfigIssue::new(key.name, format!("missing; expected {}", T::KIND)));
                    None
                }
            },
        }
    }

    /// The value of a key that may be left out.
    pub fn optional<T: ConfigValue>(&mut self, key: &ConfigKey) -> Option<T> {
        let (written, text) = self.text(key)?;
        self.parsed(&written, &text)
    }

    /// All keys below a prefix, as they are.
    pub fn below(&mut self, key: &ConfigKey) -> PassThrough {
        let mut found = PassThrough::new();
        let issues = &mut self.issues;
        for entries in self.left.values_mut() {
            entries.retain(|(written, value)| {
                let Some((head, rest)) = written.split_at_checked(key.name.len()) else { return true };
                if rest.is_empty() || !head.eq_ignore_ascii_case(key.name) {
                    return true;
                }
                if found.insert(rest.to_owned(), (*value).to_owned()).is_some() {
                    issues.push(ConfigIssue::new(*written, "this key is given twice"));
                }
                false
            });
        }
        self.left.retain(|_, entries| !entries.is_empty());
        found
    }

    /// All issues, with those for keys that nobody asked for.
    pub fn finish(mut self) -> Vec<ConfigIssue> {
        for (written, _) in self.left.values().flatten() {
            let names = self.keys.iter().flat_map(|key| std::iter::once(key.name).chain(key.synonyms.iter().copied()));
            let hint = nearest(written, names).map(|name| format!("; did you mean '{name}'?")).unwrap_or_default();
            self.issues.push(ConfigIssue::new(*written, format!("unknown key{hint}")));
        }
        self.issues
    }

    fn text(&mut self, key: &ConfigKey) -> Option<(String, String)> {
        let mut found = Vec::new();
        for name in std::iter::once(&key.name).chain(key.synonyms) {
            found.extend(self.left.remove(&normalised(name)).unwrap_or_default());
        }
        let (written, value) = *found.first()?;
        if let Some((other, _)) = found.get(1) {
            self.issues.push(ConfigIssue::new(written, format!("'{written}' and '{other}' are the same key")));
        }
        Some((written.to_owned(), value.to_owned()))
    }

    fn parsed<T: ConfigValue>(&mut self, key: &str, text: &str) -> Option<T> {
        match T::parse_value(text) {
            Ok(value) => Some(value),
            Err(message) => {
                let message = if T::SECRET { format!("expected {}", T::KIND) } else { message };
                self.issues.push(ConfigIssue::new(key, message));
                None
            }
        }
    }
}
