//! The keys of a query, sorted into one section for the query itself and one for each source, view and sink.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_api::Settings;
use tidegate_api::config::{ConfigValue, nearest, normalised};

use super::flat::{Group, Place};
use super::references::{self, References};
use super::{Problem, flat};

/// What all readers of a file share: where problems go, and what stood there as the user wrote it.
pub(super) struct Findings {
    file: String,
    pub(super) problems: Vec<Problem>,
    /// From the form in which the engine names a key to the form in which it was written.
    pub(super) written: BTreeMap<String, String>,
    /// Keys whose value holds a reference that was left as it is, or is only known when the query starts.
    pub(super) unresolved: BTreeSet<String>,
}

impl Findings {
    pub(super) fn new(file: &str) -> Self {
        let (problems, written, unresolved) = Default::default();
        Self { file: file.to_owned(), problems, written, unresolved }
    }

    pub(super) fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        let problem = Problem { file: self.file.clone(), key: key.into(), message: message.into() };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// One key of a section.
#[derive(Clone)]
pub(super) struct Entry {
    /// The whole key as the user wrote it.
    pub(super) written: String,
    /// The key within the section.
    pub(super) key: String,
    pub(super) value: String,
    /// True if the value holds a reference that was left as it is.
    pub(super) open: bool,
}

/// The keys of the query, or of one source, view or sink.
#[derive(Clone, Default)]
pub(super) struct Section {
    /// As the engine writes it before a key: `sources.clicks.`, or nothing for the query.
    pub(super) prefix: String,
    pub(super) name: String,
    pub(super) entries: Vec<Entry>,
}

/// All sections of a query.
#[derive(Default)]
pub(super) struct Sections {
    pub(super) query: Section,
    pub(super) sources: Vec<Section>,
    pub(super) views: Vec<Section>,
    pub(super) sinks: Vec<Section>,
}

impl Section {
    /// Takes the value of a key in any spelling; two spellings are a problem.
    pub(super) fn take(&mut self, key: &str, findings: &mut Findings) -> Option<Entry> {
        let wanted = normalised(key);
        let is_it = |it: &Entry| flat::pass_through(&it.key).is_none() && normalised(&it.key) == wanted;
        let (taken, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.entries).into_iter().partition(is_it);
        self.entries = left;
        let mut taken = taken.into_iter();
        let first = taken.next()?;
        findings.written.insert(format!("{}{key}", self.prefix), first.written.clone());
        for other in taken {
            findings.add(&other.written, format!("'{}' and '{}' are the same key", first.written, other.written));
        }
        Some(first)
    }

    /// Takes a key and reads its value; nothing if it is not there, malformed, or a reference that was left.
    pub(super) fn value<T: ConfigValue>(&mut self, key: &str, findings: &mut Findings) -> Option<T> {
        self.parsed(key, findings, T::parse_value)
    }

    /// As `value`, with the reader given.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        findings: &mut Findings,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let entry = self.take(key, findings)?;
        if entry.open {
            return None;
        }
        parse(&entry.value).map_err(|message| findings.add(&entry.written, message)).ok()
    }

    /// Refuses the keys that will come and are not there yet.
    pub(super) fn refuse(&mut self, keys: &[&str], findings: &mut Findings) {
        for key in keys {
            if let Some(entry) = self.take(key, findings) {
                findings.add(entry.written, format!("'{key}' is not supported yet"));
            }
        }
    }

    /// Refuses what is left, with the nearest of `known`.
    pub(super) fn finish(self, known: &[&str], findings: &mut Findings) {
        for entry in self.entries {
            let hint = nearest(&entry.key, known.iter().copied());
            let hint = hint.map(|name| format!("; did you mean '{name}'?")).unwrap_or_default();
            findings.add(entry.written, format!("unknown key{hint}"));
        }
    }

    /// How the section is called in a problem about all of it: `sources.clicks`.
    pub(super) fn path(&self) -> &str {
        self.prefix.trim_end_matches('.')
    }
}

impl Sections {
    /// Sorts flat keys into sections, in the order in which they first appear.
    pub(super) fn of(settings: &Settings, references: &References, findings: &mut Findings) -> Self {
        let mut sections = Self::default();
        let mut verbatim = BTreeMap::new();
        for (written, value) in settings.iter() {
            let place = Place::of(written);
            if flat::pass_through(place.key).is_some() && verbatim.insert(place.identity(), written).is_some() {
                findings.add(written, "is given twice");
            }
            let Some(section) = sections.find(place, written, findings) else { continue };
            let (value, open) = match references {
                References::Keep => (value.to_owned(), references::any(value)),
                References::Resolve(secrets) => match references::resolve(value, secrets) {
                    Ok(value) => (value, false),
                    Err(message) => {
                        findings.add(written, message);
                        (value.to_owned(), true)
                    }
                },
            };
            if open {
                findings.unresolved.insert(written.to_owned());
            }
            section.entries.push(Entry { written: written.to_owned(), key: place.key.to_owned(), value, open });
        }
        sections.check_names(findings);
        sections
    }

    fn find(&mut self, place: Place<'_>, written: &str, findings: &mut Findings) -> Option<&mut Section> {
        let Some((group, name)) = place.part else {
            if let Some(group) = Group::of(written) {
                let what = format!("found a plain value, expected names below '{}' and their settings", group.name());
                findings.add(written, what);
                return None;
            }
            return Some(&mut self.query);
        };
        let list = match group {
            Group::Sources => &mut self.sources,
            Group::Views => &mut self.views,
            Group::Sinks => &mut self.sinks,
            Group::Transforms | Group::Predicates => {
                findings.add(written, format!("'{}' are not supported yet", group.name()));
                return None;
            }
        };
        if !is_name(name) {
            let path = format!("{}.{name}", group.name());
            findings.add(path, format!("found name '{name}', expected a letter or _, then letters, digits, _ or -"));
            return None;
        }
        if place.key.is_empty() {
            findings.add(written, "found a plain value, expected settings below it");
            return None;
        }
        let at = list.iter().position(|it| it.name == name).unwrap_or_else(|| {
            let prefix = format!("{}.{name}.", group.name());
            list.push(Section { prefix, name: name.to_owned(), entries: Vec::new() });
            list.len() - 1
        });
        list.get_mut(at)
    }

    /// Names may not differ in case only; sources and views share their names, since both are tables.
    fn check_names(&self, findings: &mut Findings) {
        let tables: Vec<&Section> = self.sources.iter().chain(&self.views).collect();
        let sinks: Vec<&Section> = self.sinks.iter().collect();
        for group in [tables, sinks] {
            let mut seen: BTreeMap<String, &Section> = BTreeMap::new();
            for section in group {
                if let Some(first) = seen.insert(section.name.to_lowercase(), section) {
                    let what = if first.name == section.name { "have the same name" } else { "differ in case only" };
                    findings.add(section.path(), format!("'{}' and '{}' {what}", first.path(), section.path()));
                }
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}
